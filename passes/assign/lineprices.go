package assign

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Prices prove that nothing comes of a label: let every node that has no place yet
// have a price u ≥ 0, every picosecond of a channel one of y ≥ 0. Whatever a processor
// does in the time and with the runs that are left to it, it takes nodes, in stretches,
// and each stretch costs what starting and ending a run takes and half of the least
// that the crossings at its ends cost in channel time. The most that it can take by
// price, less channel time, is a knapsack along the line: a table over place, runs left and
// time left, filled backwards. If what all processors can take at most and the price
// of all channel time left are below the price of all nodes, some node stays behind.
// (Lagrangian relaxation of the cover of nodes by processors, as in Fisher, Management
// Science 27, 1981.)
//
// Time is in cells. What must not be overstated, times, is rounded down; a stretch's
// nodes by their sums from the head of the line on, so that one stretch loses a cell
// and not one a node. Prices are whole numbers: sums are exact.

const (
	priceUnit = 1 << 26 // sum of the prices of all nodes
	noPrice   = math.MinInt32 / 4
)

// linePrices are prices of what is left from a place on; those of all nodes have the sum 1.
type linePrices struct {
	node    []float64 // by place
	channel []float64 // by channel: of all its time up to the limit
}

// lineTable is the most that processors can take from each place on.
type lineTable struct {
	m        *lineModel
	prices   linePrices // what it is made of
	from     int        // the first place that has rows
	shift    uint
	width    int
	left     []int64   // by place: price of the nodes from there on
	channel  []float64 // by channel: price of a picosecond
	capacity ir.Time   // the most that a load may be
	of       []lineRows
}

// lineRows are the rows of one processor, the first of its class.
type lineRows struct {
	levels  int     // runs left that are told apart; 1: any number
	early   int     // cells that a run under way may have gained by rounding
	out, in []int32 // by (place, runs, cells): it does not hold the node before, it does

	// By place.
	gain       []int32 // price of the node, less that of channel time for graph inputs and outputs; noPrice if it cannot run here
	spent      []int   // cells that the node takes
	begin      []int   // cells that it takes to start a run with it
	leave      []int   // cells that it takes to end a run before it
	start, end []int32 // price of channel time of that; -1 if it cannot be
	starting   [][]channelLoad
	ending     [][]channelLoad
}

// mostLevels is from how many runs on their number is not counted.
const mostLevels = 6

// fill computes the table from a place on, of prices, for plans whose loads are at most capacity, in up to cells cells.
func (t *lineTable) fill(from int, u *linePrices, capacity ir.Time, cells int) {
	m := t.m
	t.from, t.capacity, t.shift = from, capacity, 0
	for int(capacity>>t.shift) > cells {
		t.shift++
	}
	t.width = int(capacity>>t.shift) + 2
	if t.of == nil {
		t.of = make([]lineRows, m.procs)
		t.channel, t.left = make([]float64, m.channels), make([]int64, m.n+1)
	}
	for c := range t.channel {
		t.channel[c] = u.channel[c] * priceUnit / float64(max(capacity, 1))
	}
	price := make([]int32, m.n)
	for i := m.n - 1; i >= from; i-- {
		price[i] = int32(u.node[i] * priceUnit)
		t.left[i] = t.left[i+1] + int64(price[i])
	}
	for q := range m.procs {
		if int(m.class[q]) == q {
			t.prepare(q, price)
			t.rows(&t.of[q])
		}
	}
}

