package partition

import (
	"slices"

	"gonum.org/v1/gonum/graph/simple"
	"gonum.org/v1/gonum/graph/topo"

	"github.com/dnnsplit/dnnsplit/compiler/dense"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// weldNodes is the most nodes of a graph that Weld looks at: the strongly connected components of larger ones take
// longer than they save.
const weldNodes = 100_000

// Weld finds nodes that every feasible plan has in one sub-model, and gives the unit of each node and the number of
// units; a node that is free has a unit of its own.
//
// Each sub-model has its own copy of a weight that it reads. Where no two sub-models can hold a weight at once, whatever
// processors they are on, all its readers share a sub-model, in every plan: two sub-models that both hold it need one
// processor with room for both copies that may have two sub-models, or two processors, on two devices or on one with
// room for both. A replica of a reader needs the weight, too, so readers have none. What stands on a way between two
// of them has to be with them, since a sub-model waits for all its inputs before it starts. Only a node with a
// replica there could be owned elsewhere: where one of those is on the way, nothing is welded. So no plan is lost, and the
// optimum stays.
//
// Nodes that take no time are not welded: one of them can be worth a sub-model of its own. Between two processors whose
// link is busy, a third that runs it passes its input on as its output, round the busy link. Coarsening puts them to
// their neighbours first of all, since they add no work, and the search on single nodes that follows can take them out.
func Weld(p *ir.Problem) (unitOf []int32, units int) {
	g := p.Graph
	n := g.NumNodes()
	unitOf = make([]int32, n)
	for i := range unitOf {
		unitOf[i] = int32(i)
	}
	if n > weldNodes {
		return unitOf, n
	}
	sets := dense.NewSets(n)
	member := make([]bool, n)
	for _, readers := range sharedWeights(p) {
		for _, r := range readers {
			member[r] = true
			sets.Join(int(readers[0]), int(r))
		}
	}
	if !slices.Contains(member, true) {
		return unitOf, n
	}
	q := simple.NewDirectedGraph()
	for i := range n {
		if sets.Find(i) == i {
			q.AddNode(simple.Node(i))
		}
	}
	for i := range ir.NodeID(n) {
		for _, v := range g.Outputs(i) {
			for _, c := range g.Consumers(v) {
				if a, b := sets.Find(int(i)), sets.Find(int(c)); a != b {
					q.SetEdge(simple.Edge{F: simple.Node(a), T: simple.Node(b)})
				}
			}
		}
	}
	for _, component := range topo.TarjanSCC(q) {
		for _, c := range component[1:] {
			if g.Replicable(ir.NodeID(c.ID())) && !member[c.ID()] || g.Replicable(ir.NodeID(component[0].ID())) && !member[component[0].ID()] {
				return unitOf, n
			}
			sets.Join(int(component[0].ID()), int(c.ID()))
		}
	}
	number := make([]int32, n)
	for i := range n {
		number[i] = -1
	}
	for i := range n {
		r := sets.Find(i)
		if number[r] < 0 {
			number[r] = int32(units)
			units++
		}
		unitOf[i] = number[r]
	}
	return unitOf, units
}

// sharedWeights are the readers of each weight that has several and that no two sub-models can hold at once.
func sharedWeights(p *ir.Problem) [][]ir.NodeID {
	g := p.Graph
	readers := make([][]ir.NodeID, g.NumWeights())
	for n := range ir.NodeID(g.NumNodes()) {
		for _, w := range g.Weights(n) {
			if k := len(readers[w]); k == 0 || readers[w][k-1] != n {
				readers[w] = append(readers[w], n)
			}
		}
	}
	var out [][]ir.NodeID
	for w, nodes := range readers {
		if len(nodes) > 1 && !twice(p, nodes, g.WeightBytes(ir.WeightID(w))) {
			out = append(out, nodes)
		}
	}
	return out
}

// twice says whether two sub-models could hold a weight of that size at once, each with one of the nodes that read it.
func twice(p *ir.Problem, nodes []ir.NodeID, size int64) bool {
	pf := p.Platform
	holds := func(limit, copies int64) bool { return limit == ir.UnlimitedBytes || size <= limit/copies }
	var able []ir.ProcID
	for q := range ir.ProcID(len(pf.Processors)) {
		e := &pf.Processors[q]
		runs := slices.ContainsFunc(nodes, func(n ir.NodeID) bool { return p.Costs.Row(n)[q] != ir.Unsupported })
		if device := pf.Devices[e.Device].MemoryBytes; runs && holds(e.MemoryBytes, 1) && holds(device, 1) {
			if p.SubmodelLimit(q) != 1 && holds(e.MemoryBytes, 2) && holds(device, 2) {
				return true
			}
			able = append(able, q)
		}
	}
	for i, a := range able {
		for _, b := range able[:i] {
			if d := pf.Processors[a].Device; d != pf.Processors[b].Device || holds(pf.Devices[d].MemoryBytes, 2) {
				return true
			}
		}
	}
	return false
}
