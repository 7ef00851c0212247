package compiler_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// requireORT skips a test that needs ONNX Runtime where there is none, unless
// DNNSPLIT_REQUIRE_ORT says that there must be: make test sets it.
func requireORT(t *testing.T) {
	t.Helper()
	if _, err := runtime.OpenORT(""); err != nil {
		if os.Getenv("DNNSPLIT_REQUIRE_ORT") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

func write(t *testing.T, name string) string {
	t.Helper()
	m, err := onnxtest.Named(name, 1)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(name)+".onnx")
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSplitArchitectures splits networks at full size over the sample fleet, over
// fleets whose memory forces two, three and five processors, and into several
// sub-models per processor; every split computes bit for bit what the whole does.
func TestSplitArchitectures(t *testing.T) {
	requireORT(t)
	for _, name := range []string{
		"squeezenet1_1", "googlenet", "resnet50", "densenet121", "inception_v3", "mobilenet_v2",
		"alexnet", "vgg16", "bert_base", "gpt2", "three_towers",
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, name)
			for _, trial := range corpus.Trials() {
				out, err := corpus.Split(t.Context(), path, "../profiles", t.TempDir(), trial)
				switch {
				case err != nil:
					t.Errorf("%s: %v", trial.Name, err)
				case !out.Report.Equal:
					t.Errorf("%s: the split computes something else: %+v", trial.Name, out.Report)
				case !out.Report.Conclusive:
					t.Errorf("%s: no output depends on the inputs", trial.Name)
				case out.Processors < trial.Force:
					t.Errorf("%s: %d processors hold the model", trial.Name, out.Processors)
				case out.BestSingle > 0 && out.Latency > out.BestSingle:
					t.Errorf("%s: latency %v, a single processor takes %v", trial.Name, out.Latency, out.BestSingle)
				}
			}
		})
	}
}

// refusals are the small models that ONNX Runtime runs and dnnsplit does not cut,
// with what it says.
var refusals = map[string]string{
	"odd/names-invalid-utf8": "not valid UTF-8", // a manifest is JSON and cannot hold such a name
}

// TestCutEverywhere cuts every small model between nearly all of its nodes.
func TestCutEverywhere(t *testing.T) {
	requireORT(t)
	for _, c := range onnxtest.All() {
		t.Run(c.Name, func(t *testing.T) {
			path := write(t, c.Name)
			refusal := refusals[c.Name]
			for _, cut := range []corpus.Cut{corpus.Whole, corpus.Thirds, corpus.Shatter, corpus.Scatter} {
				if c.Tags.Has(onnxtest.NoRun) {
					if _, err := corpus.CutModel(t.Context(), path, filepath.Join(t.TempDir(), "out"), cut, 1, frontend.Options{}); err != nil {
						t.Errorf("%s: %v", cut, err)
					}
					continue
				}
				_, rep, err := corpus.VerifyCut(t.Context(), path, t.TempDir(), cut, 1, verify.Options{Levels: []runtime.Level{}})
				switch {
				case refusal != "":
					if err == nil || !strings.Contains(err.Error(), refusal) {
						t.Errorf("%s: error %v, want one that says %q", cut, err, refusal)
					}
				case err != nil:
					t.Errorf("%s: %v", cut, err)
				case !rep.Equal && !c.Tags.Has(onnxtest.Unrepeatable):
					t.Errorf("%s: the split computes something else: %+v", cut, rep)
				case !rep.Conclusive && c.Tags&(onnxtest.Fixed|onnxtest.Exotic) == 0:
					t.Errorf("%s: no output depends on the inputs", cut)
				}
			}
		})
	}
}
