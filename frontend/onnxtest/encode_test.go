package onnxtest

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// nested is a model with generated weights at every place that a tensor can have.
func nested(seed uint64) *Model {
	m := New(Header{Name: "nested", Seed: seed, Opset: 15})
	m.Function(FunctionHeader{Domain: "f", Name: "F", Inputs: []string{"a"}, Outputs: []string{"b"}}, func(g *Graph) {
		w := g.Weight("w", Float, Uniform(-1, 1), 3)
		g.Weight("big", Float, Uniform(-1, 1), 300)
		g.Op("Add", []string{"a", w}, Outs("b"))
	})
	g := m.Graph()
	x := g.Input("x", Float, 3)
	c := g.Const(g.Generated("c", Float16, Uniform(-1, 1), 500))
	y := g.Op("If", []string{x}, Body("then_branch", func(b *Graph) {
		b.Weight("w", Float, Uniform(-1, 1), 700)
	}), Body("else_branch", func(b *Graph) {
		b.Op("If", []string{x}, Body("then_branch", func(b *Graph) { b.Weight("w", Double, Uniform(-1, 1), 777) }))
	}))
	g.Weight("w", Int64, Uniform(0, 9), 4)
	g.Op("Add", []string{y, c})
	return m
}

// What the streaming encoder writes decodes to what protobuf's encoder would have
// written had the contents been in memory.
func TestEncodeEqualsMarshal(t *testing.T) {
	m := nested(3)
	got := m.Proto()
	for _, s := range m.tensors() {
		c, ok := m.content[s]
		if !ok {
			continue
		}
		s.RawData = make([]byte, c.size)
		c.read(0, s.RawData)
		delete(m.content, s)
	}
	if !proto.Equal(got, m.Structure()) {
		t.Errorf("decoded:\n%v\nwant:\n%v", got, m.Structure())
	}
	want, err := proto.MarshalOptions{Deterministic: true}.Marshal(m.Structure())
	if err != nil {
		t.Fatal(err)
	}
	if b := nested(3).Bytes(); !bytes.Equal(b, want) {
		t.Errorf("bytes differ: %x, want %x", b, want)
	}
	if n, err := nested(3).Size(); err != nil || n != int64(len(want)) {
		t.Errorf("size is %d (%v), want %d", n, err, len(want))
	}
}

func TestSeedDecidesBytes(t *testing.T) {
	if a, b := nested(1).Bytes(), nested(1).Bytes(); !bytes.Equal(a, b) {
		t.Error("one seed gives two models")
	}
	if a, b := nested(1).Bytes(), nested(2).Bytes(); bytes.Equal(a, b) {
		t.Error("two seeds give one model")
	}
	p := nested(1).Proto()
	inner := p.Graph.Node[1].Attribute[0].G.Initializer[0]
	fn := p.Functions[0].Node[0].Attribute[0].T
	if bytes.Equal(inner.RawData[:12], fn.RawData) {
		t.Error("weights of one name in two bodies are equal")
	}
}

// Contents do not depend on how the writer cuts them into chunks.
func TestContentsAreChunkable(t *testing.T) {
	for _, typ := range []DType{Float, Double, Float16, BFloat16, Int8, UInt8, Bool, Int16, Int32, Int64, Int4} {
		const n = 77
		size := elemBytes(typ, n)
		gen := Uniform(0, 1).generator(typ, 42)
		whole := make([]byte, size)
		gen(0, whole)
		parts := make([]byte, size)
		for off := int64(0); off < size; off += chunkAlign {
			gen(off, parts[off:min(size, off+chunkAlign)])
		}
		if !bytes.Equal(whole, parts) {
			t.Errorf("%v: chunks differ from the whole", typ)
		}
	}
}

func TestFillRange(t *testing.T) {
	b := make([]byte, 4*100000)
	Uniform(-3, 1).generator(Float, 5)(0, b)
	lo, hi, sum, sq := math.Inf(1), math.Inf(-1), 0.0, 0.0
	for i := 0; i < len(b); i += 4 {
		x := float64(math.Float32frombits(binary.LittleEndian.Uint32(b[i:])))
		lo, hi, sum, sq = min(lo, x), max(hi, x), sum+x, sq+x*x
	}
	n := float64(len(b) / 4)
	mean := sum / n
	variance := sq/n - mean*mean
	if lo < -3 || hi >= 1 || math.Abs(mean+1) > 0.02 || math.Abs(variance-16.0/12) > 0.02 {
		t.Errorf("uniform in [-3, 1) has range %v to %v, mean %v, variance %v", lo, hi, mean, variance)
	}
	p := make([]byte, 1000)
	Uniform(-2, 3).generator(Int8, 5)(0, p)
	seen := map[int8]bool{}
	for _, x := range p {
		seen[int8(x)] = true
	}
	if len(seen) != 6 || !seen[-2] || !seen[3] {
		t.Errorf("integers in -2..3 are %v", seen)
	}
}

func TestHalfPrecision(t *testing.T) {
	for f, want := range map[float32]uint16{
		0: 0, 1: 0x3c00, -2: 0xc000, 65504: 0x7bff, 65520: 0x7c00, 1e9: 0x7c00,
		0.5: 0x3800, 1.0 / (1 << 14): 0x0400, 1.0 / (1 << 24): 1, 1.0 / (1 << 25): 0, 1.0 / (1 << 26): 0,
		1 + 1.0/(1<<11): 0x3c00, 1 + 3.0/(1<<11): 0x3c02, 2047.5 / (1 << 25): 0x0400,
	} {
		if got := float16(f); got != want {
			t.Errorf("float16(%v) = %#x, want %#x", f, got, want)
		}
	}
	for f, want := range map[float32]uint16{1: 0x3f80, -2: 0xc000, 1 + 1.0/256: 0x3f80, 1 + 3.0/256: 0x3f82} {
		if got := bfloat16(f); got != want {
			t.Errorf("bfloat16(%v) = %#x, want %#x", f, got, want)
		}
	}
}

