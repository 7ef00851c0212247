package partition

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Coarsen gathers units into larger ones, level by level: targets are the sizes wanted,
// falling; each level merges units of the one before, the first those of base, which
// gives the unit of each node, 0 to units-1. It returns the unit of each
// node at each level and the number of units, coarsest last. Units never wait for
// each other.
//
// A level is made in two steps, after the multilevel schemes for acyclic
// partitioning (Herrmann et al., SIAM Journal on Scientific Computing 41(4),
// 2019). First units join their only reader or their only feeder, those with the
// dearest cuts between them first: what is joined that way are trees, and a
// contracted tree closes no cycle. What is left is cut into stretches of a
// depth-first topological order, at borders that are cheap to cut. A cut costs the
// way of its values as far as the slack of the edge does not hide it: on the
// critical path it costs all of it, beside work that takes longer next to nothing.
// For throughput, which no wait lowers, bytes count. Units stay
// below a share of all work and of all memory, and mostly join where the same
// processors support them. Time is linear in the edges for each level.
func Coarsen(p *ir.Problem, objective ir.Objective, base []int32, units int, targets []int) (levels [][]int32, sizes []int) {
	d := nodeDag(p)
	d.hidden = objective == ir.Latency
	unitOf := base
	if units < d.n {
		d = d.quotient(base, units)
	} else {
		d.findPrices()
	}
	for _, target := range targets {
		into, coarser := d.contract(target)
		if coarser.n < d.n {
			next := make([]int32, len(unitOf))
			for i, u := range unitOf {
				next[i] = into[u]
			}
			unitOf, d = next, coarser
			levels, sizes = append(levels, unitOf), append(sizes, d.n)
		}
	}
	return levels, sizes
}

// dag is a graph of units under contraction.
type dag struct {
	n      int
	succ   rows
	bytes  []int64   // by edge, as succ.data: what flows
	price  []int64   // by edge: what a cut costs, in picoseconds
	work   []float64 // by unit: cost, in shares of all
	whole  float64   // all work, in picoseconds
	each   float64   // the way of a value between two processors, on average: so much,
	byteT  float64   // and so much for each byte, in picoseconds
	hidden bool      // slack hides ways
	room   []float64 // by unit: memory, in shares of all
	mask   []uint64  // by unit: processors that support it, those from 63 on as one
	tied   []bool    // by unit: it holds a node of a group
	limit  float64   // most room of a unit, as a share of all
}

func nodeDag(p *ir.Problem) *dag {
	g := p.Graph
	n := g.NumNodes()
	d := &dag{n: n, work: make([]float64, n), room: make([]float64, n), mask: make([]uint64, n), tied: make([]bool, n)}
	d.succ.start = make([]int32, 1, n+1)
	seen := make([]int32, n)
	slot := make([]int32, n)
	var work, room float64
	for i := range ir.NodeID(n) {
		for _, v := range g.Outputs(i) {
			for _, c := range g.Consumers(v) {
				if seen[c] != int32(i)+1 {
					seen[c], slot[c] = int32(i)+1, int32(len(d.succ.data))
					d.succ.data = append(d.succ.data, int32(c))
					d.bytes = append(d.bytes, 0)
				}
				d.bytes[slot[c]] += g.Bytes(v)
			}
			d.room[i] += float64(g.ResidentBytes(v)) / 16 // most are gone soon
		}
		d.succ.start = append(d.succ.start, int32(len(d.succ.data)))
		least := ir.MaxTime
		for q, c := range p.Costs.Row(i) {
			if c != ir.Unsupported {
				d.mask[i] |= 1 << min(q, 63)
				least = min(least, c)
			}
		}
		if least < ir.MaxTime {
			d.work[i] = float64(least)
		}
		for _, w := range g.Weights(i) {
			d.room[i] += float64(g.WeightBytes(w))
		}
		id := g.Group(i)
		d.tied[i] = id != ir.NoGroup && len(g.Members(id)) > 1
		work += d.work[i]
		room += d.room[i]
	}
	for i := range n {
		d.work[i] /= max(work, 1)
		d.room[i] /= max(room, 1)
	}
	d.whole = work
	d.each, d.byteT = meanWay(p.Platform)
	d.limit = 1
	for _, q := range p.Platform.Processors {
		if q.MemoryBytes != ir.UnlimitedBytes {
			d.limit = min(d.limit, float64(q.MemoryBytes)/8/max(room, 1))
		}
	}
	return d
}

// joiner is a contraction under way: disjoint sets of units.
type joiner struct {
	d     *dag
	root  []int32
	work  []float64
	room  []float64
	mask  []uint64
	count int
	most  float64 // share of work of a unit
	space float64 // share of memory
}

func (j *joiner) find(u int32) int32 {
	for j.root[u] != u {
		j.root[u] = j.root[j.root[u]]
		u = j.root[u]
	}
	return u
}

// fits says whether two sets may become one.
func (j *joiner) fits(a, b int32) bool {
	return j.mask[a] == j.mask[b] && j.work[a]+j.work[b] <= j.most && j.room[a]+j.room[b] <= j.space
}

