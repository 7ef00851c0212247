package passes

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/bound"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// No bound is above the best of all plans of a tiny problem, whatever values it supposes, and where one says that there is
// no plan, there is none.
func TestBoundsExhaustive(t *testing.T) {
	first, last := properties(race.Of(120, 24))
	tried, met, missed := 0, 0, 0
	for seed := first; seed < last; seed++ {
		r := gen.Rand(seed ^ 0xb0b)
		var p *ir.Problem
		if seed%2 == 0 {
			p = gen.Small(r, 3+r.IntN(4))
		} else {
			p = forked(t, r)
		}
		best := [2]ir.Time{ir.MaxTime, ir.MaxTime}
		if !all(p, 8000, func(plan *ir.Plan) {
			if s, err := sched.Rate(p, plan); err == nil {
				best[ir.Latency] = min(best[ir.Latency], s.Latency)
				best[ir.Throughput] = min(best[ir.Throughput], s.Bottleneck)
			}
		}) {
			continue
		}
		tried++
		reduced := bound.Reduce(p)
		check := func(o ir.Objective, name string, b ir.Time, ok bool) {
			if !ok {
				b = ir.MaxTime
			}
			if b > best[o] {
				t.Errorf("seed %d: %s of the %v is %v, a plan takes %v", seed, name, o, b, best[o])
			}
			if b == best[o] {
				met++
			}
		}
		path, ok := bound.Path(reduced)
		check(ir.Latency, "path", path, ok)
		if least := best[ir.Latency]; least < ir.MaxTime {
			for _, above := range []ir.Time{least, least + 1, least + least/3 + 1} { // the first value that is supposed is one less
				b, plan := bound.Suppose(t.Context(), reduced, 0, above, rating(p))
				check(ir.Latency, "supposition", b, true)
				if plan != nil && (ir.CheckPlan(p, plan) != nil || plan.Latency >= above) {
					t.Errorf("seed %d: supposing less than %v gives a plan of %v: %v", seed, above, plan.Latency, ir.CheckPlan(p, plan))
				}
				if plan == nil && b < above && above > least {
					missed++
				}
			}
		}
		for _, o := range []ir.Objective{ir.Latency, ir.Throughput} {
			check(o, "area", bound.Area(reduced), true)
			chain, ok := bound.Chain(reduced, o)
			check(o, "chain", chain, ok)
			for _, above := range []ir.Time{ir.MaxTime, best[o]} {
				check(o, "labels", bound.Labels(t.Context(), reduced, 0, above), true)
			}
			for _, above := range []ir.Time{ir.MaxTime, best[ir.Throughput], min(ir.MaxTime, best[ir.Throughput]+1)} {
				check(o, "knapsack", bound.Knapsack(t.Context(), reduced, 0, above), true)
			}
		}
	}
	t.Logf("%d problems held against all plans, %d bounds met; %d searches below a value that plans have met none", tried, met, missed)
	if tried < int(last-first)/4 || met < tried {
		t.Errorf("%d problems held against all plans, %d bounds met: the test lost its power", tried, met)
	}
}

// rating makes the function that Suppose asks for.
func rating(p *ir.Problem) func(*ir.Plan) ir.Time {
	return func(plan *ir.Plan) ir.Time {
		if ir.CheckPlan(p, plan) != nil {
			return ir.MaxTime
		}
		s, err := sched.Rate(p, plan)
		if err != nil {
			return ir.MaxTime
		}
		return s.Latency
	}
}

// forked is a problem of rows of nodes that fork and join, with up to two sub-models for each of two or three
// processors, which are all that bounds for runs in parallel look at.
func forked(t *testing.T, r *rand.Rand) *ir.Problem {
	t.Helper()
	few := func(k int) bool { return r.IntN(k) == 0 }
	b := ir.NewBuilder("fork")
	copies := few(4)
	made := 0
	node := func(ins ...ir.ValueID) ir.ValueID {
		made++
		v := b.Value(ir.Value{Name: fmt.Sprint("v", made), Bytes: int64(r.IntN(200)), ResidentBytes: int64(r.IntN(40))})
		n := ir.Node{Name: fmt.Sprint("n", made), Inputs: ins, Outputs: []ir.ValueID{v}, Replicable: copies && few(3)}
		if few(2) {
			n.Weights = []ir.WeightID{b.Weight(fmt.Sprint("w", made), int64(r.IntN(100)))}
		}
		b.Node(n)
		return v
	}
	x := node(b.Value(ir.Value{Name: "x", Bytes: int64(r.IntN(200)), ResidentBytes: 20, Input: true}))
	branches := []ir.ValueID{node(x), node(x)}
	if few(3) {
		branches = append(branches, x)
	}
	x = node(branches...)
	if few(2) {
		x = node(x)
	}
	out := b.Value(ir.Value{Name: "y", Bytes: 10, ResidentBytes: 10, Output: true})
	b.Node(ir.Node{Name: "out", Inputs: []ir.ValueID{x}, Outputs: []ir.ValueID{out}})
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	n, procs := g.NumNodes(), 2+r.IntN(2)
	p := &ir.Problem{Graph: g, Costs: ir.NewCosts(n, procs), Submodels: 1 + r.IntN(2)}
	p.Platform = &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice}
	short := few(2)
	for q := range procs {
		if q == 0 || few(2) {
			p.Platform.Devices = append(p.Platform.Devices, ir.Device{Name: fmt.Sprint("d", q), MemoryBytes: ir.UnlimitedBytes})
		}
		e := ir.Processor{Name: fmt.Sprint("p", q), Device: ir.DeviceID(len(p.Platform.Devices) - 1), MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels, Launch: ir.Time(r.IntN(4)) * ir.Microsecond}
		if few(2) {
			e.Upload = &ir.Copy{Latency: ir.Microsecond, BytesPerUs: 50}
			e.Download = &ir.Copy{Latency: ir.Microsecond, BytesPerUs: 70}
		}
		if short {
			e.MemoryBytes = 100 + int64(r.IntN(200))
		}
		p.Platform.Processors = append(p.Platform.Processors, e)
		for k := range ir.NodeID(n) {
			if !few(10) {
				p.Costs.Set(k, ir.ProcID(q), ir.Time(1+r.IntN(30))*ir.Microsecond)
			}
		}
	}
	for a := range p.Platform.Devices {
		for c := range p.Platform.Devices {
			if a != c {
				p.Platform.Links = append(p.Platform.Links, ir.Link{From: ir.DeviceID(a), To: ir.DeviceID(c), Copy: ir.Copy{Latency: ir.Time(r.IntN(3)) * ir.Microsecond, BytesPerUs: 30 + 100*r.Float64()}})
			}
		}
	}
	if few(2) {
		p.Platform.Source = 0
	}
	return p
}
