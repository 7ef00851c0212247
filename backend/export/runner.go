package export

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// The runner is two scripts that read the bundle's manifest when they run: an
// example of how to use a bundle, and a check of one in another language. They
// are the same for every bundle but for the way to it.

//go:embed scripts/run.py
var runPython string

//go:embed scripts/run.js
var runNode string

func (j *job) runner(context.Context) error {
	for _, s := range j.m.Submodels {
		for _, name := range append(append([]string{}, s.Inputs...), s.Outputs...) {
			e, ok := j.elem(name)
			switch {
			case !ok || e == ir.Complex64 || e == ir.Complex128 || e.Bits() > 0 && e.Bits() < 8 || strings.HasPrefix(e.String(), "float8"):
				return &diag.Error{
					File: filepath.Join(j.dir, backend.ManifestFile), Value: name,
					Msg: fmt.Sprintf("it is of type %s, which ONNX Runtime's Python and Node bindings cannot pass: %s", j.tensors[name].Dtype, keepTogether),
				}
			case e == ir.BFloat16:
				return &diag.Error{
					File: filepath.Join(j.dir, backend.ManifestFile), Value: name,
					Msg: "it is of type bfloat16, which numpy does not have: " + keepTogether,
				}
			}
		}
	}
	way, err := wayFrom(j.Output, j.dir)
	if err != nil {
		return &diag.Error{File: j.dir, Msg: "there is no way to it from the output folder", Err: err}
	}
	model := ""
	if path, err := backend.FindModel(j.Model, j.dir, j.m); err == nil { // only a check needs it
		if model, err = wayFrom(j.Output, path); err != nil {
			return &diag.Error{File: path, Msg: "there is no way to it from the output folder", Err: err}
		}
	} else if j.Model != "" {
		return err
	}
	for _, script := range [][2]string{{"run.py", runPython}, {"run.js", runNode}} {
		text, err := fill(script[1], map[string]string{"BUNDLE": way, "MODEL": model})
		if err != nil {
			return err
		}
		j.addText(script[0], text)
	}
	j.addText("README.md", runnerReadme)
	fmt.Fprintf(&j.text, "python3 %s --check\n", shellQuoted(filepath.Join(j.Output, "run.py")))
	fmt.Fprintf(&j.text, "node %s --check\n", shellQuoted(filepath.Join(j.Output, "run.js")))
	return nil
}

// wayFrom is the relative path from one folder to a file or folder, slash-separated.
func wayFrom(folder, to string) (string, error) {
	a, err := filepath.Abs(folder)
	if err != nil {
		return "", err
	}
	b, err := filepath.Abs(to)
	if err != nil {
		return "", err
	}
	way, err := filepath.Rel(a, b)
	return filepath.ToSlash(way), err
}

// fill sets constants of a script: lines that start with their name. A JSON
// string is a literal of both languages as long as nothing is escaped as \u.
func fill(script string, values map[string]string) (string, error) {
	lines := strings.Split(script, "\n")
	for i, line := range lines {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "const "), " = \"")
		value, known := values[name]
		if !ok || !known {
			continue
		}
		_, after, _ := strings.Cut(rest, "\"")
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(value); err != nil {
			return "", err
		}
		lines[i] = strings.TrimSuffix(line, "\""+rest) + strings.TrimSpace(b.String()) + after
	}
	return strings.Join(lines, "\n"), nil
}

const runnerReadme = `# Running a bundle

Two scripts that do the same, as an example of how to use a bundle; they are no server.

    python3 run.py --check             # needs onnxruntime and numpy
    node run.js --check                # needs onnxruntime-node

They read the bundle's manifest.json, load the sub-models, and hand every tensor by its
name from the sub-model that makes it to those that take it. With --processes each
processor of the plan is a process of its own, and tensors travel over loopback; a
processor runs its sub-models in the manifest's order, each as soon as its inputs are
there. --check runs the whole model too and compares all outputs bit for bit: graph
optimisation is off for that, since ONNX Runtime fuses less in a part than in the whole.
`
