package verify

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// convNet is a small image network with a branch, of operators that the pure-Go engine runs.
func convNet() *onnxtest.Model {
	m := onnxtest.New(onnxtest.Header{Name: "conv", Seed: 5, Opset: 17})
	g := m.Graph()
	w := func(name string, n int, dims ...int64) string {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32((i*37+11)%29-14) / 29
		}
		return g.Store(onnxtest.Floats(name, v, dims...))
	}
	g.Input("x", onnxtest.Float, "N", 3, 8, 8)
	g.Op("Conv", []string{"x", w("w1", 4*3*9, 4, 3, 3, 3), w("b1", 4, 4)}, onnxtest.Outs("a"), onnxtest.Ints("pads", 1, 1, 1, 1))
	g.Op("Relu", []string{"a"}, onnxtest.Outs("r"))
	g.Op("MaxPool", []string{"r"}, onnxtest.Outs("p"), onnxtest.Ints("kernel_shape", 2, 2), onnxtest.Ints("strides", 2, 2))
	g.Op("Conv", []string{"p", w("w2", 4*4, 4, 4, 1, 1)}, onnxtest.Outs("l"))
	g.Op("Concat", []string{"p", "l"}, onnxtest.Outs("c"), onnxtest.Int("axis", 1))
	g.Op("GlobalAveragePool", []string{"c"}, onnxtest.Outs("f"))
	g.Op("Flatten", []string{"f"}, onnxtest.Outs("v"))
	g.Op("Gemm", []string{"v", w("w3", 8*5, 8, 5), w("b3", 5, 5)}, onnxtest.Outs("s"))
	g.Op("Softmax", []string{"s"}, onnxtest.Outs("y"))
	for name, dims := range map[string][]any{"a": {"N", 4, 8, 8}, "r": {"N", 4, 8, 8}, "p": {"N", 4, 4, 4}, "l": {"N", 4, 4, 4}, "c": {"N", 8, 4, 4}, "f": {"N", 8, 1, 1}, "v": {"N", 8}, "s": {"N", 5}} {
		g.Info(name, onnxtest.Float, dims...)
	}
	g.Output("y", onnxtest.Float, "N", 5)
	g.Output("p", onnxtest.Float, "N", 4, 4, 4)
	return m
}

var convParts = [][]int{{0, 1}, {2}, {3, 4}, {5, 6, 7, 8}}

func TestPureGoEngine(t *testing.T) {
	r := verify(t, cut(t, convNet(), convParts, nil), Options{Engine: EngineGo, Dims: map[string]int64{"N": 2}})
	if !r.Equal || !r.Levels[0].BitEqual || !r.Conclusive || len(r.Levels) != 1 || len(r.Warnings) != 0 || !strings.HasPrefix(r.Engine, "onnx-go") {
		t.Errorf("%+v", r)
	}
	wrong := cut(t, convNet(), convParts, func(i int, sub *onnxpb.ModelProto) {
		if i == 2 {
			sub.Graph.Node[1].Input[0], sub.Graph.Node[1].Input[1] = sub.Graph.Node[1].Input[1], sub.Graph.Node[1].Input[0]
		}
	})
	r = verify(t, wrong, Options{Engine: EngineGo})
	if r.Equal || r.FirstDifference == nil || r.FirstDifference.Submodel != "p2" {
		t.Errorf("a wrong part went through: %+v", r)
	}
}

// Both engines agree on the outputs of the whole model, nearly.
func TestEnginesAgree(t *testing.T) {
	ort := runtimetest.ORT(t)
	path := filepath.Join(t.TempDir(), "m.onnx")
	if err := convNet().WriteFile(path); err != nil {
		t.Fatal(err)
	}
	var outs [2][]*runtime.Value
	for i, eng := range []runtime.Engine{ort, runtime.OpenGo()} {
		s, err := eng.Load(runtime.Model{Path: path}, runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		g := &generator{model: path, ports: s.Inputs(), hints: &Hints{}}
		if err := g.prepare(); err != nil {
			t.Fatal(err)
		}
		feed, err := g.make(1, true)
		if err != nil {
			t.Fatal(err)
		}
		if outs[i], err = s.Run(context.Background(), feed); err != nil {
			t.Fatal(err)
		}
	}
	for i := range outs[0] {
		if d := Compare(outs[0][i], outs[1][i]); !d.Within(1e-5) {
			t.Errorf("output %d: %+v", i, d)
		}
	}
}

// Where there is no ONNX Runtime, plain models are verified all the same, and the
// report says how; others get both reasons.
func TestFallsBackToPureGo(t *testing.T) {
	none := func(string) (runtime.Engine, error) {
		return nil, fmt.Errorf("nothing here (%w)", runtime.ErrNoLibrary)
	}
	r := verify(t, cut(t, convNet(), convParts, nil), Options{openORT: none})
	if !r.Equal || !r.Conclusive || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "nothing here (ONNX Runtime is not available): onnx-go") || !strings.HasSuffix(r.Warnings[0], " was used instead") {
		t.Errorf("%+v", r)
	}
	m := onnxtest.New(onnxtest.Header{Name: "erf", Opset: 17})
	g := m.Graph()
	g.Input("x", onnxtest.Float, 2)
	g.Op("Erf", []string{"x"}, onnxtest.Outs("a"))
	g.Op("Relu", []string{"a"}, onnxtest.Outs("y"))
	g.Info("a", onnxtest.Float, 2)
	g.Output("y", onnxtest.Float, 2)
	b := cut(t, m, [][]int{{0}, {1}}, nil)
	_, err := Run(context.Background(), Options{Bundle: b.dir, openORT: none})
	if err == nil || !strings.Contains(err.Error(), "without it only plain models can be run") || !strings.Contains(err.Error(), "does not run Erf") {
		t.Errorf("got %v", err)
	}
	// A library that is named and broken is no reason to use something else.
	broken := func(string) (runtime.Engine, error) { return nil, errors.New("broken") }
	if _, err := Run(context.Background(), Options{Bundle: b.dir, openORT: broken}); err == nil || err.Error() != "broken" {
		t.Errorf("got %v", err)
	}
}

func TestUnknownEngine(t *testing.T) {
	_, err := Run(context.Background(), Options{Bundle: cut(t, convNet(), convParts, nil).dir, Engine: "tvm"})
	if err == nil || !strings.Contains(err.Error(), `there is no engine "tvm", there are onnxruntime and onnx-go`) {
		t.Errorf("got %v", err)
	}
	_, err = Run(context.Background(), Options{Bundle: cut(t, diamondOf("Erf"), [][]int{{0}, {1, 2, 3}}, nil).dir, Engine: EngineGo})
	if err == nil || !strings.Contains(err.Error(), "does not run Erf") {
		t.Errorf("got %v", err)
	}
}

// diamondOf is diamond with another operator in the place of its Relu.
func diamondOf(op string) *onnxtest.Model {
	m := diamond()
	m.Graph().Proto().Node[1].OpType = proto.String(op)
	return m
}
