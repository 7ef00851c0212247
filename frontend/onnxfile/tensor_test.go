package onnxfile

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// TestThreshold makes sure that contents are decoded up to InlineBytes and left
// in the file above, and that everything else of the tensor is there either way.
func TestThreshold(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 1000} {
		long := strings.Repeat("d", 5000)
		ts := []*onnxpb.TensorProto{
			{DataType: proto.Int32(2), RawData: make([]byte, n), DocString: &long},
			{DataType: proto.Int32(2), Int32Data: make([]int32, n)},
			{DataType: proto.Int32(7), Int64Data: make([]int64, n)},
		}
		for _, p := range ts {
			p.Name, p.Dims = proto.String("w"), []int64{int64(n)}
		}
		for _, inline := range []int64{-1, 16} {
			m := opened(t, withInitializers(ts...), Options{InlineBytes: inline})
			for i, p := range m.Proto.Graph.Initializer {
				got := len(p.RawData) + len(p.Int32Data) + len(p.Int64Data)
				if want := int64(n) <= inline; want != (got == n) && n > 0 {
					t.Errorf("%d bytes, InlineBytes %d, initializer %d: %d elements decoded", n, inline, i, got)
				}
				if p.GetName() != "w" || p.GetDocString() != ts[i].GetDocString() {
					t.Errorf("initializer %d lost its name or doc string", i)
				}
				b, err := m.Values(p, 8000)
				if err != nil || len(b) != n*map[int]int{0: 1, 1: 1, 2: 8}[i] {
					t.Errorf("initializer %d: %d bytes, %v", i, len(b), err)
				}
			}
		}
	}
}

// TestDefaultThreshold is 1 KiB.
func TestDefaultThreshold(t *testing.T) {
	m := opened(t, withInitializers(
		&onnxpb.TensorProto{Dims: []int64{1024}, DataType: proto.Int32(2), RawData: make([]byte, 1024)},
		&onnxpb.TensorProto{Dims: []int64{1025}, DataType: proto.Int32(2), RawData: make([]byte, 1025)},
	), Options{})
	if w := m.Proto.Graph.Initializer; len(w[0].RawData) != 1024 || w[1].RawData != nil {
		t.Errorf("decoded are %d and %d bytes", len(w[0].RawData), len(w[1].RawData))
	}
}

// TestNarrowing holds the conversions that are easy to get wrong.
func TestNarrowing(t *testing.T) {
	snan := math.Float32frombits(0x7f800001)
	for _, c := range []struct {
		name string
		p    *onnxpb.TensorProto
		dims []int64
		want []byte
	}{
		{"bool", &onnxpb.TensorProto{DataType: proto.Int32(9), Int32Data: []int32{0, 1, -1, 256}}, []int64{4}, []byte{0, 1, 1, 1}},
		{"int8", &onnxpb.TensorProto{DataType: proto.Int32(3), Int32Data: []int32{-1, -128, 127, 255}}, []int64{4}, []byte{0xff, 0x80, 0x7f, 0xff}},
		{"uint16", &onnxpb.TensorProto{DataType: proto.Int32(4), Int32Data: []int32{0xfffe, 1}}, []int64{2}, []byte{0xfe, 0xff, 1, 0}},
		{"float16 of bits", &onnxpb.TensorProto{DataType: proto.Int32(10), Int32Data: []int32{0x3c00, 0xbc00}}, []int64{2}, []byte{0, 0x3c, 0, 0xbc}},
		{"int4, odd", &onnxpb.TensorProto{DataType: proto.Int32(22), Int32Data: []int32{0x21, 0x43, 0x05}}, []int64{5}, []byte{0x21, 0x43, 0x05}},
		{"uint2", &onnxpb.TensorProto{DataType: proto.Int32(25), Int32Data: []int32{0xe4, 0x01}}, []int64{5}, []byte{0xe4, 0x01}},
		{"uint32", &onnxpb.TensorProto{DataType: proto.Int32(12), Uint64Data: []uint64{1 << 31}}, []int64{1}, []byte{0, 0, 0, 0x80}},
		{"complex64", &onnxpb.TensorProto{DataType: proto.Int32(14), FloatData: []float32{1, 2}}, nil, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0x40}},
		{"signalling NaN", &onnxpb.TensorProto{DataType: proto.Int32(1), FloatData: []float32{snan}}, []int64{1}, []byte{1, 0, 0x80, 0x7f}},
	} {
		c.p.Dims = c.dims
		for _, inline := range []int64{-1, 1024} {
			m := opened(t, withInitializers(c.p), Options{InlineBytes: inline})
			got, err := m.Values(m.Proto.Graph.Initializer[0], 100)
			if err != nil || !bytes.Equal(got, c.want) {
				t.Errorf("%s: %x, %v, want %x", c.name, got, err, c.want)
			}
		}
	}
}

func TestValuesRefusals(t *testing.T) {
	m := opened(t, withInitializers(
		&onnxpb.TensorProto{Name: proto.String("s"), Dims: []int64{2}, DataType: proto.Int32(8), StringData: [][]byte{[]byte("a"), nil}},
		&onnxpb.TensorProto{Name: proto.String("u"), Dims: []int64{2}, DataType: proto.Int32(99), Int32Data: []int32{1, 2}},
		&onnxpb.TensorProto{Name: proto.String("f"), Dims: []int64{2}, DataType: proto.Int32(1), FloatData: []float32{1, 2}},
	), Options{})
	w := m.Proto.Graph.Initializer
	check := func(err error, want string) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), m.Path) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	_, err := m.Values(w[0], 100)
	check(err, `value "s": strings have no fixed size`)
	_, err = m.Values(w[1], 100)
	check(err, `value "u": its element type 99 is unknown`)
	_, err = m.Values(w[2], 7)
	check(err, `value "f": it has 8 bytes, more than the 7 allowed here`)
	_, err = m.Values(&onnxpb.TensorProto{}, 7)
	check(err, "no part of the opened model")
	_, err = m.Strings(w[2], 100)
	check(err, `value "f": it holds float32, no strings`)
	_, err = m.Strings(w[0], 3)
	check(err, "more than the 3 allowed")
	_, err = m.Strings(&onnxpb.TensorProto{}, 7)
	check(err, "no part of the opened model")
	if m.Tensor(&onnxpb.TensorProto{}) != nil {
		t.Error("a foreign tensor is known")
	}
}
