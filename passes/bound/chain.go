package bound

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// The bounds of this file know that a sub-model is one blocking run.
//
// Take nodes x₁ < x₂ < … < x_m, each an ancestor of the next: the spine. Trace
// back from a run that holds x_m who made what it needs: that leads to runs that
// hold x_{m-1}, …, x₁, owned or replicas. Either one run holds x_i, x_{i+1} and all
// nodes between them (in the order of the graph), and pays for all of these one
// after the other; or it needs a value of x_i or of a node between them from
// another run, which has then ended. Sub-models form a DAG, so a run that was
// left is not met again, and a processor no more often than it may have sub-models.
//
// So a plan walks along the spine in runs, and dynamic programming over (spine
// node, how many runs each processor had, processor) bounds what that takes:
//
//   - within a run: launch, the first upload, all nodes that it holds. How far a
//     run goes is limited by memory: distinct weights and activations of what it holds.
//   - between runs: the longest path through the nodes between, each of which may
//     choose its processor (Path); and their work: what is between x_i and x_{i+1}
//     runs on some processor after the run of x_i has started, and all but what the
//     run of x_{i+1} itself holds has ended when that starts.
//
// Copies are why the second argument counts from the earliest moment at which any
// run can hold x_i: where x_i is replicated, each part of the work may follow
// another copy of it.

// Sizes of chain bounds.
const (
	chainWork  = 10_000_000 // states times transitions; beyond it runs of the slower processors are not counted
	shareSteps = 24         // steps for the shares of the work between two spine nodes
	pairSteps  = 10         // steps for the shares of two runs side by side
	chainNodes = 30_000_000 // nodes times processors³, at most
)

// Chain bounds the latency or the bottleneck of every plan by the runs that it
// must walk through; the bound of the latency is never below Path. ok is false if
// it proves that there is no plan. Large graphs have the bound of Path, or none. Time is
// linear in edges · processors³, and bounded beside that.
func Chain(p *ir.Problem, objective ir.Objective) (bound ir.Time, ok bool) {
	chains := spines(p, ir.NewRoutes(p.Platform))
	if objective == ir.Latency {
		return latency(p, chains)
	}
	for _, c := range chains {
		b, ok := c.bottleneck()
		if !ok {
			return 0, false
		}
		bound = max(bound, b)
	}
	return bound, true
}

// spines are the one or two chains of a problem that is not too large.
func spines(p *ir.Problem, routes *ir.Routes) []*chain {
	procs := len(p.Platform.Processors)
	if procs == 1 || procs > 64 || p.Graph.NumNodes()*procs*procs*procs > chainNodes {
		return nil
	}
	var chains []*chain
	first, last, inside := longest(p)
	// What does not come of the first node of the longest path, such as a mask that every layer reads, hides the row of layers.
	for _, nodes := range [2][]bool{inside, after(p.Graph, first, inside)} {
		list, block := spine(p.Graph, last, nodes)
		if len(list) > 0 && (len(chains) == 0 || !slices.Equal(list, chains[0].spine)) {
			chains = append(chains, newChain(p, routes, list, block))
		}
	}
	return chains
}

type chain struct {
	ways
	g      *ir.Graph
	procs  int
	limit  []int       // by processor: most sub-models; 0: any number
	spine  []ir.NodeID // ascending
	block  []int32     // by node: i+1 if it is after spine[i-1] and before spine[i]; 0: in no block
	blocks [][]ir.NodeID
	room   []int64

	sum   []ir.Time    // (block·procs + q): cost of its nodes and of the spine node that ends it; MaxTime: not all supported
	reach []int        // (first spine index · procs + q): the last one that a run may hold as well
	least []ir.ValueID // by block: the smallest value that flows in it, -1: none
	hop   []ir.Time    // (block·procs + a)·procs + b: least time from the end of a run on a, before downloads, to the work in one on b
}

func newChain(p *ir.Problem, routes *ir.Routes, list []ir.NodeID, block []int32) *chain {
	c := &chain{ways: ways{p, routes}, g: p.Graph, procs: len(p.Platform.Processors), spine: list, block: block}
	for q := range p.Platform.Processors {
		c.limit = append(c.limit, p.SubmodelLimit(ir.ProcID(q)))
	}
	c.room = rooms(p.Platform)
	c.blocks = make([][]ir.NodeID, len(c.spine))
	for n, b := range c.block {
		if b > 0 {
			c.blocks[b-1] = append(c.blocks[b-1], ir.NodeID(n))
		}
	}
	c.sums()
	c.reaches()
	c.hops()
	return c
}

