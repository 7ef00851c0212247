package passes

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// A chain of weights that two processors cannot hold: proved, with the bytes that are missing and where more would do.
func TestExplainMemory(t *testing.T) {
	b := ir.NewBuilder("chain")
	x := b.Value(ir.Value{Name: "x", Bytes: 1, ResidentBytes: 1, Input: true})
	for _, name := range []string{"a", "b", "c"} {
		y := b.Value(ir.Value{Name: "y" + name, Bytes: 1, ResidentBytes: 1, Output: name == "c"})
		b.Node(ir.Node{Name: name, Inputs: []ir.ValueID{x}, Outputs: []ir.ValueID{y}, Weights: []ir.WeightID{b.Weight("w"+name, 100)}})
		x = y
	}
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	p := &ir.Problem{Graph: g, Costs: ir.NewCosts(3, 2), Submodels: 1, Platform: &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice, Devices: []ir.Device{{Name: "d", MemoryBytes: ir.UnlimitedBytes}}}}
	for q, name := range []string{"p", "q"} {
		p.Platform.Processors = append(p.Platform.Processors, ir.Processor{Name: name, MemoryBytes: 150, MaxSubmodels: ir.DefaultSubmodels})
		for n := range ir.NodeID(3) {
			p.Costs.Set(n, ir.ProcID(q), ir.Microsecond)
		}
	}
	// 300 bytes of weights are what both have, but activations need room too.
	check := func(proved bool, want ...string) {
		t.Helper()
		_, err := Place(t.Context(), p, Options{})
		e, ok := IsInfeasible(err)
		if !ok {
			t.Fatalf("placing gave %v", err)
		}
		if e.Proved != proved {
			t.Errorf("proved is %v: %v", e.Proved, e)
		}
		for _, s := range want {
			if !strings.Contains(e.Error(), s) {
				t.Errorf("%q is not in %q", s, e)
			}
		}
	}
	check(true, "no placement is feasible", "it would fit with more memory", `52 bytes for processor`)
	p.Platform.Processors[0].MemoryBytes = 120
	check(true, "the weights take 300 bytes, 30 more than the 270 that all processors have together")
	p.Platform.Processors[0].MemoryBytes, p.Platform.Processors[1].MemoryBytes = 90, 80
	check(true, `node "a" alone needs 102 bytes, 12 more than processor "p" has`)
}

// What relaxing names is enough.
func TestRelax(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for i := range 10 {
		p := randomProblem(t, rng, 40, 3)
		for q := range p.Platform.Processors {
			p.Platform.Processors[q].MemoryBytes = 1000
		}
		reasons := strings.Join(relax(newJob(t.Context(), p, Options{})), "; ")
		if !strings.Contains(reasons, "it would fit with more memory: ") {
			t.Errorf("problem %d: %q", i, reasons)
		}
	}
}
