package assign

import (
	"cmp"
	"context"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// HEFT is the heterogeneous earliest finish time schedule (Topcuoglu, Hariri and
// Wu, IEEE Transactions on Parallel and Distributed Systems 13(3), 2002):
// nodes by falling upward rank, each into the earliest gap of the processor on
// which it finishes first; projected onto legal sub-models. It is nil if the
// projection comes to a dead end, or when the context ends.
func HEFT(ctx context.Context, p *ir.Problem) *ir.Plan {
	l := newList(p)
	rank := l.upwardRank()
	order := make([]ir.NodeID, len(rank))
	for n := range order {
		order[n] = ir.NodeID(n)
	}
	slices.SortStableFunc(order, func(a, b ir.NodeID) int { return cmp.Compare(rank[b], rank[a]) })
	for i, n := range order {
		if i%lookEvery == 0 && ctx.Err() != nil {
			return nil
		}
		q, from := l.earliest(n)
		if q == ir.NoProc {
			return nil
		}
		l.put(n, q, from)
	}
	return l.project(ctx)
}

// lookEvery is after how many nodes a list schedule looks whether the context has ended.
const lookEvery = 64

// Greedy takes the nodes in graph order and puts each into the sub-model in
// which it finishes first, of those that keep the plan legal, behind what is
// there. It is nil if it comes to a dead end, or when the context ends.
func Greedy(ctx context.Context, p *ir.Problem) *ir.Plan {
	order := make([]ir.NodeID, p.Graph.NumNodes())
	for n := range order {
		order[n] = ir.NodeID(n)
	}
	return build(ctx, p, order, (*building).addEarliest)
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
	busy   []timeline  // by processor, in order of time
	group  []ir.ProcID // by GroupID: where its first node was put
}

type span struct{ start, end ir.Time }

func newList(p *ir.Problem) *list {
	n, procs := p.Graph.NumNodes(), len(p.Platform.Processors)
	l := &list{
		p: p, procs: procs, routes: ir.NewRoutes(p.Platform), proc: make([]ir.ProcID, n), start: make([]ir.Time, n),
		end: make([]ir.Time, n), busy: make([]timeline, procs), group: make([]ir.ProcID, p.Graph.NumGroups()),
	}
	for i := range l.group {
		l.group[i] = ir.NoProc
	}
	return l
}

// groupCost is what the other nodes of n's group add to n's cost on a processor, as n decides for all of them:
// ir.Unsupported where one of them cannot run or another has decided otherwise.
func (l *list) groupCost(n ir.NodeID, q ir.ProcID) ir.Time {
	id := l.p.Graph.Group(n)
	if id == ir.NoGroup {
		return 0
	}
	if at := l.group[id]; at == q {
		return 0
	} else if at != ir.NoProc {
		return ir.Unsupported
	}
	var sum ir.Time
	for _, m := range l.p.Graph.Members(id) {
		c := l.p.Costs.Of(m, q)
		if c == ir.Unsupported {
			return ir.Unsupported
		}
		if m != n {
			sum += c
		}
	}
	return sum
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

// meanWay says the mean of the ways of a value over the pairs of processors between which there is one.
func (l *list) meanWay() func(ir.ValueID) float64 {
	mean := make(map[int64]float64)
	return func(v ir.ValueID) float64 {
		size := l.p.Graph.Bytes(v)
		if m, ok := mean[size]; ok {
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
		mean[size] = m
		return m
	}
}

// upwardRank is the longest way of each node to an exit, in mean costs over the
// processors that support it and mean ways over pairs of processors.
func (l *list) upwardRank() []float64 {
	g := l.p.Graph
	rank := make([]float64, g.NumNodes())
	comm := l.meanWay()
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

// ready is when all that a node reads can be in a processor's memory, ir.MaxTime if something cannot come.
func (l *list) ready(n ir.NodeID, q ir.ProcID) ir.Time {
	g := l.p.Graph
	var ready ir.Time
	for _, v := range g.Inputs(n) {
		var t ir.Time
		if m := g.Producer(v); m == ir.NoNode {
			t = l.way(v, ir.NoProc, q)
		} else {
			t = min(ir.MaxTime, l.end[m]+l.way(v, l.proc[m], q))
		}
		ready = max(ready, t)
	}
	return ready
}

// earliest is the processor on which a node finishes first, ir.NoProc if it can run on none, and when it starts there.
func (l *list) earliest(n ir.NodeID) (proc ir.ProcID, from ir.Time) {
	best, proc := ir.MaxTime, ir.NoProc
	written := l.written(n)
	for q, cost := range l.p.Costs.Row(n) {
		more := l.groupCost(n, ir.ProcID(q))
		if cost == ir.Unsupported || more == ir.Unsupported || written+cost+more >= best {
			continue // where it is no sooner without any way, the ways need not be known
		}
		if ready := l.ready(n, ir.ProcID(q)); ready < ir.MaxTime && ready+cost+more < best {
			at := l.busy[q].gap(ready, cost)
			if end := at + cost + more; end < best {
				best, proc, from = end, ir.ProcID(q), at
			}
		}
	}
	return proc, from
}

// written is when the last of the nodes that a node reads from ends.
func (l *list) written(n ir.NodeID) ir.Time {
	var last ir.Time
	for _, v := range l.p.Graph.Inputs(n) {
		if m := l.p.Graph.Producer(v); m != ir.NoNode {
			last = max(last, l.end[m])
		}
	}
	return last
}

// put schedules a node on a processor that supports it, from a time on at which there is room for it.
func (l *list) put(n ir.NodeID, q ir.ProcID, from ir.Time) {
	cost := l.p.Costs.Of(n, q)
	l.proc[n], l.start[n], l.end[n] = q, from, from+cost
	if id := l.p.Graph.Group(n); id != ir.NoGroup {
		l.group[id] = q
	}
	l.busy[q].add(span{from, from + cost})
}

// project puts the nodes, in order of start, into sub-models: the first of its processor that keeps the
// sub-models acyclic and the memory held, else the legal one in which the node finishes first, the nodes before
// it being where they have been put.
func (l *list) project(ctx context.Context) *ir.Plan {
	order := make([]ir.NodeID, l.p.Graph.NumNodes())
	for n := range order {
		order[n] = ir.NodeID(n)
	}
	slices.SortStableFunc(order, func(a, b ir.NodeID) int { return cmp.Compare(l.start[a], l.start[b]) })
	return build(ctx, l.p, order, func(b *building, n ir.NodeID) bool {
		return b.addTo(n, l.proc[n]) || b.addEarliest(n)
	})
}

// How often build begins anew: at most mostAttempts times, and fewer times where there are many nodes.
const (
	mostAttempts = 128
	attemptNodes = 40_000
)

// build adds nodes in order, which is topological. The first node of a group decides for all of it; where that
// turns out to be a dead end, all begins anew with the group kept off that processor. It is nil when the context ends.
func build(ctx context.Context, p *ir.Problem, order []ir.NodeID, add func(*building, ir.NodeID) bool) *ir.Plan {
	b := newBuilding(p)
	for range 1 + min(mostAttempts, attemptNodes/(len(order)+1)) {
		added := 0
		stuck := slices.IndexFunc(order, func(n ir.NodeID) bool {
			added++
			return added%lookEvery == 0 && ctx.Err() != nil || !add(b, n)
		})
		if ctx.Err() != nil {
			return nil
		}
		if stuck < 0 {
			return b.plan()
		}
		if !b.bar(order[stuck]) {
			return nil
		}
		barred := b.barred
		b = newBuilding(p)
		b.barred = barred
	}
	return nil
}

// building is a legal plan that grows node by node, with the time at which each node ends: a processor takes its
// nodes in the order in which they come.
type building struct {
	*legal
	l    *list
	free []ir.Time // by processor: end of the last node there
	ends []option
}

type option struct {
	end  ir.Time // of the node
	last ir.Time // of all that the node decides for
	proc ir.ProcID
}

func newBuilding(p *ir.Problem) *building {
	return &building{legal: newLegal(p), l: newList(p), free: make([]ir.Time, len(p.Platform.Processors))}
}

// addTo puts a node into the first sub-model of a processor that takes it; false if none does.
func (b *building) addTo(n ir.NodeID, q ir.ProcID) bool {
	ready := b.l.ready(n, q)
	if ready == ir.MaxTime || !b.join(n, int(q)) {
		return false
	}
	b.record(n, option{end: max(ready, b.free[q]) + b.p.Costs.Of(n, q), proc: q})
	return true
}

func (b *building) record(n ir.NodeID, o option) {
	b.l.proc[n], b.l.end[n], b.free[o.proc] = o.proc, o.end, o.end
	if id := b.p.Graph.Group(n); id != ir.NoGroup {
		b.l.group[id] = o.proc
	}
}

// addEarliest puts a node where it finishes first, of the sub-models that take it; false if none does.
func (b *building) addEarliest(n ir.NodeID) bool {
	b.ends = b.ends[:0]
	for q, cost := range b.p.Costs.Row(n) {
		more := b.l.groupCost(n, ir.ProcID(q))
		if cost == ir.Unsupported || more == ir.Unsupported {
			continue
		}
		if ready := b.l.ready(n, ir.ProcID(q)); ready < ir.MaxTime {
			end := max(ready, b.free[q]) + cost
			b.ends = append(b.ends, option{end, end + more, ir.ProcID(q)})
		}
	}
	slices.SortStableFunc(b.ends, func(x, y option) int { return cmp.Compare(x.last, y.last) })
	for _, o := range b.ends {
		if b.add(n, int(o.proc)) {
			b.record(n, o)
			return true
		}
	}
	return false
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
