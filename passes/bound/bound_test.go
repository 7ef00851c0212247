package bound_test

import (
	"os"
	"strconv"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/bound"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// bounds are all bounds of an objective, by name.
func bounds(t *testing.T, p *ir.Problem, o ir.Objective) map[string]ir.Time {
	t.Helper()
	reduced := bound.Reduce(p)
	chain, ok := bound.Chain(reduced, o)
	if !ok {
		chain = ir.MaxTime
	}
	all := map[string]ir.Time{"area": bound.Area(reduced), "chain": chain, "labels": bound.Labels(t.Context(), reduced, 0, ir.MaxTime)}
	if o == ir.Latency {
		if path, ok := bound.Path(reduced); ok {
			all["path"] = path
		} else {
			all["path"] = ir.MaxTime
		}
	}
	return all
}

// No bound is above any feasible plan of random problems with every rule of the model in them.
func TestBoundsHold(t *testing.T) {
	count := 200
	if n, err := strconv.Atoi(os.Getenv("PROPERTY_COUNT")); err == nil {
		count = n
	}
	feasible := 0
	for seed := range uint64(count) {
		r := gen.Rand(seed ^ 0xb0d)
		p := gen.Small(r, []int{3, 5, 8, 12, 20}[r.IntN(5)])
		best := [2]ir.Time{ir.MaxTime, ir.MaxTime}
		for range 60 {
			plan := gen.Plan(r, p)
			if ir.CheckPlan(p, plan) != nil {
				continue
			}
			s, err := sched.Evaluate(p, plan)
			if err != nil {
				continue
			}
			best[ir.Latency] = min(best[ir.Latency], s.Latency)
			best[ir.Throughput] = min(best[ir.Throughput], s.Bottleneck)
		}
		if best[0] == ir.MaxTime {
			continue
		}
		feasible++
		for _, o := range []ir.Objective{ir.Latency, ir.Throughput} {
			for name, b := range bounds(t, p, o) {
				if b > best[o] {
					t.Errorf("seed %d: %s of the %v is %v, a plan takes %v", seed, name, o, b, best[o])
				}
			}
		}
	}
	t.Logf("%d problems had plans", feasible)
	if feasible < count/4 {
		t.Errorf("only %d of %d problems had plans", feasible, count)
	}
}
