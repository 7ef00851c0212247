package partition

import (
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// Of all ways to give whole towers, and what joins them, to processors, the first of Branches is the best nearly
// always.
func TestBranchesNearBest(t *testing.T) {
	const procs, towers = 5, 5
	near := 0
	for seed := range uint64(8) {
		p, err := gen.Make("towers", 30, procs, seed, false)
		if err != nil {
			t.Fatal(err)
		}
		x := singleNodes(t, p, 1)
		part := make([]int, x.M.Units) // the tower of each unit; towers: what joins them
		for u := range part {
			part[u] = min(towers, u/(1+30/towers))
		}
		at := make([]int32, x.M.Units)
		s := sched.NewState(x.M, at)
		on := make([]int32, towers+1)
		best := ir.MaxTime
		for {
			for u := range at {
				at[u] = on[part[u]]
			}
			s.Reset(at)
			if s.Sound() {
				if v, ok := s.Simulate(best); ok && v < best {
					best = v
				}
			}
			i := 0
			for ; i <= towers; i++ {
				if on[i]++; on[i] < procs {
					break
				}
				on[i] = 0
			}
			if i > towers {
				break
			}
		}
		found := Branches(x, ir.Latency, []int{0, 1, 2, 3, 4}, 1)
		if len(found) == 0 {
			t.Fatalf("seed %d: no way to spread towers", seed)
		}
		s.Reset(found[0])
		v, ok := s.Simulate(ir.MaxTime)
		if !ok {
			t.Fatalf("seed %d: sub-models wait for each other", seed)
		}
		if v <= best+best/50 {
			near++
		}
	}
	if near < 7 {
		t.Errorf("within 2 %% of the best way %d of 8 times", near)
	}
}
