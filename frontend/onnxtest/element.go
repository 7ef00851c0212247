package onnxtest

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// elementOf is one little-endian element as a value of a typed field of TensorProto.
func elementOf(k protoreflect.Kind, b []byte, signed bool) protoreflect.Value {
	var w [8]byte
	copy(w[:], b)
	u := binary.LittleEndian.Uint64(w[:])
	s := int64(u)
	if shift := 64 - 8*len(b); signed {
		s = int64(u<<shift) >> shift
	}
	switch k {
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(math.Float32frombits(uint32(u)))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(math.Float64frombits(u))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(s))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(s)
	}
	return protoreflect.ValueOfUint64(u)
}
