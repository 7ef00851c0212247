package measure

import (
	"context"
	"slices"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// A model is cut into stretches of an order of its nodes: each is a sub-model, and
// they wait for one another in that order only.

// build emits the sub-models of a cut as the back end does in a split.
func build(ctx context.Context, m *onnxfile.Model, l *ir.Lowered, parts [][]ir.NodeID) (*backend.Bundle, error) {
	plan := &ir.Plan{}
	for _, nodes := range parts {
		sorted := slices.Sorted(slices.Values(nodes))
		plan.Submodels = append(plan.Submodels, ir.Submodel{Nodes: sorted})
	}
	schedule, err := sched.Evaluate(l.Problem, plan)
	if err != nil {
		diag.Bugf("a cut to be measured is no plan: %v", err)
	}
	single := []ir.Baseline{{Name: l.Problem.Platform.Processors[0].Name}}
	return backend.Build(ctx, m, l, &ir.Placement{Plan: plan, Schedule: schedule, Single: single}, backend.Options{Weights: backend.WeightsEmbedded})
}

// inOrder is the graph's own order, which is close to the file's.
func inOrder(g *ir.Graph) []ir.NodeID {
	order := make([]ir.NodeID, g.NumNodes())
	for n := range order {
		order[n] = ir.NodeID(n)
	}
	return order
}

// depthFirst is an order that follows a path as far as it can, so that a stretch
// of it is a branch rather than a slice through all branches.
func depthFirst(g *ir.Graph) []ir.NodeID {
	waits := make([]int, g.NumNodes())
	var ready, order []ir.NodeID
	for n := range waits {
		for _, v := range g.Inputs(ir.NodeID(n)) {
			if !g.IsInput(v) {
				waits[n]++
			}
		}
	}
	for n := len(waits) - 1; n >= 0; n-- {
		if waits[n] == 0 {
			ready = append(ready, ir.NodeID(n))
		}
	}
	for len(ready) > 0 {
		n := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		order = append(order, n)
		outputs := g.Outputs(n)
		for i := len(outputs) - 1; i >= 0; i-- {
			readers := g.Consumers(outputs[i])
			for k := len(readers) - 1; k >= 0; k-- {
				if waits[readers[k]]--; waits[readers[k]] == 0 {
					ready = append(ready, readers[k])
				}
			}
		}
	}
	return order
}

// stretches cuts an order into about parts pieces of equal cost; offset moves all
// cuts by a share of a piece.
func stretches(order []ir.NodeID, cost []float64, parts int, offset float64) [][]ir.NodeID {
	var total float64
	for _, n := range order {
		total += cost[n]
	}
	step := total / float64(parts)
	next := step * (1 - offset)
	var out [][]ir.NodeID
	var sum float64
	start := 0
	for i, n := range order {
		sum += cost[n]
		if sum >= next && i+1 < len(order) {
			out = append(out, order[start:i+1])
			start = i + 1
			for next <= sum {
				next += step
			}
		}
	}
	return append(out, order[start:])
}
