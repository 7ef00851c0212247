package onnxfile

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Numbers of the fields that WithNodes adds to.
const (
	modelOpsetImport = 8
	graphValueInfo   = 13
)

// Additions are what a model gains beside nodes.
type Additions struct {
	Opsets []*onnxpb.OperatorSetIdProto
	Infos  []*onnxpb.ValueInfoProto // of values inside the main graph
}

// WithNodes is the model with another node list and what more adds; all else is
// shared with m, and closing either closes both. A node that is one of m's own
// (the same pointer) keeps its bytes; any other is encoded, and may hold
// TensorProtos of m. Other nodes of m are gone, functions stay.
func (m *Model) WithNodes(nodes []*onnxpb.NodeProto, more Additions) (*Model, error) {
	own := make(map[*onnxpb.NodeProto]Field, len(m.Proto.GetGraph().GetNode()))
	i := 0
	for _, f := range m.GraphFields {
		if f.Num == graphNode {
			own[m.Proto.GetGraph().GetNode()[i]] = f
			i++
		}
	}
	d := &Model{Path: m.Path, GraphAt: m.GraphAt, tensors: m.tensors, files: m.files}
	d.Proto = &onnxpb.ModelProto{}
	shallow(d.Proto.ProtoReflect(), m.Proto.ProtoReflect(), func(protoreflect.FieldDescriptor) bool { return true })
	graph := &onnxpb.GraphProto{}
	shallow(graph.ProtoReflect(), m.Proto.GetGraph().ProtoReflect(), func(protoreflect.FieldDescriptor) bool { return true })
	graph.Node = nodes
	graph.ValueInfo = append(slices.Clone(graph.ValueInfo), more.Infos...)
	d.Proto.Graph = graph
	d.Proto.OpsetImport = append(slices.Clone(m.Proto.GetOpsetImport()), more.Opsets...)

	for _, n := range nodes {
		f, ok := own[n]
		if !ok {
			body, err := m.Encode(n, nil)
			if err != nil {
				return nil, err
			}
			f = BytesField(graphNode, body)
		}
		d.GraphFields = append(d.GraphFields, f)
	}
	for _, f := range m.GraphFields {
		if f.Num != graphNode {
			d.GraphFields = append(d.GraphFields, f)
		}
	}
	for _, v := range more.Infos {
		f, err := MessageField(graphValueInfo, v)
		if err != nil {
			return nil, err
		}
		d.GraphFields = append(d.GraphFields, f)
	}
	d.Fields = append(d.Fields, m.Fields...)
	for _, o := range more.Opsets {
		f, err := MessageField(modelOpsetImport, proto.Clone(o))
		if err != nil {
			return nil, err
		}
		d.Fields = append(d.Fields, f)
	}
	return d, nil
}
