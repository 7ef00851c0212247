package passes

import (
	"context"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/assign"
)

// tiny is exact before any search, on problems so small that this takes a moment; with a time limit, which a search
// would use up, on all that are small enough at all, for a third of the time.
func tiny(j *job) error {
	if j.deadline.IsZero() {
		return j.exactly(j.ctx, tinySteps)
	}
	ctx, cancel := context.WithDeadline(j.ctx, time.Now().Add(time.Until(j.deadline)/3))
	defer cancel()
	return j.exactly(ctx, timedSteps)
}

// exact proves that the best plan of a small problem is optimal, or that there is none, or finds a better one.
func exact(j *job) error {
	if j.deadline.IsZero() {
		return j.exactly(j.ctx, exactSteps)
	}
	ctx, cancel := context.WithDeadline(j.ctx, j.deadline)
	defer cancel()
	return j.exactly(ctx, timedSteps)
}

// chain solves problems whose nodes stand in one line.
func chain(j *job) error {
	c := assign.Chain{Problem: j.p, Objective: j.o.Objective, Limit: ir.MaxTime}
	if j.best != nil {
		c.Limit = j.best.Value()
	}
	if !c.Run(j.toTheEnd()) {
		return nil
	}
	if c.Bound == ir.MaxTime {
		return explain(j, "the nodes stand in one line, and no way to cut it into sub-models keeps the limits on memory, on the number of sub-models and on where nodes may run")
	}
	if c.Plan != nil && ir.CheckPlan(j.p, c.Plan) == nil {
		j.offer(c.Plan)
		j.pool = append(j.pool, c.Plan)
	}
	j.raise(c.Bound)
	return nil
}

// line looks at problems whose work stands in one line for better plans and for a proof.
func line(j *job) error { return j.line(lineSteps) }

// longLine does so again, from the plan that a search has found.
func longLine(j *job) error { return j.line(longLineSteps) }

func (j *job) line(steps int) error {
	l := assign.Line{Problem: j.p, Limit: j.best.Value(), Known: j.bound, Steps: steps}
	ctx := j.toTheEnd()
	if j.o.TimeLimit > 0 {
		share := j.o.TimeLimit / 10 // beside the limit: a search uses all of that
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(j.ctx, share)
		defer cancel()
		l.Steps = max(steps, int(share.Seconds()*stepsPerSecond))
	}
	l.Run(ctx)
	if l.Plan != nil {
		j.offer(l.Plan)
		j.pool = append(j.pool, l.Plan)
	}
	j.raise(l.Bound)
	return nil
}

// noLine says that nothing is to be proved, or that what is to be proved is no matter of loads.
func (j *job) noLine() bool {
	return j.nothing() || j.settled() || j.o.Objective != ir.Throughput
}

// decide finds any plan of a problem of which none is known, or proves that there is none.
func decide(j *job) error {
	ctx := j.ctx
	if !j.deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, j.deadline)
		defer cancel()
	}
	steps, n := decideSteps, j.p.Graph.NumNodes()
	if n > decideNodes {
		steps = steps * decideNodes / n * decideNodes / n // each takes longer, too
	}
	whole := j.decide(ctx, steps)
	if whole && j.best == nil {
		return j.impossible()
	}
	return nil
}

// decide offers any plan, if one is found, and says whether the question of whether there is one is settled.
func (j *job) decide(ctx context.Context, steps int) bool {
	f := assign.Feasible{Problem: j.p, Steps: steps}
	f.Run(ctx)
	if f.Plan != nil {
		j.offer(f.Plan)
		j.pool = append(j.pool, f.Plan)
	}
	return f.Whole
}

// impossible explains why no way to place the nodes is left.
func (j *job) impossible() error {
	return explain(j, "every way to place the nodes was tried, and breaks a limit on memory, on the number of sub-models or on where nodes may run")
}

func (j *job) exactly(ctx context.Context, steps int) error {
	e := assign.Exact{Problem: j.p, Objective: j.o.Objective, Limit: ir.MaxTime, Floor: j.bound, Steps: steps, Rated: j.reporter.counter()}
	if j.best != nil {
		e.Limit = j.best.Value()
	}
	e.Run(ctx)
	if e.Best != nil {
		j.offer(e.Best)
	}
	if e.Whole {
		if j.best == nil {
			return j.impossible()
		}
		j.raise(j.best.Value())
	}
	return nil
}

// exactSteps is how many partial plans the proof may look at: some tenths of a second.
const exactSteps = 150_000

// decideSteps is how many placements of a node the search for any plan may look at: to find one, or to know that there
// is none, is worth some seconds. relaxSteps is the same for each of many problems that are like one without a plan.
const (
	decideSteps = 2_500_000
	decideNodes = 30 // for more of them fewer
	relaxSteps  = 2_000
	relaxNodes  = 30 // at most
)

// Steps of the search along a line: before any other search some tenths of a second, after it a second.
const (
	lineSteps      = 600_000
	longLineSteps  = 6_000_000
	stepsPerSecond = 5_000_000 // about
)

// Sizes of problems that are solved before any search, and the partial plans that this may look at.
const (
	tinyNodes = 10
	tinySteps = 20_000

	timedNodes = 24 // with a time limit
	timedSteps = 1 << 30
)
