package bound

import (
	"cmp"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// step is a way to a state that no other beats in both load and profit.
type step struct {
	load, profit int64
	from         int32 // index of the step before
	arc          int32
}

// knapsack finds the most profitable set of shares; its slices are scratch.
type knapsack struct {
	*shares
	gain  []int64   // by arc; closed: it cannot be gone
	ahead []float64 // by state: the most that walks from there gain, less slope times load
	slope float64   // price of load, as last found
	steps []step
	list  []int32 // by state: its first step
	merge [2][]step
	work  int
	walk  []int32   // arcs
	worth []float64 // scratch
}

const closed = -1 << 62

// sweep prices load and finds the walk that is worth most then.
func (k *knapsack) sweep(slope float64) (worth float64, load, profit int64) {
	s := k.shares
	units := len(s.order)
	for t := int(s.layer[units]); t < len(s.before)-1; t++ {
		k.ahead[t] = 0
	}
	for t := int(s.layer[units]) - 1; t >= 0; t-- {
		best := -1e300
		for arc := 2 * t; arc <= 2*t+1; arc++ {
			if k.gain[arc] > closed {
				best = max(best, float64(k.gain[arc])-slope*float64(s.load[arc])+k.ahead[s.to[arc]])
			}
		}
		k.ahead[t] = best
	}
	k.work += len(s.to)
	t := int32(0)
	k.walk = k.walk[:0]
	for range units {
		pick, best := int32(-1), -1e300
		for arc := 2 * t; arc <= 2*t+1; arc++ {
			if k.gain[arc] > closed {
				if x := float64(k.gain[arc]) - slope*float64(s.load[arc]) + k.ahead[s.to[arc]]; x > best {
					pick, best = arc, x
				}
			}
		}
		if pick < 0 {
			diag.Bugf("a walk that owns nothing ends early")
		}
		load += int64(s.load[pick])
		profit += k.gain[pick]
		k.walk = append(k.walk, pick)
		t = s.to[pick]
	}
	return k.ahead[0], load, profit
}

// mostSteps is how many steps a state keeps; where there are more, neighbours become one that beats both.
const (
	mostSteps = 128
	fewSteps  = 8 // of a first look
)

// most is a bound of the profit of the sets of some load: the most there is, and slack beyond it at most where no list of steps was
// too long. known is the profit of a set that is known to fit. walk is a walk of about that profit, and whole says
// that it fits; it is nil where none was found that beats known.
func (k *knapsack) most(room ir.Time, known, slack int64) (profit int64, walk []int32) {
	// The price of load: where the walk's load passes the room.
	worth, load, gain := k.sweep(0)
	if load <= int64(room) {
		if gain > known {
			return gain, slices.Clone(k.walk)
		}
		return known, nil
	}
	overLoad, overGain := load, gain
	slope := k.slope
	if slope <= 0 {
		slope = worth / float64(max(int64(room), 1))
	}
	var under, underGain int64 = -1, 0
	var found []int32
	best, bestWorth := -1.0, 0.0
	for range 10 {
		worth, load, gain = k.sweep(slope)
		if w := worth + slope*float64(room); best < 0 || w < bestWorth {
			best, bestWorth = slope, w
		}
		if load <= int64(room) {
			if gain > known {
				known, found = gain, slices.Clone(k.walk)
			}
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
		slope = float64(overGain-underGain) / float64(overLoad-under)
	}
	k.slope = best
	if bestWorth <= float64(known+slack) {
		return known + slack, found
	}
	k.sweep(best)
	if top, end := k.pareto(int64(room), float64(known)-best*float64(room), fewSteps, k.choose); end >= 0 && top > known {
		known, found = top, k.back(end)
	}
	if bestWorth <= float64(known+slack) {
		return known + slack, found
	}
	top, end := k.pareto(int64(room), float64(known+slack)-best*float64(room), mostSteps, thin)
	if end < 0 || top <= known+slack {
		return known + slack, found
	}
	back := k.back(end)
	load = 0
	for _, arc := range back {
		load += int64(k.load[arc])
	}
	if load <= int64(room) {
		found = back
	}
	return top, found
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

// pareto lists, state by state, the steps that may still lead to more than floor in worth, and returns the most
// profit at the end and its step; -1 if there is none. Lists of more than limit steps are made shorter.
func (k *knapsack) pareto(room int64, floor float64, limit int, shorter func([]step) []step) (top int64, end int32) {
	s := k.shares
	k.steps = append(k.steps[:0], step{from: -1})
	k.list = append(k.list[:0], 0, 1)
	states := len(s.before) - 1
	for t := int32(1); t < int32(states); t++ {
		all := k.merge[0][:0]
		for _, arc := range s.enter[s.before[t]:s.before[t+1]] {
			if k.gain[arc] == closed {
				continue
			}
			from := arc / 2
			a, b := k.list[from], k.list[from+1]
			load, gain := int64(s.load[arc]), k.gain[arc]
			rest := k.ahead[t] - floor
			other := k.merge[1][:0]
			x := 0
			last := int64(closed)
			put := func(e step) {
				if e.profit > last {
					last = e.profit
					other = append(other, e)
				}
			}
			for i := a; i < b; i++ {
				e := step{k.steps[i].load + load, k.steps[i].profit + gain, i, arc}
				if e.load > room {
					break
				}
				if float64(e.profit)-k.slope*float64(e.load)+rest <= 0 {
					continue
				}
				for x < len(all) && cmp.Or(cmp.Compare(all[x].load, e.load), cmp.Compare(e.profit, all[x].profit)) <= 0 {
					put(all[x])
					x++
				}
				put(e)
			}
			for ; x < len(all); x++ {
				put(all[x])
			}
			k.work += int(b-a) + len(all)
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

// thin halves a list: neighbours become one, with the load of the lesser and the profit of the greater.
func thin(list []step) []step {
	out := list[:0]
	for i := 0; i < len(list); i += 2 {
		e := list[min(i+1, len(list)-1)]
		e.load = list[i].load
		out = append(out, e)
	}
	return out
}

// choose keeps the few steps of a list that are worth most, in their order. What they lead to can be had; it may not be the best.
func (k *knapsack) choose(list []step) []step {
	k.worth = k.worth[:0]
	for _, e := range list {
		k.worth = append(k.worth, float64(e.profit)-k.slope*float64(e.load))
	}
	slices.Sort(k.worth)
	least := k.worth[len(k.worth)-fewSteps]
	out := list[:0]
	for _, e := range list {
		if float64(e.profit)-k.slope*float64(e.load) >= least && len(out) < fewSteps {
			out = append(out, e)
		}
	}
	return out
}
