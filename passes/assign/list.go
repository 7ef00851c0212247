package assign

import (
	"cmp"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// HEFT is the heterogeneous earliest finish time schedule (Topcuoglu, Hariri and
// Wu, IEEE Transactions on Parallel and Distributed Systems 13(3), 2002):
// nodes by falling upward rank, each into the earliest gap of the processor on
// which it finishes first; projected onto legal sub-models. It is nil if the
// projection comes to a dead end.
func HEFT(p *ir.Problem) *ir.Plan {
	l := newList(p)
	rank := l.upwardRank()
	order := make([]ir.NodeID, len(rank))
	for n := range order {
		order[n] = ir.NodeID(n)
	}
	slices.SortStableFunc(order, func(a, b ir.NodeID) int { return cmp.Compare(rank[b], rank[a]) })
	for _, n := range order {
		if !l.place(n, true) {
			return nil
		}
	}
	return l.project()
}

// Greedy takes the nodes in graph order and puts each on the processor on which
// it finishes first, behind what is there; projected onto legal sub-models. It
// is nil if the projection comes to a dead end.
func Greedy(p *ir.Problem) *ir.Plan {
	l := newList(p)
	for n := range ir.NodeID(p.Graph.NumNodes()) {
		if !l.place(n, false) {
			return nil
		}
	}
	return l.project()
}

// list is a schedule of single nodes: a node starts when its values have come,
// each over its own idle way, and its processor has time. Launches do not count.
type list struct {
	p      *ir.Problem
	procs  int
	routes *ir.Routes
	proc   []ir.ProcID // by node
	start  []ir.Time
	end    []ir.Time
	busy   [][]span  // by processor, in order of time
	eft    []ir.Time // node·procs + processor: when it would have ended there, MaxTime if unsupported
}

type span struct{ start, end ir.Time }

func newList(p *ir.Problem) *list {
	n, procs := p.Graph.NumNodes(), len(p.Platform.Processors)
	return &list{
		p: p, procs: procs, routes: ir.NewRoutes(p.Platform), proc: make([]ir.ProcID, n), start: make([]ir.Time, n),
		end: make([]ir.Time, n), busy: make([][]span, procs), eft: make([]ir.Time, n*procs),
	}
}

// way is the time of a value from one processor to another, MaxTime if none leads there.
// from is NoProc for a graph input.
func (l *list) way(v ir.ValueID, from, to ir.ProcID) ir.Time {
	if from == to {
		return 0
	}
	pf, size := l.p.Platform, l.p.Graph.Bytes(v)
	b := &pf.Processors[to]
	origin := pf.Source
	var t ir.Time
	if from != ir.NoProc {
		a := &pf.Processors[from]
		origin = a.Device
		if a.Download != nil {
			t += a.Download.Time(size)
		}
	}
	if b.Upload != nil {
		t += b.Upload.Time(size)
	}
	if origin != ir.NoDevice && origin != b.Device {
		route := l.routes.Find(origin, b.Device, size)
		if route == nil {
			return ir.MaxTime
		}
		for _, k := range route {
			t += pf.Links[k].Time(size)
		}
	}
	return t
}

// upwardRank is the longest way of each node to an exit, in mean costs over the
// processors that support it and mean ways over pairs of processors.
func (l *list) upwardRank() []float64 {
	g := l.p.Graph
	rank := make([]float64, g.NumNodes())
	mean := make(map[int64]float64)
	comm := func(v ir.ValueID) float64 {
		if m, ok := mean[g.Bytes(v)]; ok {
			return m
		}
		var sum float64
		pairs := 0
		for a := range l.procs {
			for b := range l.procs {
				if a != b {
					if t := l.way(v, ir.ProcID(a), ir.ProcID(b)); t < ir.MaxTime {
						sum += float64(t)
						pairs++
					}
				}
			}
		}
		m := sum / float64(max(1, pairs))
		mean[g.Bytes(v)] = m
		return m
	}
	for n := ir.NodeID(g.NumNodes() - 1); n >= 0; n-- {
		var sum float64
		able := 0
		for _, c := range l.p.Costs.Row(n) {
			if c != ir.Unsupported {
				sum += float64(c)
				able++
			}
		}
		var most float64
		for _, v := range g.Outputs(n) {
			for _, r := range g.Consumers(v) {
				most = max(most, comm(v)+rank[r])
			}
		}
		rank[n] = sum/float64(max(1, able)) + most
	}
	return rank
}

// place schedules a node on the processor on which it finishes first; false if none supports it.
func (l *list) place(n ir.NodeID, insert bool) bool {
	g := l.p.Graph
	best, from := ir.MaxTime, ir.Time(0)
	proc := ir.NoProc
	for q, cost := range l.p.Costs.Row(n) {
		at := int(n)*l.procs + q
		l.eft[at] = ir.MaxTime
		if cost == ir.Unsupported {
			continue
		}
		var ready ir.Time
		for _, v := range g.Inputs(n) {
			var t ir.Time
			if m := g.Producer(v); m == ir.NoNode {
				t = l.way(v, ir.NoProc, ir.ProcID(q))
			} else {
				t = min(ir.MaxTime, l.end[m]+l.way(v, l.proc[m], ir.ProcID(q)))
			}
			ready = max(ready, t)
		}
		if ready >= ir.MaxTime {
			continue
		}
		start := l.gap(q, ready, cost, insert)
		l.eft[at] = start + cost
		if start+cost < best {
			best, from, proc = start+cost, start, ir.ProcID(q)
		}
	}
	if proc == ir.NoProc {
		return false
	}
	l.proc[n], l.start[n], l.end[n] = proc, from, best
	row := l.busy[proc]
	i, _ := slices.BinarySearchFunc(row, from, func(s span, t ir.Time) int { return cmp.Compare(s.start, t) })
	for i < len(row) && row[i].start == from && row[i].end <= from {
		i++
	}
	l.busy[proc] = slices.Insert(row, i, span{from, best})
	return true
}

// gap is the earliest start on a processor for a node that is ready then and takes cost.
func (l *list) gap(q int, ready, cost ir.Time, insert bool) ir.Time {
	row := l.busy[q]
	if len(row) == 0 {
		return ready
	}
	if insert {
		// Gaps before the first span that ends after ready are too early.
		i, _ := slices.BinarySearchFunc(row, ready, func(s span, t ir.Time) int { return cmp.Compare(s.end, t) })
		at := ready
		for ; i < len(row); i++ {
			if at+cost <= row[i].start {
				return at
			}
			at = max(at, row[i].end)
		}
		return at
	}
	return max(ready, row[len(row)-1].end)
}

// project puts the nodes, in order of start, into sub-models: the first of its processor that keeps the
// sub-models acyclic and the memory held, else the same on the processor where it would have finished next.
func (l *list) project() *ir.Plan {
	g := l.p.Graph
	order := make([]ir.NodeID, g.NumNodes())
	for n := range order {
		order[n] = ir.NodeID(n)
	}
	slices.SortStableFunc(order, func(a, b ir.NodeID) int { return cmp.Compare(l.start[a], l.start[b]) })
	b := newLegal(l.p)
	procs := make([]int, l.procs)
	for _, n := range order {
		row := l.eft[int(n)*l.procs : (int(n)+1)*l.procs]
		for q := range procs {
			procs[q] = q
		}
		slices.SortStableFunc(procs, func(a, b int) int {
			if (a == int(l.proc[n])) != (b == int(l.proc[n])) {
				if a == int(l.proc[n]) {
					return -1
				}
				return 1
			}
			return cmp.Compare(row[a], row[b])
		})
		done := false
		for _, q := range procs {
			if row[q] < ir.MaxTime && b.add(n, q) {
				done = true
				break
			}
		}
		if !done {
			return nil
		}
	}
	return b.plan()
}

// Rated returns a baseline's plan with its numbers, nil if it breaks a rule.
func Rated(p *ir.Problem, plan *ir.Plan, objective ir.Objective) *ir.Plan {
	if plan == nil || ir.CheckPlan(p, plan) != nil {
		return nil
	}
	plan.Objective = objective
	if _, err := sched.Rate(p, plan); err != nil {
		return nil
	}
	return plan
}
