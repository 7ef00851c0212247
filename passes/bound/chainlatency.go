package bound

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

type entry struct {
	from int
	key  ir.Time // T at the entry, less prefix there
}

// latency walks along spines and through the rest of the graph at once: what is known of a spine node holds for
// the paths that go on from it.
func latency(p *ir.Problem, chains []*chain) (bound ir.Time, ok bool) {
	walks := walksOf(chains)
	return paths(p, &ways{p, ir.NewRoutes(p.Platform)}, func(n ir.NodeID, row []ir.Time) { walkAll(walks, n, row) })
}

// walksOf makes walks along spines for the latency.
func walksOf(chains []*chain) []*walk {
	walks := make([]*walk, 0, len(chains))
	for _, c := range chains {
		w := newWalk(c, chainWork)
		w.enter, w.done, w.before = make([]ir.Time, w.sets*w.procs), make([]ir.Time, w.sets*w.procs), make([]ir.Time, w.sets*w.procs)
		w.queues = make([][]entry, w.sets*w.procs)
		walks = append(walks, w)
	}
	return walks
}

// steps is about what a walk for the latency takes.
func (w *walk) steps() int {
	p := w.procs
	n := w.sets * len(w.spine) * p * p
	for _, block := range w.blocks {
		n += (len(block) + 1) * p * p * (p + shareSteps)
	}
	return n
}

// walkAll takes a node along all spines that it is the next one of.
func walkAll(walks []*walk, n ir.NodeID, row []ir.Time) {
	for _, w := range walks {
		if w.next < len(w.spine) && w.spine[w.next] == n {
			w.advance(w.next, row)
			w.next++
		}
	}
}

// advance computes done for spine node i, and raises row, which holds what paths prove of it.
func (w *walk) advance(i int, row []ir.Time) {
	p := w.procs
	w.before, w.done = w.done, w.before
	for k := range w.enter {
		w.enter[k] = ir.MaxTime
	}
	if i == 0 {
		w.start(row)
	} else {
		w.change(i, row)
	}
	for k := range w.done {
		q := k % p
		// A run that started earlier goes on as far as it reaches.
		queue := w.queues[k]
		for len(queue) > 0 && w.reach[queue[0].from*p+q] < i {
			queue = queue[1:]
		}
		if w.enter[k] < ir.MaxTime && w.reach[i*p+q] >= i {
			e := entry{i, w.enter[k] - w.prefix[i*p+q]}
			for len(queue) > 0 && queue[len(queue)-1].key >= e.key {
				queue = queue[:len(queue)-1]
			}
			queue = append(queue, e)
		}
		w.queues[k] = queue
		w.done[k] = ir.MaxTime
		if len(queue) > 0 && w.holds[k/p] >= w.need[i] {
			w.done[k] = max(row[q], queue[0].key+w.prefix[i*p+q])
		}
	}
	for q := range p {
		least := ir.MaxTime
		for k := q; k < len(w.done); k += p {
			least = min(least, w.done[k])
		}
		row[q] = max(row[q], least)
	}
}

// start enters the first spine node: the run holds all that is before it, or some of that has run elsewhere.
func (w *walk) start(row []ir.Time) {
	p, pf := w.procs, w.p.Platform
	others := w.least[0] >= 0 && len(w.blocks[0]) > 0
	nodes := append(slices.Clone(w.blocks[0]), w.spine[0])
	for q := range p {
		if row[q] == ir.MaxTime {
			continue
		}
		best := ir.MaxTime
		if w.sum[q] < ir.MaxTime {
			best = pf.Processors[q].Launch + w.sum[q] + w.arrival(nodes, q)
		}
		if others {
			best = min(best, w.p.Costs.Of(w.spine[0], ir.ProcID(q))+w.nearest(0, q)+w.shared(w.blocks[0], -1, q))
		}
		set, _ := w.with(0, q)
		w.enter[set*p+q] = max(row[q], best)
	}
}

