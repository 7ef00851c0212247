package runtime

import (
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

func TestValueCheck(t *testing.T) {
	one := &Value{Kind: ir.Tensor, Elem: ir.Float32, Shape: []int64{1}, Data: make([]byte, 4)}
	for _, c := range []struct {
		v    Value
		want string // "": it is right
	}{
		{*one, ""},
		{Value{Kind: ir.Sequence}, ""},
		{Value{Kind: ir.Optional, Items: []*Value{one}}, ""},
		{Value{Kind: ir.Map, Items: []*Value{one, one}}, ""},
		{Value{Kind: ir.Optional, Items: []*Value{one, one}}, "an optional holds 2 values, one at most is possible"},
		{Value{Kind: ir.Map, Items: []*Value{one}}, "a map is given as two tensors, keys and values, not 1"},
		{Value{Kind: ir.Opaque}, `a value of kind "opaque" cannot be held`},
		{Value{Kind: ir.Sequence, Items: []*Value{one, nil}}, "item 1 of a sequence is missing"},
		{Value{Kind: ir.Sequence, Items: []*Value{{Kind: ir.Optional, Items: []*Value{nil}}}}, "item 0 of a sequence: item 0 of a optional is missing"},
		{Value{Kind: ir.Tensor, Elem: 99, Shape: []int64{1}}, "a tensor of element type type99 cannot be held"},
		{Value{Kind: ir.Tensor, Elem: ir.String, Shape: []int64{2, 2}, Strings: []string{"a"}}, "a string tensor of shape [2,2] has 4 elements, not 1"},
		{Value{Kind: ir.Tensor, Elem: ir.Int64, Shape: []int64{3}, Data: make([]byte, 8)}, "a tensor int64[3] takes 24 bytes, not 8"},
		{Value{Kind: ir.Tensor, Elem: ir.Float32, Shape: []int64{-1}}, "shape [-1] is impossible"},
	} {
		got := ""
		if err := c.v.Check(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}
