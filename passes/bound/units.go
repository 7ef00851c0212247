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
	chans  []ir.ChannelID // by link
	nchan  int

	unit  []int32 // by node
	units int     // numbered in the order of their first nodes
	cost  []ir.Time
	bytes []float64 // by unit: weights, those of several units in equal parts
	own   [][]flowing
	edges []unitEdge
	after [][]int32 // by unit: its edges to later units
	prior [][]int32 // by unit: its edges from earlier units
}

// flowing is a value that comes from the caller or goes to it.
type flowing struct {
	value ir.ValueID
	out   bool
	share float64
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

	// via, if it is not nil, makes this no flow of its own but a demand: the reader needs what comes of the value by way of nodes that
	// may be replicated, so either the value gets to the reader's processor or one of via does.
	via []ir.ValueID
}

func newUnitGraph(p *ir.Problem) *unitGraph {
	g := p.Graph
	u := &unitGraph{p: p, procs: len(p.Platform.Processors), routes: ir.NewRoutes(p.Platform), unit: make([]int32, g.NumNodes())}
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
func (u *unitGraph) findEdges() {
	g := u.p.Graph
	u.own = make([][]flowing, u.units)
	u.after, u.prior = make([][]int32, u.units), make([][]int32, u.units)
	known := map[[2]int32]int32{}
	add := func(from, to int32, x edgeValue) {
		a, b := min(from, to), max(from, to)
		e, ok := known[[2]int32{a, b}]
		if !ok {
			e = int32(len(u.edges))
			known[[2]int32{a, b}] = e
			u.edges = append(u.edges, unitEdge{from: a, to: b})
			u.after[a] = append(u.after[a], e)
			u.prior[b] = append(u.prior[b], e)
		}
		u.edges[e].values = append(u.edges[e].values, x)
	}
	var readers []int32
	for v := range ir.ValueID(g.NumValues()) {
		from, original := int32(-1), int32(-1)
		if n := g.Producer(v); n != ir.NoNode {
			from = u.unit[n]
			if g.Replicable(n) {
				original = int32(n)
			}
			if g.IsOutput(v) {
				u.own[from] = append(u.own[from], flowing{v, true, 1})
			}
		}
		readers = readers[:0]
		for _, c := range g.Consumers(v) {
			if r := u.unit[c]; r != from && !slices.Contains(readers, r) {
				readers = append(readers, r)
			}
		}
		for _, r := range readers {
			share := 1 / float64(len(readers))
			if from < 0 {
				u.own[r] = append(u.own[r], flowing{v, false, share})
				continue
			}
			add(from, r, edgeValue{value: v, share: share, copy: original, back: from > r})
			if original >= 0 {
				u.demand(v, nil, func(w ir.ValueID, via []ir.ValueID) {
					if m := u.unit[g.Producer(w)]; m != r {
						add(m, r, edgeValue{value: w, copy: -1, back: m > r, via: via})
					}
				})
			}
		}
	}
}

// mostVia is how many nodes that may be replicated stand between the ends of a demand at most.
const mostVia = 6

// demand finds the values of nodes that are not replicated from which v is made by nodes that may be.
func (u *unitGraph) demand(v ir.ValueID, via []ir.ValueID, found func(ir.ValueID, []ir.ValueID)) {
	g := u.p.Graph
	if len(via) == mostVia {
		return
	}
	via = append(slices.Clone(via), v)
	for _, w := range g.Inputs(g.Producer(v)) {
		switch n := g.Producer(w); {
		case n == ir.NoNode:
		case g.Replicable(n):
			u.demand(w, via, found)
		default:
			found(w, via)
		}
	}
}
