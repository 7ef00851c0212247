package sched

import (
	"math"
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Model is what the State is a State of.
func (s *State) Model() *Model { return s.m }

// Slot is the slot that owns a unit.
func (s *State) Slot(u int32) int32 { return s.slot[u] }

// Slots are the slots of all units. The caller must not change them.
func (s *State) Slots() []int32 { return s.slot }

// Copies is the set of slots that hold a replica of a unit.
func (s *State) Copies(u int32) uint64 { return s.copies[u] }

// Replicas is the number of replicas in all slots.
func (s *State) Replicas() int {
	n := 0
	for _, k := range s.extra {
		n += int(k)
	}
	return n
}

// Used is the set of slots that own something.
func (s *State) Used() uint64 { return s.used }

// Count is the number of units that a slot owns.
func (s *State) Count(slot int) int { return int(s.units[slot]) }

// Need is the set of slots that need a value from outside.
func (s *State) Need(v int32) uint64 { return s.travel[v].need }

// Load is the sum of the run times of a processor.
func (s *State) Load(q int) ir.Time {
	var t ir.Time
	for rest := s.m.procMask[q] & s.used; rest != 0; rest &= rest - 1 {
		t += s.Length(bits.TrailingZeros64(rest))
	}
	return t
}

// ChannelLoad is the sum of the times of all transfers over a channel.
func (s *State) ChannelLoad(c int) ir.Time { return s.busy[c] }

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

// MeanLoad is the root of the mean square of the loads of processors, those of channels added, in picoseconds.
func (s *State) MeanLoad() float64 {
	sum := 0.0
	for q := range s.m.Procs {
		t := float64(s.Load(q))
		sum += t * t
	}
	for _, t := range s.busy {
		sum += float64(t) * float64(t)
	}
	return math.Sqrt(sum / float64(s.m.Procs))
}

// Busiest is the processor with the largest load, or, with proc -1, the channel that has a larger one.
func (s *State) Busiest() (proc, channel int) {
	var most ir.Time
	proc, channel = -1, -1
	for q := range s.m.Procs {
		if t := s.Load(q); t > most {
			most, proc = t, q
		}
	}
	for c, t := range s.busy {
		if t > most {
			most, proc, channel = t, -1, c
		}
	}
	return proc, channel
}

// Loads says whether a value travels over a channel.
func (s *State) Loads(v int32, channel int) bool {
	for rest := s.travel[v].goals; rest != 0; rest &= rest - 1 {
		for _, h := range s.route(v, s.home(v), int32(bits.TrailingZeros64(rest))).hops {
			if int(h.channel) == channel {
				return true
			}
		}
	}
	return false
}

// Sound says whether every unit is on a processor that supports it, every value
// can travel, and no replica stands alone. Cycles are Acyclic's and Simulate's to find.
func (s *State) Sound() bool { return s.unsup == 0 && s.noRoute == 0 && s.stray == 0 }

// Stray says whether a slot that owns nothing holds replicas.
func (s *State) Stray() bool { return s.stray > 0 }

// Acyclic says whether sub-models, with the order of each processor, form a DAG.
func (s *State) Acyclic() bool {
	return s.m.acyclic(s.pred, s.used)
}

// Pred is the set of slots whose values a slot needs.
func (s *State) Pred(slot int) uint64 { return s.pred[slot] }

// Length is how long a slot's run takes, launch included.
func (s *State) Length(slot int) ir.Time { return s.length[slot] + s.m.launch[slot] }

// Plan is the plan that the State holds: sub-models in the order of slots, without numbers.
func (s *State) Plan(objective ir.Objective) *ir.Plan {
	m := s.m
	plan := &ir.Plan{Objective: objective}
	index := make([]int, m.Slots)
	for t := range m.Slots {
		if s.units[t] > 0 {
			index[t] = len(plan.Submodels)
			plan.Submodels = append(plan.Submodels, ir.Submodel{Processor: ir.ProcID(m.slotProc[t]), Nodes: make([]ir.NodeID, 0, s.units[t])})
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

// SaveCopies is a copy of the replicas of all units, nil if there are none.
func (s *State) SaveCopies() []uint64 {
	if s.Replicas() == 0 {
		return nil
	}
	return slices.Clone(s.copies)
}

// AddCopies gives units the replicas that SaveCopies returned.
func (s *State) AddCopies(copies []uint64) {
	for u, mask := range copies {
		for rest := mask &^ s.copies[u] &^ (1 << s.slot[u]); rest != 0; rest &= rest - 1 {
			s.Copy(int32(u), int32(bits.TrailingZeros64(rest)), true)
		}
	}
}
