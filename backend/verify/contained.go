package verify

import (
	"context"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// contained tells what the sequences and optionals among the model's inputs hold,
// which engines do not say. It opens the model when it is first asked.
func (v *verification) contained(ctx context.Context) func(name string) (ir.Type, error) {
	var types map[string]*onnxpb.TypeProto
	return func(name string) (ir.Type, error) {
		if types == nil {
			m, err := onnxfile.Open(ctx, v.model, v.Limits)
			if err != nil {
				return ir.Type{}, err
			}
			defer func() { _ = m.Close() }() // only read
			types = map[string]*onnxpb.TypeProto{}
			for _, in := range m.Proto.GetGraph().GetInput() {
				types[in.GetName()] = in.GetType()
			}
		}
		t := types[name]
		for depth := 0; depth < 4 && t != nil; depth++ {
			switch value := t.GetValue().(type) {
			case *onnxpb.TypeProto_OptionalType:
				t = value.OptionalType.GetElemType()
			case *onnxpb.TypeProto_SequenceType:
				t = value.SequenceType.GetElemType()
			case *onnxpb.TypeProto_TensorType:
				return tensorType(value.TensorType), nil
			default:
				t = nil
			}
		}
		return ir.Type{}, &diag.Error{File: v.model, Value: name, Msg: "what this input holds cannot be generated, give it with --input"}
	}
}

func tensorType(t *onnxpb.TypeProto_Tensor) ir.Type {
	out := ir.Unranked(ir.ElemType(t.GetElemType()))
	if t.GetShape() == nil {
		return out
	}
	out.Shape = []ir.Dim{}
	for _, d := range t.GetShape().GetDim() {
		dim := ir.Symbol(d.GetDimParam())
		if n, ok := d.GetValue().(*onnxpb.TensorShapeProto_Dimension_DimValue); ok && n.DimValue >= 0 {
			dim = ir.Fixed(n.DimValue)
		}
		out.Shape = append(out.Shape, dim)
	}
	out.Rank = len(out.Shape)
	return out
}

// joinSome is a list for an error, cut where it gets long.
func joinSome(items []string) string {
	const most = 8
	if len(items) > most {
		items = append(items[:most:most], "...")
	}
	return strings.Join(items, ", ")
}
