// Package corpus splits models in several ways and verifies each split. It is for
// tests and for the tool of the same name; nothing else imports it.
package corpus

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Trial is one way to split a model.
type Trial struct {
	Name      string
	Force     int // processors that memory shall force; 0: the fleet as it is
	Submodels int // most sub-models per processor
}

// Trials are the ways that every model is split in: over a fleet, over fleets
// whose memory forces two, three and five processors, and in several sub-models
// per processor.
func Trials() []Trial {
	return []Trial{
		{"fleet", 0, 1}, {"memory 2", 2, 1}, {"memory 3", 3, 1}, {"memory 5", 5, 1}, {"submodels 3", 0, 3},
	}
}

// Outcome is what came of a trial.
type Outcome struct {
	Nodes, Processors, Submodels, Edges int
	Latency                             ir.Time
	BestSingle                          ir.Time // 0: no single processor can hold the model
	Report                              *verify.Report
}

// Split compiles, writes and verifies one trial in the scratch folder work.
func Split(ctx context.Context, model, devices, work string, t Trial) (*Outcome, error) {
	o := compiler.Options{
		Model: model, Devices: devices, Output: filepath.Join(work, "out"),
		Submodels: t.Submodels, SkipAuto: true, Force: true,
	}
	var err error
	if o.Inputs, err = hints(model); err != nil {
		return nil, err
	}
	if t.Force > 0 {
		if o.Devices, err = tightFleet(ctx, o, work, t.Force); err != nil {
			return nil, err
		}
	}
	r, err := compiler.Compile(ctx, o)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if err := r.Write(ctx); err != nil {
		return nil, err
	}
	defer os.RemoveAll(o.Output)
	out := &Outcome{
		Nodes: len(r.Analysis.Nodes), Submodels: len(r.Placement.Plan.Submodels),
		Edges: len(r.Bundle.Manifest.Edges), Latency: r.Placement.Plan.Latency,
	}
	used := map[ir.ProcID]bool{}
	for _, s := range r.Placement.Plan.Submodels {
		used[s.Processor] = true
	}
	out.Processors = len(used)
	for _, b := range r.Placement.Single {
		if b.Feasible && (out.BestSingle == 0 || b.Latency < out.BestSingle) {
			out.BestSingle = b.Latency
		}
	}
	// The verdict is of the graph as it stands; what an optimiser makes of it is
	// the business of dnnsplit verify.
	out.Report, err = verify.Run(ctx, verify.Options{Bundle: o.Output, Model: model, Levels: []runtime.Level{}})
	return out, err
}

// hints reads MODEL.hints.json: the input shapes that a model needs.
func hints(model string) (map[string][]int64, error) {
	text, err := os.ReadFile(model + ".hints.json")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var h struct {
		Shapes map[string][]int64 `json:"shapes"`
	}
	return h.Shapes, json.Unmarshal(text, &h)
}
