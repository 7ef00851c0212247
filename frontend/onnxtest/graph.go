package onnxtest

import (
	"encoding/binary"
	"math"
	"strconv"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Graph is the main graph, the body of a node's graph attribute, or the body of
// a function. Values are known by their names; a body may use those of the
// graphs around it.
type Graph struct {
	m    *Model
	pb   *onnxpb.GraphProto    // nil in a function
	fn   *onnxpb.FunctionProto // nil in a graph
	path string                // tells apart weights of one name in several bodies
}

// Model is the model that the graph is part of.
func (g *Graph) Model() *Model { return g.m }

// Proto is the graph's own message; nil for the body of a function.
func (g *Graph) Proto() *onnxpb.GraphProto { return g.pb }

// With sets something of a node that is being added.
type With func(g *Graph, n *onnxpb.NodeProto)

// Op adds a node with one output and returns that value. The node is named by
// Name, else automatically; the value is named by Outs, else like the node.
// The name "" among the inputs is an absent optional input.
func (g *Graph) Op(op string, in []string, with ...With) string {
	return g.Ops(op, 1, in, with...)[0]
}

// Ops adds a node with n outputs and returns them.
func (g *Graph) Ops(op string, n int, in []string, with ...With) []string {
	p := &onnxpb.NodeProto{OpType: proto.String(op), Input: in}
	for _, w := range with {
		w(g, p)
	}
	if p.Name == nil {
		p.Name = proto.String(g.m.fresh(op))
	}
	if p.Output == nil {
		base := p.GetName()
		if base == "" {
			base = g.m.fresh(op)
		}
		p.Output = []string{base}
		for i := 1; i < n; i++ {
			p.Output = append(p.Output, base+":"+strconv.Itoa(i))
		}
	}
	if len(p.Output) != n {
		diag.Bugf("node %s of type %s has %d outputs, not %d", p.GetName(), op, len(p.Output), n)
	}
	if g.fn != nil {
		g.fn.Node = append(g.fn.Node, p)
	} else {
		g.pb.Node = append(g.pb.Node, p)
	}
	return p.Output
}

// Name names the node; "" leaves it without a name.
func Name(s string) With { return func(_ *Graph, n *onnxpb.NodeProto) { n.Name = proto.String(s) } }

// Outs names the outputs; "" is an absent optional output.
func Outs(names ...string) With { return func(_ *Graph, n *onnxpb.NodeProto) { n.Output = names } }

// Domain puts the node's operator into a domain other than ai.onnx.
func Domain(s string) With { return func(_ *Graph, n *onnxpb.NodeProto) { n.Domain = proto.String(s) } }

// Overload chooses among functions of one name (IR version 10).
func Overload(s string) With {
	return func(_ *Graph, n *onnxpb.NodeProto) { n.Overload = proto.String(s) }
}

// Doc gives the node a doc string.
func Doc(s string) With { return func(_ *Graph, n *onnxpb.NodeProto) { n.DocString = proto.String(s) } }

// Custom changes the node as f says.
func Custom(f func(n *onnxpb.NodeProto)) With { return func(_ *Graph, n *onnxpb.NodeProto) { f(n) } }

func attr(name string, t onnxpb.AttributeProto_AttributeType, set func(g *Graph, a *onnxpb.AttributeProto)) With {
	return func(g *Graph, n *onnxpb.NodeProto) {
		a := &onnxpb.AttributeProto{Name: proto.String(name), Type: t.Enum()}
		set(g, a)
		n.Attribute = append(n.Attribute, a)
	}
}

// Int sets an integer attribute.
func Int(name string, v int64) With {
	return attr(name, onnxpb.AttributeProto_INT, func(_ *Graph, a *onnxpb.AttributeProto) { a.I = proto.Int64(v) })
}

// Ints sets a list of integers.
func Ints(name string, v ...int64) With {
	return attr(name, onnxpb.AttributeProto_INTS, func(_ *Graph, a *onnxpb.AttributeProto) { a.Ints = v })
}

// Flt sets a float attribute.
func Flt(name string, v float32) With {
	return attr(name, onnxpb.AttributeProto_FLOAT, func(_ *Graph, a *onnxpb.AttributeProto) { a.F = proto.Float32(v) })
}

// Flts sets a list of floats.
func Flts(name string, v ...float32) With {
	return attr(name, onnxpb.AttributeProto_FLOATS, func(_ *Graph, a *onnxpb.AttributeProto) { a.Floats = v })
}

// Str sets a string attribute.
func Str(name, v string) With {
	return attr(name, onnxpb.AttributeProto_STRING, func(_ *Graph, a *onnxpb.AttributeProto) { a.S = []byte(v) })
}

// Strs sets a list of strings.
func Strs(name string, v ...string) With {
	return attr(name, onnxpb.AttributeProto_STRINGS, func(_ *Graph, a *onnxpb.AttributeProto) {
		for _, s := range v {
			a.Strings = append(a.Strings, []byte(s))
		}
	})
}

// Tensor sets a tensor attribute.
func Tensor(name string, t *onnxpb.TensorProto) With {
	return attr(name, onnxpb.AttributeProto_TENSOR, func(_ *Graph, a *onnxpb.AttributeProto) { a.T = t })
}

// Type sets a type attribute.
func Type(name string, t *onnxpb.TypeProto) With {
	return attr(name, onnxpb.AttributeProto_TYPE_PROTO, func(_ *Graph, a *onnxpb.AttributeProto) { a.Tp = t })
}

// Ref sets an attribute to that of the caller of the function around the node.
func Ref(name string, t onnxpb.AttributeProto_AttributeType, of string) With {
	return attr(name, t, func(_ *Graph, a *onnxpb.AttributeProto) { a.RefAttrName = proto.String(of) })
}

// Body sets a graph attribute that f builds.
func Body(name string, f func(g *Graph)) With {
	return attr(name, onnxpb.AttributeProto_GRAPH, func(g *Graph, a *onnxpb.AttributeProto) {
		id := g.m.fresh(name)
		b := &Graph{m: g.m, pb: &onnxpb.GraphProto{Name: proto.String(id)}, path: g.path + id + "/"}
		f(b)
		a.G = b.pb
	})
}

// Input adds a graph input. Each dimension is an int or int64, a string for a
// symbol, or nil for an unknown size.
func (g *Graph) Input(name string, t DType, dims ...any) string {
	g.pb.Input = append(g.pb.Input, ValueInfo(name, TensorType(t, dims...)))
	return name
}

// InputOf adds a graph input of any type; nil leaves the type out.
func (g *Graph) InputOf(name string, t *onnxpb.TypeProto) string {
	g.pb.Input = append(g.pb.Input, ValueInfo(name, t))
	return name
}

// Output declares a value as a graph output, with dimensions as for Input.
func (g *Graph) Output(name string, t DType, dims ...any) {
	g.pb.Output = append(g.pb.Output, ValueInfo(name, TensorType(t, dims...)))
}

// OutputOf declares a value of any type as a graph output; nil leaves the type out.
func (g *Graph) OutputOf(name string, t *onnxpb.TypeProto) {
	g.pb.Output = append(g.pb.Output, ValueInfo(name, t))
}

// Info adds a value info for a value inside the graph.
func (g *Graph) Info(name string, t DType, dims ...any) {
	g.pb.ValueInfo = append(g.pb.ValueInfo, ValueInfo(name, TensorType(t, dims...)))
}

// ValueInfo is a named type.
func ValueInfo(name string, t *onnxpb.TypeProto) *onnxpb.ValueInfoProto {
	return &onnxpb.ValueInfoProto{Name: proto.String(name), Type: t}
}

// TensorType is a tensor's type; dimensions as for Graph.Input.
func TensorType(t DType, dims ...any) *onnxpb.TypeProto {
	s := &onnxpb.TensorShapeProto{}
	for _, d := range dims {
		p := &onnxpb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case int:
			p.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case int64:
			p.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: d}
		case string:
			p.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		case nil:
		default:
			diag.Bugf("a dimension is an int, an int64, a string or nil, not %T", d)
		}
		s.Dim = append(s.Dim, p)
	}
	return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(t)), Shape: s},
	}}
}

