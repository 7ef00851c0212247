package export_test

import (
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend"
)

// modelsEnv names a folder of models that TestModels splits over the sample fleet
// and exports; without it the test is skipped.
const modelsEnv = "DNNSPLIT_EXPORT_MODELS"

// nodeEnv names the node_modules folder that holds onnxruntime-node; without it
// the Node script is not run.
const nodeEnv = "DNNSPLIT_NODE_MODULES"

// TestModels exports splits of the models in a folder: the repository, the
// annotated model and the Node script must compute what the model does.
func TestModels(t *testing.T) {
	dir := os.Getenv(modelsEnv)
	if dir == "" {
		t.Skip(modelsEnv + " is not set")
	}
	eng := runtimetest.ORT(t)
	models, err := filepath.Glob(filepath.Join(dir, "*.onnx"))
	if err != nil || len(models) == 0 {
		t.Fatalf("no models in %s: %v", dir, err)
	}
	for _, model := range models {
		name := strings.TrimSuffix(filepath.Base(model), ".onnx")
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			r, err := compiler.Compile(t.Context(), compiler.Options{Model: model, Devices: "../../profiles", Output: out, Submodels: compiler.Auto, SkipAuto: true})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if err := r.Write(t.Context()); err != nil {
				t.Fatal(err)
			}
			f := &fixture{model: model, bundle: out, manifest: r.Bundle.Manifest, feed: drawn(t, eng, model)}
			everywhere(t, eng, f, name)
		})
		// A placement may be one sub-model: here it never is.
		t.Run(name+" in thirds", func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "out")
			res, err := corpus.CutModel(t.Context(), model, out, corpus.Thirds, 1, frontend.Options{})
			if err != nil {
				t.Fatal(err)
			}
			everywhere(t, eng, &fixture{model: model, bundle: out, manifest: res.Manifest, feed: drawn(t, eng, model)}, name)
		})
	}
}

// everywhere makes all exports of a bundle and runs what can be run.
func everywhere(t *testing.T, eng runtime.Engine, f *fixture, name string) {
	t.Helper()
	t.Logf("%d sub-models, %d edges", len(f.manifest.Submodels), len(f.manifest.Edges))
	want := run(t, eng, f.model, f.feed)
	named := f.with(f.model)
	annotated := f.export(t, "annotated", named)
	path := filepath.Join(annotated.Output, filepath.Base(f.model))
	sameValues(t, "annotated", want, run(t, eng, path, f.feed))
	checkAnnotations(t, f, open(t, path))
	f.export(t, "dot", named)
	if lines, err := f.try("nnstreamer", named); err != nil {
		t.Log("nnstreamer:", strings.Count(err.Error(), "\n")+1, "problems")
	} else {
		checkPipelines(t, f, lines)
	}
	if text := nodeRunner(t, f, named); text != "" {
		t.Log(text)
	}
	s := startServer(t, eng, f.export(t, "triton", named).Output)
	for name, v := range want {
		want[name] = widen(v)
	}
	sameValues(t, "ensemble", want, s.infer(name, f.feed))
	if s.vague > 0 {
		t.Errorf("%d extents are known to ONNX Runtime only", s.vague)
	}
}

// drawn makes inputs for any model, from what the engine says of its ports.
func drawn(t *testing.T, eng runtime.Engine, model string) map[string]*runtime.Value {
	t.Helper()
	s, err := eng.Load(runtime.Model{Path: model}, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	rng := rand.New(rand.NewPCG(1, 2))
	isMask := regexp.MustCompile(`(?i)mask`)
	feed := map[string]*runtime.Value{}
	for _, p := range s.Inputs() {
		v := &runtime.Value{Kind: ir.Tensor, Elem: p.Type.Elem, Shape: []int64{}}
		n := int64(1)
		for _, d := range p.Type.Shape {
			k := max(d.N, 1)
			if d.N < 0 {
				k = int64(2 + 3*strings.Count(d.Sym, "seq"))
			}
			v.Shape = append(v.Shape, k)
			n *= k
		}
		for range n {
			switch bit := byte(rng.IntN(2)); p.Type.Elem {
			case ir.Float32:
				b := math.Float32bits(rng.Float32())
				v.Data = append(v.Data, byte(b), byte(b>>8), byte(b>>16), byte(b>>24))
			default:
				if isMask.MatchString(p.Name) {
					bit = 1
				}
				v.Data = append(append(v.Data, bit), make([]byte, p.Type.Elem.Bits()/8-1)...)
			}
		}
		feed[p.Name] = v
	}
	return feed
}

// nodeRunner runs the exported Node script in both ways; it returns what was printed.
func nodeRunner(t *testing.T, f *fixture, change func(*exportOptions)) string {
	t.Helper()
	modules := os.Getenv(nodeEnv)
	if modules == "" {
		return ""
	}
	script := filepath.Join(f.export(t, "runner", change).Output, "run.js")
	var all strings.Builder
	for _, ways := range [][]string{nil, {"--processes"}} {
		args := append([]string{script, "--check", "--dim", "batch=2", "--dim", "seq=4"}, ways...)
		cmd := exec.CommandContext(t.Context(), "node", args...)
		cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "EQUAL: ") || strings.Contains(string(out), "DIFFERENT") {
			t.Errorf("node %v: %v\n%s", args, err, out)
		}
		all.Write(out)
	}
	return all.String()
}

// TestNodeRunner runs the Node script on models with types and shapes of all sorts.
func TestNodeRunner(t *testing.T) {
	if os.Getenv(nodeEnv) == "" {
		t.Skip(nodeEnv + " is not set")
	}
	for _, name := range []string{"small/three_towers", "small/gpt2", "small/squeezenet1_1"} {
		t.Run(name, func(t *testing.T) { nodeRunner(t, bundleOf(t, name, "shatter"), nil) })
	}
}
