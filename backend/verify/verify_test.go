package verify

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

func verify(t *testing.T, b *bundle, o Options) *Report {
	t.Helper()
	o.Bundle = b.dir
	r, err := Run(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Errorf("the report is no JSON: %v", err)
	}
	return r
}

// diamond is y = (x@w + x@w') * relu(x@w), in four nodes that can be cut anywhere.
func diamond() *onnxtest.Model {
	m := onnxtest.New(onnxtest.Header{Name: "diamond", Seed: 1, Opset: 17})
	g := m.Graph()
	g.Input("x", onnxtest.Float, "N", 4)
	g.Store(onnxtest.Floats("w", []float32{.1, .2, -.3, .4, .5, -.6, .7, .8, -.9, 1, 1.1, -1.2, 1.3, 1.4, -1.5, 1.6}, 4, 4))
	g.Op("MatMul", []string{"x", "w"}, onnxtest.Outs("a"))
	g.Op("Relu", []string{"a"}, onnxtest.Outs("b"))
	g.Op("Add", []string{"a", "x"}, onnxtest.Outs("c"))
	g.Op("Mul", []string{"b", "c"}, onnxtest.Outs("y"))
	for _, name := range []string{"a", "b", "c"} {
		g.Info(name, onnxtest.Float, "N", 4)
	}
	g.Output("y", onnxtest.Float, "N", 4)
	return m
}

func TestEqual(t *testing.T) {
	runtimetest.ORT(t)
	for _, parts := range [][][]int{{{0, 1, 2, 3}}, {{0}, {1, 2, 3}}, {{0}, {1}, {2}, {3}}, {{0, 2}, {1}, {3}}} {
		r := verify(t, cut(t, diamond(), parts, nil), Options{Seed: 7, Levels: []runtime.Level{runtime.Extended, runtime.All}})
		if !r.Equal || !r.Conclusive || r.Trials != 2 || len(r.Levels) != 3 || len(r.Problems)+len(r.Warnings) != 0 || r.FirstDifference != nil {
			t.Errorf("%v: %+v", parts, r)
		}
		out := r.Levels[0].Outputs[0]
		if !out.BitEqual || !out.Varies || out.Tensor != "y" || out.Dtype != "float32" || !slices.Equal(out.Shape, []int64{1, 4}) || out.From != "p"+string(rune('0'+len(parts)-1)) {
			t.Errorf("%v: %+v", parts, out)
		}
		if in := r.Inputs; len(in) != 1 || in[0].Source != "generated" || !slices.Equal(in[0].Shape, []int64{1, 4}) {
			t.Errorf("%v: inputs %+v", parts, in)
		}
	}
}

// A wrong part must be found out, and named.
func TestWrongPart(t *testing.T) {
	runtimetest.ORT(t)
	b := cut(t, diamond(), [][]int{{0}, {1}, {2}, {3}}, func(i int, sub *onnxpb.ModelProto) {
		if i == 2 {
			sub.Graph.Node[0].OpType = proto.String("Sub")
		}
	})
	r := verify(t, b, Options{})
	if r.Equal || r.Levels[0].BitEqual {
		t.Fatalf("a wrong sub-model went through: %+v", r)
	}
	d := r.Levels[0].Outputs[0].Diff
	if d.Differing == 0 || d.MaxAbs == 0 || d.MaxULP == 0 || d.MaxRel == 0 || d.Want == d.Got {
		t.Errorf("difference %+v", d)
	}
	c := r.FirstDifference
	if c == nil || c.Submodel != "p2" || c.Tensor != "c" || len(c.Others) != 0 {
		t.Errorf("culprit %+v, warnings %q", c, r.Warnings)
	}
}

