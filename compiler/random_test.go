package compiler_test

import (
	"path/filepath"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"pgregory.net/rapid"
)

// TestRandomCuts cuts random networks at random, with replicas, and compares each
// with the whole bit for bit. -rapid.checks says how many (default 100, of which
// -short leaves a tenth).
func TestRandomCuts(t *testing.T) {
	requireORT(t)
	dir := t.TempDir()
	replicas, edges := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		m := onnxtest.Random(rapid.Uint64().Draw(t, "model"), onnxtest.RandomConfig{
			Nodes:     rapid.IntRange(3, 40).Draw(t, "nodes"),
			Symbolic:  rapid.Bool().Draw(t, "symbolic"),
			Bodies:    rapid.Bool().Draw(t, "bodies"),
			Functions: rapid.Bool().Draw(t, "functions"),
			Images:    rapid.Bool().Draw(t, "images"),
		})
		path := filepath.Join(dir, "random.onnx")
		if err := m.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		cut := rapid.SampledFrom([]corpus.Cut{corpus.Scatter, corpus.Shatter}).Draw(t, "cut")
		res, rep, err := corpus.VerifyCut(t.Context(), path, dir, cut, rapid.Uint64().Draw(t, "plan"), verify.Options{Levels: []runtime.Level{}})
		switch {
		case err != nil:
			t.Fatal(err)
		case !rep.Equal:
			t.Fatalf("the split computes something else: %+v", rep)
		case !rep.Conclusive:
			t.Fatalf("no output depends on the inputs")
		}
		replicas += res.Replicas
		edges += len(res.Manifest.Edges)
	})
	if replicas == 0 || edges == 0 {
		t.Errorf("all cuts together have %d replicas and %d edges: nothing was tested", replicas, edges)
	}
}
