package onnxfile

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// TestRandomModels opens random models in all the spellings that protobuf allows
// and checks structure, contents and what is written back.
func TestRandomModels(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		g := newGenerator(t)
		p := g.model()
		raw := g.scramble(p.ProtoReflect(), true)
		path := filepath.Join(dir, "m.onnx")
		if err := os.WriteFile(path, raw, 0o666); err != nil {
			t.Fatal(err)
		}
		o := Options{InlineBytes: int64(rapid.SampledFrom([]int{-1, 1, 4, 16, 64, 1 << 10}).Draw(t, "inline"))}
		m, err := Open(context.Background(), path, o)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		checkContents(t, m, g)
		checkBytes(t, m, raw)
		checkReencoded(t, m, raw)
	})
}

// checkContents compares what Values and Strings return with what was drawn.
func checkContents(t *rapid.T, m *Model, g *generator) {
	seen := 0
	m.Tensors(m.Proto, func(r *Tensor) bool {
		seen++
		name := r.Proto.GetName()
		if want, ok := g.strings[name]; ok {
			got, err := m.Strings(r.Proto, math.MaxInt64)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(want) {
				t.Fatalf("%s: %d strings, want %d", name, len(got), len(want))
			}
			for i := range got {
				if !bytes.Equal(got[i], want[i]) {
					t.Fatalf("%s[%d]: %q, want %q", name, i, got[i], want[i])
				}
			}
			return true
		}
		want := g.raw[name]
		got, err := m.Values(r.Proto, int64(len(want)))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%s of type %d: %x, want %x", name, r.Proto.GetDataType(), got, want)
		}
		if r.StoredBytes() != int64(len(want)) {
			t.Fatalf("%s: StoredBytes %d, want %d", name, r.StoredBytes(), len(want))
		}
		if len(want) > 0 {
			if _, err := m.Values(r.Proto, int64(len(want))-1); err == nil {
				t.Fatalf("%s: Values exceeds its limit", name)
			}
			// The same in two pieces, from the middle on.
			c, err := r.RawData()
			if err != nil {
				t.Fatal(err)
			}
			k := int64(rapid.IntRange(0, len(want)).Draw(t, "cut"))
			both, err := Concat(c.sub(0, k), c.sub(k, c.Len()-k)).ReadAll(math.MaxInt64)
			if err != nil || !bytes.Equal(both, want) {
				t.Fatalf("%s cut at %d: %x, %v, want %x", name, k, both, err, want)
			}
		}
		return true
	})
	if seen != g.n {
		t.Fatalf("%d tensors found, %d made", seen, g.n)
	}
}

func checkBytes(t *rapid.T, m *Model, raw []byte) {
	var b bytes.Buffer
	if _, err := m.Draft().WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Bytes(), raw) {
		t.Fatalf("written back: %x, want %x", b.Bytes(), raw)
	}
}

// checkReencoded encodes the thinned structure anew, tensors from the file, and
// compares with what protobuf makes of the whole file.
func checkReencoded(t *rapid.T, m *Model, raw []byte) {
	whole, back := &onnxpb.ModelProto{}, &onnxpb.ModelProto{}
	if err := proto.Unmarshal(raw, whole); err != nil {
		t.Fatal(err)
	}
	c, err := m.Encode(m.Proto, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := c.ReadAll(math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if err := proto.Unmarshal(b, back); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(whole, back) {
		t.Fatalf("decoded:\n%v\nwant:\n%v", back, whole)
	}
}
