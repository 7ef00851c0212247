package verify

import (
	"encoding/binary"
	"fmt"
	"math"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// ParseProto decodes the contents of a .pb file, as ONNX's test data has them: a
// TensorProto, or a SequenceProto or OptionalProto where kind asks for one
// (onnx/onnx-data.proto). name is the one that the message carries.
func ParseProto(b []byte, kind ir.Kind) (v *runtime.Value, name string, err error) {
	switch kind {
	case ir.Tensor, ir.UnknownKind:
		return parseTensor(b)
	case ir.Sequence:
		v, name, err = parseContainer(b, ir.Sequence, 0)
	case ir.Optional:
		v, name, err = parseContainer(b, ir.Optional, 0)
	default:
		err = fmt.Errorf("a value of kind %q cannot be read", kind)
	}
	return v, name, err
}

func parseTensor(b []byte) (*runtime.Value, string, error) {
	t := &onnxpb.TensorProto{}
	if err := proto.Unmarshal(b, t); err != nil {
		return nil, "", fmt.Errorf("it is no TensorProto: %w", err)
	}
	v, err := valueOf(t)
	return v, t.GetName(), err
}

// maxNesting bounds sequences of sequences.
const maxNesting = 16

// Field numbers of SequenceProto and of OptionalProto, which are the same.
const (
	containerName     = 1
	containerTensor   = 3
	containerSequence = 5
	containerOptional = 7
)

func parseContainer(b []byte, kind ir.Kind, depth int) (*runtime.Value, string, error) {
	if depth == maxNesting {
		return nil, "", fmt.Errorf("it is nested more than %d deep", maxNesting)
	}
	out, name := &runtime.Value{Kind: kind}, ""
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, "", fmt.Errorf("it is damaged: %w", protowire.ParseError(n))
		}
		b = b[n:]
		if typ != protowire.BytesType {
			if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
				return nil, "", fmt.Errorf("it is damaged: %w", protowire.ParseError(n))
			}
			b = b[n:]
			continue
		}
		body, n := protowire.ConsumeBytes(b)
		if n < 0 {
			return nil, "", fmt.Errorf("it is damaged: %w", protowire.ParseError(n))
		}
		b = b[n:]
		var item *runtime.Value
		var err error
		switch num {
		case containerName:
			name = string(body)
			continue
		case containerTensor:
			item, _, err = parseTensor(body)
		case containerSequence:
			item, _, err = parseContainer(body, ir.Sequence, depth+1)
		case containerOptional:
			item, _, err = parseContainer(body, ir.Optional, depth+1)
		default:
			err = fmt.Errorf("it holds sparse tensors or maps")
		}
		if err != nil {
			return nil, "", err
		}
		out.Items = append(out.Items, item)
	}
	return out, name, out.Check()
}

// valueOf is the tensor that t stores in one of its fields. External data is
// refused: its place is relative to something that is not known here.
func valueOf(t *onnxpb.TensorProto) (*runtime.Value, error) {
	elem := ir.ElemType(t.GetDataType())
	shape := append([]int64{}, t.GetDims()...)
	n, ok := ir.Elements(shape)
	if !ok || !elem.Known() {
		return nil, fmt.Errorf("a tensor %s%s cannot be held", elem, runtime.FormatShape(shape))
	}
	if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
		return nil, fmt.Errorf("its contents are in another file")
	}
	if elem == ir.String {
		elems := make([]string, len(t.GetStringData()))
		for i, s := range t.GetStringData() {
			elems[i] = string(s)
		}
		return runtime.NewStrings(shape, elems)
	}
	if t.RawData != nil {
		return runtime.NewTensor(elem, shape, t.RawData)
	}
	data := []byte{}
	switch elem {
	case ir.Float32, ir.Complex64:
		for _, f := range t.GetFloatData() {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(f))
		}
	case ir.Float64, ir.Complex128:
		for _, f := range t.GetDoubleData() {
			data = binary.LittleEndian.AppendUint64(data, math.Float64bits(f))
		}
	case ir.Int64:
		for _, x := range t.GetInt64Data() {
			data = binary.LittleEndian.AppendUint64(data, uint64(x))
		}
	case ir.Uint64:
		for _, x := range t.GetUint64Data() {
			data = binary.LittleEndian.AppendUint64(data, x)
		}
	case ir.Uint32:
		for _, x := range t.GetUint64Data() {
			data = binary.LittleEndian.AppendUint32(data, uint32(x))
		}
	default: // all smaller types: one entry an element, or one a byte where elements are packed
		width := max(elem.Bits()/8, 1)
		for _, x := range t.GetInt32Data() {
			data = append(data, binary.LittleEndian.AppendUint32(nil, uint32(x))[:width]...)
		}
	}
	if want, ok := ir.StoredBytes(elem, n); !ok || int64(len(data)) != want {
		return nil, fmt.Errorf("a tensor %s%s does not have %d bytes of contents", elem, runtime.FormatShape(shape), len(data))
	}
	return runtime.NewTensor(elem, shape, data)
}