func (j *joiner) join(a, b int32) {
	j.root[b] = a
	j.work[a] += j.work[b]
	j.room[a] += j.room[b]
	j.count--
}

// contract merges units until there are about target, and says where each went. Coarser units stand in topological order.
func (d *dag) contract(target int) ([]int32, *dag) {
	j := &joiner{d: d, root: make([]int32, d.n), work: slices.Clone(d.work), room: slices.Clone(d.room), mask: d.mask, count: d.n}
	for u := range j.root {
		j.root[u] = int32(u)
	}
	j.most = 1.5 / float64(target)
	j.space = min(d.limit, 3/float64(target))
	sorted := slices.Clone(d.price)
	slices.Sort(sorted)
	for _, share := range []int{3, 2, 1, 0, 0} {
		if j.count <= target || len(sorted) == 0 {
			break
		}
		floor := sorted[(len(sorted)-1)*share/4]
		if share == 0 {
			floor = 0
		}
		j.trees(floor, target, false)
		j.trees(floor, target, true)
	}
	into, n := j.number()
	c := d.quotient(into, n)
	if n <= target {
		return into, c
	}
	slack := 1.0
	for range 8 {
		more, k := c.stretches(slack/float64(target), min(d.limit, 2*slack/float64(target)), slack >= 4)
		if k <= target*3/2 || slack >= 32 {
			for u := range into {
				into[u] = more[into[u]]
			}
			return into, c.quotient(more, k)
		}
		slack *= 1.7
	}
	return into, c
}

// trees joins every set with its only reader, or with its only feeder, if a cut between them costs at least floor.
func (j *joiner) trees(floor int64, target int, feeders bool) {
	d := j.d
	const none, many = -1, -2
	only := make([]int32, d.n) // by root: the only other set that it feeds, or that feeds it
	flow := make([]int64, d.n)
	for u := range only {
		only[u] = none
	}
	for u := range int32(d.n) {
		a := j.find(u)
		for k := d.succ.start[u]; k < d.succ.start[u+1]; k++ {
			b := j.find(d.succ.data[k])
			if a == b {
				continue
			}
			from, to := a, b
			if feeders {
				from, to = b, a
			}
			switch only[from] {
			case none:
				only[from] = to
				flow[from] = d.price[k]
			case to:
				flow[from] += d.price[k]
			default:
				only[from] = many
			}
		}
	}
	step := func(u int32) {
		if only[u] < 0 || flow[u] < floor || j.root[u] != u {
			return
		}
		// Joined along one kind of edge in one direction, sets are trees.
		if to := j.find(only[u]); to != u && j.fits(to, u) && (!d.tied[u] || d.mask[u] == d.mask[to]) {
			j.join(to, u)
		}
	}
	if feeders {
		for u := int32(0); int(u) < d.n && j.count > target; u++ {
			step(u)
		}
	} else {
		for u := int32(d.n) - 1; u >= 0 && j.count > target; u-- {
			step(u)
		}
	}
}

// number gives the sets numbers in a topological order that goes deep first.
func (j *joiner) number() ([]int32, int) {
	d := j.d
	ids := make([]int32, d.n)
	n := int32(0)
	for u := range int32(d.n) {
		if j.root[u] == u {
			ids[u] = n
			n++
		}
	}
	into := make([]int32, d.n)
	for u := range into {
		into[u] = ids[j.find(int32(u))]
	}
	place := d.quotient(into, int(n)).deep()
	for u := range into {
		into[u] = place[into[u]]
	}
	return into, int(n)
}

// deep is the position of each unit in a topological order that follows a path as far as it goes.
func (d *dag) deep() []int32 {
	in := make([]int32, d.n)
	for _, v := range d.succ.data {
		in[v]++
	}
	var stack []int32
	for u := int32(d.n) - 1; u >= 0; u-- {
		if in[u] == 0 {
			stack = append(stack, u)
		}
	}
	place := make([]int32, d.n)
	at := int32(0)
	for len(stack) > 0 {
		u := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		place[u] = at
		at++
		row := d.succ.of(u)
		for i := len(row) - 1; i >= 0; i-- {
			if in[row[i]]--; in[row[i]] == 0 {
				stack = append(stack, row[i])
			}
		}
	}
	return place
}

// quotient is the graph of n sets of units; edges between two sets are one.
func (d *dag) quotient(into []int32, n int) *dag {
	q := &dag{n: n, work: make([]float64, n), room: make([]float64, n), mask: make([]uint64, n), tied: make([]bool, n), limit: d.limit, whole: d.whole, each: d.each, byteT: d.byteT, hidden: d.hidden}
	for u := range q.mask {
		q.mask[u] = ^uint64(0)
	}
	count := make([]int32, n+1)
	for u, c := range into {
		q.work[c] += d.work[u]
		q.room[c] += d.room[u]
		q.mask[c] &= d.mask[u]
		q.tied[c] = q.tied[c] || d.tied[u]
		count[c+1]++
	}
	for c := range n {
		count[c+1] += count[c]
	}
	members := make([]int32, d.n)
	next := slices.Clone(count)
	for u, c := range into {
		members[next[c]] = int32(u)
		next[c]++
	}
	q.succ.start = make([]int32, 1, n+1)
	seen := make([]int32, n)
	slot := make([]int32, n)
	for c := range int32(n) {
		for _, u := range members[count[c]:count[c+1]] {
			for k := d.succ.start[u]; k < d.succ.start[u+1]; k++ {
				t := into[d.succ.data[k]]
				if t == c {
					continue
				}
				if seen[t] != c+1 {
					seen[t], slot[t] = c+1, int32(len(q.succ.data))
					q.succ.data = append(q.succ.data, t)
					q.bytes = append(q.bytes, 0)
				}
				q.bytes[slot[t]] += d.bytes[k]
			}
		}
		q.succ.start = append(q.succ.start, int32(len(q.succ.data)))
	}
	q.findPrices()
	return q
}

