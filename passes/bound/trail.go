package bound

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// The bound of this file knows that a sub-model is one blocking run along any path,
// not only along nodes that all others come before or after, as the spine is.
//
// Take nodes x₀ → x₁ → … → x_m, each of which reads a value of the one before. Trace
// back from the run that owns x_m: it holds x_m, …, x_i for some i, and has what
// x_{i-1} makes from the run that owns that, which has then ended; and so on. No run
// is met twice, and none of a processor more often than it may have sub-models. A run
// R that holds x_i, …, x_k holds all that stands between them as well: let b come
// after x_a and before x_k, i ≤ a < k. If R did not hold b, what b makes would come
// from a run that ends before R starts, and that has what x_a makes, or holds it,
// or needs it from yet another one. Where x_a has no replicas, R alone holds it, and
// would end before it starts.
//
// So R pays for all nodes between, which are many more than those of the path. For
// the same reason it does not hold what comes before x_{i-1} and has no replicas, and
// uploads all that it reads of that; nor what comes after x_{k+1}, if that has
// none, and downloads all that is read there.
//
// Dynamic programming over (node of the path, how many runs each processor had,
// processor) bounds what that takes, and raises what is known of the nodes of the path.

// Sizes of this bound.
const (
	trailCells  = 1_000_000 // runs that are told apart times processors
	trailsTried = 4
	trailLeast  = 3 // nodes of a path of which more is known than its length
)

// trail is the walk along one path.
type trail struct {
	*walk
	up, down []int32       // by node: the first node of the path that it is or comes before; the last one that it is or comes after, -1: none
	ahead    [][]ir.NodeID // by index in the path: the nodes whose up it is, later ones first

	// By (from·m + to)·procs + q, for from ≤ to: what a run takes from its start to the end of its work on x_to; the part
	// of it that is work after x_from; its downloads, if it ends with x_to. MaxTime: no such run.
	run, work, loads []ir.Time

	enter [][]ir.Time // by index in the path, then set·procs + q: earliest start of a run that holds it first
	floor [][]ir.Time // by index in the path, then processor: what is known of the end of its work
	ended []ir.Time   // by set·procs + q: earliest end of a run that the node at hand is the last one of
	now   []ir.Time   // the same for the end of the work on it
	at    int         // index of the node that comes next
	steps int         // work done

	// Only plans of at most that latency matter; tail is what comes after the work on a node (see tails). None: nil.
	most ir.Time
	tail []ir.Time
}

// trails are walks along paths of different kinds, as many as can be had for some work.
func trails(p *ir.Problem, routes *ir.Routes, work int) []*trail {
	g, procs := p.Graph, len(p.Platform.Processors)
	if procs == 1 || procs > 64 {
		return nil
	}
	limit, room := make([]int, procs), rooms(p.Platform)
	for q := range limit {
		limit[q] = p.SubmodelLimit(ir.ProcID(q))
	}
	var all []*trail
	weight := make([]float64, g.NumNodes())
	for k := range trailsTried {
		for n := range ir.NodeID(g.NumNodes()) {
			least, sum, able := ir.MaxTime, 0.0, 0
			for _, t := range p.Costs.Row(n) {
				if t != ir.Unsupported {
					least = min(least, t)
					sum += float64(t)
					able++
				}
			}
			if able == 0 {
				return nil
			}
			// First what is long however it is placed, then what is long on the whole, then what those leave aside.
			switch k {
			case 0:
				weight[n] = float64(least)
			case 1:
				weight[n] = sum / float64(able)
			}
		}
		if k > 1 {
			for _, n := range all[len(all)-1].spine {
				weight[n] /= 4
			}
		}
		path := heaviestPath(g, weight)
		m := len(path)
		steps := m * (g.NumNodes() + m) * procs
		if work -= steps; m < trailLeast || work < 0 || m*m*procs > trailCells {
			return all
		}
		if slices.ContainsFunc(all, func(t *trail) bool { return slices.Equal(t.spine, path) }) {
			if k > 1 {
				break
			}
			continue
		}
		c := &chain{ways: ways{p, routes}, g: g, procs: procs, limit: limit, room: room, spine: path, blocks: make([][]ir.NodeID, m), sum: make([]ir.Time, m*procs)}
		for i, x := range path {
			for q, t := range p.Costs.Row(x) {
				if c.sum[i*procs+q] = t; t == ir.Unsupported {
					c.sum[i*procs+q] = ir.MaxTime
				}
			}
		}
		t := &trail{walk: newWalk(c, work/trailsTried/(m/2/procs+1))}
		if work -= m * (m/2 + procs) * procs * t.sets; work < 0 {
			return all
		}
		t.lay()
		t.measure()
		t.steps = steps
		all = append(all, t)
	}
	return all
}

