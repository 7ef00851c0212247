package corpus

import (
	"math/rand/v2"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// scatter is a random plan: a random topological order, cut into runs of random
// length on random processors, in which nodes whose outputs would have to be sent
// are replicated at random, with what they depend on. Every acyclic partition of
// the nodes can come out. Problems with groups are cut on one processor.
func scatter(p *ir.Problem, seed uint64) *ir.Plan {
	g := p.Graph
	rng := rand.New(rand.NewPCG(seed, 1))
	most := 1 + rng.IntN(min(g.NumNodes(), 8)+1) // nodes of a sub-model: up to twice as many, about
	procs := len(p.Platform.Processors)
	if g.NumGroups() > 0 {
		procs = 1
	}
	plan := &ir.Plan{}
	left := 0
	for _, n := range randomOrder(g, rng) {
		if left == 0 {
			left = 1 + rng.IntN(2*most)
			plan.Submodels = append(plan.Submodels, ir.Submodel{Processor: ir.ProcID(rng.IntN(procs))})
		}
		left--
		last := &plan.Submodels[len(plan.Submodels)-1]
		last.Nodes = append(last.Nodes, n)
	}
	for i := range plan.Submodels {
		s := &plan.Submodels[i]
		slices.Sort(s.Nodes)
		replicate(g, s, rng)
	}
	return plan
}

// randomOrder is a random topological order.
func randomOrder(g *ir.Graph, rng *rand.Rand) []ir.NodeID {
	waits := make([]int, g.NumNodes())
	var ready, order []ir.NodeID
	for n := range waits {
		for _, v := range g.Inputs(ir.NodeID(n)) {
			if !g.IsInput(v) {
				waits[n]++
			}
		}
		if waits[n] == 0 {
			ready = append(ready, ir.NodeID(n))
		}
	}
	for len(ready) > 0 {
		k := rng.IntN(len(ready))
		if rng.IntN(2) == 0 {
			k = len(ready) - 1 // stay on a path for a while
		}
		n := ready[k]
		ready = slices.Delete(ready, k, k+1)
		order = append(order, n)
		for _, v := range g.Outputs(n) {
			for _, c := range g.Consumers(v) {
				if waits[c]--; waits[c] == 0 {
					ready = append(ready, c)
				}
			}
		}
	}
	return order
}

// replicate copies producers of what s reads into s, one in three, and theirs.
// What a replica reads comes from before s, as what s reads does.
func replicate(g *ir.Graph, s *ir.Submodel, rng *rand.Rand) {
	inside := map[ir.NodeID]bool{}
	for _, n := range s.Nodes {
		inside[n] = true
	}
	todo := slices.Clone(s.Nodes)
	for len(todo) > 0 {
		n := todo[0]
		todo = todo[1:]
		for _, v := range g.Inputs(n) {
			if g.IsInput(v) || inside[g.Producer(v)] || !g.Replicable(g.Producer(v)) || rng.IntN(3) > 0 {
				continue
			}
			inside[g.Producer(v)] = true
			s.Replicas = append(s.Replicas, g.Producer(v))
			todo = append(todo, g.Producer(v))
		}
	}
	slices.Sort(s.Replicas)
}
