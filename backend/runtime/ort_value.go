//go:build cgo && (linux || darwin)

package runtime

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

/*
#include "ort_calls.h"
*/
import "C"

// ONNX Runtime's kinds of values.
const (
	ortTensor = iota + 1
	ortSequence
	ortMap
	ortOpaque
	ortSparse
	ortOptional
)

func kindOf(kind C.int) ir.Kind {
	switch kind {
	case ortTensor:
		return ir.Tensor
	case ortSequence:
		return ir.Sequence
	case ortMap:
		return ir.Map
	case ortOpaque:
		return ir.Opaque
	case ortSparse:
		return ir.SparseTensor
	case ortOptional:
		return ir.Optional
	}
	return ir.UnknownKind
}

// ONNX Runtime numbers element types as ONNX does up to float4e2m1. Its own
// enumeration has the newest types in another order: 1.30 takes ONNX's numbers
// when it makes a tensor and gives its own when asked what a tensor is.
func elemFromORT(t C.int) (ir.ElemType, error) {
	switch elem := ir.ElemType(t); {
	case elem > 0 && elem <= ir.Float4E2M1:
		return elem, nil
	case t == 24:
		return ir.Uint2, nil
	case t == 25:
		return ir.Int2, nil
	case t == 26:
		return ir.Float8E8M0, nil
	}
	return ir.UndefinedElem, fmt.Errorf("ONNX Runtime's element type %d is not known here", int(t))
}

// newTensor makes a tensor of ONNX Runtime's own memory, so that no pointer into
// Go's outlives a call. The caller releases it.
func (e *ortEngine) newTensor(elem ir.ElemType, shape []int64) (*C.OrtValue, error) {
	var v *C.OrtValue
	dims := append(make([]int64, 0, len(shape)+1), shape...) // never nil
	if err := status(C.CreateTensorAsOrtValue((*C.int64_t)(unsafe.SliceData(dims)), C.int64_t(len(dims)), C.int(elem), &v)); err != nil {
		return nil, err
	}
	if elem <= ir.Float4E2M1 {
		return v, nil
	}
	made, _, err := shapeOf(v)
	if err != nil || made != elem {
		C.ReleaseOrtValue(v)
		return nil, fmt.Errorf("ONNX Runtime %s does not take tensors of %s", e.version, elem)
	}
	return v, nil
}

// shapeOf is the element type and shape of a tensor.
func shapeOf(v *C.OrtValue) (ir.ElemType, []int64, error) {
	var info *C.OrtTensorTypeAndShapeInfo
	if err := status(C.GetTensorTypeAndShape(v, &info)); err != nil {
		return 0, nil, err
	}
	defer C.ReleaseTensorTypeAndShapeInfo(info)
	return tensorShape(info)
}

// tensorShape reads element type and dims; symbolic dims are negative.
func tensorShape(info *C.OrtTensorTypeAndShapeInfo) (ir.ElemType, []int64, error) {
	var kind C.int
	if err := status(C.GetTensorElementType(info, &kind)); err != nil {
		return 0, nil, err
	}
	elem, err := elemFromORT(kind)
	if err != nil {
		return 0, nil, err
	}
	var rank C.size_t
	if err := status(C.GetDimensionsCount(info, &rank)); err != nil {
		return 0, nil, err
	}
	dims := make([]int64, rank)
	if rank > 0 {
		if err := status(C.GetDimensions(info, (*C.int64_t)(&dims[0]), rank)); err != nil {
			return 0, nil, err
		}
	}
	return elem, dims, nil
}

// toORT copies v into a new OrtValue, which the caller releases. ONNX Runtime's
// interface has no way to make empty sequences, empty optionals, sparse tensors
// and opaque values, nor strings that hold a zero byte.
func (e *ortEngine) toORT(v *Value) (*C.OrtValue, error) {
	if v == nil {
		return nil, fmt.Errorf("an empty optional cannot be given")
	}
	if err := v.Check(); err != nil {
		return nil, err
	}
	switch v.Kind {
	case ir.Tensor:
		return e.tensorToORT(v)
	case ir.Optional:
		if len(v.Items) == 0 {
			return nil, fmt.Errorf("an empty optional cannot be given")
		}
		return e.toORT(v.Items[0]) // ONNX Runtime takes the value where an optional is expected
	case ir.Sequence:
		if len(v.Items) == 0 {
			return nil, fmt.Errorf("an empty sequence cannot be given")
		}
		return e.containerToORT(v.Items, ortSequence)
	case ir.Map:
	default:
		diag.Bugf("a value of kind %q passed its check", v.Kind)
	}
	return e.containerToORT(v.Items, ortMap)
}

func (e *ortEngine) containerToORT(items []*Value, kind C.int) (*C.OrtValue, error) {
	parts := make([]*C.OrtValue, 0, len(items))
	defer func() {
		for _, p := range parts {
			C.ReleaseOrtValue(p)
		}
	}()
	for i, item := range items {
		p, err := e.toORT(item)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		parts = append(parts, p)
	}
	var v *C.OrtValue
	if err := status(C.CreateOrtValue(&parts[0], C.size_t(len(parts)), kind, &v)); err != nil {
		return nil, err
	}
	return v, nil
}

