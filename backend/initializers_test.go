package backend

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// external is a float32 tensor of n elements at an offset of a file.
func external(name, location string, offset, n int, more ...string) *onnxpb.TensorProto {
	t := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(1), Dims: []int64{int64(n)}, DataLocation: onnxpb.TensorProto_EXTERNAL.Enum()}
	for _, e := range append([]string{"location", location, "offset", strconv.Itoa(offset), "length", strconv.Itoa(4 * n)}, more...) {
		if k := len(t.ExternalData) - 1; k >= 0 && t.ExternalData[k].Value == nil {
			t.ExternalData[k].Value = proto.String(e)
		} else {
			t.ExternalData = append(t.ExternalData, &onnxpb.StringStringEntryProto{Key: proto.String(e)})
		}
	}
	return t
}

// openBeside opens a model that has files beside it.
func openBeside(t *testing.T, m *onnxpb.ModelProto, files map[string][]byte) *onnxfile.Model {
	t.Helper()
	dir := t.TempDir()
	for name, body := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	b, err := marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return openFile(t, path)
}

// contents are the elements of every tensor of a model by name, wherever they are
// stored, nested ones included.
func contents(t *testing.T, f *onnxfile.Model) map[string][]byte {
	t.Helper()
	out := map[string][]byte{}
	add := func(w *onnxpb.TensorProto) {
		if w == nil {
			return
		}
		b, err := f.Values(w, 1<<30)
		if err != nil {
			t.Fatal(err)
		}
		out[w.GetName()] = b
	}
	var walk func(nodes []*onnxpb.NodeProto)
	walk = func(nodes []*onnxpb.NodeProto) {
		for _, n := range nodes {
			for _, a := range n.GetAttribute() {
				add(a.GetT())
				for _, w := range a.GetTensors() {
					add(w)
				}
			}
			for _, body := range bodies(n) {
				for _, w := range body.GetInitializer() {
					add(w)
				}
				walk(body.GetNode())
			}
		}
	}
	for _, w := range f.Proto.GetGraph().GetInitializer() {
		add(w)
	}
	walk(f.Proto.GetGraph().GetNode())
	for _, fn := range f.Proto.GetFunctions() {
		walk(fn.GetNode())
	}
	return out
}

// written writes a bundle and opens its sub-models by id.
func written(t *testing.T, b *Bundle) (string, map[string]*onnxfile.Model) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	if err := b.Write(context.Background(), dir, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	m, err := ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]*onnxfile.Model{}
	for _, s := range m.Submodels {
		out[s.ID] = openFile(t, filepath.Join(dir, s.File))
	}
	return dir, out
}

func places(w *onnxpb.TensorProto) string {
	var s []string
	for _, e := range w.GetExternalData() {
		s = append(s, e.GetKey()+"="+e.GetValue())
	}
	return strings.Join(s, " ")
}

