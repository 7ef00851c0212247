package onnxtest

import (
	"bufio"
	"io"
	"slices"
	"strconv"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// externalFile is a file of tensor contents beside the model.
type externalFile struct {
	location string
	slots    []slot // by offset, without overlap
	size     int64
}

type slot struct {
	off int64
	gen content
}

func (f externalFile) write(w io.Writer) error {
	b := bufio.NewWriterSize(w, 1<<16)
	at := int64(0)
	zeros := make([]byte, 4096)
	for _, s := range f.slots {
		for at < s.off {
			n, err := b.Write(zeros[:min(s.off-at, int64(len(zeros)))])
			if err != nil {
				return err
			}
			at += int64(n)
		}
		if err := s.gen.writeTo(b); err != nil {
			return err
		}
		at += s.gen.size
	}
	return b.Flush()
}

// External says how tensors leave the model for files beside it.
type External struct {
	Location  string // of the one file; with PerTensor a prefix of the files' names
	PerTensor bool   // a file for each tensor: Location, a number, ".bin"
	MinBytes  int64  // smaller tensors stay in the model
	Align     int64  // offsets are multiples (default 1); ONNX advises 4096
	Share     bool   // tensors of equal contents share one range (see Fill.As)
	NoOffset  bool   // with PerTensor: leave offset and length out, the file is the tensor
}

// External moves the contents of the tensors that the model has so far, in
// nested graphs too, to external data.
func (m *Model) External(o External) {
	align := max(o.Align, 1)
	type place struct {
		file int
		off  int64
	}
	seen := map[string]place{}
	first := len(m.files)
	for _, t := range m.tensors() {
		c, ok := m.content[t]
		if !ok {
			raw := t.RawData
			c = content{size: int64(len(raw)), read: func(off int64, p []byte) { copy(p, raw[off:]) }, key: string(raw)}
		}
		if c.size == 0 || c.size < o.MinBytes || t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
			continue
		}
		key := strconv.FormatInt(c.size, 10) + "/" + strconv.Itoa(int(t.GetDataType())) + "/" + c.key
		at, dup := seen[key]
		if !dup || !o.Share {
			if o.PerTensor || len(m.files) == first {
				f := externalFile{location: o.Location}
				if o.PerTensor {
					f.location += strconv.Itoa(len(m.files)-first) + ".bin"
				}
				m.files = append(m.files, f)
			}
			f := &m.files[len(m.files)-1]
			at = place{len(m.files) - 1, (f.size + align - 1) / align * align}
			f.slots = append(f.slots, slot{at.off, c})
			f.size = at.off + c.size
			seen[key] = at
		}
		delete(m.content, t)
		t.RawData = nil
		t.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
		t.ExternalData = append(t.ExternalData, entry("location", m.files[at.file].location))
		if !o.NoOffset {
			t.ExternalData = append(t.ExternalData,
				entry("offset", strconv.FormatInt(at.off, 10)), entry("length", strconv.FormatInt(c.size, 10)))
		}
	}
}

// ExternalFiles lists the files that WriteFile writes beside the model, relative to it.
func (m *Model) ExternalFiles() []string {
	var l []string
	for _, f := range m.files {
		l = append(l, f.location)
	}
	return l
}

// tensors lists all stored tensors: of each graph its initializers, then what its
// nodes hold in attributes; the main graph first, then functions.
func (m *Model) tensors() []*onnxpb.TensorProto {
	var l []*onnxpb.TensorProto
	var graph func(g *onnxpb.GraphProto)
	nodes := func(ns []*onnxpb.NodeProto) {
		for _, n := range ns {
			for _, a := range n.Attribute {
				if a.T != nil {
					l = append(l, a.T)
				}
				l = append(l, a.Tensors...)
				if a.G != nil {
					graph(a.G)
				}
				for _, g := range a.Graphs {
					graph(g)
				}
			}
		}
	}
	graph = func(g *onnxpb.GraphProto) {
		l = append(l, g.Initializer...)
		nodes(g.Node)
	}
	graph(m.pb.Graph)
	for _, f := range m.pb.Functions {
		nodes(f.Node)
	}
	return l
}

// WeightBytes sums the contents of all stored tensors, shared ranges once for each tensor.
func (m *Model) WeightBytes() int64 {
	n := int64(0)
	for _, t := range m.tensors() {
		n += elemBytes(DType(t.GetDataType()), count(t.Dims))
	}
	return n
}

// TypedWeights stores the elements of every tensor that the model has so far in
// the field of their type (float_data, int64_data, ...) instead of raw_data.
// That takes their contents into memory: for small models.
func (m *Model) TypedWeights() {
	for _, t := range m.tensors() {
		raw := t.RawData
		if c, ok := m.content[t]; ok {
			raw = make([]byte, c.size)
			c.read(0, raw)
			delete(m.content, t)
		}
		if raw == nil {
			continue
		}
		t.RawData = nil
		setTyped(t, raw)
	}
}

// setTyped fills the field that TensorProto's comments prescribe for the type:
// 16-bit and smaller ones stand in int32_data, 4-bit pairs as one entry each.
func setTyped(t *onnxpb.TensorProto, raw []byte) {
	typ := DType(t.GetDataType())
	name, width, signed := "int32_data", int(Bits(typ)+7)/8, false
	switch typ {
	case Float:
		name = "float_data"
	case Double:
		name = "double_data"
	case Int64:
		name, signed = "int64_data", true
	case UInt64, UInt32:
		name = "uint64_data"
	case Int8, Int16, Int32:
		signed = true
	case Int4, UInt4, Bool, UInt8, UInt16, Float16, BFloat16, E4M3,
		onnxpb.TensorProto_FLOAT8E4M3FNUZ, onnxpb.TensorProto_FLOAT8E5M2, onnxpb.TensorProto_FLOAT8E5M2FNUZ:
	default:
		diag.Bugf("tensor %s: no typed field is known for type %v", t.GetName(), typ)
	}
	r := t.ProtoReflect()
	fd := r.Descriptor().Fields().ByName(protoreflect.Name(name))
	list := r.Mutable(fd).List()
	for ; len(raw) >= width; raw = raw[width:] {
		list.Append(elementOf(fd.Kind(), raw[:width], signed))
	}
}

// WeightsAsConstants turns the initializers of the main graph into Constant
// nodes before all others, as exporters from PaddlePaddle and PyTorch may.
func (m *Model) WeightsAsConstants() {
	g := m.pb.Graph
	nodes := make([]*onnxpb.NodeProto, 0, len(g.Initializer)+len(g.Node))
	for _, t := range g.Initializer {
		n := &onnxpb.NodeProto{OpType: proto.String("Constant"), Output: []string{t.GetName()}, Name: proto.String("Constant_" + t.GetName())}
		Tensor("value", t)(m.graph, n)
		t.Name = nil
		nodes = append(nodes, n)
	}
	g.Initializer = nil
	g.Node = slices.Concat(nodes, g.Node)
}

// WeightsAsInputs lists every initializer of the main graph among its inputs,
// which up to IR version 3 all must be and later ones may.
func (m *Model) WeightsAsInputs() {
	for _, t := range m.pb.Graph.Initializer {
		dims := make([]any, len(t.Dims))
		for i, d := range t.Dims {
			dims[i] = d
		}
		m.graph.Input(t.GetName(), DType(t.GetDataType()), dims...)
	}
}
