package onnxfile

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// written is what a draft writes.
func written(t testing.TB, d *Draft) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := d.WriteTo(&b)
	if err != nil {
		t.Fatal(err)
	}
	if n != d.Size() || n != int64(b.Len()) {
		t.Errorf("WriteTo reports %d bytes, Size %d, written are %d", n, d.Size(), b.Len())
	}
	return b.Bytes()
}

// endless is a source of zeros of any length.
type endless struct{}

func (endless) open(_, n int64) io.Reader { return io.LimitReader(endless{}, n) }

func (endless) Read(p []byte) (int, error) { clear(p); return len(p), nil }

func TestTooLarge(t *testing.T) {
	d := &Draft{Graph: []Field{BytesField(5, Chunk{src: endless{}, n: math.MaxInt32 + 1})}}
	var b bytes.Buffer
	if n, err := d.WriteTo(&b); !errors.Is(err, ErrTooLarge) || n != 0 || b.Len() != 0 {
		t.Errorf("2 GiB: %d bytes reported, %d written, error %v", n, b.Len(), err)
	}
	head := int64(6 + 6) // tags and lengths of graph and field
	d.Graph[0].Body.n = MaxModelBytes - head
	if n, err := d.WriteTo(io.Discard); err != nil || n != MaxModelBytes || d.Size() != MaxModelBytes {
		t.Errorf("2 GiB - 1: %d bytes written, Size %d, error %v", n, d.Size(), err)
	}
}

func TestDraftBounds(t *testing.T) {
	for _, at := range []int{-1, 1} {
		if _, err := (&Draft{GraphAt: at}).WriteTo(io.Discard); err == nil {
			t.Errorf("GraphAt %d of no fields is accepted", at)
		}
	}
}

// TestChangedDraft builds a model of parts of another and new fields.
func TestChangedDraft(t *testing.T) {
	src := chain(8)
	m := opened(t, src, Options{InlineBytes: 16})
	var keep []Field
	node, init := 0, 0
	want := &onnxpb.ModelProto{IrVersion: src.IrVersion, OpsetImport: src.OpsetImport, Graph: &onnxpb.GraphProto{Name: proto.String("half")}}
	for _, f := range m.GraphFields {
		switch f.Num {
		case graphNode:
			if node%2 == 0 {
				keep = append(keep, f)
				want.Graph.Node = append(want.Graph.Node, src.Graph.Node[node])
			}
			node++
		case graphInitializer:
			if init == 1 {
				keep = append(keep, f)
				want.Graph.Initializer = append(want.Graph.Initializer, src.Graph.Initializer[init])
			}
			init++
		}
	}
	in := &onnxpb.ValueInfoProto{Name: proto.String("x")}
	f, err := MessageField(11, in)
	if err != nil {
		t.Fatal(err)
	}
	want.Graph.Input = append(want.Graph.Input, in)
	keep = append(keep, f, BytesField(2, Bytes([]byte("half"))))
	got := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(written(t, &Draft{Fields: m.Fields, GraphAt: len(m.Fields), Graph: keep}), got); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestChunks compares chunks of all kinds with the bytes that they stand for, by
// every way to read them.
func TestChunks(t *testing.T) {
	dir := t.TempDir()
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(i*i>>7 ^ i)
	}
	path := save(t, dir, "m.onnx", content)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	set := &files{}
	t.Cleanup(func() { _ = set.close() })
	f := set.add(path, info, func() (*os.File, error) { return os.Open(path) })
	rapid.Check(t, func(t *rapid.T) {
		var parts []Chunk
		var want []byte
		for range rapid.IntRange(0, 5).Draw(t, "parts") {
			off := rapid.IntRange(0, len(content)).Draw(t, "off")
			n := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, len(content))).Draw(t, "n")
			n = min(n, len(content)-off)
			c := f.chunk(int64(off), int64(n))
			if rapid.Bool().Draw(t, "memory") {
				c = Bytes(content[off : off+n])
			}
			parts = append(parts, c)
			want = append(want, content[off:off+n]...)
		}
		c := Concat(parts...)
		if len(parts) > 2 && rapid.Bool().Draw(t, "nest") {
			c = Concat(Concat(parts[:2]...), Concat(parts[2:]...))
		}
		if n := int64(len(want)); n > 2 {
			off := int64(rapid.IntRange(0, int(n)-1).Draw(t, "from"))
			c, want = c.sub(off, n-off-1), want[off:n-1]
		}
		if c.Len() != int64(len(want)) {
			t.Fatalf("Len is %d, want %d", c.Len(), len(want))
		}
		got, err := io.ReadAll(c.Reader())
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("Reader: %d bytes, %v, want %d", len(got), err, len(want))
		}
		got, err = c.ReadAll(int64(len(want)))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("ReadAll: %d bytes, %v, want %d", len(got), err, len(want))
		}
		if _, err := c.ReadAll(int64(len(want)) - 1); err == nil {
			t.Fatal("ReadAll exceeds its limit")
		}
		var b bytes.Buffer
		n, err := c.WriteTo(&b)
		if err != nil || n != int64(len(want)) || !bytes.Equal(b.Bytes(), want) {
			t.Fatalf("WriteTo: %d bytes, %v, want %d", n, err, len(want))
		}
		out, err := os.Create(filepath.Join(dir, "out"))
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if n, err := c.WriteTo(out); err != nil || n != int64(len(want)) {
			t.Fatalf("WriteTo a file: %d bytes, %v, want %d", n, err, len(want))
		}
		got, err = os.ReadFile(out.Name())
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("in the file: %d bytes, %v, want %d", len(got), err, len(want))
		}
	})
}