func ramp(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

// External weights go to a file of each sub-model, with just the ranges that it
// uses, each once.
func TestExternalRanges(t *testing.T) {
	m := chain()
	m.Graph.Initializer = []*onnxpb.TensorProto{
		external("w1", "a.bin", 8, 4, "checksum", "0123", "note", "kept"),
		external("w2", "sub/b.bin", 0, 2000),
		external("w3", "./a.bin", 8, 4), // the range of w1
		external("w4", "a.bin", 16, 4),  // overlaps it
		external("unused", "a.bin", 0, 1),
		external("empty", "a.bin", 100, 0),
		weight("w5", 4, 1),
	}
	m.Graph.Node[2].Input = append(m.Graph.Node[2].Input, "w5")
	for i, extra := range []string{"w3", "w4", "empty"} {
		m.Graph.Node[i].Input = append(m.Graph.Node[i].Input, extra)
	}
	f := openBeside(t, m, map[string][]byte{"a.bin": ramp(100), "sub/b.bin": ramp(8000)})
	l := lowerPlain(t, f)
	threeProcessors(l)
	b := build(t, f, l, placementOf(t, l, sub(l, 0, "a", "b"), sub(l, 1, "y")), Options{})
	dir, subs := written(t, b)

	want := contents(t, f)
	for id, s := range subs {
		for name, got := range contents(t, s) {
			if !bytes.Equal(got, want[name]) {
				t.Errorf("%s in %s differs", name, id)
			}
		}
	}
	places := func(id string) map[string]string {
		out := map[string]string{}
		for _, w := range subs[id].Proto.GetGraph().GetInitializer() {
			out[w.GetName()] = places(w)
		}
		return out
	}
	first := places("pi")
	for name, at := range map[string]string{
		"w1": "location=pi.data offset=0 length=16 note=kept",
		"w2": "location=pi.data offset=4096 length=8000",
		"w3": "location=pi.data offset=0 length=16",
		"w4": "location=pi.data offset=12288 length=16",
	} {
		if first[name] != at {
			t.Errorf("%s is at %q, want %q", name, first[name], at)
		}
	}
	if got := places("jetson.gpu"); got["w3"] != "location=jetson.gpu.data offset=0 length=16" || got["w5"] != "" || got["empty"] != "" {
		t.Errorf("the second sub-model's weights are at %v", got)
	}
	if st, err := os.Stat(filepath.Join(dir, "pi.data")); err != nil || st.Size() != 12304 {
		t.Errorf("pi.data: %v, %v, want 12304 bytes", st, err)
	}
	if got := strings.Join(b.Manifest.Model.Data, " "); got != "a.bin sub/b.bin" {
		t.Errorf("the source's data files are %q", got)
	}
	if data := b.Manifest.Submodels[0].Data; data == nil || data.Bytes != 12304 || len(data.SHA256) != 64 {
		t.Errorf("the manifest says %+v of pi.data", data)
	}

	// Asked to embed, the same bytes stand in the model.
	b = build(t, f, l, placementOf(t, l, sub(l, 0, "a", "b"), sub(l, 1, "y")), Options{Weights: WeightsEmbedded})
	_, subs = written(t, b)
	for id, s := range subs {
		for _, w := range s.Proto.GetGraph().GetInitializer() {
			if w.DataLocation != nil || len(w.ExternalData) > 0 {
				t.Errorf("%s in %s is still external", w.GetName(), id)
			}
		}
		for name, got := range contents(t, s) {
			if !bytes.Equal(got, want[name]) {
				t.Errorf("%s in %s differs when embedded", name, id)
			}
		}
	}
}

// typed stores n elements in the field of their type.
func typed(name string, elem ir.ElemType, n int) *onnxpb.TensorProto {
	w := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(elem)), Dims: []int64{int64(n)}}
	for i := range n {
		switch elem {
		case ir.Float32, ir.Complex64:
			w.FloatData = append(w.FloatData, float32(i)-0.5)
			if elem == ir.Complex64 {
				w.FloatData = append(w.FloatData, float32(-i))
			}
		case ir.Float64:
			w.DoubleData = append(w.DoubleData, float64(i)/3)
		case ir.Int64:
			w.Int64Data = append(w.Int64Data, int64(i)*-1e12)
		case ir.Uint32:
			w.Uint64Data = append(w.Uint64Data, uint64(math.MaxUint32-i))
		case ir.Uint64:
			w.Uint64Data = append(w.Uint64Data, math.MaxUint64-uint64(i))
		case ir.Int8, ir.Int16, ir.Int32:
			w.Int32Data = append(w.Int32Data, int32(i%200-100))
		case ir.Int4:
			if i%2 == 0 {
				w.Int32Data = append(w.Int32Data, int32(i%256))
			}
		default:
			w.Int32Data = append(w.Int32Data, int32(i%256))
		}
	}
	return w
}

