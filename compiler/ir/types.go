package ir

import (
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// ElemType is an element type; its numbers are those of ONNX TensorProto.DataType.
type ElemType int32

const (
	UndefinedElem ElemType = iota
	Float32
	Uint8
	Int8
	Uint16
	Int16
	Int32
	Int64
	String
	Bool
	Float16
	Float64
	Uint32
	Uint64
	Complex64
	Complex128
	BFloat16
	Float8E4M3FN
	Float8E4M3FNUZ
	Float8E5M2
	Float8E5M2FNUZ
	Uint4
	Int4
	Float4E2M1
	Float8E8M0
	Uint2
	Int2
)

var elemTypes = [...]struct {
	name string
	bits int
}{
	UndefinedElem: {"undefined", 0}, Float32: {"float32", 32}, Uint8: {"uint8", 8}, Int8: {"int8", 8},
	Uint16: {"uint16", 16}, Int16: {"int16", 16}, Int32: {"int32", 32}, Int64: {"int64", 64},
	String: {"string", 0}, Bool: {"bool", 8}, Float16: {"float16", 16}, Float64: {"float64", 64},
	Uint32: {"uint32", 32}, Uint64: {"uint64", 64}, Complex64: {"complex64", 64}, Complex128: {"complex128", 128},
	BFloat16: {"bfloat16", 16}, Float8E4M3FN: {"float8e4m3fn", 8}, Float8E4M3FNUZ: {"float8e4m3fnuz", 8},
	Float8E5M2: {"float8e5m2", 8}, Float8E5M2FNUZ: {"float8e5m2fnuz", 8}, Uint4: {"uint4", 4}, Int4: {"int4", 4},
	Float4E2M1: {"float4e2m1", 4}, Float8E8M0: {"float8e8m0", 8}, Uint2: {"uint2", 2}, Int2: {"int2", 2},
}

// Known says whether t is a type of the standard, UndefinedElem excluded.
func (t ElemType) Known() bool { return t > UndefinedElem && int(t) < len(elemTypes) }

// String is the type's name as numpy and the manifest spell it; "type27" for one the standard does not have.
func (t ElemType) String() string {
	if t >= 0 && int(t) < len(elemTypes) {
		return elemTypes[t].name
	}
	return "type" + strconv.Itoa(int(t))
}

// Bits is the size of an element; 0 for strings and unknown types, whose size is not fixed.
func (t ElemType) Bits() int {
	if t >= 0 && int(t) < len(elemTypes) {
		return elemTypes[t].bits
	}
	return 0
}

// ParseElemType is the inverse of String for types of the standard.
func ParseElemType(name string) (ElemType, bool) {
	for i, e := range elemTypes {
		if i > 0 && e.name == name {
			return ElemType(i), true
		}
	}
	return UndefinedElem, false
}

// Dim is one extent of a shape: a number, a named symbol or expression of symbols, or unknown.
type Dim struct {
	N   int64  // ≥ 0 if the extent is a number; else -1
	Sym string // if N < 0: a symbol ("batch") or expression ("past + seq"); "" if nothing is known
}

// Fixed is the extent n.
func Fixed(n int64) Dim { return Dim{N: n} }

// Symbol is the extent called name; Symbol("") is unknown.
func Symbol(name string) Dim { return Dim{N: -1, Sym: name} }

func (d Dim) String() string {
	switch {
	case d.N >= 0:
		return strconv.FormatInt(d.N, 10)
	case d.Sym != "":
		return d.Sym
	}
	return "?"
}

// Kind says what a value is made of.
type Kind uint8

const (
	// UnknownKind: nothing is known of the value's type.
	UnknownKind Kind = iota
	// Tensor is a dense tensor.
	Tensor
	// SparseTensor, Sequence, Optional, Map and Opaque values cannot cross processors.
	SparseTensor
	Sequence
	Optional
	Map
	Opaque
)

var kindNames = [...]string{"unknown", "tensor", "sparse tensor", "sequence", "optional", "map", "opaque"}

func (k Kind) String() string { return kindNames[k] }

// Type is the type of a value. For kinds other than Tensor and SparseTensor only Kind counts.
type Type struct {
	Kind  Kind
	Elem  ElemType
	Rank  int   // -1 if unknown
	Shape []Dim // len Rank; nil if Rank is -1
}

// TensorOf is a dense tensor of the given shape.
func TensorOf(e ElemType, shape ...Dim) Type {
	return Type{Kind: Tensor, Elem: e, Rank: len(shape), Shape: shape}
}

// Unranked is a dense tensor of unknown rank.
func Unranked(e ElemType) Type { return Type{Kind: Tensor, Elem: e, Rank: -1} }

func (t Type) String() string {
	if t.Kind != Tensor {
		return t.Kind.String()
	}
	if t.Rank < 0 {
		return t.Elem.String() + "[...]"
	}
	dims := make([]string, len(t.Shape))
	for i, d := range t.Shape {
		dims[i] = d.String()
	}
	return t.Elem.String() + "[" + strings.Join(dims, ",") + "]"
}

// Elements is the product of dims and whether it fits into an int64. A negative
// extent does not.
func Elements(dims []int64) (int64, bool) {
	n := uint64(1)
	zero := false
	for _, d := range dims {
		if d < 0 {
			return 0, false
		}
		zero = zero || d == 0
	}
	if zero {
		return 0, true
	}
	for _, d := range dims {
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, false
		}
		n = lo
	}
	return int64(n), true
}

// StoredBytes is the size of n elements of type t, sub-byte types packed, and
// whether it fits into an int64. Strings and unknown types count 0 bytes.
func StoredBytes(t ElemType, n int64) (int64, bool) {
	hi, lo := bits.Mul64(uint64(n), uint64(t.Bits()))
	if hi != 0 || lo > math.MaxInt64-7 {
		return 0, false
	}
	return int64(lo+7) / 8, true
}
