package passes

import (
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/bound"
)

// What is supposed of problems too large for all plans never contradicts the best one known, whether its value is
// asked for or found by bisection, and proves it optimal far more often than bounds that suppose nothing.
func TestSupposeHolds(t *testing.T) {
	first, last := properties(race.Of(16, 4))
	tried, proved, before := 0, 0, 0
	shapes := []string{"chain", "layered", "series", "inception", "transformer"}
	for seed := first; seed < last; seed++ {
		r := gen.Rand(seed ^ 0x5095)
		var p *ir.Problem
		if seed%4 == 3 {
			p = gen.Small(r, 12+r.IntN(20))
		} else {
			var err error
			if p, err = gen.Make(shapes[r.IntN(len(shapes))], 12+r.IntN(20), 2+r.IntN(3), seed, r.IntN(2) == 0); err != nil {
				t.Fatal(err)
			}
			p.Submodels = 1 + r.IntN(2)
		}
		got, err := Place(t.Context(), p, Options{Check: true, Seed: seed})
		if err != nil {
			continue
		}
		tried++
		best := got.Plan.Latency
		reduced := bound.Reduce(p)
		for _, above := range []ir.Time{best + 1, best + best/20 + 1, best + best/4 + 1} {
			if b, plan := bound.Suppose(t.Context(), reduced, 0, above, rating(p)); plan != nil && plan.Latency < best {
				t.Logf("seed %d: supposing less than %v gives %v, the search found %v", seed, above, plan.Latency, best)
			} else if b > best {
				t.Errorf("seed %d: supposing less than %d gives the bound %d, a plan takes %d", seed, above, b, best)
			}
		}
		chain, _ := bound.Chain(reduced, ir.Latency)
		if chain == best {
			before++
		}
		if b, _ := bound.Suppose(t.Context(), reduced, chain, best, rating(p)); b == best {
			proved++
		}
	}
	t.Logf("%d problems: %d best plans proved, %d by bounds that suppose nothing", tried, proved, before)
	if tried < int(last-first)/2 || proved < tried/3 || proved < before+tried/10 {
		t.Errorf("%d problems: %d best plans proved, %d by bounds that suppose nothing: the test lost its power", tried, proved, before)
	}
}
