package sched

import (
	"math"
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// simulation is the scratch of Simulate.
//
// A channel serves transfers in the order in which they became ready, and they
// are found in that order, so the moment at which a transfer arrives is known
// when it is queued: no event is needed for it. Events are the ends of runs, and
// arrivals at devices that a transfer only passes through. The one case in which
// the order is not that simple, transfers that take no time at all and so make
// others ready at the same instant, is left to Evaluate.
type simulation struct {
	open  []int32 // by slot: remote values that it still waits for
	left  []uint64
	ready []ir.Time // by slot: the latest of what it has waited for
	cause []int32   // by slot: what that was: ^ the slot whose run has ended, or the value that has come
	last  int32     // the same of the latency
	free  []ir.Time // by channel
	given []ir.Time // by channel: the instant at which it was last given out
	turn  []int32   // by channel: the round of that instant
	heap  []simEvent
	batch []simTransfer
}

// atOnce is the cause of what waits for nothing.
const atOnce = math.MinInt32

type simEvent struct {
	time ir.Time
	what int32 // >= 0: the slot whose run ends; < 0: ^ the value that has come to a device on its way
	goal int32
	hop  int32
}

type simTransfer struct {
	value, goal, hop, from int32
}

func (x *simulation) init(m *Model) {
	x.open = make([]int32, m.Slots)
	x.left = make([]uint64, m.Slots)
	x.ready = make([]ir.Time, m.Slots)
	x.cause = make([]int32, m.Slots)
	x.free = make([]ir.Time, m.channels)
	x.given = make([]ir.Time, m.channels)
	x.turn = make([]int32, m.channels)
}

func (x *simulation) push(e simEvent) {
	x.heap = append(x.heap, e)
	h := x.heap
	i := len(h) - 1
	for i > 0 {
		up := (i - 1) / 2
		if h[up].time <= e.time {
			break
		}
		h[i] = h[up]
		i = up
	}
	h[i] = e
	x.heap = h
}

func (x *simulation) pop() simEvent {
	h := x.heap
	top, last := h[0], h[len(h)-1]
	h = h[:len(h)-1]
	x.heap = h
	if len(h) > 0 {
		i := 0
		for {
			k := 2*i + 1
			if k >= len(h) {
				break
			}
			if k+1 < len(h) && h[k+1].time < h[k].time {
				k++
			}
			if h[k].time >= last.time {
				break
			}
			h[i] = h[k]
			i = k
		}
		h[i] = last
	}
	return top
}

// Simulate is the latency of the plan. ok is false if the sub-models wait for
// each other. As soon as the latency is known to be above limit it stops and
// returns some time above limit.
func (s *State) Simulate(limit ir.Time) (latency ir.Time, ok bool) {
	m, x := s.m, &s.sim
	x.heap, x.batch = x.heap[:0], x.batch[:0]
	for c := range x.free {
		x.free[c], x.given[c] = 0, -1
	}
	running := 0
	x.last = atOnce
	for rest := s.used; rest != 0; rest &= rest - 1 {
		t := bits.TrailingZeros64(rest)
		x.open[t] = s.remote[t]
		x.ready[t], x.cause[t] = 0, atOnce
		left := s.pred[t] & m.devMask[m.slotDev[t]]
		if before := m.procMask[m.slotProc[t]] & s.used & (1<<t - 1); before != 0 {
			left |= 1 << (63 - bits.LeadingZeros64(before))
		}
		x.left[t] = left
		running++
		if x.open[t] == 0 && left == 0 {
			end := s.Length(t)
			if end > limit {
				return end, true
			}
			x.push(simEvent{time: end, what: int32(t)})
		}
	}
	var now ir.Time
	round := int32(0)
	sources := 0 // of the batch: one alone brings it in order
	if m.source >= 0 {
		sources++
		s.send(m.Slots, m.source)
	}
	for {
		for len(x.heap) > 0 && x.heap[0].time == now {
			e := x.pop()
			sources++
			if e.what < 0 {
				v := ^e.what
				x.batch = append(x.batch, simTransfer{v, e.goal, e.hop, s.home(v)})
				continue
			}
			running--
			t := int(e.what)
			if now >= latency {
				latency, x.last = now, ^e.what
			}
			dev := m.slotDev[t]
			for rest := m.devMask[dev] & s.used &^ (1 << t); rest != 0; rest &= rest - 1 {
				w := bits.TrailingZeros64(rest)
				if x.left[w]&(1<<t) != 0 {
					x.left[w] &^= 1 << t
					if now > x.ready[w] {
						x.ready[w], x.cause[w] = now, ^e.what
					}
					if x.left[w] == 0 && x.open[w] == 0 {
						end := x.ready[w] + s.Length(w)
						if end > limit {
							return end, true
						}
						x.push(simEvent{time: end, what: int32(w)})
					}
				}
			}
			s.send(t, dev)
		}
		if len(x.batch) > 0 {
			if sources > 1 {
				slices.SortFunc(x.batch, func(a, b simTransfer) int {
					if a.value != b.value {
						return int(a.value - b.value)
					}
					return int(a.goal - b.goal)
				})
			}
			for _, b := range x.batch {
				r := s.route(b.value, b.from, b.goal)
				h := &r.hops[b.hop]
				c := h.channel
				if x.given[c] == now && x.turn[c] != round {
					return s.simulateSlowly()
				}
				x.given[c], x.turn[c] = now, round
				x.free[c] = max(x.free[c], now) + h.busy
				arrive := x.free[c] + h.latency
				if int(b.hop)+1 < len(r.hops) {
					if arrive > limit {
						return arrive, true
					}
					x.push(simEvent{arrive, ^b.value, b.goal, b.hop + 1})
					continue
				}
				if b.goal == m.sink && m.output[b.value] {
					if arrive > limit {
						return arrive, true
					}
					if arrive > latency {
						latency, x.last = arrive, b.value
					}
				}
				for rest := s.travel[b.value].need & m.devMask[b.goal]; rest != 0; rest &= rest - 1 {
					w := bits.TrailingZeros64(rest)
					x.open[w]--
					if arrive > x.ready[w] {
						x.ready[w], x.cause[w] = arrive, b.value
					}
					if x.left[w] == 0 && x.open[w] == 0 {
						end := x.ready[w] + s.Length(w)
						if end > limit {
							return end, true
						}
						x.push(simEvent{time: end, what: int32(w)})
					}
				}
			}
			x.batch = x.batch[:0]
			round++
		}
		sources = 0
		if len(x.heap) == 0 {
			break
		}
		now = x.heap[0].time
	}
	return latency, running == 0
}

// send makes the values that leave a slot's device ready for their first hop.
func (s *State) send(slot int, dev int32) {
	set := &s.cross[slot]
	for i, above := range set.above {
		for ; above != 0; above &= above - 1 {
			w := i<<6 | bits.TrailingZeros64(above)
			for rest := set.words[w]; rest != 0; rest &= rest - 1 {
				v := int32(w<<6 | bits.TrailingZeros64(rest))
				for goals := s.travel[v].goals; goals != 0; goals &= goals - 1 {
					s.sim.batch = append(s.sim.batch, simTransfer{v, int32(bits.TrailingZeros64(goals)), 0, dev})
				}
			}
		}
	}
}

// home is the device where a value is made.
func (s *State) home(v int32) int32 {
	if t := s.travel[v].owner; t < int32(s.m.Slots) {
		return s.m.slotDev[t]
	}
	return s.m.source
}

func (s *State) simulateSlowly() (ir.Time, bool) {
	s.sim.last = atOnce // not known
	result, err := Evaluate(s.m.Problem, s.Plan(ir.Latency))
	if err != nil {
		return 0, false
	}
	return result.Latency, true
}

// Critical is the critical path of the plan that Simulate has just told the
// latency of: the slots whose runs are in it, and the values that travel between
// devices in it, appended to values. A value that waits for a link waits for
// others, which are not followed. Both are empty where the path is not known.
func (s *State) Critical(values []int32) (slots uint64, path []int32) {
	x := &s.sim
	for at := x.last; at != atOnce; {
		if at >= 0 {
			values = append(values, at)
			owner := s.travel[at].owner
			if owner == int32(s.m.Slots) {
				break
			}
			at = ^owner
			continue
		}
		slots |= 1 << ^at
		at = x.cause[^at]
	}
	return slots, values
}
