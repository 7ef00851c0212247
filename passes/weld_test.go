package passes

import (
	"fmt"
	"slices"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/partition"
	"github.com/dnnsplit/dnnsplit/passes/sched"
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

// A node that takes no time is not welded: here its best place is a device between those of its feeder and its reader,
// which it takes round a link that is busy. All plans are tried.
func TestFreeNodeStandsAlone(t *testing.T) {
	b := ir.NewBuilder("relay")
	value := func(name string, size int64) ir.ValueID {
		return b.Value(ir.Value{Name: name, Bytes: size, ResidentBytes: size})
	}
	large, x, y := value("large", 1000), value("x", 100), value("y", 100)
	b.Node(ir.Node{Name: "early", Outputs: []ir.ValueID{large}})
	b.Node(ir.Node{Name: "late", Outputs: []ir.ValueID{x}})
	b.Node(ir.Node{Name: "free", Inputs: []ir.ValueID{x}, Outputs: []ir.ValueID{y}})
	b.Node(ir.Node{Name: "reader", Inputs: []ir.ValueID{y}})
	b.Node(ir.Node{Name: "other", Inputs: []ir.ValueID{large}})
	const free, feeder, reader = 2, 1, 3
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	pf := &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice}
	for _, name := range []string{"a", "b", "c"} {
		pf.Devices = append(pf.Devices, ir.Device{Name: name, MemoryBytes: ir.UnlimitedBytes})
	}
	costs := ir.NewCosts(g.NumNodes(), 5)
	for q, e := range []struct {
		device ir.DeviceID
		node   ir.NodeID
		us     int64
	}{{0, 0, 1}, {0, feeder, 2}, {2, reader, 2000}, {2, 4, 1}, {1, free, 0}} {
		pf.Processors = append(pf.Processors, ir.Processor{Name: fmt.Sprintf("p%d", q), Device: e.device, MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels})
		costs.Set(e.node, ir.ProcID(q), ir.Time(e.us)*ir.Microsecond)
		costs.Set(free, ir.ProcID(q), 0)
	}
	for _, ends := range [][2]ir.DeviceID{{0, 2}, {0, 1}, {1, 2}} {
		pf.Links = append(pf.Links, ir.Link{From: ends[0], To: ends[1], Copy: ir.Copy{BytesPerUs: 1}})
	}
	p := &ir.Problem{Graph: g, Platform: pf, Costs: costs, Submodels: 1}
	if err := p.Validate(); err != nil {
		t.Fatal(err)
	}
	best, joined := ir.MaxTime, ir.MaxTime
	all(p, 1<<20, func(plan *ir.Plan) {
		if _, err := sched.Rate(p, plan); err != nil {
			return
		}
		best = min(best, plan.Latency)
		for _, s := range plan.Submodels {
			if slices.Contains(s.Nodes, free) && (slices.Contains(s.Nodes, feeder) || slices.Contains(s.Nodes, reader)) {
				joined = min(joined, plan.Latency)
			}
		}
	})
	if joined <= best || joined == ir.MaxTime {
		t.Errorf("with its feeder or its reader %v, apart %v", joined, best)
	}
	if _, units := partition.Weld(p); units != g.NumNodes() {
		t.Errorf("%d units of %d nodes", units, g.NumNodes())
	}
	a, err := Place(t.Context(), p, Options{Check: true})
	if err != nil {
		t.Fatal(err)
	}
	if a.Plan.Latency != best {
		t.Errorf("placed in %v, the best plan takes %v", a.Plan.Latency, best)
	}
}
