package bound

import (
	"context"
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// A bound of the bottleneck that knows what it costs to cut.
//
// For any weights w ≥ 0 of processors and channels with Σw = 1 the largest load
// is at least Σ w·load. That sum is a price for every way to label nodes with
// processors: a node pays w·cost, and a value that changes processor pays for
// copies and links. The least price over all labels is a bound of every plan. It
// is hard to compute, but pieces of it can be shifted between a node and its
// edges without changing any total; then the sum of the least of every node and the
// least of every edge bounds it from below, whatever was shifted. Messages along the
// edges shift so as to raise that sum (Kolmogorov, IEEE TPAMI 28(10), 2006:
// sequential tree-reweighted message passing), and the weights follow the loads
// of the labels that look best (multiplicative weights, as in Area). All shifting
// is in whole numbers, so what is proved is exact: rounding decides how good a
// bound is, not whether it holds.
//
// Limits on memory join in the same way: for any y ≥ 0 a feasible plan has
// Σ y·(bytes of weights - limit) ≤ 0, which is added to the price.
//
// Supposing that some plan takes at most T, nothing in it takes longer: nodes and
// values that would are kept where they cost less. If the price is above T then,
// no plan takes at most T (as in Lenstra, Shmoys and Tardos, Mathematical
// Programming 46, 1990); the largest such T is found by bisection.

// Work of Labels, in numbers looked at: all steps together stay near labelWork.
const (
	labelWork  = 10_000_000
	labelSteps = 100 // steps of a bound, at most
	leastSteps = 10  // fewer are of no use
	probes     = 8   // values of T that are tried
)

// Labels bounds the bottleneck of every plan of p, from what nodes cost and what
// cuts cost. known is a bound that is known already, above the value of a plan,
// ir.MaxTime if there is none; the result is never below known. It is known
// itself where the graph is too large for it.
func Labels(ctx context.Context, p *ir.Problem, known, above ir.Time) ir.Time {
	procs := len(p.Platform.Processors)
	if p.Graph.NumNodes() == 0 || procs == 1 {
		return known
	}
	edges := 0
	for v := range ir.ValueID(p.Graph.NumValues()) {
		edges += len(p.Graph.Consumers(v))
	}
	work := 5*edges*procs*procs + p.Graph.NumNodes()*procs
	steps := min(labelSteps, labelWork/2/max(work, 1))
	if steps < leastSteps {
		return known
	}
	l := newLabelling(newUnitGraph(p))
	if l == nil {
		return known
	}
	best := max(known, l.climb(ctx, steps, ir.MaxTime))
	low, high := best, above
	if high == ir.MaxTime {
		high = 4 * max(low, 1)
	}
	each := max(leastSteps, steps/3)
	if above < ir.MaxTime && best < above && l.climb(ctx, each, above-1) >= above {
		return above // nothing is better
	}
	for range probes {
		if high-low <= low/200 || ctx.Err() != nil {
			break
		}
		mid := low + (high-low)/2
		if l.climb(ctx, each, mid) > mid {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return max(best, low)
}

// labelling is the labelling problem of a unit graph, and a search for good weights.
type labelling struct {
	*unitGraph
	shift uint // prices are in units of 1<<shift picoseconds, so that no sum overflows

	// What a label costs, and for the pair of labels of an edge's ends what a value costs: times by what they load.
	unary terms // row unit·procs + q
	cross terms // row (edge value)·procs² + a·procs + b

	// By edge value: for a demand, by the reader's processor, the longest part of what of via gets there most easily; else nil.
	free [][]ir.Time

	weight []float64 // by processor, then by channel: sums to 1
	memory []float64 // by processor, then by device: price of a byte beyond the limit
	best   []float64 // weight and memory of the best bound so far

	able  []bool  // unit·procs + q: nothing that the unit needs there takes longer than the limit
	price []int64 // unit·procs + q
	pair  []int64 // edge·procs² + a·procs + b; a is the label of the earlier unit
	msg   []int64 // (2·edge + direction)·procs + label; direction 0 is to the later unit
	label []int32 // by unit
	ends  []int32 // by edge: label of its earlier end · procs + that of its later end
	load  []float64
	mean  []float64 // of the loads of late
	held  []float64
	row   []int64 // scratch, procs
}

// impossible is a price that stands for no price at all; sums of others stay far below.
const impossible = math.MaxInt64 / 1024

func newLabelling(u *unitGraph) *labelling {
	pf := u.p.Platform
	loads := u.procs + u.nchan
	if loads > math.MaxInt16 {
		return nil
	}
	l := &labelling{
		unitGraph: u, weight: make([]float64, loads), memory: make([]float64, u.procs+len(pf.Devices)),
		price: make([]int64, u.units*u.procs), able: make([]bool, u.units*u.procs), pair: make([]int64, len(u.edges)*u.procs*u.procs), msg: make([]int64, 2*len(u.edges)*u.procs),
		label: make([]int32, u.units), ends: make([]int32, len(u.edges)), load: make([]float64, loads), mean: make([]float64, loads), held: make([]float64, u.procs+len(pf.Devices)), row: make([]int64, u.procs),
	}
	l.tabulate()
	var total float64
	for _, x := range l.unary.amount {
		total += x
	}
	for _, x := range l.cross.amount {
		total += x
	}
	for total > 1<<50 {
		total /= 2
		l.shift++
	}
	return l
}

// climb is the best bound that some steps find, supposing that nothing takes longer than limit. It starts from the best
// weights so far.
func (l *labelling) climb(ctx context.Context, steps int, limit ir.Time) ir.Time {
	pf := l.p.Platform
	clear(l.msg) // what is impossible depends on the limit
	l.within(limit)
	bare, share := area(l.ableOnly())
	if bare > limit {
		return bare
	}
	copy(l.weight, share)
	for at := range l.weight {
		l.weight[at] = max(l.weight[at], 1e-4)
	}
	clear(l.mean)
	best := int64(0)
	for i := range steps {
		if ctx.Err() != nil {
			break
		}
		total := 0.0
		for _, w := range l.weight {
			total += w
		}
		for at := range l.weight {
			l.weight[at] /= total
		}
		l.prices(limit)
		l.sweep()
		sum := l.total()
		if sum >= impossible {
			return ir.MaxTime
		}
		// What the limits on memory grant.
		paid := 0.0
		for q, e := range pf.Processors {
			if l.memory[q] > 0 {
				paid += l.memory[q] * float64(e.MemoryBytes)
			}
		}
		for d, e := range pf.Devices {
			if y := l.memory[l.procs+d]; y > 0 {
				paid += y * float64(e.MemoryBytes)
			}
		}
		sum -= int64(math.Ceil(paid*(1+1e-9))) + 1
		if sum > best {
			best = sum
			l.best = append(append(l.best[:0], l.weight...), l.memory...)
		}
		if t := ir.Time(best) << l.shift; t > limit {
			break
		}
		l.follow(0.2/math.Sqrt(float64(i+1)), float64(max(best, 1)))
	}
	return ir.Time(best) << l.shift
}

// follow raises the weights of what the labels that look best load most, and the price of memory that they lack.
func (l *labelling) follow(step, value float64) {
	p, pf := l.procs, l.p.Platform
	clear(l.load)
	clear(l.held)
	add := func(t *terms, row int) {
		for i := t.start[row]; i < t.start[row+1]; i++ {
			l.load[t.at[i]] += t.amount[i]
		}
	}
	for u, q := range l.label {
		add(&l.unary, u*p+int(q))
		l.held[q] += l.bytes[u]
		l.held[p+int(pf.Processors[q].Device)] += l.bytes[u]
	}
	at := 0
	for e := range l.edges {
		for _, x := range l.edges[e].values {
			if x.copy < 0 {
				add(&l.cross, at*p*p+int(l.ends[e]))
			}
			at++
		}
	}
	for at, x := range l.load {
		l.mean[at] += 0.2 * (x - l.mean[at])
	}
	most := slices.Max(l.mean)
	if most > 0 {
		for at := range l.weight {
			l.weight[at] = max(1e-6, l.weight[at]*math.Exp(step*l.mean[at]/most))
		}
	}
	price := func(at int, limit int64) {
		if limit == ir.UnlimitedBytes || limit <= 0 {
			return
		}
		over := max(-1, min(2, (l.held[at]-float64(limit))/float64(limit)))
		l.memory[at] = max(0, l.memory[at]+0.3*step*over*value/float64(limit))
	}
	for q, e := range pf.Processors {
		price(q, e.MemoryBytes)
	}
	for d, e := range pf.Devices {
		price(p+d, e.MemoryBytes)
	}
}
