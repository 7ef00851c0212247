package report

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// held is a node of a sub-model.
type held struct {
	node    ir.NodeID
	replica bool
}

// heldBy lists a sub-model's nodes, replicas included, in topological order.
func (v *view) heldBy(sub int) []held {
	s := v.p.Plan.Submodels[sub]
	out := make([]held, 0, len(s.Nodes)+len(s.Replicas))
	for _, n := range s.Nodes {
		out = append(out, held{n, false})
	}
	for _, n := range s.Replicas {
		out = append(out, held{n, true})
	}
	slices.SortFunc(out, func(a, b held) int { return cmp.Compare(a.node, b.node) })
	return out
}

// modelNodes counts the model's nodes that some nodes of the graph stand for.
func (v *view) modelNodes(list []ir.NodeID) int {
	n := 0
	for _, id := range list {
		n += max(1, len(v.l.Members[id]))
	}
	return n
}

// source says what the cost of a node rests on.
func (v *view) source(n ir.NodeID, p ir.ProcID) ir.CostSource {
	if i := int(n)*len(v.l.Problem.Platform.Processors) + int(p); i < len(v.l.Sources) {
		return v.l.Sources[i]
	}
	return ir.Roofline
}

// headline is the answer at the top of the page.
type headline struct {
	Model             string
	Objective         string
	Value, ValueLabel string
	Speedup           string // against the best single processor; "" if there is none
	Against           string
	Rate, Bottleneck  string
	Gap, GapNote      string
	Sent, SentNote    string
	Parts             string
	Auto              string
}

func (v *view) headline() headline {
	plan, pf := v.p.Plan, v.l.Problem.Platform
	h := headline{Model: v.m.Model.File, Objective: plan.Objective.String(), Value: timeText(plan.Value()), ValueLabel: "predicted latency of one inference"}
	if plan.Objective == ir.Throughput {
		h.ValueLabel = "predicted time between two inferences"
	}
	best := -1
	for i, b := range v.p.Single {
		if b.Feasible && i < len(pf.Processors) && (best < 0 || objective(plan, b) < objective(plan, v.p.Single[best])) {
			best = i
		}
	}
	devices := map[ir.DeviceID]bool{}
	for _, s := range plan.Submodels {
		devices[pf.Processors[s.Processor].Device] = true
	}
	h.Parts = countText(len(plan.Submodels), "sub-model", "sub-models") + " on " + countText(len(v.colors), "processor", "processors") +
		" of " + countText(len(devices), "device", "devices")
	switch {
	case best < 0:
		h.Against = "no single processor can run the whole model"
	default:
		one := objective(plan, v.p.Single[best])
		name := pf.Processors[best].Name
		switch {
		case one > plan.Value() && plan.Value() > 0:
			h.Speedup = threeDigits(float64(one)/float64(plan.Value())) + "×"
			h.Against = "faster than the best single processor, " + name + " (" + timeText(one) + ")"
		default:
			h.Against = "no faster than the best single processor, " + name + ": it is best not to split"
		}
	}
	if plan.Bottleneck > 0 {
		h.Rate = threeDigits(float64(ir.Second)/float64(plan.Bottleneck)) + " / s"
		if plan.Bottleneck > ir.Second {
			h.Rate = threeDigits(60*float64(ir.Second)/float64(plan.Bottleneck)) + " / min"
		}
		h.Bottleneck = v.bottleneck()
	}
	h.Gap = percent(v.m.Prediction.Gap)
	h.GapNote = "to the lower bound of " + timeText(plan.LowerBound) + " for any plan"
	if plan.ProvenOptimal {
		h.Gap, h.GapNote = "optimal", "proven: no plan is better under this model"
	}
	var sent int64
	for _, e := range v.m.Edges {
		sent += e.Bytes
	}
	h.Sent = bytesText(sent)
	h.SentNote = "in " + countText(len(v.m.Edges), "tensor", "tensors") + " between sub-models"
	if a := v.p.Auto; a != nil && timeText(a.Value()) != h.Value {
		h.Auto = fmt.Sprintf("With --submodels auto it would be %s, in %s.", timeText(a.Value()), countText(len(a.Submodels), "sub-model", "sub-models"))
	}
	return h
}

