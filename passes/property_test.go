package passes

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/passes/assign"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// properties is how many random problems a property test tries, and the first seed: few by default; PROPERTY_COUNT
// and PROPERTY_SEED say otherwise, as `make properties` does.
func properties(few int) (first, last uint64) {
	n := few
	if k, err := strconv.Atoi(os.Getenv("PROPERTY_COUNT")); err == nil {
		n = k
	}
	if k, err := strconv.ParseUint(os.Getenv("PROPERTY_SEED"), 10, 64); err == nil {
		first = k
	}
	return first, first + uint64(n)
}

// randomSize makes the problem of a seed; most are tiny, so that there are many.
func randomSize(seed uint64) *ir.Problem {
	r := gen.Rand(seed ^ 0x5eed)
	return gen.Small(r, []int{3, 5, 5, 7, 7, 10, 16, 30}[r.IntN(8)])
}

// Every random problem gets a plan that keeps all rules, or a proof that there is none; the plan is as good as any baseline and no better
// than its bound; one core and two find the same; what is said to be impossible or optimal agrees with trying all
// plans, or, where those are too many, with random plans.
func TestPlaceProperties(t *testing.T) {
	first, last := properties(race.Of(60, 12))
	var placed, proved, optimal, tried int
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for seed := first; seed < last; seed++ {
		p := randomSize(seed)
		o := Options{Objective: ir.Objective(seed % 2), Seed: seed, Check: true}
		runtime.GOMAXPROCS(1)
		got, err := Place(context.Background(), p, o)
		runtime.GOMAXPROCS(2)
		again, errAgain := Place(context.Background(), p, o)
		if a, b := text(t, p, got, err), text(t, p, again, errAgain); a != b {
			t.Errorf("seed %d: on one core\n%s\non two\n%s", seed, a, b)
			continue
		}
		best, whole := reference(p, o.Objective)
		if whole {
			tried++
		}
		if err != nil {
			e, _ := IsInfeasible(err)
			if e.Proved {
				proved++
			} else {
				t.Errorf("seed %d: neither a plan nor a proof that there is none: %v", seed, err)
			}
			if best != nil {
				t.Errorf("seed %d: a plan takes %v, but %v", seed, best.Value(), err)
			}
			continue
		}
		placed++
		plan := got.Plan
		if err := ir.CheckPlan(p, plan); err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		s, err := sched.Evaluate(p, plan)
		if err != nil || s.Latency != plan.Latency || s.Bottleneck != plan.Bottleneck {
			t.Errorf("seed %d: the plan's numbers are not those of the model: %v", seed, err)
		}
		for _, k := range append(got.Single, got.Baselines...) {
			v := k.Latency
			if o.Objective == ir.Throughput {
				v = k.Bottleneck
			}
			if k.Feasible && v < plan.Value() {
				t.Errorf("seed %d: %s takes %v, the plan %v", seed, k.Name, v, plan.Value())
			}
		}
		if plan.ProvenOptimal {
			optimal++
		}
		switch {
		case best == nil && whole:
			t.Errorf("seed %d: a plan where none should exist", seed)
		case best == nil:
		case best.Value() < plan.LowerBound:
			t.Errorf("seed %d: the bound is %v, a plan takes %v", seed, plan.LowerBound, best.Value())
		case whole && plan.Value() < best.Value():
			t.Errorf("seed %d: the plan takes %v, the best of all %v", seed, plan.Value(), best.Value())
		case whole && plan.Value() > best.Value():
			t.Errorf("seed %d: the plan takes %v, the best of all only %v", seed, plan.Value(), best.Value())
		}
	}
	t.Logf("%d placed, %d of them proved optimal; %d proved infeasible; %d held against all plans", placed, optimal, proved, tried)
}

// reference is the best plan of a problem. It comes from trying all plans, if they are few, and then the exact solver
// must agree; else from the exact solver alone; whole says that one of them was finished. Failing that it is
// the best of some random plans.
func reference(p *ir.Problem, objective ir.Objective) (best *ir.Plan, whole bool) {
	consider := func(plan *ir.Plan) {
		plan.Objective = objective
		if _, err := sched.Rate(p, plan); err == nil && (best == nil || plan.Value() < best.Value()) {
			best = plan
		}
	}
	if all(p, 3000, consider) {
		return best, true
	}
	e := assign.Exact{Problem: p, Objective: objective, Limit: ir.MaxTime, Steps: 100_000}
	e.Run(context.Background())
	if e.Whole {
		return e.Best, true
	}
	if e.Best != nil {
		consider(e.Best)
	}
	r := gen.Rand(uint64(p.Graph.NumNodes()))
	for range 50 {
		if plan := gen.Plan(r, p); ir.CheckPlan(p, plan) == nil {
			consider(plan)
		}
	}
	return best, false
}

// The exact solver agrees with trying all plans, whatever limit it starts from.
func TestExactIsExhaustive(t *testing.T) {
	first, last := properties(race.Of(300, 60))
	tried := 0
	for seed := first; seed < last; seed++ {
		r := gen.Rand(seed ^ 0xe4ac7)
		p := gen.Small(r, 5)
		objective := ir.Objective(seed % 2)
		best := ir.MaxTime
		if !all(p, 3000, func(plan *ir.Plan) {
			plan.Objective = objective
			if _, err := sched.Rate(p, plan); err == nil {
				best = min(best, plan.Value())
			}
		}) {
			continue
		}
		tried++
		for _, limit := range []ir.Time{ir.MaxTime, best, min(ir.MaxTime, best+1)} {
			e := assign.Exact{Problem: p, Objective: objective, Limit: limit, Steps: 1 << 30}
			e.Run(t.Context())
			switch {
			case !e.Whole:
				t.Errorf("seed %d: the exact solver gave up", seed)
			case best >= limit:
				if e.Best != nil {
					t.Errorf("seed %d: below %v there is no plan, the exact solver found one of %v", seed, limit, e.Best.Value())
				}
			case e.Best == nil:
				t.Errorf("seed %d: a plan takes %v, the exact solver found none", seed, best)
			case e.Best.Value() != best:
				t.Errorf("seed %d: the best plan takes %v, that of the exact solver %v", seed, best, e.Best.Value())
			}
		}
	}
	if tried < int(last-first)/4 {
		t.Errorf("only %d of %d problems were small enough", tried, last-first)
	}
}
