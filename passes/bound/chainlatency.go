package bound

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// walk is the dynamic programme over the spine. A state is a set of used processors and the processor of the run at
// hand; all sets count as one where they are not told apart.
type walk struct {
	*chain
	sets   int
	prefix []ir.Time // (spine index · procs + q): Σ of sum up to it, unsupported ones as 0
	enter  []ir.Time // by set·procs + q: T of the spine node at hand for a run that holds it first
	done   []ir.Time // the same for any run
	before []ir.Time // done of the spine node before
	queues [][]entry // by set·procs + q: entries that a run at the spine node at hand may have started with, best first
}

type entry struct {
	from int
	key  ir.Time // T at the entry, less prefix there
}

func newWalk(c *chain) *walk {
	m, p := len(c.spine), c.procs
	w := &walk{chain: c, sets: 1, prefix: make([]ir.Time, m*p)}
	if c.once && p <= chainProcs && m<<p*p*p <= chainWork {
		w.sets = 1 << p
	}
	for i := range m {
		for q := range p {
			if i > 0 {
				w.prefix[i*p+q] = w.prefix[(i-1)*p+q]
			}
			if t := c.sum[i*p+q]; t < ir.MaxTime {
				w.prefix[i*p+q] += t
			}
		}
	}
	w.enter, w.done, w.before = make([]ir.Time, w.sets*p), make([]ir.Time, w.sets*p), make([]ir.Time, w.sets*p)
	w.queues = make([][]entry, w.sets*p)
	return w
}

// with is a set with a processor, and whether the processor may start a run.
func (w *walk) with(set, q int) (int, bool) {
	if w.sets == 1 {
		return 0, true
	}
	return set | 1<<q, set>>q&1 == 0
}

// latency walks along the spine and through the rest of the graph at once: what is known of a spine node holds for
// the paths that go on from it.
func (c *chain) latency() (bound ir.Time, ok bool) {
	w := newWalk(c)
	at := 0
	return paths(c.p, &c.ways, func(n ir.NodeID, row []ir.Time) {
		if at < len(c.spine) && c.spine[at] == n {
			w.advance(at, row)
			at++
		}
	})
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
		if len(queue) > 0 {
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
	if c.once {
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
func (w *walk) change(i int, row []ir.Time) {
	p := w.procs
	x := w.spine[i-1]
	single := !w.g.Replicable(x)
	step := w.crossings(i, single)
	earliest := ir.MaxTime
	for _, t := range w.before {
		earliest = min(earliest, t)
	}
	if earliest == ir.MaxTime {
		return
	}
	cost := w.p.Costs.Row(w.spine[i])
	strict := single && len(w.blocks[i]) > 1 && w.g.NumNodes()*p*p*p*shareSteps <= chainNodes
	for b := range p {
		if cost[b] == ir.Unsupported || row[b] == ir.MaxTime {
			continue
		}
		least := row[b]
		near := w.nearest(i, b)
		if near == ir.MaxTime {
			continue // nothing leads there
		}
		if len(w.blocks[i]) > 1 {
			least = max(least, earliest+near+cost[b]+w.shared(w.blocks[i], -1, b))
		} else {
			least = max(least, earliest+near+cost[b])
		}
		for a := range p {
			if a == b && w.once || step[a*p+b] == ir.MaxTime {
				continue
			}
			t := step[a*p+b]
			if strict {
				t = max(t, near+cost[b]+w.shared(w.blocks[i], a, b))
			}
			for set := range w.sets {
				from := w.before[set*p+a]
				to, free := w.with(set, b)
				if from == ir.MaxTime || !free {
					continue
				}
				k := to*p + b
				w.enter[k] = min(w.enter[k], max(least, from+t))
			}
		}
	}
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
		if !c.once || q != a && q != b {
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
