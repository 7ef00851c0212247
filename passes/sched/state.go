package sched

import (
	"math/bits"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// State is an assignment of units to slots under change. A move updates only
// what hangs on it: lengths of runs, loads, who waits for whom, and what
// travels. Simulate then needs time in the number of runs and of travelling
// values. Nothing is allocated per move once the tables have grown.
//
// Moves since the last Begin can be taken back with Rollback, at the cost of
// copying the tables of slots.
//
// A State may hold plans that are not feasible: unsupported nodes, cycles, too
// much memory. Sound, Simulate, Acyclic and Fits say so.
type State struct {
	m *Model

	slot   []int32  // by unit: the slot that owns it
	copies []uint64 // by unit: the slots that hold a replica
	uses   []int32  // value·Slots + slot: units in the slot that read the value
	travel []travel // by value
	cross  []bitset // by slot: values that leave its device; the last is of the graph inputs

	slotTables
	saved slotTables // as it was at Begin
	dirty bool       // something has changed since Begin

	journal []step
	values  []before
	touched []int32 // by value: the last MoveSet that touched it
	turn    int32
	open    int // values from here on are touched by the MoveSet under way

	findRoute *ir.Routes
	routeOf   [][]int32 // as Model.routeOf, where that is nil: filled in as routes are asked for
	routes    []route

	cuts  []int32 // values that a slot needs and another makes
	cutAt []int32 // by value: position in cuts, -1: not there

	memory memoryState
	sim    simulation
	anc    ancestry
}

// travel is where a value is made and where it is needed.
type travel struct {
	readers uint64 // slots in which a unit reads it
	need    uint64 // slots that need it from outside
	goals   uint64 // devices that it travels to
	owner   int32  // slot that makes it; Slots: a graph input
}

// slotTables is what a State sums up over units and values.
type slotTables struct {
	length []ir.Time // of a slot's run, without the launch
	busy   []ir.Time // by channel: load
	units  []int32   // owned by a slot
	extra  []int32   // replicas in a slot
	remote []int32   // values that a slot needs from other devices
	edges  []int32   // from·Slots + to: values that to needs of from
	pred   []uint64  // slots whose values a slot needs
	used   uint64    // slots that own something

	unsup   int // units, copies included, on processors that do not support them
	stray   int // replicas in slots that own nothing
	noRoute int // transfers that no links lead to
}

func (t *slotTables) init(m *Model) {
	t.length, t.busy = make([]ir.Time, m.Slots), make([]ir.Time, m.channels)
	t.units, t.extra, t.remote = make([]int32, m.Slots), make([]int32, m.Slots), make([]int32, m.Slots)
	t.edges, t.pred = make([]int32, m.Slots*m.Slots), make([]uint64, m.Slots)
}

func (t *slotTables) copyFrom(o *slotTables) {
	copy(t.length, o.length)
	copy(t.busy, o.busy)
	copy(t.units, o.units)
	copy(t.extra, o.extra)
	copy(t.remote, o.remote)
	copy(t.edges, o.edges)
	copy(t.pred, o.pred)
	t.used, t.unsup, t.stray, t.noRoute = o.used, o.unsup, o.stray, o.noRoute
}

func (t *slotTables) clear() {
	clear(t.length)
	clear(t.busy)
	clear(t.units)
	clear(t.extra)
	clear(t.remote)
	clear(t.edges)
	clear(t.pred)
	t.used, t.unsup, t.stray, t.noRoute = 0, 0, 0, 0
}

// step is a unit that has changed slots, or a replica that has come or gone, to take back.
type step struct {
	kind     stepKind
	unit     int32
	from, to int32 // slots; of a replica both are the same
}

type stepKind uint8

const (
	moved stepKind = iota
	copied
	dropped
)

// before is what a value was before a move.
type before struct {
	value int32
	old   travel
}

type route struct {
	hops []hop
	none bool
}

type hop struct {
	channel       int32
	busy, latency ir.Time
}

// NewState puts every unit into the slot that at gives for it.
func NewState(m *Model, at []int32) *State {
	s := &State{
		m: m, slot: make([]int32, m.Units), copies: make([]uint64, m.Units),
		uses: make([]int32, m.Values*m.Slots), travel: make([]travel, m.Values), cross: make([]bitset, m.Slots+1),
		touched: make([]int32, m.Values), findRoute: ir.NewRoutes(m.Problem.Platform), routeOf: make([][]int32, len(m.sizes)),
	}
	s.slotTables.init(m)
	s.saved.init(m)
	for i := range s.cross {
		s.cross[i] = newBitset(m.Values)
	}
	s.sim.init(m)
	s.memory.init(m)
	s.anc.init(m)
	s.cutAt = make([]int32, m.Values)
	for v := range s.cutAt {
		s.cutAt[v] = -1
	}
	s.build(at)
	return s
}

// Reset puts every unit into the slot that at gives for it, without replicas.
func (s *State) Reset(at []int32) {
	clear(s.copies)
	clear(s.uses)
	s.slotTables.clear()
	for i := range s.cross {
		s.cross[i].clear()
	}
	for _, v := range s.cuts {
		s.cutAt[v] = -1
	}
	s.cuts = s.cuts[:0]
	s.anc.known = false
	s.build(at)
}

func (s *State) build(at []int32) {
	m := s.m
	copy(s.slot, at)
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
		at := travel{owner: int32(m.Slots)}
		if u := m.producer[v]; u >= 0 {
			at.owner = s.slot[u]
		}
		for _, u := range m.Readers(v) {
			at.readers |= 1 << s.slot[u]
		}
		at.need = s.needOf(v, at.readers)
		s.contribute(v, &at, 1)
		s.travel[v] = at
		s.cut(v, 0, at.need)
	}
	s.Begin()
}

