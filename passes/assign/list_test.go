package assign

import (
	"fmt"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
)

// accelerators is a chain of nodes for a slow processor and fast ones that hold room bytes each and copy at a byte a
// nanosecond. Every node has a weight of 10 bytes and takes 1 us on a fast processor, 10 us on the slow one.
func accelerators(t *testing.T, fast int, room int64, nodes int, group func(int) string) *ir.Problem {
	t.Helper()
	b := ir.NewBuilder("chain")
	v := b.Value(ir.Value{Name: "x", Bytes: 1000, ResidentBytes: 0, Input: true})
	for n := range nodes {
		node := ir.Node{Name: fmt.Sprint("n", n), Inputs: []ir.ValueID{v}, Weights: []ir.WeightID{b.Weight(fmt.Sprint("w", n), 10)}}
		if group != nil {
			node.Group = group(n)
		}
		v = b.Value(ir.Value{Name: fmt.Sprint("v", n), Bytes: 1000, Output: n == nodes-1})
		node.Outputs = []ir.ValueID{v}
		b.Node(node)
	}
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	pf := &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice, Devices: []ir.Device{{Name: "host", MemoryBytes: ir.UnlimitedBytes}}}
	pf.Processors = append(pf.Processors, ir.Processor{Name: "cpu", MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: 0})
	for q := range fast {
		pf.Processors = append(pf.Processors, ir.Processor{
			Name: fmt.Sprint("acc", q), MemoryBytes: room, MaxSubmodels: ir.DefaultSubmodels,
			Upload: &ir.Copy{BytesPerUs: 1000}, Download: &ir.Copy{BytesPerUs: 1000},
		})
	}
	p := &ir.Problem{Graph: g, Platform: pf, Costs: ir.NewCosts(nodes, 1+fast), Submodels: 1}
	for n := range nodes {
		p.Costs.Set(ir.NodeID(n), 0, 10*ir.Microsecond)
		for q := 1; q <= fast; q++ {
			p.Costs.Set(ir.NodeID(n), ir.ProcID(q), ir.Microsecond)
		}
	}
	return p
}

// Where a processor is full, the nodes after it go on where the last one has gone, not back and forth: what counts is
// where things are, not where the schedule had wanted them.
func TestProjectionFollows(t *testing.T) {
	p := accelerators(t, 3, 60, 12, nil)
	for name, plan := range map[string]*ir.Plan{"heft": HEFT(t.Context(), p), "peft": PEFT(t.Context(), p), "greedy": Greedy(t.Context(), p)} {
		r := Rated(p, plan, ir.Latency)
		if r == nil {
			t.Fatalf("%s: %+v is no plan", name, plan)
		}
		// Two accelerators of six nodes: x up, down and up between them, the output down.
		if want := (12 + 4) * ir.Microsecond; r.Latency != want {
			t.Errorf("%s takes %v, want %v: %+v", name, r.Latency, want, r.Submodels)
		}
	}
}

// The first and the last node are of one group. An accelerator cannot hold all that lies between them, so the group
// must go to the slow processor, which may run twice.
func TestProjectionOfGroups(t *testing.T) {
	p := accelerators(t, 2, 80, 10, func(n int) string {
		if n == 0 || n == 9 {
			return "ends"
		}
		return ""
	})
	for name, plan := range map[string]*ir.Plan{"heft": HEFT(t.Context(), p), "peft": PEFT(t.Context(), p), "greedy": Greedy(t.Context(), p)} {
		r := Rated(p, plan, ir.Latency)
		if r == nil {
			t.Fatalf("%s came to a dead end: %+v", name, plan)
		}
		// 10 us twice, and eight nodes on an accelerator with one value up and one down.
		if want := (20 + 8 + 2) * ir.Microsecond; r.Latency != want {
			t.Errorf("%s takes %v, want %v: %+v", name, r.Latency, want, r.Submodels)
		}
	}
}

// On random problems list schedules come to a dead end or give a plan that keeps every rule. Memory is left out: a
// sub-model that holds a node when it is added may need more once other processors wait for its values.
func TestProjectionLegal(t *testing.T) {
	plans := 0
	for seed := range uint64(300) {
		p := gen.Small(gen.Rand(seed), 20)
		for q := range p.Platform.Processors {
			p.Platform.Processors[q].MemoryBytes = ir.UnlimitedBytes
		}
		for d := range p.Platform.Devices {
			p.Platform.Devices[d].MemoryBytes = ir.UnlimitedBytes
		}
		for name, plan := range map[string]*ir.Plan{"heft": HEFT(t.Context(), p), "peft": PEFT(t.Context(), p), "greedy": Greedy(t.Context(), p)} {
			if plan == nil {
				continue
			}
			plans++
			if err := ir.CheckPlan(p, plan); err != nil {
				t.Errorf("seed %d: %s: %v", seed, name, err)
			}
		}
	}
	if plans < 450 {
		t.Errorf("%d plans of 900 came about", plans)
	}
}
