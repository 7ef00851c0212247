package partition

import (
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Prefixes cuts a topological order of the units into consecutive segments, one
// for each of some processors, by dynamic programming over (segment border, set
// of processors used, last processor). The cost of a segment is its run and the
// way of everything that crosses its front border; segments follow one another.
// That is what a plan of segments takes when nothing skips a segment, and is a
// fair guess otherwise; the result is the assignment of units to slots with the
// least such cost, or nil if there is none.
//
// borders is the number of places where cuts are considered; procs the
// processors to use, at most 10. Time grows with borders² · 2^procs · procs².
func Prefixes(x *Units, order []int32, objective ir.Objective, procs []int, borders int) []int32 {
	m := x.M
	n := len(order)
	if n == 0 || len(procs) == 0 {
		return nil
	}
	t := tabulate(x, order, procs)
	at := pickBorders(t, n, borders)
	b := len(at)
	p := len(procs)
	full := 1 << p
	type cell struct {
		value      ir.Time
		from, last int8
		border     int16
	}
	// best[i][set·p+last]: borders up to at[i] are placed.
	best := make([][]cell, b)
	for i := range best {
		best[i] = make([]cell, full*p)
		for k := range best[i] {
			best[i][k].value = ir.MaxTime
		}
	}
	join := func(before, run ir.Time) ir.Time {
		if objective == ir.Throughput {
			return max(before, run)
		}
		return before + run
	}
	for i := 1; i < b; i++ {
		for h := range i {
			lo, hi := at[h], at[i]
			for j := range p {
				work := t.work(j, lo, hi)
				if work < 0 {
					continue
				}
				work += t.launch[j]
				if h == 0 {
					run := join(0, work+t.entry[j])
					if c := &best[i][(1<<j)*p+j]; run < c.value {
						*c = cell{run, -1, int8(j), 0}
					}
					continue
				}
				for set := 1; set < full; set++ {
					if set&(1<<j) != 0 {
						continue
					}
					for rest := set; rest != 0; rest &= rest - 1 {
						k := bits.TrailingZeros(uint(rest))
						c := &best[h][set*p+k]
						if c.value == ir.MaxTime {
							continue
						}
						cross := t.cross[lo][k*p+j]
						if cross < 0 {
							continue
						}
						v := join(c.value, work+cross)
						if to := &best[i][(set|1<<j)*p+j]; v < to.value {
							*to = cell{v, int8(k), int8(j), int16(h)}
						}
					}
				}
			}
		}
	}
	end, value := -1, ir.MaxTime
	for k := range best[b-1] {
		if c := &best[b-1][k]; c.value < value {
			end, value = k, c.value
		}
	}
	if end < 0 {
		return nil
	}
	slots := make([]int32, n)
	for i, k := b-1, end; ; {
		c := best[i][k]
		q := procs[c.last]
		for _, u := range order[at[c.border]:at[i]] {
			slots[u] = int32(bits.TrailingZeros64(m.SlotsOf(q)))
		}
		if c.from < 0 {
			break
		}
		i, k = int(c.border), (k/p&^(1<<c.last))*p+int(c.from)
	}
	return slots
}

// table holds what segments of an order cost.
type table struct {
	sum    [][]ir.Time // by processor, then position: cost of the units before it
	bad    [][]int32   // the same: units before it that the processor does not support
	launch []ir.Time
	entry  []ir.Time   // by processor: the way of the graph inputs
	cross  [][]ir.Time // by position, then from·p+to: the way of all that crosses; -1: no way
	weight []int64     // by position: bytes that cross
}

// work is the time of the units from lo to hi on a processor, -1 if it does not support one.
func (t *table) work(j, lo, hi int) ir.Time {
	if t.bad[j][hi] != t.bad[j][lo] {
		return -1
	}
	return t.sum[j][hi] - t.sum[j][lo]
}

func tabulate(x *Units, order []int32, procs []int) *table {
	m, pf := x.M, x.M.Problem.Platform
	n, p := len(order), len(procs)
	t := &table{launch: make([]ir.Time, p), entry: make([]ir.Time, p), cross: make([][]ir.Time, n+1), weight: make([]int64, n+1)}
	place := make([]int32, m.Units)
	for i, u := range order {
		place[u] = int32(i)
	}
	for j, q := range procs {
		t.launch[j] = pf.Processors[q].Launch
		sum, bad := make([]ir.Time, n+1), make([]int32, n+1)
		for i, u := range order {
			sum[i+1], bad[i+1] = sum[i], bad[i]
			if c := m.Cost(u, q); c == ir.Unsupported {
				bad[i+1]++
			} else {
				sum[i+1] += c
			}
		}
		t.sum, t.bad = append(t.sum, sum), append(t.bad, bad)
	}
	routes := ir.NewRoutes(pf)
	// hop is the way of a value from one processor to another, its latency apart.
	hop := func(v int32, from, to int) (busy, latency ir.Time, ok bool) {
		a, b := &pf.Processors[procs[from]], &pf.Processors[procs[to]]
		if a.Download != nil {
			busy += a.Download.Time(m.Bytes(v))
		}
		if b.Upload != nil {
			busy += b.Upload.Time(m.Bytes(v))
		}
		if a.Device != b.Device {
			route := routes.Find(a.Device, b.Device, m.Bytes(v))
			if route == nil {
				return 0, 0, false
			}
			for _, l := range route {
				busy += pf.Links[l].Busy(m.Bytes(v))
				latency += pf.Links[l].Latency
			}
		}
		return busy, latency, true
	}
	// A value crosses all borders between its producer and its last reader.
	sum := make([]ir.Time, p*p)
	count := make([]int32, p*p)
	stuck := make([]int32, p*p)
	slow := make([]ir.Time, p*p)
	var bytes int64
	dies := make([][]int32, n+1) // by border: values whose last reader is just before it
	add := func(v int32, sign ir.Time) {
		bytes += int64(sign) * m.Bytes(v)
		for from := range p {
			for to := range p {
				if from == to {
					continue
				}
				k := from*p + to
				busy, latency, ok := hop(v, from, to)
				if !ok {
					stuck[k] += int32(sign)
					continue
				}
				sum[k] += sign * busy
				count[k] += int32(sign)
				slow[k] = max(slow[k], latency)
			}
		}
	}
	for i := 0; i <= n; i++ {
		for _, v := range dies[i] {
			add(v, -1)
		}
		row := make([]ir.Time, p*p)
		for k := range row {
			switch {
			case stuck[k] > 0:
				row[k] = -1
			case count[k] > 0:
				row[k] = sum[k] + slow[k]
			}
		}
		t.cross[i], t.weight[i] = row, bytes
		if i == n {
			break
		}
		for _, v := range m.Outs(order[i]) {
			last := int32(i)
			for _, r := range m.Readers(v) {
				last = max(last, place[r])
			}
			if last > int32(i) {
				dies[last+1] = append(dies[last+1], v)
				add(v, 1)
			}
		}
	}
	for j, q := range procs {
		at := &pf.Processors[q]
		for v := range int32(m.Values) {
			if m.Producer(v) >= 0 || len(m.Readers(v)) == 0 {
				continue
			}
			if at.Upload != nil {
				t.entry[j] += at.Upload.Time(m.Bytes(v))
			}
			if pf.Source != ir.NoDevice && pf.Source != at.Device {
				for _, l := range routes.Find(pf.Source, at.Device, m.Bytes(v)) {
					t.entry[j] += pf.Links[l].Time(m.Bytes(v))
				}
			}
		}
	}
	return t
}

// pickBorders chooses at most most positions, both ends included: those that the fewest bytes cross in each of
// equal stretches of the order.
func pickBorders(t *table, n, most int) []int {
	if n+1 <= most {
		all := make([]int, n+1)
		for i := range all {
			all[i] = i
		}
		return all
	}
	at := []int{0}
	stretch := most - 2
	for k := range stretch {
		lo, hi := 1+k*(n-1)/stretch, 1+(k+1)*(n-1)/stretch
		if lo >= hi {
			continue
		}
		least := lo
		for i := lo; i < hi; i++ {
			if t.weight[i] < t.weight[least] {
				least = i
			}
		}
		at = append(at, least)
	}
	return slices.Compact(append(at, n))
}