// needOf is the slots that need a value from outside, of those that read it.
func (s *State) needOf(v int32, readers uint64) uint64 {
	if u := s.m.producer[v]; u >= 0 {
		return readers &^ (1<<s.slot[u] | s.copies[u])
	}
	return readers
}

func (s *State) addCost(u, t int32) {
	s.forget(t)
	if c := s.m.cost[int(u)*s.m.Procs+int(s.m.slotProc[t])]; c == ir.Unsupported {
		s.unsup++
	} else {
		s.length[t] += c
	}
}

func (s *State) dropCost(u, t int32) {
	s.forget(t)
	if c := s.m.cost[int(u)*s.m.Procs+int(s.m.slotProc[t])]; c == ir.Unsupported {
		s.unsup--
	} else {
		s.length[t] -= c
	}
}

// contribute adds (sign 1) or takes away (-1) all that a value adds to lengths, loads and dependences where it is
// made and needed as at says; it fills in at.goals.
func (s *State) contribute(v int32, at *travel, sign ir.Time) {
	m := s.m
	if at.goals = 0; at.need == 0 && !m.output[v] {
		return
	}
	need, owner, home := at.need, at.owner, m.source
	uploads := need
	if owner < int32(m.Slots) {
		s.forget(owner)
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
	var goals uint64
	for rest := need &^ m.devMask[home]; rest != 0; {
		t := bits.TrailingZeros64(rest)
		d := m.slotDev[t]
		goals |= 1 << d
		for on := rest & m.devMask[d]; on != 0; on &= on - 1 {
			s.remote[bits.TrailingZeros64(on)] += int32(sign)
		}
		rest &^= m.devMask[d]
	}
	if m.output[v] && m.sink >= 0 && m.sink != home {
		goals |= 1 << m.sink
	}
	at.goals = goals
	if goals == 0 {
		return
	}
	s.cross[owner].flip(v)
	for rest := goals; rest != 0; rest &= rest - 1 {
		r := s.route(v, home, int32(bits.TrailingZeros64(rest)))
		if r.none {
			s.noRoute += int(sign)
		}
		for i := range r.hops {
			s.busy[r.hops[i].channel] += sign * r.hops[i].busy
		}
	}
}

// route is the way of a value between two devices.
func (s *State) route(v, from, to int32) *route {
	m := s.m
	kind := m.sizeKind[v]
	i := int(from)*len(m.devMask) + int(to)
	if m.routeOf != nil {
		return &m.routes[m.routeOf[kind][i]-1]
	}
	row := s.routeOf[kind]
	if row == nil {
		row = make([]int32, len(m.devMask)*len(m.devMask))
		s.routeOf[kind] = row
	}
	if row[i] == 0 {
		s.routes = append(s.routes, m.findRoute(s.findRoute, m.bytes[v], from, to))
		row[i] = int32(len(s.routes))
	}
	return &s.routes[row[i]-1]
}

// Begin makes the present assignment the one that Rollback returns to.
func (s *State) Begin() {
	if s.dirty {
		s.anc.known = false
	}
	s.journal, s.values = s.journal[:0], s.values[:0]
	s.dirty = false
}

// change is called before anything changes.
func (s *State) change() {
	if !s.dirty {
		s.dirty = true
		s.saved.copyFrom(&s.slotTables)
		s.memory.save()
	}
}

// Rollback takes back everything since Begin.
func (s *State) Rollback() {
	if !s.dirty {
		return
	}
	m := s.m
	for i := len(s.journal) - 1; i >= 0; i-- {
		e := &s.journal[i]
		switch e.kind {
		case moved:
			s.slot[e.unit] = e.from
			for _, v := range m.ins.row(e.unit) {
				row := s.uses[int(v)*m.Slots : (int(v)+1)*m.Slots]
				row[e.to]--
				row[e.from]++
			}
		default:
			s.copies[e.unit] ^= 1 << e.to
			by := int32(1)
			if e.kind == copied {
				by = -1
			}
			for _, v := range m.ins.row(e.unit) {
				s.uses[int(v)*m.Slots+int(e.to)] += by
			}
		}
	}
	for i := len(s.values) - 1; i >= 0; i-- {
		b := &s.values[i]
		at := &s.travel[b.value]
		if at.goals|b.old.goals != 0 && (at.owner != b.old.owner || (at.goals == 0) != (b.old.goals == 0)) {
			if at.goals != 0 {
				s.cross[at.owner].flip(b.value)
			}
			if b.old.goals != 0 {
				s.cross[b.old.owner].flip(b.value)
			}
		}
		s.cut(b.value, at.need, b.old.need)
		*at = b.old
	}
	s.slotTables.copyFrom(&s.saved)
	s.memory.restore()
	s.dirty = false // ancestors are those of before
	s.Begin()
}

// touch notes what a value was before the MoveSet under way.
func (s *State) touch(v int32) {
	if s.touched[v] != s.turn {
		s.touched[v] = s.turn
		s.values = append(s.values, before{v, s.travel[v]})
	}
}

// use changes by one how many units of a slot read a value; the value must be settled afterwards.
func (s *State) use(v, slot, by int32) {
	s.touch(v)
	n := &s.uses[int(v)*s.m.Slots+int(slot)]
	*n += by
	if *n == 0 || *n == by {
		s.travel[v].readers ^= 1 << slot
	}
}

// settle brings the values that have been touched up to date with slot, copies and uses.
func (s *State) settle() {
	m := s.m
	for i := s.open; i < len(s.values); i++ {
		b := &s.values[i]
		v := b.value
		at := &s.travel[v]
		now := travel{readers: at.readers, need: at.readers, owner: at.owner}
		if u := m.producer[v]; u >= 0 {
			now.owner = s.slot[u]
			now.need &^= 1<<now.owner | s.copies[u]
		}
		if now.owner == b.old.owner && now.need == b.old.need {
			continue
		}
		old := b.old
		s.contribute(v, &old, -1)
		s.contribute(v, &now, 1)
		s.cut(v, old.need, now.need)
		*at = now
	}
	s.open = len(s.values)
}

// cut keeps the list of cut values up to date when the slots that need one change.
func (s *State) cut(v int32, old, now uint64) {
	switch {
	case s.m.producer[v] < 0 || (old == 0) == (now == 0):
	case now != 0:
		s.cutAt[v] = int32(len(s.cuts))
		s.cuts = append(s.cuts, v)
	default:
		last := len(s.cuts) - 1
		w := s.cuts[last]
		s.cuts[s.cutAt[v]], s.cutAt[w] = w, s.cutAt[v]
		s.cuts, s.cutAt[v] = s.cuts[:last], -1
	}
}

// Cuts are the values that one slot makes and another needs, in no particular order. The caller must not change them.
func (s *State) Cuts() []int32 { return s.cuts }

// startTurn is called before anything changes.
func (s *State) startTurn() {
	s.change()
	s.turn++
	s.open = len(s.values)
}

// Move gives a unit to another slot. A replica that the slot has of it becomes the original.
func (s *State) Move(u, to int32) { s.MoveSet([]int32{u}, to) }

// MoveSet gives units to a slot.
func (s *State) MoveSet(set []int32, to int32) {
	s.startTurn()
	m := s.m
	for _, u := range set {
		from := s.slot[u]
		if from == to {
			continue
		}
		if s.copies[u]&(1<<to) != 0 {
			s.copy(u, to, -1)
		}
		s.dropCost(u, from)
		s.addCost(u, to)
		s.journal = append(s.journal, step{moved, u, from, to})
		s.slot[u] = to
		for _, v := range m.outs.row(u) {
			s.touch(v)
		}
		for _, v := range m.ins.row(u) {
			s.use(v, from, -1)
			s.use(v, to, 1)
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
	s.settle()
}

// Copy adds a replica of a unit to a slot that does not own it, or takes it away.
func (s *State) Copy(u, slot int32, add bool) {
	if s.slot[u] == slot || add == (s.copies[u]&(1<<slot) != 0) {
		diag.Bugf("replica of unit %d in slot %d", u, slot)
	}
	s.startTurn()
	if add {
		s.copy(u, slot, 1)
	} else {
		s.copy(u, slot, -1)
	}
	s.settle()
}

// copy changes a replica without settling its values.
func (s *State) copy(u, slot, by int32) {
	s.copies[u] ^= 1 << slot
	if by > 0 {
		s.journal = append(s.journal, step{copied, u, slot, slot})
		s.addCost(u, slot)
	} else {
		s.journal = append(s.journal, step{dropped, u, slot, slot})
		s.dropCost(u, slot)
	}
	if s.extra[slot] += by; s.units[slot] == 0 {
		s.stray += int(by)
	}
	for _, v := range s.m.outs.row(u) {
		s.touch(v)
	}
	for _, v := range s.m.ins.row(u) {
		s.use(v, slot, by)
	}
}
