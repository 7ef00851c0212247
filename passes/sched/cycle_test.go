package sched_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// What Closes says of a move without making it, moving and looking says, too; and the cut values that a State lists
// are those that slots need, after moves and after moves that are taken back.
func TestCloses(t *testing.T) {
	cyclic, fine := 0, 0
	for seed := range uint64(count(300)) {
		r := gen.Rand(seed)
		p := gen.Small(r, []int{5, 12, 25}[r.IntN(3)])
		n := p.Graph.NumNodes()
		unitOf := make([]int32, n)
		for i := range unitOf {
			unitOf[i] = int32(i)
		}
		m := sched.NewModel(p, unitOf, n, sched.Layout(p, 1+r.IntN(3)))
		s := sched.NewState(m, make([]int32, n))
		for range 200 {
			u := int32(r.IntN(n))
			from, to := s.Slot(u), int32(r.IntN(m.Slots))
			s.Begin()
			if m.Replicable(u) && r.IntN(3) == 0 && from != to {
				s.Copy(u, to, s.Copies(u)&(1<<to) == 0)
			} else if from != to {
				set := []int32{u}
				for w := range int32(n) {
					if w != u && s.Slot(w) == from && r.IntN(3) == 0 {
						set = append(set, w)
					}
				}
				closes := s.Closes(set, to)
				empties := s.Count(int(from)) == len(set)
				s.MoveSet(set, to)
				if got := !s.Acyclic(); closes != got && (!empties || !s.Stray()) {
					t.Fatalf("seed %d: moving %v from slot %d to %d closes a cycle: %v, but Closes says %v", seed, set, from, to, got, closes)
				}
				if closes {
					cyclic++
				} else {
					fine++
				}
			}
			if !s.Acyclic() || s.Stray() || r.IntN(3) == 0 {
				s.Rollback()
			}
			var want []bool
			for v := range int32(m.Values) {
				want = append(want, m.Producer(v) >= 0 && s.Need(v) != 0)
			}
			got := make([]bool, m.Values)
			for _, v := range s.Cuts() {
				got[v] = true
			}
			if diff := cmp.Diff(want, got); diff != "" && m.Values > 0 {
				t.Fatalf("seed %d: cut values: %s", seed, diff)
			}
		}
	}
	if cyclic < 100 || fine < 100 {
		t.Errorf("%d moves closed a cycle, %d did not: too few to tell", cyclic, fine)
	}
}