// A part that computes nearly the right thing is different too.
func TestOneBit(t *testing.T) {
	runtimetest.ORT(t)
	b := cut(t, diamond(), [][]int{{0}, {1, 2, 3}}, func(i int, sub *onnxpb.ModelProto) {
		if i == 0 {
			sub.Graph.Initializer[0] = proto.Clone(sub.Graph.Initializer[0]).(*onnxpb.TensorProto)
			w := onnxtest.Floats("w", []float32{.1, .2, -.3, .4, .5, -.6, .7, .8, -.9, 1, 1.1, -1.2, 1.3, 1.4, -1.5, 1.6000001}, 4, 4)
			sub.Graph.Initializer[0] = w
		}
	})
	r := verify(t, b, Options{})
	if r.Equal {
		t.Fatal("one bit of a weight went unnoticed")
	}
	if d := r.Levels[0].Worst(); d.MaxAbs == 0 || d.MaxAbs > 1e-5 {
		t.Errorf("difference %+v", d)
	}
	if r := verify(t, b, Options{Tolerance: 1e-4}); !r.Equal || r.Levels[0].BitEqual {
		t.Error("a tolerance of 1e-4 is not kept")
	}
}

func TestDifferentShape(t *testing.T) {
	runtimetest.ORT(t)
	b := cut(t, diamond(), [][]int{{0, 1, 2}, {3}}, func(i int, sub *onnxpb.ModelProto) {
		if i == 1 {
			sub.Graph.Node[0] = &onnxpb.NodeProto{
				OpType: proto.String("Concat"), Input: []string{"b", "c"}, Output: []string{"y"},
				Attribute: []*onnxpb.AttributeProto{{Name: proto.String("axis"), Type: onnxpb.AttributeProto_INT.Enum(), I: proto.Int64(0)}},
			}
		}
	})
	r := verify(t, b, Options{})
	if d := r.Levels[0].Outputs[0].Diff; r.Equal || d.Mismatch != "float32[2,4] instead of float32[1,4]" {
		t.Errorf("got %+v", d)
	}
}

// Two equal constants agree, which proves little: the report must say so.
func TestConstantOutput(t *testing.T) {
	runtimetest.ORT(t)
	m := onnxtest.New(onnxtest.Header{Name: "constant", Opset: 17})
	g := m.Graph()
	g.Input("x", onnxtest.Float, 2)
	g.Store(onnxtest.Floats("zero", []float32{0, 0}, 2))
	g.Op("Mul", []string{"x", "zero"}, onnxtest.Outs("z"))
	g.Op("Abs", []string{"z"}, onnxtest.Outs("y"))
	g.Info("z", onnxtest.Float, 2)
	g.Output("y", onnxtest.Float, 2)
	b := cut(t, m, [][]int{{0}, {1}}, nil)
	r := verify(t, b, Options{})
	if !r.Equal || r.Conclusive || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "no output changes with the inputs") {
		t.Errorf("got %+v", r)
	}
	if r := verify(t, b, Options{Trials: 1}); r.Conclusive || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "one set of inputs") {
		t.Errorf("one trial: %+v", r)
	}
}

