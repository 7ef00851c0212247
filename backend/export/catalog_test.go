package export_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/export"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// TestCatalog exports odd models to everything: what comes out computes what the
// model does, and what is refused is refused in a sentence about the bundle.
func TestCatalog(t *testing.T) {
	eng := runtimetest.ORT(t)
	refused, made, vague := map[string]int{}, map[string]int{}, map[string]int{}
	var mu sync.Mutex
	count := func(in map[string]int, to string) {
		mu.Lock()
		in[to]++
		mu.Unlock()
	}
	t.Run("models", func(t *testing.T) {
		for k, c := range onnxtest.Odd() {
			if os.Getenv(modelsEnv) == "" && k%3 > 0 { // each writes dozens of files; make test-export takes all
				continue
			}
			if c.Tags.Has(onnxtest.NoRun) || c.Tags.Has(onnxtest.Unrepeatable) || c.Tags.Has(onnxtest.Large) {
				continue
			}
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel() // writing waits for the disk
				dir := t.TempDir()
				f := &fixture{model: filepath.Join(dir, "model.onnx"), bundle: filepath.Join(dir, "out"), feed: map[string]*runtime.Value{}}
				m := c.Build(1)
				if err := m.WriteFile(f.model); err != nil {
					t.Fatal(err)
				}
				res, err := corpus.CutModel(t.Context(), f.model, f.bundle, corpus.Thirds, 5, frontend.Options{})
				if err != nil {
					t.Skip(err) // the compiler's own tests say which models cannot be cut
				}
				f.manifest = res.Manifest
				values, err := m.Inputs(3, nil)
				if err != nil {
					t.Skip(err)
				}
				for _, v := range values {
					f.feed[v.Name] = valueOf(v)
				}
				want := results(t, eng, f)
				for _, to := range export.Targets() {
					if k%4 > 0 && (to.Name == "dot" || to.Name == "runner") {
						continue // these depend little on the model
					}
					r, err := f.try(to.Name, nil)
					var d *diag.Error
					if err != nil {
						count(refused, to.Name)
						if !errors.As(err, &d) || d.File == "" || strings.HasSuffix(err.Error(), ".") {
							t.Errorf("%s: the error is no sentence about a file: %v", to.Name, err)
						}
						if _, err := os.Stat(f.bundle + "." + to.Name); !os.IsNotExist(err) {
							t.Errorf("%s is refused, but something was written", to.Name)
						}
						continue
					}
					count(made, to.Name)
					if want == nil {
						continue
					}
					switch to.Name {
					case "annotated":
						path := filepath.Join(r.Output, "model.onnx")
						checkAnnotations(t, f, open(t, path))
						sameValues(t, to.Name, want, run(t, eng, path, f.feed))
					case "triton":
						// float16 is rounded where it is cut, so that the parts are the measure.
						parts, err := verify.NewParts(eng, f.bundle, f.manifest, runtime.Options{}).Run(t.Context(), []map[string]*runtime.Value{f.feed})
						if err != nil {
							t.Fatal(err)
						}
						wide := map[string]*runtime.Value{}
						for name := range want {
							if !hasNote(r, name) { // an input that goes nowhere
								wide[name] = widen(parts[0][name])
							}
						}
						s := startServer(t, eng, r.Output)
						sameValues(t, to.Name, wide, s.infer("model", f.feed))
						if s.vague > 0 {
							count(vague, to.Name)
						}
					case "nnstreamer":
						checkPipelines(t, f, r)
					}
				}
			})
		}
	})
	t.Logf("made: %v, refused: %v", made, refused)
	for _, to := range export.Targets() {
		if made[to.Name] < 3 {
			t.Errorf("%s: only %d models were exported", to.Name, made[to.Name])
		}
	}
	if n := vague["triton"]; 50*n > made["triton"] {
		t.Errorf("of %d models ONNX Runtime infers shapes that the bundle does not know", n)
	}
	if refused["annotated"] > 0 || refused["dot"] > 0 {
		t.Errorf("every model can be annotated and drawn, refused: %v", refused)
	}
}

// hasNote says whether an output is said to be left out.
func hasNote(r *export.Result, name string) bool {
	for _, n := range r.Notes {
		if strings.Contains(n, `"`+name+`"`) && strings.Contains(n, "is no output of the ensemble") {
			return true
		}
	}
	return false
}

// results are what the whole model makes, nil if this engine does not run it.
func results(t *testing.T, eng runtime.Engine, f *fixture) map[string]*runtime.Value {
	t.Helper()
	s, err := eng.Load(runtime.Model{Path: f.model}, runtime.Options{})
	if err != nil {
		return nil
	}
	defer s.Close()
	got, err := s.Run(context.Background(), f.feed)
	if err != nil {
		return nil
	}
	out := map[string]*runtime.Value{}
	for i, p := range s.Outputs() {
		out[p.Name] = got[i]
	}
	return out
}