// arrival is the least time for the graph inputs that some nodes read until they are in the memory of q, which runs
// them all in one run: if that is its only one, the run uploads all.
func (c *chain) arrival(nodes []ir.NodeID, q int) ir.Time {
	e := &c.p.Platform.Processors[q]
	var way, copies, latest ir.Time
	seen := map[ir.ValueID]bool{}
	for _, n := range nodes {
		for _, v := range c.g.Inputs(n) {
			if !c.g.IsInput(v) || seen[v] {
				continue
			}
			seen[v] = true
			var t, up ir.Time
			if src := c.p.Platform.Source; src != ir.NoDevice {
				t = c.travel(v, src, e.Device, 0)
			}
			if t == ir.MaxTime {
				return ir.MaxTime / 2
			}
			if e.Upload != nil {
				up = e.Upload.Time(c.g.Bytes(v))
			}
			copies += up
			way = max(way, t)
			latest = max(latest, t+up)
		}
	}
	if c.limit[q] == 1 {
		return way + copies
	}
	return latest
}

// nearest is the least time from the end of another run to the work in one on q that takes a value of a block from it.
func (c *chain) nearest(block, q int) ir.Time {
	least := ir.MaxTime
	for a := range c.procs {
		least = min(least, c.hop[(block*c.procs+a)*c.procs+q])
	}
	return least
}

// change enters spine node i by runs that come after one that holds the spine node before.
//
// If that has no replicas, all nodes of the block come after one run, R, of it, and before the run that is entered, S.
// If no other run has part in it, the nodes of the block run in R or S, one after the other. If one other has,
// in one of the three: they wait for each other in turn. Only with two others can any two nodes run side by side, on
// those; with three or more, anywhere. All are runs that the walk meets nowhere else, for they start after R has ended and
// end before S starts: they count.
func (w *walk) change(i int, row []ir.Time) {
	p := w.procs
	x := w.spine[i-1]
	single := !w.g.Replicable(x)
	step := w.crossings(i, single)
	earliest := slices.Min(w.before)
	if earliest == ir.MaxTime {
		return
	}
	cost := w.p.Costs.Row(w.spine[i])
	block := w.blocks[i]
	strict := single && len(block) > 1 && w.g.NumNodes()*p*p*p*shareSteps <= chainNodes
	pairs := strict && w.g.NumNodes()*p*p*p*p*pairSteps <= chainNodes
	several := w.sets*len(w.spine)*p*p*p*p*p/6 <= chainWork/2
	for b := range p {
		near := w.nearest(i, b)
		if cost[b] == ir.Unsupported || row[b] == ir.MaxTime || near == ir.MaxTime {
			continue // nothing leads there
		}
		least := max(row[b], earliest+near+cost[b])
		if len(block) > 1 {
			least = max(least, earliest+near+cost[b]+w.shared(block, -1, b))
		}
		for a := range p {
			t := step[a*p+b]
			if t == ir.MaxTime {
				continue
			}
			if !single || len(block) == 0 || !w.aside {
				if strict {
					t = max(t, near+cost[b]+w.shared(block, a, b))
				}
				w.enterBy(a, b, least, t)
				continue
			}
			if hop := w.hop[(i*p+a)*p+b]; hop < ir.MaxTime {
				if turns := w.turns(block, a, b, b); turns < ir.MaxTime {
					w.enterBy(a, b, least, max(t, hop+turns+cost[b]))
				}
			}
			for k := range p {
				in, out := w.hop[(i*p+a)*p+k], w.hop[(i*p+k)*p+b]
				if in == ir.MaxTime || out == ir.MaxTime {
					continue
				}
				if turns := w.turns(block, a, b, k); turns < ir.MaxTime {
					w.enterBy(a, b, least, max(t, in+out+turns+cost[b]), k)
				}
			}
			if len(block) < 2 {
				continue
			}
			if strict {
				t = max(t, near+cost[b]+w.shared(block, a, b))
			}
			for k := range p {
				for l := k; l < p; l++ {
					pair := t
					if pairs {
						if pair = w.sideBySide(i, a, b, k, l); pair < ir.MaxTime {
							pair = max(t, cost[b]+pair)
						}
					}
					if pair < ir.MaxTime {
						w.enterBy(a, b, least, pair, k, l)
					}
					for m := l; m < p && several; m++ {
						w.enterBy(a, b, least, t, k, l, m)
					}
					if !several {
						w.enterBy(a, b, least, t, k, l)
					}
				}
			}
		}
	}
}