func objective(plan *ir.Plan, b ir.Baseline) ir.Time {
	if plan.Objective == ir.Throughput {
		return b.Bottleneck
	}
	return b.Latency
}

// bottleneck names what has the largest load.
func (v *view) bottleneck() string {
	pf, s := v.l.Problem.Platform, v.p.Schedule
	for i, t := range s.ProcLoad {
		if t == v.p.Plan.Bottleneck {
			return "limited by " + pf.Processors[i].Name
		}
	}
	_, names := pf.Channels()
	for i, t := range s.LinkLoad {
		if t == v.p.Plan.Bottleneck {
			return "limited by link " + strings.Replace(names[i], "->", " → ", 1)
		}
	}
	return ""
}

// comparison is a bar of the chart that holds the plan against others.
type comparison struct {
	Name, Value string
	Percent     float64 // of the longest bar
	Class       string
}

func (v *view) comparisons() []comparison {
	plan, pf := v.p.Plan, v.l.Problem.Platform
	type entry struct {
		name, class string
		t           ir.Time
	}
	list := []entry{{"this plan", "this", plan.Value()}, {"lower bound", "bound", plan.LowerBound}}
	if a := v.p.Auto; a != nil {
		list = append(list, entry{"with --submodels auto", "other", a.Value()})
	}
	for _, b := range v.p.Baselines {
		if b.Feasible {
			list = append(list, entry{b.Name, "other", objective(plan, b)})
		}
	}
	for i, b := range v.p.Single {
		if b.Feasible && i < len(pf.Processors) {
			list = append(list, entry{"only " + pf.Processors[i].Name, "single", objective(plan, b)})
		}
	}
	slices.SortStableFunc(list[2:], func(a, b entry) int { return cmp.Compare(a.t, b.t) })
	// A bar that is far longer than this plan's would make all others unreadable.
	most := ir.Time(1)
	for _, e := range list {
		if e.t <= 8*plan.Value() {
			most = max(most, e.t)
		}
	}
	out := make([]comparison, 0, len(list))
	for _, e := range list {
		c := comparison{Name: e.name, Value: timeText(e.t), Class: e.class, Percent: scale(min(e.t, most), most, 100)}
		if e.t > most {
			c.Class += " cutoff"
		}
		out = append(out, c)
	}
	return out
}

// submodelCard is an entry of the list of sub-models.
type submodelCard struct {
	Index    int
	ID, File string
	Color    int
	Text     string
}

func (v *view) submodels() []submodelCard {
	order := v.byStart()
	out := make([]submodelCard, 0, len(order))
	for _, i := range order {
		s := v.p.Plan.Submodels[i]
		r := v.p.Schedule.Runs[i]
		text := v.l.Problem.Platform.Processors[s.Processor].Name + " · " + countText(v.modelNodes(s.Nodes), "node", "nodes")
		if len(s.Replicas) > 0 {
			text += " + " + countText(len(s.Replicas), "replica", "replicas")
		}
		text += " · " + timeText(r.End-r.Start) + " · weights " + bytesText(v.p.Schedule.WeightOf[i])
		out = append(out, submodelCard{i, v.ids[i], v.ids[i] + ".onnx", v.color(s.Processor), text})
	}
	return out
}

// memoryBar is what a processor or device holds against its limit.
type memoryBar struct {
	Name           string
	Device         bool
	Color          int
	Weights, Other float64 // per cent of the bar
	Text           string
	Limited, Tight bool
}