// failing fails after n bytes.
type failing struct{ n int }

var errFull = errors.New("disk full")

func (f *failing) Write(p []byte) (int, error) {
	n := min(len(p), f.n)
	if f.n -= n; n < len(p) {
		return n, errFull
	}
	return n, nil
}

func TestWriteErrors(t *testing.T) {
	m := opened(t, chain(20_000), Options{})
	size := int(m.Draft().Size())
	for _, n := range []int{0, 1, 1000, copyBuffer, size - 1} {
		got, err := m.Draft().WriteTo(&failing{n})
		if !errors.Is(err, errFull) || got != int64(n) {
			t.Errorf("room for %d bytes: %d reported, error %v", n, got, err)
		}
	}
	if _, err := m.Draft().WriteTo(&failing{size}); err != nil {
		t.Error(err)
	}
}

func TestHeaders(t *testing.T) {
	p := &onnxpb.TensorProto{
		Name: proto.String("w"), Dims: []int64{2, 2}, DataType: proto.Int32(7), Int64Data: []int64{1, -1, 300, 1 << 40},
		DocString: proto.String("doc"), MetadataProps: []*onnxpb.StringStringEntryProto{{Key: proto.String("k")}},
	}
	p.ProtoReflect().SetUnknown(varint(77, 5))
	m := opened(t, withInitializers(p), Options{InlineBytes: -1})
	r := m.Tensor(m.Proto.Graph.Initializer[0])

	h := r.ExternalHeader("w.data", 4096, 32)
	want := proto.Clone(p).(*onnxpb.TensorProto)
	want.Int64Data = nil
	want.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
	for _, e := range [][2]string{{"location", "w.data"}, {"offset", "4096"}, {"length", "32"}} {
		want.ExternalData = append(want.ExternalData, &onnxpb.StringStringEntryProto{Key: &e[0], Value: &e[1]})
	}
	if !proto.Equal(h, want) {
		t.Errorf("got %v, want %v", h, want)
	}

	// Moved outside and back in.
	c, err := r.RawData()
	if err != nil {
		t.Fatal(err)
	}
	values, err := c.ReadAll(32)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	save(t, dir, "w.data", append(make([]byte, 4096), values...))
	out := mustOpen(t, save(t, dir, "m.onnx", marshal(t, withInitializers(h))), Options{})
	body, err := out.Tensor(out.Proto.Graph.Initializer[0]).Embedded()
	if err != nil {
		t.Fatal(err)
	}
	b, err := body.ReadAll(1000)
	if err != nil {
		t.Fatal(err)
	}
	got := &onnxpb.TensorProto{}
	if err := proto.Unmarshal(b, got); err != nil {
		t.Fatal(err)
	}
	want = proto.Clone(p).(*onnxpb.TensorProto)
	want.Int64Data, want.RawData = nil, values
	if !proto.Equal(got, want) {
		t.Errorf("embedded: %v, want %v", got, want)
	}
}

// TestEncodeReplaces swaps a tensor deep inside a node.
func TestEncodeReplaces(t *testing.T) {
	big := &onnxpb.TensorProto{Name: proto.String("c"), Dims: []int64{5000}, DataType: proto.Int32(2), RawData: make([]byte, 5000)}
	n := &onnxpb.NodeProto{Name: proto.String("if"), OpType: proto.String("If"), Attribute: []*onnxpb.AttributeProto{
		{Name: proto.String("then_branch"), G: &onnxpb.GraphProto{Node: []*onnxpb.NodeProto{
			{OpType: proto.String("Constant"), Attribute: []*onnxpb.AttributeProto{{Name: proto.String("value"), T: big}}},
		}}},
		{Name: proto.String("axis"), I: proto.Int64(3)},
	}}
	m := opened(t, &onnxpb.ModelProto{Graph: &onnxpb.GraphProto{Node: []*onnxpb.NodeProto{n}}}, Options{})
	if m.Proto.Graph.Node[0].Attribute[0].G.Node[0].Attribute[0].T.RawData != nil {
		t.Fatal("large contents have been decoded")
	}
	for name, c := range map[string]struct {
		tensor func(*Tensor) (Chunk, error)
		want   *onnxpb.TensorProto
	}{
		"as it stands": {nil, big},
		"moved out": {func(r *Tensor) (Chunk, error) {
			b, err := proto.Marshal(r.ExternalHeader("x", 0, 5000))
			return Bytes(b), err
		}, &onnxpb.TensorProto{
			Name: big.Name, Dims: big.Dims, DataType: big.DataType, DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(),
			ExternalData: []*onnxpb.StringStringEntryProto{
				{Key: proto.String("location"), Value: proto.String("x")},
				{Key: proto.String("offset"), Value: proto.String("0")},
				{Key: proto.String("length"), Value: proto.String("5000")},
			},
		}},
	} {
		chunk, err := m.Encode(m.Proto.Graph.Node[0], c.tensor)
		if err != nil {
			t.Fatal(err)
		}
		b, err := chunk.ReadAll(1 << 20)
		if err != nil {
			t.Fatal(err)
		}
		got, want := &onnxpb.NodeProto{}, proto.Clone(n).(*onnxpb.NodeProto)
		want.Attribute[0].G.Node[0].Attribute[0].T = c.want
		if err := proto.Unmarshal(b, got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
	if _, err := m.Encode(m.Proto.Graph.Node[0], func(*Tensor) (Chunk, error) { return Chunk{}, errFull }); !errors.Is(err, errFull) {
		t.Errorf("an error of the caller gives %v", err)
	}
}
