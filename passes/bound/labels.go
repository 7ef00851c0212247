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
	held  []float64
	row   []int64 // scratch, procs
}

// impossible is a price that stands for no price at all; sums of others stay far below.
const impossible = math.MaxInt64 / 1024

// terms are rows of (what is loaded, for how long); most is the longest of a row, impossible rows have ok false.
type terms struct {
	start  []int32
	at     []int16
	amount []float64
	most   []ir.Time
	ok     []bool
}

func (t *terms) add(at int, time ir.Time, share float64) {
	t.at = append(t.at, int16(at))
	t.amount = append(t.amount, float64(time)*share)
	if n := len(t.most) - 1; time > t.most[n] {
		t.most[n] = time
	}
}

func (t *terms) row() {
	t.start = append(t.start, int32(len(t.at)))
	t.most = append(t.most, 0)
	t.ok = append(t.ok, true)
}

func (t *terms) refuse() { t.ok[len(t.ok)-1] = false }

// sum is the price of a row, rounded down; impossible if it is, or if a part of it is above limit.
func (t *terms) sum(row int, weight []float64, limit ir.Time) int64 {
	if !t.ok[row] || t.most[row] > limit {
		return impossible
	}
	sum := 0.0
	for i := t.start[row]; i < t.start[row+1]; i++ {
		sum += weight[t.at[i]] * t.amount[i]
	}
	return int64(sum * (1 - 1e-9))
}

