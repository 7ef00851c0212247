package passes

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/assign"
	"github.com/dnnsplit/dnnsplit/passes/bound"
	"github.com/dnnsplit/dnnsplit/passes/partition"
)

// supported finds nodes and groups that no processor can take.
func supported(j *job) error {
	reasons, groups := homeless(j.p)
	switch {
	case len(reasons) == 0:
		return nil
	case groups:
		if way := j.relaxGroups(); way != "" {
			reasons = append(reasons, way)
		}
	}
	return &InfeasibleError{Proved: true, Reasons: reasons}
}

// homeless lists the nodes that no processor may run, or, if there are none, the groups.
func homeless(p *ir.Problem) (reasons []string, groups bool) {
	g := p.Graph
	for n := range ir.NodeID(g.NumNodes()) {
		if slices.Max(p.Costs.Row(n)) == ir.Unsupported {
			reasons = append(reasons, fmt.Sprintf("no processor may run node %q%s", g.NodeName(n), ofOp(g.Op(n))))
		}
	}
	if len(reasons) > 0 {
		return reasons, false
	}
	for id := range ir.GroupID(g.NumGroups()) {
		able := false
		for q := range p.Platform.Processors {
			all := true
			for _, n := range g.Members(id) {
				all = all && p.Costs.Of(n, ir.ProcID(q)) != ir.Unsupported
			}
			able = able || all
		}
		if !able {
			reasons = append(reasons, fmt.Sprintf("no processor may run all nodes of group %q", g.GroupName(id)))
		}
	}
	return reasons, true
}

func ofOp(op string) string {
	if op == "" {
		return ""
	}
	return " (" + op + ")"
}

// bounds computes lower bounds that hold before anything is searched.
func bounds(j *job) error {
	p := bound.Reduce(j.p)
	if reasons, _ := homeless(p); len(reasons) > 0 {
		return explain(j, "some node or group needs more memory than any processor has that may run it")
	}
	done := make(chan struct{})
	measure := func() { j.area = bound.Area(p); close(done) }
	if j.o.workers() > 1 {
		go measure()
	} else {
		measure()
	}
	chain, ok := bound.Chain(p, j.o.Objective)
	<-done
	if !ok || j.o.Objective == ir.Throughput {
		if _, reached := bound.Path(p); !reached {
			if reasons := stuck(p); len(reasons) > 0 {
				return &InfeasibleError{Proved: true, Reasons: append(reasons, relax(j)...)}
			}
			return explain(j, "some value cannot travel to any processor that could use it, or to the sink: links are missing")
		}
	}
	if !ok {
		return explain(j, "nodes that come one after another need more runs, or more memory, than the limits on sub-models and on memory leave")
	}
	j.raise(chain)
	j.raise(j.area)
	return nil
}

// gap raises the lower bound by what is worth its time only beside a search: by what cuts cost and what a processor can own,
// supposing plans that are better than the best. It proves some problems infeasible for which no plan was found.
func gap(j *job) error {
	above := ir.MaxTime
	if j.best != nil {
		above = j.best.Value()
	}
	ctx := j.ctx
	if j.o.TimeLimit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, j.o.TimeLimit/10) // beside the limit: a search uses all of that
		defer cancel()
	}
	if j.o.Objective == ir.Latency && j.best != nil {
		for j.bound < above {
			b, plan := bound.Suppose(ctx, bound.Reduce(j.p), j.bound, above, j.latency)
			j.raise(b)
			if !j.offer(plan) {
				break
			}
			above = j.best.Value()
		}
		if j.settled() || j.area < j.bound/10*9 {
			return nil // or no load comes near it
		}
	}
	b := bound.Labels(ctx, bound.Reduce(j.p), j.bound, above)
	if b == ir.MaxTime {
		if j.best != nil {
			diag.Bugf("a bound says that there is no plan, but there is one")
		}
		return explain(j, "no choice of processors lets every value travel and every two neighbours fit into memory")
	}
	j.raise(b)
	if j.best != nil && j.bound < above {
		if end, ok := ctx.Deadline(); ok && time.Until(end) < j.o.TimeLimit/20 { // labels took most of it
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(j.ctx, j.o.TimeLimit/20)
			defer cancel()
		}
		j.raise(bound.Knapsack(ctx, bound.Reduce(j.p), j.bound, above))
	}
	return nil
}

