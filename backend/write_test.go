package backend

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// chain is x -> a -> b -> y, each an Add of a weight of its own.
func chain() *onnxpb.ModelProto {
	g := &onnxpb.GraphProto{
		Input:       []*onnxpb.ValueInfoProto{info("x", "N", 4)},
		Output:      []*onnxpb.ValueInfoProto{info("y", "N", 4)},
		ValueInfo:   []*onnxpb.ValueInfoProto{info("a", "N", 4), info("b", "N", 4)},
		Initializer: []*onnxpb.TensorProto{weight("w1", 4, 1), weight("w2", 4, 2), weight("w3", 4, 3)},
	}
	for i, out := range []string{"a", "b", "y"} {
		in := []string{"x", "a", "b"}[i]
		n := node("Add", names1(in, "w"+string(rune('1'+i))), names1(out))
		n.Name = &out
		g.Node = append(g.Node, n)
	}
	return modelOf(g)
}

func chainBundle(t testing.TB) *Bundle {
	m := open(t, chain())
	l := lowerPlain(t, m)
	threeProcessors(l)
	p := placementOf(t, l, sub(l, 0, "a"), sub(l, 1, "b"), ir.Submodel{Processor: 0, Nodes: []ir.NodeID{2}})
	return build(t, m, l, p, Options{ToolVersion: "test"})
}

func TestWriteAndRead(t *testing.T) {
	b := chainBundle(t)
	b.AddFile("trace.json", []byte("{}"))
	dir := filepath.Join(t.TempDir(), "sub", "out")
	if err := b.Write(context.Background(), dir, WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	m, err := ReadManifest(dir)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := os.ReadFile(filepath.Join(dir, ManifestFile))
	t.Logf("%s", body)
	if len(m.Submodels) != 3 {
		t.Fatal(m.Submodels)
	}
}
