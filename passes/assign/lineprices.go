package assign

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Prices prove that nothing comes of a label. Let every node have a price on every
// processor, every picosecond of a channel one ≥ 0, and look at what is left of a plan
// from two sides. As a walk along the line, from processor to processor, it takes the
// price of each node where it is, and channel time at its price: no less than a
// shortest path. As what each processor does in the time and with the runs that are left
// to it, it takes nodes in stretches, each of which costs what starting and ending a run
// takes: no more by price than a knapsack along the line gives, a table over
// place, runs left and time left, filled backwards. If the shortest path is above what
// all processors and the price of all channel time left come to, there is no such plan.
// (Lagrangian decomposition, Guignard and Kim, Mathematical Programming 39, 1987. With
// one price a node it is the cover of nodes by processors; a shortest path under weights
// of loads, linepaths.go, is what is left of it if time left is no whole.)
//
// Time is in cells. What must not be overstated, times, is rounded down; a stretch's
// nodes by their sums from the head of the line on, so that one stretch loses a cell
// and not one a node. Prices are whole numbers: sums are exact.

const (
	priceUnit = 1 << 26 // sum of the prices of all nodes
	noPrice   = math.MinInt32 / 4
)

// linePrices are prices of what is left from a place on; the largest of each node have the sum 1.
type linePrices struct {
	node    []float64 // by place · processors + processor
	channel []float64 // by channel: of all its time up to the limit
}

// lineTable is the most that processors can take from each place on.
type lineTable struct {
	m        *lineModel
	prices   linePrices // what it is made of
	from     int        // the first place that has rows
	shift    uint
	width    int
	least    []int64   // by place · processors + processor of the node before: the shortest path from there on
	next     []int8    // the same: where it goes first
	channel  []float64 // by channel: price of a picosecond
	capacity ir.Time   // the most that a load may be
	other    bool      // the capacity is another one than before
	of       []lineRows
}

// lineRows are the rows of one processor, the first of its class.
type lineRows struct {
	levels  int     // runs left that are told apart; 1: any number
	early   int     // cells that a run under way may have gained by rounding
	out, in []int32 // by (place, runs, cells): it does not hold the node before, it does

	// By place.
	gain       []int32 // price of the node; noPrice if it cannot run here
	spent      []int   // cells that the node takes
	begin      []int   // cells that it takes to start a run with it
	leave      []int   // cells that it takes to end a run before it
	start, end []bool  // a run may start with it, may end before it
}

// mostLevels is from how many runs on their number is not counted.
const mostLevels = 6

// fill computes the table from a place on, of prices, for plans whose loads are at most capacity, in up to cells cells.
func (t *lineTable) fill(from int, u *linePrices, capacity ir.Time, cells int) {
	m := t.m
	t.other = t.of == nil || t.capacity != capacity
	t.from, t.capacity, t.shift = from, capacity, 0
	for int(capacity>>t.shift) > cells {
		t.shift++
	}
	t.width = int(capacity>>t.shift) + 2
	if t.of == nil {
		t.of = make([]lineRows, m.procs)
		t.channel = make([]float64, m.channels)
		t.least, t.next = make([]int64, (m.n+1)*m.procs), make([]int8, m.n*m.procs)
	}
	for c := range t.channel {
		t.channel[c] = u.channel[c] * priceUnit / float64(max(capacity, 1))
	}
	for q := range m.procs {
		if int(m.class[q]) == q {
			t.prepare(q, u)
			t.rows(&t.of[q])
		}
	}
	t.paths()
}

// paths finds the shortest paths.
func (t *lineTable) paths() {
	m := t.m
	node := make([]int64, m.procs)
	for i := m.n - 1; i >= t.from; i-- {
		for q := range m.procs {
			node[q] = noPath
			if gain := t.of[m.class[q]].gain[i]; gain > noPrice {
				node[q] = min(noPath, int64(gain)+t.toll(m.moved[i*m.procs+q])+t.least[(i+1)*m.procs+q])
			}
		}
		for a := range m.procs {
			best, by := node[a], a
			for b := range m.procs {
				if b == a || node[b] >= best {
					continue
				}
				x := node[b]
				if i > 0 {
					list, ok := m.between(i, a, b)
					if !ok || m.joined[i] {
						continue
					}
					x += t.toll(list)
				}
				if x < best {
					best, by = x, b
				}
			}
			t.least[i*m.procs+a], t.next[i*m.procs+a] = best, int8(by)
		}
	}
}