func TestChangedFiles(t *testing.T) {
	runtimetest.ORT(t)
	b := cut(t, diamond(), [][]int{{0}, {1, 2, 3}}, nil)
	// The model's own bytes, with a doc string behind them: equal values, another file.
	for path, want := range map[string]string{
		filepath.Join(b.dir, "p1.onnx"): "p1.onnx is not the file that was written: its SHA-256 is ",
		b.model:                         "model.onnx is not the model that was split: its SHA-256 is ",
	} {
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, append(slices.Clip(old), 0x32, 1, 'x'), 0o666); err != nil {
			t.Fatal(err)
		}
		r := verify(t, b, Options{})
		if r.Equal || !r.Levels[0].BitEqual || len(r.Problems) != 1 || !strings.Contains(r.Problems[0], want) {
			t.Errorf("%s: equal %v, problems %q", path, r.Equal, r.Problems)
		}
		if err := os.WriteFile(path, old, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if r := verify(t, b, Options{}); !r.Equal {
		t.Errorf("restored: %q", r.Problems)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func TestErrors(t *testing.T) {
	runtimetest.ORT(t)
	run := func(b *bundle, o Options) error {
		o.Bundle = b.dir
		_, err := Run(context.Background(), o)
		if err == nil {
			return errors.New("no error")
		}
		return err
	}
	fresh := func() *bundle { return cut(t, diamond(), [][]int{{0}, {1, 2, 3}}, nil) }
	for _, c := range []struct {
		name string
		err  func() error
		want string
	}{
		{"no bundle", func() error { return run(&bundle{dir: t.TempDir()}, Options{}) }, "it is no bundle: it has no manifest.json"},
		{"no sub-model", func() error { b := fresh(); remove(t, filepath.Join(b.dir, "p0.onnx")); return run(b, Options{}) }, "p0.onnx: cannot be read: no such file"},
		{"no model", func() error { b := fresh(); remove(t, b.model); return run(b, Options{}) }, "model.onnx: the model that was split is neither beside the bundle nor in the working directory, name it with --model"},
		{"another model", func() error { return run(fresh(), Options{Model: "none.onnx"}) }, "none.onnx: cannot be read"},
		{"broken sub-model", func() error {
			b := fresh()
			if err := os.WriteFile(filepath.Join(b.dir, "p0.onnx"), []byte("no model"), 0o666); err != nil {
				t.Fatal(err)
			}
			b.resum(t)
			return run(b, Options{})
		}, "p0.onnx: ONNX Runtime cannot load it"},
		{"unknown input", func() error { return run(fresh(), Options{Shapes: map[string][]int64{"z": {1}}}) }, `value "z": the model has no such input, only "x"`},
		{"bad shape", func() error { return run(fresh(), Options{Shapes: map[string][]int64{"x": {1, 5}}}) }, "model.onnx: ONNX Runtime cannot run it: Got invalid dimensions for input: x for the following indices index: 1 Got: 5 Expected: 4 Please fix either the inputs/outputs or the model (the whole model on generated inputs: x float32[1,5]; shapes and values can be given with --shape, --input or a file model.onnx.hints.json)"},
		{"huge shape", func() error { return run(fresh(), Options{Dims: map[string]int64{"N": 1 << 40}}) }, `value "x": an input of shape [1099511627776,4] is too large to generate, give a smaller one with --shape`},
		{"bad input", func() error {
			return run(fresh(), Options{Inputs: map[string]*runtime.Value{"x": {Kind: 1, Elem: 1, Shape: []int64{3}}}})
		}, "takes 12 bytes, not 0"},
		{"no hints", func() error { return run(fresh(), Options{Hints: "none.json"}) }, "none.json: hints cannot be read"},
		{"no library", func() error { return run(fresh(), Options{Library: "/none/libonnxruntime.so"}) }, "/none/libonnxruntime.so: no ONNX Runtime library: there is no such file"},
		{"undeclared input", func() error {
			b := fresh()
			b.manifest.Submodels[1].Inputs = []string{"a"}
			b.manifest.Inputs[0].To = []string{"p0"}
			b.writeManifest(t)
			return run(b, Options{})
		}, `p1.onnx: value "x": sub-model p1 has this input, but the manifest does not list it`},
		{"cancelled", func() error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			_, err := Run(ctx, Options{Bundle: fresh().dir})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("cancelled: %v", err)
			}
			return err
		}, "context canceled"},
	} {
		if err := c.err(); !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %q, want ... %q", c.name, err, c.want)
		}
	}
}

func TestModelIsFound(t *testing.T) {
	runtimetest.ORT(t)
	b := cut(t, diamond(), [][]int{{0}, {1, 2, 3}}, nil)
	elsewhere := filepath.Join(t.TempDir(), "other.onnx")
	if err := os.Rename(b.model, elsewhere); err != nil {
		t.Fatal(err)
	}
	if r := verify(t, b, Options{Model: elsewhere}); !r.Equal || r.Model != elsewhere {
		t.Errorf("named: %+v", r)
	}
	if err := os.Rename(elsewhere, filepath.Join(b.dir, "model.onnx")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Dir(b.dir))
	if r := verify(t, &bundle{dir: "model.split"}, Options{}); !r.Equal {
		t.Errorf("inside the bundle: %+v", r)
	}
}

