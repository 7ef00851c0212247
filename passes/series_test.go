package passes

import (
	"context"
	"fmt"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// forks is a series of blocks, each of four branches that take 10, 8, 6 and 4 us and
// that a Concat of 1 us joins, on two equal processors of one device.
func forks(t *testing.T, blocks int, launch ir.Time, replicable bool) *ir.Problem {
	t.Helper()
	b := ir.NewBuilder("forks")
	in := b.Value(ir.Value{Name: "x", Bytes: 1000, Input: true})
	var costs []ir.Time
	for k := range blocks {
		var outs []ir.ValueID
		for i := range 4 {
			for half := range 2 { // a branch has two nodes
				from := in
				if half == 1 {
					from = outs[i]
				}
				v := b.Value(ir.Value{Name: fmt.Sprintf("v%d.%d.%d", k, i, half), Bytes: 1000})
				b.Node(ir.Node{Name: fmt.Sprintf("conv%d.%d.%d", k, i, half), Op: "Conv", Inputs: []ir.ValueID{from}, Outputs: []ir.ValueID{v}})
				costs = append(costs, ir.Time(5-i)*ir.Microsecond)
				if half == 0 {
					outs = append(outs, v)
				} else {
					outs[i] = v
				}
			}
		}
		in = b.Value(ir.Value{Name: fmt.Sprint("c", k), Bytes: 4000, Output: k == blocks-1})
		b.Node(ir.Node{Name: fmt.Sprint("concat", k), Op: "Concat", Inputs: outs, Outputs: []ir.ValueID{in}, Replicable: replicable})
		costs = append(costs, ir.Microsecond)
	}
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	pf := &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice, Devices: []ir.Device{{Name: "d", MemoryBytes: ir.UnlimitedBytes}}}
	p := &ir.Problem{Graph: g, Platform: pf, Costs: ir.NewCosts(len(costs), 2)}
	for q := range 2 {
		pf.Processors = append(pf.Processors, ir.Processor{Name: fmt.Sprint("p", q), MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels, Launch: launch})
		for n, c := range costs {
			p.Costs.Set(ir.NodeID(n), ir.ProcID(q), c)
		}
	}
	return p
}

// A series of blocks takes a run of each processor for each block, the joins done on
// both, or else, where joins may not be repeated, a run for each join; and stays whole
// where runs cost more than the branches save.
func TestSeries(t *testing.T) {
	const blocks = 12
	for _, c := range []struct {
		name       string
		launch     ir.Time
		replicable bool
		runs       int
		us         int64
	}{
		// The branches of a block take 28 us: 14 on each processor, and the join 1.
		{"joins repeated", ir.Microsecond, true, 2*blocks + 1, blocks*(1+14+1) + 1},
		{"joins by themselves", ir.Microsecond, false, 3 * blocks, blocks * (1 + 14 + 1 + 1)},
		{"costly runs", 1000 * ir.Microsecond, true, 1, 1000 + blocks*29},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := forks(t, blocks, c.launch, c.replicable)
			j := newJob(context.Background(), p, Options{Workers: 1, Check: true})
			if err := singles(j); err != nil {
				t.Fatal(err)
			}
			if err := series(j); err != nil {
				t.Fatal(err)
			}
			if got := j.best.Latency; len(j.best.Submodels) != c.runs || got != ir.Time(c.us)*ir.Microsecond {
				t.Errorf("%d runs take %v, want %d that take %d us", len(j.best.Submodels), got, c.runs, c.us)
			}
			if err := ir.CheckPlan(p, j.best); err != nil {
				t.Error(err)
			}
			limited := *p
			limited.Submodels = 1
			k := newJob(context.Background(), &limited, Options{Workers: 1})
			if err := singles(k); err != nil {
				t.Fatal(err)
			}
			if err := series(k); err != nil || len(k.best.Submodels) != 1 {
				t.Errorf("with one sub-model a processor: %d runs, %v", len(k.best.Submodels), err)
			}
		})
	}
}