// noPath stands for the price of a path where there is none.
const noPath = 1 << 40

// path is the price of the shortest path from a place on; last is the processor of the node before, -1: none.
func (t *lineTable) path(i, last int) int64 {
	if last >= 0 {
		return t.least[i*t.m.procs+last]
	}
	return slices.Min(t.least[i*t.m.procs : (i+1)*t.m.procs])
}

// walk follows the shortest path from a place on: it takes from taken by place and processor, and adds to used by channel.
func (t *lineTable) walk(i, last int, taken, used []float64) {
	m := t.m
	use := func(list []channelLoad) {
		for _, l := range list {
			used[l.channel] += float64(l.busy)
		}
	}
	if last < 0 {
		for last = 0; t.least[i*m.procs+last] > t.path(i, -1); {
			last++
		}
	}
	for ; i < m.n; i++ {
		q := int(t.next[i*m.procs+last])
		if q != last && i > 0 {
			list, _ := m.between(i, last, q)
			use(list)
		}
		use(m.moved[i*m.procs+q])
		taken[i*m.procs+q]--
		last = q
	}
}

// prepare rounds what a processor takes.
func (t *lineTable) prepare(q int, u *linePrices) {
	m := t.m
	w := &t.of[q]
	if w.gain == nil {
		w.gain, w.start, w.end = make([]int32, m.n), make([]bool, m.n), make([]bool, m.n)
		w.spent, w.begin, w.leave = make([]int, m.n), make([]int, m.n), make([]int, m.n)
	}
	w.levels = m.levels(q)
	w.early = 1
	for i := range m.n {
		at := i*m.procs + q
		w.begin[i] = int(m.start[at] >> t.shift)
		if t.other {
			t.crossing(i, q)
		}
		if i > 0 {
			w.leave[i] = int(m.end[at-m.procs] >> t.shift)
			if w.start[i] && w.begin[i] == 0 {
				w.early = 0
			}
		}
	}
	var sum ir.Time
	for i := range m.n {
		at := i*m.procs + q
		cost := m.cost[at]
		w.gain[i] = noPrice
		if cost != ir.Unsupported && cost <= t.capacity {
			w.gain[i] = int32(math.Floor(u.node[at] * priceUnit))
		}
		cost = max(cost, 0)
		w.spent[i] = int(cost >> t.shift)
		if w.early == 1 {
			w.spent[i] = int((sum+cost)>>t.shift) - int(sum>>t.shift)
			if i > 0 {
				w.begin[i]--
			}
		}
		sum += cost
	}
}

// work is how many steps it took to fill the table: one is about as much as to look at a label.
func (t *lineTable) work() int {
	sum := 0
	for _, w := range t.of {
		if w.levels > 0 {
			sum += w.levels * t.width
		}
	}
	return (sum/100 + t.m.procs*t.m.procs/10) * (t.m.n + 1 - t.from)
}

// levels is how many numbers of runs of a processor tables tell apart.
func (m *lineModel) levels(q int) int {
	if m.limit[q] >= mostLevels || 2*m.limit[q] >= m.n {
		return 1
	}
	return m.limit[q] + 1
}

// crossing finds whether a run on q may start with place i, and whether one may end before it.
func (t *lineTable) crossing(i, q int) {
	m := t.m
	w := &t.of[q]
	if w.start[i], w.end[i] = i == 0, false; i == 0 || m.joined[i] {
		return
	}
	may := func(a, b int) bool {
		if m.cost[(i-1)*m.procs+a] == ir.Unsupported || m.cost[i*m.procs+b] == ir.Unsupported {
			return false
		}
		list, ok := m.between(i, a, b)
		for _, l := range list {
			ok = ok && l.busy <= t.capacity
		}
		return ok
	}
	for p := range m.procs {
		if p != q {
			w.start[i] = w.start[i] || may(p, q)
			w.end[i] = w.end[i] || may(q, p)
		}
	}
}

