package onnxfile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// ld is a length-delimited field.
func ld(num protowire.Number, body ...[]byte) []byte {
	var b []byte
	for _, x := range body {
		b = append(b, x...)
	}
	return lengthDelimited(num, b)
}

func varint(num protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.VarintType), v)
}

func cat(parts ...[]byte) []byte {
	var b []byte
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

// nested is a graph with depth graphs inside one another.
func nested(depth int) []byte {
	g := ld(2, []byte("leaf"))
	for range depth {
		g = ld(1, ld(4, []byte("If")), ld(5, ld(1, []byte("then_branch")), ld(6, g)))
	}
	return g
}

// init1 is a model with one float32 initializer "w" of the given dims and other fields.
func init1(fields []byte, dims ...uint64) []byte {
	var d []byte
	for _, x := range dims {
		d = append(d, varint(1, x)...)
	}
	return cat(varint(1, 8), ld(7, ld(5, d, varint(2, 1), ld(8, []byte("w")), fields)))
}

func TestRefusals(t *testing.T) {
	plain := ld(7, ld(1, ld(4, []byte("Relu")), ld(3, []byte("r"))))
	stringsOf := func(fields []byte) []byte {
		return ld(7, ld(5, varint(1, 2), varint(2, 8), ld(8, []byte("w")), fields))
	}
	cases := []struct {
		name string
		file []byte
		want string // of the message
	}{
		{"empty", nil, "is empty"},
		{"text", []byte("import onnx\nprint(1)\n"), "it is a text file"},
		{"html", []byte("\n<!DOCTYPE html><html>404</html>"), "not an ONNX model: it is an HTML page, perhaps an error page: download the model again"},
		{"json", []byte(`{"model": 1}`), "JSON"},
		{"xml", []byte(`<?xml version="1.0"?><net/>`), "XML"},
		{"lfs", []byte("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n"), "Git LFS pointer"},
		{"gzip", []byte("\x1f\x8b\x08\x00abcdefgh"), "gzip"},
		{"zip", []byte("PK\x03\x04abcdefghijklmn"), "zip archive"},
		{"tflite", []byte("\x1c\x00\x00\x00TFL3abcdefgh"), "TensorFlow Lite"},
		{"safetensors", []byte("\x10\x00\x00\x00\x00\x00\x00\x00{\"a\":{}}"), "safetensors"},
		{"no graph", varint(1, 8), "it has no graph"},
		{"field 0", []byte{0, 0, 0, 0}, "the field number 0 is illegal"},
		{"huge field number", cat(plain, protowire.AppendVarint(nil, 1<<40|2)), "is illegal"},
		{"wire type 7", cat(plain, []byte{8<<3 | 7}), "field 8 has the illegal wire type 7"},
		{"other bytes", append([]byte{8<<3 | 7}, make([]byte, 2000)...), "not an ONNX model, or it is cut off or damaged"},
		{"group", cat(plain, []byte{100<<3&0x7f | 3 | 0x80, 100 >> 4}), "is a group, which ONNX does not use"},
		{"group inside", cat(varint(1, 8), ld(7, ld(11, []byte{99<<3&0x7f | 3 | 0x80, 99 >> 4, 99<<3&0x7f | 4 | 0x80, 99 >> 4}))), "is a group"},
		{"cut off", cat(varint(1, 8), plain)[:12], "the file is cut off"},
		{"cut in a tag", cat(plain, []byte{0x80}), "cut off or too long"},
		{"length past the end", cat(varint(1, 8), protowire.AppendVarint([]byte{0x3a}, 1<<62), []byte("xyz")), "claims 4611686018427387904 bytes but only 3"},
		{"length of 2^64-1", cat(varint(1, 8), protowire.AppendVarint([]byte{0x3a}, 1<<64-1)), "claims 18446744073709551615 bytes but only 0"},
		{"long varint", cat(varint(1, 8), []byte{0x3a}, []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")), "cut off or too long"},
		{"child longer than parent", cat(varint(1, 8), ld(7, []byte{0x0a, 9, 1})), "claims 9 bytes but only 1 are left at byte 4"},
		{"child in node", cat(varint(1, 8), ld(7, ld(1, ld(3, []byte("r")), []byte{0x0a, 9, 1}))), `node "r": the file is damaged: field 1 claims 9 bytes`},
		{"child in value", cat(varint(1, 8), ld(7, ld(11, []byte{0x0a, 9, 1}))), "field 1 claims 9 bytes but only 1"},
		{"wrong wire type", cat(varint(1, 8), ld(7, varint(1, 5))), "field 1 of a GraphProto has the wire type of a number"},
		{"fixed32 cut", cat(varint(1, 8), ld(7, ld(1, ld(5, []byte{0x15, 1, 2})))), "field 2 takes 4 bytes but only 2 are left"},
		{"packed floats", cat(varint(1, 8), ld(7, ld(1, ld(5, ld(7, []byte{1, 2, 3}))))), "a list of 4-byte numbers takes 3 bytes"},
		{"packed ints", cat(varint(1, 8), ld(7, ld(1, ld(5, ld(8, []byte{1, 0x80}))))), "cut off or too long"},
		{"nested 65", ld(7, nested(65)), "graphs are nested more than 64 deep"},
		{"nested 3000", ld(7, nested(3000)), "graphs are nested more than 64 deep"},
		{"nested types", ld(7, ld(11, ld(2, deepType(500)))), "messages are nested more than 64 deep"},

		{"no data", init1(nil, 4), `value "w": it has no data, but its dims [4] need 4 elements of float32, 16 bytes`},
		{"no data, scalar", init1(nil), "it has no data"},
		{"short", init1(ld(9, make([]byte, 15)), 4), "it holds 15 bytes, but its dims [4] need 4 elements of float32, 16 bytes"},
		{"long", init1(ld(9, make([]byte, 17)), 4), "it holds 17 bytes"},
		{"last raw_data wins", init1(cat(ld(9, make([]byte, 16)), ld(9, make([]byte, 8))), 4), "it holds 8 bytes"},
		{"negative dim", init1(ld(9, make([]byte, 16)), 1<<64-4, 4), "hold a negative number"},
		{"negative and zero dim", init1(nil, 0, 1<<64-4), "hold a negative number"},
		{"dims overflow", init1(ld(9, make([]byte, 16)), 1<<40, 1<<40), "its dims [1099511627776 1099511627776] are too large: their product does not fit into 63 bits"},
		{"bytes overflow", init1(ld(9, make([]byte, 16)), 1<<62), "its dims [4611686018427387904] are too large: its size does not fit into 63 bits"},
		{"number too long", init1(ld(7, slices.Repeat([]byte{0xff}, 12)), 1), "a number in a list is too long"},
		{"wrong typed field", init1(ld(5, make([]byte, 4)), 4), "its elements are in int32_data, which cannot hold float32: they belong into float_data"},
		{"too few floats", init1(ld(4, make([]byte, 12)), 4), "it holds 3 numbers in float_data, but its dims [4] need 4"},
		{"ragged floats", init1(ld(4, make([]byte, 13)), 4), "a list of 4-byte numbers takes 13 bytes"},
		{"ragged floats, large", init1(ld(4, make([]byte, 4097)), 1024), "a list of 4-byte numbers takes 4097 bytes"},
		{"strings", stringsOf(ld(6, []byte("a"))), "it holds 1 strings, but its dims [2] need 2"},
		{"no strings", stringsOf(nil), "it has no data, but its dims [2] need 2 elements"},
		{"strings in raw_data", stringsOf(ld(9, []byte("ab"))), "its strings are in raw_data, which cannot hold strings"},
		{"too few int64s", ld(7, ld(5, varint(1, 3000), varint(2, 7), ld(7, make([]byte, 2999)))), "it holds 2999 numbers in int64_data, but its dims [3000] need 3000"},
		{"too many int64s", ld(7, ld(5, varint(1, 3000), varint(2, 7), ld(7, make([]byte, 3001)))), "it holds 3001 numbers in int64_data, but its dims [3000] need 3000"},
		{"int64 cut off", ld(7, ld(5, varint(1, 3000), varint(2, 7), ld(7, make([]byte, 2999), []byte{0x80}))), "the last number of a list is cut off"},
		{"int64 too long", ld(7, ld(5, varint(1, 300), varint(2, 7), ld(7, make([]byte, 2000), []byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00")))), "too long"},
		{"constant", ld(7, ld(1, ld(3, []byte("c")), ld(5, ld(5, varint(1, 2), varint(2, 1), ld(9, make([]byte, 4)))))), `node "c": it holds 4 bytes`},
		{"constant without name", ld(7, ld(1, ld(4, []byte("Constant")), ld(5, ld(5, varint(1, 2), varint(2, 1), ld(9, make([]byte, 4)))))), `node "Constant #0": it holds 4 bytes`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			refuse(t, save(t, t.TempDir(), "m.onnx", c.file), Options{}, c.want)
		})
	}
}

// refuse opens a file that must be refused with a clear sentence.
func refuse(t *testing.T, path string, o Options, want string) {
	t.Helper()
	m, err := Open(context.Background(), path, o)
	if err == nil {
		_ = m.Close()
		t.Fatalf("%s was opened; want an error with %q", path, want)
	}
	var e *diag.Error
	if !errors.As(err, &e) {
		t.Fatalf("error of type %T: %v", err, err)
	}
	text := err.Error()
	if !strings.HasPrefix(text, path+": ") || !strings.Contains(text, want) {
		t.Errorf("error %q; want the file and %q", text, want)
	}
	if strings.HasSuffix(text, ".") || strings.Contains(text, "\n") || strings.Contains(text, "proto:") {
		t.Errorf("error %q is no plain sentence", text)
	}
}

func deepType(n int) []byte {
	b := ld(1, varint(1, 1))
	for range n {
		b = ld(4, ld(1, b))
	}
	return b
}

func TestRefusedPaths(t *testing.T) {
	dir := t.TempDir()
	refuse(t, dir, Options{}, "it is a folder: name the .onnx file in it")
	refuse(t, filepath.Join(dir, "absent.onnx"), Options{}, "the model cannot be read: no such file")
	refuse(t, os.DevNull, Options{}, "it is no regular file: copy the model to a file first")
}

func TestLimits(t *testing.T) {
	path := save(t, t.TempDir(), "m.onnx", marshal(t, chain(100)))
	refuse(t, path, Options{MaxNodes: 99}, "m.onnx: the model has more than 99 nodes")
	refuse(t, path, Options{MaxBytes: 5000}, "m.onnx: the structure of the model, without the contents of its tensors, takes more than 5000 bytes of memory")
	_ = mustOpen(t, path, Options{MaxNodes: 100, MaxBytes: 200_000})

	deep := save(t, t.TempDir(), "m.onnx", ld(7, nested(3)))
	refuse(t, deep, Options{MaxDepth: 2}, "nested more than 2 deep")
	_ = mustOpen(t, deep, Options{MaxDepth: 3})
	_ = mustOpen(t, save(t, t.TempDir(), "m.onnx", ld(7, nested(64))), Options{})
}

// TestSmallFieldsManyMessages makes sure that the budget counts what messages
// take decoded, not what they take in the file.
func TestSmallFieldsManyMessages(t *testing.T) {
	for _, num := range []protowire.Number{1, 5, 11, 14, 15} {
		b := make([]byte, 0, 1<<18)
		for range 1 << 17 {
			b = append(b, ld(num)...)
		}
		path := save(t, t.TempDir(), "m.onnx", ld(7, b))
		refuse(t, path, Options{MaxBytes: 1 << 20}, "more than 1048576 bytes of memory")
	}
}

func TestCancelled(t *testing.T) {
	path := save(t, t.TempDir(), "m.onnx", marshal(t, chain(3000)))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, path, Options{}); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "reading it was stopped") {
		t.Errorf("a cancelled reading returns %v", err)
	}
}

// TestSeveralFaults makes sure that one run reports all faulty tensors.
func TestSeveralFaults(t *testing.T) {
	var ts []*onnxpb.TensorProto
	for i := range 3 {
		ts = append(ts, &onnxpb.TensorProto{Name: proto.String(fmt.Sprint("w", i)), DataType: proto.Int32(1), Dims: []int64{2}})
	}
	path := save(t, t.TempDir(), "m.onnx", marshal(t, withInitializers(ts...)))
	_, err := Open(context.Background(), path, Options{})
	var list diag.List
	if !errors.As(err, &list) || len(list) != 3 {
		t.Fatalf("want three errors, got %v", err)
	}
	for i, e := range list {
		if want := fmt.Sprintf("%s: value %q: it has no data", path, fmt.Sprint("w", i)); !strings.HasPrefix(e.Error(), want) {
			t.Errorf("error %d is %q, want %q", i, e, want)
		}
	}
}

// TestAccepted holds what looks odd but must be read.
func TestAccepted(t *testing.T) {
	for name, file := range map[string][]byte{
		"unknown fields":          cat(varint(1, 8), ld(7, ld(500, []byte("abc")), varint(501, 1)), varint(502, 2), protowire.AppendFixed64(protowire.AppendTag(nil, 503, protowire.Fixed64Type), 1)),
		"unknown type":            ld(7, ld(5, varint(1, 4), varint(2, 99), ld(9, []byte("abc")))),
		"unknown type, no data":   ld(7, ld(5, varint(1, 4), varint(2, 99))),
		"zero elements":           init1(nil, 4, 0),
		"zero elements, empty":    init1(ld(9), 4, 0),
		"zero elements, overflow": init1(nil, 1<<40, 1<<40, 0),
		"empty graph":             ld(7),
		"names that are no UTF-8": ld(7, ld(2, []byte("\xff\xfe")), ld(1, ld(1, []byte("\xc0")), ld(4, []byte("Relu")))),
		"empty raw, full typed":   init1(cat(ld(9), ld(4, make([]byte, 8))), 2),
		"raw and typed":           init1(cat(ld(9, make([]byte, 8)), ld(4, make([]byte, 4))), 2),
		"nested 64":               ld(7, nested(64)),
	} {
		t.Run(name, func(t *testing.T) {
			m := mustOpen(t, save(t, t.TempDir(), "m.onnx", file), Options{})
			checkWhole(t, m, m.Path)
		})
	}
}

// TestTwoModels opens two models in one file, which protobuf merges.
func TestTwoModels(t *testing.T) {
	one := &onnxpb.ModelProto{IrVersion: proto.Int64(7), Graph: &onnxpb.GraphProto{
		Name: proto.String("a"), Node: []*onnxpb.NodeProto{{OpType: proto.String("Relu")}},
	}}
	two := &onnxpb.ModelProto{IrVersion: proto.Int64(8), Graph: &onnxpb.GraphProto{
		Name: proto.String("b"), Node: []*onnxpb.NodeProto{{OpType: proto.String("Tanh")}},
	}}
	raw := cat(marshal(t, one), marshal(t, two))
	m := mustOpen(t, save(t, t.TempDir(), "m.onnx", raw), Options{})
	want := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(raw, want); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(m.Proto, want) {
		t.Errorf("got %v, want %v", m.Proto, want)
	}
	back := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(written(t, m.Draft()), back); err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(back, want) {
		t.Errorf("written back: %v, want %v", back, want)
	}
}
