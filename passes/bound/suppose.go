package bound

import (
	"context"
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Sizes of Suppose.
const (
	supposeWork   = 300_000_000 // of all rounds together: a second or so
	supposeProbes = 7           // values of T that are tried beside the first
	supposeRounds = 4           // for each of them, at most
)

// Suppose bounds the latency of every plan by what follows if some plan takes at
// most T. If the work on a node cannot have ended on a processor before some time,
// and what comes after it there takes so long that both exceed T, no run on that
// processor holds it. Then more is known of the nodes before and after it, and of the
// work that is left to the other processors. If in the end some node runs nowhere, no plan
// takes at most T (destructive lower bounds: Klein and Scholl, European Journal of Operational Research
// 112, 1999). The largest such T is found by bisection between known, a bound that is
// known already, and above, the value of a plan; first above itself is proved if it can
// be. The result is never below known, and known where the graph is too large. Time is bounded.
func Suppose(ctx context.Context, p *ir.Problem, known, above ir.Time) ir.Time {
	n, procs := p.Graph.NumNodes(), len(p.Platform.Processors)
	if n == 0 || procs == 1 || procs > 64 || above == ir.MaxTime || known >= above {
		return known
	}
	s := &supposition{p: p, left: supposeWork}
	low, high := max(known, s.plain()), above-1
	if low >= above || s.refuted(ctx, high) {
		return above
	}
	for range supposeProbes {
		if high-low <= low/500 || ctx.Err() != nil || s.left <= 0 {
			break
		}
		mid := low + (high-low)/2
		if s.refuted(ctx, mid) {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

type supposition struct {
	p    *ir.Problem
	left int // work that may still be done
}

// plain is what paths say by themselves.
func (s *supposition) plain() ir.Time {
	list, walks := trails(s.p), walksOf(spines(s.p))
	bound, ok := paths(s.p, &ways{s.p, ir.NewRoutes(s.p.Platform)}, func(n ir.NodeID, row []ir.Time) {
		walkAll(walks, n, row)
		follow(list, n, row)
	})
	for _, t := range list {
		s.left -= t.steps
	}
	if !ok {
		return ir.MaxTime
	}
	return bound
}

// follow takes a node along all paths that it is the next one of.
func follow(list []*trail, n ir.NodeID, row []ir.Time) {
	for _, t := range list {
		if t.at < len(t.spine) && t.spine[t.at] == n {
			t.advance(row)
		}
	}
}

// refuted says whether no plan takes at most limit. It may say no for want of time.
func (s *supposition) refuted(ctx context.Context, limit ir.Time) bool {
	p, procs := s.p, len(s.p.Platform.Processors)
	for range supposeRounds {
		if ctx.Err() != nil || s.left <= 0 {
			return false
		}
		w := &ways{p, ir.NewRoutes(p.Platform)}
		tail := w.tails()
		list, walks := trails(p), walksOf(spines(p))
		for _, t := range list {
			t.most, t.tail = limit, tail
		}
		s.left -= p.Graph.NumNodes() * procs * procs * 4
		costs := p.Costs
		bound, ok := paths(p, w, func(n ir.NodeID, row []ir.Time) {
			walkAll(walks, n, row)
			follow(list, n, row)
			if !p.Graph.Replicable(n) {
				for q, t := range row {
					if t > limit-min(limit, tail[int(n)*procs+q]) {
						row[q] = ir.MaxTime
					}
				}
			}
			for q, t := range row {
				if t < ir.MaxTime || costs.Of(n, ir.ProcID(q)) == ir.Unsupported {
					continue
				}
				if costs == p.Costs {
					costs = costs.Clone()
				}
				costs.Set(n, ir.ProcID(q), ir.Unsupported)
			}
		})
		for _, t := range list {
			s.left -= t.steps
		}
		for _, w := range walks {
			s.left -= w.sets * len(w.spine) * procs * procs
		}
		if !ok || bound > limit {
			return true
		}
		if costs == p.Costs {
			return false
		}
		less := *p
		less.Costs = costs
		p = Reduce(&less)
		for n := range ir.NodeID(p.Graph.NumNodes()) {
			if slices.Max(p.Costs.Row(n)) == ir.Unsupported {
				return true
			}
		}
		if Area(p) > limit || crowded(p) {
			return true
		}
	}
	return false
}

// tails bounds, by node · processors + processor, the time from the end of the work on a node in a run on a processor to the
// end of the plan: it is Path backwards. MaxTime: what the node makes can get nowhere.
//
// A node without replicas is in one run, from which all that comes after it comes. What a replica makes is read in
// its own run only, so the row of a node that may have some holds for one way on from it, and only for runs that
// this way leads through: it serves the nodes before it, each of which may choose another run for it.
func (w *ways) tails() []ir.Time {
	p, g, pf := w.p, w.p.Graph, w.p.Platform
	procs := len(pf.Processors)
	tail := make([]ir.Time, g.NumNodes()*procs)
	way := make([]ir.Time, procs) // by processor: from the end of the work on the node to the end, by one reader or the sink
	for n := ir.NodeID(g.NumNodes()) - 1; n >= 0; n-- {
		row := tail[int(n)*procs : (int(n)+1)*procs]
		longest := ir.Time(-1)
		take := func() {
			if g.Replicable(n) {
				if least := slices.Min(way); least > longest {
					longest = least
					copy(row, way)
				}
				return
			}
			for q, t := range way {
				row[q] = max(row[q], t)
			}
		}
		for _, v := range g.Outputs(n) {
			if g.IsOutput(v) {
				for q := range procs {
					way[q] = 0
					if c := pf.Processors[q].Download; c != nil {
						way[q] = c.Time(g.Bytes(v))
					}
					if pf.Sink != ir.NoDevice {
						way[q] = w.travel(v, pf.Processors[q].Device, pf.Sink, way[q])
					}
				}
				take()
			}
			for _, r := range g.Consumers(v) {
				for a := range way {
					way[a] = ir.MaxTime
				}
				for b, c := range p.Costs.Row(r) {
					t := tail[int(r)*procs+b]
					if c == ir.Unsupported || t == ir.MaxTime {
						continue
					}
					for a := range way {
						if t+c < way[a] {
							if d := w.between(v, ir.ProcID(a), ir.ProcID(b)); d < ir.MaxTime {
								way[a] = min(way[a], d+c+t)
							}
						}
					}
				}
				take()
			}
		}
	}
	return tail
}

// crowded says whether the weights of the nodes that must be on some of the processors are more than these hold.
func crowded(p *ir.Problem) bool {
	g, pf := p.Graph, p.Platform
	room := rooms(pf)
	if len(room) > crowdMost || slices.Min(room) == ir.UnlimitedBytes {
		return false
	}
	masks := make([]uint32, g.NumNodes())
	for n := range masks {
		for q, c := range p.Costs.Row(ir.NodeID(n)) {
			if c != ir.Unsupported {
				masks[n] |= 1 << q
			}
		}
	}
	// The weights of nodes that may only be on processors of a set: each weight counts once for the least set of one of its nodes.
	bytes := make([]int64, 1<<len(room))
	at := make([]uint32, g.NumWeights())
	for n, mask := range masks {
		for _, w := range g.Weights(ir.NodeID(n)) {
			if at[w] == 0 || bits.OnesCount32(mask) < bits.OnesCount32(at[w]) {
				at[w] = mask
			}
		}
	}
	for w, mask := range at {
		if mask != 0 { // some node has it
			bytes[mask] += g.WeightBytes(ir.WeightID(w))
		}
	}
	for q := range room { // of a set and all smaller ones
		for set := range bytes {
			if set&(1<<q) != 0 {
				bytes[set] += bytes[set&^(1<<q)]
			}
		}
	}
	device := make([]int64, len(pf.Devices))
	for set := 1; set < len(bytes); set++ {
		clear(device)
		for q := range room {
			if set&(1<<q) != 0 {
				d := &device[pf.Processors[q].Device]
				*d += min(room[q], ir.UnlimitedBytes-*d)
			}
		}
		var holds int64
		for d, b := range device {
			holds += min(b, pf.Devices[d].MemoryBytes, ir.UnlimitedBytes-holds)
		}
		if bytes[set] > holds {
			return true
		}
	}
	return false
}

// crowdMost is the most processors whose sets are looked at.
const crowdMost = 12
