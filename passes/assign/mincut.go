package assign

import (
	"cmp"
	"context"
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/partition"
)

// MinCutNodes is the most nodes of a graph that MinCut cuts: beyond it the cuts would take longer than a search.
const MinCutNodes = 120_000

// Sizes of minimum cuts, whose time grows faster than the graph: larger graphs are contracted first.
const (
	cutWhole = 4000   // nodes up to which a graph is cut as it is
	cutUnits = 2000   // units that larger ones are gathered into
	cutPairs = 20_000 // nodes from which on the two ablest processors alone are tried
)

// MinCut is the best of plans on two processors that minimum cuts give: the cut
// that pays least for running every node on its side and for every value that
// crosses (Stone, IEEE Transactions on Software Engineering SE-3(1), 1977). One
// side comes wholly before the other, so each processor has one sub-model and the
// plan is legal; both orders are tried, and for throughput several weights of the
// sides. With more than two processors it tries pairs of those that support
// most in the least time. Memory is looked at when the cut has been made: nil if
// no cut fits, or if the graph has more than MinCutNodes nodes. Beyond cutWhole nodes the cut is the least of those that
// keep units together, as partition.Coarsen gathers them. It is nil too when the context ends.
func MinCut(ctx context.Context, p *ir.Problem, objective ir.Objective) *ir.Plan {
	const ample = 300 // nodes up to which all weights are tried
	mostProcs := 4
	n := p.Graph.NumNodes()
	if n > cutPairs {
		mostProcs = 2
	}
	if n > MinCutNodes || n == 0 {
		return nil
	}
	weights := []int64{weighOnce}
	if objective == ir.Throughput {
		weights = []int64{weighOnce / 2, weighOnce / 4, weighOnce * 3 / 4}
		if n <= ample {
			weights = append(weights, weighOnce/8, weighOnce*7/8, weighOnce*3/8, weighOnce*5/8)
		}
	}
	c := newCut(p)
	c.ended = func() bool { return ctx.Err() != nil }
	procs := c.ablest(mostProcs)
	var best *ir.Plan
	for i, a := range procs {
		for _, b := range procs[i+1:] {
			for _, order := range [2][2]ir.ProcID{{a, b}, {b, a}} {
				for _, w := range weights {
					plan := Rated(p, c.split(order[0], order[1], w), objective)
					if plan == nil {
						continue
					}
					if best == nil || cmp.Or(cmp.Compare(plan.Value(), best.Value()), cmp.Compare(plan.Latency, best.Latency), cmp.Compare(plan.Bottleneck, best.Bottleneck)) < 0 {
						best = plan
					}
				}
			}
		}
	}
	if ctx.Err() != nil {
		return nil // what was found is not the best of all
	}
	return best
}

// weighOnce is the weight of the first side's time where both sides count in full; with w below it the first side
// counts w and the second weighOnce-w.
const weighOnce = 1 << 10

// cut makes minimum cuts of one problem.
type cut struct {
	ended  func() bool // as flow has it
	p      *ir.Problem
	routes *ir.Routes
	unit   []int32 // by node
	units  int32
}

func newCut(p *ir.Problem) *cut {
	n := p.Graph.NumNodes()
	c := &cut{p: p, routes: ir.NewRoutes(p.Platform)}
	if n > cutWhole {
		// A minimum cut pays for what crosses, whoever waits for it: by bytes, as for throughput.
		unitOf, units := partition.Weld(p)
		if levels, sizes := partition.Coarsen(p, ir.Throughput, unitOf, units, []int{cutUnits}); len(levels) > 0 {
			c.unit, c.units = levels[0], int32(sizes[0])
			return c
		}
	}
	c.unit, c.units = make([]int32, n), int32(n)
	for i := range c.unit {
		c.unit[i] = int32(i)
	}
	return c
}

// ablest are the processors by what they support, then by the time that they take for it.
func (c *cut) ablest(most int) []ir.ProcID {
	procs := len(c.p.Platform.Processors)
	sum, able, order := make([]ir.Time, procs), make([]int, procs), make([]ir.ProcID, procs)
	for q := range order {
		order[q] = ir.ProcID(q)
	}
	for n := range ir.NodeID(c.p.Graph.NumNodes()) {
		for q, t := range c.p.Costs.Row(n) {
			if t != ir.Unsupported {
				sum[q] += t
				able[q]++
			}
		}
	}
	slices.SortStableFunc(order, func(a, b ir.ProcID) int {
		return cmp.Or(cmp.Compare(able[b], able[a]), cmp.Compare(sum[a], sum[b]))
	})
	return order[:min(most, procs)]
}

