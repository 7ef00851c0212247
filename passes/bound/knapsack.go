package bound

import (
	"context"
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// A bound of the bottleneck that knows that a processor owns whole nodes.
//
// Where processors are alike, labels can spread every node evenly over them and
// cut nothing. Not so if each processor by itself must keep within a supposed
// bottleneck T (the relaxation of the generalised assignment problem that Martello
// and Toth, Knapsack Problems, 1990, bound by knapsacks; Dantzig and Wolfe,
// Operations Research 8(1), 1960, for its dual). Let S(q) be the units whose nodes
// processor q owns: every unit is in one of them. For any prices u of units let
// K(q) be the most that Σu over a set S is while what S makes q spend stays within T.
// If ΣK(q) < Σu over all units, no plan has a bottleneck of at most T.
//
// What S makes q spend: a launch, if S is not empty; the costs of its nodes; the
// downloads of its graph outputs; and for each family (see there) an upload, if a
// unit of S reads a member and the root is made outside, or a download, if the root is
// made in S and a unit outside reads a member, and no member on the reader's way is a
// graph output, which is downloaded anyhow. Families share no values, so no
// upload or download is charged twice, and a plan pays each of them.
//
// The weights of S must fit into the memory of q, too; a weight that several units hold
// counts in equal parts, which is no more than what it takes wherever some of them are.
//
// What keeps a channel busy can be charged as well, at prices w ≥ 0 of its time: if
// K(q) is the most that Σu less the price of what S brings onto channels is, then
// ΣK(q) + Σw·T < Σu proves the same. S is charged for the cheapest way into the device of
// what it must send for, and for the cheapest way out of what it must send; where that
// might charge one transfer at both ends, each gets a part of it, so that no transfer is
// charged more than it costs. If a device has several processors, a value travels there for
// all of them: then a set of the device's own is charged, which holds what theirs hold
// together. It gains prices v of units that theirs lose, which cancels out in any plan.
//
// Prices are sought by column generation: the mix of sets, for each processor one or parts of
// several, that comes nearest to holding every unit once says what units are worth, and the best
// sets at these prices join the mix (the point of least norm of a polytope: Wolfe,
// Mathematical Programming 11, 1976). All of that is in floating point and decides only how good prices
// are. What they prove is computed in whole numbers, or rounded so that K is no less than it is.

// Bounds of the work of Knapsack.
const (
	knapsackWork   = 30_000_000 // arcs, steps and columns looked at, for all values supposed
	knapsackArcs   = 400_000    // of all kinds of processors together
	knapsackEdges  = 500_000    // consumers times pairs of processors
	fewestStates   = 8          // of a layer; fewer tell little
	manyStates     = 256
	knapsackProbes = 20
	knapsackSteps  = 100 // prices that are tried for a supposed value
	mostColumns    = 100 // of a kind
)

// Knapsack bounds the bottleneck of every plan of p, from what each processor can own within a supposed value. known
// is a bound that is known already, above the value of a plan, ir.MaxTime if there is none; the result is never below
// known. It is known itself where the graph is too large for it.
func Knapsack(ctx context.Context, p *ir.Problem, known, above ir.Time) ir.Time {
	g, procs := p.Graph, len(p.Platform.Processors)
	if g.NumNodes() == 0 || procs == 1 || known >= above {
		return known
	}
	edges := 0
	for v := range ir.ValueID(g.NumValues()) {
		edges += len(g.Consumers(v))
	}
	if edges*procs*procs > knapsackEdges || g.NumNodes() > knapsackArcs {
		return known
	}
	m := newMarket(p, known)
	if m == nil {
		return known
	}
	known = max(known, min(m.area, above))
	bounded := above < ir.MaxTime
	if !bounded {
		above = 4 * max(known, 1)
	}
	little := min(known+known/100, above-1)
	if !m.refutes(ctx, little, knapsackWork/2) {
		return known // or little more
	}
	low, high := little+1, above
	step := max(little-known, 1)
	for range knapsackProbes {
		if high-low <= low/500 || ctx.Err() != nil {
			break
		}
		mid := low + min(step, (high-low)/2)
		if bounded && high == above && high-low <= low/50 {
			mid = above - 1 // nothing failed so far: perhaps nothing is better
		}
		if m.refutes(ctx, mid, knapsackWork/4) {
			low = mid + 1
			step *= 2
		} else {
			high = mid
			step = (high - low) / 2
		}
	}
	if bounded && high < above && m.worked() < knapsackWork/4 && m.refutes(ctx, above-1, knapsackWork/8) {
		return above // what failed before may have failed for want of good prices
	}
	return low
}

// basic are prices of units at which the work alone bounds the bottleneck: what the shares of processors make of their costs.
func (u *unitGraph) basic() (bare ir.Time, price []float64) {
	bare, share := area(u.p)
	price = make([]float64, u.units)
	sum := 0.0
	for n := range price {
		price[n] = math.Inf(1)
		for q := range u.procs {
			if c := u.cost[n*u.procs+q]; c != ir.Unsupported {
				price[n] = min(price[n], max(share[q], 1e-4)*float64(c))
			}
		}
		if math.IsInf(price[n], 1) {
			price[n] = 0
		}
		sum += price[n]
	}
	for n := range price {
		price[n] = max(price[n]/max(sum, 1), 0.02/float64(u.units))
	}
	return bare, price
}
