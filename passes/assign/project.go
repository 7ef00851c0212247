package assign

import (
	"cmp"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Project turns a wish for the processor of every node into legal sub-models:
// nodes in graph order, each into the first sub-model of its processor that keeps
// the sub-models acyclic and the memory held, else the same on the processor
// that runs it fastest of those that can take it. It is nil if it comes to a dead end.
func Project(p *ir.Problem, wish []ir.ProcID) *ir.Plan {
	b := newLegal(p)
	procs := make([]int, len(p.Platform.Processors))
	for n := range ir.NodeID(p.Graph.NumNodes()) {
		row := p.Costs.Row(n)
		for q := range procs {
			procs[q] = q
		}
		slices.SortStableFunc(procs, func(x, y int) int {
			if (x == int(wish[n])) != (y == int(wish[n])) {
				if x == int(wish[n]) {
					return -1
				}
				return 1
			}
			return cmp.Compare(row[x], row[y])
		})
		if !slices.ContainsFunc(procs, func(q int) bool { return row[q] != ir.Unsupported && b.add(n, q) }) {
			return nil
		}
	}
	return b.plan()
}
