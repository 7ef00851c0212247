package bound

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// leave is the least time at which a value that node m makes can leave a run on a, from a time of m there, and the
// start of the run if it is the only one.
func (f *inference) leave(m ir.NodeID, v ir.ValueID, a int) ir.Time {
	var down ir.Time
	if d := f.p.Platform.Processors[a].Download; d != nil {
		down = d.Time(f.g.Bytes(v))
	}
	at := int(m)*f.procs + a
	t := f.row[at] + down
	if f.limit[a] != 1 {
		return t
	}
	c := &f.runs[a]
	if c.sent[v] {
		down = 0 // counted
	}
	whole := f.begin[at] + c.work
	if f.holds[m]&(1<<a) == 0 {
		whole += f.costs.Of(m, ir.ProcID(a))
	}
	return max(t, whole+c.down+down, f.row[at]+f.rest[at]+c.down+down)
}

// forward computes row and begin, nodes before those that read from them; better may raise rows.
func (f *inference) forward(better func(n ir.NodeID, row []ir.Time)) {
	g, pf, procs := f.g, f.p.Platform, f.procs
	f.steps += g.NumNodes() * procs * procs * 4
	first := func(v ir.ValueID, q int) ir.Time { // arrival of a graph input at the device
		if pf.Source == ir.NoDevice {
			return 0
		}
		return f.travel(v, pf.Source, pf.Processors[q].Device, 0)
	}
	out := make([]ir.Time, procs)
	arrive := make([]ir.Time, g.NumValues()*procs) // at the device of a processor, from other runs
	for n := range ir.NodeID(g.NumNodes()) {
		row := f.row[int(n)*procs : (int(n)+1)*procs]
		for q, cost := range f.costs.Row(n) {
			row[q] = ir.MaxTime
			if cost == ir.Unsupported {
				continue
			}
			e := &pf.Processors[q]
			time, begin := e.Launch, ir.Time(0)
			if f.limit[q] == 1 {
				begin = f.start[q]
			}
			for _, v := range g.Inputs(n) {
				m := g.Producer(v)
				var come ir.Time
				inside, since := ir.MaxTime, ir.MaxTime
				if m == ir.NoNode {
					come = first(v, q)
				} else {
					come = arrive[int(v)*procs+q]
					if inside = f.row[int(m)*procs+q]; inside < ir.MaxTime {
						since = f.begin[int(m)*procs+q]
					}
				}
				outside := come
				if outside < ir.MaxTime {
					outside += e.Launch
					if e.Upload != nil {
						outside += e.Upload.Time(g.Bytes(v))
					}
				}
				time, begin = max(time, min(inside, outside)), max(begin, min(since, come))
			}
			if time == ir.MaxTime {
				continue
			}
			row[q] = time + cost
			f.begin[int(n)*procs+q] = begin
			if f.limit[q] == 1 {
				// What the run holds for certain and comes before n, and n.
				whole := e.Launch + cost
				for _, m := range f.held[q] {
					if f.isBefore(m, n) {
						whole += f.costs.Of(m, ir.ProcID(q))
					}
				}
				f.steps += len(f.held[q]) / 4
				row[q] = max(row[q], begin+whole)
			}
		}
		better(n, row)
		for _, v := range g.Outputs(n) {
			if len(g.Consumers(v)) == 0 {
				continue
			}
			for a := range procs {
				out[a] = ir.MaxTime
				if row[a] < ir.MaxTime {
					out[a] = f.leave(n, v, a)
				}
			}
			for b := range procs {
				least := ir.MaxTime
				if f.limit[b] != 1 {
					least = row[b] // another run of the processor may have made it
				}
				for a, t := range out {
					if a != b && t < least {
						least = min(least, f.away(v, a, pf.Processors[b].Device, t))
					}
				}
				arrive[int(v)*procs+b] = least
			}
		}
	}
	for q := range procs {
		for _, n := range f.held[q] {
			if f.row[int(n)*procs+q] < ir.MaxTime {
				f.start[q] = max(f.start[q], f.begin[int(n)*procs+q])
			}
		}
	}
}

