package bound

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// unitGraph is a problem as Labels sees it: units are nodes that must share a
// processor, edges are pairs of units with values between them.
type unitGraph struct {
	p      *ir.Problem
	procs  int
	routes *ir.Routes
	ways   *passages
	chans  []ir.ChannelID // by link
	nchan  int

	unit  []int32 // by node
	units int     // numbered in the order of their first nodes
	cost  []ir.Time
	bytes []float64 // by unit: weights, those of several units in equal parts
	own   [][]flowing
	edges []unitEdge
	known map[[2]int32]int32 // by its units: the edge
	after [][]int32          // by unit: its edges to later units
	prior [][]int32          // by unit: its edges from earlier units
}

// flowing is a value that comes from the caller or goes to it.
type flowing struct {
	value ir.ValueID
	out   bool
	share float64
	way   int32 // of what may come in its stead; -1: nothing
}

// unitEdge is what flows between two units; from is the earlier one.
type unitEdge struct {
	from, to int32
	values   []edgeValue
	apart    []bool // by processor: its memory does not hold the weights of both; nil: none is too small
}

type edgeValue struct {
	value ir.ValueID
	share float64 // of its price: all pairs that it flows between have 1 together
	copy  int32   // its producer, if consumers may hold replicas of that, else -1
	back  bool    // it flows to the earlier unit; units of groups may
	way   int32   // of what may flow in its stead; -1: nothing

	// via, if it is not nil, makes this no flow of its own but a demand: the reader needs what comes of the value by way of nodes that
	// may be replicated, so either the value gets to the reader's processor or one of via does.
	via []ir.ValueID
}

func newUnitGraph(p *ir.Problem) *unitGraph {
	g := p.Graph
	u := &unitGraph{p: p, procs: len(p.Platform.Processors), routes: ir.NewRoutes(p.Platform), unit: make([]int32, g.NumNodes())}
	u.ways = newPassages(p, u.routes)
	var names []string
	u.chans, names = p.Platform.Channels()
	u.nchan = len(names)
	for n := range ir.NodeID(g.NumNodes()) {
		if id := g.Group(n); id != ir.NoGroup && g.Members(id)[0] != n {
			u.unit[n] = u.unit[g.Members(id)[0]]
			continue
		}
		u.unit[n] = int32(u.units)
		u.units++
	}
	u.cost = make([]ir.Time, u.units*u.procs)
	u.bytes = make([]float64, u.units)
	holders := make([]int, g.NumWeights())
	for n := range ir.NodeID(g.NumNodes()) {
		for q, c := range p.Costs.Row(n) {
			at := &u.cost[int(u.unit[n])*u.procs+q]
			if c == ir.Unsupported || *at == ir.Unsupported {
				*at = ir.Unsupported
			} else {
				*at += c
			}
		}
		for _, w := range g.Weights(n) {
			holders[w]++
		}
	}
	for n := range ir.NodeID(g.NumNodes()) {
		for _, w := range g.Weights(n) {
			u.bytes[u.unit[n]] += float64(g.WeightBytes(w)) / float64(holders[w])
		}
	}
	u.findEdges()
	u.keepApart()
	return u
}

// keepApart finds the edges whose ends do not fit into the memory of a processor together.
func (u *unitGraph) keepApart() {
	c := newConflicts(u.p)
	if c == nil {
		return
	}
	first := make([]ir.NodeID, u.units)
	for n := len(u.unit) - 1; n >= 0; n-- {
		first[u.unit[n]] = ir.NodeID(n)
	}
	for i := range u.edges {
		e := &u.edges[i]
		for q := range u.procs {
			if c.keeps(first[e.from], first[e.to], q) {
				if e.apart == nil {
					e.apart = make([]bool, u.procs)
				}
				e.apart[q] = true
			}
		}
	}
}

// rooms is the memory of each processor, within the limit of its device.
func rooms(pf *ir.Platform) []int64 {
	room := make([]int64, len(pf.Processors))
	for q, e := range pf.Processors {
		room[q] = min(e.MemoryBytes, pf.Devices[e.Device].MemoryBytes)
	}
	return room
}

