package main

import (
	"fmt"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// printSplit prints what a split is worth and what it consists of.
func printSplit(u *ui, r *compiler.Result) {
	p, pf := r.Placement, r.Lowered.Problem.Platform
	m := r.Bundle.Manifest
	used := map[ir.ProcID]bool{}
	for _, s := range p.Plan.Submodels {
		used[s.Processor] = true
	}
	u.printf("%s: %d nodes in %s on %d of %d processors\n", printable(r.Options.Model), len(r.Analysis.Nodes),
		diag.Count(len(p.Plan.Submodels), "sub-model", "sub-models"), len(used), len(pf.Processors))
	printPlacement(u, r.Lowered.Problem, p)
	u.printf("costs       %s of the predicted time\n\n", sourceShares(r))

	rows := make([][]string, 0, len(r.Bundle.Plan))
	for k, i := range r.Bundle.Plan {
		s, run := p.Plan.Submodels[i], p.Schedule.Runs[i]
		nodes := len(s.Nodes)
		if members := memberCount(r.Lowered, s.Nodes); members > 0 {
			nodes = members
		}
		row := []string{
			m.Submodels[k].ID, pf.Processors[s.Processor].Name, fmt.Sprint(nodes), fmt.Sprint(len(s.Replicas)),
			bytesText(p.Schedule.WeightOf[i]), bytesText(p.Schedule.PeakOf[i]), ms(run.Start), ms(run.End),
		}
		rows = append(rows, row)
	}
	u.table([]string{"sub-model", "processor", "nodes", "replicas", "weights", "activations", "start ms", "end ms"}, rows)
	if len(m.Edges) == 0 {
		return
	}
	rows = nil
	const shown = 20
	for i, e := range m.Edges {
		if i == shown {
			break
		}
		rows = append(rows, []string{e.Tensor, e.Dtype + shapeText(e.Shape), bytesText(e.Bytes), e.From, strings.Join(e.To, ", ")})
	}
	u.printf("\n")
	u.table([]string{"tensor", "type", "bytes", "from", "to"}, rows)
	if more := len(m.Edges) - shown; more > 0 {
		u.printf("... and %d more in manifest.json\n", more)
	}
}

// printPlacement prints the headline of a plan and what it is to be held against.
func printPlacement(u *ui, problem *ir.Problem, p *ir.Placement) {
	plan := p.Plan
	name := func(b ir.Baseline) ir.Time {
		if plan.Objective == ir.Throughput {
			return b.Bottleneck
		}
		return b.Latency
	}
	if plan.Objective == ir.Throughput {
		u.printf("bottleneck  %s: %.4g inferences/s; one inference takes %s\n", plan.Bottleneck, 1e12/max(float64(plan.Bottleneck), 1), plan.Latency)
	} else {
		u.printf("latency     %s; bottleneck %s\n", plan.Latency, plan.Bottleneck)
	}
	best := -1
	for i, b := range p.Single {
		if b.Feasible && (best < 0 || name(b) < name(p.Single[best])) {
			best = i
		}
	}
	if best >= 0 {
		t := name(p.Single[best])
		name := problem.Platform.Processors[best].Name
		if len(plan.Submodels) == 1 && int(plan.Submodels[0].Processor) == best {
			u.printf("one alone   %s on %s: that is this plan\n", t, name)
		} else {
			u.printf("one alone   %s on %s: %s\n", t, name, comparison(t, plan.Value()))
		}
	} else {
		u.printf("one alone   no single processor can run the whole model\n")
	}
	for _, b := range p.Baselines {
		if b.Feasible {
			u.printf("%-11s %s: %s\n", b.Name, name(b), comparison(name(b), plan.Value()))
		} else {
			u.printf("%-11s finds no plan\n", b.Name)
		}
	}
	switch {
	case plan.ProvenOptimal:
		u.printf("bound       proven optimal\n")
	default:
		u.printf("bound       no plan can be below %s (gap %.1f%%)\n", plan.LowerBound, 100*gap(plan))
	}
	if p.Auto != nil && ratio(plan.Value(), p.Auto.Value()) >= 1.005 {
		u.printf("auto        %s with --submodels auto: %.2f times as fast again\n", p.Auto.Value(), ratio(plan.Value(), p.Auto.Value()))
	}
}

// comparison says how a plan compares with one that takes t.
func comparison(t, plan ir.Time) string {
	if t == plan {
		return "as fast as this plan"
	}
	return fmt.Sprintf("the split is %.2f times as fast", ratio(t, plan))
}

// gap is how far a plan may be above the best one, as a share of the plan.
func gap(p *ir.Plan) float64 {
	if p.Value() <= 0 {
		return 0
	}
	return float64(p.Value()-p.LowerBound) / float64(p.Value())
}

func ratio(a, b ir.Time) float64 {
	if b <= 0 {
		return 1
	}
	return float64(a) / float64(b)
}

func ms(t ir.Time) string { return fmt.Sprintf("%.3f", float64(t)/float64(ir.Millisecond)) }

func memberCount(l *ir.Lowered, nodes []ir.NodeID) int {
	n := 0
	for _, id := range nodes {
		n += len(l.Members[id])
	}
	return n
}

func sourceShares(r *compiler.Result) string {
	s := r.Bundle.Manifest.Prediction.CostSources
	return fmt.Sprintf("measured for %.0f%%, fitted for %.0f%%, from data sheets for %.0f%%", 100*s.Measured, 100*s.Fitted, 100*s.Roofline)
}

func shapeText(dims backend.Shape) string {
	if dims == nil {
		return "[...]"
	}
	parts := make([]string, len(dims))
	for i, d := range dims {
		parts[i] = ir.Dim(d).String()
	}
	return "[" + strings.Join(parts, ",") + "]"
}
