package importer_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"github.com/dnnsplit/dnnsplit/profiles/importer"
)

// residual is a small network with what runtimes fuse: convolutions with
// activations and an addition, and a node without a name.
func residual(batch any) *onnxtest.Model {
	m := onnxtest.New(onnxtest.Header{Name: "residual"})
	g := m.Graph()
	op := func(op, name, out string, in []string, with ...onnxtest.With) {
		g.Op(op, in, append(with, onnxtest.Name(name), onnxtest.Outs(out))...)
	}
	x := g.Input("x", onnxtest.Float, batch, 3, 64, 64)
	pads := onnxtest.Ints("pads", 1, 1, 1, 1)
	op("Conv", "conv1", "c1", []string{x, g.Weight("w1", onnxtest.Float, onnxtest.Uniform(-1, 1), 16, 3, 3, 3), g.Weight("b1", onnxtest.Float, onnxtest.Uniform(-1, 1), 16)}, pads)
	op("Relu", "relu1", "r1", []string{"c1"})
	op("Conv", "conv2", "c2", []string{"r1", g.Weight("w2", onnxtest.Float, onnxtest.Uniform(-1, 1), 16, 16, 3, 3), g.Weight("b2", onnxtest.Float, onnxtest.Uniform(-1, 1), 16)}, pads)
	op("Add", "add1", "a1", []string{"c2", "r1"})
	op("Relu", "relu2", "r2", []string{"a1"})
	op("GlobalAveragePool", "gap", "g", []string{"r2"})
	op("Flatten", "flat", "f", []string{"g"})
	op("Gemm", "", "y", []string{"f", g.Weight("w3", onnxtest.Float, onnxtest.Uniform(-1, 1), 16, 10), g.Weight("b3", onnxtest.Float, onnxtest.Uniform(-1, 1), 10)})
	g.Output("y", onnxtest.Float, batch, 10)
	return m
}

// branching has a node with nested graphs, whose nodes have events of their own.
func branching() *onnxtest.Model {
	m := onnxtest.New(onnxtest.Header{Name: "branching"})
	g := m.Graph()
	x := g.Input("x", onnxtest.Float, 4)
	g.Op("Relu", []string{x}, onnxtest.Name("r"), onnxtest.Outs("r"))
	g.Op("ReduceSum", []string{"r"}, onnxtest.Name("rs"), onnxtest.Outs("s"), onnxtest.Int("keepdims", 0))
	g.Op("Greater", []string{"s", g.Weight("zero", onnxtest.Float, onnxtest.Same(0))}, onnxtest.Name("gt"), onnxtest.Outs("c"))
	branch := func(op string, name string) func(b *onnxtest.Graph) {
		return func(b *onnxtest.Graph) {
			b.Op(op, []string{"r", "r"}, onnxtest.Name(name), onnxtest.Outs(name))
			b.Output(name, onnxtest.Float, 4)
		}
	}
	g.Op("If", []string{"c"}, onnxtest.Name("ifn"), onnxtest.Outs("y"), onnxtest.Body("then_branch", branch("Add", "then_add")), onnxtest.Body("else_branch", branch("Mul", "else_mul")))
	g.Output("y", onnxtest.Float, 4)
	return m
}

// traced is the model as imports see it.
func traced(t testing.TB, m *onnxtest.Model) *importer.Model {
	t.Helper()
	path := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(path, m.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := onnxfile.Open(context.Background(), path, onnxfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	a, err := frontend.Analyze(context.Background(), file, frontend.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return a.Traced(nil)
}
