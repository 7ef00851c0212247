package passes

import (
	"context"
	"math/bits"
	"slices"
	"sync"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/partition"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// search looks for better plans, from many starts: on units of many nodes first,
// then, level by level, on those that they were made of.
func search(j *job) error {
	n := j.p.Graph.NumNodes()
	if n == 0 {
		return nil
	}
	seed := j.o.Seed
	unitOf, units := partition.Weld(j.p)
	if rough := j.rough(unitOf, units); rough != nil {
		best := j.best
		seed = j.refine(j.stages(rough), seed, true)
		if j.best != best {
			j.pool = append(j.pool, j.best)
		}
		if j.spent() {
			return nil
		}
	}
	j.refine(j.stages(j.levels(unitOf, units)), seed, false)
	return nil
}

// refine runs searches, each from what the one before it has found, and returns the next seed. more says that others follow.
func (j *job) refine(stages []stage, seed uint64, more bool) uint64 {
	var starts []start
	var before *sched.Model
	for i, l := range stages {
		m := sched.NewModel(j.p, l.unitOf, l.units, sched.Layout(j.p, l.slots))
		x, ok := partition.NewUnits(m)
		if !ok {
			continue
		}
		for k := range starts {
			starts[k] = starts[k].on(before, m)
		}
		last := i == len(stages)-1 && !more
		s := &searching{job: j, x: x, starts: starts, seed: seed, refine: before != nil && before.Units < m.Units, last: last, until: j.deadline}
		if !j.deadline.IsZero() && !last {
			share := stageShare
			if more {
				share = roughShare
			}
			s.until = time.Now().Add(time.Duration(share * float64(time.Until(j.deadline))))
		}
		before = m
		s.gather()
		e := effortFor(x, s.refine)
		if l.slots < mostSlots && !last {
			e.rounds /= 2
		}
		s.run(e)
		starts, seed = s.starts, s.seed
		if j.spent() {
			break
		}
	}
	return seed
}

// stageShare is the share of the time left that a search may take if others follow.
const stageShare = 0.3

// roughShare is the same for searches on the units of a wide graph.
const roughShare = 0.1

// stage is a search on some units with some slots for each processor.
type stage struct {
	level
	slots int
}

// mostSlots is how many sub-models a processor may have in a search.
const mostSlots = 4

// stages are the searches, in order: where processors may have several sub-models the first one does with one each,
// for there are fewer such plans and good ones among them, and is what the next one starts from.
func (j *job) stages(levels []level) []stage {
	var all []stage
	for i, l := range levels {
		one, more := 0, 0
		for _, n := range sched.Layout(j.p, mostSlots) {
			one += min(n, 1)
			more += n
		}
		if i == 0 && more >= 2*one {
			all = append(all, stage{l, 1})
		}
		all = append(all, stage{l, mostSlots})
	}
	return all
}

// level is one way to gather nodes into units.
type level struct {
	unitOf []int32 // by NodeID
	units  int
}

// levels are those that the search goes through, coarsest first, over the finest units that lose no plan.
func (j *job) levels(unitOf []int32, n int) []level {
	all := []level{{unitOf, n}}
	if n <= flatUnits {
		return all
	}
	var targets []int
	for t := coarsestUnits; t < n*2/3 && t <= finestUnits; t *= levelRatio {
		targets = append(targets, t)
	}
	slices.Reverse(targets)
	coarse, sizes := partition.Coarsen(j.p, j.o.Objective, unitOf, n, targets)
	if n > finestUnits && len(coarse) > 0 {
		all = nil
	}
	for i, unitOf := range coarse {
		all = append(all, level{unitOf, sizes[i]})
	}
	slices.Reverse(all)
	return all
}

// rough are a few large units for a small graph most of whose work stands in the branches of one fork, beside its longest
// one: there whole branches move, which a search on single nodes does not find. It is nil for other graphs.
func (j *job) rough(unitOf []int32, n int) []level {
	if n > flatUnits || n < 2*roughUnits {
		return nil
	}
	x, ok := partition.NewUnits(sched.NewModel(j.p, unitOf, n, sched.Layout(j.p, 1)))
	if !ok || partition.Beside(x) < 0.5 {
		return nil
	}
	coarse, sizes := partition.Coarsen(j.p, j.o.Objective, unitOf, n, []int{roughUnits})
	if len(coarse) == 0 {
		return nil
	}
	return []level{{coarse[0], sizes[0]}}
}

// Sizes of levels, in units: below flatUnits nodes nothing is gathered, but for a first look at wide graphs; the
// search starts at about coarsestUnits and ends at single nodes, or at
// finestUnits where there are more of them.
const (
	flatUnits     = 360
	roughUnits    = 24
	coarsestUnits = 240
	levelRatio    = 5
	finestUnits   = 8000
	largeNodes    = 900
	hugeNodes     = 50_000
)

// effort is how much a search does at one level. Temperatures are shares of the value of the start.
type effort struct {
	rounds, chains, steps int     // steps are the moves of a chain
	hotFirst, hotLater    float64 // of the first round, which may leave a start behind, and of the others
	cold                  float64
}

// effortFor is the default effort: all levels together take one or two seconds of
// processor time for a graph of some hundred nodes. A move takes time in the values
// of a unit, and, where memory is limited, in the number of nodes.
func effortFor(x *partition.Units, refine bool) effort {
	units, nodes := x.M.Units, x.M.Problem.Graph.NumNodes()
	e := effort{rounds: 4, chains: 16, steps: 20_000, hotFirst: 0.05, hotLater: 0.02, cold: 1e-4}
	if units < nodes {
		e.steps /= 2 // finer levels follow
	}
	e.steps = min(e.steps, 200+200*units)
	if refine {
		e = effort{rounds: 1, chains: 4, steps: 6000, hotFirst: 0.003, hotLater: 0.003, cold: 1e-4}
	}
	const usualArcs = 8
	e.steps = max(500, e.steps*usualArcs/max(usualArcs, x.Arcs()))
	if nodes >= largeNodes {
		e.steps = e.steps * 3 / 5 // a start gains less from a move, and what stands around the search takes longer
	}
	if nodes >= hugeNodes {
		e.steps /= 2
	}
	if x.M.Limited() && nodes > 1000 {
		e.steps = max(200, e.steps*1000/nodes)
	}
	return e
}

// evenLoads is what the mean load counts in a search for throughput: the largest load alone says little about where
// a move leads. 0.1 to 0.3 do about as well.
const evenLoads = 0.2

// keptStarts is how many of the best assignments a round hands to the next.
const keptStarts = 8

// fewStarts is how many assignments a search on the same units hands to the next, beside what that starts from anyway.
const fewStarts = 2

// spreadStarts is how many ways to spread branches a search starts from.
const spreadStarts = 3

// spreadProcs is over how many processors: one that runs little is still worth it for the join of branches.
const spreadProcs = 12

// searching is the search at one level.
type searching struct {
	*job
	x      *partition.Units
	starts []start // best first
	seed   uint64
	refine bool      // the starts come from a coarser level
	last   bool      // no other search follows
	until  time.Time // when to end, zero: at will
}

// over says whether this search should end.
func (s *searching) over() bool {
	return s.spent() || !s.until.IsZero() && !time.Now().Before(s.until)
}

// gather rates the starts and adds those that can be had at this level: plans that are known, and segments of the
// order for the fastest processors.
func (s *searching) gather() {
	m := s.x.M
	var all []start
	add := func(at []int32, copies []uint64) {
		if !s.x.Together(at) {
			return
		}
		c := &partition.Chain{X: s.x, Objective: s.o.Objective, Start: at, StartCopies: copies}
		c.Run(s.ctx) // no steps: rates the start
		all = append(all, start{at: at, copies: copies, score: c.Score})
	}
	if !s.refine && len(s.starts) > fewStarts {
		s.starts = s.starts[:fewStarts] // they are much alike
	}
	for _, k := range s.starts {
		add(k.at, k.copies)
	}
	if !s.refine || s.last {
		for _, plan := range s.pool {
			if at, _, ok := partition.FromPlan(m, plan); ok {
				add(at, nil)
			}
		}
	}
	if !s.refine {
		fastest := s.fastest(7)
		for _, at := range partition.Branches(s.x, s.o.Objective, s.fastest(spreadProcs), spreadStarts) {
			add(at, nil)
		}
		for k := 1; k <= len(fastest); k++ {
			for _, order := range [][]int32{s.x.Order(), s.x.Deep()} {
				if at := partition.Prefixes(s.x, order, s.o.Objective, fastest[:k], 40); at != nil {
					add(at, nil)
				}
				if k < 2 || !m.Limited() {
					continue
				}
				if at := partition.Bisect(s.x, order, fastest[:k]); at != nil {
					add(at, nil)
				}
			}
		}
	}
	s.starts = all
	s.merge()
}

// merge orders the starts, best first, and keeps the first ones, of equal scores one.
func (s *searching) merge() {
	slices.SortStableFunc(s.starts, func(a, b start) int { return a.score.Compare(b.score) })
	s.starts = slices.CompactFunc(s.starts, func(a, b start) bool { return a.score == b.score })
	s.starts = s.starts[:min(len(s.starts), keptStarts)]
}

// run anneals in rounds.
func (s *searching) run(e effort) {
	best := partition.Worst
	origin := slices.Clone(s.starts)
	var kept []start // aside, while others are sought
	timed := !s.deadline.IsZero()
	if timed {
		e.steps /= 2 // there may be little time; chains get longer where there is more
	}
	for turn := 0; (len(s.starts) > 0 || turn > 0) && !s.over() && (turn < e.rounds || s.last && timed); turn++ {
		// Where there is time left all begins anew, with longer chains.
		round := turn % e.rounds
		steps := e.steps << min(turn/e.rounds, mostLonger)
		if round == 0 && turn > 0 {
			s.starts, kept = append(s.starts, kept...), nil
			s.merge()
			// Beside what was found before, nothing new would get its turn. For throughput
			// that is as well: setting it aside made values 0.4 % worse on average.
			if s.o.Objective == ir.Latency && turn/e.rounds%2 == 1 {
				s.starts, kept = nil, s.starts
			}
		}
		chains := make([]*partition.Chain, 0, e.chains)
		for k := range e.chains {
			from := origin[k%len(origin)]
			even := 0.0
			if s.o.Objective == ir.Throughput && (round == 0 || k&2 != 0) {
				even = evenLoads
			}
			hot := e.hotFirst
			if round > 0 {
				hot = e.hotLater
				from = s.starts[min(k*4/e.chains, len(s.starts)-1)]
			}
			// Where latency counts good plans are often far from what their critical paths suggest.
			aimed := k&4 != 0 && (s.o.Objective == ir.Throughput || k&8 != 0)
			chains = append(chains, &partition.Chain{X: s.x, Objective: s.o.Objective, Seed: s.seed, Steps: steps, Hot: hot, Cold: e.cold, Start: from.at, StartCopies: from.copies, Strict: k&1 == 0, Aimed: aimed, Even: even, Rated: s.reporter.counter()})
			s.seed++
		}
		s.anneal(chains, s.until)
		for _, c := range chains {
			if c.Best != nil {
				s.starts = append(s.starts, start{c.Best, c.Copies, c.Score})
			}
		}
		s.merge()
		if len(s.starts) > 0 {
			if s.x.M.Units <= easyUnits && s.starts[0].score == best && !timed {
				break
			}
			best = s.starts[0].score
		}
	}
}

// mostLonger bounds how often chains get twice as long while there is time.
const mostLonger = 4

// easyUnits is the number of units up to which a round without a better plan ends the search.
const easyUnits = 24

type start struct {
	at     []int32
	copies []uint64
	score  partition.Score
}

// on is the same assignment for another model, of the same or of finer units and of as many slots for a processor or
// more: sub-models go to the middle ones.
func (s start) on(from, to *sched.Model) start {
	slot := make([]int32, from.Slots)
	for q := range from.Procs {
		mine := from.SlotsOf(q)
		theirs := to.SlotsOf(q)
		for range (bits.OnesCount64(theirs) - bits.OnesCount64(mine)) / 2 {
			theirs &= theirs - 1
		}
		for ; mine != 0; mine &= mine - 1 {
			slot[bits.TrailingZeros64(mine)] = int32(bits.TrailingZeros64(theirs))
			theirs &= theirs - 1
		}
	}
	f := start{at: make([]int32, to.Units), score: s.score}
	if s.copies != nil {
		f.copies = make([]uint64, to.Units)
	}
	for u := range f.at {
		c := from.UnitOf[to.Nodes(int32(u))[0]]
		f.at[u] = slot[s.at[c]]
		if s.copies != nil {
			for rest := s.copies[c]; rest != 0; rest &= rest - 1 {
				f.copies[u] |= 1 << slot[bits.TrailingZeros64(rest)]
			}
		}
	}
	return f
}

// fastest are the processors that a search has slots for, by the time that they take for everything they support, most
// supported first.
func (j *job) fastest(most int) []int {
	procs := len(j.p.Platform.Processors)
	sum := make([]ir.Time, procs)
	able := make([]int, procs)
	for n := range ir.NodeID(j.p.Graph.NumNodes()) {
		for q, c := range j.p.Costs.Row(n) {
			if c != ir.Unsupported {
				sum[q] += c
				able[q]++
			}
		}
	}
	order := make([]int, procs)
	for q := range order {
		order[q] = q
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if able[a] != able[b] {
			return able[b] - able[a]
		}
		return int(min(1, max(-1, sum[a]-sum[b])))
	})
	slots := sched.Layout(j.p, 1)
	order = slices.DeleteFunc(order, func(q int) bool { return slots[q] == 0 })
	return order[:min(most, len(order))]
}

