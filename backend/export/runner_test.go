package export_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/export"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
)

type exportOptions = export.Options

// with names the source model.
func (f *fixture) with(model string) func(*exportOptions) {
	return func(o *exportOptions) { o.Model = model }
}

// python finds a Python 3 with numpy, "" if there is none.
func python() string {
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", "import numpy, sys; assert sys.version_info >= (3, 8)").Run() == nil {
			return name
		}
	}
	return ""
}

// fakeORT stands in for ONNX Runtime's Python package: its models are JSON files
// with nodes [op, input, input, output].
const fakeORT = `
import json
import numpy as np

class GraphOptimizationLevel:
    ORT_DISABLE_ALL = 0

class SessionOptions:
    pass

class Port:
    def __init__(self, name):
        self.name = name

def get_available_providers():
    return ["CPUExecutionProvider"]

class InferenceSession:
    def __init__(self, path, sess_options, providers):
        assert sess_options.graph_optimization_level == 0 and sess_options.intra_op_num_threads == 1
        with open(path) as f:
            self.model = json.load(f)
    def get_inputs(self):
        return [Port(n) for n in self.model["inputs"]]
    def get_outputs(self):
        return [Port(n) for n in self.model["outputs"]]
    def run(self, names, feeds):
        assert sorted(feeds) == sorted(self.model["inputs"])
        v = dict(feeds)
        for op, a, b, out in self.model["nodes"]:
            v[out] = {"Add": np.add, "Mul": np.multiply, "Mod": np.remainder}[op](v[a], v[b])
        return [v[n] for n in names]
`

// fakeBundle is a bundle of fakeORT's models: two processors, and three sub-models
// that need one another in turn.
func fakeBundle(t *testing.T, f *fixture) {
	t.Helper()
	type model struct {
		Inputs  []string    `json:"inputs"`
		Outputs []string    `json:"outputs"`
		Nodes   [][4]string `json:"nodes"`
	}
	write := func(path string, m model) {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	nodes := [][4]string{{"Add", "x", "x", "a"}, {"Mul", "a", "x", "b"}, {"Add", "a", "b", "y"}}
	write(f.model, model{[]string{"x"}, []string{"y", "a"}, nodes})
	write(filepath.Join(f.bundle, "p1.0.onnx"), model{[]string{"x"}, []string{"a"}, nodes[:1]})
	write(filepath.Join(f.bundle, "p2.onnx"), model{[]string{"x", "a"}, []string{"b"}, nodes[1:2]})
	write(filepath.Join(f.bundle, "p1.1.onnx"), model{[]string{"a", "b"}, []string{"y"}, nodes[2:]})
	tensor := func(name string) map[string]any {
		return map[string]any{"name": name, "dtype": "float32", "shape": []any{"n", 3, "m + 1"}}
	}
	sub := func(id, proc string, in, out []string) map[string]any {
		return map[string]any{"id": id, "file": id + ".onnx", "processor": proc, "inputs": in, "outputs": out}
	}
	manifest := map[string]any{
		"schema": "dnnsplit/manifest/v1",
		"model":  map[string]any{"file": filepath.Base(f.model), "inputs": []any{tensor("x")}, "outputs": []any{tensor("y"), tensor("a")}},
		"processors": []any{
			map[string]any{"name": "p1", "provider": "CPUExecutionProvider", "submodels": []string{"p1.0", "p1.1"}},
			map[string]any{"name": "p2", "provider": "CPUExecutionProvider", "submodels": []string{"p2"}},
			map[string]any{"name": "idle", "provider": "CPUExecutionProvider", "submodels": []string{}},
		},
		"submodels": []any{
			sub("p1.0", "p1", []string{"x"}, []string{"a"}), sub("p2", "p2", []string{"x", "a"}, []string{"b"}), sub("p1.1", "p1", []string{"a", "b"}, []string{"y"}),
		},
		"outputs": []any{map[string]any{"tensor": "y"}, map[string]any{"tensor": "a"}},
	}
	b, err := json.Marshal(manifest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.bundle, "manifest.json"), b, 0o666); err != nil {
		t.Fatal(err)
	}
}

func TestPythonRunner(t *testing.T) {
	py := python()
	if py == "" {
		t.Skip("there is no Python 3 with numpy")
	}
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	r := f.export(t, "runner", nil)
	script := filepath.Join(r.Output, "run.py")
	if out, err := exec.Command(py, "-m", "py_compile", script).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	modules := t.TempDir()
	if err := os.WriteFile(filepath.Join(modules, "onnxruntime.py"), []byte(fakeORT), 0o666); err != nil {
		t.Fatal(err)
	}
	fakeBundle(t, f)
	call := func(args ...string) (string, int) {
		cmd := exec.Command(py, append([]string{script}, args...)...)
		cmd.Env = append(os.Environ(), "PYTHONPATH="+modules)
		cmd.Dir = t.TempDir() // the way to the bundle is the script's own
		out, err := cmd.CombinedOutput()
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		return string(out), cmd.ProcessState.ExitCode()
	}
	// Every call takes a second: one each for the ways, with n=0 for a tensor without elements.
	if out, code := call("--check", "--dim", "n=2", "--dim", "m=4"); code != 0 || !strings.Contains(out, "EQUAL: ") || !strings.Contains(out, "y: float32[2, 3, 5]") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	if out, code := call("--check", "--processes", "--dim", "n=0"); code != 0 || !strings.Contains(out, "EQUAL: ") || !strings.Contains(out, "3 sub-models") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	// A sub-model that computes something else is found.
	wrong := filepath.Join(f.bundle, "p2.onnx")
	if err := os.WriteFile(wrong, []byte(strings.Replace(read(t, wrong), "Mul", "Add", 1)), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, code := call("--check", "--processes"); code != 3 || !strings.Contains(out, "DIFFERENT: y") || strings.Contains(out, "DIFFERENT: a") {
		t.Errorf("exit code %d\n%s", code, out)
	}
	// A worker that fails ends the run with an error and no process left waiting.
	if err := os.WriteFile(wrong, []byte(`{"inputs":["x"],"outputs":["b"],"nodes":[]}`), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, code := call("--processes"); code != 1 || !strings.Contains(out, "processor p2") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// The scripts name the bundle relative to themselves, whatever letters are in the path.
func TestRunnerFindsBundle(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	odd := filepath.Join(filepath.Dir(f.bundle), `a "b" \ ü 🙂`)
	if err := os.Rename(f.bundle, odd); err != nil {
		t.Fatal(err)
	}
	f.bundle = odd
	r := f.export(t, "runner", func(o *exportOptions) { o.Output = filepath.Join(t.TempDir(), "scripts") })
	py, node := read(t, r.Output, "run.py"), read(t, r.Output, "run.js")
	way, err := filepath.Rel(r.Output, odd)
	if err != nil {
		t.Fatal(err)
	}
	literal := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(way) + `"`
	if !strings.Contains(py, "\nBUNDLE = "+literal+"  #") || !strings.Contains(node, "\nconst BUNDLE = "+literal+";") {
		t.Errorf("the scripts do not name %s", literal)
	}
	if again, err := f.try("runner", func(o *exportOptions) { o.Output = r.Output }); err != nil || read(t, again.Output, "run.py") != py {
		t.Errorf("exported again it differs: %v", err)
	}
	if exe, err := exec.LookPath("node"); err == nil {
		if out, err := exec.Command(exe, "--check", filepath.Join(r.Output, "run.js")).CombinedOutput(); err != nil {
			t.Errorf("node does not take the script: %v\n%s", err, out)
		}
	}
}
