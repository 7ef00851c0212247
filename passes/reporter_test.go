package passes_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
)

// TestProgress: every pass is announced, the search counts the plans that it rates,
// nobody is told by two goroutines at once, and nothing is said once Place is over.
func TestProgress(t *testing.T) {
	p, err := gen.Make("layered", 60, 4, 1, false)
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

// TestCancelInEveryPass: a placement that is cancelled in a pass ends with the
// context's error and enters no other pass.
func TestCancelInEveryPass(t *testing.T) {
	for _, family := range []string{"series", "layered"} {
		p, err := gen.Make(family, 30, 3, 1, false)
		if err != nil {
			t.Fatal(err)
		}
		p.Submodels = 1
		var all []string
		run := func(ctx context.Context, enter func(pass string)) error {
			last := ""
			_, err := passes.Place(ctx, p, passes.Options{Auto: true, Progress: func(p passes.Progress) {
				if p.Pass != last {
					last = p.Pass
					enter(last)
				}
			}})
			return err
		}
		if err := run(t.Context(), func(pass string) { all = append(all, pass) }); err != nil {
			t.Fatal(err)
		}
		for i, stop := range all {
			ctx, cancel := context.WithCancel(t.Context())
			entered := 0
			err := run(ctx, func(pass string) {
				entered++
				if pass == stop {
					cancel()
				}
			})
			cancel()
			want := i + 1
			if stop == "auto" {
				want++ // it is a placement of its own, and begins
			}
			if !errors.Is(err, context.Canceled) || entered != want {
				t.Errorf("%s: cancelled in pass %q, the %dth, it entered %d passes and ends with %v", family, stop, i+1, entered, err)
			}
		}
	}
}
