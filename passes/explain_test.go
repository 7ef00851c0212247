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
	check(true, "the weights take 300 bytes, 30 bytes more than the 270 bytes that all processors have together")
	p.Platform.Processors[0].MemoryBytes, p.Platform.Processors[1].MemoryBytes = 90, 80
	check(true, `node "a" alone needs 102 bytes, 12 bytes more than processor "p" has`)
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

// What stands in the way is named, whatever it is: sub-models, where nodes may run, links.
func TestExplainOtherLimits(t *testing.T) {
	build := func(costs [3][2]ir.Time, links bool) *ir.Problem {
		b := ir.NewBuilder("chain")
		x := b.Value(ir.Value{Name: "x", Bytes: 1, ResidentBytes: 1, Input: true})
		for _, name := range []string{"a", "b", "c"} {
			y := b.Value(ir.Value{Name: "y" + name, Bytes: 1, ResidentBytes: 1, Output: name == "c"})
			b.Node(ir.Node{Name: name, Inputs: []ir.ValueID{x}, Outputs: []ir.ValueID{y}})
			x = y
		}
		g, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		p := &ir.Problem{Graph: g, Costs: ir.NewCosts(3, 2), Submodels: 1, Platform: &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice}}
		for q, name := range []string{"p", "q"} {
			p.Platform.Devices = append(p.Platform.Devices, ir.Device{Name: "d" + name, MemoryBytes: ir.UnlimitedBytes})
			p.Platform.Processors = append(p.Platform.Processors, ir.Processor{Name: name, Device: ir.DeviceID(q), MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels})
			for n := range costs {
				p.Costs.Set(ir.NodeID(n), ir.ProcID(q), costs[n][q])
			}
		}
		if links {
			for q := range ir.DeviceID(2) {
				p.Platform.Links = append(p.Platform.Links, ir.Link{From: q, To: 1 - q, Copy: ir.Copy{BytesPerUs: 1}})
			}
		}
		return p
	}
	const no, us = ir.Unsupported, ir.Microsecond
	sink := build([3][2]ir.Time{{us, no}, {us, no}, {us, no}}, false)
	sink.Platform.Sink = 1
	for _, c := range []struct {
		name string
		p    *ir.Problem
		want string
	}{
		{"there and back again", build([3][2]ir.Time{{us, no}, {no, us}, {us, no}}, true), "it would fit with up to 2 sub-models for each processor"},
		{"no way across", build([3][2]ir.Time{{us, no}, {no, us}, {no, us}}, false), `value "ya" must go from device dp to dq, no link leads there`},
		{"runs nowhere", build([3][2]ir.Time{{us, us}, {no, no}, {us, us}}, true), `no processor may run node "b"`},
		{"no way to the sink", sink, `no link brings output "yc" from where it can be made to the sink, device "dq"`},
	} {
		_, err := Place(t.Context(), c.p, Options{})
		e, ok := IsInfeasible(err)
		if !ok {
			t.Errorf("%s: placing gave %v", c.name, err)
			continue
		}
		if !e.Proved || !strings.Contains(e.Error(), c.want) {
			t.Errorf("%s: %q is not in %q (proved: %v)", c.name, c.want, e, e.Proved)
		}
	}
}

// Where more memory on one processor is enough, no more than that is asked for, or little.
func TestRelaxOneProcessor(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	p := randomProblem(t, rng, 40, 3)
	single := segments(40)
	need := ir.MeasureMemory(p, single, ir.Connect(p.Graph, single)).Processors[0]
	for q := range p.Platform.Processors {
		p.Platform.Processors[q].MemoryBytes = 1
	}
	p.Platform.Processors[0].MemoryBytes = need - 10
	reasons := strings.Join(relax(newJob(t.Context(), p, Options{})), "; ")
	if !strings.Contains(reasons, `it would fit with more memory: 10 bytes for processor "p0"`) {
		t.Errorf("%q", reasons)
	}
}

