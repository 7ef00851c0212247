package onnxfile

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"pgregory.net/rapid"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// FuzzOpen reads arbitrary bytes as a model. Whatever opens must decode to what
// protobuf makes of it, be written back without loss, and give up its contents.
func FuzzOpen(f *testing.F) {
	for _, b := range [][]byte{
		nil, []byte("PK\x03\x04"), varint(1, 8), ld(7), ld(7, nested(3)),
		init1(ld(9, make([]byte, 16)), 4), init1(ld(4, make([]byte, 16)), 4), init1(nil, 0),
		cat(init1(ld(9, make([]byte, 16)), 4), init1(ld(9, make([]byte, 8)), 2)),
		ld(7, ld(5, varint(1, 2), varint(2, 8), ld(6, []byte("a")), varint(2, 8), ld(6))),
		ld(7, ld(5, varint(1, 3), varint(2, 7), varint(7, 1), ld(7, []byte{2, 3}))),
		ld(7, ld(5, varint(1, 1), varint(2, 22), ld(5, []byte{0x21}))),
		ld(7, ld(1, ld(5, ld(5, varint(2, 1), ld(9, []byte{0, 0})), ld(5, ld(9, []byte{0, 0, 0, 0}))))),
		ld(25, ld(7, ld(4, []byte("Relu"))), ld(11, ld(5, varint(1, 0)))),
		ld(20, ld(1, ld(5, varint(1, 0)))),
		marshal(f, chain(3)), marshal(f, withInitializers(outside("location", "w.bin", "offset", "8", "length", "64"))),
		marshal(f, withInitializers(outside("location", "../w.bin"))),
	} {
		f.Add(b)
	}
	for i := range 10 {
		f.Add(rapid.Custom(func(t *rapid.T) []byte {
			g := newGenerator(t)
			return g.scramble(g.model().ProtoReflect(), true)
		}).Example(i))
	}
	// Each process of the fuzzer has a folder of its own.
	dir := f.TempDir()
	save(f, dir, "w.bin", make([]byte, 256))
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(dir, "m.onnx")
		if err := os.WriteFile(path, raw, 0o666); err != nil {
			t.Fatal(err)
		}
		m, err := Open(context.Background(), path, Options{InlineBytes: 8, MaxBytes: 16 << 20})
		if err != nil {
			return
		}
		defer m.Close()
		whole, back, reencoded := &onnxpb.ModelProto{}, &onnxpb.ModelProto{}, &onnxpb.ModelProto{}
		if err := proto.Unmarshal(raw, whole); err != nil {
			t.Fatalf("protobuf refuses what was opened: %v", err)
		}
		shorten(whole.ProtoReflect())
		err = proto.Unmarshal(written(t, m.Draft()), back)
		shorten(back.ProtoReflect())
		if err != nil || !proto.Equal(back, whole) {
			t.Fatalf("written back: %v\n%v\nwant\n%v", err, back, whole)
		}
		c, err := m.Encode(m.Proto, nil)
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if _, err := c.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		err = proto.Unmarshal(b.Bytes(), reencoded)
		shorten(reencoded.ProtoReflect())
		if err != nil || !proto.Equal(reencoded, whole) {
			t.Fatalf("encoded again: %v\n%v\nwant\n%v", err, reencoded, whole)
		}
		m.Tensors(m.Proto, func(r *Tensor) bool {
			if r.Proto.GetDataType() == int32(onnxpb.TensorProto_STRING) {
				if _, err := m.Strings(r.Proto, 1<<20); err != nil {
					t.Fatal(err)
				}
				return true
			}
			c, err := r.RawData()
			if err != nil {
				return true // an unknown type in a typed field
			}
			if n, err := io.Copy(io.Discard, c.Reader()); err != nil || n != c.Len() || r.StoredBytes() > 0 && n != r.StoredBytes() {
				t.Fatalf("contents: %d bytes, %v, Len %d, want %d", n, err, c.Len(), r.StoredBytes())
			}
			return true
		})
	})
}

// shorten encodes tags and lengths of unknown fields in as few bytes as they
// need: proto.Equal compares unknown fields by their bytes.
func shorten(m protoreflect.Message) {
	var short []byte
	for u := m.GetUnknown(); len(u) > 0; {
		num, typ, head, size, _ := parseHead(u, int64(len(u)))
		body := u[head : head+int(size)]
		u = u[head+int(size):]
		short = append(appendHead(short, Field{num, typ, Bytes(body)}), body...)
	}
	if short != nil {
		m.SetUnknown(short)
	}
	m.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.Kind() != protoreflect.MessageKind:
		case f.IsList():
			for i := range v.List().Len() {
				shorten(v.List().Get(i).Message())
			}
		default:
			shorten(v.Message())
		}
		return true
	})
}
