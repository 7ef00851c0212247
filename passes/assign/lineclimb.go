package assign

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Good prices come of a subgradient: a node's price on a processor falls where the processors ask for it and the walk
// does not lead there, and rises the other way round.

// evenly is prices of nodes as they cost.
func (s *lineSearch) evenly() *linePrices {
	u := &linePrices{make([]float64, s.n*s.procs), make([]float64, s.channels)}
	for i := range s.n {
		least := ir.MaxTime
		for _, c := range s.cost[i*s.procs : (i+1)*s.procs] {
			if c != ir.Unsupported {
				least = min(least, c)
			}
		}
		for q := range s.procs {
			u.node[i*s.procs+q] = float64(least) + 1
		}
	}
	return u
}

// value is what is left for the nodes without a place, by price, above what they ask: below 0 nothing comes of the label.
func (s *lineSearch) value(t *lineTable, i, last int, row []int64) int64 {
	var sum int64
	for q := range s.procs {
		x := t.at(i, q, q == last, ir.Time(row[q]), s.runsLeft(q, row))
		if x < noPrice/2 {
			return -1
		}
		sum += x
	}
	paid := 0.0
	for c, at := range s.channel {
		if t.channel[c] > 0 {
			free := t.capacity
			if at >= 0 {
				free -= ir.Time(row[at])
			}
			paid += t.channel[c] * float64(free)
		}
	}
	return sum + int64(math.Ceil(paid*(1+1e-9))) - t.path(i, last)
}

func (s *lineSearch) runsLeft(q int, row []int64) int64 {
	left := int64(s.limit[q])
	if c := s.runs[q]; c >= 0 {
		left -= row[c]
	}
	return left
}

// prices improves prices for a label; the result is the least value that was seen.
func (s *lineSearch) prices(u *linePrices, i, last int, row []int64, steps, cells int) int64 {
	t := s.coarse
	taken, used := make([]float64, s.n*s.procs), make([]float64, s.channels)
	to, toUsed := make([]float64, s.n*s.procs), make([]float64, s.channels) // taken and used of late
	best := linePrices{slices.Clone(u.node), slices.Clone(u.channel)}
	least := int64(math.MaxInt64)
	pace := 1.0
	for step := range steps {
		s.scale(u, i)
		t.fill(i, u, s.top, cells)
		s.spent += t.work()
		x := s.value(t, i, last, row)
		if x < least {
			least = x
			copy(best.node, u.node)
			copy(best.channel, u.channel)
		} else if pace *= 0.95; step%20 == 19 {
			copy(u.node, best.node)
			copy(u.channel, best.channel)
		}
		if x < 0 || t.path(i, last) >= noPath {
			break
		}
		clear(taken)
		clear(used)
		for q := range s.procs {
			t.take(i, q, q == last, ir.Time(row[q]), s.runsLeft(q, row), taken)
		}
		t.walk(i, last, taken, used)
		s.share(taken)
		norm := 0.0
		for at := i * s.procs; at < len(taken); at++ {
			to[at] = 0.6*to[at] + taken[at]
			norm += to[at] * to[at]
		}
		for c, at := range s.channel {
			free := 1.0
			if at >= 0 {
				free -= float64(row[at]) / float64(s.top)
			}
			toUsed[c] = 0.6*toUsed[c] + used[c]/float64(s.top) - free
			if u.channel[c] > 0 || toUsed[c] > 0 {
				norm += toUsed[c] * toUsed[c]
			}
		}
		if norm == 0 {
			break
		}
		// Towards a value that would be a proof (Polyak, USSR Computational Mathematics 9, 1969).
		length := pace * (float64(x)/priceUnit + 0.01) / norm
		for at := i * s.procs; at < len(taken); at++ {
			u.node[at] -= length * to[at]
		}
		for c := range u.channel {
			u.channel[c] = max(0, u.channel[c]+length*toUsed[c])
		}
	}
	copy(u.node, best.node)
	copy(u.channel, best.channel)
	return least
}

// scale makes the largest prices of the nodes from a place on add up to 1.
func (s *lineSearch) scale(u *linePrices, from int) {
	sum := 0.0
	for i := from; i < s.n; i++ {
		most := 0.0
		for _, x := range u.node[i*s.procs : (i+1)*s.procs] {
			most = max(most, math.Abs(x))
		}
		sum += most
	}
	if sum == 0 {
		return
	}
	for at := from * s.procs; at < len(u.node); at++ {
		u.node[at] /= sum
	}
	for c := range u.channel {
		u.channel[c] /= sum
	}
}

// share makes what like processors take the mean of theirs.
func (s *lineSearch) share(taken []float64) {
	if !s.symmetry {
		return
	}
	for q := range s.procs {
		if int(s.class[q]) != q {
			continue
		}
		var like []int
		for r := q; r < s.procs; r++ {
			if int(s.class[r]) == q {
				like = append(like, r)
			}
		}
		for i := range s.n {
			sum := 0.0
			for _, r := range like {
				sum += taken[i*s.procs+r]
			}
			for _, r := range like {
				taken[i*s.procs+r] = sum / float64(len(like))
			}
		}
	}
}
