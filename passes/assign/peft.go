package assign

import (
	"context"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// PEFTNodes is the most nodes of a graph that PEFT schedules: with more, its table of nodes and processors takes memory
// and time that a search makes better use of.
const PEFTNodes = 200_000

// PEFT is the schedule with predicted earliest finish times (Arabnejad and
// Barbosa, IEEE Transactions on Parallel and Distributed Systems 25(3), 2014). A
// table says for each node and processor how long all that comes after the node
// takes at least if processors were never busy; nodes go by the mean of their
// row, of those that are ready, each to the processor where the sum of its finish
// and of the table's entry is least; projected onto legal sub-models as HEFT's. It
// is nil if the projection comes to a dead end, if there are more than PEFTNodes
// nodes, or when the context ends.
func PEFT(ctx context.Context, p *ir.Problem) *ir.Plan {
	g := p.Graph
	n := g.NumNodes()
	if n > PEFTNodes {
		return nil
	}
	l := newList(p)
	table := l.optimistic()
	rank := make([]float64, n)
	waits := make([]int32, n) // inputs whose producers have not been placed
	ready := readyHeap{rank: rank}
	for i := range ir.NodeID(n) {
		able := 0
		for q, c := range p.Costs.Row(i) {
			if c != ir.Unsupported {
				rank[i] += float64(table[int(i)*l.procs+q])
				able++
			}
		}
		rank[i] /= float64(max(1, able))
		for _, v := range g.Inputs(i) {
			if g.Producer(v) != ir.NoNode {
				waits[i]++
			}
		}
		if waits[i] == 0 {
			ready.push(i)
		}
	}
	for placed := 0; len(ready.nodes) > 0; placed++ {
		if placed%lookEvery == 0 && ctx.Err() != nil {
			return nil
		}
		i := ready.pop()
		best, proc, from := ir.MaxTime, ir.NoProc, ir.Time(0)
		for q, cost := range p.Costs.Row(i) {
			more := l.groupCost(i, ir.ProcID(q))
			if cost == ir.Unsupported || more == ir.Unsupported {
				continue
			}
			if at := l.ready(i, ir.ProcID(q)); at < ir.MaxTime {
				at = l.busy[q].gap(at, cost)
				end := min(ir.MaxTime, at+cost+more)
				if end = min(ir.MaxTime, end+table[int(i)*l.procs+q]); end < best {
					best, proc, from = end, ir.ProcID(q), at
				}
			}
		}
		if proc == ir.NoProc {
			return nil
		}
		l.put(i, proc, from)
		for _, v := range g.Outputs(i) {
			for _, r := range g.Consumers(v) {
				if waits[r]--; waits[r] == 0 {
					ready.push(r)
				}
			}
		}
	}
	return l.project(ctx)
}

// optimistic is the table of optimistic costs: by node, then processor, the longest of the least times from the end of
// the node there to the end of an exit, with mean ways between two processors. It counts no node that cannot run.
func (l *list) optimistic() []ir.Time {
	g := l.p.Graph
	table := make([]ir.Time, g.NumNodes()*l.procs)
	way := l.meanWay()
	for n := ir.NodeID(g.NumNodes() - 1); n >= 0; n-- {
		row := table[int(n)*l.procs : (int(n)+1)*l.procs]
		for _, v := range g.Outputs(n) {
			comm := ir.Time(way(v))
			for _, r := range g.Consumers(v) {
				costs, after := l.p.Costs.Row(r), table[int(r)*l.procs:]
				least := ir.MaxTime
				for q, c := range costs {
					if c != ir.Unsupported {
						least = min(least, c+after[q]+comm)
					}
				}
				for q, c := range costs {
					t := least
					if c != ir.Unsupported {
						t = min(t, c+after[q])
					}
					if t < ir.MaxTime {
						row[q] = max(row[q], t)
					}
				}
			}
		}
	}
	return table
}

// readyHeap yields nodes by falling rank, then in graph order.
type readyHeap struct {
	rank  []float64
	nodes []ir.NodeID
}

func (h *readyHeap) less(a, b ir.NodeID) bool {
	return h.rank[a] > h.rank[b] || h.rank[a] == h.rank[b] && a < b
}

func (h *readyHeap) push(n ir.NodeID) {
	h.nodes = append(h.nodes, n)
	for i := len(h.nodes) - 1; i > 0 && h.less(h.nodes[i], h.nodes[(i-1)/2]); i = (i - 1) / 2 {
		h.nodes[i], h.nodes[(i-1)/2] = h.nodes[(i-1)/2], h.nodes[i]
	}
}

func (h *readyHeap) pop() ir.NodeID {
	top, last := h.nodes[0], len(h.nodes)-1
	h.nodes[0] = h.nodes[last]
	h.nodes = h.nodes[:last]
	for i := 0; ; {
		k := 2*i + 1
		if k >= last {
			break
		}
		if k+1 < last && h.less(h.nodes[k+1], h.nodes[k]) {
			k++
		}
		if !h.less(h.nodes[k], h.nodes[i]) {
			break
		}
		h.nodes[i], h.nodes[k] = h.nodes[k], h.nodes[i]
		i = k
	}
	return top
}