// prepare rounds what a processor takes.
func (t *lineTable) prepare(q int, price []int32) {
	m := t.m
	w := &t.of[q]
	if w.gain == nil {
		w.gain, w.start, w.end = make([]int32, m.n), make([]int32, m.n), make([]int32, m.n)
		w.spent, w.begin, w.leave = make([]int, m.n), make([]int, m.n), make([]int, m.n)
		w.starting, w.ending = make([][]channelLoad, m.n), make([][]channelLoad, m.n)
	}
	w.levels = m.levels(q)
	w.early = 1
	for i := range m.n {
		at := i*m.procs + q
		w.start[i], w.end[i] = 0, 0
		w.begin[i] = int(m.start[at] >> t.shift)
		if i > 0 {
			t.crossing(i, q)
			w.leave[i] = int(m.end[at-m.procs] >> t.shift)
			if w.start[i] >= 0 && w.begin[i] == 0 {
				w.early = 0
			}
		}
	}
	var sum ir.Time
	for i := range m.n {
		cost := m.cost[i*m.procs+q]
		w.gain[i] = noPrice
		if cost != ir.Unsupported && cost <= t.capacity {
			w.gain[i] = price[i] - t.toll(m.moved[i*m.procs+q])
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
	return sum * (t.m.n + 1 - t.from) / 100
}

// levels is how many numbers of runs of a processor tables tell apart.
func (m *lineModel) levels(q int) int {
	if m.limit[q] >= mostLevels || 2*m.limit[q] >= m.n {
		return 1
	}
	return m.limit[q] + 1
}

// crossing finds half of the least price of channel time that a run on q that starts with place i costs, and that one
// that ends before it does.
func (t *lineTable) crossing(i, q int) {
	m := t.m
	w := &t.of[q]
	w.start[i], w.end[i] = -1, -1
	if m.joined[i] {
		return
	}
	consider := func(least *int32, by *[]channelLoad, a, b int) {
		list, ok := m.between(i, a, b)
		for _, l := range list {
			ok = ok && l.busy <= t.capacity
		}
		if x := t.toll(list) / 2; ok && (*least < 0 || x < *least) {
			*least, *by = x, list
		}
	}
	for p := range m.procs {
		if p == q {
			continue
		}
		if m.cost[(i-1)*m.procs+p] != ir.Unsupported {
			consider(&w.start[i], &w.starting[i], p, q)
		}
		if m.cost[i*m.procs+p] != ir.Unsupported {
			consider(&w.end[i], &w.ending[i], q, p)
		}
	}
}

// toll is the price of channel time, rounded down.
func (t *lineTable) toll(list []channelLoad) int32 {
	var sum float64
	for _, l := range list {
		sum += t.channel[l.channel] * float64(l.busy)
	}
	return int32(min(sum*(1-1e-9), priceUnit))
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
			if gain > noPrice && w.start[i] >= 0 && (w.levels == 1 || k > 0) {
				started := next
				if w.levels > 1 {
					started = t.row(w, w.in, i+1, k-1)
				}
				raise(o, started, w.begin[i]+w.spent[i], gain-w.start[i])
			}
			x := t.row(w, w.in, i, k)
			for r := range x {
				x[r] = noPrice
			}
			if gain > noPrice {
				raise(x, next, w.spent[i], gain)
			}
			if i > 0 && w.end[i] >= 0 {
				raise(x, o, w.leave[i], -w.end[i])
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

// take walks the table for what a processor takes at most: it adds to taken by place, and to used by channel.
func (t *lineTable) take(i, q int, within bool, load ir.Time, runs int64, taken, used []float64) {
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
	use := func(list []channelLoad, share float64) {
		for _, l := range list {
			used[l.channel] += share * float64(l.busy)
		}
	}
	for ; i < m.n; i++ {
		if within && i > 0 && w.end[i] >= 0 && cells >= w.leave[i] && t.row(w, w.out, i, k)[cells-w.leave[i]]-w.end[i] == t.row(w, w.in, i, k)[cells] {
			use(w.ending[i], 0.5)
			cells -= w.leave[i]
			within = false
		}
		if !within {
			if t.row(w, w.out, i, k)[cells] == t.row(w, w.out, i+1, k)[cells] {
				continue
			}
			use(w.starting[i], 0.5)
			cells -= w.begin[i]
			if w.levels > 1 {
				k--
			}
			within = true
		}
		if cells -= w.spent[i]; cells < 0 {
			return // nothing comes of it
		}
		taken[i]++
		use(m.moved[i*m.procs+int(m.class[q])], 1)
	}
}
