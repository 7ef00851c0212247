package passes

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/passes/assign"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// stretched is a problem as lined makes them, whose processors may have several sub-models each; now and then two
// processors are alike, links share a medium, memory of a device is short, or nodes without work stand beside the line.
func stretched(t *testing.T, r *rand.Rand) *ir.Problem {
	t.Helper()
	few := func(k int) bool { return r.IntN(k) == 0 }
	p := lined(t, r, 2+r.IntN(5), 1+r.IntN(3))
	pf := p.Platform
	p.Submodels = r.IntN(4)
	if few(3) {
		pf.Processors[r.IntN(len(pf.Processors))].MaxSubmodels = 1 + r.IntN(2)
	}
	if few(3) {
		a, b := ir.ProcID(r.IntN(len(pf.Processors))), ir.ProcID(r.IntN(len(pf.Processors)))
		name := pf.Processors[b].Name
		pf.Processors[b] = pf.Processors[a]
		pf.Processors[b].Name = name
		for n := range ir.NodeID(p.Graph.NumNodes()) {
			p.Costs.Set(n, b, p.Costs.Of(n, a))
		}
	}
	if few(3) {
		for i := range pf.Links {
			pf.Links[i].Medium = "air"
		}
	}
	if few(4) {
		pf.Devices[r.IntN(len(pf.Devices))].MemoryBytes = 200 + int64(r.IntN(400))
	}
	if few(3) {
		p = beside(t, r, p)
	}
	return p
}

// beside is the problem with two more nodes that cost nothing: one that the others read from, and one that reads what
// another one makes.
func beside(t *testing.T, r *rand.Rand, p *ir.Problem) *ir.Problem {
	t.Helper()
	g := p.Graph
	b := ir.NewBuilder("beside")
	for v := range ir.ValueID(g.NumValues()) {
		b.Value(ir.Value{Name: g.ValueName(v), Bytes: g.Bytes(v), ResidentBytes: g.ResidentBytes(v), Input: g.IsInput(v), Output: g.IsOutput(v)})
	}
	for w := range ir.WeightID(g.NumWeights()) {
		b.Weight(g.WeightName(w), g.WeightBytes(w))
	}
	none := b.Value(ir.Value{Name: "none"})
	b.Node(ir.Node{Name: "first", Outputs: []ir.ValueID{none}})
	read := ir.ValueID(r.IntN(g.NumValues()))
	for n := range ir.NodeID(g.NumNodes()) {
		node := ir.Node{Name: g.NodeName(n), Inputs: g.Inputs(n), Outputs: g.Outputs(n), Weights: g.Weights(n), Replicable: g.Replicable(n)}
		if id := g.Group(n); id != ir.NoGroup {
			node.Group = g.GroupName(id)
		}
		if r.IntN(2) == 0 {
			node.Inputs = append([]ir.ValueID{none}, node.Inputs...)
		}
		b.Node(node)
	}
	b.Node(ir.Node{Name: "last", Inputs: []ir.ValueID{read}, Outputs: []ir.ValueID{b.Value(ir.Value{Name: "end", Output: r.IntN(2) == 0})}})
	whole, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	procs := len(p.Platform.Processors)
	q := *p
	q.Graph, q.Costs = whole, ir.NewCosts(whole.NumNodes(), procs)
	for n := range ir.NodeID(whole.NumNodes()) {
		for at := range ir.ProcID(procs) {
			switch n {
			case 0, ir.NodeID(whole.NumNodes() - 1):
				q.Costs.Set(n, at, 0)
			default:
				q.Costs.Set(n, at, p.Costs.Of(n-1, at))
			}
		}
	}
	return &q
}

// What a search along a line proves is never above any plan of a small problem, whatever limit it is given and however
// soon its steps are spent; mostly it finds the best plan and proves it.
func TestLineIsExhaustive(t *testing.T) {
	tried, met, alone := 0, 0, 0
	first, last := properties(race.Of(1000, 150))
	for seed := first; seed < last; seed++ {
		r := gen.Rand(seed ^ 0x11e)
		p := stretched(t, r)
		best := ir.MaxTime
		if !all(p, 5000, func(plan *ir.Plan) {
			plan.Objective = ir.Throughput
			if _, err := sched.Rate(p, plan); err == nil {
				best = min(best, plan.Value())
			}
		}) || best == ir.MaxTime {
			continue
		}
		ran := false
		for k, limit := range []ir.Time{best, best + 1, best + best/3 + 2, best * 3} {
			steps := 300_000
			if k == 3 {
				steps = r.IntN(2000)
			}
			l := assign.Line{Problem: p, Limit: limit, Known: best / 4, Steps: steps}
			if ran = l.Run(t.Context()); !ran {
				break
			}
			if l.Bound > best {
				t.Errorf("seed %d, limit %d: the bound is %d, a plan takes %d", seed, limit, l.Bound, best)
			}
			if l.Plan != nil && l.Plan.Value() < best {
				t.Errorf("seed %d, limit %d: a plan takes %d, the best one %d", seed, limit, l.Plan.Value(), best)
			}
			switch {
			case k == 0 && l.Bound == best:
				alone++
			case k == 2 && l.Bound == best && l.Plan != nil && l.Plan.Value() == best:
				met++
			}
		}
		if ran {
			tried++
		}
	}
	t.Logf("of %d problems in a line %d are proved from their best plan, %d without", tried, alone, met)
	if few := tried / 2; tried < int(last-first)/8 || alone < few || met < few {
		t.Errorf("of %d problems in a line %d are proved from their best plan, %d without: the test lost its power", tried, alone, met)
	}
}

// The bottleneck of a chain whose processors may have several sub-models, or any number, is proved, for sizes and limits
// on memory of use.
func TestLineProved(t *testing.T) {
	for _, c := range []struct {
		nodes, procs, submodels int
		tight                   bool
	}{{40, 5, 2, false}, {40, 5, 3, true}, {40, 5, 0, false}, {120, 3, 2, false}, {120, 3, 3, true}, {80, 3, 0, false}} {
		name := fmt.Sprintf("%d nodes on %d processors with %d runs", c.nodes, c.procs, c.submodels)
		p, err := gen.Make("chain", c.nodes, c.procs, 3, c.tight)
		if err != nil {
			t.Fatal(err)
		}
		p.Submodels = c.submodels
		got, err := Place(t.Context(), p, Options{Objective: ir.Throughput, Check: true})
		if err != nil {
			t.Fatal(err)
		}
		if !got.Plan.ProvenOptimal || len(got.Plan.Submodels) < 2 {
			t.Errorf("%s: %v in %d sub-models is not proved, the bound is %v", name, got.Plan.Value(), len(got.Plan.Submodels), got.Plan.LowerBound)
		}
		t.Logf("%s: %v in %d sub-models", name, got.Plan.Value(), len(got.Plan.Submodels))
	}
}
