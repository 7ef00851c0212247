package assign

import (
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
)

// The table of optimistic costs is what its definition says, worked out without it.
func TestOptimistic(t *testing.T) {
	compared := 0
	for seed := range uint64(60) {
		p := gen.Small(gen.Rand(seed), 10)
		l := newList(p)
		table, way := l.optimistic(), l.meanWay()
		var cost func(n ir.NodeID, q int) ir.Time
		cost = func(n ir.NodeID, q int) ir.Time {
			var most ir.Time
			for _, v := range p.Graph.Outputs(n) {
				for _, r := range p.Graph.Consumers(v) {
					least := ir.MaxTime
					for w, c := range p.Costs.Row(r) {
						if c == ir.Unsupported {
							continue
						}
						if w != q {
							c += ir.Time(way(v))
						}
						least = min(least, c+cost(r, w))
					}
					most = max(most, least)
				}
			}
			return most
		}
		for n := range ir.NodeID(p.Graph.NumNodes()) {
			for q, c := range p.Costs.Row(n) {
				if c == ir.Unsupported {
					continue
				}
				if got, want := table[int(n)*l.procs+q], cost(n, q); got != want {
					t.Fatalf("seed %d: after node %d on processor %d comes %v, want %v", seed, n, q, got, want)
				}
				compared++
			}
		}
	}
	if compared < 200 {
		t.Errorf("%d entries were compared", compared)
	}
}

// The first node is a little faster on the first processor, where the second cannot run: looking ahead saves the way.
func TestPEFTLooksAhead(t *testing.T) {
	p := accelerators(t, 1, ir.UnlimitedBytes, 2, nil)
	p.Costs.Set(0, 0, ir.Microsecond*19/10)
	p.Costs.Set(0, 1, ir.Microsecond) // and a microsecond until x has come up
	p.Costs.Set(1, 0, ir.Unsupported)
	for _, c := range []struct {
		name      string
		plan      *ir.Plan
		submodels int
		latency   ir.Time
	}{
		{"heft", HEFT(t.Context(), p), 2, ir.Microsecond * 49 / 10},
		{"peft", PEFT(t.Context(), p), 1, ir.Microsecond * 4},
	} {
		r := Rated(p, c.plan, ir.Latency)
		if r == nil {
			t.Fatalf("%s: no plan", c.name)
		}
		if len(r.Submodels) != c.submodels || r.Latency != c.latency {
			t.Errorf("%s: %d sub-models take %v, want %d and %v", c.name, len(r.Submodels), r.Latency, c.submodels, c.latency)
		}
	}
}