func (v *view) memory() []memoryBar {
	pf, s := v.l.Problem.Platform, v.p.Schedule
	weights := make([]int64, len(pf.Processors))
	for i, sub := range v.p.Plan.Submodels {
		weights[sub.Processor] += s.WeightOf[i]
	}
	var most int64 = 1
	used := make([]int64, len(pf.Devices))
	held := make([]int64, len(pf.Devices))
	for i, p := range pf.Processors {
		used[p.Device] += s.ProcBytes[i]
		held[p.Device] += weights[i]
		most = max(most, used[p.Device])
	}
	bar := func(name string, weights, all, limit int64) memoryBar {
		b := memoryBar{Name: name, Limited: limit != ir.UnlimitedBytes, Color: -1}
		full := most
		b.Text = bytesText(all) + " (weights " + bytesText(weights) + ")"
		if b.Limited {
			full = max(limit, 1)
			b.Text += " of " + bytesText(limit) + ", " + percent(float64(all)/float64(full))
			b.Tight = float64(all) > 0.9*float64(full)
		} else {
			b.Text += ", no limit stated"
		}
		b.Weights = min(100, tenth(float64(weights)/float64(full)*100))
		b.Other = max(0, min(100-b.Weights, tenth(float64(all-weights)/float64(full)*100)))
		return b
	}
	var out []memoryBar
	for d, dev := range pf.Devices {
		var own []memoryBar
		for i, p := range pf.Processors {
			if _, ok := v.colors[ir.ProcID(i)]; ok && p.Device == ir.DeviceID(d) {
				b := bar(p.Name, weights[i], s.ProcBytes[i], p.MemoryBytes)
				b.Color = v.color(ir.ProcID(i))
				own = append(own, b)
			}
		}
		if len(own) > 0 {
			b := bar(dev.Name, held[d], used[d], dev.MemoryBytes)
			b.Device = true
			out = append(append(out, b), own...)
		}
	}
	return out
}

// cutRow is a tensor that leaves its sub-model.
type cutRow struct {
	Name, Title, Type string
	Bytes             int64
	BytesText         string
	From, To          string
	Us                float64
	Time, Why         string
	Critical          bool
}

// maxCutRows is how many cut tensors the table shows, the longest on their way first.
const maxCutRows = 1000

// cuts explains every tensor between sub-models: how small it is beside the other
// values of the model, and whether anybody waits for it.
func (v *view) cuts() (rows []cutRow, left int) {
	g, pf := v.l.Problem.Graph, v.l.Problem.Platform
	var sizes []int64
	for id := range g.NumValues() {
		if g.Producer(ir.ValueID(id)) != ir.NoNode {
			sizes = append(sizes, g.Bytes(ir.ValueID(id)))
		}
	}
	slices.Sort(sizes)
	byName := map[string]ir.ValueID{}
	for id := range g.NumValues() {
		byName[g.ValueName(ir.ValueID(id))] = ir.ValueID(id)
	}
	for _, e := range v.m.Edges {
		id := byName[e.Tensor]
		r := cutRow{
			Name: shorten(e.Tensor, 48), Title: e.Tensor, Bytes: e.Bytes, BytesText: bytesText(e.Bytes),
			From: e.From, To: strings.Join(e.To, ", "), Type: v.l.Types[id].String(),
		}
		smaller := sort.Search(len(sizes), func(i int) bool { return sizes[i] > e.Bytes })
		why := []string{}
		if more := len(sizes) - smaller; more > 0 && len(sizes) > 1 {
			why = append(why, fmt.Sprintf("smaller than %s of the model's values", percent(float64(more)/float64(len(sizes)))))
		}
		if len(e.Transfers) == 0 {
			r.Time = "–"
			why = append(why, "stays on its device")
		} else {
			from, to := v.legs(id)
			r.Us = (to - from).Us()
			r.Time = timeText(to - from)
			for _, i := range v.hopsOf[id] {
				r.Critical = r.Critical || v.critical.hops[i]
			}
			slack, waited := ir.MaxTime, false
			for i, values := range v.inputs {
				if _, ok := slices.BinarySearch(values, id); !ok {
					continue
				}
				dest := pf.Processors[v.p.Plan.Submodels[i].Processor].Device
				for _, k := range v.hopsOf[id] {
					if h := v.p.Schedule.Hops[k]; h.For == dest && pf.Links[h.Link].To == dest {
						slack = min(slack, v.p.Schedule.Runs[i].Start-h.Arrive)
						waited = true
					}
				}
			}
			switch {
			case r.Critical:
				why = append(why, "on the critical path")
			case waited && slack > 0:
				why = append(why, "there "+timeText(slack)+" before it is needed")
			case waited:
				why = append(why, "the next run starts when it is there")
			}
		}
		r.Why = strings.Join(why, "; ")
		rows = append(rows, r)
	}
	slices.SortStableFunc(rows, func(a, b cutRow) int {
		return cmp.Or(cmp.Compare(b.Us, a.Us), cmp.Compare(b.Bytes, a.Bytes))
	})
	if len(rows) > maxCutRows {
		rows, left = rows[:maxCutRows], len(rows)-maxCutRows
	}
	return rows, left
}

