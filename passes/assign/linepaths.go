package assign

import (
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// linePaths is another proof that nothing comes of a label: with weights of loads whose sum is 1, the weighted sum of
// what is loaded already and the least that the rest of the line adds to it, a shortest path over places and
// processors, is at most the largest load. It knows where runs go to, and not how often, nor what is left of a load.
type linePaths struct {
	weight []float64 // by processor, then by channel
	from   int       // the first place that it is for
	least  []float64 // (place, processor of the node before): the weighted load of the nodes from there on
	next   []int8    // the same: where the node goes
}

// fill computes the paths for plans whose loads are at most top.
func (t *linePaths) fill(m *lineModel, from int, top ir.Time) {
	t.from = from
	if t.least == nil {
		t.least = make([]float64, (m.n+1)*m.procs)
		t.next = make([]int8, (m.n+1)*m.procs)
	}
	toll := func(list []channelLoad) float64 {
		sum := 0.0
		for _, l := range list {
			if l.busy > top {
				return math.Inf(1)
			}
			sum += t.weight[m.procs+int(l.channel)] * float64(l.busy)
		}
		return sum
	}
	clear(t.least[m.n*m.procs:])
	node := make([]float64, m.procs)
	for i := m.n - 1; i >= from; i-- {
		for b := range m.procs {
			at := i*m.procs + b
			node[b] = math.Inf(1)
			if c := m.cost[at]; c != ir.Unsupported && c <= top {
				node[b] = t.weight[b]*float64(c) + toll(m.moved[at]) + t.least[at+m.procs]
			}
		}
		for a := range m.procs {
			best, by := node[a], a
			for b := range m.procs {
				if a == b || node[b] >= best {
					continue
				}
				x := node[b] + t.weight[b]*float64(m.start[i*m.procs+b])
				if i > 0 {
					list, ok := m.between(i, a, b)
					if !ok || m.joined[i] {
						continue
					}
					x += t.weight[a]*float64(m.end[(i-1)*m.procs+a]) + toll(list)
				}
				if x < best {
					best, by = x, b
				}
			}
			t.least[i*m.procs+a], t.next[i*m.procs+a] = best, int8(by)
		}
	}
}

// rest is the weighted load of the nodes from a place on, at least.
func (t *linePaths) rest(m *lineModel, i, last int) float64 {
	if last >= 0 {
		return t.least[i*m.procs+last]
	}
	least := math.Inf(1)
	for q := range m.procs { // no run has started yet
		least = min(least, t.least[q])
	}
	return least
}

// walk adds up what the path from a place on loads.
func (t *linePaths) walk(m *lineModel, i, last int, load []float64) {
	if last < 0 {
		last = 0
		for q := range m.procs {
			if t.least[q] < t.least[last] {
				last = q
			}
		}
	}
	add := func(list []channelLoad) {
		for _, l := range list {
			load[m.procs+int(l.channel)] += float64(l.busy)
		}
	}
	for ; i < m.n; i++ {
		q := int(t.next[i*m.procs+last])
		if q != last {
			load[q] += float64(m.start[i*m.procs+q])
			if i > 0 {
				load[last] += float64(m.end[(i-1)*m.procs+last])
				list, _ := m.between(i, last, q)
				add(list)
			}
		}
		load[q] += float64(max(m.cost[i*m.procs+q], 0))
		add(m.moved[i*m.procs+q])
		last = q
	}
}

// value is the largest load, at least, of all that comes of a label.
func (t *linePaths) value(s *lineSearch, i, last int, row []int64) float64 {
	sum := t.rest(s.lineModel, i, last)
	for q := range s.procs {
		sum += t.weight[q] * float64(row[q])
	}
	for c, at := range s.channel {
		if at >= 0 {
			sum += t.weight[s.procs+c] * float64(row[at])
		}
	}
	return sum * (1 - 1e-9)
}

// pathWork is the most that a search for weights looks at: places times processors² times steps.
const pathWork = 12_000_000

// weigh finds weights under which a label looks as bad as it can; the result is its value then.
func (s *lineSearch) weigh(t *linePaths, i, last int, row []int64, steps int) float64 {
	loads := s.procs + s.channels
	steps = min(steps, 5+pathWork/((s.n-i)*s.procs*s.procs))
	if t.weight == nil {
		t.weight = make([]float64, loads)
		for at := range t.weight {
			t.weight[at] = 1
		}
	}
	best := make([]float64, loads)
	load, mean := make([]float64, loads), make([]float64, loads)
	most := -1.0
	for step := range steps {
		sum := 0.0
		for _, w := range t.weight {
			sum += w
		}
		for at := range t.weight {
			t.weight[at] /= sum
		}
		t.fill(s.lineModel, i, s.top)
		x := t.value(s, i, last, row)
		if x > most {
			most = x
			copy(best, t.weight)
		}
		if x > float64(s.top) {
			break
		}
		clear(load)
		for q := range s.procs {
			load[q] = float64(row[q])
		}
		for c, at := range s.channel {
			if at >= 0 {
				load[s.procs+c] = float64(row[at])
			}
		}
		t.walk(s.lineModel, i, last, load)
		rate := 0.2
		if step == 0 {
			rate = 1
		}
		large := 0.0
		for at, l := range load {
			mean[at] += rate * (l - mean[at])
			large = max(large, mean[at])
		}
		if large == 0 {
			break
		}
		eta := 1 / math.Sqrt(1+float64(step)/4)
		for at, l := range mean {
			t.weight[at] = max(1e-7, t.weight[at]*math.Exp(eta*(l/large-1)))
		}
	}
	s.spent += steps * (s.n - i) * s.procs * s.procs / 30
	copy(t.weight, best)
	t.fill(s.lineModel, i, s.top)
	return most
}
