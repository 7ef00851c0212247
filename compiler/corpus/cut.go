package corpus

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/passes/sched"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// Cut is a way to cut a model that does not ask what is fast, so that every
// boundary is tried that a placement could have.
type Cut string

const (
	// Shatter puts each node on a random processor of three, without a limit on
	// sub-models and without regard to what runtimes fuse: neighbours in the order that stay together are one sub-model. Of
	// more than shatterMost nodes, neighbours share a draw, so that the files stay few.
	Shatter Cut = "shatter"
	// Thirds cuts the order of the nodes, fused ones together, into three runs of
	// about equal weight.
	Thirds Cut = "thirds"
	// Scatter is a random acyclic cut into any number of sub-models, with replicas;
	// nodes that are fused stay together.
	Scatter Cut = "scatter"
	// Whole keeps the model in one sub-model.
	Whole Cut = "whole"
)

// shatterMost bounds the sub-models that Shatter makes: each is a file or two.
const shatterMost = 2000

// CutResult is a bundle that was cut by force.
type CutResult struct {
	Dir       string // the bundle
	Nodes     int    // of the execution graph
	Submodels int
	Replicas  int
	Manifest  *backend.Manifest
	Notes     []string
}

// CutModel cuts a model and writes the bundle to dir.
func CutModel(ctx context.Context, model, dir string, cut Cut, seed uint64, o frontend.Options) (*CutResult, error) {
	m, err := onnxfile.Open(ctx, model, onnxfile.Options{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	a, err := frontend.Analyze(ctx, m, o)
	if err != nil {
		return nil, err
	}
	fleet, err := evenFleet(3)
	if err != nil {
		return nil, err
	}
	var lo frontend.LowerOptions
	if cut != Shatter {
		lo.Group = passes.Groups
	}
	l, err := a.Lower(ctx, fleet, lo)
	if err != nil {
		return nil, err
	}
	plan := planFor(l.Problem, cut, seed)
	if err := ir.CheckPlan(l.Problem, plan); err != nil {
		return nil, fmt.Errorf("the forced plan is not feasible: %w", err)
	}
	schedule, err := sched.Evaluate(l.Problem, plan)
	if err != nil {
		return nil, err
	}
	plan.Latency, plan.Bottleneck = schedule.Latency, schedule.Bottleneck
	single := make([]ir.Baseline, len(l.Problem.Platform.Processors))
	for p := range single {
		single[p].Name = l.Problem.Platform.Processors[p].Name
	}
	b, err := backend.Build(ctx, a.Model, l, &ir.Placement{Plan: plan, Schedule: schedule, Single: single}, backend.Options{ToolVersion: "test"})
	if err != nil {
		return nil, err
	}
	if err := b.Write(ctx, dir, backend.WriteOptions{Force: true}); err != nil {
		return nil, err
	}
	r := &CutResult{Dir: dir, Nodes: l.Problem.Graph.NumNodes(), Submodels: len(plan.Submodels), Manifest: b.Manifest, Notes: a.Notes}
	for _, s := range plan.Submodels {
		r.Replicas += len(s.Replicas)
	}
	return r, nil
}

// VerifyCut cuts a model and compares the bundle with it.
func VerifyCut(ctx context.Context, model, work string, cut Cut, seed uint64, v verify.Options) (*CutResult, *verify.Report, error) {
	dir := filepath.Join(work, "cut")
	defer os.RemoveAll(dir)
	o := frontend.Options{}
	shapes, err := hints(model)
	if err != nil {
		return nil, nil, err
	}
	o.Shape.Inputs = shapes
	res, err := CutModel(ctx, model, dir, cut, seed, o)
	if err != nil {
		return nil, nil, err
	}
	v.Bundle, v.Model = dir, model
	rep, err := verify.Run(ctx, v)
	return res, rep, err
}

// planFor makes the plan of a cut.
func planFor(p *ir.Problem, cut Cut, seed uint64) *ir.Plan {
	switch cut {
	case Thirds:
		return prefixes(p, len(p.Platform.Processors))
	case Scatter:
		return scatter(p, seed)
	case Shatter:
		rng := rand.New(rand.NewPCG(seed, 0))
		plan := &ir.Plan{}
		run := p.Graph.NumNodes()/shatterMost + 1
		var proc ir.ProcID
		for n := range p.Graph.NumNodes() {
			if n%run == 0 {
				proc = ir.ProcID(rng.IntN(len(p.Platform.Processors)))
			}
			if last := len(plan.Submodels) - 1; last >= 0 && plan.Submodels[last].Processor == proc {
				plan.Submodels[last].Nodes = append(plan.Submodels[last].Nodes, ir.NodeID(n))
				continue
			}
			plan.Submodels = append(plan.Submodels, ir.Submodel{Processor: proc, Nodes: []ir.NodeID{ir.NodeID(n)}})
		}
		return plan
	}
	return prefixes(p, 1)
}

// evenFleet is k equal devices without limits, linked to one another.
func evenFleet(k int) (*profiles.Fleet, error) {
	files := fstest.MapFS{"fleet.yaml": {Data: []byte("schema: dnnsplit/fleet/v1\ndefault_link: {bandwidth: 1Gbit/s, latency: 100us}\n")}}
	for i := range k {
		files[fmt.Sprintf("p%d.yaml", i+1)] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(evenDevice, "NAME", fmt.Sprintf("p%d", i+1)))}
	}
	return profiles.LoadFS(files, ".")
}

const evenDevice = `schema: dnnsplit/device/v1
name: NAME
memory: 1024TiB
processors:
  - name: cpu
    kind: cpu
    provider: CPUExecutionProvider
    peak: {float32: 100GFLOP/s}
    memory_bandwidth: 20GB/s
source: made up for tests
`
