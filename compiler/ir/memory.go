package ir

import "slices"

func sortValues(v []ValueID) { slices.Sort(v) }

// Memory is what a plan needs, in bytes, by the rules of the execution model.
type Memory struct {
	Weights    []int64 // by sub-model: its distinct weights
	Peak       []int64 // by sub-model: the most that its activations need at once
	Processors []int64 // by ProcID: all weights, and the largest sum of a run's peak and of what stays for later runs
	Devices    []int64 // by DeviceID: the sum over its processors
}

// MeasureMemory applies the memory rules to a plan.
func MeasureMemory(p *Problem, plan *Plan, w *Wiring) *Memory {
	g, pf := p.Graph, p.Platform
	m := &Memory{
		Weights: make([]int64, len(plan.Submodels)), Peak: make([]int64, len(plan.Submodels)),
		Processors: make([]int64, len(pf.Processors)), Devices: make([]int64, len(pf.Devices)),
	}
	runs := make([][]int, len(pf.Processors))
	for i := range plan.Submodels {
		q := plan.Submodels[i].Processor
		runs[q] = append(runs[q], i)
	}
	f := footprint{
		g: g, lastUse: make([]NodeID, g.NumValues()), used: make([]int32, g.NumValues()),
		kept: make([]int32, g.NumValues()), weight: make([]int32, g.NumWeights()),
	}
	last := make([]int32, g.NumValues()) // 1 + the last run, by position, of the processor that needs the value
	in := make([]bool, g.NumValues())    // in the processor's memory for a later run
	for q, mine := range runs {
		for k, s := range mine {
			for _, v := range w.Needs(s) {
				last[v] = int32(k + 1)
			}
		}
		var weights, peak, stays int64
		var present []ValueID
		for k, s := range mine {
			m.Weights[s], m.Peak[s] = f.measure(w, s, func(v ValueID) bool { return last[v] > int32(k+1) })
			weights += m.Weights[s]
			other := stays
			for _, v := range w.Needs(s) {
				if in[v] {
					other -= g.ResidentBytes(v)
				}
			}
			peak = max(peak, m.Peak[s]+other)
			add := func(v ValueID) {
				if !in[v] && last[v] > int32(k+1) {
					in[v] = true
					present = append(present, v)
					stays += g.ResidentBytes(v)
				}
			}
			for _, v := range w.Needs(s) {
				add(v)
			}
			for _, n := range plan.Submodels[s].Nodes {
				for _, v := range g.Outputs(n) {
					add(v)
				}
			}
			left := present[:0]
			for _, v := range present {
				if last[v] > int32(k+1) {
					left = append(left, v)
				} else {
					in[v] = false
					stays -= g.ResidentBytes(v)
				}
			}
			present = left
		}
		for _, s := range mine {
			for _, v := range w.Needs(s) {
				last[v] = 0
			}
		}
		m.Processors[q] = weights + peak
		m.Devices[pf.Processors[q].Device] += m.Processors[q]
	}
	return m
}

// footprint measures one sub-model at a time; the tables carry marks, so nothing is cleared between them.
type footprint struct {
	g       *Graph
	mark    int32
	lastUse []NodeID // by ValueID, valid where used carries the mark
	used    []int32
	kept    []int32
	weight  []int32 // by WeightID
}

// measure runs the nodes of sub-model s in graph order. A value is live from its
// production, an outside input from the start, to its last use; values that
// leave, and those that stay for a later run, to the end.
func (f *footprint) measure(w *Wiring, s int, stays func(ValueID) bool) (weights, peak int64) {
	g := f.g
	f.mark++
	var live int64
	for _, n := range w.Held(s) {
		for _, v := range g.Inputs(n) {
			f.lastUse[v], f.used[v] = n, f.mark
		}
		for _, x := range g.Weights(n) {
			if f.weight[x] != f.mark {
				f.weight[x] = f.mark
				weights += g.WeightBytes(x)
			}
		}
	}
	for _, v := range w.Needs(s) {
		live += g.ResidentBytes(v)
		if stays(v) {
			f.kept[v] = f.mark
		}
	}
	for _, v := range w.Produces(s) {
		f.kept[v] = f.mark
	}
	peak = live
	for _, n := range w.Held(s) {
		for _, v := range g.Outputs(n) {
			live += g.ResidentBytes(v)
		}
		peak = max(peak, live)
		for _, v := range g.Inputs(n) {
			if f.lastUse[v] == n && f.kept[v] != f.mark {
				live -= g.ResidentBytes(v)
			}
		}
		for _, v := range g.Outputs(n) {
			if f.used[v] != f.mark && f.kept[v] != f.mark {
				live -= g.ResidentBytes(v)
			}
		}
	}
	return weights, peak
}