// enterBy enters the spine node at hand in a run on b, some time after the end of the one before in a run on a, but not
// before least; runs of other processors had part in it.
func (w *walk) enterBy(a, b int, least, t ir.Time, others ...int) {
	if a == b && w.limit[b] == 1 {
		return
	}
	p := w.procs
next:
	for set := range w.sets {
		from := w.before[set*p+a]
		if from == ir.MaxTime {
			continue
		}
		to, free := w.with(set, b)
		for _, k := range others {
			if !free {
				continue next
			}
			to, free = w.with(to, k)
		}
		if at := to*p + b; free && max(least, from+t) < w.enter[at] {
			w.enter[at] = max(least, from+t)
		}
	}
}

// sideBySide is the least time from the end of spine node i-1 in a run on a to the start of spine node i in one on b if
// the nodes between run in these, one after the other, and in two more, on k and l, which may run side by side.
func (c *chain) sideBySide(i, a, b, k, l int) ir.Time {
	p := c.procs
	inK, outK := c.hop[(i*p+a)*p+k], c.hop[(i*p+k)*p+b]
	inL, outL := c.hop[(i*p+a)*p+l], c.hop[(i*p+l)*p+b]
	if max(inK, outK, inL, outL) == ir.MaxTime {
		return ir.MaxTime
	}
	wayK, wayL := float64(inK+outK), float64(inL+outL)
	// For any share s of k, and 1-s of l, the longer of both takes at least as much as the shares of the two add up to.
	at := func(s float64) float64 {
		sum := s*wayK + (1-s)*wayL
		for _, n := range c.blocks[i] {
			row := c.p.Costs.Row(n)
			least := math.Inf(1)
			for _, q := range [2]int{a, b} {
				if row[q] != ir.Unsupported {
					least = min(least, float64(row[q]))
				}
			}
			if row[k] != ir.Unsupported {
				least = min(least, s*float64(row[k]))
			}
			if row[l] != ir.Unsupported {
				least = min(least, (1-s)*float64(row[l]))
			}
			sum += least
		}
		return sum
	}
	low, high := 0.0, 1.0 // the bound is concave in s
	best := max(at(low), at(high))
	for range pairSteps / 2 {
		x, y := low+(high-low)*0.4, low+(high-low)*0.6
		fx, fy := at(x), at(y)
		best = max(best, fx, fy)
		if fx < fy {
			low = x
		} else {
			high = y
		}
	}
	if math.IsInf(best, 1) {
		return ir.MaxTime // some node runs on none of them
	}
	return ir.Time(best * (1 - 1e-9))
}

// turns is the least time of some nodes one after the other on three processors; MaxTime if these cannot run them all.
func (c *chain) turns(nodes []ir.NodeID, a, b, k int) ir.Time {
	var sum ir.Time
	for _, n := range nodes {
		row := c.p.Costs.Row(n)
		least := ir.MaxTime
		for _, q := range [3]int{a, b, k} {
			if row[q] != ir.Unsupported {
				least = min(least, row[q])
			}
		}
		if least == ir.MaxTime {
			return least
		}
		sum += least
	}
	return sum
}

