package runtime

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Value is what a model takes or gives. Kind says which of the other fields count:
//
//	ir.Tensor    Elem, Shape, and Data (or Strings where Elem is ir.String)
//	ir.Sequence  Items, in order
//	ir.Optional  Items: one, or none for an empty optional
//	ir.Map       Items: two tensors of one dimension, the keys and the values
//
// A Value that was handed to somebody is not changed any more.
type Value struct {
	Kind    ir.Kind
	Elem    ir.ElemType
	Shape   []int64
	Data    []byte   // elements in row-major order, little endian, bools a byte each, sub-byte types packed low bits first
	Strings []string // elements of a string tensor
	Items   []*Value
}

// NewTensor is a tensor over data, which it keeps. It fails if shape and length disagree.
func NewTensor(elem ir.ElemType, shape []int64, data []byte) (*Value, error) {
	v := &Value{Kind: ir.Tensor, Elem: elem, Shape: shape, Data: data}
	if err := v.Check(); err != nil {
		return nil, err
	}
	return v, nil
}

// NewStrings is a string tensor over elems, which it keeps. It fails if shape and length disagree.
func NewStrings(shape []int64, elems []string) (*Value, error) {
	v := &Value{Kind: ir.Tensor, Elem: ir.String, Shape: shape, Strings: elems}
	if err := v.Check(); err != nil {
		return nil, err
	}
	return v, nil
}

// NewSequence is the sequence of items.
func NewSequence(items ...*Value) *Value { return &Value{Kind: ir.Sequence, Items: items} }

// Elements is the number of elements of a tensor; 0 for other kinds and impossible shapes.
func (v *Value) Elements() int64 {
	if v.Kind != ir.Tensor {
		return 0
	}
	n, ok := ir.Elements(v.Shape)
	if !ok {
		return 0
	}
	return n
}

// SizeBytes is the number of bytes that the contents of v take, strings and items included.
func (v *Value) SizeBytes() int64 {
	n := int64(len(v.Data))
	for _, s := range v.Strings {
		n += int64(len(s))
	}
	for _, item := range v.Items {
		n += item.SizeBytes()
	}
	return n
}

// Check says what is wrong with v: contents that do not fit its shape, missing items.
func (v *Value) Check() error {
	switch v.Kind {
	case ir.Tensor:
		return v.checkTensor()
	case ir.Sequence:
	case ir.Optional:
		if len(v.Items) > 1 {
			return fmt.Errorf("an optional holds %d values, one at most is possible", len(v.Items))
		}
	case ir.Map:
		if len(v.Items) != 2 {
			return fmt.Errorf("a map is given as two tensors, keys and values, not %d", len(v.Items))
		}
	default:
		return fmt.Errorf("a value of kind %q cannot be held", v.Kind)
	}
	for i, item := range v.Items {
		if item == nil {
			return fmt.Errorf("item %d of a %s is missing", i, v.Kind)
		}
		if err := item.Check(); err != nil {
			return fmt.Errorf("item %d of a %s: %w", i, v.Kind, err)
		}
	}
	return nil
}

func (v *Value) checkTensor() error {
	if !v.Elem.Known() {
		return fmt.Errorf("a tensor of element type %s cannot be held", v.Elem)
	}
	n, ok := ir.Elements(v.Shape)
	if !ok {
		return fmt.Errorf("shape %s is impossible", FormatShape(v.Shape))
	}
	if v.Elem == ir.String {
		if int64(len(v.Strings)) != n {
			return fmt.Errorf("a string tensor of shape %s has %d elements, not %d", FormatShape(v.Shape), n, len(v.Strings))
		}
		return nil
	}
	want, ok := ir.StoredBytes(v.Elem, n)
	if !ok {
		return fmt.Errorf("shape %s is impossible", FormatShape(v.Shape))
	}
	if int64(len(v.Data)) != want {
		return fmt.Errorf("a tensor %s%s takes %d bytes, not %d", v.Elem, FormatShape(v.Shape), want, len(v.Data))
	}
	return nil
}

// Type is v's type, every extent a number.
func (v *Value) Type() ir.Type {
	if v.Kind != ir.Tensor {
		return ir.Type{Kind: v.Kind, Rank: -1}
	}
	dims := make([]ir.Dim, len(v.Shape))
	for i, n := range v.Shape {
		dims[i] = ir.Fixed(n)
	}
	return ir.TensorOf(v.Elem, dims...)
}

// String describes v without its contents: "float32[1,3]", "sequence of 2".
func (v *Value) String() string {
	switch v.Kind {
	case ir.Tensor:
		return v.Elem.String() + FormatShape(v.Shape)
	case ir.Sequence, ir.Map:
		return fmt.Sprintf("%s of %d", v.Kind, len(v.Items))
	case ir.Optional:
		if len(v.Items) == 1 {
			return "optional " + v.Items[0].String()
		}
		return "empty optional"
	}
	return v.Kind.String()
}

// FormatShape writes a shape as "[1,3,224,224]".
func FormatShape(shape []int64) string {
	dims := make([]string, len(shape))
	for i, n := range shape {
		dims[i] = strconv.FormatInt(n, 10)
	}
	return "[" + strings.Join(dims, ",") + "]"
}
