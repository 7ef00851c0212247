package passes

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/partition"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// Place solves a placement problem.
//
// The plan is feasible, never worse than any single processor, nor than a baseline
// unless that is faster by less than Options.LeastGain, and carries its latency, bottleneck and a lower bound of its objective that holds
// for every feasible plan. Between plans of one value the one with the lower
// other objective wins, then the one with fewer sub-models.
//
// It fails with an *InfeasibleError if there is no plan, and with the error of
// ctx if that ends (but see Options.KeepBest).
func Place(ctx context.Context, p *ir.Problem, o Options) (*ir.Placement, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	j := newJob(ctx, p, o)
	var stop func()
	j.reporter, stop = newReporter(o.Progress)
	defer stop()
	if err := j.run(table()); err != nil {
		return nil, err
	}
	return j.placement()
}

// job is one placement under way.
type job struct {
	ctx      context.Context
	p        *ir.Problem
	o        Options
	deadline time.Time // zero: none

	single    []ir.Baseline
	baselines []ir.Baseline
	best      *ir.Plan // rated; nil if none is known
	score     partition.Score
	pool      []*ir.Plan // feasible plans to start a search from, best found by each pass
	bound     ir.Time
	area      ir.Time // the part of bound that is all work shared by all processors
	auto      *ir.Plan
	whole     *ir.Plan // the whole graph on the best processor; nil if it fits on none
	passed    *ir.Plan // a better plan that is not worth it

	pass     string
	within   string    // what the whole job is a step of, "" or with a blank behind it
	reporter *reporter // nil: nobody listens
}

func newJob(ctx context.Context, p *ir.Problem, o Options) *job {
	j := &job{ctx: ctx, p: p, o: o, score: partition.Worst}
	if o.TimeLimit > 0 {
		j.deadline = time.Now().Add(o.TimeLimit)
	}
	return j
}

func (j *job) run(table []pass) error {
	if err := checkOrder(table, constraints); err != nil {
		diag.Bugf("pass table: %v", err)
	}
	for _, ps := range table {
		if ps.skip != nil && ps.skip(j) {
			continue
		}
		j.pass = ps.name
		j.reporter.enter(j.progress())
		if err := ps.run(j); err != nil {
			return err
		}
		if j.o.Check && j.best != nil {
			if err := j.verify(j.best); err != nil {
				diag.Bugf("pass %s: %v", ps.name, err)
			}
		}
		if err := j.ctx.Err(); err != nil {
			if j.o.KeepBest && j.best != nil {
				break
			}
			return context.Cause(j.ctx)
		}
	}
	return nil
}

// progress is how far the job is.
func (j *job) progress() Progress {
	pr := Progress{Pass: j.within + j.pass, Bound: j.bound}
	if j.best != nil {
		pr.Best = j.best.Value()
	}
	return pr
}

// offer considers a plan and reports whether it is the best so far. The plan must be feasible but for its
// numbers, which offer fills.
func (j *job) offer(plan *ir.Plan) bool {
	if plan == nil {
		return false
	}
	plan.Objective = j.o.Objective
	if _, err := sched.Rate(j.p, plan); err != nil {
		diag.Bugf("pass %s offers a plan that cannot run: %v", j.pass, err)
	}
	if score := partition.ScoreOf(plan); score.Less(j.score) {
		j.best, j.score = plan, score
		j.reporter.change(j.progress())
		return true
	}
	return false
}

// raise considers a lower bound of the objective.
func (j *job) raise(bound ir.Time) {
	if bound > j.bound {
		j.bound = bound
		j.reporter.change(j.progress())
	}
}

// verify holds a rated plan against the rules and the model.
func (j *job) verify(plan *ir.Plan) error {
	if err := ir.CheckPlan(j.p, plan); err != nil {
		return err
	}
	s, err := sched.Evaluate(j.p, plan)
	if err != nil {
		return err
	}
	if s.Latency != plan.Latency || s.Bottleneck != plan.Bottleneck {
		return fmt.Errorf("the plan states latency %d and bottleneck %d, they are %d and %d", plan.Latency, plan.Bottleneck, s.Latency, s.Bottleneck)
	}
	if j.bound > plan.Value() {
		return fmt.Errorf("the lower bound %d is above a plan's value %d", j.bound, plan.Value())
	}
	return nil
}

func (j *job) placement() (*ir.Placement, error) {
	if j.best == nil {
		return nil, explain(j, "")
	}
	if err := j.verify(j.best); err != nil {
		diag.Bugf("placement: %v", err)
	}
	schedule, err := sched.Evaluate(j.p, j.best)
	if err != nil {
		diag.Bugf("placement: %v", err)
	}
	j.best.LowerBound = j.bound
	j.best.ProvenOptimal = j.bound == j.best.Value()
	if j.auto != nil && !partition.ScoreOf(j.auto).Less(j.score) {
		j.auto = nil
	}
	return &ir.Placement{Plan: j.best, Schedule: schedule, Single: j.single, Baselines: j.baselines, Auto: j.auto, Passed: j.passed}, nil
}

// toTheEnd is the context of steps whose results count only when they are complete:
// where the best plan so far is wanted, they are not cut short.
func (j *job) toTheEnd() context.Context {
	if j.o.KeepBest {
		return context.WithoutCancel(j.ctx)
	}
	return j.ctx
}

// spent says whether the search should end: the time has passed, or the best plan is optimal.
func (j *job) spent() bool {
	return j.ctx.Err() != nil || j.best != nil && j.best.Value() == j.bound || !j.deadline.IsZero() && !time.Now().Before(j.deadline)
}

// IsInfeasible finds the InfeasibleError in an error.
func IsInfeasible(err error) (*InfeasibleError, bool) {
	var e *InfeasibleError
	ok := errors.As(err, &e)
	return e, ok
}
