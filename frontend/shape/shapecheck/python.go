package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

// pythonScript infers shapes with onnx.shape_inference. It reads one JSON object
// a line, a model's path and the shapes of its inputs, and writes one a line:
// value → extents, null for those that are not known.
const pythonScript = `
import json, sys
import onnx
from onnx import shape_inference
for line in sys.stdin:
    job = json.loads(line)
    out = {}
    try:
        m = onnx.load(job["path"], load_external_data=False)
        for v in m.graph.input:
            dims = job["shapes"].get(v.name)
            if dims is not None and v.type.HasField("tensor_type"):
                shape = v.type.tensor_type.shape
                del shape.dim[:]
                for d in dims:
                    shape.dim.add().dim_value = d
        m = shape_inference.infer_shapes(m, data_prop=True)
        for v in list(m.graph.value_info) + list(m.graph.output):
            t = v.type.tensor_type
            if isinstance(v.name, str) and v.type.HasField("tensor_type") and t.HasField("shape"):
                out[v.name] = [d.dim_value if d.HasField("dim_value") else None for d in t.shape.dim]
    except Exception as e:
        pass
    print(json.dumps(out), flush=True)
`

// python is a running interpreter; nil where none is used.
type python struct {
	path string
	cmd  *exec.Cmd
	in   *json.Encoder
	out  *json.Decoder
}

func startPython(path string) (*python, error) {
	cmd := exec.Command(path, "-c", pythonScript)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", path, err)
	}
	return &python{path: path, cmd: cmd, in: json.NewEncoder(in), out: json.NewDecoder(out)}, nil
}

// infer is what onnx.shape_inference says of the values of a model: extents, nil
// for unknown ones.
func (p *python) infer(path string, shapes map[string][]int64) (map[string][]*int64, error) {
	if p == nil {
		return nil, nil
	}
	var got map[string][]*int64
	err := p.in.Encode(map[string]any{"path": path, "shapes": shapes})
	if err == nil {
		err = p.out.Decode(&got)
	}
	if err == nil {
		return got, nil
	}
	// Some models crash the interpreter; the next one gets a new one.
	_ = p.cmd.Wait()
	next, startErr := startPython(p.path)
	if startErr != nil {
		return nil, startErr
	}
	*p = *next
	return nil, fmt.Errorf("python stopped: %w", err)
}

// sameShape says whether all extents are known and equal to dims.
func sameShape(known []*int64, dims []int64) bool {
	if len(known) != len(dims) {
		return false
	}
	for i, d := range known {
		if d == nil || *d != dims[i] {
			return false
		}
	}
	return true
}

func showShape(known []*int64) string {
	var b bytes.Buffer
	for i, d := range known {
		if i > 0 {
			b.WriteByte(' ')
		}
		if d == nil {
			b.WriteByte('?')
		} else {
			fmt.Fprint(&b, *d)
		}
	}
	return "[" + b.String() + "]"
}
