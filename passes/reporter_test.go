package passes_test

import (
	"sync/atomic"
	"testing"

	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
)

// TestProgress: every pass is announced, the search counts the plans that it rates,
// nobody is told by two goroutines at once, and nothing is said once Place is over.
func TestProgress(t *testing.T) {
	p, err := gen.Make("layered", 100, 4, 1, false)
	if err != nil {
		t.Fatal(err)
	}
	p.Submodels = 1
	var inside, over atomic.Bool
	plans := map[string]int64{}
	var last passes.Progress
	placed, err := passes.Place(t.Context(), p, passes.Options{Auto: true, Progress: func(p passes.Progress) {
		if !inside.CompareAndSwap(false, true) {
			t.Error("two goroutines tell at once")
		}
		defer inside.Store(false)
		if over.Load() {
			t.Error("progress is told after the end")
		}
		if p.Elapsed < 0 || p.Pass == "" {
			t.Errorf("progress %+v", p)
		}
		plans[p.Pass] = max(plans[p.Pass], p.Plans)
		if p.Pass == "merge" {
			last = p
		}
	}})
	over.Store(true)
	if err != nil {
		t.Fatal(err)
	}
	for _, pass := range []string{"bounds", "singles", "search", "merge", "auto search"} {
		if _, told := plans[pass]; !told {
			t.Errorf("pass %s is not told of; there are %v", pass, plans)
		}
	}
	if plans["search"] < 1000 || plans["auto search"] < 1000 {
		t.Errorf("the searches count %d and %d plans", plans["search"], plans["auto search"])
	}
	if last.Best != placed.Plan.Value() || last.Bound != placed.Plan.LowerBound {
		t.Errorf("in the end the best is told as %v, bound %v; they are %v and %v", last.Best, last.Bound, placed.Plan.Value(), placed.Plan.LowerBound)
	}
}
