package runtime

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// Every element type goes in and comes out byte for byte, at rank 0, with no
// elements, and as a plain tensor.
func TestEveryElementType(t *testing.T) {
	eng := openORT(t)
	shapes := [][]int64{{}, {0}, {2, 0, 3}, {5}, {2, 3}}
	for elem := ir.Float32; elem <= ir.Int2; elem++ {
		if elem == ir.Complex64 || elem == ir.Complex128 {
			continue // ONNX Runtime loads no model that has them
		}
		for _, shape := range shapes {
			t.Run(elem.String()+FormatShape(shape), func(t *testing.T) {
				dims := make([]any, len(shape))
				for i, n := range shape {
					dims[i] = int(n)
				}
				// A graph output that is the graph input: no kernel needed, and the types that have no kernels count too.
				path := graph{
					opset: 25, in: []*onnxpb.ValueInfoProto{tensorInfo("x", elem, dims...)},
					out:      []*onnxpb.ValueInfoProto{tensorInfo("x", elem, dims...)},
					modifier: func(m *onnxpb.ModelProto) { m.IrVersion = proto.Int64(13) },
				}.write(t)
				s := load(t, eng, Model{Path: path}, Options{})
				n, _ := ir.Elements(shape)
				var x *Value
				if elem == ir.String {
					words := []string{"", "a b", "\xff\xfe", "漢字", "x", "y"}
					v, err := NewStrings(shape, words[:n])
					if err != nil {
						t.Fatal(err)
					}
					x = v
				} else {
					size, _ := ir.StoredBytes(elem, n)
					data := make([]byte, size)
					for i := range data {
						data[i] = byte(7*i + 1)
						if elem == ir.Bool {
							data[i] &= 1
						}
					}
					if elem.Bits() < 8 && size > 0 { // padding need not survive
						data[size-1] &= byte(1<<(8-(int(size)*8-int(n)*elem.Bits())) - 1)
					}
					x = newTensor(t, elem, shape, data)
				}
				got, err := s.Run(context.Background(), map[string]*Value{"x": x})
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]*Value{x}, got, cmp.Transformer("nil", func(b []byte) string { return string(b) })); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestFloat16Computes(t *testing.T) {
	eng := openORT(t)
	path := graph{
		in:    []*onnxpb.ValueInfoProto{tensorInfo("x", ir.Float32, "N")},
		out:   []*onnxpb.ValueInfoProto{tensorInfo("y", ir.Float16, "N")},
		nodes: []*onnxpb.NodeProto{node("Cast", []string{"x"}, []string{"y"}, attrInt("to", int64(ir.Float16)))},
	}.write(t)
	s := load(t, eng, Model{Path: path}, Options{})
	got, err := s.Run(context.Background(), map[string]*Value{"x": newTensor(t, ir.Float32, []int64{3}, floats(1, -2, 65504))})
	if err != nil {
		t.Fatal(err)
	}
	if want := "\x00\x3c\x00\xc0\xff\x7b"; string(got[0].Data) != want || got[0].Elem != ir.Float16 {
		t.Errorf("got %s % x, want % x", got[0], got[0].Data, want)
	}
}

func TestNoInputs(t *testing.T) {
	eng := openORT(t)
	path := graph{
		out:     []*onnxpb.ValueInfoProto{tensorInfo("y", ir.Float32)},
		weights: []*onnxpb.TensorProto{initializer("w", ir.Float32, nil, floats(3))},
		nodes:   []*onnxpb.NodeProto{node("Neg", []string{"w"}, []string{"y"})},
	}.write(t)
	s := load(t, eng, Model{Path: path}, Options{})
	if len(s.Inputs()) != 0 {
		t.Errorf("inputs %v, want none", s.Inputs())
	}
	got, err := s.Run(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if string(got[0].Data) != string(floats(-3)) || len(got[0].Shape) != 0 {
		t.Errorf("got %s % x", got[0], got[0].Data)
	}
}

func sequenceInfo(name string, elem ir.ElemType) *onnxpb.ValueInfoProto {
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_SequenceType{
		SequenceType: &onnxpb.TypeProto_Sequence{ElemType: tensorInfo("", elem, "n").Type},
	}}}
}

func optionalInfo(name string, of *onnxpb.TypeProto) *onnxpb.ValueInfoProto {
	return &onnxpb.ValueInfoProto{Name: &name, Type: &onnxpb.TypeProto{Value: &onnxpb.TypeProto_OptionalType{
		OptionalType: &onnxpb.TypeProto_Optional{ElemType: of},
	}}}
}

func TestSequences(t *testing.T) {
	eng := openORT(t)
	path := graph{
		in:  []*onnxpb.ValueInfoProto{sequenceInfo("s", ir.Float32), tensorInfo("x", ir.Float32, "n")},
		out: []*onnxpb.ValueInfoProto{sequenceInfo("more", ir.Float32), tensorInfo("count", ir.Int64), sequenceInfo("none", ir.Float32)},
		nodes: []*onnxpb.NodeProto{
			node("SequenceInsert", []string{"s", "x"}, []string{"more"}),
			node("SequenceLength", []string{"more"}, []string{"count"}),
			node("SequenceEmpty", nil, []string{"none"}),
		},
	}.write(t)
	s := load(t, eng, Model{Path: path}, Options{})
	if got := s.Inputs()[0].Type.Kind; got != ir.Sequence {
		t.Errorf("s is a %s", got)
	}
	one := newTensor(t, ir.Float32, []int64{1}, floats(1))
	two := newTensor(t, ir.Float32, []int64{2}, floats(2, 3))
	got, err := s.Run(context.Background(), map[string]*Value{"s": NewSequence(one), "x": two})
	if err != nil {
		t.Fatal(err)
	}
	want := []*Value{NewSequence(one, two), newTensor(t, ir.Int64, []int64{}, int64s(2)), NewSequence()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, err = s.Run(context.Background(), map[string]*Value{"s": NewSequence(), "x": two})
	if err == nil || !strings.Contains(err.Error(), `value "s": input cannot be given to ONNX Runtime: an empty sequence cannot be given`) {
		t.Errorf("empty sequence: %v", err)
	}
}

func TestOptionals(t *testing.T) {
	eng := openORT(t)
	x := tensorInfo("x", ir.Float32, "n")
	path := graph{
		in:  []*onnxpb.ValueInfoProto{optionalInfo("o", x.Type), x},
		out: []*onnxpb.ValueInfoProto{tensorInfo("y", ir.Float32, "n"), optionalInfo("full", x.Type), optionalInfo("empty", x.Type)},
		nodes: []*onnxpb.NodeProto{
			node("OptionalGetElement", []string{"o"}, []string{"y"}),
			node("Optional", []string{"x"}, []string{"full"}),
			node("Optional", nil, []string{"empty"}, &onnxpb.AttributeProto{
				Name: proto.String("type"),
				Type: onnxpb.AttributeProto_TYPE_PROTO.Enum(), Tp: x.Type,
			}),
		},
	}.write(t)
	s := load(t, eng, Model{Path: path}, Options{})
	v := newTensor(t, ir.Float32, []int64{2}, floats(2, 3))
	for _, o := range []*Value{v, {Kind: ir.Optional, Items: []*Value{v}}} {
		got, err := s.Run(context.Background(), map[string]*Value{"o": o, "x": v})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]*Value{v, v, {Kind: ir.Optional}}, got); diff != "" {
			t.Error(diff)
		}
	}
}

func TestOddNames(t *testing.T) {
	eng := openORT(t)
	for _, name := range []string{"past + seq", `{"a":[1]}`, "漢字/層", "a\nb", "%s%d", "\xff\xfe", strings.Repeat("x", 5000)} {
		path := graph{
			in:    []*onnxpb.ValueInfoProto{tensorInfo(name, ir.Float32, 1)},
			out:   []*onnxpb.ValueInfoProto{tensorInfo(name+"'", ir.Float32, 1)},
			nodes: []*onnxpb.NodeProto{node("Neg", []string{name}, []string{name + "'"})},
		}.write(t)
		s := load(t, eng, Model{Path: path}, Options{})
		got, err := s.Run(context.Background(), map[string]*Value{name: newTensor(t, ir.Float32, []int64{1}, floats(1))})
		if err != nil {
			t.Errorf("%.20q: %v", name, err)
		} else if string(got[0].Data) != string(floats(-1)) {
			t.Errorf("%.20q: got % x", name, got[0].Data)
		}
		if got := s.Outputs()[0].Name; got != name+"'" {
			t.Errorf("%.20q: output is called %.20q", name, got)
		}
	}
}

// What cannot be given is refused in a sentence, and nothing crashes.
func TestRefusedValues(t *testing.T) {
	eng := openORT(t)
	path := graph{
		in:    []*onnxpb.ValueInfoProto{tensorInfo("x", ir.Float32, 2)},
		out:   []*onnxpb.ValueInfoProto{tensorInfo("y", ir.Float32, 2)},
		nodes: []*onnxpb.NodeProto{node("Neg", []string{"x"}, []string{"y"})},
	}.write(t)
	s := load(t, eng, Model{Path: path}, Options{})
	good := newTensor(t, ir.Float32, []int64{2}, floats(1, 2))
	for _, c := range []struct {
		name string
		feed map[string]*Value
		want string
	}{
		{"missing", nil, `value "x": input is not given`},
		{"elem", map[string]*Value{"x": newTensor(t, ir.Float64, []int64{2}, make([]byte, 16))}, "Unexpected input data type"},
		{"rank", map[string]*Value{"x": newTensor(t, ir.Float32, []int64{2, 1}, make([]byte, 8))}, "Invalid rank for input: x"},
		{"extent", map[string]*Value{"x": newTensor(t, ir.Float32, []int64{3}, make([]byte, 12))}, "Got invalid dimensions for input: x"},
		{"extra", map[string]*Value{"x": good, "z": good}, "z"},
		{"nul name", map[string]*Value{"x": good, "a\x00b": good}, "input cannot be given: its name holds a zero byte, which ends a name in C"},
		{"nul string", map[string]*Value{"x": {Kind: ir.Tensor, Elem: ir.String, Shape: []int64{1}, Strings: []string{"a\x00b"}}}, "string 0 holds a zero byte, which ends a string in C"},
		{"length", map[string]*Value{"x": {Kind: ir.Tensor, Elem: ir.Float32, Shape: []int64{2}, Data: make([]byte, 7)}}, "a tensor float32[2] takes 8 bytes, not 7"},
		{"negative", map[string]*Value{"x": {Kind: ir.Tensor, Elem: ir.Float32, Shape: []int64{-2}}}, "shape [-2] is impossible"},
		{"overflow", map[string]*Value{"x": {Kind: ir.Tensor, Elem: ir.Float32, Shape: []int64{1 << 40, 1 << 40}}}, "is impossible"},
		{"nil item", map[string]*Value{"x": {Kind: ir.Sequence, Items: []*Value{nil}}}, "item 0 of a sequence is missing"},
		{"no map", map[string]*Value{"x": {Kind: ir.Map}}, "a map is given as two tensors, keys and values, not 0"},
		{"empty optional", map[string]*Value{"x": {Kind: ir.Optional}}, "input cannot be given to ONNX Runtime: an empty optional cannot be given"},
		{"no value", map[string]*Value{"x": good, "o": nil}, "input cannot be given to ONNX Runtime: an empty optional cannot be given"},
		{"opaque", map[string]*Value{"x": {Kind: ir.Opaque}}, "cannot be held"},
		{"no element", map[string]*Value{"x": {Kind: ir.Tensor, Shape: []int64{0}}}, "cannot be held"},
	} {
		_, err := s.Run(context.Background(), c.feed)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%s: got %v, want ... %s", c.name, err, c.want)
		}
	}
	if _, err := s.Run(context.Background(), map[string]*Value{"x": good}); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
}