// A sub-model that would be too large gets external weights: raw ones and those in
// typed fields from 1 KiB on, then those in attributes and functions too.
func TestMovesWeightsOut(t *testing.T) {
	m := chain()
	elems := []ir.ElemType{
		ir.Float32, ir.Float64, ir.Complex64, ir.Int8, ir.Int16, ir.Int32, ir.Int64, ir.Uint8, ir.Uint16, ir.Uint32,
		ir.Uint64, ir.Bool, ir.Float16, ir.BFloat16, ir.Float8E4M3FN, ir.Int4,
	}
	for _, e := range elems {
		w := typed("typed "+e.String(), e, 3001)
		m.Graph.Initializer = append(m.Graph.Initializer, w)
		m.Graph.Node[0].Input = append(m.Graph.Node[0].Input, w.GetName())
	}
	big := weight("raw", 3000, 7)
	m.Graph.Initializer = append(m.Graph.Initializer, big)
	m.Graph.Node[0].Input = append(m.Graph.Node[0].Input, "raw")
	body := &onnxpb.GraphProto{
		Initializer: []*onnxpb.TensorProto{weight("nested", 4000, 8), weight("nested small", 2, 8)},
		Node:        []*onnxpb.NodeProto{node("Constant", nil, names1("k"), tensorAttr("value", weight("attribute", 2500, 9)))},
	}
	m.Graph.Node[0].Attribute = append(m.Graph.Node[0].Attribute, graphAttr("body", body), &onnxpb.AttributeProto{Name: proto.String("alpha"), F: proto.Float32(2)})
	m.Graph.Node[0].ProtoReflect().SetUnknown(unknown(902, "node"))
	m.Functions = []*onnxpb.FunctionProto{{Name: proto.String("Fn"), Domain: proto.String("f"), Node: []*onnxpb.NodeProto{
		node("Constant", nil, names1("k"), tensorAttr("value", weight("in function", 5000, 3))),
	}}}
	m.Graph.Node[1].OpType, m.Graph.Node[1].Domain = proto.String("Fn"), proto.String("f")
	f := open(t, m)
	l := lowerPlain(t, f)
	threeProcessors(l)
	all := func() *ir.Placement { return placementOf(t, l, sub(l, 0, "a", "b", "y")) }
	want := contents(t, f)

	whole := build(t, f, l, all(), Options{})
	if whole.Manifest.Submodels[0].Data != nil {
		t.Fatal("a small sub-model has external weights")
	}
	size := whole.Models[0].Size()

	for _, c := range []struct {
		name   string
		limit  int64
		mode   Weights
		nested bool // whether what is nested moves too
	}{
		{"external on request", 0, WeightsExternal, false},
		{"too large", size - 1, WeightsAuto, false},
		{"too large without what is nested", 30000, WeightsAuto, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := build(t, f, l, all(), Options{MaxModelBytes: c.limit, Weights: c.mode})
			_, subs := written(t, b)
			s := subs["pi"]
			got := contents(t, s)
			if len(got) != len(want) {
				t.Errorf("there are %d tensors, want %d", len(got), len(want))
			}
			for name, w := range want {
				if !bytes.Equal(got[name], w) {
					t.Errorf("%s differs", name)
				}
			}
			for _, w := range s.Proto.GetGraph().GetInitializer() {
				if big := !strings.HasPrefix(w.GetName(), "w"); big != (w.GetDataLocation() == onnxpb.TensorProto_EXTERNAL) {
					t.Errorf("%s is external: %v", w.GetName(), !big)
				}
			}
			n := s.Proto.GetGraph().GetNode()[0]
			in := n.GetAttribute()[0].GetG()
			if got := in.GetInitializer()[0].GetDataLocation() == onnxpb.TensorProto_EXTERNAL; got != c.nested {
				t.Errorf("a nested weight is external: %v", got)
			}
			if in.GetInitializer()[1].DataLocation != nil || n.GetAttribute()[1].GetF() != 2 || !bytes.Equal(n.ProtoReflect().GetUnknown(), unknown(902, "node")) {
				t.Errorf("the rest of the node changed: %v", n)
			}
		})
	}

	_, err := Build(t.Context(), f, l, all(), Options{MaxModelBytes: 1000})
	if err == nil || !strings.Contains(err.Error(), `sub-model "pi" would have 2163 bytes, an ONNX file can have 1000: what cannot be moved out of it is too large`) {
		t.Errorf("the error is %v", err)
	}
	_, err = Build(t.Context(), f, l, all(), Options{MaxModelBytes: 1000, Weights: WeightsEmbedded})
	if err == nil || !strings.Contains(err.Error(), `sub-model "pi" would have 272727 bytes, an ONNX file can have 1000: let its weights be external`) {
		t.Errorf("the error is %v", err)
	}
}