// heaviestPath is a path of nodes, each of which reads from the one before, with the greatest sum of weights.
func heaviestPath(g *ir.Graph, weight []float64) []ir.NodeID {
	n := g.NumNodes()
	sum := make([]float64, n)
	from := make([]ir.NodeID, n)
	last := ir.NodeID(0)
	for i := range ir.NodeID(n) {
		from[i] = ir.NoNode
		for _, v := range g.Inputs(i) {
			if m := g.Producer(v); m != ir.NoNode && (from[i] == ir.NoNode || sum[m] > sum[from[i]]) {
				from[i] = m
			}
		}
		sum[i] = weight[i]
		if from[i] != ir.NoNode {
			sum[i] += sum[from[i]]
		}
		if sum[i] >= sum[last] {
			last = i
		}
	}
	var path []ir.NodeID
	for i := last; i != ir.NoNode; i = from[i] {
		path = append(path, i)
	}
	slices.Reverse(path)
	return path
}

// lay finds where nodes are beside the path.
func (t *trail) lay() {
	g, m := t.g, len(t.spine)
	t.up, t.down = make([]int32, g.NumNodes()), make([]int32, g.NumNodes())
	index := make([]int32, g.NumNodes())
	for n := range index {
		index[n] = -1
	}
	for i, x := range t.spine {
		index[x] = int32(i)
	}
	for n := range ir.NodeID(g.NumNodes()) {
		t.down[n] = index[n]
		for _, v := range g.Inputs(n) {
			if k := g.Producer(v); k != ir.NoNode {
				t.down[n] = max(t.down[n], t.down[k])
			}
		}
	}
	t.ahead = make([][]ir.NodeID, m)
	for n := ir.NodeID(g.NumNodes()) - 1; n >= 0; n-- {
		t.up[n] = int32(m)
		if index[n] >= 0 {
			t.up[n] = index[n]
		}
		for _, v := range g.Outputs(n) {
			for _, k := range g.Consumers(v) {
				t.up[n] = min(t.up[n], t.up[k])
			}
		}
		if t.up[n] < int32(m) {
			t.ahead[t.up[n]] = append(t.ahead[t.up[n]], n)
		}
	}
}

// flows are the values that node i of the path reads from the one before.
func (t *trail) flows(i int, visit func(ir.ValueID)) {
	inputs := t.g.Inputs(t.spine[i])
	for k, v := range inputs {
		if t.g.Producer(v) == t.spine[i-1] && !slices.Contains(inputs[:k], v) {
			visit(v)
		}
	}
}

// measure fills run, work and loads.
func (t *trail) measure() {
	g, p, pf, m := t.g, t.procs, t.p.Platform, len(t.spine)
	size := m * m * p
	t.run, t.work, t.loads = make([]ir.Time, size), make([]ir.Time, size), make([]ir.Time, size)
	hold := newHolding(g)
	limited := slices.Min(t.room) < ir.UnlimitedBytes
	uploaded := make([]int, g.NumValues()) // by value: the start, plus 1, that has counted it
	var nodes []ir.NodeID
	expire := make([][]ir.ValueID, m+1)
	ups, outs, open := make([]ir.Time, p), make([]ir.Time, p), make([]ir.Time, p)
	costs := make([]ir.Time, p)
	full := make([]bool, p)
	up := func(v ir.ValueID) {
		for q := range p {
			if c := pf.Processors[q].Upload; c != nil && t.limit[q] == 1 {
				ups[q] += c.Time(g.Bytes(v))
			}
		}
	}
	down := func(sum []ir.Time, v ir.ValueID, sign ir.Time) {
		for q := range p {
			if c := pf.Processors[q].Download; c != nil {
				sum[q] += sign * c.Time(g.Bytes(v))
			}
		}
	}
	for i := range m {
		clear(ups)
		clear(outs)
		clear(open)
		clear(costs)
		clear(full)
		nodes = nodes[:0]
		for k := range expire {
			expire[k] = expire[k][:0]
		}
		hard := i // the first node of the path from here on without replicas
		for hard < m && g.Replicable(t.spine[hard]) {
			hard++
		}
		for k := i; k < m; k++ {
			before := len(nodes)
			for _, n := range t.ahead[k] {
				if n != t.spine[k] && int(t.down[n]) < hard {
					continue
				}
				nodes = append(nodes, n)
				for q, c := range t.p.Costs.Row(n) {
					if full[q] = full[q] || c == ir.Unsupported; !full[q] {
						costs[q] += c
					}
				}
				for _, v := range g.Inputs(n) {
					from := g.Producer(v)
					certain := from == ir.NoNode || int(t.up[from]) < i && !g.Replicable(from) || k == i && i > 0 && n == t.spine[i] && from == t.spine[i-1]
					if certain && uploaded[v] != i+1 {
						uploaded[v] = i + 1
						up(v)
					}
				}
				if g.Replicable(n) {
					continue // it may be a replica, whose outputs nobody else reads
				}
				for _, v := range g.Outputs(n) {
					if g.IsOutput(v) {
						down(outs, v, 1)
						continue
					}
					last := int32(-1)
					for _, r := range g.Consumers(v) {
						last = max(last, t.down[r])
					}
					if int(last) > k {
						down(open, v, 1)
						expire[last] = append(expire[last], v)
					}
				}
			}
			for _, v := range expire[k] {
				down(open, v, -1)
			}
			if limited && len(nodes) > before {
				list := slices.Clone(nodes)
				slices.Sort(list)
				for q := range p {
					full[q] = full[q] || t.room[q] < ir.UnlimitedBytes && hold.need(list) > t.room[q]
				}
			}
			for q := range p {
				at := (i*m+k)*p + q
				if full[q] {
					t.run[at] = ir.MaxTime
					continue
				}
				t.run[at] = pf.Processors[q].Launch + ups[q] + costs[q]
				t.work[at] = costs[q] - t.p.Costs.Of(t.spine[i], ir.ProcID(q))
				t.loads[at] = outs[q]
				if t.limit[q] != 1 || k+1 == m {
					continue
				}
				next := !g.Replicable(t.spine[k+1])
				if next {
					t.loads[at] += open[q]
				}
				if owned := !g.Replicable(t.spine[k]); !next || !owned {
					if c := pf.Processors[q].Download; c != nil {
						t.flows(k+1, func(v ir.ValueID) {
							if !owned || !g.IsOutput(v) {
								t.loads[at] += c.Time(g.Bytes(v))
							}
						})
					}
				}
			}
		}
	}
}

