package compiler_test

import (
	"flag"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

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

var everyWay = flag.Bool("every-way", false, "split all networks at full size in every way")

// TestSplitArchitectures splits networks over the sample fleet, over fleets whose
// memory forces two, three and five processors, and into several sub-models per
// processor; every split computes bit for bit what the whole does.
//
// That is done with two networks at full size. The others, whose bytes, products
// and searches take most of the time, are split in one way at full size, and with
// narrow layers in two of the other ways, which take turns; -every-way does it all.
// The race detector gets some of the narrow ones in two ways: the code that it watches
// is the same.
func TestSplitArchitectures(t *testing.T) {
	t.Parallel()
	runtimetest.ORT(t)
	cases := map[string]onnxtest.Case{}
	for _, c := range onnxtest.Catalog() {
		cases[c.Name] = c
	}
	var tight, others []corpus.Trial
	for _, w := range corpus.Trials() {
		if w.Force == 3 {
			tight = append(tight, w)
		} else {
			others = append(others, w)
		}
	}
	for i, name := range []string{
		"vgg16", "gpt2", "bert_base", "alexnet", "resnet50", "inception_v3", "three_towers", "densenet121", "googlenet",
		"mobilenet_v2", "squeezenet1_1",
	} {
		full, small := cases[name], cases["small/"+name]
		two := []corpus.Trial{others[i%len(others)], others[(i+1)%len(others)]}
		switch {
		case race.Skips(i, 3):
		case race.Enabled:
			splitInWays(t, small, two)
		case *everyWay, i >= 9:
			splitInWays(t, full, corpus.Trials())
		default:
			splitInWays(t, full, tight)
			splitInWays(t, small, two)
		}
	}
}

func splitInWays(t *testing.T, c onnxtest.Case, trials []corpus.Trial) {
	t.Run(c.Name, func(t *testing.T) {
		t.Parallel()
		path := write(t, c.Name)
		for _, trial := range trials {
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

// refusals are the small models that ONNX Runtime runs and dnnsplit does not cut,
// with what it says.
var refusals = map[string]string{
	"odd/names-invalid-utf8": "not valid UTF-8", // a manifest is JSON and cannot hold such a name
}

// TestCutEverywhere cuts every small model between nearly all of its nodes.
func TestCutEverywhere(t *testing.T) {
	t.Parallel()
	runtimetest.ORT(t)
	for i, c := range onnxtest.All() {
		if race.Skips(i, 4) {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel() // writing waits for the disk
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
