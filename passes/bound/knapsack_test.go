package bound_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bound"
)

// alike is a problem of procs processors that are the same, with copies at a byte a microsecond if they have any.
func alike(t *testing.T, b *ir.Builder, procs int, copies bool, cost ir.Time) *ir.Problem {
	t.Helper()
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := &ir.Problem{Graph: g, Costs: ir.NewCosts(g.NumNodes(), procs)}
	p.Platform = &ir.Platform{
		Devices: []ir.Device{{Name: "d", MemoryBytes: ir.UnlimitedBytes}},
		Source:  ir.NoDevice, Sink: ir.NoDevice,
	}
	for q := range procs {
		e := ir.Processor{Name: fmt.Sprint("p", q), MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels}
		if copies {
			e.Upload, e.Download = &ir.Copy{BytesPerUs: 1}, &ir.Copy{BytesPerUs: 1}
		}
		p.Platform.Processors = append(p.Platform.Processors, e)
		for n := range ir.NodeID(g.NumNodes()) {
			p.Costs.Set(n, ir.ProcID(q), cost)
		}
	}
	return p
}

// Where processors are alike, nodes cannot be spread over them in parts.
func TestKnapsackWholeNodes(t *testing.T) {
	for _, c := range []struct {
		nodes, procs int
		line         bool
		best         ir.Time // of all plans, in microseconds
	}{
		{nodes: 7, procs: 3, best: 30},              // one processor has three
		{nodes: 12, procs: 5, best: 30},             //
		{nodes: 7, procs: 3, line: true, best: 33},  // three and a copy at both ends
		{nodes: 24, procs: 5, line: true, best: 56}, // five and two copies in the middle
	} {
		b := ir.NewBuilder("alike")
		last := ir.ValueID(-1)
		for n := range c.nodes {
			v := b.Value(ir.Value{Name: fmt.Sprint("v", n), Bytes: 3})
			node := ir.Node{Name: fmt.Sprint("n", n), Outputs: []ir.ValueID{v}}
			if c.line && n > 0 {
				node.Inputs = []ir.ValueID{last}
			}
			b.Node(node)
			last = v
		}
		p := alike(t, b, c.procs, c.line, 10*ir.Microsecond)
		best := c.best * ir.Microsecond
		labels := bound.Labels(t.Context(), p, bound.Area(p), best)
		if labels >= best {
			t.Errorf("%d nodes on %d: labels prove %v too", c.nodes, c.procs, best)
		}
		if got := bound.Knapsack(t.Context(), p, labels, best); got != best {
			t.Errorf("%d nodes on %d: the bound is %v with labels at %v, not %v", c.nodes, c.procs, got, labels, best)
		}
		if got := bound.Knapsack(t.Context(), p, labels, best+ir.Microsecond); got > best || got < best-ir.Microsecond {
			t.Errorf("%d nodes on %d: supposing a plan of %v the bound is %v, not about %v", c.nodes, c.procs, best+ir.Microsecond, got, best)
		}
	}
}

// Memory keeps whole nodes off a processor, too, not a part of each.
func TestKnapsackMemory(t *testing.T) {
	b := ir.NewBuilder("weights")
	for n := range 9 {
		b.Node(ir.Node{
			Name: fmt.Sprint("n", n), Outputs: []ir.ValueID{b.Value(ir.Value{Name: fmt.Sprint("v", n)})},
			Weights: []ir.WeightID{b.Weight(fmt.Sprint("w", n), 10)},
		})
	}
	p := alike(t, b, 4, false, ir.Microsecond)
	for q := 1; q < 4; q++ {
		p.Platform.Processors[q].MemoryBytes = 25 // two nodes
	}
	for n := range ir.NodeID(9) {
		p.Costs.Set(n, 0, 10*ir.Microsecond)
	}
	best := 30 * ir.Microsecond // three are left
	if labels := bound.Labels(t.Context(), p, 0, best); labels >= best {
		t.Errorf("labels prove %v too", best)
	}
	if got := bound.Knapsack(t.Context(), p, 0, best); got != best {
		t.Errorf("the bound is %v, not %v", got, best)
	}
}

// A link brings whole nodes' inputs to a device, however many processors are there.
func TestKnapsackLink(t *testing.T) {
	for procs := 2; procs < 4; procs++ {
		b := ir.NewBuilder("inputs")
		for n := range 4 {
			x := b.Value(ir.Value{Name: fmt.Sprint("x", n), Bytes: 15, Input: true})
			b.Node(ir.Node{Name: fmt.Sprint("n", n), Inputs: []ir.ValueID{x}, Outputs: []ir.ValueID{b.Value(ir.Value{Name: fmt.Sprint("v", n)})}})
		}
		p := alike(t, b, procs, false, 10*ir.Microsecond)
		p.Platform.Devices = append(p.Platform.Devices, ir.Device{Name: "far", MemoryBytes: ir.UnlimitedBytes})
		p.Platform.Links = []ir.Link{{From: 0, To: 1, Copy: ir.Copy{BytesPerUs: 1}}}
		p.Platform.Source = 0
		for q := 1; q < procs; q++ {
			p.Platform.Processors[q].Device = 1
		}
		best := 30 * ir.Microsecond // three nodes, or two inputs
		most := best - ir.Microsecond/2
		if labels := bound.Labels(t.Context(), p, 0, best); labels >= most {
			t.Errorf("%d processors: labels prove %v too", procs, labels)
		}
		if got := bound.Knapsack(t.Context(), p, 0, best); got < most || got > best {
			t.Errorf("%d processors: the bound is %v, not about %v", procs, got, best)
		}
	}
}

// A search that is called off tells what is known.
func TestKnapsackCancelled(t *testing.T) {
	b := ir.NewBuilder("few")
	for n := range 3 {
		b.Node(ir.Node{Name: fmt.Sprint("n", n), Outputs: []ir.ValueID{b.Value(ir.Value{Name: fmt.Sprint("v", n), Bytes: 1})}})
	}
	p := alike(t, b, 2, false, ir.Microsecond)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if got := bound.Knapsack(ctx, p, ir.Microsecond, 2*ir.Microsecond); got > 1500*ir.Nanosecond {
		t.Errorf("the bound is %v", got)
	}
	if got := bound.Knapsack(t.Context(), p, 0, 2*ir.Microsecond); got != 2*ir.Microsecond {
		t.Errorf("the bound is %v", got)
	}
}
