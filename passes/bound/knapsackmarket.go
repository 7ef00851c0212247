package bound

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// market is the search for prices.
type market struct {
	u     *unitGraph
	kinds []*trader
	yards []*yard
	scale []float64 // by position
	over  []float64 // by position: how often the mix holds the unit, less one
	area  ir.Time   // what all work makes of the bottleneck
	work  int       // beside that of knapsacks
	gap   float64   // by which prices failed last
	norm  float64   // of the mix
	cols  int       // columns made so far
	tolls *tolls
	busy  []float64 // by channel: how long the mix keeps it so
	dear  []float64 // by processor, then channel: price of a picosecond
	fare  []int64   // by fare
	push  []float64 // scratch
}

// trader is a kind of processor in the market, or a device with several.
type trader struct {
	knapsack
	count  int // processors alike
	launch ir.Time
	limits int   // how often it has the supposed bottleneck
	yard   *yard // of its device; nil: it has one processor, or nothing travels
	whole  bool  // it is that device
	cols   []*column
}

// yard is a device with several processors: what travels there, travels for all of them, so the device has its own
// set, which is charged for that, and prices for each unit see to it that it has what its processors have.
type yard struct {
	over []float64 // by position: how often the mix's processors have the unit more often than the device
}

// toward is what a set with a unit adds to how often the mix holds it, and to how often a yard's processors do.
func (t *trader) toward() (unit, yard float64) {
	switch {
	case t.whole:
		return 0, -1
	case t.yard != nil:
		return 1, 1
	}
	return 1, 0
}

// column is a set that a trader can have.
type column struct {
	units []int32  // positions
	set   []uint64 // the same
	load  int64
	part  float64 // in the mix
	fares []int32
	busy  []float64 // by channel
	price float64   // at the mix, as last seen
}

// newMarket is nil where the graph is too large. known is a bound that is known already.
func newMarket(p *ir.Problem, known ir.Time) *market {
	u := newUnitGraph(p)
	all := u.lineages()
	order := u.inOrder(all)
	m := &market{u: u, over: make([]float64, u.units), tolls: newTolls(u)}
	m.busy, m.dear = make([]float64, u.nchan), make([]float64, u.procs+u.nchan)
	var basic []float64
	m.area, basic = u.basic()
	m.scale = make([]float64, u.units)
	for i, n := range order {
		m.scale[i] = basic[n]
	}
	var firsts []int
	like := make([]int, u.procs)
	for q := range u.procs {
		like[q] = -1
		for k, first := range firsts {
			if u.alike(first, q) {
				like[q] = k
				break
			}
		}
		if like[q] < 0 {
			like[q] = len(firsts)
			firsts = append(firsts, q)
		}
	}
	room := rooms(p.Platform)
	sets := m.devices()
	states := min(manyStates, knapsackArcs/2/u.units/(len(firsts)+len(sets)))
	if states < fewestStates {
		return nil
	}
	yards := map[ir.DeviceID]*yard{}
	work := &scratch{}
	enter := func(t *trader, procs []int, space int64) {
		t.scratch = work
		t.shares = u.kind(all, order, u.holder(procs), known, states, m.tolls)
		t.gain, t.ahead = make([]int64, len(t.to)), make([]float64, len(t.before)-1)
		t.bytes, t.space = make([]int64, u.units), space
		var sum int64
		for i, n := range order {
			t.bytes[i] = int64(u.bytes[n] * (1 - 1e-12))
			sum += t.bytes[i]
		}
		if sum <= t.space {
			t.space = -1
		}
		m.kinds = append(m.kinds, t)
	}
	for _, procs := range sets {
		d := p.Platform.Processors[procs[0]].Device
		yards[d] = &yard{over: make([]float64, u.units)}
		m.yards = append(m.yards, yards[d])
		enter(&trader{count: 1, limits: len(procs), yard: yards[d], whole: true}, procs, p.Platform.Devices[d].MemoryBytes)
	}
	for k, q := range firsts {
		e := &p.Platform.Processors[q]
		t := &trader{launch: e.Launch, limits: 1, yard: yards[e.Device]}
		for _, like := range like {
			if like == k {
				t.count++
			}
		}
		enter(t, []int{q}, room[q])
	}
	return m
}

// devices lists the processors of the devices with several, where there are links.
func (m *market) devices() [][]int {
	if m.u.nchan == 0 {
		return nil
	}
	pf := m.u.p.Platform
	of := make([][]int, len(pf.Devices))
	for q, e := range pf.Processors {
		of[e.Device] = append(of[e.Device], q)
	}
	return slices.DeleteFunc(of, func(procs []int) bool { return len(procs) < 2 })
}

// room is what of a supposed bottleneck a trader's sets may take; less than 0: it can have none.
func (t *trader) room(limit ir.Time) ir.Time {
	if int64(limit) > math.MaxInt64/2/int64(t.limits) {
		return math.MaxInt64 / 2
	}
	return limit*ir.Time(t.limits) - t.launch
}