// crossings are, for processors a and b, the least time from the end of the work on the spine node before block i in a
// run on a to that on spine node i in another run on b, along the paths between them. All paths start in one run only if the spine
// node before is in one; else the heaviest is taken alone.
func (c *chain) crossings(i int, all bool) []ir.Time {
	p := c.procs
	x, y := c.spine[i-1], c.spine[i]
	nodes := append(slices.Clone(c.blocks[i]), y)
	if !all {
		nodes = c.heaviest(i, nodes)
	}
	at := make(map[ir.NodeID]int, len(nodes)+1)
	at[x] = 0
	for k, n := range nodes {
		at[n] = k + 1
	}
	out := make([]ir.Time, p*p)
	rows := make([]ir.Time, (len(nodes)+1)*p)
	for a := range p {
		for q := range p {
			rows[q] = ir.MaxTime
		}
		rows[a] = 0
		for k, n := range nodes {
			row := rows[(k+1)*p : (k+2)*p]
			for q, cost := range c.p.Costs.Row(n) {
				row[q] = ir.MaxTime
				if cost == ir.Unsupported {
					continue
				}
				var latest ir.Time
				for _, v := range c.g.Inputs(n) {
					m := c.g.Producer(v)
					if m == ir.NoNode {
						continue
					}
					j, in := at[m]
					if !in {
						continue
					}
					least := ir.MaxTime
					for r, from := range rows[j*p : (j+1)*p] {
						if from < ir.MaxTime {
							if t := c.between(v, ir.ProcID(r), ir.ProcID(q)); t < ir.MaxTime {
								least = min(least, from+t)
							}
						}
					}
					latest = max(latest, least)
				}
				if latest < ir.MaxTime {
					row[q] = latest + cost
				}
			}
		}
		copy(out[a*p:(a+1)*p], rows[len(nodes)*p:])
	}
	return out
}

// heaviest is the path through block i to its spine node whose least costs add up to most.
func (c *chain) heaviest(i int, nodes []ir.NodeID) []ir.NodeID {
	end := make(map[ir.NodeID]ir.Time, len(nodes))
	back := make(map[ir.NodeID]ir.NodeID, len(nodes))
	for _, n := range nodes {
		least := ir.MaxTime
		for _, t := range c.p.Costs.Row(n) {
			if t != ir.Unsupported {
				least = min(least, t)
			}
		}
		from, most := ir.NoNode, ir.Time(-1)
		for _, v := range c.g.Inputs(n) {
			m := c.g.Producer(v)
			if t, in := end[m]; m != ir.NoNode && in && t > most {
				from, most = m, t
			}
		}
		end[n], back[n] = max(most, 0)+least, from
	}
	var list []ir.NodeID
	for n := c.spine[i]; n != ir.NoNode; n = back[n] {
		list = append(list, n)
	}
	slices.Reverse(list)
	return list
}

// shared bounds the time that the nodes between two spine nodes take: those in the run that follows, on b, one after
// the other behind all others, which share the other processors; and those in the run before, on a, if that is known
// (else -1), before all others. It is the dual of a linear programme as in Area: any shares of the other processors give a bound.
func (c *chain) shared(nodes []ir.NodeID, a, b int) ir.Time {
	p := c.procs
	share := make([]float64, p)
	others := 0
	for q := range share {
		if c.limit[q] != 1 || q != a && q != b {
			share[q] = 1
			others++
		}
	}
	for q := range share {
		share[q] /= float64(max(others, 1))
	}
	load := make([]float64, p)
	best := 0.0
	for i := range shareSteps {
		clear(load)
		sum := 0.0
		for _, n := range nodes {
			least, at := math.Inf(1), -1
			for q, t := range c.p.Costs.Row(n) {
				if t == ir.Unsupported {
					continue
				}
				if q == a || q == b {
					if float64(t) < least {
						least, at = float64(t), -1
					}
				}
				if share[q] > 0 && share[q]*float64(t) < least {
					least, at = share[q]*float64(t), q
				}
			}
			if at >= 0 {
				load[at] += float64(c.p.Costs.Of(n, ir.ProcID(at)))
			}
			if !math.IsInf(least, 1) {
				sum += least
			}
		}
		best = max(best, sum)
		most := slices.Max(load)
		if most == 0 || others < 2 {
			break
		}
		total := 0.0
		for q := range share {
			share[q] *= math.Exp(0.5 / math.Sqrt(float64(i+1)) * load[q] / most)
			total += share[q]
		}
		for q := range share {
			share[q] /= total
		}
	}
	return ir.Time(best * (1 - 1e-9))
}
