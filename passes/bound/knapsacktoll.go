package bound

import (
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// tolls are what the owners of units bring onto channels, each once.
type tolls struct {
	u     *unitGraph
	runs  []bool // by device: it has processors
	known map[fare]int32
	fares []fare
	most  []ir.Time // by fare
	price []float64 // by fare, at the weights last seen
	legs  []int32   // by fare: row of passages.legs that is charged; -1: none
	part  []float64 // by fare: of that
	pair  []float64 // scratch: from device · devices + to
}

// fare is that something gets from one device to another; where one of them is NoDevice, from or to any other.
type fare struct {
	way      int32
	from, to ir.DeviceID
}

func newTolls(u *unitGraph) *tolls {
	pf := u.p.Platform
	t := &tolls{u: u, known: map[fare]int32{}, runs: make([]bool, len(pf.Devices))}
	for _, e := range pf.Processors {
		t.runs[e.Device] = true
	}
	return t
}

func (t *tolls) add(f fare) int32 {
	if i, ok := t.known[f]; ok {
		return i
	}
	i := int32(len(t.fares))
	t.known[f] = i
	t.fares = append(t.fares, f)
	t.price, t.legs, t.part = append(t.price, 0), append(t.legs, -1), append(t.part, 0)
	most := ir.Time(0)
	for _, size := range t.u.ways.all[f.way].sizes {
		for _, l := range t.u.p.Platform.Links {
			most = max(most, l.Busy(size))
		}
	}
	t.most = append(t.most, most)
	return i
}

// busiest is the longest that a fare may keep a channel busy, for a start; 0 for none.
func (t *tolls) busiest(i int32) ir.Time {
	if i < 0 {
		return 0
	}
	return t.most[i]
}

// set finds what fares cost at weights of channels: the cheapest way there is, and where both ends are charged for the same,
// parts of it that together are no more than any way costs.
func (t *tolls) set(weight []float64) {
	s, d := t.u.ways, int32(len(t.runs))
	known := map[int64]*ends{}
	for i, f := range t.fares {
		sizes := s.all[f.way].sizes
		if f.from != ir.NoDevice && f.to != ir.NoDevice {
			row := s.routed(sizes[0], t.u.chans)*d*d + int32(f.from)*d + int32(f.to)
			t.price[i], t.legs[i], t.part[i] = s.legs.value(int(row), weight), row, 1
		} else {
			t.price[i], t.part[i] = math.Inf(1), 1
			for _, size := range sizes {
				e := known[size]
				if e == nil {
					e = t.ends(size, weight)
					known[size] = e
				}
				x, leg := e.in, e.inLeg
				at := f.to
				if f.from != ir.NoDevice {
					x, leg, at = e.out, e.outLeg, f.from
				}
				t.part[i] = min(t.part[i], e.part)
				if x[at] < t.price[i] {
					t.price[i], t.legs[i] = x[at], leg[at]
				}
			}
			t.price[i] *= t.part[i]
		}
		if math.IsInf(t.price[i], 1) {
			t.price[i], t.legs[i] = 0, -1 // it cannot travel: what it needs says so
		}
	}
}

// ends are the cheapest ways of a size into and out of devices, and the part of both that may be charged: no way from a device
// to another costs less than such parts of what both are charged.
type ends struct {
	in, out       []float64 // by device
	inLeg, outLeg []int32
	part          float64
}

func (t *tolls) ends(size int64, weight []float64) *ends {
	s, d := t.u.ways, len(t.runs)
	e := &ends{in: make([]float64, d), out: make([]float64, d), inLeg: make([]int32, d), outLeg: make([]int32, d), part: 1}
	for k := range d {
		e.in[k], e.out[k] = math.Inf(1), math.Inf(1)
	}
	row := int(s.routed(size, t.u.chans)) * d * d
	t.pair = t.pair[:0]
	for a := range d {
		for b := range d {
			x := s.legs.value(row+a*d+b, weight)
			t.pair = append(t.pair, x)
			if a == b {
				continue
			}
			if x < e.in[b] {
				e.in[b], e.inLeg[b] = x, int32(row+a*d+b)
			}
			if x < e.out[a] {
				e.out[a], e.outLeg[a] = x, int32(row+a*d+b)
			}
		}
	}
	for a := range d {
		for b := range d {
			both := 0.0
			if t.runs[a] && !math.IsInf(e.out[a], 1) {
				both += e.out[a]
			}
			if t.runs[b] && !math.IsInf(e.in[b], 1) {
				both += e.in[b]
			}
			if a != b && both > 0 {
				e.part = min(e.part, t.pair[a*d+b]/both)
			}
		}
	}
	return e
}

// bring adds what a fare loads, by channel.
func (t *tolls) bring(i int32, load []float64) {
	leg := t.legs[i]
	if leg < 0 {
		return
	}
	l := &t.u.ways.legs
	end := int32(len(l.at))
	if int(leg)+1 < len(l.start) {
		end = l.start[leg+1]
	}
	for k := l.start[leg]; k < end; k++ {
		load[int(l.at[k])-t.u.procs] += t.part[i] * l.amount[k]
	}
}
