package backend

import (
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// marshal encodes a message, always to the same bytes.
var marshal = proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal

// declaration is a value as the source declares it: the message and its encoded form.
type declaration struct {
	info *onnxpb.ValueInfoProto
	raw  onnxfile.Chunk
}

// declared finds the source's declaration of a value: as a graph input or output,
// else in value_info. info is nil if it has none.
func (x *index) declared(v valueID) declaration {
	switch {
	case x.inputAt[v] >= 0:
		return declaration{x.graph.GetInput()[x.inputAt[v]], x.byField[graphInput][x.inputAt[v]].Body}
	case x.outputAt[v] >= 0:
		return declaration{x.graph.GetOutput()[x.outputAt[v]], x.byField[graphOutput][x.outputAt[v]].Body}
	case x.infoAt[v] >= 0:
		return declaration{x.graph.GetValueInfo()[x.infoAt[v]], x.byField[graphValueInfo][x.infoAt[v]].Body}
	}
	return declaration{}
}

// typeOf is what is known of a value's type: the inferred one, or where the graph
// does not have the value (an input that nothing reads, say) the declared one.
func (c *cut) typeOf(v valueID) ir.Type {
	if id := c.values[v]; id != noValue {
		return c.l.Types[id]
	}
	return typeFrom(c.x.declared(v).info.GetType())
}

// boundaryInfo is the encoded ValueInfoProto of a value that is an input or output
// of a sub-model. The source's own declaration is taken as it stands where it
// agrees with what inference knows and, inside the model, is as complete;
// otherwise the declaration keeps all but its type.
func (c *cut) boundaryInfo(v valueID) (onnxfile.Chunk, error) {
	x := c.x
	d := x.declared(v)
	if x.inputAt[v] >= 0 {
		return d.raw, nil // what the user declares of an input is true, be it nothing
	}
	known := c.typeOf(v)
	last := x.outputAt[v] >= 0 && len(c.consumers[v]) == 0 // nobody but the user takes it
	if d.info.GetType() != nil {
		switch f := compare(d.info.GetType(), known); {
		case f.contradicts:
		case f.bold && !last: // a runtime refuses an input that has another shape than declared
		case !f.vague, x.outputAt[v] >= 0 && hasShape(d.info.GetType()):
			return d.raw, nil
		}
	}
	t := buildType(known, d.info.GetType())
	if t == nil {
		if last && d.info != nil {
			return d.raw, nil // a runtime infers the type of an output
		}
		return onnxfile.Chunk{}, &diag.Error{
			File: x.m.Path, Value: x.names[v],
			Msg: "the cut sends it to another sub-model, but its type is not known; declare it in value_info, or keep its users together with --same",
		}
	}
	info := &onnxpb.ValueInfoProto{Name: proto.String(x.names[v])}
	if d.info != nil {
		info = proto.Clone(d.info).(*onnxpb.ValueInfoProto)
	}
	info.Type = t
	b, err := marshal(info)
	if err != nil {
		return onnxfile.Chunk{}, &diag.Error{File: x.m.Path, Value: x.names[v], Msg: "its declaration cannot be encoded", Err: err}
	}
	return onnxfile.Bytes(b), nil
}

// typeFrom reads a declared type. Negative extents mean unknown, as in ONNX Runtime.
func typeFrom(t *onnxpb.TypeProto) ir.Type {
	switch v := t.GetValue().(type) {
	case *onnxpb.TypeProto_TensorType:
		return tensorFrom(ir.Tensor, v.TensorType.GetElemType(), v.TensorType.GetShape())
	case *onnxpb.TypeProto_SparseTensorType:
		return tensorFrom(ir.SparseTensor, v.SparseTensorType.GetElemType(), v.SparseTensorType.GetShape())
	case *onnxpb.TypeProto_SequenceType:
		return ir.Type{Kind: ir.Sequence, Rank: -1}
	case *onnxpb.TypeProto_OptionalType:
		return ir.Type{Kind: ir.Optional, Rank: -1}
	case *onnxpb.TypeProto_MapType:
		return ir.Type{Kind: ir.Map, Rank: -1}
	case *onnxpb.TypeProto_OpaqueType:
		return ir.Type{Kind: ir.Opaque, Rank: -1}
	}
	return ir.Type{Rank: -1}
}

func tensorFrom(k ir.Kind, elem int32, shape *onnxpb.TensorShapeProto) ir.Type {
	t := ir.Type{Kind: k, Elem: ir.ElemType(elem), Rank: -1}
	if shape == nil {
		return t
	}
	t.Rank = len(shape.GetDim())
	for _, d := range shape.GetDim() {
		switch v := d.GetValue().(type) {
		case *onnxpb.TensorShapeProto_Dimension_DimValue:
			t.Shape = append(t.Shape, ir.Dim{N: max(v.DimValue, -1)})
		case *onnxpb.TensorShapeProto_Dimension_DimParam:
			t.Shape = append(t.Shape, ir.Symbol(v.DimParam))
		default:
			t.Shape = append(t.Shape, ir.Symbol(""))
		}
	}
	return t
}

func hasShape(t *onnxpb.TypeProto) bool {
	return t.GetTensorType().GetShape() != nil || t.GetSparseTensorType().GetShape() != nil || typeFrom(t).Kind > ir.SparseTensor
}

// fit is how a declared type relates to what inference knows.
type fit struct {
	contradicts bool // another kind, element type, rank or extent
	bold        bool // it fixes a rank or extent that inference does not know
	vague       bool // inference knows more
}

func compare(declared *onnxpb.TypeProto, known ir.Type) fit {
	d := typeFrom(declared)
	switch {
	case known.Kind == ir.UnknownKind:
		return fit{bold: true}
	case d.Kind != known.Kind:
		return fit{contradicts: true}
	case d.Kind != ir.Tensor && d.Kind != ir.SparseTensor:
		return fit{} // of these only the declaration knows more than the kind
	case d.Elem != known.Elem && known.Elem != ir.UndefinedElem:
		return fit{contradicts: true}
	case d.Rank < 0:
		return fit{vague: known.Rank >= 0}
	case known.Rank < 0:
		return fit{bold: true}
	case known.Rank != d.Rank:
		return fit{contradicts: true}
	}
	var f fit
	for i, k := range known.Shape {
		switch e := d.Shape[i]; {
		case e.N >= 0 && k.N >= 0:
			f.contradicts = f.contradicts || e.N != k.N
		case e.N >= 0:
			f.bold = true
		default:
			f.vague = f.vague || k.N >= 0 || e.Sym == "" && k.Sym != ""
		}
	}
	return f
}

// buildType encodes what inference knows, with the denotations of the declared
// type. It is nil if that is not enough for a declaration: of a sequence,
// optional, map or opaque value only the source can give the full type.
func buildType(known ir.Type, declared *onnxpb.TypeProto) *onnxpb.TypeProto {
	d := typeFrom(declared)
	if known.Kind == ir.UnknownKind {
		// Nothing is known but what is declared; extents that inference could not
		// confirm are left open.
		known = d
		for i := range known.Shape {
			known.Shape[i] = ir.Symbol(known.Shape[i].Sym)
		}
	}
	switch known.Kind {
	case ir.Tensor, ir.SparseTensor:
	default:
		if d.Kind == known.Kind && declared != nil && d.Kind != ir.UnknownKind {
			return declared
		}
		return nil
	}
	if known.Elem == ir.UndefinedElem {
		if d.Kind != known.Kind || d.Elem == ir.UndefinedElem {
			return nil
		}
		known.Elem = d.Elem
	}
	var shape *onnxpb.TensorShapeProto
	if known.Rank >= 0 {
		shape = &onnxpb.TensorShapeProto{}
		old := declared.GetTensorType().GetShape().GetDim()
		for i, k := range known.Shape {
			dim := &onnxpb.TensorShapeProto_Dimension{}
			switch {
			case k.N >= 0:
				dim.Value = &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: k.N}
			case k.Sym != "":
				dim.Value = &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: k.Sym}
			}
			if len(old) == known.Rank {
				dim.Denotation = old[i].Denotation
			}
			shape.Dim = append(shape.Dim, dim)
		}
	}
	t := &onnxpb.TypeProto{}
	if declared != nil {
		t.Denotation = declared.Denotation
	}
	elem := proto.Int32(int32(known.Elem))
	if known.Kind == ir.SparseTensor {
		t.Value = &onnxpb.TypeProto_SparseTensorType{SparseTensorType: &onnxpb.TypeProto_SparseTensor{ElemType: elem, Shape: shape}}
	} else {
		t.Value = &onnxpb.TypeProto_TensorType{TensorType: &onnxpb.TypeProto_Tensor{ElemType: elem, Shape: shape}}
	}
	return t
}