// findEdges gives the price of a value in equal parts to the pairs of its producer's unit and its consumers'. What
// a processor pays for a value, it pays once for all its consumers there: parts that add up to one are no more.
// Families with replicable nodes have two such accounts, each of which is below what any plan pays, and so is what
// lies between them: one of each value by itself, which a replica gives for its own cost, and one of the family.
func (u *unitGraph) findEdges() {
	g := u.p.Graph
	u.own = make([][]flowing, u.units)
	u.after, u.prior = make([][]int32, u.units), make([][]int32, u.units)
	u.known = map[[2]int32]int32{}
	f := newFamilies(g)
	readers := u.readers(f)
	var units []int32
	for v := range ir.ValueID(g.NumValues()) {
		n := g.Producer(v)
		from, original := int32(-1), int32(-1)
		if n != ir.NoNode {
			from = u.unit[n]
			if f.soft[n] {
				original = int32(n)
			}
			if g.IsOutput(v) {
				u.own[from] = append(u.own[from], flowing{v, true, 1, -1})
			}
		}
		whole := 1.0
		if root := f.root(v); len(readers[root]) > 0 {
			whole = singly
			if root == v {
				u.together(f, v, readers[v])
			}
		}
		units = units[:0]
		for _, c := range g.Consumers(v) {
			if r := u.unit[c]; r != from && !slices.Contains(units, r) {
				units = append(units, r)
			}
		}
		for _, r := range units {
			share := whole / float64(len(units))
			if from < 0 {
				u.own[r] = append(u.own[r], flowing{v, false, share, -1})
				continue
			}
			u.connect(from, r, edgeValue{value: v, share: share, copy: original, way: -1})
			if original >= 0 {
				u.demand(f, v, nil, func(w ir.ValueID, via []ir.ValueID) {
					if m := u.unit[g.Producer(w)]; m != r {
						u.connect(m, r, edgeValue{value: w, copy: -1, via: via, way: -1})
					}
				})
			}
		}
	}
}

// singly is the part of a family's price that its values get each by itself.
const singly = 0.5

// connect adds a value to the edge between two units.
func (u *unitGraph) connect(from, to int32, x edgeValue) {
	a, b := min(from, to), max(from, to)
	x.back = from > to
	e, ok := u.known[[2]int32{a, b}]
	if !ok {
		e = int32(len(u.edges))
		u.known[[2]int32{a, b}] = e
		u.edges = append(u.edges, unitEdge{from: a, to: b})
		u.after[a] = append(u.after[a], e)
		u.prior[b] = append(u.prior[b], e)
	}
	u.edges[e].values = append(u.edges[e].values, x)
}

// reader is a unit that reads a member of a family.
type reader struct {
	unit   int32
	member ir.ValueID
	least  int64 // size of what it may send for
	soft   bool  // what reads there is replicable
}

// readers finds, for roots of families with replicable nodes, the units that read members: of the members that a unit
// reads the one that asks for most. Where any of them is no replicable node, those alone count.
func (u *unitGraph) readers(f *families) [][]reader {
	g := u.p.Graph
	all := make([][]reader, g.NumValues())
	large := make([]bool, g.NumValues())
	for v := range all {
		if f.from[v] >= 0 {
			root := f.root(ir.ValueID(v))
			// What replicas make of nothing needs nothing sent.
			large[root] = g.Producer(root) == ir.NoNode || !f.soft[g.Producer(root)]
		}
	}
	for v := range ir.ValueID(g.NumValues()) {
		root := f.root(v)
		if !large[root] {
			continue
		}
		least := f.way(v).sizes[0]
		for _, c := range g.Consumers(v) {
			r := reader{u.unit[c], v, least, f.soft[c]}
			if m := g.Producer(root); m != ir.NoNode && u.unit[m] == r.unit {
				continue
			}
			k := slices.IndexFunc(all[root], func(x reader) bool { return x.unit == r.unit })
			switch {
			case k < 0:
				all[root] = append(all[root], r)
			case all[root][k].soft && !r.soft || all[root][k].soft == r.soft && all[root][k].least < r.least:
				all[root][k] = r
			}
		}
	}
	for root, list := range all {
		if slices.ContainsFunc(list, func(r reader) bool { return !r.soft }) {
			all[root] = slices.DeleteFunc(list, func(r reader) bool { return r.soft })
		}
	}
	return all
}

// together gives the price of a family to the pairs of its root's unit and those of its readers.
func (u *unitGraph) together(f *families, root ir.ValueID, readers []reader) {
	share := (1 - singly) / float64(len(readers))
	for _, r := range readers {
		way := u.ways.add(f.way(r.member))
		if m := u.p.Graph.Producer(root); m != ir.NoNode {
			u.connect(u.unit[m], r.unit, edgeValue{value: root, share: share, copy: -1, way: way})
		} else {
			u.own[r.unit] = append(u.own[r.unit], flowing{root, false, share, way})
		}
	}
}

// mostVia is how many nodes that may be replicated stand between the ends of a demand at most.
const mostVia = 6

// demand finds the values of nodes that are not replicated from which v is made by nodes that may be.
func (u *unitGraph) demand(f *families, v ir.ValueID, via []ir.ValueID, found func(ir.ValueID, []ir.ValueID)) {
	g := u.p.Graph
	if len(via) == mostVia {
		return
	}
	via = append(slices.Clone(via), v)
	for _, w := range g.Inputs(g.Producer(v)) {
		switch n := g.Producer(w); {
		case n == ir.NoNode:
		case f.soft[n]:
			u.demand(f, w, via, found)
		default:
			found(w, via)
		}
	}
}
