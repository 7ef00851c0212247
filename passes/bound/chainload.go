package bound

import "github.com/dnnsplit/dnnsplit/compiler/ir"

// bottleneck bounds the largest load: a walk along the spine in runs, every one on a processor of its own, of which
// none and no channel that they must use takes longer.
func (c *chain) bottleneck() (ir.Time, bool) {
	m, p := len(c.spine), c.procs
	if !c.once || p > chainProcs || m*(m/2+p)<<p*p > chainWork {
		return 0, true
	}
	w := newWalk(c)
	if w.sets == 1 {
		return 0, true
	}
	pf := c.p.Platform
	copied := func(d *ir.Copy, v ir.ValueID) ir.Time {
		if d == nil || v < 0 {
			return 0
		}
		return d.Time(c.g.Bytes(v))
	}
	cells := w.sets * p
	// enter and left by spine index: a run starts with it, a run ends with it.
	enter := make([]ir.Time, m*cells)
	left := make([]ir.Time, m*cells)
	for k := range enter {
		enter[k], left[k] = ir.MaxTime, ir.MaxTime
	}
	for i := range m {
		if i == 0 {
			for q := range p {
				if c.p.Costs.Of(c.spine[0], ir.ProcID(q)) != ir.Unsupported {
					enter[(1<<q)*p+q] = 0
				}
			}
		} else {
			way := c.narrowest(i)
			for set := range w.sets {
				for a := range p {
					from := left[(i-1)*cells+set*p+a]
					if from == ir.MaxTime {
						continue
					}
					for b := range p {
						if set>>b&1 == 0 && way[a*p+b] < ir.MaxTime {
							k := i*cells + (set|1<<b)*p + b
							enter[k] = min(enter[k], max(from, way[a*p+b]))
						}
					}
				}
			}
		}
		// A run that starts here ends at any spine node that it reaches.
		for q := range p {
			e := &pf.Processors[q]
			cost := c.p.Costs.Of(c.spine[i], ir.ProcID(q))
			if cost == ir.Unsupported {
				continue
			}
			first := e.Launch + cost
			if i > 0 {
				first += copied(e.Upload, c.least[i])
			}
			for k := i; k <= c.reach[i*p+q]; k++ {
				load := first + w.prefix[k*p+q] - w.prefix[i*p+q]
				if k+1 < m {
					load += copied(e.Download, c.least[k+1])
				}
				for set := range w.sets {
					if from := enter[i*cells+set*p+q]; from < ir.MaxTime {
						to := &left[k*cells+set*p+q]
						*to = min(*to, max(from, load))
					}
				}
			}
		}
	}
	bound := ir.MaxTime
	for _, t := range left[(m-1)*cells:] {
		bound = min(bound, t)
	}
	return bound, bound < ir.MaxTime
}

// narrowest is, for processors a and b, the least largest load of a channel or a copy that a value on its way from a to b
// through block i, over other processors or not, adds.
func (c *chain) narrowest(i int) []ir.Time {
	p, pf := c.procs, c.p.Platform
	out := make([]ir.Time, p*p)
	v := c.least[i]
	for a := range p {
		for b := range p {
			out[a*p+b] = ir.MaxTime
			if a == b {
				continue
			}
			if v < 0 {
				continue
			}
			size := c.g.Bytes(v)
			from, to := &pf.Processors[a], &pf.Processors[b]
			route := c.routes.Find(from.Device, to.Device, size)
			if route == nil {
				continue
			}
			var most ir.Time
			if from.Download != nil {
				most = max(most, from.Download.Time(size))
			}
			if to.Upload != nil {
				most = max(most, to.Upload.Time(size))
			}
			for _, l := range route {
				most = max(most, pf.Links[l].Busy(size))
			}
			out[a*p+b] = most
		}
	}
	for k := range p {
		for a := range p {
			for b := range p {
				if x, y := out[a*p+k], out[k*p+b]; a != b && x < ir.MaxTime && y < ir.MaxTime {
					out[a*p+b] = min(out[a*p+b], max(x, y))
				}
			}
		}
	}
	return out
}