// anneal runs chains side by side, until a moment if it is not zero, and offers what they find, in their order.
func (j *job) anneal(chains []*partition.Chain, until time.Time) {
	ctx := j.ctx
	if !until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, until)
		defer cancel()
	}
	var wg sync.WaitGroup
	next := make(chan *partition.Chain)
	for range min(j.o.workers(), len(chains)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for c := range next {
				c.Run(ctx)
			}
		}()
	}
	for _, c := range chains {
		next <- c
	}
	close(next)
	wg.Wait()
	for _, c := range chains {
		if c.Best != nil && c.Score.Less(j.score) {
			j.offer(c.ToPlan())
		}
	}
}

// merge joins sub-models of one processor where that costs nothing.
func merge(j *job) error {
	for changed := true; changed; {
		changed = false
		subs := j.best.Submodels
		for a := 0; a < len(subs) && !changed; a++ {
			for b := a + 1; b < len(subs) && !changed; b++ {
				if subs[a].Processor != subs[b].Processor {
					continue
				}
				for _, into := range [2][2]int{{a, b}, {b, a}} {
					if plan := merged(j.best, into[0], into[1]); ir.CheckPlan(j.p, plan) == nil && j.offer(plan) {
						changed = true
						break
					}
				}
			}
		}
	}
	return nil
}

