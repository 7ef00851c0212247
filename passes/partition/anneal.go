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
	Aimed       bool    // prefer moves at what sets the objective, and at values that cross, to moves anywhere
	Strict      bool    // never exceed a memory limit on the way, once it has been kept
	only        *mix    // the moves to try, nil: those of mixture

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

	mix mix

	// What sets the objective of the current state, see aim.
	focus uint64  // slots
	way   []int32 // values
	jam   int     // a channel, -1: none

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
	x.aim()
	x.keep()
	x.mix = c.mixture()
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
		x.aim()
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
	alone := len(x.set)
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
	if len(x.set) == alone && x.s.Closes(x.set, to) {
		return false
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