// legs is when a value's first transfer starts and its last one arrives.
func (v *view) legs(id ir.ValueID) (from, to ir.Time) {
	for k, i := range v.hopsOf[id] {
		h := v.p.Schedule.Hops[i]
		if k == 0 || h.Start < from {
			from = h.Start
		}
		to = max(to, h.Arrive)
	}
	return from, to
}

// opType adds up the nodes of one operator.
type opType struct {
	Op                         string
	Count                      int
	Us                         float64
	Time, Share                string
	Measured, Fitted, Roofline float64 // per cent of its time
}

func (v *view) opTypes() []opType {
	type sum struct {
		count int
		from  [ir.Measured + 1]ir.Time
	}
	by := map[string]*sum{}
	var order []string
	var total ir.Time
	for i, s := range v.p.Plan.Submodels {
		for _, h := range v.heldBy(i) {
			op := v.l.Problem.Graph.Op(h.node)
			t := by[op]
			if t == nil {
				t = &sum{}
				by[op] = t
				order = append(order, op)
			}
			cost := v.l.Problem.Costs.Of(h.node, s.Processor)
			t.count++
			t.from[v.source(h.node, s.Processor)] += cost
			total += cost
		}
	}
	out := make([]opType, 0, len(order))
	for _, op := range order {
		t := by[op]
		all := t.from[ir.Measured] + t.from[ir.Fitted] + t.from[ir.Roofline]
		out = append(out, opType{
			Op: op, Count: t.count, Us: all.Us(), Time: timeText(all), Share: percent(share(all, total)),
			Measured: scale(t.from[ir.Measured], all, 100), Fitted: scale(t.from[ir.Fitted], all, 100), Roofline: scale(t.from[ir.Roofline], all, 100),
		})
	}
	slices.SortStableFunc(out, func(a, b opType) int { return cmp.Compare(b.Us, a.Us) })
	return out
}

// sourceShare is a part of the bar of cost coverage.
type sourceShare struct {
	Name, Text, What string
	Percent          float64
}

func (v *view) sources() []sourceShare {
	c := v.m.Prediction.CostSources
	return []sourceShare{
		{"measured", percent(c.Measured), "measured on the processor itself", tenth(c.Measured * 100)},
		{"fitted", percent(c.Fitted), "fitted to measurements of the same op", tenth(c.Fitted * 100)},
		{"roofline", percent(c.Roofline), "from peak rates in the profile", tenth(c.Roofline * 100)},
	}
}

type legendEntry struct {
	Name  string
	Color int
}

func (v *view) legend() []legendEntry {
	var out []legendEntry
	for i, p := range v.l.Problem.Platform.Processors {
		if c, ok := v.colors[ir.ProcID(i)]; ok {
			out = append(out, legendEntry{p.Name, c})
		}
	}
	return out
}
