package bound

import (
	"context"
	"math"
	"math/bits"
	"slices"
	"sync"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Sizes of Suppose, in terms that are looked at; some tens of millions take a second.
const (
	supposeFirst  = 80_000_000 // for the value of a plan
	supposeWork   = 80_000_000 // for all others
	supposeEach   = 15_000_000 // for each of them
	supposeProbes = 10
	supposeWhole  = 350  // for more nodes it is less
	supposeNodes  = 5000 // nodes of a graph, at most
	inferRounds   = 6
	ownersTried   = 16
)

// Suppose bounds the latency of every plan by what follows if some plan takes at most
// T. If the work on a node cannot have ended on a processor before some time, and
// what comes after it there takes so long that both exceed T, no run on that
// processor holds it. Then more is known of the nodes before and after it, and of the
// work that is left to other processors (destructive lower bounds: Klein and Scholl,
// European Journal of Operational Research 112, 1999). Where nothing more follows,
// the processors of one node are supposed in turn: branch and bound, which is
// complete where each processor may have one sub-model: a plan that is all supposed is rated. If some node is left without
// a processor in all cases, no plan takes at most T.
//
// First above, the value of a plan, is proved optimal if it can be; then the largest
// T that can be refuted is found by bisection from known, a bound that is known already. The result is
// never below known, and is known where the graph is too large. The work is bounded.
//
// rate is the latency of a plan, ir.MaxTime if it breaks a limit; it is called from several goroutines. plan is one that
// takes less than above, nil if none was met; the bound is no more than its latency then.
func Suppose(ctx context.Context, p *ir.Problem, known, above ir.Time, rate func(*ir.Plan) ir.Time) (bound ir.Time, plan *ir.Plan) {
	n, procs := p.Graph.NumNodes(), len(p.Platform.Processors)
	if n == 0 || n > supposeNodes || procs == 1 || procs > 64 || above == ir.MaxTime || known >= above {
		return known, nil
	}
	before := predecessors(p.Graph)
	first, all := supposeFirst, supposeWork
	if n > supposeWhole { // a search for a plan of so many nodes takes little for each of them
		share := math.Pow(supposeWhole/float64(n), 3)
		first, all = int(float64(first)*share), int(float64(all)*share)
	}
	start := func(work int) *supposition {
		s := &supposition{p: p, left: work, routes: ir.NewRoutes(p.Platform), before: before, rate: rate}
		s.twins()
		return s
	}
	// Both searches at once: neither needs the other, and the first one is of use only if it succeeds.
	ctx, found := context.WithCancel(ctx)
	defer found()
	proof, proved := start(first), false
	var wg sync.WaitGroup
	wg.Go(func() {
		if proved = proof.refuted(ctx, above-1, first); proved {
			found()
		}
	})
	s := start(all)
	low, high := max(known, s.plain()), above-1
	for range supposeProbes {
		if high-low <= low/500 || ctx.Err() != nil || s.left <= 0 {
			break
		}
		mid := low + (high-low)/2
		if s.refuted(ctx, mid, supposeEach) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	wg.Wait()
	switch {
	case proved:
		return above, nil
	case s.plan == nil:
		return min(low, above), proof.plan
	}
	return min(low, above), s.plan // supposing less, it met a better one, if both met one
}

// supposition is a search for what contradicts a supposed value.
type supposition struct {
	p      *ir.Problem
	routes *ir.Routes
	before []uint64 // see predecessors
	twin   []int    // by processor: the first one that is like it
	left   int      // work that may still be done
	spend  int      // and that for the value at hand

	rate func(*ir.Plan) ir.Time
	plan *ir.Plan // met on the way, and better than supposed
}

// twins finds processors of one device that differ in nothing. With nothing known of either, it is enough to suppose that a
// node is on one of them.
func (s *supposition) twins() {
	pf := s.p.Platform
	s.twin = make([]int, len(pf.Processors))
	equal := func(a, b *ir.Copy) bool { return a == b || a != nil && b != nil && *a == *b }
	for q, e := range pf.Processors {
		s.twin[q] = slices.IndexFunc(pf.Processors, func(o ir.Processor) bool {
			return o.Device == e.Device && o.Launch == e.Launch && o.MemoryBytes == e.MemoryBytes && o.MaxSubmodels == e.MaxSubmodels && equal(o.Upload, e.Upload) && equal(o.Download, e.Download)
		})
	}
}

// plain is what paths say without a supposed value.
func (s *supposition) plain() ir.Time {
	list := trails(s.p, s.routes, s.left/4)
	bound, ok := paths(s.p, &ways{s.p, s.routes}, func(n ir.NodeID, row []ir.Time) { follow(list, n, row) })
	for _, t := range list {
		s.left -= t.steps
	}
	if !ok {
		return ir.MaxTime
	}
	return bound
}

// refuted says whether no plan takes at most limit. It may say no for want of work.
func (s *supposition) refuted(ctx context.Context, limit ir.Time, work int) bool {
	s.spend = min(work, s.left)
	return s.branch(ctx, s.p, limit, nil)
}

// branch says whether no plan of p takes at most limit. from is what was known before the last branch.
func (s *supposition) branch(ctx context.Context, p *ir.Problem, limit ir.Time, from *inference) bool {
	f := newInference(p, s.routes, s.before, limit)
	if from != nil {
		f.inherit(from)
	}
	some := f.infer(inferRounds, min(s.spend, s.left))
	s.left -= f.steps
	s.spend -= f.steps
	if !some {
		return true
	}
	if ctx.Err() != nil || s.spend <= 0 || s.left <= 0 {
		s.spend = 0 // nor is there any for the other branches
		return false
	}
	less := *p
	less.Costs = f.costs
	p = &less
	at := f.hinge()
	if at == ir.NoNode {
		return s.copies(ctx, p, limit, f)
	}
	for q, c := range p.Costs.Row(at) {
		if c == ir.Unsupported || s.tried(p, f, q) {
			continue
		}
		one := *p
		one.Costs = p.Costs.Clone()
		for k := range one.Costs.Row(at) {
			if k != q {
				one.Costs.Set(at, ir.ProcID(k), ir.Unsupported)
			}
		}
		if !s.branch(ctx, &one, limit, f) {
			return false
		}
	}
	return true
}

// tried says whether another processor is in all like q, and comes before it.
func (s *supposition) tried(p *ir.Problem, f *inference, q int) bool {
next:
	for k := s.twin[q]; k < q; k++ {
		if s.twin[k] != s.twin[q] {
			continue
		}
		for n := range ir.NodeID(p.Graph.NumNodes()) {
			if row := p.Costs.Row(n); row[k] != row[q] || f.forced[n]&(1<<k) != 0 || f.forced[n]&(1<<q) != 0 {
				continue next
			}
		}
		return true
	}
	return false
}

// copies branches on where the nodes that may have replicas are: in the only run of some processor, or not.
func (s *supposition) copies(ctx context.Context, p *ir.Problem, limit ir.Time, f *inference) bool {
	for n := range ir.NodeID(p.Graph.NumNodes()) {
		if f.solid[n] {
			continue
		}
		for q, c := range p.Costs.Row(n) {
			if c == ir.Unsupported || f.limit[q] != 1 || f.holds[n]&(1<<q) != 0 {
				continue
			}
			without := *p
			without.Costs = p.Costs.Clone()
			without.Costs.Set(n, ir.ProcID(q), ir.Unsupported)
			if !s.branch(ctx, &without, limit, f) {
				return false
			}
			f.forced[n] |= 1 << q
			return s.branch(ctx, p, limit, f)
		}
	}
	if s.settled(p, limit, f) {
		return true
	}
	s.spend = 0 // all is said, and nothing contradicts it
	return false
}

// settled rates the plans in which nothing is left to suppose, and says whether all of them take more than limit.
func (s *supposition) settled(p *ir.Problem, limit ir.Time, f *inference) bool {
	f.costs = p.Costs
	if f.gather(); f.failed {
		return true
	}
	plan := &ir.Plan{Objective: ir.Latency}
	run := make([]int, f.procs)
	for q := range f.procs {
		run[q] = -1
		if f.limit[q] == 1 {
			if len(f.held[q]) > 0 {
				run[q] = len(plan.Submodels)
				plan.Submodels = append(plan.Submodels, ir.Submodel{Processor: ir.ProcID(q)})
			}
			continue
		}
		for n := range ir.NodeID(f.g.NumNodes()) {
			if p.Costs.Of(n, ir.ProcID(q)) != ir.Unsupported {
				return false // it may have several runs
			}
		}
	}
	var open []ir.NodeID // with several holders, one of which owns it
	ways := 1
	for n := range ir.NodeID(f.g.NumNodes()) {
		if k := bits.OnesCount64(f.holds[n]); k > 1 {
			open = append(open, n)
			if ways *= k; ways > ownersTried {
				return false
			}
		} else if k == 0 {
			return slices.Max(p.Costs.Row(n)) == ir.Unsupported // or it is not certain yet who owns it
		}
	}
	for way := range ways {
		owner := map[ir.NodeID]int{}
		for _, n := range open {
			k := bits.OnesCount64(f.holds[n])
			set := f.holds[n]
			for range way % k {
				set &= set - 1
			}
			owner[n] = bits.TrailingZeros64(set)
			way /= k
		}
		made := &ir.Plan{Objective: ir.Latency}
		for _, u := range plan.Submodels {
			made.Submodels = append(made.Submodels, ir.Submodel{Processor: u.Processor})
		}
		for n := range ir.NodeID(f.g.NumNodes()) {
			for set := f.holds[n]; set != 0; set &= set - 1 {
				q := bits.TrailingZeros64(set)
				u := &made.Submodels[run[q]]
				if at, several := owner[n]; several && at != q {
					u.Replicas = append(u.Replicas, n)
				} else {
					u.Nodes = append(u.Nodes, n)
				}
			}
		}
		made.Submodels = slices.DeleteFunc(made.Submodels, func(u ir.Submodel) bool { return len(u.Nodes) == 0 })
		if t := s.rate(made); t <= limit {
			s.plan = made
			return false
		}
	}
	return true
}

// hinge is the node whose processor matters most: the least latency with it is great, and greater by far on any
// other processor than the best; of nodes without replicas, NoNode if the processors of all are known.
func (f *inference) hinge() ir.NodeID {
	at, most := ir.NoNode, ir.Time(-1)
	for n := range ir.NodeID(f.g.NumNodes()) {
		if !f.solid[n] {
			continue
		}
		least, second := ir.MaxTime, ir.MaxTime
		for q, c := range f.costs.Row(n) {
			if c == ir.Unsupported {
				continue
			}
			switch v := f.value[int(n)*f.procs+q]; {
			case v < least:
				least, second = v, least
			default:
				second = min(second, v)
			}
		}
		if second == ir.MaxTime {
			continue
		}
		// The weights were found by trial on nine problems: from second alone to the difference alone.
		if gain := second + 2*(second-least); gain > most {
			at, most = n, gain
		}
	}
	return at
}

// follow takes a node along all paths that it is the next one of.
func follow(list []*trail, n ir.NodeID, row []ir.Time) {
	for _, t := range list {
		if t.at < len(t.spine) && t.spine[t.at] == n {
			t.advance(row)
		}
	}
}