func TestRefusedModels(t *testing.T) {
	eng := openORT(t)
	dir := t.TempDir()
	file := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	unknownOp := graph{
		in:    []*onnxpb.ValueInfoProto{tensorInfo("x", ir.Float32, 2)},
		out:   []*onnxpb.ValueInfoProto{tensorInfo("y", ir.Float32, 2)},
		nodes: []*onnxpb.NodeProto{node("Nonsense", []string{"x"}, []string{"y"})},
	}
	for _, c := range []struct {
		name string
		m    Model
		o    Options
		want string
	}{
		{"missing", Model{Path: filepath.Join(dir, "none.onnx")}, Options{}, "cannot be read: no such file or directory"},
		{"folder", Model{Path: dir}, Options{}, "is a folder, not an ONNX file"},
		{"empty", Model{Path: file("empty.onnx", nil)}, Options{}, "ONNX Runtime cannot load it"},
		{"no bytes", Model{Path: "x", Data: []byte{}}, Options{}, "is empty"},
		{"garbage", Model{Path: file("garbage.onnx", []byte("not a model at all"))}, Options{}, "Protobuf parsing failed"},
		{"op", Model{Path: file("op.onnx", unknownOp.encode(t))}, Options{}, "Nonsense"},
		{"provider", Model{Path: file("p.onnx", unknownOp.encode(t))}, Options{Provider: "MoonExecutionProvider"}, "refuses the options"},
		{"level", Model{Path: file("l.onnx", unknownOp.encode(t))}, Options{Optimization: 9}, "ONNX Runtime refuses the options: there is no optimisation level 9"},
	} {
		s, err := eng.Load(c.m, c.o)
		if err == nil {
			_ = s.Close()
			t.Errorf("%s: loaded", c.name)
			continue
		}
		if msg := err.Error(); !strings.Contains(msg, c.want) || strings.Contains(msg, "\n") || strings.Contains(msg, "onnxruntime::") {
			t.Errorf("%s: got %q, want ... %s", c.name, msg, c.want)
		}
	}
}

