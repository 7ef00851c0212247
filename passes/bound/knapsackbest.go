package bound

import (
	"cmp"
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// step is a way to a state that no other beats in load, bytes and profit.
type step struct {
	load, profit int64
	bytes        int64
	from         int32 // index of the step before
	arc          int32
}

// knapsack finds the most profitable set of shares.
type knapsack struct {
	*shares
	*scratch
	bytes []int64   // by position: weights
	space int64     // for them; -1: there is enough for all
	gain  []int64   // by arc; closed: it cannot be gone
	ahead []float64 // by state: the most that walks from there gain, less the prices of load and bytes
	slope float64   // price of load, as last found
	rent  float64   // price of a byte, as last found
	work  int
}

// scratch is what knapsacks work in, one after another.
type scratch struct {
	steps []step
	list  []int32 // by state: its first step
	merge [2][]step
	walk  []int32 // arcs
	worth []float64
	stair []step // by bytes, and by profit
}

const closed = -1 << 62

// sweep prices load and bytes and finds the walk that is worth most then: walk.
func (k *knapsack) sweep(slope, rent float64) (worth float64, load, bytes, profit int64) {
	s := k.shares
	units := len(s.order)
	for t := int(s.layer[units]); t < len(s.before)-1; t++ {
		k.ahead[t] = 0
	}
	for at := units - 1; at >= 0; at-- {
		paid := [2]float64{0, rent * float64(k.bytes[at])}
		for t := int(s.layer[at]); t < int(s.layer[at+1]); t++ {
			best := -1e300
			for in := range 2 {
				if arc := 2*t + in; k.gain[arc] > closed {
					best = max(best, float64(k.gain[arc])-slope*float64(s.load[arc])-paid[in]+k.ahead[s.to[arc]])
				}
			}
			k.ahead[t] = best
		}
	}
	k.work += len(s.to)
	t := int32(0)
	k.walk = k.walk[:0]
	for at := range units {
		pick, best := int32(-1), -1e300
		for in := range int32(2) {
			if arc := 2*t + in; k.gain[arc] > closed {
				if x := float64(k.gain[arc]) - slope*float64(s.load[arc]) - rent*float64(in)*float64(k.bytes[at]) + k.ahead[s.to[arc]]; x > best {
					pick, best = arc, x
				}
			}
		}
		if pick < 0 {
			diag.Bugf("a walk that owns nothing ends early")
		}
		load += int64(s.load[pick])
		bytes += int64(pick%2) * k.bytes[at]
		profit += k.gain[pick]
		k.walk = append(k.walk, pick)
		t = s.to[pick]
	}
	return k.ahead[0], load, bytes, profit
}

const (
	mostSteps = 128       // that a state keeps; where there are more, neighbours become one that beats both
	allSteps  = 1_000_000 // of all states
	fewSteps  = 8         // of a first look
	mostRents = 8         // that are tried
)

// hunt is a search for the most profitable set that fits.
type hunt struct {
	room  int64
	known int64   // profit of a set that fits
	found []int32 // its walk; nil: it was known before
	bound float64 // of the profit of all sets that fit
	slope float64 // prices of load and of bytes that give it
	rent  float64
}

// level finds the price of load at which a walk's load passes the room, at a price of bytes, and returns the bytes of a walk there.
func (k *knapsack) level(h *hunt, rent float64) (held int64) {
	try := func(slope float64) (worth float64, load, profit int64) {
		worth, load, bytes, gain := k.sweep(slope, rent)
		if load <= h.room && (k.space < 0 || bytes <= k.space) && gain > h.known {
			h.known, h.found = gain, slices.Clone(k.walk)
		}
		b := worth + slope*float64(h.room)
		if k.space >= 0 {
			b += rent * float64(k.space)
			profit = gain - int64(rent*float64(bytes))
		} else {
			profit = gain
		}
		if b < h.bound {
			h.bound, h.slope, h.rent = b, slope, rent
		}
		if load <= h.room {
			held = bytes
		}
		return worth, load, profit
	}
	worth, overLoad, overGain := try(0)
	if overLoad <= h.room {
		return held
	}
	slope := k.slope
	if slope <= 0 {
		slope = worth / float64(max(h.room, 1))
	}
	var under, underGain int64 = -1, 0
	for range 10 {
		_, load, gain := try(slope)
		if load <= h.room {
			if under >= 0 && load <= under && gain <= underGain {
				break
			}
			under, underGain = load, gain
		} else {
			if load >= overLoad && gain >= overGain && under >= 0 {
				break
			}
			overLoad, overGain = load, gain
		}
		if under < 0 {
			slope *= 2
			continue
		}
		slope = max(0, float64(overGain-underGain)/float64(overLoad-under))
	}
	return held
}

// most is a bound of the profit of the sets that fit: the most there is, and slack beyond it at most where no list of steps was
// too long. known is the profit of a set that is known to fit. walk is that of a better one, nil if none was found.
func (k *knapsack) most(room ir.Time, known, slack int64) (profit int64, walk []int32) {
	h := hunt{room: int64(room), known: known, bound: math.Inf(1)}
	held := k.level(&h, 0)
	if k.space >= 0 && held > k.space {
		low, high := 0.0, -1.0
		rent := k.rent
		if rent <= 0 {
			rent = h.bound / float64(max(k.space, 1))
		}
		for range mostRents {
			if k.level(&h, rent) > k.space {
				low = rent
			} else {
				high = rent
			}
			if high < 0 {
				rent *= 2
			} else {
				rent = (low + high) / 2
			}
		}
	}
	k.slope, k.rent = h.slope, h.rent
	ceiling := int64(h.bound) + roundings
	if ceiling <= h.known+slack {
		return ceiling, h.found
	}
	k.sweep(h.slope, h.rent)
	if top, end := k.pareto(&h, h.known, fewSteps, k.choose); end >= 0 && top > h.known {
		h.known, h.found = top, k.back(end)
	}
	if ceiling <= h.known+slack {
		return ceiling, h.found
	}
	top, end := k.pareto(&h, h.known+slack, max(fewSteps, min(mostSteps, allSteps/len(k.ahead))), thin)
	if end < 0 || top <= h.known+slack {
		return min(ceiling, h.known+slack), h.found
	}
	back := k.back(end)
	var load, bytes int64
	for at, arc := range back {
		load += int64(k.load[arc])
		bytes += int64(arc%2) * k.bytes[at]
	}
	if load <= h.room && (k.space < 0 || bytes <= k.space) {
		h.found = back
	}
	return min(ceiling, top), h.found
}

// back is the walk that led to a step.
func (k *knapsack) back(end int32) []int32 {
	walk := make([]int32, len(k.order))
	for i, at := end, len(walk); at > 0; i = k.steps[i].from {
		at--
		walk[at] = k.steps[i].arc
	}
	return walk
}

// pareto lists, state by state, the steps that may still lead to more profit than floor, and returns the most
// profit at the end and its step; -1 if there is none. Lists of more than limit steps are made shorter.
func (k *knapsack) pareto(h *hunt, floor int64, limit int, shorter func([]step) []step) (top int64, end int32) {
	s := k.shares
	k.steps = append(k.steps[:0], step{from: -1})
	k.list = append(k.list[:0], 0, 1)
	states, each := len(s.before)-1, 1
	least := float64(floor) - h.slope*float64(h.room)
	if k.space >= 0 {
		least -= h.rent * float64(k.space)
		each = 3 // put looks longer
	}
	for t := int32(1); t < int32(states); t++ {
		all := k.merge[0][:0]
		for _, arc := range s.enter[s.before[t]:s.before[t+1]] {
			if k.gain[arc] == closed {
				continue
			}
			from := arc / 2
			a, b := k.list[from], k.list[from+1]
			load, gain := int64(s.load[arc]), k.gain[arc]
			bytes := int64(arc%2) * k.bytes[s.owner[arc]]
			rest := k.ahead[t] - least
			other := k.merge[1][:0]
			k.stair = k.stair[:0]
			x := 0
			for i := a; i < b; i++ {
				e := step{k.steps[i].load + load, k.steps[i].profit + gain, k.steps[i].bytes + bytes, i, arc}
				if e.load > h.room {
					break
				}
				if k.space >= 0 && e.bytes > k.space || float64(e.profit)-h.slope*float64(e.load)-h.rent*float64(e.bytes)+rest <= 0 {
					continue
				}
				for x < len(all) && cmp.Or(cmp.Compare(all[x].load, e.load), cmp.Compare(e.profit, all[x].profit)) <= 0 {
					other = k.put(other, all[x])
					x++
				}
				other = k.put(other, e)
			}
			for ; x < len(all); x++ {
				other = k.put(other, all[x])
			}
			k.work += each * (int(b-a) + len(all))
			k.merge[0], k.merge[1] = other, all
			all = other
		}
		if len(all) > limit {
			all = shorter(all)
			k.merge[0] = all
		}
		k.steps = append(k.steps, all...)
		k.list = append(k.list, int32(len(k.steps)))
	}
	end = -1
	for i := k.list[s.layer[len(s.order)]]; i < int32(len(k.steps)); i++ {
		if end < 0 || k.steps[i].profit > top {
			top, end = k.steps[i].profit, i
		}
	}
	return top, end
}

// put adds a step of no less load to a list, if none there beats it.
func (k *knapsack) put(list []step, e step) []step {
	if k.space < 0 {
		if n := len(list); n > 0 && list[n-1].profit >= e.profit {
			return list
		}
		return append(list, e)
	}
	at, _ := slices.BinarySearchFunc(k.stair, e.bytes+1, func(x step, bytes int64) int { return cmp.Compare(x.bytes, bytes) })
	if at > 0 && k.stair[at-1].profit >= e.profit {
		return list
	}
	if at > 0 && k.stair[at-1].bytes == e.bytes {
		at--
	}
	to := at
	for to < len(k.stair) && k.stair[to].profit <= e.profit {
		to++
	}
	k.stair = slices.Replace(k.stair, at, to, e)
	return append(list, e)
}

// thin halves a list: neighbours become one that needs no more than either, and gives no less.
func thin(list []step) []step {
	out := list[:0]
	for i := 0; i < len(list); i += 2 {
		e, x := list[i], list[min(i+1, len(list)-1)]
		if x.profit > e.profit {
			e.profit, e.from, e.arc = x.profit, x.from, x.arc
		}
		e.bytes = min(e.bytes, x.bytes)
		out = append(out, e)
	}
	return out
}

// choose keeps the few steps of a list that are worth most, in their order. What they lead to can be had; it may not be the best.
func (k *knapsack) choose(list []step) []step {
	value := func(e step) float64 {
		return float64(e.profit) - k.slope*float64(e.load) - k.rent*float64(e.bytes)
	}
	k.worth = k.worth[:0]
	for _, e := range list {
		k.worth = append(k.worth, value(e))
	}
	slices.Sort(k.worth)
	least := k.worth[len(k.worth)-fewSteps]
	out := list[:0]
	for _, e := range list {
		if value(e) >= least && len(out) < fewSteps {
			out = append(out, e)
		}
	}
	return out
}
