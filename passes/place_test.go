package passes

import (
	"bytes"
	"context"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// text is a plan as a file, or the error of its placement.
func text(t *testing.T, p *ir.Problem, pl *ir.Placement, err error) string {
	t.Helper()
	if err != nil {
		if _, ok := IsInfeasible(err); !ok {
			t.Fatalf("placing failed: %v", err)
		}
		return err.Error()
	}
	var b bytes.Buffer
	if err := ir.WritePlan(&b, p, pl.Plan); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// Random problems with every rule of the model in them: a plan that holds, or an error that says why there is none;
// the same from one worker and from two; never above any single processor or baseline.
func TestPlaceRandom(t *testing.T) {
	rounds := uint64(race.Of(16, 5))
	if testing.Short() {
		rounds = min(rounds, 8)
	}
	for seed := range rounds {
		p := gen.Small(gen.Rand(seed), 14)
		o := Options{Objective: ir.Objective(seed % 2), Seed: seed, Check: true, Workers: 1}
		a, errA := Place(context.Background(), p, o)
		o.Workers = 2
		b, errB := Place(context.Background(), p, o)
		if x, y := text(t, p, a, errA), text(t, p, b, errB); x != y {
			t.Fatalf("seed %d: one worker found\n%s\ntwo found\n%s", seed, x, y)
		}
		if errA != nil {
			continue
		}
		if err := ir.CheckPlan(p, a.Plan); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for _, k := range append(a.Single, a.Baselines...) {
			v := k.Latency
			if o.Objective == ir.Throughput {
				v = k.Bottleneck
			}
			if k.Feasible && v < a.Plan.Value() {
				t.Errorf("seed %d: %s takes %v, the plan %v", seed, k.Name, v, a.Plan.Value())
			}
		}
	}
}

// all calls visit with every plan of a problem that keeps the rules; false if there are too many plans to try.
func all(p *ir.Problem, most int, visit func(*ir.Plan)) bool {
	g := p.Graph
	n := g.NumNodes()
	var slots []ir.ProcID
	for q := range p.Platform.Processors {
		k := p.SubmodelLimit(ir.ProcID(q))
		if k == 0 || k > n {
			k = n
		}
		for range k {
			slots = append(slots, ir.ProcID(q))
		}
	}
	if len(slots) > 8 {
		return false
	}
	// Choices of a node: its slot, and the set of slots that hold it.
	type choice struct{ owner, holders int }
	options := make([][]choice, n)
	total := 1
	for i := range options {
		for t := range slots {
			for set := range 1 << len(slots) {
				if set&(1<<t) != 0 && (g.Replicable(ir.NodeID(i)) || set == 1<<t) {
					options[i] = append(options[i], choice{t, set})
				}
			}
		}
		if total *= len(options[i]); total > most {
			return false
		}
	}
	for k := range total {
		plan := &ir.Plan{}
		subs := make([]ir.Submodel, len(slots))
		for i := range n {
			c := options[i][k%len(options[i])]
			k /= len(options[i])
			for t := range slots {
				switch {
				case c.owner == t:
					subs[t].Nodes = append(subs[t].Nodes, ir.NodeID(i))
				case c.holders&(1<<t) != 0:
					subs[t].Replicas = append(subs[t].Replicas, ir.NodeID(i))
				}
			}
		}
		for t, s := range subs {
			if s.Processor = slots[t]; len(s.Nodes)+len(s.Replicas) > 0 {
				plan.Submodels = append(plan.Submodels, s)
			}
		}
		if ir.CheckPlan(p, plan) == nil {
			visit(plan)
		}
	}
	return true
}

// Tiny problems, every plan tried: what is called optimal is, bounds hold, and problems without a plan are found out.
func TestPlaceExact(t *testing.T) {
	tried, proven, infeasible := 0, 0, 0
	for seed := uint64(1000); tried < 40; seed++ {
		p := gen.Small(gen.Rand(seed), 5)
		o := Options{Objective: ir.Objective(seed % 2), Seed: seed, Check: true}
		best := ir.MaxTime
		if !all(p, 4000, func(plan *ir.Plan) {
			plan.Objective = o.Objective
			if _, err := sched.Rate(p, plan); err == nil {
				best = min(best, plan.Value())
			}
		}) {
			continue
		}
		tried++
		got, err := Place(context.Background(), p, o)
		if err != nil {
			e, ok := IsInfeasible(err)
			if !ok {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if best < ir.MaxTime {
				t.Errorf("seed %d: a plan takes %v, but %v", seed, best, e)
			}
			if e.Proved {
				infeasible++
			}
			continue
		}
		if v := got.Plan.Value(); v != best {
			t.Errorf("seed %d: the plan takes %v, the best %v", seed, v, best)
		}
		if got.Plan.LowerBound > best {
			t.Errorf("seed %d: the bound is %v, a plan takes %v", seed, got.Plan.LowerBound, best)
		}
		if got.Plan.ProvenOptimal {
			proven++
		}
	}
	if proven < 30-infeasible {
		t.Errorf("of %d problems %d were proven and %d infeasible", tried, proven, infeasible)
	}
	t.Logf("of %d problems %d were proven and %d infeasible", tried, proven, infeasible)
}

// Graphs that are gathered into units first, one of them with too little memory for one processor.
func TestPlaceLarge(t *testing.T) {
	for _, shape := range []string{"series", "towers"} {
		p, err := gen.Make(shape, 500, 4, 7, shape == "series")
		if err != nil {
			t.Fatal(err)
		}
		a, errA := Place(context.Background(), p, Options{Check: true, Workers: 1})
		if errA != nil {
			t.Fatalf("%s: %v", shape, errA)
		}
		for _, k := range a.Single {
			if k.Feasible && k.Latency < a.Plan.Latency {
				t.Errorf("%s: %s takes %v, the plan %v", shape, k.Name, k.Latency, a.Plan.Latency)
			}
		}
	}
}

// A split that gains less than is asked for is passed over for the whole graph, and
// no other.
func TestLeastGain(t *testing.T) {
	tried := 0
	for seed := range uint64(race.Of(8, 3)) {
		p := gen.Small(gen.Rand(seed), 9)
		p.Submodels = 0
		free, err := Place(context.Background(), p, Options{Workers: 1})
		if err != nil || len(free.Plan.Submodels) < 2 {
			continue
		}
		whole := ir.Time(0)
		for _, s := range free.Single {
			if s.Feasible && (whole == 0 || s.Latency < whole) {
				whole = s.Latency
			}
		}
		if whole == 0 {
			continue
		}
		tried++
		gain := 1 - float64(free.Plan.Latency)/float64(whole)
		for _, c := range []struct {
			least float64
			split bool
		}{{gain / 2, true}, {gain*1.01 + 1e-9, false}} {
			got, err := Place(context.Background(), p, Options{Workers: 1, LeastGain: c.least, Check: true})
			if err != nil {
				t.Fatal(err)
			}
			if c.split && (got.Plan.Latency != free.Plan.Latency || got.Passed != nil) {
				t.Errorf("seed %d: a split that gains %.3f is not made where %.3f is asked for", seed, gain, c.least)
			}
			if !c.split && (len(got.Plan.Submodels) != 1 || got.Plan.Latency != whole || got.Passed == nil || got.Passed.Latency != free.Plan.Latency || got.Plan.ProvenOptimal) {
				t.Errorf("seed %d: a split that gains %.3f is made where %.3f is asked for: %+v", seed, gain, c.least, got.Plan)
			}
		}
	}
	if tried == 0 {
		t.Error("no problem is worth a split")
	}
}
