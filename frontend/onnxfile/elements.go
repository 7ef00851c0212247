package onnxfile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// elem says how ONNX stores an element type (TensorProto of the standard).
type elem struct {
	name  string
	bits  int64            // in raw_data; 0 for strings and types that the standard does not have
	field protowire.Number // typed field that may hold it
	entry int64            // bytes in raw_data of one entry of that field
}

var elems = [...]elem{
	onnxpb.TensorProto_FLOAT:          {"float32", 32, tensorFloats, 4},
	onnxpb.TensorProto_UINT8:          {"uint8", 8, tensorInt32s, 1},
	onnxpb.TensorProto_INT8:           {"int8", 8, tensorInt32s, 1},
	onnxpb.TensorProto_UINT16:         {"uint16", 16, tensorInt32s, 2},
	onnxpb.TensorProto_INT16:          {"int16", 16, tensorInt32s, 2},
	onnxpb.TensorProto_INT32:          {"int32", 32, tensorInt32s, 4},
	onnxpb.TensorProto_INT64:          {"int64", 64, tensorInt64s, 8},
	onnxpb.TensorProto_STRING:         {"string", 0, tensorStrings, 0},
	onnxpb.TensorProto_BOOL:           {"bool", 8, tensorInt32s, 1},
	onnxpb.TensorProto_FLOAT16:        {"float16", 16, tensorInt32s, 2},
	onnxpb.TensorProto_DOUBLE:         {"float64", 64, tensorDoubles, 8},
	onnxpb.TensorProto_UINT32:         {"uint32", 32, tensorUint64s, 4},
	onnxpb.TensorProto_UINT64:         {"uint64", 64, tensorUint64s, 8},
	onnxpb.TensorProto_COMPLEX64:      {"complex64", 64, tensorFloats, 4},
	onnxpb.TensorProto_COMPLEX128:     {"complex128", 128, tensorDoubles, 8},
	onnxpb.TensorProto_BFLOAT16:       {"bfloat16", 16, tensorInt32s, 2},
	onnxpb.TensorProto_FLOAT8E4M3FN:   {"float8e4m3fn", 8, tensorInt32s, 1},
	onnxpb.TensorProto_FLOAT8E4M3FNUZ: {"float8e4m3fnuz", 8, tensorInt32s, 1},
	onnxpb.TensorProto_FLOAT8E5M2:     {"float8e5m2", 8, tensorInt32s, 1},
	onnxpb.TensorProto_FLOAT8E5M2FNUZ: {"float8e5m2fnuz", 8, tensorInt32s, 1},
	onnxpb.TensorProto_UINT4:          {"uint4", 4, tensorInt32s, 1},
	onnxpb.TensorProto_INT4:           {"int4", 4, tensorInt32s, 1},
	onnxpb.TensorProto_FLOAT4E2M1:     {"float4e2m1", 4, tensorInt32s, 1},
	onnxpb.TensorProto_FLOAT8E8M0:     {"float8e8m0", 8, tensorInt32s, 1},
	onnxpb.TensorProto_UINT2:          {"uint2", 2, tensorInt32s, 1},
	onnxpb.TensorProto_INT2:           {"int2", 2, tensorInt32s, 1},
}

func elemOf(dataType int32) elem {
	if dataType > 0 && int(dataType) < len(elems) {
		return elems[dataType]
	}
	return elem{name: fmt.Sprintf("element type %d", dataType)}
}

// amount says in words what n elements are.
func (e elem) amount(n, stored int64) string {
	if e.bits == 0 {
		return fmt.Sprintf("%d elements", n)
	}
	return fmt.Sprintf("%d elements of %s, %d bytes", n, e.name, stored)
}

// fixedWidth is the size of an entry of a typed field; 0 if entries are varints.
func fixedWidth(num protowire.Number) int64 {
	switch num {
	case tensorFloats:
		return 4
	case tensorDoubles:
		return 8
	}
	return 0
}

// elementCount is the product of dims.
func elementCount(dims []int64) (int64, error) {
	n, zero, fits := uint64(1), false, true
	for _, x := range dims {
		if x < 0 {
			return 0, fmt.Errorf("its dims %v hold a negative number", dims)
		}
		zero = zero || x == 0
	}
	if zero {
		return 0, nil
	}
	for _, x := range dims {
		hi, lo := bits.Mul64(n, uint64(x))
		fits = fits && hi == 0 && lo <= math.MaxInt64
		n = lo
	}
	if !fits {
		return 0, fmt.Errorf("its dims %v are too large: their product does not fit into 63 bits", dims)
	}
	return int64(n), nil
}

// storedBytes is the size of n elements in raw_data, and whether it fits.
func storedBytes(e elem, n int64) (int64, bool) {
	hi, lo := bits.Mul64(uint64(n), uint64(e.bits))
	if hi != 0 || lo > math.MaxInt64-7 {
		return 0, false
	}
	return int64(lo+7) / 8, true
}

