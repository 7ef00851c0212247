package export

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
)

// source is a bundle, indexed.
type source struct {
	dir     string
	m       *backend.Manifest
	tensors map[string]backend.Tensor // what crosses a boundary, by name
	procs   map[string]int            // processors by name
	subs    map[string]int            // sub-models by id
}

func openSource(dir string) (*source, error) {
	m, err := backend.ReadManifest(dir)
	if err != nil {
		return nil, err
	}
	s := &source{dir: dir, m: m, tensors: map[string]backend.Tensor{}, procs: map[string]int{}, subs: map[string]int{}}
	for _, t := range m.Model.Inputs {
		s.tensors[t.Name] = t
	}
	for _, t := range m.Model.Outputs {
		s.tensors[t.Name] = t
	}
	for _, e := range m.Edges {
		s.tensors[e.Tensor] = backend.Tensor{Name: e.Tensor, Dtype: e.Dtype, Shape: e.Shape}
	}
	for i, p := range m.Processors {
		s.procs[p.Name] = i
	}
	for i, sub := range m.Submodels {
		s.subs[sub.ID] = i
		for _, name := range append(append([]string{}, sub.Inputs...), sub.Outputs...) {
			if _, ok := s.tensors[name]; !ok {
				return nil, &diag.Error{File: filepath.Join(dir, backend.ManifestFile), Value: name, Msg: fmt.Sprintf("sub-model %q has this value, but the manifest does not say what it is", sub.ID)}
			}
		}
	}
	return s, nil
}

// proc is the processor of a sub-model.
func (s *source) proc(sub int) *backend.Processor {
	return &s.m.Processors[s.procs[s.m.Submodels[sub].Processor]]
}

// elem is the element type of a value; ok is false if it is no dense tensor of a
// type that the standard knows.
func (s *source) elem(name string) (ir.ElemType, bool) {
	return ir.ParseElemType(s.tensors[name].Dtype)
}

// open opens a sub-model's file.
func (j *job) open(ctx context.Context, sub int) (*onnxfile.Model, error) {
	path := filepath.Join(j.dir, j.m.Submodels[sub].File)
	m, err := onnxfile.Open(ctx, path, j.Limits)
	if err != nil {
		return nil, err
	}
	j.closers = append(j.closers, m)
	return m, nil
}

// traceEvent is what is read of an event of the bundle's trace.
type traceEvent struct {
	Name  string  `json:"name"`
	Cat   string  `json:"cat"`
	Phase string  `json:"ph"`
	Dur   float64 `json:"dur"`
	Pid   int     `json:"pid"`
	Tid   int     `json:"tid"`
	Ts    float64 `json:"ts"`
}

// traceFile is the predicted schedule in a bundle.
const traceFile = "trace.json"

// maxTraceBytes bounds what is read of it.
const maxTraceBytes = 1 << 30

// nodeCosts reads the predicted time of every node of the execution graph from
// the bundle's trace, in microseconds: by sub-model, by node name. Nodes that take
// no time are not in it. It is nil if the bundle has no trace, or one without nodes.
func (s *source) nodeCosts() []map[string]float64 {
	f, err := os.Open(filepath.Join(s.dir, traceFile))
	if err != nil {
		return nil
	}
	defer f.Close()
	var trace struct {
		Events []traceEvent `json:"traceEvents"`
	}
	if json.NewDecoder(io.LimitReader(f, maxTraceBytes)).Decode(&trace) != nil {
		return nil // an old or foreign trace: exports go without
	}
	costs := make([]map[string]float64, len(s.m.Submodels))
	type thread struct{ pid, tid int }
	running := map[thread]int{} // the run that a node's slice lies in is the thread's last
	found := false
	for _, e := range trace.Events {
		if e.Phase != "X" {
			continue
		}
		at := thread{e.Pid, e.Tid}
		switch e.Cat {
		case "run":
			i, ok := s.subs[e.Name]
			if !ok {
				return nil
			}
			running[at] = i
			costs[i] = map[string]float64{}
		case "node":
			if i, ok := running[at]; ok {
				costs[i][e.Name] += e.Dur
				found = true
			}
		}
	}
	if !found {
		return nil
	}
	return costs
}

// safe replaces what names of models and files cannot have everywhere.
func safe(name string) string {
	out := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.':
			return r
		}
		return '_'
	}, name)
	if out = strings.Trim(out, ".-"); out == "" {
		return "_"
	}
	return out
}