// crossing is, by from·procs + to, the least time from the end of a run that holds the node before node i of the path
// to the start of another that holds that. Where other runs of a processor may have had its copies, they count here.
func (t *trail) crossing(i int) []ir.Time {
	g, p, pf := t.g, t.procs, t.p.Platform
	out := make([]ir.Time, p*p)
	t.flows(i, func(v ir.ValueID) {
		for a := range p {
			for b := range p {
				var time ir.Time
				if a != b {
					if c := pf.Processors[a].Download; c != nil && t.limit[a] != 1 && (g.Replicable(t.spine[i-1]) || !g.IsOutput(v)) {
						time += c.Time(g.Bytes(v))
					}
					if c := pf.Processors[b].Upload; c != nil && t.limit[b] != 1 {
						time += c.Time(g.Bytes(v))
					}
					time = t.travel(v, pf.Processors[a].Device, pf.Processors[b].Device, time)
				}
				out[a*p+b] = max(out[a*p+b], time)
			}
		}
	})
	for q := range p {
		if t.limit[q] == 1 {
			out[q*p+q] = ir.MaxTime
		}
	}
	return out
}

// advance takes the next node of the path, and raises row, which holds what is known of it by processor.
func (t *trail) advance(row []ir.Time) {
	p, m, k := t.procs, len(t.spine), t.at
	t.at++
	enter := make([]ir.Time, t.sets*p)
	for c := range enter {
		enter[c] = ir.MaxTime
	}
	if k == 0 {
		for q := range p {
			if row[q] < ir.MaxTime {
				set, _ := t.with(0, q)
				enter[set*p+q] = t.first(q)
			}
		}
	} else {
		way := t.crossing(k)
		for set := range t.sets {
			for a := range p {
				from := t.ended[set*p+a]
				if from == ir.MaxTime {
					continue
				}
				t.steps += p
				for b := range p {
					to, free := t.with(set, b)
					if w := way[a*p+b]; free && w < ir.MaxTime && row[b] < ir.MaxTime {
						enter[to*p+b] = min(enter[to*p+b], from+w)
					}
				}
			}
		}
	}
	t.enter, t.floor = append(t.enter, enter), append(t.floor, row)
	if k == 0 {
		t.ended, t.now = make([]ir.Time, t.sets*p), make([]ir.Time, t.sets*p)
	}
	for c := range t.now {
		t.now[c], t.ended[c] = ir.MaxTime, ir.MaxTime
	}
	for q := range p {
		most := ir.MaxTime - 1
		if t.tail != nil && !t.g.Replicable(t.spine[k]) { // one run holds it, and all of the rest comes after
			most = t.most - min(t.most+1, t.tail[int(t.spine[k])*p+q])
		}
		for i := k; i >= 0; i-- {
			at := (i*m+k)*p + q
			if t.run[at] == ir.MaxTime {
				break // nor does one that starts earlier
			}
			if t.floor[i][q] == ir.MaxTime {
				break
			}
			known := max(t.floor[i][q]+t.work[at], row[q])
			if known > most {
				continue
			}
			t.steps += t.sets
			for c := q; c < len(t.now); c += p {
				if start := t.enter[i][c]; start < ir.MaxTime && t.holds[c/p] >= t.need[k] {
					end := max(start+t.run[at], known)
					if end > most {
						continue
					}
					t.now[c] = min(t.now[c], end)
					t.ended[c] = min(t.ended[c], end+t.loads[at])
				}
			}
		}
	}
	for q := range p {
		least := ir.MaxTime
		for c := q; c < len(t.now); c += p {
			least = min(least, t.now[c])
		}
		row[q] = max(row[q], least)
	}
}

// first is the earliest start of a run on q that holds the first node of the path.
func (t *trail) first(q int) ir.Time {
	var latest ir.Time
	src := t.p.Platform.Source
	if src == ir.NoDevice {
		return 0
	}
	for _, v := range t.g.Inputs(t.spine[0]) {
		if t.g.IsInput(v) {
			latest = max(latest, t.travel(v, src, t.p.Platform.Processors[q].Device, 0))
		}
	}
	return latest
}
