package assign

import (
	"context"
	"math/bits"
	"sync/atomic"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// Exact searches all plans of a small problem by branch and bound. Nodes are
// given to slots, replicas included, in graph order. A partial plan is bounded by
// its runs over idle links, which can only grow as nodes are added, by the
// cheapest way to finish what hangs on a run, and by the work that is left,
// shared by all processors.
type Exact struct {
	Problem   *ir.Problem
	Objective ir.Objective
	Limit     ir.Time // only plans below it are of interest; ir.MaxTime: all
	Floor     ir.Time // a lower bound of all plans: the search ends at a plan that meets it
	Steps     int     // partial plans to look at, at most

	Rated *atomic.Int64 // grows by the partial plans that Run looks at, now and then; nil: nobody counts

	Best  *ir.Plan // the best plan found below Limit, rated; nil: none
	Whole bool     // all plans were covered: none is better than Best, or, if there is no Best, below Limit
}

// Sizes of problems that Exact takes on.
const (
	exactNodes  = 24
	exactSlots  = 32 // sets of them are uint32
	exactValues = 96
)

// Run searches until all plans are covered, Steps is used up, or the context ends.
func (e *Exact) Run(ctx context.Context) {
	g, pf := e.Problem.Graph, e.Problem.Platform
	n := g.NumNodes()
	if n > exactNodes || g.NumValues() > exactValues || n == 0 || len(pf.Devices) > 64 {
		return
	}
	x := &exact{Exact: e, ctx: ctx, g: g, pf: pf, routes: ir.NewRoutes(pf), limit: e.Limit}
	for q := range pf.Processors {
		limit := e.Problem.SubmodelLimit(ir.ProcID(q))
		if limit == 0 || limit > n {
			limit = n
		}
		for range limit {
			x.proc = append(x.proc, ir.ProcID(q))
		}
	}
	if len(x.proc) > exactSlots {
		return
	}
	x.prepare()
	x.whole = true
	x.place(0)
	e.Best, e.Whole = x.best, x.whole
}

type exact struct {
	*Exact
	ctx    context.Context
	g      *ir.Graph
	pf     *ir.Platform
	routes *ir.Routes
	proc   []ir.ProcID // by slot; slots of a processor are consecutive and in run order
	chans  []ir.ChannelID
	least  []ir.Time // by node: least cost
	rest   []ir.Time // by node: sum of the least costs from it on
	tail   []ir.Time // by node: least time from its start to the end of what hangs on it

	owner  []int    // by node: slot
	copies []uint32 // by node
	limit  ir.Time
	steps  int
	best   *ir.Plan
	whole  bool

	start, length []ir.Time // by slot
	load          []ir.Time // by channel
	busy          []ir.Time // by processor
}

func (x *exact) prepare() {
	n := x.g.NumNodes()
	x.owner, x.copies = make([]int, n), make([]uint32, n)
	x.least, x.rest, x.tail = make([]ir.Time, n), make([]ir.Time, n+1), make([]ir.Time, n)
	x.start, x.length = make([]ir.Time, len(x.proc)), make([]ir.Time, len(x.proc))
	var names []string
	x.chans, names = x.pf.Channels()
	x.load, x.busy = make([]ir.Time, len(names)), make([]ir.Time, len(x.pf.Processors))
	for i := n - 1; i >= 0; i-- {
		x.least[i] = ir.MaxTime
		for _, c := range x.Problem.Costs.Row(ir.NodeID(i)) {
			if c != ir.Unsupported {
				x.least[i] = min(x.least[i], c)
			}
		}
		x.rest[i] = x.rest[i+1] + x.least[i]
		for _, v := range x.g.Outputs(ir.NodeID(i)) {
			for _, c := range x.g.Consumers(v) {
				x.tail[i] = max(x.tail[i], x.tail[c])
			}
		}
		x.tail[i] += x.least[i]
	}
}

// place gives node n, and with it all later ones, to every slot that may take it.
func (x *exact) place(n int) {
	if x.best != nil && x.best.Value() <= x.Floor {
		return
	}
	if n == len(x.owner) {
		x.leaf()
		return
	}
	id := ir.NodeID(n)
	only := ir.NoProc
	if k := x.g.Group(id); k != ir.NoGroup {
		if m := x.g.Members(k)[0]; m < id {
			only = x.proc[x.owner[m]]
		}
	}
	var able uint32
	for t, q := range x.proc {
		if x.Problem.Costs.Of(id, q) != ir.Unsupported {
			able |= 1 << t
		}
	}
	for t, q := range x.proc {
		if able&(1<<t) == 0 || only != ir.NoProc && q != only {
			continue
		}
		x.owner[n] = t
		if x.gaps(n+1) > len(x.owner)-n-1 {
			continue // the runs of some processor will not be the first of its slots: those are the same plans
		}
		others := able &^ (1 << t)
		if !x.g.Replicable(id) {
			others = 0
		}
		for set := uint32(0); ; set = (set - others) & others { // all subsets, the empty one first
			x.copies[n] = set
			if x.steps++; x.steps&1023 == 0 && x.Rated != nil {
				x.Rated.Add(1024)
			}
			if x.steps > x.Steps || x.steps&1023 == 0 && x.ctx.Err() != nil {
				x.whole = false
				return
			}
			if x.bound(n+1) < x.limit {
				if x.place(n + 1); !x.whole {
					return
				}
			}
			if set == others {
				break
			}
		}
	}
}

// gaps is how many slots are empty though later slots of their processor own some of the first n nodes.
func (x *exact) gaps(n int) int {
	var used uint32
	for _, t := range x.owner[:n] {
		used |= 1 << t
	}
	sum := 0
	for t := len(x.proc) - 1; t > 0; t-- {
		if used&(1<<t) != 0 && x.proc[t-1] == x.proc[t] && used&(1<<(t-1)) == 0 {
			sum++
			used |= 1 << (t - 1)
		}
	}
	return sum
}

// leaf rates a complete plan.
func (x *exact) leaf() {
	plan := &ir.Plan{Objective: x.Objective}
	for t, q := range x.proc {
		s := ir.Submodel{Processor: q}
		for n, o := range x.owner {
			if o == t {
				s.Nodes = append(s.Nodes, ir.NodeID(n))
			} else if x.copies[n]&(1<<t) != 0 {
				s.Replicas = append(s.Replicas, ir.NodeID(n))
			}
		}
		switch {
		case len(s.Nodes) > 0:
			plan.Submodels = append(plan.Submodels, s)
		case len(s.Replicas) > 0:
			return
		}
	}
	if ir.CheckPlan(x.Problem, plan) != nil {
		return
	}
	if _, err := sched.Rate(x.Problem, plan); err != nil {
		return
	}
	if plan.Value() < x.limit {
		x.best, x.limit = plan, plan.Value()
	}
}

// bound is a lower bound of all plans that agree with the first n nodes, ir.MaxTime if there are none.
func (x *exact) bound(n int) ir.Time {
	clear(x.length)
	clear(x.load)
	clear(x.start)
	clear(x.busy)
	var used uint32
	for i := range n {
		t := x.owner[i]
		used |= 1 << t
		x.length[t] += x.Problem.Costs.Of(ir.NodeID(i), x.proc[t])
		for rest := x.copies[i]; rest != 0; rest &= rest - 1 {
			t := bits.TrailingZeros32(rest)
			x.length[t] += x.Problem.Costs.Of(ir.NodeID(i), x.proc[t])
		}
	}
	var moves [exactValues]move
	k := 0
	for v := range ir.ValueID(x.g.NumValues()) {
		m := move{value: v, owner: -1}
		var inside uint32
		if p := x.g.Producer(v); p != ir.NoNode {
			if int(p) >= n {
				continue
			}
			m.owner = x.owner[p]
			inside = 1<<m.owner | x.copies[p]
		}
		for _, c := range x.g.Consumers(v) {
			if int(c) < n {
				m.need |= 1<<x.owner[c] | x.copies[c]
			}
		}
		m.need &^= inside
		if !x.travel(&m, n == len(x.owner)) {
			return ir.MaxTime
		}
		if m.need != 0 || m.toSink {
			moves[k] = m
			k++
		}
	}
	for t, q := range x.proc {
		if x.length[t] > 0 || used&(1<<t) != 0 {
			x.length[t] += x.pf.Processors[q].Launch
		}
	}
	var most, sum ir.Time
	for t, q := range x.proc {
		x.busy[q] += x.length[t]
	}
	for _, b := range x.busy {
		most = max(most, b)
		sum += b
	}
	procs := ir.Time(len(x.busy))
	most = max(most, (sum+x.rest[n]+procs-1)/procs)
	for _, b := range x.load {
		most = max(most, b)
	}
	end, ok := x.path(moves[:k], n)
	if !ok {
		return ir.MaxTime
	}
	if x.Objective == ir.Throughput {
		return most
	}
	return max(most, end)
}

// move is a value on its way between runs.
type move struct {
	value  ir.ValueID
	owner  int // slot; -1: a graph input
	need   uint32
	toSink bool
	way    [exactSlots]ir.Time // by slot that needs it
	sink   ir.Time
}

// travel fills in the ways of a value and adds what it costs the runs and channels, all nodes being
// placed or not; false if there is no way.
func (x *exact) travel(m *move, whole bool) bool {
	size := x.g.Bytes(m.value)
	home := x.pf.Source
	output := x.g.IsOutput(m.value)
	from := ir.NoProc
	if m.owner >= 0 {
		from = x.proc[m.owner]
		home = x.pf.Processors[from].Device
	}
	var up, to uint64 // processors and devices that have it
	away := false
	goal := func(d ir.DeviceID) (ir.Time, bool) {
		if home == ir.NoDevice || d == home {
			return 0, true
		}
		route := x.routes.Find(home, d, size)
		if route == nil {
			return 0, false
		}
		var t ir.Time
		for _, l := range route {
			t += x.pf.Links[l].Time(size)
			if to&(1<<d) == 0 {
				x.load[x.chans[l]] += x.pf.Links[l].Busy(size)
			}
		}
		to |= 1 << d
		return t, true
	}
	for rest := m.need; rest != 0; rest &= rest - 1 {
		t := bits.TrailingZeros32(rest)
		q := x.proc[t]
		e := &x.pf.Processors[q]
		if q != from {
			away = true
			if up&(1<<q) == 0 && e.Upload != nil {
				if whole || t == 0 || x.proc[t-1] != q {
					x.length[t] += e.Upload.Time(size)
				} else { // an earlier run may yet come to do it
					x.busy[q] += e.Upload.Time(size)
				}
			}
			up |= 1 << q
		}
		var ok bool
		if m.way[t], ok = goal(e.Device); !ok {
			return false
		}
	}
	if output && x.pf.Sink != ir.NoDevice && home != ir.NoDevice && home != x.pf.Sink {
		var ok bool
		if m.sink, ok = goal(x.pf.Sink); !ok {
			return false
		}
		m.toSink = true
	}
	if (away || output) && from != ir.NoProc {
		if c := x.pf.Processors[from].Download; c != nil {
			x.length[m.owner] += c.Time(size)
		}
	}
	return true
}

// path is the longest path through the runs, over idle links, with the least that hangs on each; ok is false if they
// wait for each other.
func (x *exact) path(moves []move, n int) (latest ir.Time, ok bool) {
	end := func(t int) ir.Time { return x.start[t] + x.length[t] }
	for round := 0; ; round++ {
		changed := false
		raise := func(t int, at ir.Time) {
			if at > x.start[t] {
				x.start[t] = at
				changed = true
			}
		}
		for t := 1; t < len(x.proc); t++ {
			if x.proc[t] == x.proc[t-1] {
				raise(t, end(t-1))
			}
		}
		for i := range moves {
			m := &moves[i]
			for rest := m.need; rest != 0; rest &= rest - 1 {
				t := bits.TrailingZeros32(rest)
				at := m.way[t]
				if m.owner >= 0 {
					at += end(m.owner)
				}
				raise(t, at)
			}
		}
		if !changed {
			break
		}
		if round > len(x.proc) {
			return 0, false
		}
	}
	for t := range x.proc {
		if x.length[t] > 0 {
			latest = max(latest, end(t))
		}
	}
	for i := range moves {
		if m := &moves[i]; m.toSink {
			at := m.sink
			if m.owner >= 0 {
				at += end(m.owner)
			}
			latest = max(latest, at)
		}
	}
	for i := range n {
		least := end(x.owner[i])
		for rest := x.copies[i]; rest != 0; rest &= rest - 1 {
			least = min(least, end(bits.TrailingZeros32(rest)))
		}
		for _, v := range x.g.Outputs(ir.NodeID(i)) {
			for _, c := range x.g.Consumers(v) {
				if int(c) >= n {
					latest = max(latest, least+x.tail[c])
				}
			}
		}
	}
	return latest, true
}
