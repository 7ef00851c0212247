package bound

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// inference is what follows from supposing that some plan takes at most a time.
//
// For a processor that may have one sub-model all that is known to be there is one run,
// R. R starts when everything has arrived that any of its nodes needs from
// outside; it holds all that stands between any two of its nodes (see trail); what leaves it leaves when all of
// it has been done; and of two such runs only one can wait for the other.
//
// A time "of a node on a processor" is that from time 0 to the end of the work on the node and on all in its run that
// comes before it, uploads included. What is left of the run, and its downloads, are counted in the tail.
type inference struct {
	ways
	g      *ir.Graph
	procs  int
	limit  []int // by processor: most sub-models; 0: any number
	most   ir.Time
	before []uint64 // n·words + word: what comes before node n
	words  int
	steps  int // work done

	costs  *ir.Costs     // of p, without what cannot be
	held   [][]ir.NodeID // by processor with one sub-model: what is certainly in its run, ascending; nil for others
	forced []uint64      // by node: processors with one sub-model that are supposed to hold it
	holds  []uint64      // by node: the processors whose runs certainly hold it
	runs   []certain     // by processor
	order  []uint64      // by processor: those whose runs end before its run starts

	start  []ir.Time      // by processor: earliest start of its only run
	begin  []ir.Time      // n·procs + q: the same, if it holds n
	row    []ir.Time      // n·procs + q: earliest time of n on q; MaxTime: not there
	tail   []ir.Time      // n·procs + q: least time from then to the end of the plan
	rest   []ir.Time      // n·procs + q: work of the run of q that is certain, and not on what comes before n
	value  []ir.Time      // n·procs + q: least latency with n there
	solid  []bool         // by node: it has no replicas
	chans  []ir.ChannelID // by link
	failed bool
	inner  bool // some node's processor is a supposition
}

// certain is what the only run of a processor certainly does.
type certain struct {
	work  ir.Time             // launch, uploads, nodes
	down  ir.Time             // downloads
	sent  map[ir.ValueID]bool // what is downloaded
	after ir.Time             // from the end of the run to the end of the plan
	queue []sending           // what certainly travels when the run has ended, in the order in which it waits for links
}

// sending is a value on its way out of a device.
type sending struct {
	value   ir.ValueID
	to      ir.DeviceID
	channel ir.ChannelID
	busy    ir.Time
}

func newInference(p *ir.Problem, routes *ir.Routes, before []uint64, most ir.Time) *inference {
	g, procs := p.Graph, len(p.Platform.Processors)
	n := g.NumNodes()
	f := &inference{
		ways: ways{p, routes}, g: g, procs: procs, most: most, before: before, words: (n + 63) / 64, costs: p.Costs,
		limit: make([]int, procs), held: make([][]ir.NodeID, procs), forced: make([]uint64, n), holds: make([]uint64, n), runs: make([]certain, procs), order: make([]uint64, procs),
		start: make([]ir.Time, procs), begin: make([]ir.Time, n*procs), row: make([]ir.Time, n*procs), tail: make([]ir.Time, n*procs),
		rest: make([]ir.Time, n*procs), value: make([]ir.Time, n*procs), solid: make([]bool, n),
	}
	f.chans, _ = p.Platform.Channels()
	for q := range f.limit {
		f.limit[q] = p.SubmodelLimit(ir.ProcID(q))
	}
	for i := range f.solid {
		f.solid[i] = !g.Replicable(ir.NodeID(i))
	}
	return f
}

// inherit takes over what was known before one more thing was supposed.
func (f *inference) inherit(from *inference) {
	f.inner = true
	copy(f.forced, from.forced)
	copy(f.start, from.start)
	for q := range f.runs {
		f.runs[q].after = from.runs[q].after
	}
}

// predecessors are, in rows of words, the nodes before each node.
func predecessors(g *ir.Graph) []uint64 {
	words := (g.NumNodes() + 63) / 64
	all := make([]uint64, g.NumNodes()*words)
	for n := range ir.NodeID(g.NumNodes()) {
		row := all[int(n)*words : (int(n)+1)*words]
		for _, v := range g.Inputs(n) {
			if m := g.Producer(v); m != ir.NoNode {
				for i, w := range all[int(m)*words : (int(m)+1)*words] {
					row[i] |= w
				}
				row[m>>6] |= 1 << (m & 63)
			}
		}
	}
	return all
}

func (f *inference) isBefore(m, n ir.NodeID) bool {
	return f.before[int(n)*f.words+int(m>>6)]&(1<<(m&63)) != 0
}

// drop takes a node off a processor.
func (f *inference) drop(n ir.NodeID, q int) {
	if f.costs.Of(n, ir.ProcID(q)) == ir.Unsupported {
		return
	}
	if f.costs == f.p.Costs {
		f.costs = f.costs.Clone()
	}
	f.costs.Set(n, ir.ProcID(q), ir.Unsupported)
}

