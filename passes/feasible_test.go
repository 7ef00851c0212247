package passes

import (
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/passes/assign"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
)

// The search for any plan finds one exactly where one exists: as trying all plans says, or else branch and bound.
func TestFeasibleIsExhaustive(t *testing.T) {
	first, last := properties(race.Of(600, 150))
	var tried, searched, none int
	for seed := first; seed < last; seed++ {
		r := gen.Rand(seed ^ 0xfea51b1e)
		p := gen.Small(r, 3+r.IntN(5))
		if r.IntN(2) == 0 {
			gen.Tighten(r, p)
		}
		exists := false
		if all(p, 3000, func(*ir.Plan) { exists = true }) {
			tried++
		} else {
			e := assign.Exact{Problem: p, Limit: ir.MaxTime, Floor: ir.MaxTime, Steps: 10_000}
			if e.Run(t.Context()); !e.Whole && e.Best == nil {
				continue
			}
			searched++
			exists = e.Best != nil
		}
		if !exists {
			none++
		}
		f := assign.Feasible{Problem: p, Steps: 1_000_000}
		f.Run(t.Context())
		switch {
		case !f.Whole:
			t.Errorf("seed %d: the search gave up", seed)
		case exists != (f.Plan != nil):
			t.Errorf("seed %d: a plan exists: %v, one was found: %v", seed, exists, f.Plan != nil)
		case exists:
			if err := ir.CheckPlan(p, f.Plan); err != nil {
				t.Errorf("seed %d: %v", seed, err)
			}
		}
	}
	t.Logf("%d problems held against all plans, %d against branch and bound; %d have no plan", tried, searched, none)
	if tried < int(last-first)/10 || none < int(last-first)/100 {
		t.Errorf("of %d problems only %d were small enough and only %d without a plan", last-first, tried, none)
	}
}
