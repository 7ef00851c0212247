package bound

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

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

// value is the price of a row, +Inf if there is none.
func (t *terms) value(row int, weight []float64) float64 {
	if !t.ok[row] {
		return math.Inf(1)
	}
	end := int32(len(t.at))
	if row+1 < len(t.start) {
		end = t.start[row+1]
	}
	sum := 0.0
	for i := t.start[row]; i < end; i++ {
		sum += weight[t.at[i]] * t.amount[i]
	}
	return sum
}

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
				if f.way >= 0 {
					continue // priced apart
				}
				if f.out {
					if d := pf.Processors[q].Download; d != nil {
						t.add(q, d.Time(g.Bytes(f.value)), 1)
					}
					l.travel(t, g.Bytes(f.value), pf.Processors[q].Device, pf.Sink, 1)
					continue
				}
				if d := pf.Processors[q].Upload; d != nil {
					t.add(q, d.Time(g.Bytes(f.value)), f.share)
				}
				l.travel(t, g.Bytes(f.value), pf.Source, pf.Processors[q].Device, f.share)
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
					if x.way >= 0 {
						size = l.ways.all[x.way].sizes[0]
					}
					if d := from.Download; d != nil && !g.IsOutput(x.value) { // an output is downloaded anyhow
						t.add(fromAt, d.Time(size), x.share)
					}
					if d := to.Upload; d != nil {
						t.add(toAt, d.Time(size), x.share)
					}
					if to.Device == pf.Sink && g.IsOutput(x.value) {
						continue // it travels there anyhow
					}
					l.travel(t, size, from.Device, to.Device, x.share)
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
				l.travel(&t, size, pf.Processors[a].Device, pf.Processors[b].Device, 0)
				if t.ok[0] {
					free[b] = min(free[b], t.most[0])
				}
			}
		}
	}
	return free
}

// travel adds the channels that a value keeps busy between two devices.
func (l *labelling) travel(t *terms, size int64, from, to ir.DeviceID, share float64) {
	if from == ir.NoDevice || to == ir.NoDevice || from == to {
		return
	}
	route := l.routes.Find(from, to, size)
	if route == nil {
		t.refuse()
		return
	}
	for _, k := range route {
		t.add(l.procs+int(l.chans[k]), l.p.Platform.Links[k].Busy(size), share)
	}
}

// prices fills price and pair from the weights.
func (l *labelling) prices(limit ir.Time) {
	p := l.procs
	unit := math.Ldexp(1, -int(l.shift))
	weight := slices.Clone(l.weight)
	for i := range weight {
		weight[i] *= unit
	}
	l.ways.weigh(l.chans, weight)
	for u := range l.units {
		for q := range p {
			x := int64(impossible)
			if l.able[u*p+q] {
				x = l.unary.sum(u*p+q, weight, limit)
			}
			if x < impossible {
				y := (l.memory[q] + l.memory[p+int(l.p.Platform.Processors[q].Device)]) * l.bytes[u]
				for _, f := range l.own[u] {
					if f.way >= 0 {
						y += l.entry(f, q, weight)
					}
				}
				x = min(impossible, x+int64(min(y*(1-1e-9), impossible)))
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
					var price int64
					if x.way >= 0 {
						price = l.passing(x, a, b, weight, limit)
					} else {
						price = l.cross.sum(row, weight, limit)
					}
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

// passing is the price of what a unit on processor b sends for in place of a value that is made on a.
func (l *labelling) passing(x edgeValue, a, b int, weight []float64, limit ir.Time) int64 {
	if a == b {
		return 0
	}
	if x.back {
		a, b = b, a
	}
	w := &l.ways.all[x.way]
	if w.longest[a*l.procs+b] > limit {
		return impossible
	}
	from, to := &l.p.Platform.Processors[a], &l.p.Platform.Processors[b]
	sum := w.price[int(from.Device)*l.ways.devices+int(to.Device)]
	if from.Download != nil && !w.output { // an output is downloaded anyhow
		sum += weight[a] * float64(from.Download.Time(w.sizes[0]))
	}
	if to.Upload != nil {
		sum += weight[b] * float64(to.Upload.Time(w.sizes[0]))
	}
	return int64(min(sum*x.share*(1-1e-9), impossible))
}

// entry is the price of what a unit on processor q sends for in place of a graph input.
func (l *labelling) entry(f flowing, q int, weight []float64) float64 {
	pf, w := l.p.Platform, &l.ways.all[f.way]
	to := &pf.Processors[q]
	sum := 0.0
	if pf.Source != ir.NoDevice {
		sum = w.price[int(pf.Source)*l.ways.devices+int(to.Device)]
	}
	if to.Upload != nil {
		sum += weight[q] * float64(to.Upload.Time(w.sizes[0]))
	}
	return sum * f.share
}

// ableOnly is the problem without what is not able.
func (l *labelling) ableOnly() *ir.Problem {
	p := *l.p
	p.Costs = l.p.Costs.Clone()
	for n, u := range l.unit {
		for q := range l.procs {
			if !l.able[int(u)*l.procs+q] {
				p.Costs.Set(ir.NodeID(n), ir.ProcID(q), ir.Unsupported)
			}
		}
	}
	return &p
}
