package bound

import (
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// ways are the least times that values need between processors.
type ways struct {
	p      *ir.Problem
	routes *ir.Routes
}

// between is the least time from the end of the work on a value in a run on
// processor a to the moment when it can be worked on in another run on b:
// download, idle links, launch, upload. MaxTime if there is no way.
func (w *ways) between(v ir.ValueID, a, b ir.ProcID) ir.Time {
	if a == b {
		return 0
	}
	pf, size := w.p.Platform, w.p.Graph.Bytes(v)
	t := pf.Processors[b].Launch
	if c := pf.Processors[a].Download; c != nil {
		t += c.Time(size)
	}
	if c := pf.Processors[b].Upload; c != nil {
		t += c.Time(size)
	}
	return w.travel(v, pf.Processors[a].Device, pf.Processors[b].Device, t)
}

// travel adds the time of the idle links between two devices.
func (w *ways) travel(v ir.ValueID, a, b ir.DeviceID, t ir.Time) ir.Time {
	if a == b || t == ir.MaxTime {
		return t
	}
	route := w.routes.Find(a, b, w.p.Graph.Bytes(v))
	if route == nil {
		return ir.MaxTime
	}
	for _, l := range route {
		t += w.p.Platform.Links[l].Time(w.p.Graph.Bytes(v))
	}
	return t
}

// Path is a lower bound of the latency: the longest path through the graph when
// every node of it may choose its processor freely, and pays for every change of
// processor a download, idle links, a launch and an upload. ok is false if some
// node can be reached on no processor; then no plan is feasible.
//
// It is valid: the run that holds a node takes at least the launch, the upload
// of the value through which the path enters it, and all of the path's nodes in
// it. Time grows with edges · processors².
func Path(p *ir.Problem) (bound ir.Time, ok bool) {
	return paths(p, &ways{p, ir.NewRoutes(p.Platform)}, nil)
}

// paths is Path; better, if it is not nil, may raise the earliest ends of a node, by processor, when all nodes before
// it are done.
func paths(p *ir.Problem, w *ways, better func(n ir.NodeID, row []ir.Time)) (bound ir.Time, ok bool) {
	g, pf := p.Graph, p.Platform
	procs := len(pf.Processors)
	apart := newConflicts(p)
	elsewhere := func(v ir.ValueID, from []ir.Time, q int) ir.Time {
		least := ir.MaxTime
		for a, t := range from {
			if way := w.between(v, ir.ProcID(a), ir.ProcID(q)); a != q && t < ir.MaxTime && way < ir.MaxTime {
				least = min(least, t+way)
			}
		}
		return least
	}
	done := make([]ir.Time, g.NumNodes()*procs) // earliest end of the node on the processor
	best := make([]ir.Time, procs)              // by processor: a value's earliest arrival there
	arrive := make([]ir.Time, g.NumValues()*procs)
	spread := func(v ir.ValueID, from []ir.Time) []ir.Time {
		for b := range procs {
			best[b] = ir.MaxTime
			for a := range procs {
				if from[a] < ir.MaxTime && from[a] < best[b] {
					if t := w.between(v, ir.ProcID(a), ir.ProcID(b)); t < ir.MaxTime {
						best[b] = min(best[b], from[a]+t)
					}
				}
			}
		}
		return best
	}
	for v := range ir.ValueID(g.NumValues()) {
		if !g.IsInput(v) {
			continue
		}
		for q := range procs {
			at := &pf.Processors[q]
			t := at.Launch
			if at.Upload != nil {
				t += at.Upload.Time(g.Bytes(v))
			}
			if pf.Source != ir.NoDevice {
				t = w.travel(v, pf.Source, at.Device, t)
			}
			arrive[int(v)*procs+q] = t
		}
		if pf.Source != ir.NoDevice && pf.Sink != ir.NoDevice && g.IsOutput(v) {
			t := w.travel(v, pf.Source, pf.Sink, 0)
			if t == ir.MaxTime {
				return 0, false
			}
			bound = max(bound, t)
		}
	}
	for n := range ir.NodeID(g.NumNodes()) {
		row := done[int(n)*procs : (int(n)+1)*procs]
		least := ir.MaxTime
		for q, cost := range p.Costs.Row(n) {
			row[q] = ir.MaxTime
			if cost == ir.Unsupported {
				continue
			}
			t := pf.Processors[q].Launch
			for _, v := range g.Inputs(n) {
				t = max(t, arrive[int(v)*procs+q])
				if m := g.Producer(v); m != ir.NoNode && apart.keeps(m, n, q) {
					t = max(t, elsewhere(v, done[int(m)*procs:(int(m)+1)*procs], q))
				}
			}
			if t < ir.MaxTime {
				row[q] = t + cost
			}
		}
		if better != nil {
			better(n, row)
		}
		for _, t := range row {
			least = min(least, t)
		}
		if least == ir.MaxTime {
			return 0, false
		}
		bound = max(bound, least)
		for _, v := range g.Outputs(n) {
			if len(g.Consumers(v)) > 0 {
				copy(arrive[int(v)*procs:], spread(v, row))
			}
			if !g.IsOutput(v) {
				continue
			}
			out := ir.MaxTime
			for q := range procs {
				if row[q] == ir.MaxTime {
					continue
				}
				t := row[q]
				if c := pf.Processors[q].Download; c != nil {
					t += c.Time(g.Bytes(v))
				}
				if pf.Sink != ir.NoDevice {
					t = w.travel(v, pf.Processors[q].Device, pf.Sink, t)
				}
				out = min(out, t)
			}
			if out == ir.MaxTime {
				return 0, false
			}
			bound = max(bound, out)
		}
	}
	return bound, true
}