// toll is the price of channel time, rounded down.
func (t *lineTable) toll(list []channelLoad) int64 {
	var sum float64
	for _, l := range list {
		sum += t.channel[l.channel] * float64(l.busy)
	}
	return int64(min(sum*(1-1e-9), noPath))
}

func (t *lineTable) row(w *lineRows, table []int32, i, k int) []int32 {
	at := ((i-t.from)*w.levels + k) * t.width
	return table[at : at+t.width : at+t.width]
}

// rows fills the rows of a processor, the last place first.
func (t *lineTable) rows(w *lineRows) {
	n := t.m.n
	size := (n + 1 - t.from) * w.levels * t.width
	w.out = slices.Grow(w.out[:0], size)[:size]
	w.in = slices.Grow(w.in[:0], size)[:size]
	clear(w.out[(n-t.from)*w.levels*t.width:])
	clear(w.in[(n-t.from)*w.levels*t.width:])
	for i := n - 1; i >= t.from; i-- {
		gain := w.gain[i]
		for k := range w.levels {
			o, next := t.row(w, w.out, i, k), t.row(w, w.in, i+1, k)
			copy(o, t.row(w, w.out, i+1, k))
			if gain > noPrice && w.start[i] && (w.levels == 1 || k > 0) {
				started := next
				if w.levels > 1 {
					started = t.row(w, w.in, i+1, k-1)
				}
				raise(o, started, w.begin[i]+w.spent[i], gain)
			}
			x := t.row(w, w.in, i, k)
			for r := range x {
				x[r] = noPrice
			}
			if gain > noPrice {
				raise(x, next, w.spent[i], gain)
			}
			if i > 0 && w.end[i] {
				raise(x, o, w.leave[i], 0)
			}
		}
	}
}

// raise makes to at least what from is some cells before, and fee.
func raise(to, from []int32, skip int, fee int32) {
	if skip >= len(to) {
		return
	}
	to = to[skip:]
	from = from[:len(to)]
	for r, x := range from {
		if x += fee; x > to[r] {
			to[r] = x
		}
	}
}

// at is the most that a processor can take from a place on.
func (t *lineTable) at(i, q int, within bool, load ir.Time, runs int64) int64 {
	w := &t.of[t.m.class[q]]
	cells := int((t.capacity - load) >> t.shift)
	table := w.out
	if within {
		table = w.in
		cells += w.early
	}
	k := 0
	if w.levels > 1 {
		k = int(runs)
	}
	return int64(table[((i-t.from)*w.levels+k)*t.width+cells])
}

// take walks the table for what a processor takes at most: it adds to taken by place and processor.
func (t *lineTable) take(i, q int, within bool, load ir.Time, runs int64, taken []float64) {
	m := t.m
	w := &t.of[m.class[q]]
	k := 0
	if w.levels > 1 {
		k = int(runs)
	}
	cells := int((t.capacity - load) >> t.shift)
	if within {
		cells += w.early
	}
	for ; i < m.n; i++ {
		if within && i > 0 && w.end[i] && cells >= w.leave[i] && t.row(w, w.out, i, k)[cells-w.leave[i]] == t.row(w, w.in, i, k)[cells] {
			cells -= w.leave[i]
			within = false
		}
		if !within {
			if t.row(w, w.out, i, k)[cells] == t.row(w, w.out, i+1, k)[cells] {
				continue
			}
			cells -= w.begin[i]
			if w.levels > 1 {
				k--
			}
			within = true
		}
		if cells -= w.spent[i]; cells < 0 {
			return // nothing comes of it
		}
		taken[i*m.procs+q]++
	}
}