// tensorToORT copies a tensor.
func (e *ortEngine) tensorToORT(t *Value) (*C.OrtValue, error) {
	if t.Elem == ir.String {
		for i, s := range t.Strings {
			if strings.IndexByte(s, 0) >= 0 {
				return nil, fmt.Errorf("string %d holds a zero byte, which ends a string in C", i)
			}
		}
	}
	v, err := e.newTensor(t.Elem, t.Shape)
	if err != nil {
		return nil, err
	}
	if t.Elem == ir.String {
		if err := fillStrings(v, t.Strings); err != nil {
			C.ReleaseOrtValue(v)
			return nil, err
		}
		return v, nil
	}
	if len(t.Data) == 0 {
		return v, nil
	}
	var data unsafe.Pointer
	if err := status(C.GetTensorMutableData(v, &data)); err != nil {
		C.ReleaseOrtValue(v)
		return nil, err
	}
	copy(unsafe.Slice((*byte)(data), len(t.Data)), t.Data)
	return v, nil
}

func fillStrings(v *C.OrtValue, elems []string) error {
	if len(elems) == 0 {
		return nil
	}
	cs := make([]*C.char, len(elems))
	for i, s := range elems {
		cs[i] = C.CString(s)
	}
	defer func() {
		for _, c := range cs {
			C.free(ptr(c))
		}
	}()
	return status(C.FillStringTensor(v, &cs[0], C.size_t(len(cs))))
}

// fromORT copies v out; v stays the caller's. A value that is not there is an
// empty optional; an optional that is there comes as what it holds.
func (e *ortEngine) fromORT(v *C.OrtValue) (*Value, error) {
	var full C.int
	if v != nil {
		if err := status(C.dnnsplit_has_value(e.api, v, &full)); err != nil {
			return nil, err
		}
	}
	if full == 0 {
		return &Value{Kind: ir.Optional}, nil
	}
	var kind C.int
	if err := status(C.GetValueType(v, &kind)); err != nil {
		return nil, err
	}
	switch kind {
	case ortTensor:
		return e.tensorFromORT(v)
	case ortSequence:
		var n C.size_t
		if err := status(C.GetValueCount(v, &n)); err != nil {
			return nil, err
		}
		return e.containerFromORT(v, ir.Sequence, int(n))
	case ortMap:
		return e.containerFromORT(v, ir.Map, 2)
	}
	return nil, fmt.Errorf("a value of kind %q cannot be read", kindOf(kind))
}

func (e *ortEngine) containerFromORT(v *C.OrtValue, kind ir.Kind, n int) (*Value, error) {
	out := &Value{Kind: kind}
	for i := range n {
		var part *C.OrtValue
		if err := status(C.GetValue(v, C.int(i), &part)); err != nil {
			return nil, err
		}
		item, err := e.fromORT(part)
		C.ReleaseOrtValue(part)
		if err != nil {
			return nil, fmt.Errorf("item %d: %w", i, err)
		}
		out.Items = append(out.Items, item)
	}
	return out, nil
}

func (e *ortEngine) tensorFromORT(v *C.OrtValue) (*Value, error) {
	elem, shape, err := shapeOf(v)
	if err != nil {
		return nil, err
	}
	n, ok := ir.Elements(shape)
	if !ok {
		return nil, fmt.Errorf("ONNX Runtime reports the impossible shape %s", FormatShape(shape))
	}
	if elem == ir.String {
		elems, err := stringsFromORT(v, n)
		if err != nil {
			return nil, err
		}
		return NewStrings(shape, elems)
	}
	size, ok := ir.StoredBytes(elem, n)
	if !ok {
		return nil, fmt.Errorf("ONNX Runtime reports the impossible shape %s", FormatShape(shape))
	}
	data := make([]byte, size)
	if size > 0 {
		var from unsafe.Pointer
		if err := status(C.GetTensorMutableData(v, &from)); err != nil {
			return nil, err
		}
		if from == nil {
			return nil, fmt.Errorf("ONNX Runtime gives a tensor without contents")
		}
		copy(data, unsafe.Slice((*byte)(from), size))
	}
	return NewTensor(elem, shape, data)
}

func stringsFromORT(v *C.OrtValue, n int64) ([]string, error) {
	elems := make([]string, n)
	if n == 0 {
		return elems, nil
	}
	var size C.size_t
	if err := status(C.GetStringTensorDataLength(v, &size)); err != nil {
		return nil, err
	}
	if size == 0 {
		return elems, nil
	}
	buf := make([]byte, size)
	offsets := make([]C.size_t, n)
	if err := status(C.GetStringTensorContent(v, ptr(&buf[0]), size, &offsets[0], C.size_t(n))); err != nil {
		return nil, err
	}
	for i := range elems {
		end := C.size_t(len(buf))
		if i+1 < len(offsets) {
			end = offsets[i+1]
		}
		if offsets[i] > end || end > C.size_t(len(buf)) {
			return nil, fmt.Errorf("ONNX Runtime gives a damaged string tensor")
		}
		elems[i] = string(buf[offsets[i]:end])
	}
	return elems, nil
}
