package report

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// criticalPath is the chain of runs and transfers that sets the latency: each
// starts the moment the one before it ends. Where several end at that moment a
// transfer counts before a run, an earlier entry before a later one.
type criticalPath struct {
	runs []bool // by sub-model
	hops []bool // by index in Schedule.Hops
}

func findCriticalPath(l *ir.Lowered, p *ir.Placement, inputs [][]ir.ValueID, maker []int) criticalPath {
	s, pf := p.Schedule, l.Problem.Platform
	c := criticalPath{make([]bool, len(s.Runs)), make([]bool, len(s.Hops))}
	channel, _ := pf.Channels()
	device := func(sub int) ir.DeviceID { return pf.Processors[p.Plan.Submodels[sub].Processor].Device }

	run, hop := -1, -1
	for i, r := range s.Runs {
		if r.End == s.Latency && run < 0 {
			run = i
		}
	}
	for i, h := range s.Hops {
		if h.Arrive == s.Latency && hop < 0 {
			run, hop = -1, i
		}
	}
	for run >= 0 || hop >= 0 {
		switch {
		case run >= 0:
			if c.runs[run] {
				return c
			}
			c.runs[run] = true
			at := run
			start := s.Runs[at].Start
			run = -1
			if start == 0 {
				return c
			}
			for i, h := range s.Hops {
				if h.Arrive == start && h.For == device(at) && pf.Links[h.Link].To == h.For && slices.Contains(inputs[at], h.Value) {
					hop = i
					break
				}
			}
			for i := 0; hop < 0 && run < 0 && i < len(s.Runs); i++ {
				before := i != at && s.Runs[i].End == start && !c.runs[i]
				sameProc := p.Plan.Submodels[i].Processor == p.Plan.Submodels[at].Processor
				feeds := device(i) == device(at) && slices.ContainsFunc(inputs[at], func(v ir.ValueID) bool { return maker[v] == i })
				if before && (sameProc || feeds) {
					run = i
				}
			}
		case hop >= 0:
			if c.hops[hop] {
				return c
			}
			c.hops[hop] = true
			h := s.Hops[hop]
			hop = -1
			if h.Start == 0 {
				return c
			}
			if m := maker[h.Value]; m >= 0 && s.Runs[m].End == h.Start {
				run = m
				continue
			}
			for i, o := range s.Hops {
				ready := o.Value == h.Value && o.For == h.For && o.Arrive == h.Start
				queued := channel[o.Link] == channel[h.Link] && o.Free == h.Start && o.Start < h.Start
				if (ready || queued) && !c.hops[i] {
					hop = i
					break
				}
			}
		}
	}
	return c
}