// NoShape is the type of a tensor whose rank is unknown.
func NoShape(t DType) *onnxpb.TypeProto {
	return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_TensorType{
		TensorType: &onnxpb.TypeProto_Tensor{ElemType: proto.Int32(int32(t))},
	}}
}

// SequenceType is the type of a sequence.
func SequenceType(elem *onnxpb.TypeProto) *onnxpb.TypeProto {
	return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_SequenceType{
		SequenceType: &onnxpb.TypeProto_Sequence{ElemType: elem},
	}}
}

// OptionalType is the type of an optional.
func OptionalType(elem *onnxpb.TypeProto) *onnxpb.TypeProto {
	return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_OptionalType{
		OptionalType: &onnxpb.TypeProto_Optional{ElemType: elem},
	}}
}

func mapType(key DType, value *onnxpb.TypeProto) *onnxpb.TypeProto {
	return &onnxpb.TypeProto{Value: &onnxpb.TypeProto_MapType{
		MapType: &onnxpb.TypeProto_Map{KeyType: proto.Int32(int32(key)), ValueType: value},
	}}
}

// Store adds an initializer; in a function, which has none, a Constant node.
func (g *Graph) Store(t *onnxpb.TensorProto) string {
	if g.fn != nil {
		name := t.GetName()
		t.Name = nil
		return g.Op("Constant", nil, Outs(name), Tensor("value", t))
	}
	g.pb.Initializer = append(g.pb.Initializer, t)
	return t.GetName()
}

