package passes

import (
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/partition"
)

// No feasible plan tears apart what Weld puts into one unit, and so the optimum stays.
func TestWeldLosesNoPlan(t *testing.T) {
	first, last := properties(race.Of(8000, 800))
	welded, plans, cut := 0, 0, 0
	for seed := first; seed < last; seed++ {
		r := gen.Rand(seed ^ 0x3e1d)
		p := gen.Small(r, 5)
		gen.Tighten(r, p)
		unitOf, units := partition.Weld(p)
		n := p.Graph.NumNodes()
		if units == n {
			continue
		}
		if !all(p, 3000, func(plan *ir.Plan) {
			if plans++; len(plan.Submodels) > 1 {
				cut++
			}
			owner := make([]int, n)
			for i, s := range plan.Submodels {
				for _, node := range s.Nodes {
					owner[node] = i
				}
			}
			at := map[int32]int{}
			for node, u := range unitOf {
				if have, ok := at[u]; ok && have != owner[node] {
					t.Errorf("seed %d: a feasible plan has nodes of unit %d in two sub-models", seed, u)
					return
				}
				at[u] = owner[node]
			}
		}) {
			continue
		}
		welded++
	}
	t.Logf("%d problems welded, %d plans of them, %d with several sub-models", welded, plans, cut)
	if welded < int(last-first)/100 || cut == 0 {
		t.Errorf("only %d of %d problems were welded, with %d feasible plans of several sub-models", welded, last-first, cut)
	}
}
