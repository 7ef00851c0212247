package compiler

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// Explanation says why a node is where it is.
type Explanation struct {
	Node      string `json:"node"`
	Op        string `json:"op"`
	Processor string `json:"processor"`
	Submodel  string `json:"submodel"`
	// Choices are the processors, in the fleet's order.
	Choices []Choice `json:"choices"`
}

// Choice is one processor for the node.
type Choice struct {
	Processor string `json:"processor"`
	Chosen    bool   `json:"chosen"`
	Supported bool   `json:"supported"`
	// CostUs is the node's own time there, in microseconds.
	CostUs float64 `json:"cost_us"`
	Source string  `json:"source,omitempty"` // measured, fitted, roofline
	// PlanUs is the objective of the best plan found with the node there, in
	// microseconds; 0 if there is none, and Why says what stands against it.
	PlanUs float64 `json:"plan_us"`
	Why    string  `json:"why,omitempty"`
	// Binds are what stands against the processor: all that rules it out, or else
	// what the best plan with the node there pays for, the most first. None of the
	// chosen one, and none of one that is as good.
	Binds []Bind `json:"binds,omitempty"`
}

// Explain places the model again with the node on each processor in turn and
// holds the results against the plan.
func (r *Result) Explain(ctx context.Context, node string) (e *Explanation, err error) {
	defer catch(&err)
	at, err := r.findNode(node)
	if err != nil {
		return nil, err
	}
	problem := r.Lowered.Problem
	e = &Explanation{Node: node, Op: problem.Graph.Op(at)}
	chosen := ir.NoProc
	for k, i := range r.Bundle.Plan {
		s := r.Placement.Plan.Submodels[i]
		if slices.Contains(s.Nodes, at) {
			chosen = s.Processor
			e.Processor = problem.Platform.Processors[chosen].Name
			e.Submodel = r.Bundle.Manifest.Submodels[k].ID
		}
	}
	for p, proc := range problem.Platform.Processors {
		id := ir.ProcID(p)
		c := Choice{Processor: proc.Name, Chosen: id == chosen}
		c.Binds = r.barred(at, id)
		if cost := problem.Costs.Of(at, id); cost != ir.Unsupported {
			c.Supported = true
			c.CostUs = cost.Us()
			c.Source = r.Lowered.Sources[int(at)*len(problem.Platform.Processors)+p].String()
		}
		switch {
		case len(c.Binds) > 0:
		case c.Chosen:
			c.PlanUs = r.Placement.Plan.Value().Us()
		default:
			there := pinned(problem, at, id)
			placed, err := passes.Place(ctx, there, r.searchOptions())
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if err != nil {
				c.Binds = r.infeasible(ctx, there, id, err)
				break
			}
			c.PlanUs = placed.Plan.Value().Us()
			if placed.Plan.Value() > r.Placement.Plan.Value() {
				c.Binds = append(r.memoryBinds(ctx, there, id, placed.Plan.Value()), r.slower(there, at, chosen, id, placed)...)
			}
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if c.PlanUs == 0 {
			c.Why = texts(c.Binds)
		}
		e.Choices = append(e.Choices, c)
	}
	return e, nil
}

// findNode finds the node of the execution graph that stands for a node of the model.
func (r *Result) findNode(name string) (ir.NodeID, error) {
	for _, info := range r.Analysis.Nodes {
		if info.Name != name {
			continue
		}
		for id, members := range r.Lowered.Members {
			if slices.Contains(members, info.Index) {
				return ir.NodeID(id), nil
			}
		}
	}
	return ir.NoNode, &diag.Error{File: r.Options.Model, Msg: fmt.Sprintf("--explain: no node that runs is called %q%s", name, r.likeNode(name))}
}

// likeNode is the tail of a sentence that helps to name a node: a node whose name holds
// the text or is spelt nearly so, or else where the names are.
func (r *Result) likeNode(text string) string {
	const most = 100_000 // names that are held against the text
	var names []string
	for i := range r.Analysis.Nodes[:min(len(r.Analysis.Nodes), most)] {
		name := r.Analysis.Nodes[i].Name
		if text != "" && strings.Contains(name, text) {
			return fmt.Sprintf(", did you mean %q?", name)
		}
		names = append(names, name)
	}
	if s := profiles.DidYouMean(text, names); s != "" {
		return s
	}
	return "; `dnnsplit inspect` lists the names"
}

// texts joins what binds say.
func texts(binds []Bind) string {
	all := make([]string, len(binds))
	for i, b := range binds {
		all[i] = b.Text
	}
	return strings.Join(all, "; ")
}