// External data is found beside the model, wherever the program runs, and
// beside Folder for a model in memory.
func TestExternalData(t *testing.T) {
	eng := openORT(t)
	g := graph{
		in:    []*onnxpb.ValueInfoProto{tensorInfo("x", ir.Float32, 2)},
		out:   []*onnxpb.ValueInfoProto{tensorInfo("y", ir.Float32, 2)},
		nodes: []*onnxpb.NodeProto{node("Add", []string{"x", "w"}, []string{"y"})},
		weights: []*onnxpb.TensorProto{{
			Name: proto.String("w"), Dims: []int64{2}, DataType: proto.Int32(int32(ir.Float32)),
			DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(), ExternalData: []*onnxpb.StringStringEntryProto{
				{Key: proto.String("location"), Value: proto.String("w.data")},
				{Key: proto.String("offset"), Value: proto.String("4")},
				{Key: proto.String("length"), Value: proto.String("8")},
			},
		}},
	}
	path := g.write(t)
	if err := os.WriteFile(filepath.Join(filepath.Dir(path), "w.data"), floats(9, 10, 20), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, m := range []Model{{Path: path}, {Path: "in memory", Data: g.encode(t), Folder: filepath.Dir(path)}} {
		s := load(t, eng, m, Options{})
		got, err := s.Run(context.Background(), map[string]*Value{"x": newTensor(t, ir.Float32, []int64{2}, floats(1, 2))})
		if err != nil {
			t.Fatal(err)
		}
		if string(got[0].Data) != string(floats(11, 22)) {
			t.Errorf("%s: got % x", m.Path, got[0].Data)
		}
	}
}

// forever is a model whose loop runs long enough for a test to interrupt it.
func forever() graph {
	body := &onnxpb.GraphProto{
		Name:   proto.String("body"),
		Input:  []*onnxpb.ValueInfoProto{tensorInfo("i", ir.Int64), tensorInfo("c", ir.Bool), tensorInfo("v", ir.Float32, 64)},
		Output: []*onnxpb.ValueInfoProto{tensorInfo("c2", ir.Bool), tensorInfo("v2", ir.Float32, 64)},
		Node:   []*onnxpb.NodeProto{node("Identity", []string{"c"}, []string{"c2"}), node("Sin", []string{"v"}, []string{"v2"})},
	}
	return graph{
		in:  []*onnxpb.ValueInfoProto{tensorInfo("n", ir.Int64), tensorInfo("x", ir.Float32, 64)},
		out: []*onnxpb.ValueInfoProto{tensorInfo("y", ir.Float32, 64)},
		nodes: []*onnxpb.NodeProto{node("Loop", []string{"n", "", "x"}, []string{"y"},
			&onnxpb.AttributeProto{Name: proto.String("body"), Type: onnxpb.AttributeProto_GRAPH.Enum(), G: body})},
	}
}

func TestCancel(t *testing.T) {
	eng := openORT(t)
	s := load(t, eng, Model{Path: forever().write(t)}, Options{})
	feed := func(n int64) map[string]*Value {
		return map[string]*Value{"n": newTensor(t, ir.Int64, nil, int64s(n)), "x": newTensor(t, ir.Float32, []int64{64}, make([]byte, 256))}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.Run(ctx, feed(1<<62)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline error", err)
	}
	if _, err := s.Run(ctx, feed(1)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want a deadline error at once", err)
	}
	if _, err := s.Run(context.Background(), feed(3)); err != nil {
		t.Errorf("the session is spoilt: %v", err)
	}
}

func TestTimeAndClose(t *testing.T) {
	eng := openORT(t)
	s := load(t, eng, Model{Path: forever().write(t)}, Options{})
	feed := map[string]*Value{"n": newTensor(t, ir.Int64, nil, int64s(5)), "x": newTensor(t, ir.Float32, []int64{64}, make([]byte, 256))}
	times, err := s.Time(context.Background(), feed, 2, 3)
	if err != nil || len(times) != 3 {
		t.Fatalf("got %v, %v, want 3 times", times, err)
	}
	for _, d := range times {
		if d <= 0 {
			t.Errorf("a run took %v", d)
		}
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Run(context.Background(), feed); err == nil || !strings.Contains(err.Error(), "the session is closed") {
		t.Errorf("after Close: %v", err)
	}
}

func TestConcurrentRuns(t *testing.T) {
	eng := openORT(t)
	s := load(t, eng, Model{Path: forever().write(t)}, Options{Optimization: All})
	done := make(chan error, 8)
	for i := range cap(done) {
		go func() {
			x := newTensor(t, ir.Float32, []int64{64}, floats(make([]float32, 64)...))
			_, err := s.Run(context.Background(), map[string]*Value{"n": newTensor(t, ir.Int64, nil, int64s(int64(i))), "x": x})
			done <- err
		}()
	}
	for range cap(done) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestProfile(t *testing.T) {
	eng := openORT(t)
	prefix := filepath.Join(t.TempDir(), "prof")
	s := load(t, eng, Model{Path: forever().write(t)}, Options{ProfilePrefix: prefix})
	feed := map[string]*Value{"n": newTensor(t, ir.Int64, nil, int64s(5)), "x": newTensor(t, ir.Float32, []int64{64}, make([]byte, 256))}
	if _, err := s.Run(context.Background(), feed); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(prefix + "*.json")
	if len(files) != 1 {
		t.Fatalf("profiles written: %v", files)
	}
	b, err := os.ReadFile(files[0])
	if err != nil || !strings.Contains(string(b), "model_run") {
		t.Errorf("profile of %d bytes, %v", len(b), err)
	}
}

func TestPorts(t *testing.T) {
	eng := openORT(t)
	g := graph{
		in:      []*onnxpb.ValueInfoProto{tensorInfo("x", ir.Float32, "N", 3, nil), tensorInfo("s", ir.Int64), tensorInfo("u", ir.Float16), tensorInfo("listed", ir.Float32, 1)},
		out:     []*onnxpb.ValueInfoProto{tensorInfo("y", ir.Float32, "N", 3, nil)},
		weights: []*onnxpb.TensorProto{initializer("listed", ir.Float32, []int64{1}, floats(1))},
		nodes:   []*onnxpb.NodeProto{node("Add", []string{"x", "listed"}, []string{"y"})},
	}
	g.in[2].Type.GetTensorType().Shape = nil
	s := load(t, eng, Model{Path: g.write(t)}, Options{})
	want := []Port{
		{"x", ir.TensorOf(ir.Float32, ir.Symbol("N"), ir.Fixed(3), ir.Symbol(""))},
		{"s", ir.Type{Kind: ir.Tensor, Elem: ir.Int64, Shape: []ir.Dim{}}},
		{"u", ir.Unranked(ir.Float16)},
	}
	if diff := cmp.Diff(want, s.Inputs()); diff != "" {
		t.Errorf("inputs: %s", diff)
	}
	if diff := cmp.Diff([]Port{{"y", want[0].Type}}, s.Outputs()); diff != "" {
		t.Errorf("outputs: %s", diff)
	}
	// A listed initializer may be given all the same.
	x := newTensor(t, ir.Float32, []int64{1, 3, 1}, floats(1, 2, 3))
	feed := map[string]*Value{"x": x, "s": newTensor(t, ir.Int64, nil, int64s(1)), "u": newTensor(t, ir.Float16, nil, []byte{0, 0})}
	for _, c := range []struct {
		listed *Value
		want   string
	}{{nil, string(floats(2, 3, 4))}, {newTensor(t, ir.Float32, []int64{1}, floats(10)), string(floats(11, 12, 13))}} {
		if c.listed != nil {
			feed["listed"] = c.listed
		}
		got, err := s.Run(context.Background(), feed)
		if err != nil {
			t.Fatal(err)
		}
		if string(got[0].Data) != c.want {
			t.Errorf("got % x", got[0].Data)
		}
	}
}