// gather finds what runs certainly hold, and what cannot be because of that.
func (f *inference) gather() {
	g, procs, nodes := f.g, f.procs, ir.NodeID(f.g.NumNodes())
	f.steps += int(nodes) * procs * 4
	sure := make([]uint64, nodes) // by node without replicas: the processor that it is on, if that may have one sub-model
	for n := range nodes {
		on, able := 0, 0
		for q, c := range f.costs.Row(n) {
			if c != ir.Unsupported {
				on = q
				able++
			}
		}
		if able == 0 {
			f.failed = true
			return
		}
		if able == 1 && f.limit[on] == 1 {
			sure[n] = 1 << on
			f.solid[n] = true // there is no room for replicas
		}
	}
	past, future := make([]uint64, nodes), make([]uint64, nodes) // processors of sure nodes before and after
	for n := range nodes {
		for _, v := range g.Inputs(n) {
			if m := g.Producer(v); m != ir.NoNode {
				past[n] |= past[m] | sure[m]
			}
		}
	}
	clear(f.order)
	for n := nodes - 1; n >= 0; n-- {
		for _, v := range g.Outputs(n) {
			for _, r := range g.Consumers(v) {
				future[n] |= future[r] | sure[r]
			}
		}
		f.holds[n] = sure[n] | past[n]&future[n] | f.forced[n]
		for set := f.holds[n]; set != 0; set &= set - 1 {
			q := bits.TrailingZeros64(set)
			f.order[q] |= past[n] &^ (1 << q)
		}
	}
	for k := range procs {
		for q := range procs {
			if f.order[q]&(1<<k) != 0 {
				f.order[q] |= f.order[k]
			}
		}
	}
	for q := range procs {
		if f.order[q]&(1<<q) != 0 {
			f.failed = true // two runs wait for each other
			return
		}
		f.held[q] = f.held[q][:0]
	}
	later := make([]uint64, procs) // by processor: those whose runs start after its run has ended
	for q, set := range f.order {
		for ; set != 0; set &= set - 1 {
			later[bits.TrailingZeros64(set)] |= 1 << q
		}
	}
	for n := range nodes {
		for set := f.holds[n]; set != 0; set &= set - 1 {
			q := bits.TrailingZeros64(set)
			if f.costs.Of(n, ir.ProcID(q)) == ir.Unsupported {
				f.failed = true
				return
			}
			f.held[q] = append(f.held[q], n)
		}
		if f.solid[n] && bits.OnesCount64(f.holds[n]) > 1 {
			f.failed = true
			return
		}
		for q, c := range f.costs.Row(n) {
			if c == ir.Unsupported || f.limit[q] != 1 {
				continue
			}
			// What is in another run for certain, or would make that wait for this one which waits for it.
			if f.solid[n] && f.holds[n]&^(1<<q) != 0 || past[n]&later[q] != 0 || f.solid[n] && future[n]&f.order[q] != 0 {
				f.drop(n, q)
			}
		}
	}
	if f.failed {
		return
	}
	f.measure()
}

// measure sums up what runs certainly do.
func (f *inference) measure() {
	g, pf := f.g, f.p.Platform
	hold := newHolding(g)
	room := rooms(pf)
	for q := range f.procs {
		c := &f.runs[q]
		*c = certain{work: pf.Processors[q].Launch, sent: map[ir.ValueID]bool{}, after: c.after}
		if len(f.held[q]) == 0 {
			continue
		}
		f.steps += len(f.held[q]) * g.NumNodes() / 8
		if room[q] < ir.UnlimitedBytes && hold.need(f.held[q]) > room[q] {
			f.failed = true
			return
		}
		e := &pf.Processors[q]
		got := map[ir.ValueID]bool{}
		for _, n := range f.held[q] {
			c.work += f.costs.Of(n, ir.ProcID(q))
			for _, v := range g.Inputs(n) {
				m := g.Producer(v)
				if e.Upload != nil && !got[v] && (m == ir.NoNode || f.solid[m] && f.costs.Of(m, ir.ProcID(q)) == ir.Unsupported) {
					got[v] = true
					c.work += e.Upload.Time(g.Bytes(v))
				}
			}
			if !f.solid[n] {
				continue
			}
			for _, v := range g.Outputs(n) {
				if f.leaves(v, q) {
					c.sent[v] = true
					f.send(c, v, e.Device)
					if e.Download != nil {
						c.down += e.Download.Time(g.Bytes(v))
					}
				}
			}
		}
		slices.SortFunc(c.queue, func(a, b sending) int {
			return cmp.Or(cmp.Compare(a.value, b.value), cmp.Compare(a.to, b.to))
		})
	}
	for n := range ir.NodeID(g.NumNodes()) {
		for q := range f.procs {
			f.rest[int(n)*f.procs+q] = 0
			for _, m := range f.held[q] {
				if m != n && !f.isBefore(m, n) {
					f.rest[int(n)*f.procs+q] += f.costs.Of(m, ir.ProcID(q))
				}
			}
		}
	}
}

