package compiler_test

import (
	"flag"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"pgregory.net/rapid"
)

// fewChecks lets rapid draw n cases unless -rapid.checks says otherwise.
func fewChecks(t *testing.T, n int) {
	t.Helper()
	const name = "rapid.checks"
	old := flag.Lookup(name).Value.String()
	if old != flag.Lookup(name).DefValue {
		return
	}
	if err := flag.Set(name, strconv.Itoa(n)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := flag.Set(name, old); err != nil {
			t.Fatal(err)
		}
	})
}

// randomModel writes a random network to path.
func randomModel(t *rapid.T, path string) {
	m := onnxtest.Random(rapid.Uint64().Draw(t, "model"), onnxtest.RandomConfig{
		Nodes:     rapid.IntRange(3, 40).Draw(t, "nodes"),
		Symbolic:  rapid.Bool().Draw(t, "symbolic"),
		Bodies:    rapid.Bool().Draw(t, "bodies"),
		Functions: rapid.Bool().Draw(t, "functions"),
		Images:    rapid.Bool().Draw(t, "images"),
	})
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
}

// TestRandomSplits places random networks over fleets that memory makes tight,
// with any number of sub-models, and compares each split with the whole.
func TestRandomSplits(t *testing.T) {
	runtimetest.ORT(t)
	fewChecks(t, race.Of(20, 6))
	dir := t.TempDir()
	cut := 0
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "random.onnx")
		randomModel(t, path)
		trial := corpus.Trial{Name: "random", Force: rapid.IntRange(0, 4).Draw(t, "force"), Submodels: rapid.IntRange(1, 4).Draw(t, "submodels")}
		out, err := corpus.Split(t.Context(), path, "../profiles", dir, trial)
		switch {
		case err != nil:
			t.Fatal(err)
		case !out.Report.Equal:
			t.Fatalf("the split computes something else: %+v", out.Report)
		case out.BestSingle > 0 && out.Latency > out.BestSingle:
			t.Fatalf("latency %v, a single processor takes %v", out.Latency, out.BestSingle)
		}
		if out.Submodels > 1 {
			cut++
		}
	})
	if cut == 0 && !race.Enabled { // of the few with the detector none may be
		t.Error("no network was cut: nothing was tested")
	}
}

// TestRandomCuts cuts random networks at random, with replicas, and compares each
// with the whole bit for bit. -rapid.checks says how many (default 40).
func TestRandomCuts(t *testing.T) {
	runtimetest.ORT(t)
	fewChecks(t, 40)
	dir := t.TempDir()
	replicas, edges := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(dir, "random.onnx")
		randomModel(t, path)
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
