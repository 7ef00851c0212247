package onnxfile

import (
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// modelOpsetImport is the number of the field that WithNodes adds to.
const modelOpsetImport = 8

// WithNodes is the model with another node list and further operator sets; all
// else is shared with m, and closing either closes both. A node that is one of
// m's own (the same pointer) keeps its bytes; any other is encoded, and may hold
// TensorProtos of m. Other nodes of m are gone, functions stay.
func (m *Model) WithNodes(nodes []*onnxpb.NodeProto, opsets []*onnxpb.OperatorSetIdProto) (*Model, error) {
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
	d.Proto.Graph = graph
	d.Proto.OpsetImport = append(append([]*onnxpb.OperatorSetIdProto(nil), m.Proto.GetOpsetImport()...), opsets...)

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
	d.Fields = append(d.Fields, m.Fields...)
	for _, o := range opsets {
		f, err := MessageField(modelOpsetImport, proto.Clone(o))
		if err != nil {
			return nil, err
		}
		d.Fields = append(d.Fields, f)
	}
	return d, nil
}
