package bound

import (
	"context"
	"math"
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

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
	closer := false
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
		switch {
		case m.cols > cols:
			closer = false
		case closer:
			return false
		default:
			m.gap, closer = 0, true // less slack
		}
	}
	return false
}

// restrict takes the columns that exceed the limit out.
func (m *market) restrict(limit ir.Time) {
	for _, t := range m.kinds {
		left := float64(t.count)
		fit := t.cols[:0]
		for _, c := range t.cols {
			if ir.Time(c.load) <= t.room(limit) || len(c.units) == 0 {
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
	for _, y := range m.yards {
		clear(y.over)
	}
	for _, t := range m.kinds {
		unit, yard := t.toward()
		for _, c := range t.cols {
			if c.part > 0 {
				for _, i := range c.units {
					m.over[i] += unit * c.part
					if t.yard != nil {
						t.yard.over[i] += yard * c.part
					}
				}
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
		for _, y := range m.yards {
			norm += m.scale[i] * y.over[i] * y.over[i]
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

// channelScale is what a channel that is kept busy twice as long as it may be counts for in the norm of a mix; all units, if nobody
// holds them, count for 1.
const channelScale = 1

// Prices are whole numbers of which all together make 2^40. Sums of them in floating point are off by less than roundings.
const (
	roundings = 1 << 17
	mostFare  = 1 << 40
)

// exchange moves part of the worst column of a kind to its best.
func (m *market) exchange(t *trader, limit, fine float64) bool {
	var best, worst *column
	m.work += len(t.cols) + len(m.over)/16
	unit, yard := t.toward()
	push := m.push[:0] // what one more of a unit does
	for i, x := range m.over {
		x *= unit
		if t.yard != nil {
			x += yard * t.yard.over[i]
		}
		push = append(push, m.scale[i]*x)
	}
	m.push = push
	for _, c := range t.cols {
		c.price = 0
		m.work += len(c.units) / 8
		for _, i := range c.units {
			c.price += push[i]
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
	curve, both := 0.0, unit*unit+yard*yard
	for w := range best.set {
		for x := best.set[w] ^ worst.set[w]; x != 0; x &= x - 1 {
			curve += both * m.scale[w*64+bits.TrailingZeros64(x)]
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
	for h, x := range best.busy {
		m.busy[h] += part * (x - worst.busy[h])
	}
	move := func(c *column, part float64) {
		for _, i := range c.units {
			m.over[i] += unit * part
			if t.yard != nil {
				t.yard.over[i] += yard * part
			}
		}
	}
	move(best, part)
	move(worst, -part)
	return true
}

// refuted asks, at the prices of the mix, what all processors can hold at most; columns that hold more than the mix join it.
func (m *market) refuted(limit ir.Time, norm float64) bool {
	most := 0.0
	for i, x := range m.over {
		most += m.scale[i] * math.Abs(x)
		for _, y := range m.yards {
			most += m.scale[i] * math.Abs(y.over[i])
		}
	}
	for _, x := range m.dear {
		most += x * float64(limit)
	}
	whole := math.Ldexp(1, 40) / most
	all := make([]int64, len(m.over))
	sum := int64(0)
	for i, x := range m.over {
		all[i] = int64(-x * m.scale[i] * whole)
		sum += all[i]
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
		price := all
		if t.yard != nil { // the processors pay the device
			price = make([]int64, len(all))
			for i, x := range t.yard.over {
				price[i] = int64(x * m.scale[i] * whole)
				if !t.whole {
					price[i] = all[i] - price[i]
				}
			}
		}
		for arc, to := range t.to {
			switch {
			case to < 0 || t.need[arc] > limit:
				t.gain[arc] = closed
				continue
			case arc%2 == 1:
				t.gain[arc] = price[t.owner[arc]]
			default:
				t.gain[arc] = 0
			}
			for _, i := range t.fare[t.toll[arc]:t.toll[arc+1]] {
				t.gain[arc] -= m.fare[i]
			}
		}
		if t.room(limit) < 0 {
			continue // it owns nothing
		}
		known := int64(0)
		for _, c := range t.cols {
			x := int64(0)
			for _, i := range c.units {
				x += price[i]
			}
			for _, i := range c.fares {
				x -= m.fare[i]
			}
			known = max(known, x)
		}
		profit, walk := t.most(t.room(limit), known, slack)
		held += int64(t.count) * profit
		if walk != nil {
			m.add(t, walk, t.room(limit))
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
