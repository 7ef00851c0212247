package bound

import "github.com/dnnsplit/dnnsplit/compiler/ir"

// bottleneck bounds the largest load: a walk along the spine in runs, of which none and no channel that they must use
// takes longer. What several runs of a processor take together it does not add up.
func (c *chain) bottleneck() (ir.Time, bool) {
	m, p := len(c.spine), c.procs
	w := newWalk(c, chainWork/(m/2/p+1))
	if m*(m/2+p)*w.sets*p > chainWork {
		return 0, true
	}
	pf := c.p.Platform
	// What a processor with several runs has in its memory needs no copies between them.
	copied := func(q int, d *ir.Copy, v ir.ValueID) ir.Time {
		if d == nil || v < 0 || c.limit[q] != 1 {
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
					set, _ := w.with(0, q)
					enter[set*p+q] = 0
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
						to, free := w.with(set, b)
						if free && way[a*p+b] < ir.MaxTime {
							k := i*cells + to*p + b
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
				first += copied(q, e.Upload, c.least[i])
			}
			for k := i; k <= c.reach[i*p+q]; k++ {
				load := first + w.prefix[k*p+q] - w.prefix[i*p+q]
				if k+1 < m {
					load += copied(q, e.Download, c.least[k+1])
				}
				for set := range w.sets {
					if from := enter[i*cells+set*p+q]; from < ir.MaxTime && w.holds[set] >= w.need[k] {
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
				if c.limit[a] != 1 {
					out[a*p+b] = 0
				}
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
