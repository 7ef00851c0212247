package partition

import (
	"context"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// Chain is one run of simulated annealing over the assignments of units to
// slots (Kirkpatrick, Gelatt and Vecchi, Science 220, 1983), on the true
// objective. Its moves know the problem: a unit goes where its neighbours are,
// with whatever must follow it so that sub-models stay acyclic; whole sub-models
// change places, merge and split.
type Chain struct {
	X           *Units
	Objective   ir.Objective
	Start       []int32  // by unit: slot
	StartCopies []uint64 // by unit: slots with a replica; nil if there are none
	Seed        uint64
	Steps       int     // moves to try
	Hot, Cold   float64 // temperatures at the start and the end, as shares of the starting value
	Even        float64 // share of the mean load that counts beside the objective: a slope where the objective is flat
	Strict      bool    // never exceed a memory limit on the way, once it has been kept

	Rated *atomic.Int64 // grows by the plans that Run rates, now and then; nil: nobody counts

	// The best feasible assignment found, nil if there was none, and its score.
	Best   []int32
	Copies []uint64 // by unit: slots that hold a replica of it; nil if no unit has one
	Score  Score
}

type chain struct {
	*Chain
	s    *sched.State
	r    *rand.Rand
	set  []int32
	mark []int32
	at   int32
	cur  ir.Time
	raw  ir.Time // objective of the state that value last looked at
	over int64   // bytes by which the state that value last looked at exceeds limits

	excess float64 // price of a byte beyond the limits, in picoseconds, at the start
	soft   float64 // what it has grown by
}

// Run anneals until the steps are used up or the context ends.
func (c *Chain) Run(ctx context.Context) {
	x := &chain{Chain: c, s: sched.NewState(c.X.M, c.Start), r: rand.New(rand.NewPCG(c.Seed, 0x6a09e667f3bcc909))}
	x.s.AddCopies(c.StartCopies)
	x.mark = make([]int32, c.X.M.Units)
	c.Score = Worst
	if !x.s.Sound() || !c.X.Together(c.Start) {
		return
	}
	x.soft, x.excess = 1, 1
	x.cur = x.value(ir.MaxTime)
	if x.cur == infeasible {
		return
	}
	scale := float64(x.cur)
	if x.over > 0 {
		scale -= float64(x.penalty())
	}
	x.excess = scale / float64(x.room())
	x.cur = x.value(ir.MaxTime)
	x.keep()
	hot, cold := c.Hot*scale, c.Cold*scale
	const block = 64 // moves at one temperature
	temp := hot
	rated := int64(0)
	defer func() { x.count(rated) }()
	for i := range c.Steps {
		if i%block == 0 {
			x.count(rated)
			rated = 0
			if ctx.Err() != nil {
				break
			}
			done := float64(i) / float64(c.Steps)
			temp = hot * math.Pow(cold/hot, done)
			if x.X.M.Limited() {
				x.soft = math.Pow(softMost, done)
				x.cur = x.value(ir.MaxTime)
			}
		}
		limit := x.cur + ir.Time(-temp*math.Log(1-x.r.Float64()))
		x.s.Begin()
		if !x.propose() {
			x.s.Rollback()
			continue
		}
		rated++
		v := x.value(limit)
		if v > limit {
			x.s.Rollback()
			continue
		}
		x.cur = v
		if x.over == 0 && x.raw <= x.Score.Value {
			x.keep()
		}
	}
}

// count says how many more plans were rated.
func (x *chain) count(more int64) {
	if x.Rated != nil {
		x.Rated.Add(more)
	}
}

// softMost is by how much the price of a byte beyond the limits grows during a chain: at first a plan may exceed
// them on the way to a better one, in the end it may not.
const softMost = 1000

// room is the smallest limit that a plan could break: what excess is measured by.
func (x *chain) room() int64 {
	room := int64(1 << 40)
	for q, e := range x.X.M.Problem.Platform.Processors {
		if x.X.M.SlotsOf(q) != 0 && e.MemoryBytes > 0 {
			room = min(room, e.MemoryBytes)
		}
	}
	for _, d := range x.X.M.Problem.Platform.Devices {
		if d.MemoryBytes > 0 {
			room = min(room, d.MemoryBytes)
		}
	}
	return room
}

// penalty is the price of exceeding memory limits by x.over bytes.
func (x *chain) penalty() ir.Time {
	return ir.Time(min(float64(x.over)*x.excess*x.soft, float64(ir.MaxTime)/4)) + 1
}

const infeasible = ir.MaxTime

// value is the objective of the current state, with the price of exceeding memory limits, if it is at most limit and
// the state can run.
func (x *chain) value(limit ir.Time) ir.Time {
	s := x.s
	var v ir.Time
	if x.Objective == ir.Throughput {
		if v = s.Bottleneck(); v > limit || !s.Acyclic() {
			return infeasible
		}
		x.raw = v
	} else {
		var ok bool
		if v, ok = s.Simulate(limit); !ok || v > limit {
			return infeasible
		}
		x.raw = v
	}
	if x.Even > 0 {
		v += ir.Time(x.Even * s.MeanLoad())
	}
	if x.over = s.Overflow(); x.over > 0 {
		if x.Strict && x.Best != nil {
			return infeasible
		}
		v += x.penalty()
	}
	return v
}

// keep records the current state if it is the best so far.
func (x *chain) keep() {
	score := Full(x.s, x.Objective)
	if !score.Less(x.Score) {
		return
	}
	x.Score = score
	x.Best = append(x.Best[:0], x.s.Slots()...)
	x.Chain.Copies = x.s.SaveCopies()
}

// move gives the units of set to a slot, and whatever is tied to them to the same processor; false if that cannot run
// one of them.
func (x *chain) move(to int32) bool {
	q := x.X.M.Proc(int(to))
	if len(x.X.ties) > 0 {
		x.at++
		for _, u := range x.set {
			x.mark[u] = x.at
		}
		for i := 0; i < len(x.set); i++ {
			for _, w := range x.X.Tied(x.set[i]) {
				if x.mark[w] != x.at && x.X.M.Proc(int(x.s.Slot(w))) != q {
					x.mark[w] = x.at
					x.set = append(x.set, w)
				}
			}
		}
	}
	for _, u := range x.set {
		if x.X.M.Cost(u, q) == ir.Unsupported {
			return false
		}
	}
	x.s.MoveSet(x.set, to)
	return true
}

// dropStrays removes the replicas of slots that no longer own anything.
func (x *chain) dropStrays() {
	for u := range int32(x.X.M.Units) {
		for rest := x.s.Copies(u) &^ x.s.Used(); rest != 0; rest &= rest - 1 {
			x.s.Copy(u, int32(bits.TrailingZeros64(rest)), false)
		}
	}
}

// propose makes a random move; false if it comes to nothing.
func (x *chain) propose() bool {
	m := x.X.M
	u := int32(x.r.IntN(m.Units))
	if x.Objective == ir.Throughput && x.r.IntN(2) == 0 {
		u = x.fromBusiest(u)
	}
	from := x.s.Slot(u)
	x.set = append(x.set[:0], u)
	switch k := x.r.IntN(100); {
	case k < 70:
		to := x.target(u)
		if to == from || (x.r.IntN(4) == 0 || x.inside(u, from)) && !x.gatherClosed(u, from, to) {
			return false
		}
		if !x.move(to) {
			return false
		}
	case k < 80:
		to := x.target(u)
		if to == from {
			return false
		}
		x.gatherNear(u, from, 2+x.r.IntN(max(2, min(m.Units/8, 40))))
		if !x.move(to) {
			return false
		}
	case k < 84:
		if x.dear(x.s.Count(int(from))) {
			return false
		}
		if !x.swap(from, int32(x.r.IntN(m.Slots))) {
			return false
		}
	case k < 86: // merge
		to := x.target(u)
		if to == from || x.dear(x.s.Count(int(from))) {
			return false
		}
		x.gatherSlot(from)
		if !x.move(to) {
			return false
		}
	default:
		if !x.copies(u) {
			return false
		}
	}
	if x.s.Stray() {
		x.dropStrays()
	}
	return x.s.Sound()
}

// fromBusiest is a unit of the processor with the largest load if one is found soon, u otherwise: only what takes
// load from there improves the bottleneck.
func (x *chain) fromBusiest(u int32) int32 {
	q := x.s.Busiest()
	for range 8 {
		if q < 0 || x.X.M.Proc(int(x.s.Slot(u))) == q {
			break
		}
		u = int32(x.r.IntN(x.X.M.Units))
	}
	return u
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

// gatherClosed fills set with a unit and all that comes after it in its slot, or all that comes before, so that the
// sub-models stay acyclic where the target already comes after or before. It gives up, and returns false, where the
// set gets larger than a random size, as moves take time in it: sets of 2^k to 2^(k+1) units are about as frequent for
// every k.
func (x *chain) gatherClosed(u, from, to int32) bool {
	down := x.r.IntN(2) == 0
	if x.reaches(from, to) {
		down = true
	} else if x.reaches(to, from) {
		down = false
	}
	most := int(math.Exp2(x.r.Float64()*math.Log2(float64(x.X.M.Units)) + 1))
	x.at++
	x.mark[u] = x.at
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
func (x *chain) copies(u int32) bool {
	s, m := x.s, x.X.M
	if mask := s.Copies(u); mask != 0 && x.r.IntN(2) == 0 {
		s.Copy(u, nth(mask, x.r.IntN(popcount(mask))), false)
		return true
	}
	if !m.Replicable(u) {
		return false
	}
	for _, v := range m.Outs(u) {
		need := s.Need(v)
		if need == 0 {
			continue
		}
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
	return false
}

// nth is the position of the k-th one of a set.
func nth(set uint64, k int) int32 {
	for range k {
		set &= set - 1
	}
	return int32(bits.TrailingZeros64(set))
}

// ToPlan is the best assignment as a plan without numbers.
func (c *Chain) ToPlan() *ir.Plan {
	s := sched.NewState(c.X.M, c.Best)
	s.AddCopies(c.Copies)
	return s.Plan(c.Objective)
}

// FromPlan gives the slots of a plan's units: sub-models go to their processor's slots in order. ok is false if
// the plan cuts through a unit or has more sub-models than there are slots.
func FromPlan(m *sched.Model, plan *ir.Plan) (at []int32, copies []uint64, ok bool) {
	at = make([]int32, m.Units)
	copies = make([]uint64, m.Units)
	for u := range at {
		at[u] = -1
	}
	free := make([]uint64, m.Procs)
	have := make([]int, m.Procs)
	for _, sub := range plan.Submodels {
		have[sub.Processor]++
	}
	for q := range free {
		free[q] = m.SlotsOf(q)
		// Leave room before and behind.
		for range (popcount(free[q]) - have[q]) / 2 {
			free[q] &= free[q] - 1
		}
	}
	count := make([]int, m.Units)
	for _, sub := range plan.Submodels {
		q := sub.Processor
		if free[q] == 0 {
			return nil, nil, false
		}
		t := int32(bits.TrailingZeros64(free[q]))
		free[q] &= free[q] - 1
		for _, n := range sub.Nodes {
			u := m.UnitOf[n]
			if at[u] >= 0 && at[u] != t {
				return nil, nil, false
			}
			at[u] = t
		}
		clear(count)
		for _, n := range sub.Replicas {
			u := m.UnitOf[n]
			if count[u]++; count[u] == len(m.Nodes(u)) {
				copies[u] |= 1 << t
			}
		}
	}
	return at, copies, !slices.Contains(at, -1)
}
