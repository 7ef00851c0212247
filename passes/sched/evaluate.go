package sched

import (
	"fmt"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Evaluate computes the timeline and the memory of a plan. Limits on memory and
// on the number of sub-models do not matter to it; a plan whose sub-models wait
// for each other, whose nodes are not all placed on processors that support
// them, or whose values cannot travel, is an error.
//
// It fills plan.Latency and plan.Bottleneck of no plan; Rate does.
func Evaluate(p *ir.Problem, plan *ir.Plan) (*ir.Schedule, error) {
	w := ir.Connect(p.Graph, plan)
	e := evaluation{p: p, plan: plan, w: w, routes: ir.NewRoutes(p.Platform)}
	channel, names := p.Platform.Channels()
	e.channel = channel
	e.s = &ir.Schedule{
		Runs:     make([]ir.Run, len(plan.Submodels)),
		ProcLoad: make([]ir.Time, len(p.Platform.Processors)),
		LinkLoad: make([]ir.Time, len(names)),
	}
	if err := e.lengths(); err != nil {
		return nil, err
	}
	if err := e.plans(); err != nil {
		return nil, err
	}
	if err := e.simulate(len(names)); err != nil {
		return nil, err
	}
	for _, t := range e.s.ProcLoad {
		e.s.Bottleneck = max(e.s.Bottleneck, t)
	}
	for _, t := range e.s.LinkLoad {
		e.s.Bottleneck = max(e.s.Bottleneck, t)
	}
	m := ir.MeasureMemory(p, plan, w)
	e.s.ProcBytes, e.s.WeightOf, e.s.PeakOf = m.Processors, m.Weights, m.Peak
	return e.s, nil
}

// Rate fills the latency and the bottleneck of a plan and returns its schedule.
func Rate(p *ir.Problem, plan *ir.Plan) (*ir.Schedule, error) {
	s, err := Evaluate(p, plan)
	if err == nil {
		plan.Latency, plan.Bottleneck = s.Latency, s.Bottleneck
	}
	return s, err
}

// transfer is a value on its way to one device.
type transfer struct {
	value ir.ValueID
	goal  ir.DeviceID
	route []ir.LinkID
}

type evaluation struct {
	p       *ir.Problem
	plan    *ir.Plan
	w       *ir.Wiring
	routes  *ir.Routes
	channel []ir.ChannelID // by LinkID
	s       *ir.Schedule

	length    []ir.Time      // by sub-model
	fresh     [][]ir.ValueID // by sub-model: values that it must wait for
	transfers []transfer     // by value, then by destination
	first     []int32        // by ValueID: its transfers are transfers[first[v]:first[v+1]]
}

// lengths computes the length of every run, what it uploads and downloads, and the loads of the processors.
func (e *evaluation) lengths() error {
	g, pf := e.p.Graph, e.p.Platform
	for n, o := range e.w.Owner {
		if o < 0 {
			return fmt.Errorf("node %q is in no sub-model", g.NodeName(ir.NodeID(n)))
		}
	}
	e.length = make([]ir.Time, len(e.plan.Submodels))
	e.fresh = make([][]ir.ValueID, len(e.plan.Submodels))
	runs := make([][]int, len(pf.Processors))
	for i, s := range e.plan.Submodels {
		runs[s.Processor] = append(runs[s.Processor], i)
	}
	var sum ir.Time
	present := make([]int32, g.NumValues()) // 1 + the processor in whose memory the value is
	for q, mine := range runs {
		at := &pf.Processors[q]
		mark := int32(q + 1)
		for _, i := range mine {
			run := &e.s.Runs[i]
			total := at.Launch
			for _, n := range e.w.Held(i) {
				t := e.p.Costs.Of(n, ir.ProcID(q))
				if t == ir.Unsupported {
					return fmt.Errorf("node %q cannot run on %s", g.NodeName(n), at.Name)
				}
				// Replicas repeat costs, so Problem.Validate cannot bound their sum.
				if total += t; total > ir.MaxTime || sum > ir.MaxTime-total {
					return fmt.Errorf("the replicas of sub-model %d take more time than can be scheduled", i)
				}
			}
			for _, v := range e.w.Needs(i) {
				if present[v] != mark {
					present[v] = mark
					e.fresh[i] = append(e.fresh[i], v)
					if at.Upload != nil {
						run.Uploads = append(run.Uploads, v)
						total += at.Upload.Time(g.Bytes(v))
					}
				}
			}
			for _, v := range e.w.Produces(i) {
				leaves := g.IsOutput(v)
				for _, u := range e.w.Users(v) {
					leaves = leaves || e.plan.Submodels[u].Processor != ir.ProcID(q)
				}
				if leaves {
					run.Downloads = append(run.Downloads, v)
					if at.Download != nil {
						total += at.Download.Time(g.Bytes(v))
					}
				}
			}
			for _, n := range e.plan.Submodels[i].Nodes {
				for _, v := range g.Outputs(n) {
					present[v] = mark
				}
			}
			sum += total
			e.length[i] = total
			e.s.ProcLoad[q] += total
		}
	}
	return nil
}

// plans lists the transfers between devices, and the loads of the channels.
func (e *evaluation) plans() error {
	g, pf := e.p.Graph, e.p.Platform
	e.first = make([]int32, g.NumValues()+1)
	var goals []ir.DeviceID
	for v := range ir.ValueID(g.NumValues()) {
		var origin ir.DeviceID
		origin, goals = ir.Travels(e.p, e.plan, e.w, v, goals[:0])
		for _, b := range goals {
			route := e.routes.Find(origin, b, g.Bytes(v))
			if route == nil {
				return fmt.Errorf("value %q must go from device %s to %s, no link leads there", g.ValueName(v), pf.Devices[origin].Name, pf.Devices[b].Name)
			}
			e.transfers = append(e.transfers, transfer{v, b, route})
			for _, l := range route {
				e.s.LinkLoad[e.channel[l]] += pf.Links[l].Busy(g.Bytes(v))
			}
		}
		e.first[v+1] = int32(len(e.transfers))
	}
	return nil
}

// simulate plays the plan through.
func (e *evaluation) simulate(channels int) error {
	g, pf := e.p.Graph, e.p.Platform
	c := clock{queue: make([]waitHeap, channels), busy: make([]bool, channels)}
	open := make([]int, len(e.plan.Submodels))
	next := make([]int32, len(e.plan.Submodels))
	type place struct {
		v ir.ValueID
		d ir.DeviceID
	}
	waiting := map[place][]int32{}
	for i := range next {
		next[i] = -1
	}
	for i, s := range e.plan.Submodels {
		open[i] = len(e.fresh[i])
		if j := e.w.Previous[i]; j >= 0 {
			open[i]++
			next[j] = int32(i)
		}
		for _, v := range e.fresh[i] {
			at := place{v, pf.Processors[s.Processor].Device}
			waiting[at] = append(waiting[at], int32(i))
		}
	}
	started := 0
	var now ir.Time
	start := func(i int32) {
		started++
		e.s.Runs[i].Start, e.s.Runs[i].End = now, now+e.length[i]
		c.at(e.s.Runs[i].End, event{kind: runEnds, id: i})
	}
	satisfy := func(i int32) {
		if open[i]--; open[i] == 0 {
			start(i)
		}
	}
	enqueue := func(t, hop int32) {
		tr := &e.transfers[t]
		c.wait(e.channel[tr.route[hop]], waiter{now, t, hop})
	}
	arrive := func(v ir.ValueID, d ir.DeviceID, origin bool) {
		for _, i := range waiting[place{v, d}] {
			satisfy(i)
		}
		if origin {
			for t := e.first[v]; t < e.first[v+1]; t++ {
				enqueue(t, 0)
			}
		}
	}
	for i := range open {
		if open[i] == 0 {
			start(int32(i))
		}
	}
	for v := range ir.ValueID(g.NumValues()) {
		if g.IsInput(v) {
			if pf.Source != ir.NoDevice {
				arrive(v, pf.Source, true)
			} else {
				for d := range pf.Devices {
					arrive(v, ir.DeviceID(d), true)
				}
			}
		}
	}
	for {
		for len(c.events) > 0 && c.events[0].time == now {
			ev := c.pop()
			switch ev.kind {
			case runEnds:
				e.s.Latency = max(e.s.Latency, now)
				for _, v := range e.w.Produces(int(ev.id)) {
					arrive(v, pf.Processors[e.plan.Submodels[ev.id].Processor].Device, true)
				}
				if j := next[ev.id]; j >= 0 {
					satisfy(j)
				}
			case hopArrives:
				tr := &e.transfers[ev.id]
				if int(ev.hop)+1 < len(tr.route) {
					enqueue(ev.id, ev.hop+1)
				} else {
					if tr.goal == pf.Sink && g.IsOutput(tr.value) {
						e.s.Latency = max(e.s.Latency, now)
					}
					arrive(tr.value, tr.goal, false)
				}
			case channelFree:
				c.busy[ev.id] = false
			}
		}
		for ch := range c.queue {
			if c.busy[ch] || len(c.queue[ch]) == 0 {
				continue
			}
			x := c.take(ir.ChannelID(ch))
			tr := &e.transfers[x.transfer]
			link := &pf.Links[tr.route[x.hop]]
			free := now + link.Busy(g.Bytes(tr.value))
			c.busy[ch] = true
			e.s.Hops = append(e.s.Hops, ir.Hop{Value: tr.value, Link: tr.route[x.hop], For: tr.goal, Start: now, Free: free, Arrive: free + link.Latency})
			c.at(free, event{kind: channelFree, id: int32(ch)})
			c.at(free+link.Latency, event{kind: hopArrives, id: x.transfer, hop: x.hop})
		}
		if len(c.events) == 0 {
			break
		}
		now = c.events[0].time
	}
	if started < len(open) {
		stuck := slices.IndexFunc(open, func(n int) bool { return n > 0 })
		return fmt.Errorf("sub-model %d waits for itself by way of others", stuck)
	}
	return nil
}
