package sched_test

import (
	"math/bits"
	"os"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// count is how many random problems a property test tries: few by default, as many as PROPERTY_COUNT says.
func count(few int) int {
	if n, err := strconv.Atoi(os.Getenv("PROPERTY_COUNT")); err == nil {
		return n
	}
	return few
}

// TestStateAgreesWithEvaluate moves and copies units at random and holds the
// State against a computation from scratch after every step.
func TestStateAgreesWithEvaluate(t *testing.T) {
	timed, cyclic, slots := 0, 0, 0
	for seed := range count(400) {
		r := gen.Rand(uint64(seed))
		p := gen.Small(r, []int{5, 12, 25}[r.IntN(3)])
		n := p.Graph.NumNodes()
		// Units: the nodes, or runs of neighbours.
		unitOf := make([]int32, n)
		units := 0
		for i := range unitOf {
			if i > 0 && r.IntN(3) == 0 && seed%3 == 0 {
				unitOf[i] = unitOf[i-1]
			} else {
				unitOf[i] = int32(units)
				units++
			}
		}
		layout := sched.Layout(p, 1+r.IntN(3))
		m := sched.NewModel(p, unitOf, units, layout)
		slots = max(slots, m.Slots)
		at := make([]int32, units)
		for u := range at {
			at[u] = int32(r.IntN(m.Slots))
		}
		s := sched.NewState(m, at)
		for range 60 {
			if r.IntN(2) == 0 { // a move that is taken back leaves no trace
				s.Begin()
				latency, ok := s.Simulate(ir.MaxTime)
				before, load := s.Plan(ir.Latency), s.Bottleneck()
				for range 1 + r.IntN(3) {
					set := make([]int32, 0, 4)
					for range 1 + r.IntN(3) {
						set = append(set, int32(r.IntN(units)))
					}
					s.MoveSet(set, int32(r.IntN(m.Slots)))
					if r.IntN(2) == 0 {
						s.Fits()
					}
				}
				s.Rollback()
				again, okAgain := s.Simulate(ir.MaxTime)
				if again != latency || ok != okAgain || s.Bottleneck() != load || !cmp.Equal(before, s.Plan(ir.Latency)) {
					t.Fatalf("seed %d: Rollback does not lead back", seed)
				}
			}
			u := int32(r.IntN(units))
			to := int32(r.IntN(m.Slots))
			if m.Replicable(u) && r.IntN(3) == 0 && s.Slot(u) != to {
				s.Copy(u, to, s.Copies(u)&(1<<to) == 0)
			} else {
				s.Move(u, to)
			}
			if s.Used() != 0 {
				for x := range int32(units) {
					for rest := s.Copies(x) &^ s.Used(); rest != 0; rest &= rest - 1 {
						s.Copy(x, int32(bits.TrailingZeros64(rest)), false)
					}
				}
			}
			plan := s.Plan(ir.Latency)
			want, err := sched.Evaluate(p, plan)
			if !s.Sound() {
				if err == nil {
					t.Fatalf("seed %d: an unsound state can be timed", seed)
				}
				continue
			}
			got, ok := s.Simulate(ir.MaxTime)
			if ok != (err == nil) || ok != s.Acyclic() {
				t.Fatalf("seed %d: Simulate says %v, Acyclic %v, Evaluate %v", seed, ok, s.Acyclic(), err)
			}
			if !ok {
				cyclic++
				continue
			}
			timed++
			if got != want.Latency || s.Bottleneck() != want.Bottleneck {
				t.Fatalf("seed %d: latency %d and bottleneck %d, from scratch %d and %d", seed, got, s.Bottleneck(), want.Latency, want.Bottleneck)
			}
			for q := range p.Platform.Processors {
				if s.Load(q) != want.ProcLoad[q] {
					t.Fatalf("seed %d: load of %d is %d, from scratch %d", seed, q, s.Load(q), want.ProcLoad[q])
				}
				if need := s.MemoryOf(q); need != 0 && need != want.ProcBytes[q] {
					t.Fatalf("seed %d: processor %d needs %d bytes, from scratch %d", seed, q, need, want.ProcBytes[q])
				}
			}
			if limit := ir.Time(r.Int64N(int64(want.Latency) + 2)); limit < want.Latency {
				if cut, ok := s.Simulate(limit); !ok || cut <= limit {
					t.Fatalf("seed %d: cut at %d: %d, %v", seed, limit, cut, ok)
				}
			}
		}
	}
	t.Logf("%d plans timed, %d cyclic, up to %d slots", timed, cyclic, slots)
	if timed == 0 || cyclic == 0 {
		t.Fatal("the problems do not exercise the model")
	}
}