// split cuts for processor a, which runs first, and b; nil if they cannot hold the graph together. Vertices are the
// units of nodes, then for each value one that is on b's side if the value is needed there, then one that is on a's side if it is
// needed there.
func (c *cut) split(a, b ir.ProcID, weight int64) *ir.Plan {
	g, pf := c.p.Graph, c.p.Platform
	n, values := c.units, int32(g.NumValues())
	weightA, weightB := int64(weighOnce), int64(weighOnce)
	if weight != weighOnce {
		weightA, weightB = weight, weighOnce-weight
	}
	scale := func(t ir.Time, w int64) int64 {
		if t >= ir.MaxTime {
			return boundless
		}
		hi, lo := bits.Mul64(uint64(t), uint64(w))
		return int64(min(hi<<54|lo>>10, boundless))
	}
	s, t := n+2*values, n+2*values+1
	f := newFlow(int(t) + 1)
	f.ended = c.ended
	need := func(v ir.ValueID, q ir.ProcID, w int64) int64 { // a graph input comes to q
		e := &pf.Processors[q]
		way, busy := c.way(pf.Source, e.Device, g.Bytes(v))
		if way == ir.MaxTime {
			return boundless
		}
		if weight != weighOnce {
			way = busy // at half weight of a side it counts as much as the copy
		}
		return scale(way+copied(e.Upload, g.Bytes(v)), w)
	}
	paid := [2][]int64{make([]int64, n), make([]int64, n)} // by side, then unit
	for id := range ir.NodeID(g.NumNodes()) {
		for q, to := range [2]ir.ProcID{a, b} {
			cost := int64(boundless)
			w := [2]int64{weightA, weightB}[q]
			if x := c.p.Costs.Of(id, to); x != ir.Unsupported {
				cost = scale(x, w)
				for _, v := range g.Outputs(id) {
					if g.IsOutput(v) {
						e := &pf.Processors[to]
						way, busy := ir.Time(0), ir.Time(0)
						if pf.Sink != ir.NoDevice {
							way, busy = c.way(e.Device, pf.Sink, g.Bytes(v))
						}
						if way == ir.MaxTime {
							cost = boundless
							break
						}
						if weight != weighOnce {
							way = busy
						}
						cost = min(boundless, cost+scale(way+copied(e.Download, g.Bytes(v)), w))
					}
				}
			}
			at := &paid[q][c.unit[id]]
			*at = min(boundless, *at+cost)
		}
		if k := g.Group(id); k != ir.NoGroup && c.unit[g.Members(k)[0]] != c.unit[id] {
			f.add(c.unit[g.Members(k)[0]], c.unit[id], boundless, boundless)
		}
	}
	for i := range n {
		f.add(i, t, paid[0][i], 0)
		f.add(s, i, paid[1][i], 0)
	}
	var readers []int32
	for v := range values {
		id := ir.ValueID(v)
		there, here := n+v, n+values+v
		readers = readers[:0]
		for _, r := range g.Consumers(id) {
			if u := c.unit[r]; len(readers) == 0 || readers[len(readers)-1] != u {
				readers = append(readers, u)
			}
		}
		if len(readers) == 0 {
			continue
		}
		if g.Producer(id) == ir.NoNode {
			f.add(s, there, need(id, b, weightB), 0)
			f.add(here, t, need(id, a, weightA), 0)
			for _, r := range readers {
				f.add(there, r, boundless, 0)
				f.add(r, here, boundless, 0)
			}
			continue
		}
		from := c.unit[g.Producer(id)]
		if len(readers) == 1 && readers[0] == from {
			continue
		}
		f.add(from, there, c.crossing(id, a, b, weightA, weightB, weight == weighOnce, scale), 0)
		for _, r := range readers {
			f.add(there, r, boundless, 0)
			f.add(r, from, boundless, 0) // nothing goes back
		}
	}
	if f.max(s, t) >= boundless {
		return nil
	}
	plan := &ir.Plan{Submodels: []ir.Submodel{{Processor: a}, {Processor: b}}}
	for i, u := range c.unit {
		k := 1
		if f.reached(u) {
			k = 0
		}
		plan.Submodels[k].Nodes = append(plan.Submodels[k].Nodes, ir.NodeID(i))
	}
	plan.Submodels = slices.DeleteFunc(plan.Submodels, func(s ir.Submodel) bool { return len(s.Nodes) == 0 })
	return plan
}

// crossing is the price of a value that goes from a to b.
func (c *cut) crossing(v ir.ValueID, a, b ir.ProcID, weightA, weightB int64, whole bool, scale func(ir.Time, int64) int64) int64 {
	g, pf := c.p.Graph, c.p.Platform
	from, to := &pf.Processors[a], &pf.Processors[b]
	way, busy := c.way(from.Device, to.Device, g.Bytes(v))
	if way == ir.MaxTime {
		return boundless
	}
	if !whole {
		way = busy / 2
	}
	price := scale(way+copied(to.Upload, g.Bytes(v)), weightB)
	if !g.IsOutput(v) { // an output is downloaded anyhow
		price += scale(copied(from.Download, g.Bytes(v)), weightA)
	}
	return min(price, boundless)
}

// way is the time of a value over idle links, and for how long it keeps them busy; MaxTime if none lead there.
func (c *cut) way(from, to ir.DeviceID, size int64) (whole, busy ir.Time) {
	if from == ir.NoDevice || from == to {
		return 0, 0
	}
	route := c.routes.Find(from, to, size)
	if route == nil {
		return ir.MaxTime, 0
	}
	for _, l := range route {
		whole += c.p.Platform.Links[l].Time(size)
		busy += c.p.Platform.Links[l].Busy(size)
	}
	return whole, busy
}

func copied(c *ir.Copy, size int64) ir.Time {
	if c == nil {
		return 0
	}
	return c.Time(size)
}
