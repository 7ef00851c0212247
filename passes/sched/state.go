package sched

import (
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// State is an assignment of units to slots under change. Every move updates
// only what hangs on it: lengths of runs, loads, who waits for whom, and what
// travels. Simulate then needs time in the number of runs and of travelling
// values. Nothing is allocated per move once the tables have grown.
//
// A State may hold plans that are not feasible: unsupported nodes, cycles, too
// much memory. Simulate, Bottleneck and Memory say so.
type State struct {
	m *Model

	slot   []int32  // by unit: the slot that owns it
	copies []uint64 // by unit: the slots that hold a replica
	uses   []int32  // value·Slots + slot: units in the slot that read the value
	need   []uint64 // by value: slots that need it from outside
	goals  []uint64 // by value: devices that it travels to
	unsup  int      // units, copies included, on processors that do not support them
	stray  int      // replicas in slots that own nothing

	// By slot.
	length []ir.Time // of the run, without the launch
	units  []int32   // owned
	extra  []int32   // replicas
	used   uint64    // slots that own something
	edges  []int32   // from·Slots + to: values that to needs of from
	pred   []uint64
	remote []int32   // values that the slot needs from other devices
	cross  [][]int32 // values that leave the device, ascending; the last list is of the graph inputs

	busy      []ir.Time // by channel: load
	noRoute   int       // transfers that no links lead to
	slowRoute *ir.Routes
	routeOf   [][]int32 // by kind of size: from·devices + to: 1 + index in routes, 0: not yet known
	routes    []route

	memory memoryState
	sim    simulation
}

type route struct {
	links []ir.LinkID
	none  bool
}

// NewState puts every unit into the slot that at gives for it.
func NewState(m *Model, at []int32) *State {
	s := &State{
		m: m, slot: slices.Clone(at), copies: make([]uint64, m.Units),
		uses: make([]int32, m.Values*m.Slots), need: make([]uint64, m.Values), goals: make([]uint64, m.Values),
		length: make([]ir.Time, m.Slots), units: make([]int32, m.Slots), extra: make([]int32, m.Slots),
		edges: make([]int32, m.Slots*m.Slots), pred: make([]uint64, m.Slots), remote: make([]int32, m.Slots),
		cross: make([][]int32, m.Slots+1), busy: make([]ir.Time, m.channels),
		slowRoute: ir.NewRoutes(m.Problem.Platform), routeOf: make([][]int32, m.sizes),
	}
	s.sim.init(m)
	s.memory.init(m)
	s.build()
	return s
}

// Reset puts every unit into the slot that at gives for it, without replicas.
func (s *State) Reset(at []int32) {
	copy(s.slot, at)
	clear(s.copies)
	clear(s.uses)
	clear(s.length)
	clear(s.units)
	clear(s.extra)
	clear(s.edges)
	clear(s.pred)
	clear(s.remote)
	clear(s.busy)
	for i := range s.cross {
		s.cross[i] = s.cross[i][:0]
	}
	s.used, s.unsup, s.stray, s.noRoute = 0, 0, 0, 0
	s.build()
}

func (s *State) build() {
	m := s.m
	for u := range int32(m.Units) {
		t := s.slot[u]
		s.units[t]++
		s.used |= 1 << t
		s.addCost(u, t)
		for _, v := range m.Ins(u) {
			s.uses[int(v)*m.Slots+int(t)]++
		}
	}
	for v := range int32(m.Values) {
		s.need[v] = s.needs(v)
		s.contribute(v, 1)
	}
}

// needs computes the slots that need a value from outside.
func (s *State) needs(v int32) uint64 {
	m := s.m
	var need uint64
	for t, n := range s.uses[int(v)*m.Slots : (int(v)+1)*m.Slots] {
		if n > 0 {
			need |= 1 << t
		}
	}
	if u := m.producer[v]; u >= 0 {
		need &^= 1<<s.slot[u] | s.copies[u]
	}
	return need
}

func (s *State) addCost(u, t int32) {
	s.touch(t)
	if c := s.m.cost[int(u)*s.m.Procs+int(s.m.slotProc[t])]; c == ir.Unsupported {
		s.unsup++
	} else {
		s.length[t] += c
	}
}

func (s *State) dropCost(u, t int32) {
	s.touch(t)
	if c := s.m.cost[int(u)*s.m.Procs+int(s.m.slotProc[t])]; c == ir.Unsupported {
		s.unsup--
	} else {
		s.length[t] -= c
	}
}

// contribute adds (sign 1) or takes away (-1) all that a value adds to lengths, loads and dependences.
func (s *State) contribute(v int32, sign ir.Time) {
	m := s.m
	need := s.need[v]
	owner, home := int32(m.Slots), m.source
	uploads := need
	var goals uint64
	if u := m.producer[v]; u >= 0 {
		owner = s.slot[u]
		s.touch(owner)
		home = m.slotDev[owner]
		q := m.slotProc[owner]
		uploads &^= m.procMask[q]
		if uploads != 0 || m.output[v] {
			s.length[owner] += sign * m.download(v, q)
		}
		row := s.edges[int(owner)*m.Slots : (int(owner)+1)*m.Slots]
		for rest := need; rest != 0; rest &= rest - 1 {
			t := bits.TrailingZeros64(rest)
			before := row[t]
			row[t] += int32(sign)
			if before == 0 || row[t] == 0 {
				s.pred[t] ^= 1 << owner
			}
		}
	}
	for rest := uploads; rest != 0; {
		t := bits.TrailingZeros64(rest)
		q := m.slotProc[t]
		s.length[t] += sign * m.upload(v, q)
		rest &^= m.procMask[q]
	}
	if home < 0 {
		return
	}
	for rest := need &^ m.devMask[home]; rest != 0; rest &= rest - 1 {
		t := bits.TrailingZeros64(rest)
		s.remote[t] += int32(sign)
		goals |= 1 << m.slotDev[t]
	}
	if m.output[v] && m.sink >= 0 && m.sink != home {
		goals |= 1 << m.sink
	}
	if goals == 0 {
		return
	}
	list := s.cross[owner]
	i, _ := slices.BinarySearch(list, v)
	if sign > 0 {
		s.goals[v] = goals
		s.cross[owner] = slices.Insert(list, i, v)
	} else {
		s.cross[owner] = slices.Delete(list, i, i+1)
	}
	for rest := goals; rest != 0; rest &= rest - 1 {
		r := s.route(v, home, int32(bits.TrailingZeros64(rest)))
		if r.none {
			s.noRoute += int(sign)
		}
		for _, l := range r.links {
			s.busy[m.channel[l]] += sign * m.Problem.Platform.Links[l].Busy(m.bytes[v])
		}
	}
}

// route is the way of a value between two devices.
func (s *State) route(v, from, to int32) *route {
	devices := len(s.m.devMask)
	kind := s.m.sizeKind[v]
	if s.routeOf[kind] == nil {
		s.routeOf[kind] = make([]int32, devices*devices)
	}
	at := &s.routeOf[kind][int(from)*devices+int(to)]
	if *at == 0 {
		links := s.slowRoute.Find(ir.DeviceID(from), ir.DeviceID(to), s.m.bytes[v])
		s.routes = append(s.routes, route{links, links == nil})
		*at = int32(len(s.routes))
	}
	return &s.routes[*at-1]
}

// Model is what the State is a State of.
func (s *State) Model() *Model { return s.m }

// Slot is the slot that owns a unit.
func (s *State) Slot(u int32) int32 { return s.slot[u] }

// Slots are the slots of all units. The caller must not change them.
func (s *State) Slots() []int32 { return s.slot }

// Copies is the set of slots that hold a replica of a unit.
func (s *State) Copies(u int32) uint64 { return s.copies[u] }

// Used is the set of slots that own something.
func (s *State) Used() uint64 { return s.used }

// Count is the number of units that a slot owns.
func (s *State) Count(slot int) int { return int(s.units[slot]) }

// Need is the set of slots that need a value from outside.
func (s *State) Need(v int32) uint64 { return s.need[v] }

// Move gives a unit to another slot. A replica that the slot has of it becomes the original.
func (s *State) Move(u, to int32) {
	from := s.slot[u]
	if from == to {
		return
	}
	m := s.m
	if s.copies[u]&(1<<to) != 0 {
		s.Copy(u, to, false)
	}
	s.dropCost(u, from)
	s.addCost(u, to)
	for _, v := range m.outs.row(u) {
		s.contribute(v, -1)
		need := s.need[v] &^ (1 << to)
		if s.uses[int(v)*m.Slots+int(from)] > 0 {
			need |= 1 << from
		}
		s.need[v] = need
	}
	s.slot[u] = to
	for _, v := range m.outs.row(u) {
		s.contribute(v, 1)
	}
	for _, v := range m.ins.row(u) {
		s.read(v, from, -1, to)
	}
	if s.units[from]--; s.units[from] == 0 {
		s.used &^= 1 << from
		s.stray += int(s.extra[from])
	}
	if s.units[to]++; s.units[to] == 1 {
		s.used |= 1 << to
		s.stray -= int(s.extra[to])
	}
}

// read changes how many units of a slot read a value; to >= 0 is a slot that gets the reader instead.
func (s *State) read(v, slot int32, by int32, to int32) {
	m := s.m
	row := s.uses[int(v)*m.Slots : (int(v)+1)*m.Slots]
	var held uint64
	if u := m.producer[v]; u >= 0 {
		held = 1<<s.slot[u] | s.copies[u]
	}
	need := s.need[v]
	row[slot] += by
	if row[slot] == 0 {
		need &^= 1 << slot
	} else {
		need |= 1 << slot
	}
	if to >= 0 {
		row[to]++
		need |= 1 << to
	}
	need &^= held
	if need != s.need[v] {
		s.contribute(v, -1)
		s.need[v] = need
		s.contribute(v, 1)
	}
}

// Copy adds a replica of a unit to a slot that does not own it, or takes it away.
func (s *State) Copy(u, slot int32, add bool) {
	m := s.m
	if s.slot[u] == slot || add == (s.copies[u]&(1<<slot) != 0) {
		diag.Bugf("replica of unit %d in slot %d", u, slot)
	}
	s.copies[u] ^= 1 << slot
	by := int32(1)
	if add {
		s.addCost(u, slot)
	} else {
		s.dropCost(u, slot)
		by = -1
	}
	if s.extra[slot] += by; s.units[slot] == 0 {
		s.stray += int(by)
	}
	for _, v := range m.outs.row(u) {
		need := s.need[v]
		if add {
			need &^= 1 << slot
		} else if s.uses[int(v)*m.Slots+int(slot)] > 0 {
			need |= 1 << slot
		}
		if need != s.need[v] {
			s.contribute(v, -1)
			s.need[v] = need
			s.contribute(v, 1)
		}
	}
	for _, v := range m.ins.row(u) {
		s.read(v, slot, by, -1)
	}
}

// Load is the sum of the run times of a processor.
func (s *State) Load(q int) ir.Time {
	var t ir.Time
	for rest := s.m.procMask[q] & s.used; rest != 0; rest &= rest - 1 {
		t += s.length[bits.TrailingZeros64(rest)] + s.m.Problem.Platform.Processors[q].Launch
	}
	return t
}

// Bottleneck is the largest load of a processor or channel.
func (s *State) Bottleneck() ir.Time {
	var most ir.Time
	for q := range s.m.Procs {
		most = max(most, s.Load(q))
	}
	for _, t := range s.busy {
		most = max(most, t)
	}
	return most
}

// Sound says whether every unit is on a processor that supports it, every value
// can travel, and no replica stands alone. Cycles are Acyclic's and Simulate's to find.
func (s *State) Sound() bool { return s.unsup == 0 && s.noRoute == 0 && s.stray == 0 }

// Acyclic says whether sub-models, with the order of each processor, form a DAG.
func (s *State) Acyclic() bool {
	left := s.used
	for left != 0 {
		before := left
		for rest := left; rest != 0; rest &= rest - 1 {
			t := bits.TrailingZeros64(rest)
			if (s.pred[t]|s.m.procMask[s.m.slotProc[t]]&(1<<t-1))&left == 0 {
				left &^= 1 << t
			}
		}
		if left == before {
			return false
		}
	}
	return true
}

// Pred is the set of slots whose values a slot needs.
func (s *State) Pred(slot int) uint64 { return s.pred[slot] }

// Length is how long a slot's run takes, launch included.
func (s *State) Length(slot int) ir.Time {
	return s.length[slot] + s.m.Problem.Platform.Processors[s.m.slotProc[slot]].Launch
}

// Plan is the plan that the State holds: sub-models in the order of slots, without numbers.
func (s *State) Plan(objective ir.Objective) *ir.Plan {
	m := s.m
	plan := &ir.Plan{Objective: objective}
	index := make([]int, m.Slots)
	for t := range m.Slots {
		if s.units[t] > 0 {
			index[t] = len(plan.Submodels)
			plan.Submodels = append(plan.Submodels, ir.Submodel{Processor: ir.ProcID(m.slotProc[t])})
		}
	}
	for n := range ir.NodeID(len(m.UnitOf)) {
		u := m.UnitOf[n]
		at := &plan.Submodels[index[s.slot[u]]]
		at.Nodes = append(at.Nodes, n)
		for rest := s.copies[u]; rest != 0; rest &= rest - 1 {
			at := &plan.Submodels[index[bits.TrailingZeros64(rest)]]
			at.Replicas = append(at.Replicas, n)
		}
	}
	return plan
}
