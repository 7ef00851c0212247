package assign

import (
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// check says whether what is placed, node n the last, may become a plan, and if not, which nodes are why.
func (x *feasible) check(c *choice) (conflict nodeSet, ok bool) {
	for _, step := range []func(*choice) (nodeSet, bool){x.travels, x.grouped, x.acyclic, x.fits, x.ahead} {
		if conflict, ok = step(c); !ok {
			return conflict, false
		}
	}
	return conflict, true
}

// travels checks that links lead wherever the node's values must go.
func (x *feasible) travels(c *choice) (conflict nodeSet, ok bool) {
	id := ir.NodeID(c.n)
	conflict.add(c.n)
	home := x.device(x.owner[c.n])
	for _, v := range x.g.Inputs(id) {
		for rest := x.held[c.n]; rest != 0 && x.g.IsInput(v); rest &= rest - 1 {
			if !x.way(x.pf.Source, x.device(bits.TrailingZeros64(rest))) {
				return conflict, false
			}
		}
	}
	for _, v := range x.g.Outputs(id) {
		if x.g.IsOutput(v) && x.pf.Sink != ir.NoDevice && !x.way(home, x.pf.Sink) {
			return conflict, false
		}
	}
	for rest := c.wanted &^ x.held[c.n]; rest != 0; rest &= rest - 1 {
		if t := bits.TrailingZeros64(rest); !x.way(home, x.device(t)) {
			conflict.add(x.reader(c.n, t))
			return conflict, false
		}
	}
	return conflict, true
}

// reader is a node in a run that reads an output of another node.
func (x *feasible) reader(n, run int) int {
	for _, v := range x.g.Outputs(ir.NodeID(n)) {
		for _, r := range x.g.Consumers(v) {
			if x.held[r]>>run&1 == 1 {
				return int(r)
			}
		}
	}
	return n
}

// grouped checks that groups are copied as a whole.
func (x *feasible) grouped(c *choice) (conflict nodeSet, ok bool) {
	if !c.grouped {
		return conflict, true
	}
	every, copied := ^uint64(0), uint64(0)
	for _, m := range x.g.Members(x.g.Group(ir.NodeID(c.n))) {
		if int(m) >= c.n {
			every &= x.held[m]
			copied |= x.held[m] &^ (1 << x.owner[m])
		}
	}
	return x.partners(c.n), copied&^every == 0
}

// acyclic checks that no run waits for itself. Only a way through the run that owns the node can be new.
func (x *feasible) acyclic(c *choice) (conflict nodeSet, ok bool) {
	from := x.owner[c.n]
	var parent [mostRuns]int8
	seen := uint64(0)
	stack := make([]int, 0, mostRuns)
	visit := func(t, next int) {
		if seen>>next&1 == 0 {
			seen |= 1 << next
			parent[next] = int8(t)
			stack = append(stack, next)
		}
	}
	visitAll := func(t int) {
		for rest := x.after[t]; rest != 0; rest &= rest - 1 {
			visit(t, bits.TrailingZeros64(rest))
		}
		runs := x.runs[x.proc[t]]
		if i := slices.Index(runs, t) + 1; i < len(runs) && !x.loose[x.proc[t]] {
			visit(t, runs[i])
		}
	}
	for visitAll(from); len(stack) > 0 && seen>>from&1 == 0; {
		t := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		visitAll(t)
	}
	if seen>>from&1 == 0 {
		return conflict, true
	}
	conflict.add(c.n)
	for t := from; ; {
		s := int(parent[t])
		if x.after[s]>>t&1 == 1 {
			x.witness(s, t, &conflict)
		}
		if t = s; t == from {
			return conflict, false
		}
	}
}

// witness adds an edge between two nodes for which run t waits for run s.
func (x *feasible) witness(s, t int, conflict *nodeSet) {
	for n, o := range x.owner {
		if o == s && x.held[n]>>s&1 == 1 && x.held[n]>>t&1 == 0 {
			if r := x.reader(n, t); r != n {
				conflict.add(n)
				conflict.add(r)
				return
			}
		}
	}
}

// fits measures the processors that the node has changed.
func (x *feasible) fits(c *choice) (conflict nodeSet, ok bool) {
	var measured [mostRuns]int
	procs := measured[:0]
	for rest := x.held[c.n] | c.wanted; rest != 0; rest &= rest - 1 {
		if q := x.proc[bits.TrailingZeros64(rest)]; !slices.Contains(procs, q) {
			procs = append(procs, q)
			x.weights[q], x.need[q] = x.measure(q)
		}
	}
	for _, q := range procs {
		e := &x.pf.Processors[q]
		if x.need[q] > e.MemoryBytes {
			return x.holders(q), false
		}
		if x.taken(e.Device) > x.pf.Devices[e.Device].MemoryBytes {
			return x.lodgers(e.Device), false
		}
	}
	return conflict, true
}

// taken is the memory of a device that its processors need.
func (x *feasible) taken(d ir.DeviceID) (sum int64) {
	for q, e := range x.pf.Processors {
		if e.Device == d {
			sum += x.need[q]
		}
	}
	return sum
}

// lodgers are the nodes on which the memory of a device depends.
func (x *feasible) lodgers(d ir.DeviceID) (all nodeSet) {
	for q, e := range x.pf.Processors {
		if e.Device == d {
			all.unite(x.holders(q))
		}
	}
	return all
}

// holders are the nodes on which the memory of a processor depends: what it holds, and its neighbours.
func (x *feasible) holders(q int) (all nodeSet) {
	var mine uint64
	for _, t := range x.runs[q] {
		mine |= 1 << t
	}
	for n, held := range x.held {
		if held&mine == 0 {
			continue
		}
		all.add(n)
		for _, v := range x.g.Inputs(ir.NodeID(n)) {
			if m := x.g.Producer(v); m != ir.NoNode && x.held[m] != 0 {
				all.add(int(m))
			}
		}
		for _, v := range x.g.Outputs(ir.NodeID(n)) {
			for _, r := range x.g.Consumers(v) {
				all.add(int(r))
			}
		}
	}
	return all
}

// gauge is what measuring needs. The tables carry marks, so nothing is cleared between uses.
type gauge struct {
	mark    int32
	nodes   [mostRuns][]int // by position of a run: what it holds, ascending
	needs   [mostRuns][]ir.ValueID
	seen    []int32 // by value: mark of the run that reads it
	lastUse []int   // by value: node, where seen carries the mark
	kept    []int32 // by value: mark of the run that keeps it to its end
	weight  []int32 // by weight
	last    []int   // by value: position of the last run that needs it, where lastOf carries the mark of the processor
	lastOf  []int32
	in      []int32 // by value: mark of the processor in whose memory it stays
	present []ir.ValueID
}

func (y *gauge) init(g *ir.Graph) {
	n := g.NumValues()
	y.seen, y.kept, y.lastOf, y.in = make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
	y.lastUse, y.last = make([]int, n), make([]int, n)
	y.weight = make([]int32, g.NumWeights())
}

// measure is the least memory of a processor for all plans that agree with what is placed, and the weights in it. A
// value whose producer is not placed is live at all nodes up to its last use, whether it will come from outside or
// from a node of the run, for that stands before all of them. Between two runs it stays unless one may yet
// make a copy of it.
func (x *feasible) measure(q int) (weights, need int64) {
	y, g := &x.gauge, x.g
	y.mark++
	whole := y.mark
	runs := x.runs[q]
	for i, t := range runs {
		y.mark++
		y.nodes[i], y.needs[i] = y.nodes[i][:0], y.needs[i][:0]
		for n, held := range x.held {
			if held>>t&1 == 0 {
				continue
			}
			y.nodes[i] = append(y.nodes[i], n)
			for _, v := range g.Inputs(ir.NodeID(n)) {
				p := g.Producer(v)
				if y.seen[v] == y.mark || p != ir.NoNode && x.held[p]>>t&1 == 1 {
					continue
				}
				y.seen[v] = y.mark
				y.needs[i] = append(y.needs[i], v)
				if p == ir.NoNode || x.held[p] != 0 || !g.Replicable(p) {
					y.last[v], y.lastOf[v] = i, whole
				}
			}
		}
	}
	var peak, stay int64
	y.present = y.present[:0]
	for i, t := range runs {
		later := func(v ir.ValueID) bool { return y.lastOf[v] == whole && y.last[v] > i }
		y.mark++
		var live int64
		other := stay
		for _, n := range y.nodes[i] {
			for _, v := range g.Inputs(ir.NodeID(n)) {
				y.lastUse[v], y.seen[v] = n, y.mark
			}
			for _, w := range g.Weights(ir.NodeID(n)) {
				if y.weight[w] != y.mark {
					y.weight[w] = y.mark
					weights += g.WeightBytes(w)
				}
			}
		}
		for _, v := range y.needs[i] {
			live += g.ResidentBytes(v)
			if later(v) {
				y.kept[v] = y.mark
			}
			if y.in[v] == whole {
				other -= g.ResidentBytes(v)
			}
		}
		most := live
		for _, n := range y.nodes[i] {
			outs := g.Outputs(ir.NodeID(n))
			for _, v := range outs {
				live += g.ResidentBytes(v)
				if x.owner[n] == t && x.leaves(n, v) {
					y.kept[v] = y.mark
				}
			}
			most = max(most, live)
			for _, v := range g.Inputs(ir.NodeID(n)) {
				if y.lastUse[v] == n && y.kept[v] != y.mark {
					live -= g.ResidentBytes(v)
				}
			}
			for _, v := range outs {
				if y.seen[v] != y.mark && y.kept[v] != y.mark {
					live -= g.ResidentBytes(v)
				}
			}
		}
		peak = max(peak, most+other)
		enter := func(v ir.ValueID) {
			if y.in[v] != whole && later(v) {
				y.in[v] = whole
				y.present = append(y.present, v)
				stay += g.ResidentBytes(v)
			}
		}
		for _, v := range y.needs[i] {
			enter(v)
		}
		for _, n := range y.nodes[i] {
			if x.owner[n] == t {
				for _, v := range g.Outputs(ir.NodeID(n)) {
					enter(v)
				}
			}
		}
		left := y.present[:0]
		for _, v := range y.present {
			if later(v) {
				left = append(left, v)
			} else {
				y.in[v] = 0
				stay -= g.ResidentBytes(v)
			}
		}
		y.present = left
	}
	return weights, weights + peak
}

// leaves says whether an output is needed outside the run that owns the node.
func (x *feasible) leaves(n int, v ir.ValueID) bool {
	if x.g.IsOutput(v) {
		return true
	}
	for _, r := range x.g.Consumers(v) {
		if x.held[r]&^x.held[n] != 0 {
			return true
		}
	}
	return false
}
