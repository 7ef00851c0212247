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
	home   []int     // by node: the only run that can own it, -1: not known
	why    []nodeSet // by node that has a home, or at least only one processor: the placed nodes that make it so
	links  []link    // orders of runs that follow from homes
	soon   []int64   // by processor: weights that nodes will bring which can go nowhere else
	lodge  []nodeSet // by processor: why they can go nowhere else
	mark   int32
	coming []int32 // processor·weights + weight: mark, if soon counts it
}

// link says that a run comes before another because of a node that has its home in the first.
type link struct{ from, to, node int }

func (y *outlook) init(x *feasible) {
	n, procs := len(x.owner), len(x.pf.Processors)
	y.before, y.below, y.home, y.why = make([]uint64, mostRuns), make([]uint64, n), make([]int, n), make([]nodeSet, n)
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
	for n := c.n - 1; n >= 0; n-- {
		if conflict, ok = x.prospect(n); !ok {
			return conflict, false
		}
	}
	return conflict, true
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
		for _, runs := range x.runs {
			for i := 1; i < len(runs); i++ {
				raise(runs[i-1], runs[i])
			}
		}
	}
}

// prospect finds out where a node may still go, and what follows if that is one processor. It must have been called
// for all nodes behind n that are not placed.
func (x *feasible) prospect(n int) (conflict nodeSet, ok bool) {
	y, id := &x.outlook, ir.NodeID(n)
	y.below[n], y.home[n] = 0, -1
	for _, v := range x.g.Outputs(id) {
		for _, r := range x.g.Consumers(v) {
			switch {
			case x.held[r] != 0:
				y.below[n] |= x.held[r]
			case y.home[r] >= 0:
				y.below[n] |= y.below[r] | 1<<y.home[r]
			default:
				y.below[n] |= y.below[r]
			}
		}
	}
	only := -1
	if k := x.g.Group(id); k != ir.NoGroup {
		for _, m := range x.g.Members(k) {
			if x.held[m] != 0 {
				only = x.proc[x.owner[m]]
				conflict.add(int(m))
			}
		}
	}
	may, choices := -1, 0
	for q, cost := range x.p.Costs.Row(id) {
		if cost == ir.Unsupported || only >= 0 && q != only || !x.takes(q, n, &conflict) {
			continue
		}
		may = q
		if choices++; choices > 1 {
			return nodeSet{}, true
		}
	}
	if choices == 0 {
		return conflict, false
	}
	y.why[n] = conflict
	for _, w := range x.g.Weights(id) {
		if at := may*len(x.uses) + int(w); x.on[at] == 0 && y.coming[at] != y.mark {
			y.coming[at] = y.mark
			y.soon[may] += x.g.WeightBytes(w)
			y.lodge[may].unite(conflict)
		}
	}
	if len(x.runs[may]) == 1 && x.p.SubmodelLimit(ir.ProcID(may)) == 1 {
		y.home[n] = x.runs[may][0]
		if !x.g.Replicable(id) {
			x.link(n, y.home[n])
		}
	}
	return nodeSet{}, true
}

// link records that the home of a node comes before all runs below it.
func (x *feasible) link(n, home int) {
	y := &x.outlook
	for rest := y.below[n] &^ (1 << home); rest != 0; rest &= rest - 1 {
		t := bits.TrailingZeros64(rest)
		if y.before[t]>>home&1 == 1 {
			continue
		}
		y.links = append(y.links, link{home, t, n})
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
	if limit == 0 || len(x.runs[q]) < limit || x.g.Replicable(id) {
		return true
	}
	for _, t := range x.runs[q] {
		if y.below[n]&^(1<<t)&y.before[t] == 0 {
			return true
		}
	}
	if limit > 1 {
		conflict.unite(x.holders(q))
	}
	for _, t := range x.runs[q] {
		r := bits.TrailingZeros64(y.below[n] &^ (1 << t) & y.before[t])
		x.whyBelow(n, r, conflict)
		x.whyBefore(r, t, conflict)
	}
	return false
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
		for k := 1; k < len(runs); k++ {
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