func newLabelling(u *unitGraph) *labelling {
	pf := u.p.Platform
	loads := u.procs + u.nchan
	if loads > math.MaxInt16 {
		return nil
	}
	l := &labelling{
		unitGraph: u, weight: make([]float64, loads), memory: make([]float64, u.procs+len(pf.Devices)),
		price: make([]int64, u.units*u.procs), able: make([]bool, u.units*u.procs), pair: make([]int64, len(u.edges)*u.procs*u.procs), msg: make([]int64, 2*len(u.edges)*u.procs),
		label: make([]int32, u.units), ends: make([]int32, len(u.edges)), load: make([]float64, loads), held: make([]float64, u.procs+len(pf.Devices)), row: make([]int64, u.procs),
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

// tabulate lists what labels and pairs of labels load.
func (l *labelling) tabulate() {
	pf, g := l.p.Platform, l.p.Graph
	t := &l.unary
	for u := range l.units {
		for q := range l.procs {
			t.row()
			c := l.cost[u*l.procs+q]
			if c == ir.Unsupported {
				t.refuse()
				continue
			}
			t.add(q, c, 1)
			// Whoever runs anything pays for a launch; if it runs all, every unit brings its part of one.
			t.add(q, pf.Processors[q].Launch, 1/float64(l.units))
			for _, f := range l.own[u] {
				if f.out {
					if d := pf.Processors[q].Download; d != nil {
						t.add(q, d.Time(g.Bytes(f.value)), 1)
					}
					l.travel(t, f.value, pf.Processors[q].Device, pf.Sink, 1)
					continue
				}
				if d := pf.Processors[q].Upload; d != nil {
					t.add(q, d.Time(g.Bytes(f.value)), f.share)
				}
				l.travel(t, f.value, pf.Source, pf.Processors[q].Device, f.share)
			}
		}
	}
	t.start = append(t.start, int32(len(t.at)))
	t = &l.cross
	for _, e := range l.edges {
		for _, x := range e.values {
			l.free = append(l.free, l.easiest(x.via))
			for a := range l.procs {
				for b := range l.procs {
					t.row()
					if a == b {
						continue
					}
					from, to := &pf.Processors[a], &pf.Processors[b]
					fromAt, toAt := a, b
					if x.back {
						from, to, fromAt, toAt = to, from, b, a
					}
					size := g.Bytes(x.value)
					if d := from.Download; d != nil && !g.IsOutput(x.value) { // an output is downloaded anyhow
						t.add(fromAt, d.Time(size), x.share)
					}
					if d := to.Upload; d != nil {
						t.add(toAt, d.Time(size), x.share)
					}
					if to.Device == pf.Sink && g.IsOutput(x.value) {
						continue // it travels there anyhow
					}
					l.travel(t, x.value, from.Device, to.Device, x.share)
				}
			}
		}
	}
	t.start = append(t.start, int32(len(t.at)))
}

// easiest finds, by processor, the longest part of the way of that value which gets there most easily from any other.
func (l *labelling) easiest(values []ir.ValueID) []ir.Time {
	if values == nil {
		return nil
	}
	pf := l.p.Platform
	free := make([]ir.Time, l.procs)
	for b := range free {
		free[b] = ir.MaxTime
		for _, v := range values {
			for a := range l.procs {
				if a == b || l.p.Costs.Of(l.p.Graph.Producer(v), ir.ProcID(a)) == ir.Unsupported {
					continue
				}
				var t terms
				t.row()
				size := l.p.Graph.Bytes(v)
				if d := pf.Processors[b].Upload; d != nil {
					t.add(b, d.Time(size), 0)
				}
				if d := pf.Processors[a].Download; d != nil {
					t.add(a, d.Time(size), 0)
				}
				l.travel(&t, v, pf.Processors[a].Device, pf.Processors[b].Device, 0)
				if t.ok[0] {
					free[b] = min(free[b], t.most[0])
				}
			}
		}
	}
	return free
}

// travel adds the channels that a value keeps busy between two devices.
func (l *labelling) travel(t *terms, v ir.ValueID, from, to ir.DeviceID, share float64) {
	if from == ir.NoDevice || to == ir.NoDevice || from == to {
		return
	}
	size := l.p.Graph.Bytes(v)
	route := l.routes.Find(from, to, size)
	if route == nil {
		t.refuse()
		return
	}
	for _, k := range route {
		t.add(l.procs+int(l.chans[k]), l.p.Platform.Links[k].Busy(size), share)
	}
}

// climb is the best bound that some steps find, supposing that nothing takes longer than limit. It starts from the best
// weights so far.
func (l *labelling) climb(ctx context.Context, steps int, limit ir.Time) ir.Time {
	pf := l.p.Platform
	clear(l.msg) // what is impossible depends on the limit
	l.within(limit)
	if l.best == nil {
		_, share := area(l.p)
		copy(l.weight, share)
		for at := range l.weight {
			l.weight[at] = max(l.weight[at], 1e-4)
		}
	} else {
		copy(l.weight, l.best)
		copy(l.memory, l.best[len(l.weight):])
	}
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
		l.follow(0.1/math.Sqrt(float64(i+1)), float64(max(best, 1)))
	}
	return ir.Time(best) << l.shift
}

// prices fills price and pair from the weights.
func (l *labelling) prices(limit ir.Time) {
	p := l.procs
	unit := math.Ldexp(1, -int(l.shift))
	weight := slices.Clone(l.weight)
	for i := range weight {
		weight[i] *= unit
	}
	for u := range l.units {
		for q := range p {
			x := int64(impossible)
			if l.able[u*p+q] {
				x = l.unary.sum(u*p+q, weight, limit)
			}
			if x < impossible {
				y := (l.memory[q] + l.memory[p+int(l.p.Platform.Processors[q].Device)]) * l.bytes[u]
				x += int64(y * (1 - 1e-9))
			}
			l.price[u*p+q] = x
		}
	}
	at := 0
	for e := range l.edges {
		out := l.pair[e*p*p : (e+1)*p*p]
		clear(out)
		for q := range p {
			if l.edges[e].apart != nil && l.edges[e].apart[q] {
				out[q*p+q] = impossible
			}
		}
		for _, x := range l.edges[e].values {
			for a := range p {
				for b := range p {
					row := at*p*p + a*p + b
					price := l.cross.sum(row, weight, limit)
					if free := l.free[at]; free != nil && price >= impossible {
						to := b
						if x.back {
							to = a
						}
						if free[to] <= limit {
							price = 0
						}
					}
					if to := b; a != b && x.copy >= 0 {
						if x.back {
							to = a
						}
						if c := l.p.Costs.Of(ir.NodeID(x.copy), ir.ProcID(to)); c != ir.Unsupported {
							price = min(price, int64(weight[to]*float64(c)*x.share*(1-1e-9)))
						}
					}
					out[a*p+b] = min(impossible, out[a*p+b]+price)
				}
			}
			at++
		}
	}
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
	most := slices.Max(l.load)
	if most > 0 {
		for at := range l.weight {
			l.weight[at] = max(1e-6, l.weight[at]*math.Exp(step*l.load[at]/most))
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