// longest finds the ends of the longest path in least costs, and all that is before its last node.
func longest(p *ir.Problem) (first, last ir.NodeID, inside []bool) {
	g := p.Graph
	n := g.NumNodes()
	if n == 0 {
		return ir.NoNode, ir.NoNode, nil
	}
	end := make([]ir.Time, n)
	from := make([]ir.NodeID, n)
	for i := range ir.NodeID(n) {
		least := ir.MaxTime
		for _, t := range p.Costs.Row(i) {
			if t != ir.Unsupported {
				least = min(least, t)
			}
		}
		from[i] = i
		for _, v := range g.Inputs(i) {
			if m := g.Producer(v); m != ir.NoNode && (end[m] > end[i] || from[i] == i) {
				end[i], from[i] = end[m], from[m]
			}
		}
		end[i] += least
		if end[i] >= end[last] { // of equal ones the last
			last = i
		}
	}
	inside = make([]bool, n)
	inside[last] = true
	for i := last; i >= 0; i-- {
		if inside[i] {
			for _, v := range g.Inputs(i) {
				if m := g.Producer(v); m != ir.NoNode {
					inside[m] = true
				}
			}
		}
	}
	return from[last], last, inside
}

// after is those of some nodes that come of one.
func after(g *ir.Graph, first ir.NodeID, inside []bool) []bool {
	out := make([]bool, len(inside))
	for i, yes := range inside {
		if out[i] = yes && ir.NodeID(i) == first; !yes {
			continue
		}
		for _, v := range g.Inputs(ir.NodeID(i)) {
			if m := g.Producer(v); m != ir.NoNode {
				out[i] = out[i] || out[m]
			}
		}
	}
	return out
}

// spine finds the nodes that come after or before every other one of some nodes, the last of which is given, and the
// blocks between them: block i holds what is before spine[i] and, if i > 0, after spine[i-1].
func spine(g *ir.Graph, last ir.NodeID, inside []bool) (list []ir.NodeID, block []int32) {
	if len(inside) == 0 {
		return nil, nil
	}
	inside = inside[:last+1]
	count := 0
	for _, yes := range inside {
		if yes {
			count++
		}
	}
	out := func(i ir.NodeID, visit func(ir.NodeID)) {
		for _, v := range g.Outputs(i) {
			for _, m := range g.Consumers(v) {
				visit(m)
			}
		}
	}
	in := func(i ir.NodeID, visit func(ir.NodeID)) {
		for _, v := range g.Inputs(i) {
			if m := g.Producer(v); m != ir.NoNode {
				visit(m)
			}
		}
	}
	forward, backward := loners(inside, count, out, in), loners(inside, count, in, out)
	block = make([]int32, g.NumNodes())
	for i := range ir.NodeID(len(inside)) {
		if !inside[i] {
			continue
		}
		if forward[i] >= 0 && backward[i] >= 0 && int(forward[i]+backward[i]) == count-1 {
			list = append(list, i)
		} else {
			block[i] = int32(len(list)) + 1
		}
	}
	return list, block
}

// loners takes nodes whose predecessors have all been taken. Where only one can be taken, all that is left comes after
// it: the result is how many those are, -1 for other nodes.
func loners(inside []bool, count int, next, before func(ir.NodeID, func(ir.NodeID))) []int32 {
	wait := make([]int32, len(inside))
	after := make([]int32, len(inside))
	var ready []ir.NodeID
	for i := range ir.NodeID(len(inside)) {
		after[i] = -1
		if inside[i] {
			before(i, func(m ir.NodeID) {
				if int(m) < len(inside) && inside[m] {
					wait[i]++
				}
			})
			if wait[i] == 0 {
				ready = append(ready, i)
			}
		}
	}
	for k := 0; k < len(ready); k++ {
		if k == len(ready)-1 {
			after[ready[k]] = int32(count - k - 1)
		}
		next(ready[k], func(m ir.NodeID) {
			if int(m) < len(inside) && inside[m] {
				if wait[m]--; wait[m] == 0 {
					ready = append(ready, m)
				}
			}
		})
	}
	return after
}

func (c *chain) sums() {
	c.sum = make([]ir.Time, len(c.spine)*c.procs)
	add := func(row []ir.Time, n ir.NodeID) {
		for q, t := range c.p.Costs.Row(n) {
			if t == ir.Unsupported || row[q] == ir.MaxTime {
				row[q] = ir.MaxTime
			} else {
				row[q] += t
			}
		}
	}
	for i, x := range c.spine {
		row := c.sum[i*c.procs : (i+1)*c.procs]
		for _, n := range c.blocks[i] {
			add(row, n)
		}
		add(row, x)
	}
}

// stays says whether a value is read in a block or by the spine node that ends it.
func (c *chain) stays(v ir.ValueID, i int) bool {
	for _, r := range c.g.Consumers(v) {
		if r == c.spine[i] || c.block[r] == int32(i+1) {
			return true
		}
	}
	return false
}

