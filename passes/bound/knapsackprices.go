package bound

import (
	"context"
	"math"
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// market is the search for prices.
type market struct {
	u     *unitGraph
	kinds []*trader
	scale []float64 // by position
	over  []float64 // by position: how often the mix holds the unit, less one
	room  []int64
	area  ir.Time // what all work makes of the bottleneck
	work  int
	gap   float64 // by which prices failed last
	norm  float64 // of the mix
	cols  int
	tolls *tolls
	busy  []float64 // by channel: how long the mix keeps it so
	dear  []float64 // by processor, then channel: price of a picosecond
	fare  []int64   // by fare
}

// trader is a kind of processor in the market.
type trader struct {
	knapsack
	launch ir.Time
	bytes  []float64 // by position
	total  float64   // of bytes
	cols   []*column
	memory float64 // price of a byte
	held   float64 // bytes that the mix holds, all processors of the kind together
}

type column struct {
	units []int32 // positions
	set   []uint64
	load  int64
	bytes float64
	part  float64 // in the mix
	fares []int32
	busy  []float64 // by channel
	price float64
}

func newMarket(p *ir.Problem, known ir.Time) *market {
	u := newUnitGraph(p)
	all := u.lineages()
	order := u.inOrder(all)
	m := &market{u: u, over: make([]float64, u.units), room: rooms(p.Platform), tolls: newTolls(u)}
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
	states := min(manyStates, knapsackArcs/2/u.units/len(firsts))
	if states < fewestStates {
		return nil
	}
	for _, q := range firsts {
		s := u.kind(all, order, q, known, states, m.tolls)
		s.room = m.room[q]
		t := &trader{knapsack: knapsack{shares: s, gain: make([]int64, len(s.to)), ahead: make([]float64, len(s.before)-1)}, launch: p.Platform.Processors[q].Launch}
		t.bytes = make([]float64, u.units)
		for i, n := range order {
			t.bytes[i] = u.bytes[n]
			t.total += u.bytes[n]
		}
		m.kinds = append(m.kinds, t)
	}
	for q, k := range like {
		if firsts[k] != q {
			m.kinds[k].procs = append(m.kinds[k].procs, ir.ProcID(q))
		}
	}
	return m
}

// worked is what all steps looked at so far.
func (m *market) worked() int {
	sum := m.work
	for _, t := range m.kinds {
		sum += t.work
	}
	return sum
}

// refutes says whether prices are found, by some work, at which no plan has a bottleneck of limit at most.
func (m *market) refutes(ctx context.Context, limit ir.Time, work int) bool {
	until := min(m.worked()+work, knapsackWork)
	m.restrict(limit)
	m.gap, m.norm = 0, 0
	for range knapsackSteps {
		if ctx.Err() != nil || m.worked() > until {
			return false
		}
		norm := m.mixed(limit)
		if !(norm >= 1e-7 && norm < 1e12) {
			return false
		}
		cols := m.cols
		if m.refuted(limit, norm) {
			return true
		}
		if m.cols == cols {
			if m.gap == 0 {
				return false
			}
			m.gap = 0 // look closer
		}
	}
	return false
}

// restrict takes the columns that exceed the limit out.
func (m *market) restrict(limit ir.Time) {
	for _, t := range m.kinds {
		left := float64(len(t.procs))
		fit := t.cols[:0]
		for _, c := range t.cols {
			if ir.Time(c.load)+t.launch <= limit || len(c.units) == 0 {
				fit = append(fit, c)
				left -= c.part
			}
		}
		t.cols = fit
		if len(t.cols) == 0 {
			t.cols = append(t.cols, &column{set: make([]uint64, (m.u.units+63)/64), busy: make([]float64, m.u.nchan)})
		}
		t.cols[0].part += left
	}
}

// mixed moves the parts of columns towards the mix that holds every unit once, as near as can be, and returns what is left.
func (m *market) mixed(limit ir.Time) float64 {
	for i := range m.over {
		m.over[i] = -1
	}
	clear(m.busy)
	for _, t := range m.kinds {
		t.held = 0
		for _, c := range t.cols {
			if c.part > 0 {
				for _, i := range c.units {
					m.over[i] += c.part
				}
				t.held += c.part * c.bytes
				for h, x := range c.busy {
					m.busy[h] += c.part * x
				}
			}
		}
	}
	fine := 1e-3 * m.norm
	for range 300 {
		moved := false
		for _, t := range m.kinds {
			moved = m.exchange(t, max(float64(limit), 1), fine) || moved
		}
		if !moved {
			break
		}
	}
	norm := 0.0
	for i, x := range m.over {
		norm += m.scale[i] * x * x
	}
	for _, t := range m.kinds {
		t.memory = 0
		if t.room < ir.UnlimitedBytes && t.room > 0 {
			full := float64(t.room) * float64(len(t.procs))
			if x := t.held/full - 1; x > 0 {
				norm += x * x * memoryScale
				t.memory = memoryScale * x / full
			}
		}
	}
	for h, x := range m.busy {
		m.dear[m.u.procs+h] = 0
		if x = x/max(float64(limit), 1) - 1; x > 0 {
			norm += x * x * channelScale
			m.dear[m.u.procs+h] = channelScale * x / max(float64(limit), 1)
		}
	}
	m.norm = norm
	return norm
}

// What one processor's memory, or a channel, twice as full as it may be counts for in the norm of a mix; all units that nobody holds count for 1.
const memoryScale, channelScale = 1, 1

// Prices are whole numbers of which all together make 2^40. Sums of them in floating point are off by less than roundings.
const (
	roundings = 1 << 14
	mostFare  = 1 << 36
)

// exchange moves part of the worst column of a kind to its best.
func (m *market) exchange(t *trader, limit, fine float64) bool {
	full := 0.0
	mem := 0.0
	if t.room < ir.UnlimitedBytes && t.room > 0 {
		full = float64(t.room) * float64(len(t.procs))
		mem = memoryScale * max(0, t.held/full-1) / full
	}
	var best, worst *column
	m.work += len(t.cols)
	for _, c := range t.cols {
		c.price = mem * c.bytes
		m.work += len(c.units) / 8
		for _, i := range c.units {
			c.price += m.scale[i] * m.over[i]
		}
		for h, x := range c.busy {
			if over := m.busy[h]/limit - 1; over > 0 {
				c.price += channelScale * over * x / limit
			}
		}
		if best == nil || c.price < best.price {
			best = c
		}
		if c.part > 0 && (worst == nil || c.price > worst.price) {
			worst = c
		}
	}
	if worst == nil || worst.price-best.price < fine {
		return false
	}
	curve := 0.0
	for w := range best.set {
		for x := best.set[w] ^ worst.set[w]; x != 0; x &= x - 1 {
			curve += m.scale[w*64+bits.TrailingZeros64(x)]
		}
	}
	if full > 0 {
		d := (best.bytes - worst.bytes) / full
		if mem > 0 || d > 0 && t.held+worst.part*(best.bytes-worst.bytes) > full {
			curve += memoryScale * d * d
		}
	}
	for h, x := range best.busy {
		d := (x - worst.busy[h]) / limit
		if over := m.busy[h]/limit - 1; over > 0 || over+worst.part*d > 0 {
			curve += channelScale * d * d
		}
	}
	if curve <= 0 {
		return false
	}
	part := min(worst.part, (worst.price-best.price)/curve)
	best.part += part
	worst.part -= part
	t.held += part * (best.bytes - worst.bytes)
	for h, x := range best.busy {
		m.busy[h] += part * (x - worst.busy[h])
	}
	for _, i := range best.units {
		m.over[i] += part
	}
	for _, i := range worst.units {
		m.over[i] -= part
	}
	return true
}

// refuted asks, at the prices of the mix, what all processors can hold at most; columns that hold more than the mix join it.
func (m *market) refuted(limit ir.Time, norm float64) bool {
	most := 0.0
	for i, x := range m.over {
		most += m.scale[i] * math.Abs(x)
	}
	for _, t := range m.kinds {
		if t.memory > 0 {
			most += t.memory * (t.total + float64(t.room)*float64(len(t.procs)))
		}
	}
	for _, x := range m.dear {
		most += x * float64(limit)
	}
	whole := math.Ldexp(1, 40) / most
	price := make([]int64, len(m.over))
	sum := int64(0)
	for i, x := range m.over {
		price[i] = int64(-x * m.scale[i] * whole)
		sum += price[i]
	}
	slack := int64(roundings + max(0.02*norm, 0.1*m.gap)*whole/float64(m.u.procs))
	held := int64(0)
	for h := range m.busy {
		m.dear[m.u.procs+h] *= whole
		if x := m.dear[m.u.procs+h]; x > 0 {
			held += int64(math.Ceil(x*float64(limit)*(1+1e-9))) + 1
		}
	}
	m.tolls.set(m.dear)
	m.fare = m.fare[:0]
	for _, x := range m.tolls.price {
		m.fare = append(m.fare, int64(min(x*(1-1e-9), mostFare)))
	}
	for _, t := range m.kinds {
		count := int64(len(t.procs))
		each := t.memory * whole
		own := make([]int64, len(price))
		for i := range own {
			own[i] = price[i] - int64(each*t.bytes[i]*(1-1e-9))
		}
		for arc, to := range t.to {
			switch {
			case to < 0 || t.need[arc] > limit:
				t.gain[arc] = closed
			case arc%2 == 1:
				t.gain[arc] = own[t.owner[arc]]
			default:
				t.gain[arc] = 0
			}
			for _, i := range t.fare[t.toll[arc]:t.toll[arc+1]] {
				t.gain[arc] -= m.fare[i]
			}
		}
		if t.memory > 0 {
			held += count * (int64(math.Ceil(each*float64(t.room)*(1+1e-9))) + 1)
		}
		if limit < t.launch {
			continue // it owns nothing
		}
		known := int64(0)
		for _, c := range t.cols {
			x := int64(0)
			for _, i := range c.units {
				x += own[i]
			}
			for _, i := range c.fares {
				x -= m.fare[i]
			}
			known = max(known, x)
		}
		profit, walk := t.most(limit-t.launch, known, slack)
		held += count * profit
		if walk != nil {
			m.add(t, walk, limit-t.launch)
		}
	}
	m.gap = float64(held-sum) / whole
	return held < sum
}

// add makes a column of a walk, if it fits.
func (m *market) add(t *trader, walk []int32, room ir.Time) {
	c := &column{set: make([]uint64, (len(t.order)+63)/64), busy: make([]float64, m.u.nchan)}
	for _, arc := range walk {
		c.load += int64(t.load[arc])
		c.fares = append(c.fares, t.fare[t.toll[arc]:t.toll[arc+1]]...)
		if arc%2 == 1 {
			i := t.owner[arc]
			c.units = append(c.units, i)
			c.set[i/64] |= 1 << (i % 64)
			c.bytes += t.bytes[i]
		}
	}
	if c.load > int64(room) {
		return
	}
	for _, i := range c.fares {
		m.tolls.bring(i, c.busy)
	}
	if len(t.cols) == mostColumns { // the dearest of those that the mix does without makes room
		worst := 0
		for k := 1; k < len(t.cols); k++ {
			if x := t.cols[k]; x.part == 0 && (worst == 0 || x.price > t.cols[worst].price) {
				worst = k
			}
		}
		if worst == 0 {
			return
		}
		t.cols = slices.Delete(t.cols, worst, worst+1)
	}
	t.cols = append(t.cols, c)
	m.cols++
}
