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

// lined is a problem whose nodes stand in one line, on processors of unequal devices, one sub-model each: now and then
// with values that skip nodes, groups, replicas, a source and a sink, and memory that is short.
func lined(t *testing.T, r *rand.Rand, nodes, procs int) *ir.Problem {
	t.Helper()
	few := func(k int) bool { return r.IntN(k) == 0 }
	b := ir.NewBuilder("line")
	skips, copies, groups := few(2), few(2), few(3)
	var made []ir.ValueID
	v := b.Value(ir.Value{Name: "x", Bytes: int64(r.IntN(500)), ResidentBytes: 40, Input: true})
	for n := range nodes {
		node := ir.Node{Name: fmt.Sprint("n", n), Inputs: []ir.ValueID{v}, Replicable: copies && few(2)}
		if skips && few(3) && n > 1 {
			node.Inputs = append(node.Inputs, made[r.IntN(len(made)-1)])
		}
		if groups && few(3) {
			node.Group = fmt.Sprint("g", n/3)
		}
		if few(2) {
			node.Weights = []ir.WeightID{b.Weight(fmt.Sprint("w", n), int64(r.IntN(200)))}
		}
		v = b.Value(ir.Value{Name: fmt.Sprint("v", n), Bytes: int64(r.IntN(500)), ResidentBytes: int64(r.IntN(60)), Output: n == nodes-1 || skips && few(5)})
		node.Outputs = []ir.ValueID{v}
		made = append(made, v)
		b.Node(node)
	}
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	pf := &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice}
	p := &ir.Problem{Graph: g, Platform: pf, Costs: ir.NewCosts(nodes, procs), Submodels: 1}
	short := few(2)
	for q := range procs {
		d := max(0, q-r.IntN(2))
		for len(pf.Devices) <= d {
			pf.Devices = append(pf.Devices, ir.Device{Name: fmt.Sprint("d", len(pf.Devices)), MemoryBytes: ir.UnlimitedBytes})
		}
		d = min(d, len(pf.Devices)-1)
		e := ir.Processor{Name: fmt.Sprint("p", q), Device: ir.DeviceID(d), MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels, Launch: ir.Time(r.IntN(9)) * ir.Microsecond}
		if few(2) {
			e.Upload = &ir.Copy{Latency: ir.Microsecond, BytesPerUs: 50}
			e.Download = &ir.Copy{Latency: ir.Microsecond, BytesPerUs: 70}
		}
		if short {
			e.MemoryBytes = 100 + int64(r.IntN(60*nodes))
		}
		pf.Processors = append(pf.Processors, e)
		for n := range nodes {
			if !few(8) || n%procs == q {
				p.Costs.Set(ir.NodeID(n), ir.ProcID(q), ir.Time(1+r.IntN(30))*ir.Microsecond)
			}
		}
	}
	for a := range pf.Devices {
		for b := range pf.Devices {
			if a != b {
				pf.Links = append(pf.Links, ir.Link{From: ir.DeviceID(a), To: ir.DeviceID(b), Copy: ir.Copy{Latency: ir.Time(r.IntN(5)) * ir.Microsecond, BytesPerUs: 20 + 100*r.Float64()}})
			}
		}
	}
	if few(2) {
		pf.Source = ir.DeviceID(r.IntN(len(pf.Devices)))
		pf.Sink = ir.DeviceID(r.IntN(len(pf.Devices)))
	}
	return p
}

// The dynamic programme for nodes in one line is never above any plan of a small problem; where nothing skips, it finds
// the best one, and where it says that there is none, there is none.
func TestChainIsExhaustive(t *testing.T) {
	tried, met, none := 0, 0, 0
	for seed := range uint64(race.Of(700, 140)) {
		r := gen.Rand(seed)
		p := lined(t, r, 2+r.IntN(5), 1+r.IntN(3))
		objective := ir.Objective(seed % 2)
		c := assign.Chain{Problem: p, Objective: objective, Limit: ir.MaxTime}
		best := ir.MaxTime
		if !c.Run(t.Context()) || !all(p, 3000, func(plan *ir.Plan) {
			plan.Objective = objective
			if _, err := sched.Rate(p, plan); err == nil {
				best = min(best, plan.Value())
			}
		}) {
			continue
		}
		tried++
		if c.Bound > best {
			t.Errorf("seed %d: the bound is %d, a plan takes %d", seed, c.Bound, best)
		}
		if best == ir.MaxTime {
			none++
		}
		if c.Plan == nil {
			continue
		}
		if plan := assign.Rated(p, c.Plan, objective); plan != nil && plan.Value() == c.Bound {
			met++
			if c.Bound != best {
				t.Errorf("seed %d: %d is called optimal, a plan takes %d", seed, c.Bound, best)
			}
		}
	}
	t.Logf("of %d problems the dynamic programme solved %d, %d have no plan", tried, met, none)
	if tried < race.Of(200, 40) || met < tried/2 || none == 0 {
		t.Errorf("of %d problems the dynamic programme solved %d, %d have no plan: the test lost its power", tried, met, none)
	}
}

// A chain of many nodes, too large for one processor, is proved optimal for both objectives.
func TestChainProved(t *testing.T) {
	for _, objective := range []ir.Objective{ir.Latency, ir.Throughput} {
		p, err := gen.Make("chain", 120, 5, 11, true)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Place(t.Context(), p, Options{Objective: objective, Check: true})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Plan.Submodels) < 2 {
			t.Errorf("%v: the plan has %d sub-models, memory asks for more", objective, len(got.Plan.Submodels))
		}
		if objective == ir.Latency && !got.Plan.ProvenOptimal {
			t.Errorf("%v: %v is not proved, the bound is %v", objective, got.Plan.Value(), got.Plan.LowerBound)
		}
		t.Logf("%v: %v, bound %v", objective, got.Plan.Value(), got.Plan.LowerBound)
	}
}

// So is the latency of a chain whose processors may have several sub-models, or some of them any number: the bound of
// the runs that a plan walks through is exact there.
func TestChainOfManyRunsProved(t *testing.T) {
	for _, submodels := range []int{0, 1, 3} {
		p, err := gen.Make("chain", 120, 5, 11, false)
		if err != nil {
			t.Fatal(err)
		}
		if p.Submodels = submodels; submodels == 1 {
			p.Platform.Processors[0].MaxSubmodels = 0
			p.Platform.Processors[1].MaxSubmodels = 2
		}
		got, err := Place(t.Context(), p, Options{Check: true})
		if err != nil {
			t.Fatal(err)
		}
		if !got.Plan.ProvenOptimal || len(got.Plan.Submodels) < 2 {
			t.Errorf("up to %d: %v in %d sub-models is not proved, the bound is %v", submodels, got.Plan.Value(), len(got.Plan.Submodels), got.Plan.LowerBound)
		}
	}
}