func TestSymbolsAndShapes(t *testing.T) {
	runtimetest.ORT(t)
	b := cut(t, diamond(), [][]int{{0}, {1, 2, 3}}, nil)
	r := verify(t, b, Options{Dims: map[string]int64{"N": 3}})
	if !r.Equal || !slices.Equal(r.Inputs[0].Shape, []int64{3, 4}) {
		t.Errorf("by symbol: %+v", r.Inputs)
	}
	r = verify(t, b, Options{Shapes: map[string][]int64{"x": {5, 4}}})
	if !r.Equal || !slices.Equal(r.Levels[0].Outputs[0].Shape, []int64{5, 4}) {
		t.Errorf("by shape: %+v", r.Inputs)
	}
	r = verify(t, b, Options{Shapes: map[string][]int64{"x": {0, 4}}})
	if !r.Equal || r.Conclusive || !slices.Equal(r.Levels[0].Outputs[0].Shape, []int64{0, 4}) {
		t.Errorf("no elements: %+v", r)
	}
	v, err := runtime.NewTensor(1, []int64{2, 4}, make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	r = verify(t, b, Options{Inputs: map[string]*runtime.Value{"x": v}})
	if !r.Equal || r.Conclusive || r.Trials != 1 || r.Inputs[0].Source != "given" {
		t.Errorf("given: %+v", r)
	}
}

func TestHints(t *testing.T) {
	runtimetest.ORT(t)
	b := cut(t, diamond(), [][]int{{0}, {1, 2, 3}}, nil)
	hints := b.model + ".hints.json"
	write := func(s string) {
		if err := os.WriteFile(hints, []byte(s), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"sym": {"N": 2}, "values": {"x": [1,2,3,4,5,6,7,8]}}`)
	if r := verify(t, b, Options{}); !r.Equal || r.Inputs[0].Source != "hint" || !slices.Equal(r.Inputs[0].Shape, []int64{2, 4}) || r.Trials != 1 {
		t.Errorf("values: %+v", r)
	}
	write(`{"shapes": {"x": [7,4], "gone": [1]}}`)
	if r := verify(t, b, Options{}); !r.Equal || !slices.Equal(r.Inputs[0].Shape, []int64{7, 4}) {
		t.Errorf("shapes: %+v", r)
	}
	for text, want := range map[string]string{
		`{"shape": {}}`:                   "hints are no JSON object of shapes, sym and values",
		`[]`:                              "hints are no JSON object",
		`{"values": {"x": [1,2]}}`:        "input cannot be made: the hint has 2 values, float32[1,4] takes 4",
		`{"values": {"x": "a"}}`:          "the hint's value 0: ",
		`{"values": {"x": null}}`:         "is no number",
		`{"shapes": {"x": [-1,4]}}`:       "is too large to generate",
		`{"values": {"x": {"a": [1,2]}}}`: "is no number",
	} {
		write(text)
		if _, err := Run(context.Background(), Options{Bundle: b.dir}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

// TestWhatCannotBeMade wants the reason why an input is not made of a hint, or at random.
func TestWhatCannotBeMade(t *testing.T) {
	for _, c := range []struct {
		hint any
		elem ir.ElemType
		want string
	}{
		{1.0, ir.String, "the hint's value 0 is no string"},
		{"a", ir.Float32, "the hint's value 0: "},
		{1.0, ir.Complex128, "values of complex128 cannot be given as a hint"},
	} {
		if v, err := hinted(c.hint, c.elem, []int64{1}, false); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("the hint %v makes %s, %v; want %s", c.hint, v, err, c.want)
		}
	}
	if v, err := random(rand.New(rand.NewPCG(1, 2)), ir.UndefinedElem, []int64{1}, false, false); err == nil || !strings.Contains(err.Error(), "[1] cannot be filled") || !strings.HasPrefix(err.Error(), "a tensor ") {
		t.Errorf("a tensor of no type is made: %s, %v", v, err)
	}
}
