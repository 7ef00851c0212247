package assign

import "github.com/dnnsplit/dnnsplit/compiler/ir"

// Segments measures segments of the node order: what a sub-model of consecutive nodes needs on a processor that has
// no other.
type Segments struct {
	p    *ir.Problem
	g    *ir.Graph
	ends []ir.NodeID // by ValueID: its last consumer, NoNode if none; beyond the last node if it is an output
	cut  []bool      // by NodeID: a segment may end before the node, no group straddles it

	mark int32
	seen []int32     // by WeightID
	used []ir.NodeID // by ValueID: scratch of an outside value's last use in the segment
}

// NewSegments prepares for the segments of a problem.
func NewSegments(p *ir.Problem) *Segments {
	g := p.Graph
	f := &Segments{p: p, g: g, seen: make([]int32, g.NumWeights()), used: make([]ir.NodeID, g.NumValues())}
	f.ends = make([]ir.NodeID, g.NumValues())
	for v := range f.ends {
		id := ir.ValueID(v)
		f.ends[v] = ir.NoNode
		if c := g.Consumers(id); len(c) > 0 {
			f.ends[v] = c[len(c)-1]
		}
		if g.IsOutput(id) {
			f.ends[v] = ir.NodeID(g.NumNodes())
		}
	}
	open := make([]int32, g.NumNodes()+1)
	for i := range g.NumGroups() {
		m := g.Members(ir.GroupID(i))
		if len(m) > 1 {
			open[m[0]+1]++
			open[m[len(m)-1]+1]--
		}
	}
	f.cut = make([]bool, g.NumNodes()+1)
	for n, depth := 0, int32(0); n <= g.NumNodes(); n++ {
		depth += open[n]
		f.cut[n] = depth == 0
	}
	return f
}

// MayCut says whether a segment may start at a node: no group lies on both sides.
func (f *Segments) MayCut(n ir.NodeID) bool { return f.cut[n] }

// Extend is the furthest end of a segment that starts at a, runs on q and fits
// into limit, and what it needs.
func (f *Segments) Extend(a ir.NodeID, q ir.ProcID, limit int64) (end ir.NodeID, need int64) {
	most := a
	for int(most) < f.g.NumNodes() && f.p.Costs.Of(most, q) != ir.Unsupported {
		most++
	}
	lo, hi := a, most // lo fits
	for lo < hi {
		mid := hi - (hi-lo)/2
		if f.Measure(a, mid) <= limit {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	for lo > a && !f.cut[lo] {
		lo--
	}
	return lo, f.Measure(a, lo)
}

// Measure is the memory of the segment [a, b): its distinct weights and the peak
// of its activations. It counts graph inputs and what earlier nodes make as
// outside values, live from the start to their last use.
func (f *Segments) Measure(a, b ir.NodeID) int64 {
	if a >= b {
		return 0
	}
	g := f.g
	f.mark++
	var weights, live int64
	for n := a; n < b; n++ {
		for _, w := range g.Weights(n) {
			if f.seen[w] != f.mark {
				f.seen[w] = f.mark
				weights += g.WeightBytes(w)
			}
		}
		for _, v := range g.Inputs(n) {
			if g.Producer(v) < a {
				if f.used[v] == 0 {
					live += g.ResidentBytes(v)
				}
				f.used[v] = n + 1
			}
		}
	}
	peak := live
	for n := a; n < b; n++ {
		for _, v := range g.Outputs(n) {
			live += g.ResidentBytes(v)
		}
		peak = max(peak, live)
		for _, v := range g.Inputs(n) {
			if outside := g.Producer(v) < a; outside && f.used[v] == n+1 || !outside && f.ends[v] == n {
				live -= g.ResidentBytes(v)
				f.used[v] = 0
			}
		}
		for _, v := range g.Outputs(n) {
			if f.ends[v] == ir.NoNode {
				live -= g.ResidentBytes(v)
			}
		}
	}
	return weights + peak
}
