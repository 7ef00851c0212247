package assign

import (
	"math/rand/v2"
	"testing"

	"gonum.org/v1/gonum/graph/network"
	"gonum.org/v1/gonum/graph/simple"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
)

// Flows on random networks are those that gonum finds, and the cut that is read off pays just as much.
func TestFlow(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		n := 2 + r.IntN(12)
		f := newFlow(n)
		g := simple.NewWeightedDirectedGraph(0, 0)
		for v := range n {
			g.AddNode(simple.Node(v))
		}
		room := map[[2]int]int64{}
		for range 3 * n {
			a, b := r.IntN(n), r.IntN(n)
			if _, dup := room[[2]int{a, b}]; a == b || dup {
				continue
			}
			k := int64(r.IntN(20))
			room[[2]int{a, b}] = k
			f.add(int32(a), int32(b), k, 0)
			g.SetWeightedEdge(g.NewWeightedEdge(simple.Node(a), simple.Node(b), float64(k)))
		}
		got := f.max(0, int32(n-1))
		if want := network.MaxFlowDinic(g, simple.Node(0), simple.Node(n-1), -1); float64(got) != want {
			t.Fatalf("network %d: the flow is %d, gonum says %v", round, got, want)
		}
		var cut int64
		for ab, k := range room {
			if f.reached(int32(ab[0])) && !f.reached(int32(ab[1])) {
				cut += k
			}
		}
		if cut != got {
			t.Fatalf("network %d: the flow is %d, the cut %d", round, got, cut)
		}
	}
}

// On two processors with nothing but costs and copies the run times of a cut are what it pays, so no other cut of one
// side before the other has less in all.
func TestMinCutIsLeast(t *testing.T) {
	r := gen.Rand(3)
	tried := 0
	for tried < 60 {
		p := gen.Small(r, 10)
		pf := p.Platform
		if len(pf.Processors) < 2 || p.Graph.NumNodes() < 2 {
			continue
		}
		pf.Source, pf.Sink = ir.NoDevice, ir.NoDevice
		two := *pf
		two.Processors = append([]ir.Processor(nil), pf.Processors[:2]...)
		two.Processors[0].Device, two.Processors[1].Device = 0, 0
		costs := ir.NewCosts(p.Graph.NumNodes(), 2)
		for n := range ir.NodeID(p.Graph.NumNodes()) {
			for q := range ir.ProcID(2) {
				costs.Set(n, q, p.Costs.Of(n, q))
			}
		}
		p = &ir.Problem{Graph: p.Graph, Platform: &two, Costs: costs, Submodels: 0}
		for q := range two.Processors {
			two.Processors[q].Launch, two.Processors[q].MemoryBytes = 0, ir.UnlimitedBytes
		}
		for d := range two.Devices {
			two.Devices[d].MemoryBytes = ir.UnlimitedBytes
		}
		c := newCut(p)
		got := c.split(0, 1, weighOnce)
		n := p.Graph.NumNodes()
		best, found := ir.MaxTime, false
		for set := range 1 << n {
			plan := &ir.Plan{Submodels: []ir.Submodel{{Processor: 0}, {Processor: 1}}}
			for i := range n {
				k := set >> i & 1
				plan.Submodels[k].Nodes = append(plan.Submodels[k].Nodes, ir.NodeID(i))
			}
			closed := true
			for i := range ir.NodeID(n) {
				for _, v := range p.Graph.Outputs(i) {
					for _, k := range p.Graph.Consumers(v) {
						closed = closed && set>>i&1 <= set>>k&1
					}
				}
			}
			if !closed {
				continue
			}
			if len(plan.Submodels[1].Nodes) == 0 {
				plan.Submodels = plan.Submodels[:1]
			} else if len(plan.Submodels[0].Nodes) == 0 {
				plan.Submodels = plan.Submodels[1:]
			}
			if Rated(p, plan, ir.Throughput) == nil {
				continue
			}
			found = true
			best = min(best, loads(p, plan))
		}
		if (got != nil) != found {
			t.Fatalf("a cut is %v, a plan exists: %v", got, found)
		}
		if found && loads(p, got) != best {
			t.Fatalf("the cut pays %v, the best %v", loads(p, got), best)
		}
		tried++
	}
}

// Large graphs are cut along units of nodes: the cut is legal, and pays no less than that of single nodes.
func TestMinCutContracted(t *testing.T) {
	for _, shape := range gen.Shapes() {
		p, err := gen.Make(shape, cutWhole+500, 3, 5, false)
		if err != nil {
			t.Fatal(err)
		}
		c := newCut(p)
		if c.units >= int32(p.Graph.NumNodes())*2/3 {
			t.Errorf("%s: %d nodes are %d units", shape, p.Graph.NumNodes(), c.units)
		}
		rough := c.split(0, 1, weighOnce)
		if rough == nil {
			t.Errorf("%s: no cut", shape)
			continue
		}
		if err := ir.CheckPlan(p, rough); err != nil {
			t.Errorf("%s: %v", shape, err)
		}
		c.units = int32(p.Graph.NumNodes())
		for i := range c.unit {
			c.unit[i] = int32(i)
		}
		if fine := c.split(0, 1, weighOnce); loadsAndWays(p, rough) < loadsAndWays(p, fine) {
			t.Errorf("%s: the cut of units pays %v, that of nodes %v", shape, loadsAndWays(p, rough), loadsAndWays(p, fine))
		}
	}
}

// loadsAndWays is what a cut pays: all runs without launches, and all transfers over idle links.
func loadsAndWays(p *ir.Problem, plan *ir.Plan) ir.Time {
	sum := loads(p, plan)
	w, routes := ir.Connect(p.Graph, plan), ir.NewRoutes(p.Platform)
	for v := range ir.ValueID(p.Graph.NumValues()) {
		home, to := ir.Travels(p, plan, w, v, nil)
		for _, d := range to {
			for _, l := range routes.Find(home, d, p.Graph.Bytes(v)) {
				sum += p.Platform.Links[l].Time(p.Graph.Bytes(v))
			}
		}
	}
	return sum
}

// loads is the time of all runs of a plan together, without launches.
func loads(p *ir.Problem, plan *ir.Plan) ir.Time {
	w := ir.Connect(p.Graph, plan)
	var sum ir.Time
	for i, s := range plan.Submodels {
		e := &p.Platform.Processors[s.Processor]
		for _, n := range s.Nodes {
			sum += p.Costs.Of(n, s.Processor)
		}
		for _, v := range w.Needs(i) {
			sum += copied(e.Upload, p.Graph.Bytes(v))
		}
		for _, v := range w.Produces(i) {
			sum += copied(e.Download, p.Graph.Bytes(v))
		}
	}
	return sum
}
