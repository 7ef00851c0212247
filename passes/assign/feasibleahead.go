package assign

import (
	"math/bits"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// outlook is what is known of nodes that are not placed.
//
// A value needed in a run comes from that run or from one before it. So the run that owns a node that cannot be copied
// is, or comes before, each run below the node: those that hold nodes which depend on it, through whatever is
// not placed between them. Where one of those comes before all runs of a processor that may have no more, the
// node cannot go there. What may go to one processor only will take memory there, and waits there for what it reads.
type outlook struct {
	before []uint64  // by run: those that come before it
	below  []uint64  // by node that is not placed: runs that hold or will hold what depends on it
	direct []uint64  // by node that is not placed: runs that hold or will hold what reads it
	above  []uint64  // by node that is not placed: homes of nodes on which it depends and that are never copied
	home   []int     // by node: the only run that can own it, -1: not known
	bound  []bool    // by node: only one processor can take it
	why    []nodeSet // by node that is bound: the placed nodes that make it so
	links  []link    // orders of runs that follow from homes
	soon   []int64   // by processor: weights that nodes will bring which can go nowhere else
	lodge  []nodeSet // by processor: why they can go nowhere else
	barred []uint64  // by group: processors that some member cannot go to; of those from 63 on nothing is known
	bars   []nodeSet // by group: why
	found  bool      // something new is known
	mark   int32
	coming []int32 // processor·weights + weight: mark, if soon counts it
}

// link says that a run comes before another because of a node that has its home in the first.
type link struct{ from, to, node int }

func (y *outlook) init(x *feasible) {
	n, procs := len(x.owner), len(x.pf.Processors)
	y.direct = make([]uint64, n)
	y.before, y.below, y.above, y.home, y.bound, y.why = make([]uint64, mostRuns), make([]uint64, n), make([]uint64, n), make([]int, n), make([]bool, n), make([]nodeSet, n)
	y.barred, y.bars = make([]uint64, x.g.NumGroups()), make([]nodeSet, x.g.NumGroups())
	y.soon, y.lodge, y.coming = make([]int64, procs), make([]nodeSet, procs), make([]int32, len(x.on))
}

// ahead checks that the memory that is left can hold the weights that are still to come, and that each node can
// still go somewhere.
func (x *feasible) ahead(c *choice) (conflict nodeSet, ok bool) {
	var free int64
	add := func(sum *int64, more int64) { *sum += min(more, ir.UnlimitedBytes-*sum) }
	for d, e := range x.pf.Devices {
		var room int64
		for q, p := range x.pf.Processors {
			if int(p.Device) == d {
				add(&room, p.MemoryBytes-x.need[q])
			}
		}
		add(&free, min(room, e.MemoryBytes-x.taken(ir.DeviceID(d))))
	}
	if x.open > free {
		return x.placed(c.n), false
	}
	y := &x.outlook
	x.orders()
	y.mark++
	y.links = y.links[:0]
	clear(y.soon)
	clear(y.lodge)
	clear(y.barred)
	clear(y.bars)
	for n := range c.n {
		y.above[n], y.below[n], y.direct[n], y.home[n], y.bound[n] = 0, 0, 0, -1, false
	}
	for y.found = true; y.found; {
		y.found = false
		for n := c.n - 1; n >= 0; n-- {
			x.lookBelow(n)
			if conflict, ok = x.prospect(n); !ok {
				return conflict, false
			}
		}
		if !y.found {
			break
		}
		for n := range c.n {
			x.lookAbove(n)
		}
	}
	return nodeSet{}, true
}

// orders finds which runs come before which.
func (x *feasible) orders() {
	before := x.outlook.before[:len(x.proc)]
	clear(before)
	for changed := true; changed; {
		changed = false
		raise := func(s, t int) {
			if add := before[s] | 1<<s; add&^before[t] != 0 {
				before[t] |= add
				changed = true
			}
		}
		for s, after := range x.after {
			for ; after != 0; after &= after - 1 {
				raise(s, bits.TrailingZeros64(after))
			}
		}
		for q, runs := range x.runs {
			for i := 1; i < len(runs) && !x.loose[q]; i++ {
				raise(runs[i-1], runs[i])
			}
		}
	}
}

// lookBelow finds the runs below a node. It must have been called for all nodes behind n that are not placed.
func (x *feasible) lookBelow(n int) {
	y := &x.outlook
	for _, v := range x.g.Outputs(ir.NodeID(n)) {
		for _, r := range x.g.Consumers(v) {
			switch {
			case x.held[r] != 0:
				y.direct[n] |= x.held[r]
			case y.home[r] >= 0:
				y.direct[n] |= 1 << y.home[r]
				y.below[n] |= y.below[r]
			default:
				y.below[n] |= y.below[r]
			}
		}
	}
	y.below[n] |= y.direct[n]
}

// waiting are the runs before which the run that owns a node must come, unless it is one of them. Where the node may be
// copied, what reads the node may have it from there, and only runs where it cannot be are sure to wait.
func (x *feasible) waiting(n int) uint64 {
	if x.spots[n] == nil {
		return x.outlook.below[n]
	}
	runs := x.outlook.direct[n]
	for rest := runs; rest != 0; rest &= rest - 1 {
		if t := bits.TrailingZeros64(rest); x.spots[n][x.proc[t]] {
			runs &^= 1 << t
		}
	}
	return runs
}

// lookAbove finds the homes above a node. It must have been called for all nodes before n.
func (x *feasible) lookAbove(n int) {
	y := &x.outlook
	for _, v := range x.g.Inputs(ir.NodeID(n)) {
		if p := x.g.Producer(v); p != ir.NoNode {
			y.above[n] |= y.above[p]
			if y.home[p] >= 0 && x.spots[p] == nil {
				y.above[n] |= 1 << y.home[p]
			}
		}
	}
}

// prospect finds out where a node may still go, and what follows if that is one processor.
func (x *feasible) prospect(n int) (conflict nodeSet, ok bool) {
	y, id := &x.outlook, ir.NodeID(n)
	if y.bound[n] {
		if may := y.home[n]; may >= 0 {
			x.link(n, may)
		}
	}
	only, barred, group := -1, uint64(0), x.g.Group(id)
	if group != ir.NoGroup {
		for _, m := range x.g.Members(group) {
			if x.held[m] != 0 {
				only = x.proc[x.owner[m]]
				conflict.add(int(m))
			}
		}
		if only < 0 {
			barred = y.barred[group]
			conflict.unite(y.bars[group])
		}
	}
	may, choices := -1, 0
	for q, cost := range x.p.Costs.Row(id) {
		switch {
		case only >= 0 && q != only || q < 63 && barred>>q&1 == 1:
			continue
		case cost == ir.Unsupported || !x.takes(q, n, &conflict):
			if group != ir.NoGroup && only < 0 && q < 63 {
				y.barred[group] |= 1 << q
				y.found = true
			}
			continue
		}
		may = q
		if choices++; choices > 1 && group == ir.NoGroup {
			return nodeSet{}, true
		}
	}
	if group != ir.NoGroup && only < 0 {
		y.bars[group].unite(conflict)
	}
	switch {
	case choices == 0:
		return conflict, false
	case choices > 1 || y.bound[n]:
		return nodeSet{}, true
	}
	y.bound[n], y.why[n], y.found = true, conflict, true
	for _, w := range x.g.Weights(id) {
		if at := may*len(x.uses) + int(w); x.on[at] == 0 && y.coming[at] != y.mark {
			y.coming[at] = y.mark
			y.soon[may] += x.g.WeightBytes(w)
			y.lodge[may].unite(conflict)
		}
	}
	if len(x.runs[may]) == 1 && x.p.SubmodelLimit(ir.ProcID(may)) == 1 {
		y.home[n] = x.runs[may][0]
		x.link(n, y.home[n])
	}
	return nodeSet{}, true
}

// link records that the home of a node comes before all runs below it.
func (x *feasible) link(n, home int) {
	y := &x.outlook
	for rest := x.waiting(n) &^ (1 << home); rest != 0; rest &= rest - 1 {
		t := bits.TrailingZeros64(rest)
		if y.before[t]>>home&1 == 1 {
			continue
		}
		y.links = append(y.links, link{home, t, n})
		y.found = true
		add := y.before[home] | 1<<home
		for s := range x.proc {
			if s == t || y.before[s]>>t&1 == 1 {
				y.before[s] |= add
			}
		}
	}
}

// takes says whether a processor can still take a node; if not, the reasons join the conflict.
func (x *feasible) takes(q, n int, conflict *nodeSet) bool {
	y, id := &x.outlook, ir.NodeID(n)
	more := y.soon[q]
	for _, w := range x.g.Weights(id) {
		if at := q*len(x.uses) + int(w); x.on[at] == 0 && y.coming[at] != y.mark {
			more += x.g.WeightBytes(w)
		}
	}
	e := &x.pf.Processors[q]
	need := max(x.need[q], x.weights[q]+x.least[n]) + more
	if need > e.MemoryBytes {
		conflict.unite(x.holders(q))
		conflict.unite(y.lodge[q])
		return false
	}
	if limit := x.pf.Devices[e.Device].MemoryBytes; limit < ir.UnlimitedBytes && x.taken(e.Device)-x.need[q]+need > limit {
		conflict.unite(x.lodgers(e.Device))
		conflict.unite(y.lodge[q])
		return false
	}
	limit := x.p.SubmodelLimit(ir.ProcID(q))
	if limit == 0 || len(x.runs[q]) < limit {
		return true
	}
	below := x.waiting(n)
	for _, t := range x.runs[q] {
		if below&^(1<<t)&y.before[t] == 0 && !x.precedes(t, y.above[n]) {
			return true
		}
	}
	if limit > 1 {
		conflict.unite(x.holders(q))
	}
	for _, t := range x.runs[q] {
		if early := below &^ (1 << t) & y.before[t]; early != 0 {
			r := bits.TrailingZeros64(early)
			x.whyBelow(n, r, conflict)
			x.whyBefore(r, t, conflict)
			continue
		}
		for rest := y.above[n] &^ (1 << t); rest != 0; rest &= rest - 1 {
			if h := bits.TrailingZeros64(rest); y.before[h]>>t&1 == 1 {
				x.whyAbove(n, h, conflict)
				x.whyBefore(t, h, conflict)
				break
			}
		}
	}
	return false
}

// precedes says whether a run comes before one of others.
func (x *feasible) precedes(t int, others uint64) bool {
	for rest := others &^ (1 << t); rest != 0; rest &= rest - 1 {
		if x.outlook.before[bits.TrailingZeros64(rest)]>>t&1 == 1 {
			return true
		}
	}
	return false
}

// whyAbove adds why the home of something on which a node depends is a run.
func (x *feasible) whyAbove(n, run int, conflict *nodeSet) {
	y := &x.outlook
	for n >= 0 {
		next := -1
		for _, v := range x.g.Inputs(ir.NodeID(n)) {
			p := x.g.Producer(v)
			if p == ir.NoNode {
				continue
			}
			if y.home[p] == run && x.spots[p] == nil {
				conflict.unite(y.why[p])
				return
			}
			if y.above[p]>>run&1 == 1 {
				next = int(p)
			}
		}
		n = next
	}
}

// whyBelow adds why a run is below a node.
func (x *feasible) whyBelow(n, run int, conflict *nodeSet) {
	y := &x.outlook
	for {
		next := -1
		for _, v := range x.g.Outputs(ir.NodeID(n)) {
			for _, r := range x.g.Consumers(v) {
				switch {
				case x.held[r]>>run&1 == 1:
					conflict.add(int(r))
					return
				case x.held[r] != 0:
				case y.home[r] == run:
					conflict.unite(y.why[r])
					return
				case y.below[r]>>run&1 == 1:
					next = int(r)
				}
			}
		}
		if n = next; n < 0 {
			return
		}
	}
}

// whyBefore adds why a run comes before another.
func (x *feasible) whyBefore(s, t int, conflict *nodeSet) {
	y := &x.outlook
	// A way of the shortest kind: breadth first from s.
	var parent, by [mostRuns]int
	seen := uint64(1) << s
	queue := []int{s}
	visit := func(from, to, node int) {
		if seen>>to&1 == 0 {
			seen |= 1 << to
			parent[to], by[to] = from, node
			queue = append(queue, to)
		}
	}
	const data, order = -1, -2
	for i := 0; i < len(queue) && seen>>t&1 == 0; i++ {
		a := queue[i]
		runs := x.runs[x.proc[a]]
		for k := 1; k < len(runs) && !x.loose[x.proc[a]]; k++ {
			if runs[k-1] == a {
				visit(a, runs[k], order)
			}
		}
		for rest := x.after[a]; rest != 0; rest &= rest - 1 {
			visit(a, bits.TrailingZeros64(rest), data)
		}
		for _, l := range y.links {
			if l.from == a {
				visit(a, l.to, l.node)
			}
		}
	}
	for seen>>t&1 == 1 && t != s {
		from := parent[t]
		switch by[t] {
		case order:
		case data:
			x.witness(from, t, conflict)
		default:
			conflict.unite(y.why[by[t]])
			x.whyBelow(by[t], t, conflict)
		}
		t = from
	}
}