// Const adds a Constant node that holds t and returns its value, named like t.
func (g *Graph) Const(t *onnxpb.TensorProto) string {
	name := t.GetName()
	t.Name = nil
	return g.Op("Constant", nil, Outs(name), Tensor("value", t))
}

// Floats is a small float tensor.
func Floats(name string, v []float32, dims ...int64) *onnxpb.TensorProto {
	raw := make([]byte, 0, 4*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(x))
	}
	return Raw(name, Float, raw, dims...)
}

// Int64s is a small int64 tensor.
func Int64s(name string, v []int64, dims ...int64) *onnxpb.TensorProto {
	raw := make([]byte, 0, 8*len(v))
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	return Raw(name, Int64, raw, dims...)
}

// Raw is a tensor given by the bytes of its elements.
func Raw(name string, t DType, raw []byte, dims ...int64) *onnxpb.TensorProto {
	if want := elemBytes(t, count(dims)); int64(len(raw)) != want {
		diag.Bugf("tensor %s of type %v and shape %v takes %d bytes, not %d", name, t, dims, want, len(raw))
	}
	return &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(t)), Dims: dims, RawData: raw}
}

// Texts is a string tensor.
func Texts(name string, v []string, dims ...int64) *onnxpb.TensorProto {
	t := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(String)), Dims: dims}
	for _, s := range v {
		t.StringData = append(t.StringData, []byte(s))
	}
	return t
}

// Vec stores a vector of int64, such as a shape, under an automatic name.
func (g *Graph) Vec(v ...int64) string {
	return g.Store(Int64s(g.m.fresh("shape"), v, int64(len(v))))
}

// Scalar stores a float of rank 0 under an automatic name.
func (g *Graph) Scalar(v float32) string {
	return g.Store(Floats(g.m.fresh("scalar"), []float32{v}))
}

func count(dims []int64) int64 {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	return n
}

func elemBytes(t DType, n int64) int64 { return (n*Bits(t) + 7) / 8 }
