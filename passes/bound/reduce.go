package bound

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Reduce is the problem without processors that no feasible plan can give a node:
// those whose memory does not hold the node, its weights and all that it reads
// and makes, or does not hold the weights of its group. Every feasible plan of the
// problem is one of the reduced problem, so bounds of the one are bounds of the
// other. It is p itself if nothing falls away. Time is linear in graph times processors.
func Reduce(p *ir.Problem) *ir.Problem {
	g := p.Graph
	room := rooms(p.Platform)
	least := slices.Min(room)
	costs := p.Costs
	drop := func(n ir.NodeID, q int) {
		if costs.Of(n, ir.ProcID(q)) == ir.Unsupported {
			return
		}
		if costs == p.Costs {
			costs = costs.Clone()
		}
		costs.Set(n, ir.ProcID(q), ir.Unsupported)
	}
	if least < ir.UnlimitedBytes {
		for n := range ir.NodeID(g.NumNodes()) {
			if need := alone(g, n); need > least {
				for q := range room {
					if need > room[q] {
						drop(n, q)
					}
				}
			}
		}
	}
	var weights []ir.WeightID
	for id := range ir.GroupID(g.NumGroups()) {
		members := g.Members(id)
		if len(members) < 2 {
			continue
		}
		weights = weights[:0]
		for _, n := range members {
			weights = append(weights, g.Weights(n)...)
		}
		slices.Sort(weights)
		var need int64
		for _, w := range slices.Compact(weights) {
			need += g.WeightBytes(w)
		}
		for q := range room {
			able := need <= room[q]
			for _, n := range members {
				able = able && costs.Of(n, ir.ProcID(q)) != ir.Unsupported
			}
			if !able {
				for _, n := range members {
					drop(n, q)
				}
			}
		}
	}
	if costs == p.Costs {
		return p
	}
	reduced := *p
	reduced.Costs = costs
	return &reduced
}

// alone is what a run needs at least that holds a node.
func alone(g *ir.Graph, n ir.NodeID) int64 {
	var need int64
	for _, w := range g.Weights(n) {
		need += g.WeightBytes(w)
	}
	for _, v := range g.Inputs(n) {
		need += g.ResidentBytes(v)
	}
	for _, v := range g.Outputs(n) {
		need += g.ResidentBytes(v)
	}
	return need
}