// Groups that no processor holds, or may run, are said to be what stands in the way, and that splitting them would do.
func TestExplainGroups(t *testing.T) {
	build := func() *ir.Problem {
		b := ir.NewBuilder("chain")
		x := b.Value(ir.Value{Name: "x", Bytes: 1, ResidentBytes: 1, Input: true})
		for _, name := range []string{"a", "b", "c"} {
			y := b.Value(ir.Value{Name: "y" + name, Bytes: 1, ResidentBytes: 1, Output: name == "c"})
			n := ir.Node{Name: name, Inputs: []ir.ValueID{x}, Outputs: []ir.ValueID{y}, Weights: []ir.WeightID{b.Weight("w"+name, 100)}}
			if name != "b" {
				n.Group = "ends"
			}
			b.Node(n)
			x = y
		}
		g, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		p := &ir.Problem{Graph: g, Costs: ir.NewCosts(3, 3), Submodels: 1, Platform: &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice, Devices: []ir.Device{{Name: "d", MemoryBytes: ir.UnlimitedBytes}}}}
		for q, name := range []string{"p", "q", "r"} {
			p.Platform.Processors = append(p.Platform.Processors, ir.Processor{Name: name, MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels})
			for n := range ir.NodeID(3) {
				p.Costs.Set(n, ir.ProcID(q), ir.Microsecond)
			}
		}
		return p
	}
	small := build()
	for q := range small.Platform.Processors {
		small.Platform.Processors[q].MemoryBytes = 150
	}
	alone := build()
	for q := range ir.ProcID(3) {
		alone.Platform.Processors[q].MemoryBytes = 200
		for n := range ir.NodeID(3) {
			if q != 1 {
				alone.Costs.Set(n, q, ir.Unsupported)
			}
		}
	}
	apart := build()
	for n, q := range []ir.ProcID{0, 1, 2} {
		for k := range ir.ProcID(3) {
			if k != q {
				apart.Costs.Set(ir.NodeID(n), k, ir.Unsupported)
			}
		}
	}
	for _, c := range []struct {
		p    *ir.Problem
		want []string
	}{
		{small, []string{`the weights of group "ends" take 200 bytes, 50 bytes more than processor "p" has, the roomiest that may run it`, `it would fit if groups might be split: group "ends": node "a" is on`}},
		{alone, []string{`the weights of the 3 nodes that run on processor "q" alone take 300 bytes, 100 bytes more than it has`}},
		{apart, []string{`no processor may run all nodes of group "ends"`, `it would fit if groups might be split: group "ends": node "a" is on p, node "c" on r`}},
	} {
		_, err := Place(t.Context(), c.p, Options{})
		e, ok := IsInfeasible(err)
		if !ok || !e.Proved {
			t.Errorf("placing gave %v", err)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(e.Error(), want) {
				t.Errorf("%q is not in %q", want, e)
			}
		}
	}
}

// What cannot travel is named, and where it would have to go.
func TestExplainLinks(t *testing.T) {
	p := randomProblem(t, rand.New(rand.NewPCG(9, 10)), 12, 2)
	p.Platform.Links = nil
	p.Platform.Source = 0
	p.Costs.Set(5, 0, ir.Unsupported)
	_, err := Place(t.Context(), p, Options{})
	e, ok := IsInfeasible(err)
	if want := `which no link brings to processor "p1", the only one that may run it`; !ok || !e.Proved || !strings.Contains(e.Error(), want) || !strings.Contains(e.Error(), `node "n5" reads value`) {
		t.Errorf("%q is not in %v", want, err)
	}
}

// What is not proved is not said to be.
func TestExplainWithoutProof(t *testing.T) {
	p := randomProblem(t, rand.New(rand.NewPCG(11, 12)), 12, 2)
	const want = "no feasible placement was found: every candidate broke a limit on memory, on the number of sub-models or on where nodes may run"
	if e := explain(newJob(t.Context(), p, Options{}), ""); e.Proved || !strings.HasPrefix(e.Error(), want) {
		t.Errorf("%q, want %s", e, want)
	}
}