// merged is a plan with sub-model b inside sub-model a, in a's place.
func merged(plan *ir.Plan, a, b int) *ir.Plan {
	q := plan.Clone()
	s := &q.Submodels[a]
	t := q.Submodels[b]
	s.Nodes = append(s.Nodes, t.Nodes...)
	slices.Sort(s.Nodes)
	s.Replicas = append(s.Replicas, t.Replicas...)
	slices.Sort(s.Replicas)
	s.Replicas = slices.Compact(s.Replicas)
	s.Replicas = slices.DeleteFunc(s.Replicas, func(n ir.NodeID) bool {
		_, own := slices.BinarySearch(s.Nodes, n)
		return own
	})
	q.Submodels = slices.Delete(q.Submodels, b, b+1)
	return q
}

// worth goes back to the whole graph on one processor where a split gains less than
// is asked for.
func worth(j *job) error {
	least := float64(j.whole.Value()) * (1 - j.o.LeastGain)
	if len(j.whole.Submodels) > 0 && len(j.best.Submodels) > 1 && float64(j.best.Value()) > least {
		j.passed = j.best
		j.best, j.score = j.whole.Clone(), partition.ScoreOf(j.whole)
	}
	return nil
}

// auto solves the problem without a limit on the number of sub-models.
func auto(j *job) error {
	free := *j.p
	free.Submodels = 0
	o := j.o
	o.Auto = false
	k := newJob(j.ctx, &free, o)
	k.within, k.reporter = j.pass+" ", j.reporter
	k.pool = append(k.pool, j.best)
	k.best, k.score = j.best.Clone(), j.score
	if err := k.run(table()); err != nil {
		return err
	}
	if k.score.Less(j.score) {
		k.best.LowerBound = k.bound
		k.best.ProvenOptimal = k.bound == k.best.Value()
		j.auto = k.best
	}
	return nil
}