// NumElements is the product of the tensor's dims.
func (t *Tensor) NumElements() int64 { return t.elems }

// StoredBytes is the size of the tensor's elements as raw_data holds them,
// sub-byte types packed; -1 for strings and element types that the standard
// does not have.
func (t *Tensor) StoredBytes() int64 { return t.stored }

// RawData is the contents of the tensor as raw_data holds them: elements little
// endian, bools one byte each, sub-byte types packed with the first element in
// the lowest bits. Contents of a typed field are converted while they are read.
// It fails for strings, and for typed fields of an element type that the
// standard does not have.
func (t *Tensor) RawData() (Chunk, error) {
	switch t.DataField {
	case 0:
		if t.Proto.GetDataType() == int32(onnxpb.TensorProto_STRING) {
			break
		}
		return Chunk{}, nil
	case tensorRaw, tensorExternal:
		return t.Data, nil
	case tensorFloats, tensorDoubles:
		if t.stored >= 0 {
			return t.Data, nil
		}
	case tensorInt32s, tensorInt64s, tensorUint64s:
		if t.stored >= 0 {
			e := elemOf(t.Proto.GetDataType())
			return Chunk{src: &converted{of: t.Data, width: int(e.entry), truth: t.Proto.GetDataType() == int32(onnxpb.TensorProto_BOOL)}, n: t.stored}, nil
		}
	}
	if t.Proto.GetDataType() == int32(onnxpb.TensorProto_STRING) {
		return Chunk{}, errors.New("strings have no fixed size")
	}
	return Chunk{}, fmt.Errorf("its element type %d is unknown, so its %s cannot be converted", t.Proto.GetDataType(), contentsName[t.DataField])
}

// converted is a packed list of varints as numbers of width bytes, little endian.
type converted struct {
	of    Chunk
	width int
	truth bool // anything but 0 is 1
}

func (c *converted) open(off, n int64) io.Reader {
	r := &convertedReader{c: c, in: bufio.NewReaderSize(c.of.Reader(), 32<<10)}
	if off > 0 {
		if _, err := io.CopyN(io.Discard, r, off); err != nil {
			r.err = unexpected(err)
		}
	}
	return io.LimitReader(r, n)
}

type convertedReader struct {
	c    *converted
	in   *bufio.Reader
	word [8]byte
	have []byte // what is left of word
	err  error
}

func (r *convertedReader) Read(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if len(r.have) == 0 {
			if r.err == nil {
				var v uint64
				if v, r.err = binary.ReadUvarint(r.in); r.err == nil {
					if r.c.truth && v != 0 {
						v = 1
					}
					binary.LittleEndian.PutUint64(r.word[:], v)
					r.have = r.word[:r.c.width]
				}
			}
			if r.err != nil {
				if done > 0 {
					return done, nil
				}
				return 0, r.err
			}
		}
		n := copy(p[done:], r.have)
		r.have = r.have[n:]
		done += n
	}
	return done, nil
}

// Values returns the elements of t as raw little-endian bytes (the layout of
// raw_data: bools one byte each, sub-byte types packed, low nibble first),
// whatever field holds them. It fails if there are more than max bytes, on
// strings, and on typed fields of an unknown element type. Contents and dims
// agree: Open has checked that. The result may be shared and must not be changed.
func (m *Model) Values(t *onnxpb.TensorProto, max int64) ([]byte, error) {
	r := m.tensors[t]
	if r == nil {
		return nil, m.of(t, errForeign)
	}
	c, err := r.RawData()
	if err != nil {
		return nil, m.of(t, err)
	}
	b, err := c.ReadAll(max)
	if err != nil {
		return nil, m.of(t, err)
	}
	return b, nil
}

// Strings returns the elements of a string tensor. It fails if they take more
// than max bytes with their framing in the file. They must not be changed.
func (m *Model) Strings(t *onnxpb.TensorProto, max int64) ([][]byte, error) {
	r := m.tensors[t]
	switch {
	case r == nil:
		return nil, m.of(t, errForeign)
	case t.GetDataType() != int32(onnxpb.TensorProto_STRING):
		return nil, m.of(t, fmt.Errorf("it holds %s, no strings", elemOf(t.GetDataType()).name))
	}
	b, err := r.Data.ReadAll(max)
	if err != nil {
		return nil, m.of(t, err)
	}
	list := make([][]byte, 0, r.elems)
	for len(b) > 0 {
		num, typ, head, size, msg := parseHead(b, int64(len(b)))
		if msg != "" || num != tensorStrings || typ != protowire.BytesType {
			return nil, m.of(t, errors.New("the file has changed since the model was opened"))
		}
		end := head + int(size)
		list = append(list, b[head:end:end])
		b = b[end:]
	}
	return list, nil
}

var errForeign = errors.New("the tensor is no part of the opened model")

// of says which tensor an error concerns.
func (m *Model) of(t *onnxpb.TensorProto, err error) error {
	return &diag.Error{File: m.Path, Value: t.GetName(), Err: err}
}
