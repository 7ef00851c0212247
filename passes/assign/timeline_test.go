package assign

import (
	"cmp"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Gaps are those that looking at every span finds, and spans stay apart and in order.
func TestTimeline(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 2))
	var line timeline
	var all []span
	for i := range 6000 {
		ready, cost := ir.Time(r.IntN(40_000)), ir.Time(r.IntN(12))
		want := ready
		for _, s := range all {
			if s.end < ready {
				continue
			}
			if want+cost <= s.start {
				break
			}
			want = max(want, s.end)
		}
		got := line.gap(ready, cost)
		if got != want {
			t.Fatalf("span %d of %d, ready at %d, starts at %d, want %d", i, cost, ready, got, want)
		}
		s := span{got, got + cost}
		line.add(s)
		at, _ := slices.BinarySearchFunc(all, s, span.before)
		all = slices.Insert(all, at, s)
	}
	if !slices.Equal(slices.Concat(line.chunks...), all) {
		t.Error("the spans are not those that were added")
	}
	if !slices.IsSortedFunc(all, func(a, b span) int { return cmp.Compare(a.end, b.end) }) {
		t.Error("spans overlap")
	}
	if len(line.chunks) < 10 {
		t.Errorf("%d chunks: splitting is not tried", len(line.chunks))
	}
}
