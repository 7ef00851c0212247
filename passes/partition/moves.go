package partition

import (
	"math"
	"math/bits"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// mix is how often moves of each kind are tried: a random number from 0 to copies-1 falls below the bound of its kind.
type mix struct {
	unite, unit, segment, near, swap, merge, split, copies int

	focus int // percent of units that are looked for where aim points
}

// mixture is the mix of a chain. Neither mix is better on all problems, so searches run chains of both.
func (c *Chain) mixture() mix {
	if c.only != nil {
		return *c.only
	}
	k := mix{unite: 3, unit: 67, segment: 69, near: 79, swap: 83, merge: 85, split: 86, copies: 86}
	if c.Aimed {
		k = mix{unite: 15, unit: 64, segment: 68, near: 77, swap: 81, merge: 83, split: 86, copies: 86, focus: 30}
	}
	if c.Objective == ir.Throughput {
		k.focus = 50
	}
	for u := range int32(c.X.M.Units) {
		if c.X.M.Replicable(u) {
			k.copies = 100
			break
		}
	}
	return k
}

// aim looks at what sets the objective of the current state: the slots and travelling values of its critical path, or
// the processor or channel with the largest load. Only what changes something there improves it.
func (x *chain) aim() {
	x.focus, x.way, x.jam = 0, x.way[:0], -1
	if x.Objective == ir.Latency {
		x.focus, x.way = x.s.Critical(x.way)
		return
	}
	q, channel := x.s.Busiest()
	if x.jam = channel; q >= 0 {
		x.focus = x.X.M.SlotsOf(q)
	}
}

// pick is a random unit, often one of a slot that aim has found, if one is found soon.
func (x *chain) pick() int32 {
	u := int32(x.r.IntN(x.X.M.Units))
	if x.focus != 0 && x.r.IntN(100) < x.mix.focus {
		for range 8 {
			if x.focus&(1<<x.s.Slot(u)) != 0 {
				break
			}
			u = int32(x.r.IntN(x.X.M.Units))
		}
	}
	return u
}

// pickCut is a random value that crosses between slots, often one that aim has found; -1 if there is none.
func (x *chain) pickCut() int32 {
	cuts := x.s.Cuts()
	if len(cuts) == 0 {
		return -1
	}
	v := cuts[x.r.IntN(len(cuts))]
	if x.r.IntN(2) == 0 {
		return v
	}
	if n := len(x.way); n > 0 && x.r.IntN(2) == 0 {
		if w := x.way[x.r.IntN(n)]; x.X.M.Producer(w) >= 0 && x.s.Need(w) != 0 {
			return w
		}
	}
	for range 4 {
		if x.jam >= 0 && x.s.Loads(v, x.jam) || x.focus != 0 && (x.focus&(1<<x.s.Slot(x.X.M.Producer(v))) != 0 || x.focus&x.s.Need(v) != 0) {
			break
		}
		v = cuts[x.r.IntN(len(cuts))]
	}
	return v
}

// propose makes a random move; false if it comes to nothing.
func (x *chain) propose() bool {
	m := x.X.M
	ok := false
	switch k := x.r.IntN(x.mix.copies); {
	case k < x.mix.unite:
		ok = x.unite()
	case k < x.mix.unit:
		u := x.pick()
		from, to := x.s.Slot(u), x.target(u)
		x.set = append(x.set[:0], u)
		ok = to != from && (x.r.IntN(4) != 0 && !x.inside(u, from) || x.gatherClosed(from, x.downwards(from, to))) && x.move(to)
	case k < x.mix.segment:
		u := x.pick()
		from, to := x.s.Slot(u), x.target(u)
		x.set = append(x.set[:0], u)
		ok = to != from && x.gatherSegment(u, from) && x.move(to)
	case k < x.mix.near:
		u := x.pick()
		from, to := x.s.Slot(u), x.target(u)
		x.set = append(x.set[:0], u)
		if to != from {
			x.gatherNear(u, from, 2+x.r.IntN(max(2, min(m.Units/8, 40))))
			ok = x.move(to)
		}
	case k < x.mix.swap:
		from := x.s.Slot(x.pick())
		ok = !x.dear(x.s.Count(int(from))) && x.swap(from, int32(x.r.IntN(m.Slots)))
	case k < x.mix.merge:
		ok = x.merge()
	case k < x.mix.split:
		ok = x.split()
	default:
		ok = x.copies()
	}
	if !ok {
		return false
	}
	if x.s.Stray() {
		x.dropStrays()
	}
	return x.s.Sound()
}

// unite takes a value that crosses between two slots and brings its producer to a reader, or readers to the producer,
// alone or with whatever must follow.
func (x *chain) unite() bool {
	v := x.pickCut()
	if v < 0 {
		return false
	}
	m := x.X.M
	p := m.Producer(v)
	from := x.s.Slot(p)
	need := x.s.Need(v)
	to := nth(need, x.r.IntN(popcount(need)))
	x.set = x.set[:0]
	how := x.r.IntN(4)
	if how < 2 {
		x.set = append(x.set, p)
		return (how == 0 || x.gatherClosed(from, true)) && x.move(to)
	}
	readers := m.Readers(v)
	skip := 0
	if how == 2 {
		skip = x.r.IntN(len(readers))
	}
	for i := range readers {
		if u := readers[(i+skip)%len(readers)]; x.s.Slot(u) == to {
			if x.set = append(x.set, u); how == 2 {
				break
			}
		}
	}
	// Where a replica reads the value there may be no unit to bring.
	return len(x.set) > 0 && (how == 2 && x.r.IntN(2) == 0 || x.gatherClosed(to, false)) && x.move(from)
}

// merge gives all of a slot to another.
func (x *chain) merge() bool {
	u := x.pick()
	from, to := x.s.Slot(u), x.target(u)
	if to == from || x.dear(x.s.Count(int(from))) {
		return false
	}
	x.gatherSlot(from)
	return x.move(to)
}

// split gives a closed set of a slot to an empty slot of the same processor.
func (x *chain) split() bool {
	u := x.pick()
	from := x.s.Slot(u)
	empty := x.X.M.SlotsOf(x.X.M.Proc(int(from))) &^ x.s.Used()
	if empty == 0 {
		return false
	}
	to := nth(empty, x.r.IntN(popcount(empty)))
	x.set = append(x.set[:0], u)
	return x.gatherClosed(from, to > from) && x.move(to)
}

// largeSet is the number of arcs of units from which on moves of sets become rarer with their size, as they take time in it.
const largeSet = 160

// dear says, at random, whether to leave out a move of n units, so that large and small moves take the same time in all.
func (x *chain) dear(n int) bool {
	n *= x.X.Arcs()
	return n > largeSet && x.r.IntN(n) >= largeSet
}

// target picks a slot for a unit: mostly that of a neighbour.
func (x *chain) target(u int32) int32 {
	m := x.X.M
	if x.r.IntN(100) < 75 {
		ins, outs := x.X.Pred(u), x.X.Succ(u)
		if n := len(ins) + len(outs); n > 0 {
			for range 3 {
				k := x.r.IntN(n)
				var w int32
				if k < len(ins) {
					w = ins[k]
				} else {
					w = outs[k-len(ins)]
				}
				if t := x.s.Slot(w); t != x.s.Slot(u) && m.Cost(u, m.Proc(int(t))) != ir.Unsupported {
					return t
				}
			}
		}
	}
	return int32(x.r.IntN(m.Slots))
}

// reaches says whether values flow from slot a to slot b, over other slots or in order on a processor.
func (x *chain) reaches(a, b int32) bool {
	m := x.X.M
	var seen uint64 = 1 << b
	todo := seen
	for todo != 0 {
		t := bits.TrailingZeros64(todo)
		todo &= todo - 1
		before := x.s.Pred(t) | m.SlotsOf(m.Proc(t))&x.s.Used()&(1<<t-1)
		if before&(1<<a) != 0 {
			return true
		}
		todo |= before &^ seen
		seen |= before
	}
	return false
}

// inside says whether a unit both reads from units of its slot and feeds such: alone it cannot leave.
func (x *chain) inside(u, slot int32) bool {
	return x.touches(x.X.Pred(u), slot) && x.touches(x.X.Succ(u), slot)
}

func (x *chain) touches(units []int32, slot int32) bool {
	for _, w := range units {
		if x.s.Slot(w) == slot {
			return true
		}
	}
	return false
}

// downwards says, at random where both will do, whether what moves from a slot to another should take along all that
// comes after it, not before: so that the sub-models stay acyclic where the target already comes after.
func (x *chain) downwards(from, to int32) bool {
	if x.reaches(from, to) {
		return true
	}
	return !x.reaches(to, from) && x.r.IntN(2) == 0
}

// gatherClosed adds to set, units of a slot, all that comes after them in the slot, or all that comes before. It gives
// up, and returns false, where the set gets larger than a random size, as moves take time in it: sets of 2^k to 2^(k+1)
// units are about as frequent for every k.
func (x *chain) gatherClosed(from int32, down bool) bool {
	most := int(math.Exp2(x.r.Float64()*math.Log2(float64(x.X.M.Units)) + 1))
	x.at++
	for _, u := range x.set {
		x.mark[u] = x.at
	}
	for i := 0; i < len(x.set); i++ {
		next := x.X.Pred(x.set[i])
		if down {
			next = x.X.Succ(x.set[i])
		}
		for _, w := range next {
			if x.mark[w] != x.at && x.s.Slot(w) == from {
				if len(x.set) >= most {
					return false
				}
				x.mark[w] = x.at
				x.set = append(x.set, w)
			}
		}
	}
	return true
}

// gatherSegment adds to set, which is u alone, the units of its slot that stand in one line with it: each the only
// reader of the one before, which is all that it reads from. It is false if there are none.
func (x *chain) gatherSegment(u, from int32) bool {
	for w := u; ; {
		next := x.X.Succ(w)
		if len(next) != 1 || len(x.X.Pred(next[0])) != 1 || x.s.Slot(next[0]) != from {
			break
		}
		w = next[0]
		x.set = append(x.set, w)
	}
	for w := u; ; {
		next := x.X.Pred(w)
		if len(next) != 1 || len(x.X.Succ(next[0])) != 1 || x.s.Slot(next[0]) != from {
			break
		}
		w = next[0]
		x.set = append(x.set, w)
	}
	return len(x.set) > 1
}

// gatherNear fills set with up to n connected units of a slot, found from u outwards.
func (x *chain) gatherNear(u, from int32, n int) {
	x.at++
	x.mark[u] = x.at
	for i := 0; i < len(x.set) && len(x.set) < n; i++ {
		for _, next := range [2][]int32{x.X.Succ(x.set[i]), x.X.Pred(x.set[i])} {
			for _, w := range next {
				if x.mark[w] != x.at && x.s.Slot(w) == from && len(x.set) < n {
					x.mark[w] = x.at
					x.set = append(x.set, w)
				}
			}
		}
	}
}

// gatherSlot fills set with all that a slot owns.
func (x *chain) gatherSlot(slot int32) {
	x.set = x.set[:0]
	for u, t := range x.s.Slots() {
		if t == slot {
			x.set = append(x.set, int32(u))
		}
	}
}

// swap exchanges what two slots own; false if that tears something apart.
func (x *chain) swap(a, b int32) bool {
	if a == b || x.s.Count(int(a))+x.s.Count(int(b)) == 0 {
		return false
	}
	x.gatherSlot(b)
	mine := len(x.set)
	for u, t := range x.s.Slots() {
		if t == a {
			x.set = append(x.set, int32(u))
		}
	}
	theirs := x.set[mine:]
	x.s.MoveSet(theirs, b)
	x.s.MoveSet(x.set[:mine], a)
	for _, class := range x.X.ties {
		q := x.X.M.Proc(int(x.s.Slot(class[0])))
		for _, u := range class[1:] {
			if x.X.M.Proc(int(x.s.Slot(u))) != q {
				return false
			}
		}
	}
	return true
}

// copies adds a replica of a producer to a slot that reads it, or drops one.
func (x *chain) copies() bool {
	s, m := x.s, x.X.M
	u := x.pick()
	if mask := s.Copies(u); mask != 0 && x.r.IntN(2) == 0 {
		s.Copy(u, nth(mask, x.r.IntN(popcount(mask))), false)
		return true
	}
	v := int32(-1)
	if x.r.IntN(2) == 0 {
		if v = x.pickCut(); v >= 0 {
			u = m.Producer(v)
		}
	} else {
		for _, w := range m.Outs(u) {
			if s.Need(w) != 0 {
				v = w
				break
			}
		}
	}
	if v < 0 || !m.Replicable(u) {
		return false
	}
	need := s.Need(v)
	t := nth(need, x.r.IntN(popcount(need)))
	if m.Cost(u, m.Proc(int(t))) == ir.Unsupported {
		return false
	}
	s.Copy(u, t, true)
	// What feeds it may have to come along to be worth it.
	for _, w := range x.X.Pred(u) {
		if m.Replicable(w) && s.Slot(w) != t && s.Copies(w)&(1<<t) == 0 && m.Cost(w, m.Proc(int(t))) != ir.Unsupported && x.r.IntN(2) == 0 {
			s.Copy(w, t, true)
		}
	}
	return true
}

// nth is the position of the k-th one of a set.
func nth(set uint64, k int) int32 {
	for range k {
		set &= set - 1
	}
	return int32(bits.TrailingZeros64(set))
}
