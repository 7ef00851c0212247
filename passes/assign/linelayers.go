package assign

import (
	"context"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// lineLayer holds the labels of beginnings of one length.
type lineLayer struct {
	last   []int8   // processor of the last node
	parent []int32  // label of the layer before
	order  []uint64 // where each processor of the parent went, four bits each: like ones change places
	row    []int64
}

func (l *lineLayer) count() int { return len(l.last) }

// through looks for plans of at most top, which are the labels of the last layer then, and says whether it has left out
// none that may be the best. It does up to a number of steps; after that it keeps the best labels only.
func (s *lineSearch) through(ctx context.Context, top ir.Time, steps int) bool {
	s.top, s.whole, s.reach, s.enough = top, true, s.n, 0
	s.layers = s.layers[:0]
	end := s.spent + steps
	if s.open() {
		return true
	}
	s.layers = append(s.layers, lineLayer{last: []int8{-1}, parent: []int32{-1}, order: []uint64{0}, row: make([]int64, s.width)})
	s.next = make([]int64, s.width)
	for i := range s.n {
		s.layers = append(s.layers, lineLayer{})
		from, to := &s.layers[i], &s.layers[i+1]
		for k := range from.last {
			s.extend(i, from, int32(k), to)
		}
		from.row = nil
		s.thin(to)
		if to.count() == 0 {
			break
		}
		if s.spent < end {
			s.sharpen(i+1, to)
		}
		if to.count() > narrowLabels && (s.spent >= end || to.count() > mostLabels) {
			s.narrow(i+1, to)
		}
		if ctx.Err() != nil {
			return false
		}
	}
	return s.whole
}

// mostLabels is the size of a layer, at most.
const mostLabels = 100_000

// extend places node i behind a label in all ways.
func (s *lineSearch) extend(i int, from *lineLayer, k int32, to *lineLayer) {
	row := from.row[int(k)*s.width : int(k+1)*s.width]
	last := int(from.last[k])
	add := func(row []int64, list []channelLoad) bool {
		for _, l := range list {
			if at := s.channel[l.channel]; at >= 0 {
				if row[at] += int64(l.busy); ir.Time(row[at]) > s.top {
					return false
				}
			}
		}
		return true
	}
	for q := range s.procs {
		cost := s.cost[i*s.procs+q]
		if cost == ir.Unsupported || ir.Time(row[q])+cost > s.top || s.twin(q, last, row) {
			continue
		}
		s.spent++
		next := s.next
		copy(next, row)
		next[q] += int64(cost)
		if q != last {
			next[q] += int64(s.start[i*s.procs+q])
			if last >= 0 {
				list, ok := s.between(i, last, q)
				if !ok || s.joined[i] || !add(next, list) {
					continue
				}
				next[last] += int64(s.end[(i-1)*s.procs+last])
				if ir.Time(next[last]) > s.top {
					continue
				}
			}
			if c := s.runs[q]; c >= 0 {
				if next[c]++; next[c] > int64(s.limit[q]) {
					continue
				}
			}
		}
		if ir.Time(next[q]) > s.top || !add(next, s.moved[i*s.procs+q]) || !s.fits(i, q, next) || s.hopeless(i+1, q, next) {
			continue
		}
		at, order := q, uint64(0)
		if s.symmetry {
			at, order = s.arrange(q, next)
		}
		to.last = append(to.last, int8(at))
		to.parent = append(to.parent, k)
		to.order = append(to.order, order)
		to.row = append(to.row, next...)
	}
}

// fits adds the memory of a node and says whether there is room.
func (s *lineSearch) fits(i, q int, row []int64) bool {
	c := s.held[q]
	if c < 0 {
		return true
	}
	row[c] += s.weight[i]
	row[c+1] = max(row[c+1], s.active[i])
	if row[c]+row[c+1] > s.room[q] {
		return false
	}
	var sum int64
	d := s.p.Platform.Processors[q].Device
	for r := range s.procs {
		if at := s.held[r]; at >= 0 && s.p.Platform.Processors[r].Device == d {
			sum += row[at] + row[at+1]
		}
	}
	return sum <= s.p.Platform.Devices[d].MemoryBytes
}

// hopeless says whether nothing comes of a label.
func (s *lineSearch) hopeless(i, last int, row []int64) bool {
	s.spent += len(s.tables) / 2
	for k := len(s.paths) - 1; k >= 0; k-- {
		if t := s.paths[k]; i >= t.from && t.value(s, i, last, row) > float64(s.top) {
			return true
		}
	}
	for k := len(s.tables) - 1; k >= 0; k-- {
		if t := s.tables[k]; i >= t.from && s.value(t, i, last, row) < 0 {
			return true
		}
	}
	return false
}

// twin says whether a processor before this one is like it and as loaded: one of them will do.
func (s *lineSearch) twin(q, last int, row []int64) bool {
	if !s.symmetry || q == last {
		return false
	}
	for r := range q {
		if r != last && s.class[r] == s.class[q] && s.compare(q, r, row) == 0 {
			return true
		}
	}
	return false
}

// compare orders like processors by what a label says of them.
func (s *lineSearch) compare(q, r int, row []int64) int {
	if row[q] != row[r] {
		return int(max(-1, min(1, row[r]-row[q]))) // the larger load first
	}
	for _, c := range [3][2]int{{s.runs[q], s.runs[r]}, {s.held[q], s.held[r]}, {s.held[q] + 1, s.held[r] + 1}} {
		if c[0] > 0 && c[1] > 0 && row[c[0]] != row[c[1]] {
			return int(max(-1, min(1, row[c[1]]-row[c[0]])))
		}
	}
	return 0
}

// arrange puts like processors in order, and tells where the last one and all others went.
func (s *lineSearch) arrange(last int, row []int64) (int, uint64) {
	var to [lineProcs]int // by processor: where it is now
	for q := range to {
		to[q] = q
	}
	was := to // by place
	swap := func(a, b int) {
		row[a], row[b] = row[b], row[a]
		if s.runs[a] >= 0 {
			row[s.runs[a]], row[s.runs[b]] = row[s.runs[b]], row[s.runs[a]]
		}
		if s.held[a] >= 0 {
			row[s.held[a]], row[s.held[b]] = row[s.held[b]], row[s.held[a]]
			row[s.held[a]+1], row[s.held[b]+1] = row[s.held[b]+1], row[s.held[a]+1]
		}
		was[a], was[b] = was[b], was[a]
	}
	for q := range s.procs {
		for b := q; ; {
			a := b - 1
			for a >= 0 && s.class[a] != s.class[b] {
				a--
			}
			if a < 0 || s.compare(b, a, row) >= 0 {
				break
			}
			swap(a, b)
			b = a
		}
	}
	var order uint64
	for place, q := range was {
		order |= uint64(place) << (4 * q)
		to[q] = place
	}
	return to[last], order
}

// thin takes away labels that others are nowhere above.
func (s *lineSearch) thin(l *lineLayer) {
	n := l.count()
	by := make([][]int32, s.procs)
	sum := make([]int64, n)
	for k := range n {
		by[l.last[k]] = append(by[l.last[k]], int32(k))
		for _, x := range l.row[k*s.width : k*s.width+s.procs] {
			sum[k] += x
		}
		for _, c := range s.channel {
			if c >= 0 {
				sum[k] += l.row[k*s.width+c]
			}
		}
	}
	var kept []int32
	for _, list := range by {
		slices.SortFunc(list, func(a, b int32) int {
			if sum[a] != sum[b] {
				return int(max(-1, min(1, sum[a]-sum[b])))
			}
			if c := slices.Compare(l.row[int(a)*s.width:int(a+1)*s.width], l.row[int(b)*s.width:int(b+1)*s.width]); c != 0 {
				return c
			}
			return int(a - b)
		})
		first := len(kept)
	labels:
		for _, k := range list {
			row := l.row[int(k)*s.width : int(k+1)*s.width]
			group := kept[first:]
			for at := len(group) - 1; at >= max(0, len(group)-compared); at-- {
				other := l.row[int(group[at])*s.width : int(group[at]+1)*s.width]
				if below(other, row) {
					// What has proved of use is looked at soon again.
					x := group[at]
					copy(group[at:], group[at+1:])
					group[len(group)-1] = x
					continue labels
				}
			}
			s.spent += min(len(group), compared) / 10
			kept = append(kept, k)
		}
	}
	s.keep(l, kept)
}

// compared is with how many others a label is compared.
const compared = 200

func below(a, b []int64) bool {
	b = b[:len(a)]
	for i, x := range a {
		if x > b[i] {
			return false
		}
	}
	return true
}

// keep takes away all other labels.
func (s *lineSearch) keep(l *lineLayer, kept []int32) {
	old := *l
	l.last, l.parent, l.order, l.row = make([]int8, len(kept)), make([]int32, len(kept)), make([]uint64, len(kept)), make([]int64, len(kept)*s.width)
	for at, k := range kept {
		l.last[at], l.parent[at], l.order[at] = old.last[k], old.parent[k], old.order[k]
		copy(l.row[at*s.width:(at+1)*s.width], old.row[int(k)*s.width:int(k+1)*s.width])
	}
}

// best is the label of the plan of the least largest load, -1 if there is none.
func (s *lineSearch) best() (int, ir.Time) {
	at, least := -1, ir.MaxTime
	if len(s.layers) <= s.n {
		return at, least
	}
	l := &s.layers[s.n]
	for k := range l.last {
		row := l.row[k*s.width : (k+1)*s.width]
		most := row[:s.procs][0]
		for _, x := range row[:s.procs] {
			most = max(most, x)
		}
		for _, c := range s.channel {
			if c >= 0 {
				most = max(most, row[c])
			}
		}
		if ir.Time(most) < least {
			at, least = k, ir.Time(most)
		}
	}
	return at, least
}

// trace reads where the nodes of a label of the last layer are.
func (s *lineSearch) trace(k int) []ir.ProcID {
	owner := make([]ir.ProcID, s.n)
	var name [lineProcs]ir.ProcID // by place in the layer's order
	for q := range name {
		name[q] = ir.ProcID(q)
	}
	for i := s.n - 1; i >= 0; i-- {
		l := &s.layers[i+1]
		owner[i] = name[l.last[k]]
		if s.symmetry {
			before := name
			for q := range s.procs {
				name[q] = before[l.order[k]>>(4*q)&15]
			}
		}
		k = int(l.parent[k])
	}
	return owner
}