func TestExternalData(t *testing.T) {
	build := func() *Model {
		m := New(Header{Name: "e", Seed: 1})
		g := m.Graph()
		g.Input("x", Float, 4, 4)
		g.Weight("a", Float, Uniform(-1, 1).As("same"), 4, 4)
		g.Weight("b", Float, Uniform(-1, 1).As("same"), 4, 4)
		g.Store(Floats("c", []float32{1, 2}, 2))
		g.Weight("d", Int8, Uniform(0, 9), 5)
		return m
	}
	whole := build().Proto()
	for _, o := range []External{
		{Location: "w.bin"},
		{Location: "sub/w.bin", Align: 4096},
		{Location: "w", PerTensor: true},
		{Location: "w", PerTensor: true, NoOffset: true},
		{Location: "w.bin", Share: true, MinBytes: 8},
	} {
		m := build()
		m.External(o)
		if err := m.Write(&bytes.Buffer{}); err == nil {
			t.Errorf("%+v: Write writes a model without its weights", o)
		}
		dir := t.TempDir()
		if err := m.WriteFile(filepath.Join(dir, "m.onnx")); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "m.onnx"))
		if err != nil {
			t.Fatal(err)
		}
		var p onnxpb.ModelProto
		if err := proto.Unmarshal(b, &p); err != nil {
			t.Fatal(err)
		}
		for i, s := range p.Graph.Initializer {
			want := whole.Graph.Initializer[i].RawData
			got := s.RawData
			if s.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
				got = readExternal(t, dir, s)
			} else if int64(len(want)) >= o.MinBytes {
				t.Errorf("%+v: %s is not external", o, s.GetName())
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%+v: %s is %x, want %x", o, s.GetName(), got, want)
			}
		}
		if o.Share {
			if st, err := os.Stat(filepath.Join(dir, "w.bin")); err != nil || st.Size() != 64+8 {
				t.Errorf("shared file: %v, %v", st, err)
			}
		}
	}
}

func readExternal(t *testing.T, dir string, s *onnxpb.TensorProto) []byte {
	t.Helper()
	var file []byte
	off, length := 0, -1
	for _, e := range s.ExternalData {
		var err error
		switch e.GetKey() {
		case "location":
			file, err = os.ReadFile(filepath.Join(dir, e.GetValue()))
		case "offset":
			off, err = atoi(e.GetValue())
		case "length":
			length, err = atoi(e.GetValue())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if length < 0 {
		length = len(file) - off
	}
	return file[off : off+length]
}

func atoi(s string) (int, error) {
	n, err := parseSize(s)
	return int(n), err
}

func TestTypedWeights(t *testing.T) {
	m := New(Header{Name: "typed", Seed: 1})
	g := m.Graph()
	g.Store(Floats("f", []float32{1, -2}, 2))
	g.Store(Int64s("i", []int64{-1, 1 << 40}, 2))
	g.Store(Raw("b", Int8, []byte{0xff, 1}, 2))
	g.Store(Raw("u", UInt8, []byte{0xff, 1}, 2))
	g.Store(Raw("h", Float16, []byte{0x00, 0xc0}, 1))
	g.Store(Raw("q", Int4, []byte{0xf1}, 2))
	m.TypedWeights()
	l := m.Proto().Graph.Initializer
	if l[0].FloatData[1] != -2 || l[1].Int64Data[1] != 1<<40 || l[1].Int64Data[0] != -1 || l[2].Int32Data[0] != -1 ||
		l[3].Int32Data[0] != 255 || l[4].Int32Data[0] != 0xc000 || l[5].Int32Data[0] != 0xf1 {
		t.Errorf("typed fields are %v", l)
	}
	for _, s := range l {
		if s.RawData != nil {
			t.Errorf("%s still has raw data", s.GetName())
		}
	}
}

// Writing holds no weights: a model of 1 GiB goes by in a few MiB of heap.
func TestWriteStreams(t *testing.T) {
	m := New(Header{Name: "big", Seed: 1})
	for _, name := range []string{"a", "b", "c", "d"} {
		m.Graph().Weight(name, UInt8, Fill{}, 256<<20)
	}
	for _, s := range m.tensors() { // the contents need not be random here
		c := m.content[s]
		c.read = func(int64, []byte) {}
		m.content[s] = c
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w := &counter{}
	if err := m.Write(w); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 8<<20 {
		t.Errorf("writing %d bytes allocated %d", w.n, n)
	}
	if w.n < 1<<30 {
		t.Errorf("wrote %d bytes", w.n)
	}
}

type counter struct{ n int64 }

func (c *counter) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

func TestTwoGiB(t *testing.T) {
	m := New(Header{Name: "big", Seed: 1})
	m.Graph().Weight("w", UInt8, Fill{}, 2<<30)
	if err := m.Write(&counter{}); err == nil || !strings.Contains(err.Error(), "external data") {
		t.Errorf("writing 2 GiB into one message: %v", err)
	}
}