// backward computes tail, nodes after those that they read from.
//
// A node without replicas is in one run, from which all that comes after it comes. What a replica makes is read in
// its own run only, so the row of a node that may have some holds for one way on from it, and only for runs that
// this way leads through: it serves the nodes before it, each of which may choose another run for it.
func (f *inference) backward() {
	g, pf, procs := f.g, f.p.Platform, f.procs
	f.steps += g.NumNodes() * procs * procs * 4
	way := make([]ir.Time, procs)
	for n := ir.NodeID(g.NumNodes()) - 1; n >= 0; n-- {
		row := f.tail[int(n)*procs : (int(n)+1)*procs]
		clear(row)
		longest := ir.Time(-1)
		take := func() {
			if !f.solid[n] {
				if least := slices.Min(way); least > longest {
					longest = least
					copy(row, way)
				}
				return
			}
			for q, t := range way {
				row[q] = max(row[q], t)
			}
		}
		// What the run has still to do when a value leaves it.
		still := func(v ir.ValueID, q int) ir.Time {
			var t ir.Time
			if d := pf.Processors[q].Download; d != nil {
				t = d.Time(g.Bytes(v))
			}
			if f.limit[q] == 1 {
				c := &f.runs[q]
				if c.sent[v] {
					t = 0
				}
				t += f.rest[int(n)*procs+q] + c.down
			}
			return t
		}
		for _, v := range g.Outputs(n) {
			if g.IsOutput(v) {
				for q := range procs {
					way[q] = still(v, q)
					if pf.Sink != ir.NoDevice {
						way[q] = f.away(v, q, pf.Sink, way[q])
					}
				}
				take()
			}
			for _, r := range g.Consumers(v) {
				for a := range way {
					way[a] = ir.MaxTime
				}
				for b, c := range f.costs.Row(r) {
					t := f.tail[int(r)*procs+b]
					if c == ir.Unsupported || t == ir.MaxTime {
						continue
					}
					way[b] = min(way[b], c+t)
					from := f.entered(r, v, b)
					for a := range way {
						if a != b && from < way[a] {
							if d := f.away(v, a, pf.Processors[b].Device, still(v, a)); d < ir.MaxTime {
								way[a] = min(way[a], d+from)
							}
						}
					}
				}
				take()
			}
		}
		for q := range procs {
			if f.limit[q] == 1 && row[q] < ir.MaxTime {
				row[q] = max(row[q], f.rest[int(n)*procs+q]+f.runs[q].down+f.runs[q].after)
			}
		}
	}
}

// entered is the least time from the arrival of a value at the device of b, which runs r that reads it, to the end of
// the plan.
func (f *inference) entered(r ir.NodeID, v ir.ValueID, b int) ir.Time {
	e := &f.p.Platform.Processors[b]
	c := f.costs.Of(r, ir.ProcID(b))
	t := e.Launch + c + f.tail[int(r)*f.procs+b]
	if e.Upload != nil {
		t += e.Upload.Time(f.g.Bytes(v))
	}
	if f.limit[b] != 1 {
		return t
	}
	whole := f.runs[b].work + f.runs[b].down + f.runs[b].after
	if f.holds[r]&(1<<b) == 0 {
		whole += c
	}
	return max(t, whole)
}

// ends computes what comes after runs.
func (f *inference) ends() {
	g, pf := f.g, f.p.Platform
	for q := range f.procs {
		c := &f.runs[q]
		for _, n := range f.held[q] {
			if !f.solid[n] {
				continue
			}
			for _, v := range g.Outputs(n) {
				if !c.sent[v] {
					continue
				}
				if g.IsOutput(v) && pf.Sink != ir.NoDevice {
					c.after = max(c.after, f.away(v, q, pf.Sink, 0))
				}
				for _, r := range g.Consumers(v) {
					if !f.solid[r] || f.costs.Of(r, ir.ProcID(q)) != ir.Unsupported {
						continue
					}
					least := ir.MaxTime
					for b, k := range f.costs.Row(r) {
						if k == ir.Unsupported || f.tail[int(r)*f.procs+b] == ir.MaxTime {
							continue
						}
						if d := f.away(v, q, pf.Processors[b].Device, 0); d < ir.MaxTime {
							least = min(least, d+f.entered(r, v, b))
						}
					}
					c.after = max(c.after, least)
				}
			}
		}
	}
}
