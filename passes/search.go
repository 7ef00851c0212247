package passes

import (
	"slices"
	"sync"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/partition"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// search looks for better plans, from many starts.
func search(j *job) error {
	n := j.p.Graph.NumNodes()
	if n == 0 {
		return nil
	}
	unitOf := make([]int32, n)
	for i := range unitOf {
		unitOf[i] = int32(i)
	}
	m := sched.NewModel(j.p, unitOf, n, sched.Layout(j.p, 4))
	x, ok := partition.NewUnits(m)
	if !ok {
		return nil
	}
	var starts []start
	add := func(at []int32) {
		if !x.Together(at) {
			return
		}
		c := &partition.Chain{X: x, Objective: j.o.Objective, Start: at}
		c.Run(j.ctx) // no steps: rates the start
		starts = append(starts, start{at: at, score: c.Score})
	}
	for _, plan := range j.pool {
		if at, _, ok := partition.FromPlan(m, plan); ok {
			add(at)
		}
	}
	fastest := j.fastest(7)
	for k := 1; k <= len(fastest); k++ {
		if at := partition.Prefixes(x, x.Order(), j.o.Objective, fastest[:k], 40); at != nil {
			add(at)
		}
	}
	if len(starts) == 0 {
		return nil
	}
	slices.SortStableFunc(starts, func(a, b start) int { return a.score.Compare(b.score) })
	seed := j.o.Seed
	for round := 0; round < rounds && !j.spent() || !j.deadline.IsZero() && !j.spent(); round++ {
		var chains []*partition.Chain
		for k := range chainCount {
			from := starts[k%len(starts)]
			hot := hotFirst
			if round > 0 {
				hot = hotLater
				from = starts[min(k*4/chainCount, len(starts)-1)]
			}
			chains = append(chains, &partition.Chain{X: x, Objective: j.o.Objective, Seed: seed, Steps: steps, Hot: hot, Cold: cold, Start: from.at, StartCopies: from.copies, Strict: k&1 == 0})
			seed++
		}
		j.anneal(chains)
		for _, c := range chains {
			if c.Best != nil {
				starts = append(starts, start{c.Best, c.Copies, c.Score})
			}
		}
		slices.SortStableFunc(starts, func(a, b start) int { return a.score.Compare(b.score) })
		starts = slices.CompactFunc(starts, func(a, b start) bool { return a.score == b.score })
		starts = starts[:min(len(starts), keptStarts)]
	}
	return nil
}

// The default effort: about a second on two cores for a graph of some hundred
// nodes. Temperatures are shares of the value of the start: the first round may
// leave a start behind, later ones refine the best ones.
const (
	steps      = 5000 // moves of a chain
	rounds     = 4
	chainCount = 8
	keptStarts = 8
	hotFirst   = 0.05
	hotLater   = 0.02
	cold       = 1e-4
)

type start struct {
	at     []int32
	copies []uint64
	score  partition.Score
}

// fastest are the processors by the time that they take for everything they support, most supported first.
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
	return order[:min(most, procs)]
}

// anneal runs chains side by side and offers what they find, in their order.
func (j *job) anneal(chains []*partition.Chain) {
	var wg sync.WaitGroup
	next := make(chan *partition.Chain)
	for range min(j.o.workers(), len(chains)) {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for c := range next {
				c.Run(j.ctx)
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

// auto solves the problem without a limit on the number of sub-models.
func auto(j *job) error {
	free := *j.p
	free.Submodels = 0
	o := j.o
	o.Auto = false
	k := newJob(j.ctx, &free, o)
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