// mostTimed is the most units whose slack is worth its passes over all edges: the levels of larger graphs are merged many
// times over before a unit is moved by itself.
const mostTimed = 50_000

// findPrices works out what cuts cost. Where units do not stand in topological order yet, slack is not known, and the way
// counts in full; bytes alone count on levels of more than mostTimed units.
func (d *dag) findPrices() {
	if !d.hidden || d.n > mostTimed {
		d.price = d.bytes // links carry them, whenever that is
		return
	}
	d.price = make([]int64, len(d.bytes))
	for k, b := range d.bytes {
		d.price[k] = 1 + int64(d.each+d.byteT*float64(b))
	}
	// The longest ways to a unit's start, and from its start to the end.
	top, rest := make([]float64, d.n), make([]float64, d.n)
	longest := 0.0
	for u := range int32(d.n) {
		end := top[u] + d.work[u]*d.whole
		longest = max(longest, end)
		for _, w := range d.succ.of(u) {
			if w < u {
				return
			}
			top[w] = max(top[w], end)
		}
	}
	for u := int32(d.n) - 1; u >= 0; u-- {
		for _, w := range d.succ.of(u) {
			rest[u] = max(rest[u], rest[w])
		}
		rest[u] += d.work[u] * d.whole
	}
	for u := range int32(d.n) {
		for k := d.succ.start[u]; k < d.succ.start[u+1]; k++ {
			slack := longest - top[u] - d.work[u]*d.whole - rest[d.succ.data[k]]
			way := float64(d.price[k])
			// A transfer that nobody waits for still keeps a link busy.
			d.price[k] = 1 + int64(way/8+max(0, way-max(0, slack)))
		}
	}
}

// meanWay is the way of a value between two processors over idle links, on average over those between which there is
// one: a time for each value, and one for each byte, in picoseconds.
func meanWay(pf *ir.Platform) (each, perByte float64) {
	const probe = 1 << 20
	routes := ir.NewRoutes(pf)
	pairs := 0
	time := func(c *ir.Copy, size int64) float64 {
		if c == nil {
			return 0
		}
		return float64(c.Time(size))
	}
	way := func(a, b *ir.Processor, size int64) (float64, bool) {
		t := time(a.Download, size) + time(b.Upload, size)
		if a.Device == b.Device {
			return t, true
		}
		route := routes.Find(a.Device, b.Device, size)
		for _, l := range route {
			t += float64(pf.Links[l].Time(size))
		}
		return t, route != nil
	}
	for a := range pf.Processors {
		for b := range pf.Processors {
			if a == b {
				continue
			}
			least, ok := way(&pf.Processors[a], &pf.Processors[b], 0)
			more, okMore := way(&pf.Processors[a], &pf.Processors[b], probe)
			if ok && okMore {
				each += least
				perByte += (more - least) / probe
				pairs++
			}
		}
	}
	pairs = max(pairs, 1)
	return each / float64(pairs), max(0, perByte) / float64(pairs)
}

// stretches cuts the order of the units, which is topological, into stretches of at most most work and space
// memory, at the borders that cost least to cut in the second half of each. Where mixed is false, only units
// that the same processors support share a stretch.
func (d *dag) stretches(most, space float64, mixed bool) ([]int32, int) {
	cross := make([]int64, d.n+1) // by border
	for u := range int32(d.n) {
		for k := d.succ.start[u]; k < d.succ.start[u+1]; k++ {
			cross[u+1] += d.price[k]
			cross[d.succ.data[k]+1] -= d.price[k]
		}
	}
	for i := range d.n {
		cross[i+1] += cross[i]
	}
	into := make([]int32, d.n)
	n := int32(0)
	for a := 0; a < d.n; {
		work, room, mask := d.work[a], d.room[a], d.mask[a]
		b, best := a+1, a+1
		for ; b < d.n; b++ {
			if mask&d.mask[b] == 0 || (!mixed || d.tied[a] || d.tied[b]) && mask != d.mask[b] || work+d.work[b] > most || room+d.room[b] > space {
				break
			}
			mask &= d.mask[b]
			work += d.work[b]
			room += d.room[b]
			if work < most/2 && room < space/2 || cross[b+1] <= cross[best] {
				best = b + 1
			}
		}
		if b == d.n {
			best = b
		}
		for ; a < best; a++ {
			into[a] = n
		}
		n++
	}
	return into, int(n)
}