// send lists where a value certainly travels from a device.
func (f *inference) send(c *certain, v ir.ValueID, from ir.DeviceID) {
	pf := f.p.Platform
	add := func(to ir.DeviceID) {
		if to == ir.NoDevice || to == from || slices.ContainsFunc(c.queue, func(s sending) bool { return s.value == v && s.to == to }) {
			return
		}
		if route := f.routes.Find(from, to, f.g.Bytes(v)); len(route) > 0 {
			c.queue = append(c.queue, sending{v, to, f.chans[route[0]], pf.Links[route[0]].Busy(f.g.Bytes(v))})
		}
	}
	if f.g.IsOutput(v) {
		add(pf.Sink)
	}
	for _, r := range f.g.Consumers(v) {
		for set := f.holds[r]; set != 0; set &= set - 1 {
			add(pf.Processors[bits.TrailingZeros64(set)].Device)
		}
		if !f.solid[r] {
			continue
		}
		to := ir.NoDevice
		for b, c := range f.costs.Row(r) {
			if c == ir.Unsupported {
				continue
			}
			if d := pf.Processors[b].Device; to == ir.NoDevice || to == d {
				to = d
			} else {
				to = ir.NoDevice
				break
			}
		}
		add(to)
	}
}

// away is travel of what leaves a run of q. What leaves the only run of a processor becomes ready at once, with all
// else that does, and waits for what stands before it in the order of values.
func (f *inference) away(v ir.ValueID, q int, to ir.DeviceID, t ir.Time) ir.Time {
	from := f.p.Platform.Processors[q].Device
	if from == to || t == ir.MaxTime {
		return t
	}
	if len(f.runs[q].queue) > 0 {
		route := f.routes.Find(from, to, f.g.Bytes(v))
		if route == nil {
			return ir.MaxTime
		}
		for _, s := range f.runs[q].queue {
			if s.value >= v {
				break
			}
			if s.channel == f.chans[route[0]] {
				t += s.busy
			}
		}
	}
	return f.travel(v, from, to, t)
}

// leaves says whether a value that the only run of q makes certainly leaves it.
func (f *inference) leaves(v ir.ValueID, q int) bool {
	if f.g.IsOutput(v) {
		return true
	}
	for _, r := range f.g.Consumers(v) {
		if f.solid[r] && f.costs.Of(r, ir.ProcID(q)) == ir.Unsupported || f.holds[r]&^(1<<q) != 0 {
			return true
		}
	}
	return false
}

// infer takes away what a plan of at most that time cannot have, again and again, as long as there is work to be spent;
// false: nothing is left.
func (f *inference) infer(rounds, work int) bool {
	procs := f.procs
	for range rounds {
		if f.steps > work {
			break
		}
		before, starts, afters := f.costs, slices.Clone(f.start), f.afters()
		if f.gather(); f.failed {
			return false
		}
		f.backward()
		f.ends()
		p := *f.p
		p.Costs = f.costs
		walks := walksOf(spines(&p, f.routes))
		for _, w := range walks {
			f.steps += w.steps()
		}
		if f.steps > work {
			walks = nil
		}
		var list []*trail
		if !f.inner { // later they say little more for their time, as does the area
			list = trails(&p, f.routes, work/4)
		}
		for _, t := range list {
			t.most, t.tail = f.most, f.tail
		}
		f.forward(func(n ir.NodeID, row []ir.Time) {
			walkAll(walks, n, row)
			follow(list, n, row)
			some := false
			for q, t := range row {
				at := int(n)*procs + q
				f.value[at] = t
				if t < ir.MaxTime && f.solid[n] {
					f.value[at] = min(ir.MaxTime, t+f.tail[at])
				}
				if t < ir.MaxTime && f.limit[q] == 1 {
					c := &f.runs[q]
					whole := f.begin[at] + c.work + c.down + c.after
					if f.holds[n]&(1<<q) == 0 {
						whole += f.costs.Of(n, ir.ProcID(q))
					}
					f.value[at] = max(f.value[at], whole)
				}
				if f.value[at] > f.most {
					row[q] = ir.MaxTime
					f.drop(n, q)
				}
				some = some || row[q] < ir.MaxTime
			}
			f.failed = f.failed || !some
		})
		for _, t := range list {
			f.steps += t.steps
		}
		if f.failed {
			return false
		}
		if f.costs == before {
			if slices.Equal(starts, f.start) && slices.Equal(afters, f.afters()) {
				break
			}
			continue
		}
		p.Costs = f.costs
		less := Reduce(&p)
		f.costs = less.Costs
		for n := range ir.NodeID(f.g.NumNodes()) {
			if slices.Max(f.costs.Row(n)) == ir.Unsupported {
				return false
			}
		}
		if !f.inner && Area(less) > f.most || crowded(less) {
			return false
		}
	}
	return true
}

func (f *inference) afters() []ir.Time {
	list := make([]ir.Time, f.procs)
	for q := range list {
		list[q] = f.runs[q].after
	}
	return list
}
