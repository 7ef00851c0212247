package sched

import (
	"math/bits"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// memoryState keeps the memory of every processor whose limit some plan could
// break, and forgets it when something on the processor changes.
type memoryState struct {
	need       []int64 // by processor, valid where it is not dirty
	dirty      []bool
	savedNeed  []int64 // as they were when a move began
	savedDirty []bool
	index      []int32 // by ir.ValueID: value of the model, -1: it cannot leave its unit

	// Scratch. The tables carry marks, so nothing is cleared between uses.
	mark    int32
	inside  []int32 // by NodeID: last mark of a slot that was found to hold the node
	seen    []int32 // by ValueID
	lastUse []int32 // by ValueID: node
	stays   []int32 // by ValueID: mark of a run after which the value stays for a later one
	last    []int32 // by ValueID: position of the last run that needs it
	lastOf  []int32 // by ValueID: mark of the processor that last refers to
	weight  []int32 // by WeightID
	held    [][]int32
	needs   [][]int32
	present []int32
	in      []int32 // by ValueID: mark of the processor in whose memory it stays
}

func (x *memoryState) init(m *Model) {
	if !m.anyLimit {
		return
	}
	g := m.Problem.Graph
	x.need = make([]int64, m.Procs)
	x.dirty = make([]bool, m.Procs)
	x.savedNeed, x.savedDirty = make([]int64, m.Procs), make([]bool, m.Procs)
	x.index = make([]int32, g.NumValues())
	for i := range x.index {
		x.index[i] = -1
	}
	for v, id := range m.value {
		x.index[id] = int32(v)
	}
	x.inside = make([]int32, g.NumNodes())
	x.weight = make([]int32, g.NumWeights())
	for _, t := range []*[]int32{&x.seen, &x.lastUse, &x.stays, &x.last, &x.lastOf, &x.in} {
		*t = make([]int32, g.NumValues())
	}
	x.held = make([][]int32, m.Slots)
	x.needs = make([][]int32, m.Slots)
}

func (x *memoryState) save() {
	copy(x.savedNeed, x.need)
	copy(x.savedDirty, x.dirty)
}

func (x *memoryState) restore() {
	copy(x.need, x.savedNeed)
	copy(x.dirty, x.savedDirty)
}

// forget marks the memory of a slot's processor as unknown.
func (s *State) forget(slot int32) {
	if s.m.anyLimit {
		s.memory.dirty[s.m.slotProc[slot]] = true
	}
}

// Fits says whether the plan keeps all memory limits.
func (s *State) Fits() bool { return !s.m.anyLimit || s.overflow(true) == 0 }

// Overflow is by how many bytes the plan exceeds limits: the sum over processors and devices.
func (s *State) Overflow() int64 {
	if !s.m.anyLimit {
		return 0
	}
	return s.overflow(false)
}

// overflow stops at the first limit that is broken if that is all the caller wants to know.
func (s *State) overflow(first bool) int64 {
	pf := s.m.Problem.Platform
	s.measure()
	var over int64
	for q, limited := range s.m.limited {
		if limited {
			if more := s.memory.need[q] - pf.Processors[q].MemoryBytes; more > 0 {
				if over += more; first {
					return over
				}
			}
		}
	}
	for d, limited := range s.m.devLimit {
		if !limited {
			continue
		}
		var need int64
		for q, e := range pf.Processors {
			if int(e.Device) == d {
				need += s.memory.need[q]
			}
		}
		over += max(0, need-pf.Devices[d].MemoryBytes)
	}
	return over
}

// MemoryOf is what a processor needs; only processors with a limit that matters are measured.
func (s *State) MemoryOf(q int) int64 {
	if !s.m.anyLimit || !s.m.limited[q] {
		return 0
	}
	s.measure()
	return s.memory.need[q]
}

// measure brings the memory of all limited processors up to date.
func (s *State) measure() {
	m, x := s.m, &s.memory
	var want uint64 // slots of processors to measure
	for q, dirty := range x.dirty {
		if dirty && m.limited[q] {
			want |= m.procMask[q]
		}
	}
	if want == 0 {
		return
	}
	for rest := want; rest != 0; rest &= rest - 1 {
		t := bits.TrailingZeros64(rest)
		x.held[t] = x.held[t][:0]
	}
	for n, u := range m.UnitOf {
		for rest := (1<<s.slot[u] | s.copies[u]) & want; rest != 0; rest &= rest - 1 {
			t := bits.TrailingZeros64(rest)
			x.held[t] = append(x.held[t], int32(n))
		}
	}
	for q := range x.dirty {
		if x.dirty[q] && m.limited[q] {
			x.need[q] = s.measureProc(q)
			x.dirty[q] = false
		}
	}
}

// measureProc is the memory of one processor; held lists the nodes of its slots.
func (s *State) measureProc(q int) int64 {
	m, x, g := s.m, &s.memory, s.m.Problem.Graph
	mine := m.procMask[q] & s.used
	x.mark++
	whole := x.mark
	for rest := mine; rest != 0; rest &= rest - 1 {
		t := bits.TrailingZeros64(rest)
		x.mark++
		for _, n := range x.held[t] {
			x.inside[n] = x.mark
		}
		x.needs[t] = x.needs[t][:0]
		for _, n := range x.held[t] {
			for _, v := range g.Inputs(ir.NodeID(n)) {
				if p := g.Producer(v); (p == ir.NoNode || x.inside[p] != x.mark) && x.seen[v] != x.mark {
					x.seen[v] = x.mark
					x.needs[t] = append(x.needs[t], int32(v))
					x.last[v], x.lastOf[v] = int32(t), whole
				}
			}
		}
	}
	// later says whether a run after that of slot t needs v.
	later := func(v int32, t int) bool { return x.lastOf[v] == whole && int(x.last[v]) > t }
	var weights, peak, stay int64
	x.present = x.present[:0]
	for rest := mine; rest != 0; rest &= rest - 1 {
		t := bits.TrailingZeros64(rest)
		x.mark++
		var live, most, own int64
		for _, n := range x.held[t] {
			for _, v := range g.Inputs(ir.NodeID(n)) {
				x.lastUse[v], x.seen[v] = n, x.mark
			}
			for _, w := range g.Weights(ir.NodeID(n)) {
				if x.weight[w] != x.mark {
					x.weight[w] = x.mark
					own += g.WeightBytes(w)
				}
			}
		}
		other := stay
		for _, v := range x.needs[t] {
			live += g.ResidentBytes(ir.ValueID(v))
			if later(v, t) {
				x.stays[v] = x.mark
			}
			if x.in[v] == whole {
				other -= g.ResidentBytes(ir.ValueID(v))
			}
		}
		most = live
		for _, n := range x.held[t] {
			owned := int(s.slot[m.UnitOf[n]]) == t
			outs := g.Outputs(ir.NodeID(n))
			for _, v := range outs {
				live += g.ResidentBytes(v)
				if owned && (g.IsOutput(v) || x.index[v] >= 0 && s.travel[x.index[v]].need != 0) {
					x.stays[v] = x.mark
				}
			}
			most = max(most, live)
			for _, v := range g.Inputs(ir.NodeID(n)) {
				if x.lastUse[v] == n && x.stays[v] != x.mark {
					live -= g.ResidentBytes(v)
				}
			}
			for _, v := range outs {
				if x.seen[v] != x.mark && x.stays[v] != x.mark {
					live -= g.ResidentBytes(v)
				}
			}
		}
		weights += own
		peak = max(peak, most+other)
		if mine>>t == 1 {
			break // no later run
		}
		enter := func(v int32) {
			if x.in[v] != whole && later(v, t) {
				x.in[v] = whole
				x.present = append(x.present, v)
				stay += g.ResidentBytes(ir.ValueID(v))
			}
		}
		for _, v := range x.needs[t] {
			enter(v)
		}
		for _, n := range x.held[t] {
			if int(s.slot[m.UnitOf[n]]) == t {
				for _, v := range g.Outputs(ir.NodeID(n)) {
					enter(int32(v))
				}
			}
		}
		left := x.present[:0]
		for _, v := range x.present {
			if later(v, t) {
				left = append(left, v)
			} else {
				x.in[v] = 0
				stay -= g.ResidentBytes(ir.ValueID(v))
			}
		}
		x.present = left
	}
	return weights + peak
}