// Nested external tensors are found at any depth, and what stands beside them stays.
func TestNestedExternal(t *testing.T) {
	m := chain()
	body := &onnxpb.GraphProto{
		Name: proto.String("body"),
		Node: []*onnxpb.NodeProto{
			node("If", names1("c"), names1("i"), graphAttr("then_branch", &onnxpb.GraphProto{
				Initializer: []*onnxpb.TensorProto{external("deep", "w.bin", 4, 600), weight("big", 4000, 1)},
			})),
		},
		SparseInitializer: []*onnxpb.SparseTensorProto{{Values: external("sparse values", "w.bin", 0, 4), Indices: weight("idx", 4, 0), Dims: []int64{4}}},
	}
	m.Graph.Node[2].Attribute = []*onnxpb.AttributeProto{
		{Name: proto.String("axis"), I: proto.Int64(-1), Type: onnxpb.AttributeProto_INT.Enum()},
		graphAttr("g", body),
		{Name: proto.String("list"), Type: onnxpb.AttributeProto_TENSORS.Enum(), Tensors: []*onnxpb.TensorProto{weight("l0", 3, 1), external("l1", "w.bin", 4, 600)}},
	}
	m.Graph.Input = append(m.Graph.Input, info("c"))
	f := openBeside(t, m, map[string][]byte{"w.bin": ramp(4000)})
	l := lowerPlain(t, f)
	threeProcessors(l)
	b := build(t, f, l, placementOf(t, l, sub(l, 0, "a", "b"), sub(l, 1, "y")), Options{})
	_, subs := written(t, b)
	want := contents(t, f)
	got := contents(t, subs["jetson.gpu"])
	for _, name := range []string{"deep", "big", "l0", "l1"} {
		if !bytes.Equal(got[name], want[name]) || got[name] == nil {
			t.Errorf("%s differs", name)
		}
	}
	n := subs["jetson.gpu"].Proto.GetGraph().GetNode()[0]
	if n.GetOpType() != "Add" || n.GetAttribute()[0].GetI() != -1 || n.GetAttribute()[1].GetG().GetName() != "body" || len(n.GetAttribute()[2].GetTensors()) != 2 {
		t.Errorf("the rest of the node changed: %v", n)
	}
	if at := places(n.GetAttribute()[2].GetTensors()[1]); at != "location=jetson.gpu.data offset=0 length=2400" {
		t.Errorf("a tensor in a list is at %q", at)
	}
	sp := n.GetAttribute()[1].GetG().GetSparseInitializer()[0]
	if at := places(sp.GetValues()); at != "location=jetson.gpu.data offset=4096 length=16" || len(sp.GetIndices().GetRawData()) != 16 {
		t.Errorf("sparse values are at %q, indices are %v", at, sp.GetIndices())
	}
	if decode(t, b, "pi"); b.Manifest.Submodels[0].Data != nil {
		t.Error("a sub-model without external tensors has a data file")
	}
}

func TestVarintReader(t *testing.T) {
	var src []byte
	for _, x := range []int64{0, 1, -1, 300, math.MinInt32} {
		src = binary.AppendUvarint(src, uint64(x))
	}
	for _, c := range []struct {
		width int
		bytes int64
		want  string
	}{
		{1, 5, "\x00\x01\xff\x2c\x00"},
		{2, 10, "\x00\x00\x01\x00\xff\xff\x2c\x01\x00\x00"},
		{4, 20, "\x00\x00\x00\x00\x01\x00\x00\x00\xff\xff\xff\xff\x2c\x01\x00\x00\x00\x00\x00\x80"},
		{4, 16, ""}, // more values than bytes
		{4, 24, ""}, // fewer
	} {
		var out bytes.Buffer
		err := writeRanges(&out, []dataRange{{bytes: c.bytes, data: onnxfile.Bytes(src), unpack: unpacking{width: c.width}}})
		if (err != nil) != (c.want == "") || err == nil && out.String() != c.want {
			t.Errorf("width %d, %d bytes: %q, %v", c.width, c.bytes, out.String(), err)
		}
	}
}