// latency is that of a plan, ir.MaxTime if it is not feasible.
func (j *job) latency(plan *ir.Plan) ir.Time {
	if assign.Rated(j.p, plan, ir.Latency) == nil {
		return ir.MaxTime
	}
	return plan.Latency
}

// singles rates the whole graph on each processor.
func singles(j *job) error {
	g := j.p.Graph
	all := make([]ir.NodeID, g.NumNodes())
	for n := range all {
		all[n] = ir.NodeID(n)
	}
	tasks := make([]func() *ir.Plan, 0, len(j.p.Platform.Processors))
	for q := range j.p.Platform.Processors {
		plan := &ir.Plan{Submodels: []ir.Submodel{{Processor: ir.ProcID(q), Nodes: all}}}
		if len(all) == 0 {
			plan.Submodels = nil
		}
		tasks = append(tasks, func() *ir.Plan { return assign.Rated(j.p, plan, j.o.Objective) })
	}
	for q, plan := range j.together(tasks...) {
		j.single = append(j.single, j.baseline(j.p.Platform.Processors[q].Name, plan))
		if plan != nil && (j.whole == nil || partition.ScoreOf(plan).Less(partition.ScoreOf(j.whole))) {
			j.whole = plan
		}
	}
	return nil
}

// together runs tasks that do not touch the job, on as many goroutines as it may
// use, and returns what they make in their order.
func (j *job) together(tasks ...func() *ir.Plan) []*ir.Plan {
	plans := make([]*ir.Plan, len(tasks))
	if j.o.workers() == 1 {
		for i, task := range tasks {
			plans[i] = task()
		}
		return plans
	}
	var wg sync.WaitGroup
	var next atomic.Int32
	for range min(j.o.workers(), len(tasks)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(tasks); i = int(next.Add(1)) - 1 {
				plans[i] = tasks[i]()
			}
		})
	}
	wg.Wait()
	return plans
}

// baseline records a reference result and offers its plan.
func (j *job) baseline(name string, plan *ir.Plan) ir.Baseline {
	if plan == nil {
		return ir.Baseline{Name: name}
	}
	j.offer(plan)
	j.pool = append(j.pool, plan)
	return ir.Baseline{Name: name, Feasible: true, Latency: plan.Latency, Bottleneck: plan.Bottleneck}
}

// baselines computes what list scheduling and minimum cuts for two processors give.
func baselines(j *job) error {
	ctx := j.toTheEnd()
	rated := func(make func(context.Context, *ir.Problem) *ir.Plan) func() *ir.Plan {
		return func() *ir.Plan { return assign.Rated(j.p, make(ctx, j.p), j.o.Objective) }
	}
	names := []string{"heft", "peft", "greedy"}
	tasks := []func() *ir.Plan{rated(assign.HEFT), rated(assign.PEFT), rated(assign.Greedy)}
	if j.p.Graph.NumNodes() > assign.PEFTNodes {
		names, tasks = slices.Delete(names, 1, 2), slices.Delete(tasks, 1, 2)
	}
	if len(j.p.Platform.Processors) > 1 && j.p.Graph.NumNodes() <= assign.MinCutNodes {
		names = append(names, "min-cut")
		tasks = append(tasks, func() *ir.Plan { return assign.MinCut(ctx, j.p, j.o.Objective) })
	}
	for i, plan := range j.together(tasks...) {
		j.baselines = append(j.baselines, j.baseline(names[i], plan))
	}
	return nil
}
