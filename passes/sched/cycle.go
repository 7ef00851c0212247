package sched

import "math/bits"

// ancestry is the scratch of Closes: who comes before whom in the assignment that Rollback returns to.
type ancestry struct {
	known  bool
	before []uint64 // by slot: slots that must end before it starts
	pred   []uint64 // scratch, as slotTables.pred
	lost   []int32  // by slot: values that a move takes off the dependence
	mark   int32
	seen   []int32 // by value: the last set that reads it
	count  []int32 // by value: units of that set that read it
	in     []int32 // by unit: the last set that it is in
}

func (a *ancestry) init(m *Model) {
	a.before, a.pred, a.lost = make([]uint64, m.Slots), make([]uint64, m.Slots), make([]int32, 2*m.Slots)
	a.seen, a.count, a.in = make([]int32, m.Values), make([]int32, m.Values), make([]int32, m.Units)
}

// Closes says whether giving units, all of one slot, to another would make
// sub-models wait for each other, who do not so far. It changes nothing and is
// far cheaper than to move and look: it takes time in the values of the units
// and, seldom, in the number of slots. Nothing may
// have changed since Begin, and no replica stands alone.
func (s *State) Closes(set []int32, to int32) bool {
	m, x := s.m, &s.anc
	from := s.slot[set[0]]
	empties := int(s.units[from]) == len(set)
	if s.dirty || from == to || empties && s.extra[from] > 0 {
		return false // replicas would be dropped, too: not known
	}
	if !x.known {
		s.findAncestors()
	}
	x.mark++
	for _, u := range set {
		x.in[u] = x.mark
		for _, v := range m.ins.row(u) {
			if x.seen[v] != x.mark {
				x.seen[v], x.count[v] = x.mark, 0
			}
			x.count[v]++
		}
	}
	// Dependences that come: of the target's slot on ins, of outs on it. Those that go: counted.
	var ins, outs uint64
	into, outOf := x.lost[:m.Slots], x.lost[m.Slots:]
	clear(x.lost)
	lose := false
	for _, u := range set {
		for _, v := range m.ins.row(u) {
			p := m.producer[v]
			if p < 0 || x.in[p] == x.mark || x.count[v] == 0 {
				continue
			}
			owner := s.slot[p]
			if owner != to && s.copies[p]&(1<<to) == 0 {
				ins |= 1 << owner
			}
			if s.travel[v].need&(1<<from) != 0 && s.uses[int(v)*m.Slots+int(from)] == x.count[v] {
				into[owner]++
				lose = lose || into[owner] == s.edges[int(owner)*m.Slots+int(from)]
			}
			x.count[v] = 0 // once for each value
		}
		for _, v := range m.outs.row(u) {
			readers := s.travel[v].readers
			if readers&(1<<from) != 0 {
				inside := int32(0)
				if x.seen[v] == x.mark {
					inside = x.count[v]
				}
				if s.uses[int(v)*m.Slots+int(from)] == inside {
					readers &^= 1 << from
				}
			}
			outs |= readers &^ (s.copies[u] | 1<<to)
			for rest := s.travel[v].need; rest != 0; rest &= rest - 1 {
				t := bits.TrailingZeros64(rest)
				outOf[t]++
				lose = lose || outOf[t] == s.edges[int(from)*m.Slots+t]
			}
		}
	}
	if s.units[to] == 0 {
		mine := m.procMask[m.slotProc[to]] & s.used
		if empties {
			mine &^= 1 << from
		}
		ins |= mine & (1<<to - 1)
		outs |= mine &^ (1<<to - 1)
	}
	if !lose && !empties {
		all := x.before[to] | ins
		for rest := ins; rest != 0; rest &= rest - 1 {
			all |= x.before[bits.TrailingZeros64(rest)]
		}
		return all&(outs|1<<to) != 0
	}
	copy(x.pred, s.pred)
	for t := range m.Slots {
		if into[t] > 0 && into[t] == s.edges[t*m.Slots+int(from)] {
			x.pred[from] &^= 1 << t
		}
		if outOf[t] > 0 && outOf[t] == s.edges[int(from)*m.Slots+t] {
			x.pred[t] &^= 1 << from
		}
	}
	x.pred[to] |= ins
	for rest := outs; rest != 0; rest &= rest - 1 {
		x.pred[bits.TrailingZeros64(rest)] |= 1 << to
	}
	used := s.used | 1<<to
	if empties {
		used &^= 1 << from
	}
	return !m.acyclic(x.pred, used)
}

// findAncestors fills in before, for slots that do not wait for each other.
func (s *State) findAncestors() {
	m, x := s.m, &s.anc
	x.known = true
	for left := s.used; left != 0; {
		earlier := left
		for rest := left; rest != 0; rest &= rest - 1 {
			t := bits.TrailingZeros64(rest)
			pred := (s.pred[t] | m.procMask[m.slotProc[t]]&(1<<t-1)) & s.used
			if pred&left != 0 {
				continue
			}
			left &^= 1 << t
			all := pred
			for more := pred; more != 0; more &= more - 1 {
				all |= x.before[bits.TrailingZeros64(more)]
			}
			x.before[t] = all
		}
		if left == earlier {
			return
		}
	}
	for rest := ^s.used & (1<<m.Slots - 1); rest != 0; rest &= rest - 1 {
		x.before[bits.TrailingZeros64(rest)] = 0
	}
}

// acyclic says whether slots that are used, who need the values of pred, form a DAG with the order of each processor.
func (m *Model) acyclic(pred []uint64, used uint64) bool {
	for left := used; left != 0; {
		before := left
		for rest := left; rest != 0; rest &= rest - 1 {
			t := bits.TrailingZeros64(rest)
			if (pred[t]|m.procMask[m.slotProc[t]]&(1<<t-1))&left == 0 {
				left &^= 1 << t
			}
		}
		if left == before {
			return false
		}
	}
	return true
}
