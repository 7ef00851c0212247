package bound

import "github.com/dnnsplit/dnnsplit/compiler/ir"

// within finds which processors can run which units in a plan of which no part takes longer than limit: a node runs where all
// that it reads can be had, and a value can be had where its producer, or a replica of it, can run, and wherever it can
// travel from there. It fills able.
func (l *labelling) within(limit ir.Time) {
	p, g, pf := l.procs, l.p.Graph, l.p.Platform
	for i := range l.able {
		l.able[i] = true
	}
	if limit == ir.MaxTime {
		return
	}
	had := make([]bool, g.NumValues()*p)
	runs := make([]bool, p)
	for v := range ir.ValueID(g.NumValues()) {
		if g.IsInput(v) {
			for q := range p {
				had[int(v)*p+q] = l.trip(v, pf.Source, nil, &pf.Processors[q]) <= limit
			}
		}
	}
	for n := range ir.NodeID(g.NumNodes()) {
		for q, c := range l.p.Costs.Row(n) {
			runs[q] = c != ir.Unsupported && c+pf.Processors[q].Launch <= limit
			for _, v := range g.Inputs(n) {
				runs[q] = runs[q] && had[int(v)*p+q]
			}
			if !runs[q] {
				l.able[int(l.unit[n])*p+q] = false
			}
		}
		for _, v := range g.Outputs(n) {
			if len(g.Consumers(v)) == 0 {
				continue
			}
			row := had[int(v)*p : (int(v)+1)*p]
			copy(row, runs)
			for b := range p {
				for a := 0; a < p && !row[b]; a++ {
					row[b] = a != b && runs[a] && l.trip(v, pf.Processors[a].Device, pf.Processors[a].Download, &pf.Processors[b]) <= limit
				}
			}
		}
	}
}

// trip is the longest part of the way of a value from a device, by a download if there is one, to a processor; MaxTime if there
// is no way.
func (l *labelling) trip(v ir.ValueID, from ir.DeviceID, down *ir.Copy, to *ir.Processor) ir.Time {
	size := l.p.Graph.Bytes(v)
	var longest ir.Time
	if down != nil {
		longest = down.Time(size)
	}
	if to.Upload != nil {
		longest = max(longest, to.Upload.Time(size))
	}
	if from == ir.NoDevice || from == to.Device {
		return longest
	}
	route := l.routes.Find(from, to.Device, size)
	if route == nil {
		return ir.MaxTime
	}
	for _, k := range route {
		longest = max(longest, l.p.Platform.Links[k].Busy(size))
	}
	return longest
}