// hops finds the cheapest value of each block, with the spine node before it, for every pair of processors.
func (c *chain) hops() {
	p := c.procs
	c.hop = make([]ir.Time, len(c.spine)*p*p)
	for i := range c.spine {
		row := c.hop[i*p*p : (i+1)*p*p]
		for k := range row {
			row[k] = ir.MaxTime
		}
		// Only the least value of each size matters, and times grow with sizes.
		least := int64(-1)
		var cheapest ir.ValueID
		consider := func(n ir.NodeID) {
			for _, v := range c.g.Outputs(n) {
				if size := c.g.Bytes(v); (least < 0 || size < least) && c.stays(v, i) {
					least, cheapest = size, v
				}
			}
		}
		if i > 0 {
			consider(c.spine[i-1])
		}
		for _, n := range c.blocks[i] {
			consider(n)
		}
		c.least = append(c.least, cheapest)
		if least < 0 {
			c.least[i] = -1
			continue
		}
		for a := range p {
			for b := range p {
				if a != b {
					row[a*p+b] = c.between(cheapest, ir.ProcID(a), ir.ProcID(b))
				} else if c.limit[b] != 1 {
					row[a*p+b] = c.p.Platform.Processors[b].Launch
				}
			}
		}
	}
}

// reaches finds how far a run that holds a spine node can go on, by memory and by what its processor supports.
func (c *chain) reaches() {
	m := len(c.spine)
	c.reach = make([]int, m*c.procs)
	f := newHolding(c.g)
	for q := range c.procs {
		far := -1 // what one start reaches, every later one does
		for i := range m {
			at := &c.reach[i*c.procs+q]
			if c.p.Costs.Of(c.spine[i], ir.ProcID(q)) == ir.Unsupported {
				*at = i - 1
				continue
			}
			hi := i // by support
			for hi+1 < m && c.sum[(hi+1)*c.procs+q] < ir.MaxTime {
				hi++
			}
			if c.room[q] == ir.UnlimitedBytes {
				*at = hi
				continue
			}
			lo := i - 1
			if far >= i {
				lo = min(far, hi)
			}
			for lo < hi {
				mid := lo + (hi-lo+1)/2
				if f.need(c.held(i, mid)) <= c.room[q] {
					lo = mid
				} else {
					hi = mid - 1
				}
			}
			far = lo
			*at = lo
		}
	}
}

// held are the nodes of a run from spine node i to k, ascending.
func (c *chain) held(i, k int) []ir.NodeID {
	list := []ir.NodeID{c.spine[i]}
	for b := i + 1; b <= k; b++ {
		list = append(append(list, c.blocks[b]...), c.spine[b])
	}
	slices.Sort(list)
	return list
}

// holding measures what runs need at least that hold some nodes; marks spare it clearing its tables.
type holding struct {
	g    *ir.Graph
	mark int32
	seen []int32     // by weight
	used []int32     // by value: read by one of the nodes
	made []int32     // by value: made by one of them, or met as an outside input
	last []ir.NodeID // by value: its last reader among the nodes
}

func newHolding(g *ir.Graph) *holding {
	values := g.NumValues()
	return &holding{g: g, seen: make([]int32, g.NumWeights()), used: make([]int32, values), last: make([]ir.NodeID, values), made: make([]int32, values)}
}

// need is the distinct weights of the nodes and the most that values between them, with the inputs and outputs of the node
// that runs, take at once.
func (h *holding) need(nodes []ir.NodeID) int64 {
	g := h.g
	h.mark++
	var weights, live, peak int64
	for _, n := range nodes {
		for _, w := range g.Weights(n) {
			if h.seen[w] != h.mark {
				h.seen[w] = h.mark
				weights += g.WeightBytes(w)
			}
		}
		for _, v := range g.Inputs(n) {
			h.used[v], h.last[v] = h.mark, n
		}
		for _, v := range g.Outputs(n) {
			h.made[v] = h.mark
		}
	}
	for _, n := range nodes {
		// What others make is live from its first use on, at the latest.
		for _, v := range g.Inputs(n) {
			if h.made[v] != h.mark {
				h.made[v] = h.mark
				live += g.ResidentBytes(v)
			}
		}
		for _, v := range g.Outputs(n) {
			live += g.ResidentBytes(v)
		}
		peak = max(peak, live)
		for _, v := range g.Inputs(n) {
			if h.last[v] == n {
				live -= g.ResidentBytes(v)
			}
		}
		for _, v := range g.Outputs(n) {
			if h.used[v] != h.mark {
				live -= g.ResidentBytes(v)
			}
		}
	}
	return weights + peak
}
