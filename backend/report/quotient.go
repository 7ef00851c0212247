package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Sizes of the quotient graph, in SVG units.
const (
	quotientColumn = 266.0
	quotientLane   = 96.0
	quotientBoxW   = 156.0
	quotientBoxH   = 52.0
	quotientEdgeX  = 16.0
	// maxQuotientBoxes is from how many sub-models on those of one processor are drawn as one box.
	maxQuotientBoxes = 80
)

// quotient is the graph of sub-models: a lane for each processor, columns in
// order of dependence, the model's inputs on the left and its outputs on the right.
type quotient struct {
	Width, Height float64
	Merged        bool // one box a processor
	Boxes         []quotientBox
	Edges         []quotientEdge
}

type quotientBox struct {
	X, Y, W, H, MidX float64
	LineY            [3]float64
	Color            int // -1: the model's inputs or outputs
	Lines            [3]string
	Title            string
	Sub              int // sub-model that a click shows; -1 if none
}

type quotientEdge struct {
	Path           string
	Width          float64
	X, Y           float64 // of the label
	BoxX, BoxY     float64 // of its background
	BoxW           float64
	Label, Title   string
	Critical, Back bool
}

// flow is what goes from one box to another.
type flow struct {
	from, to int
	tensors  int
	bytes    int64
	start    ir.Time
	arrive   ir.Time
	crosses  bool // between devices
	critical bool
	names    []string
}

func (v *view) quotient() quotient {
	plan, pf, g := v.p.Plan, v.l.Problem.Platform, v.l.Problem.Graph
	n := len(plan.Submodels)
	q := quotient{Merged: n > maxQuotientBoxes}

	// A box for every sub-model, or for every processor that has one.
	boxOf := make([]int, n)
	var procs []ir.ProcID // by box
	lane := map[ir.ProcID]int{}
	for p := range pf.Processors {
		for i, s := range plan.Submodels {
			if s.Processor == ir.ProcID(p) {
				if _, ok := lane[s.Processor]; !ok {
					lane[s.Processor] = len(lane)
				}
				if q.Merged {
					boxOf[i] = lane[s.Processor]
				}
			}
		}
	}
	if q.Merged {
		procs = make([]ir.ProcID, len(lane))
		for p, k := range lane {
			procs[k] = p
		}
	} else {
		for i, s := range plan.Submodels {
			boxOf[i] = i
			procs = append(procs, s.Processor)
		}
	}
	inputs, outputs := len(procs), len(procs)+1
	flows := v.flows(boxOf, inputs, outputs)

	// Columns: one behind all that a box waits for.
	column := make([]int, len(procs)+2)
	if q.Merged {
		for k := range procs {
			column[k] = 1 + k
		}
	} else {
		for _, i := range v.byStart() {
			column[i] = 1
			for _, f := range flows {
				if f.to == i {
					column[i] = max(column[i], column[f.from]+1)
				}
			}
			for j := range plan.Submodels {
				if j < i && plan.Submodels[j].Processor == plan.Submodels[i].Processor {
					column[i] = max(column[i], column[j]+1)
				}
			}
		}
	}
	last := 0
	for k := range procs {
		last = max(last, column[k])
	}
	column[outputs] = last + 1
	row := make([]float64, len(procs)+2)
	for k, p := range procs {
		row[k] = float64(lane[p])
	}
	for _, f := range flows { // beside whom they feed or take from
		if f.from == inputs {
			row[inputs] = row[f.to]
			break
		}
	}
	for _, f := range flows {
		if f.to == outputs {
			row[outputs] = row[f.from]
		}
	}
	x := func(k int) float64 { return quotientEdgeX + float64(column[k])*quotientColumn }
	y := func(k int) float64 { return 30 + row[k]*quotientLane }

	for k, p := range procs {
		b := quotientBox{X: x(k), Y: y(k), Color: v.color(p), Sub: -1}
		if q.Merged {
			var nodes, subs int
			for i, s := range plan.Submodels {
				if boxOf[i] == k {
					nodes += v.modelNodes(s.Nodes)
					subs++
				}
			}
			b.Lines = [3]string{shorten(pf.Processors[p].Name, 19), countText(subs, "sub-model", "sub-models"), countText(nodes, "node", "nodes")}
			b.Title = pf.Processors[p].Name
		} else {
			s := plan.Submodels[k]
			r := v.p.Schedule.Runs[k]
			b.Sub = k
			b.Lines = [3]string{shorten(v.ids[k], 19), countText(v.modelNodes(s.Nodes), "node", "nodes"), timeText(r.End - r.Start)}
			b.Title = v.ids[k] + " on " + pf.Processors[p].Name + "\n" + countText(v.modelNodes(s.Nodes), "node", "nodes") + ", " + countText(v.modelNodes(s.Replicas), "replica", "replicas") +
				"\nweights " + bytesText(v.p.Schedule.WeightOf[k]) + ", peak activations " + bytesText(v.p.Schedule.PeakOf[k])
		}
		q.Boxes = append(q.Boxes, b)
	}
	ends := func(k int, name string, count int, noun string) {
		q.Boxes = append(q.Boxes, quotientBox{X: x(k), Y: y(k), Color: -1, Sub: -1, Lines: [3]string{name, countText(count, noun, noun+"s")}, Title: name})
	}
	ins, outs := 0, 0
	for id := range g.NumValues() {
		if g.IsInput(ir.ValueID(id)) {
			ins++
		}
		if g.IsOutput(ir.ValueID(id)) {
			outs++
		}
	}
	ends(inputs, "inputs", ins, "tensor")
	ends(outputs, "outputs", outs, "tensor")
	for i := range q.Boxes {
		b := &q.Boxes[i]
		b.W, b.H, b.MidX = quotientBoxW, quotientBoxH, b.X+quotientBoxW/2
		b.LineY = [3]float64{b.Y + 17, b.Y + 32, b.Y + 45}
	}
	for _, f := range flows {
		q.Edges = append(q.Edges, v.edge(f, x, y, column))
	}
	q.Width = quotientEdgeX*2 + float64(last+1)*quotientColumn + quotientBoxW
	q.Height = 30 + float64(max(1, len(lane))-1)*quotientLane + quotientBoxH + 24
	return q
}

// byStart are the sub-models in order of their start, which is one of dependence.
func (v *view) byStart() []int {
	order := make([]int, len(v.ids))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		ra, rb := v.p.Schedule.Runs[a], v.p.Schedule.Runs[b]
		return cmp.Or(cmp.Compare(ra.Start, rb.Start), cmp.Compare(ra.End, rb.End), cmp.Compare(a, b))
	})
	return order
}

// flows adds up what goes between boxes, in order of source and destination.
func (v *view) flows(boxOf []int, inputs, outputs int) []flow {
	g, pf := v.l.Problem.Graph, v.l.Problem.Platform
	at := map[[2]int]int{}
	var list []flow
	add := func(from, to int, id ir.ValueID, dest ir.DeviceID) {
		if from == to {
			return
		}
		k, ok := at[[2]int{from, to}]
		if !ok {
			k = len(list)
			at[[2]int{from, to}] = k
			list = append(list, flow{from: from, to: to})
		}
		f := &list[k]
		f.tensors++
		f.bytes += g.Bytes(id)
		if len(f.names) < 12 {
			f.names = append(f.names, shorten(g.ValueName(id), 60)+" "+bytesText(g.Bytes(id)))
		}
		for _, i := range v.hopsOf[id] {
			h := v.p.Schedule.Hops[i]
			if h.For != dest {
				continue
			}
			if !f.crosses || h.Start < f.start {
				f.start = h.Start
			}
			f.arrive = max(f.arrive, h.Arrive)
			f.crosses = true
			f.critical = f.critical || v.critical.hops[i]
		}
	}
	for i, values := range v.inputs {
		dest := pf.Processors[v.p.Plan.Submodels[i].Processor].Device
		for _, id := range values {
			from := inputs
			if m := v.maker[id]; m >= 0 {
				from = boxOf[m]
			}
			add(from, boxOf[i], id, dest)
		}
	}
	for id := range g.NumValues() {
		if g.IsOutput(ir.ValueID(id)) && v.maker[id] >= 0 {
			add(boxOf[v.maker[id]], outputs, ir.ValueID(id), pf.Sink)
		}
	}
	slices.SortStableFunc(list, func(a, b flow) int {
		return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to))
	})
	return list
}

// edge draws a flow as a curve with a label in its middle.
func (v *view) edge(f flow, x, y func(int) float64, column []int) quotientEdge {
	e := quotientEdge{Critical: f.critical, Back: column[f.to] <= column[f.from]}
	x1, y1 := x(f.from)+quotientBoxW, y(f.from)+quotientBoxH/2
	x2, y2 := x(f.to), y(f.to)+quotientBoxH/2
	switch {
	case e.Back: // only between merged boxes
		x1, x2 = x(f.from), x(f.to)+quotientBoxW
		e.Path = fmt.Sprintf("M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f", x1, y1, x1-60, y1+70, x2+60, y2+70, x2, y2)
		e.X, e.Y = (x1+x2)/2, (y1+y2)/2+52
	case y1 == y2 && column[f.to] > column[f.from]+1: // around the boxes between
		e.Path = fmt.Sprintf("M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f", x1, y1-8, x1+50, y1-58, x2-50, y2-58, x2, y2-8)
		e.X, e.Y = (x1+x2)/2, y1-45
	default:
		bend := (x2 - x1) / 2
		e.Path = fmt.Sprintf("M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f", x1, y1, x1+bend, y1, x2-bend, y2, x2, y2)
		e.X, e.Y = (x1+x2)/2, (y1+y2)/2
	}
	e.Label = bytesText(f.bytes)
	if f.crosses {
		e.Label += " · " + timeText(f.arrive-f.start)
	}
	e.BoxW = tenth(float64(len([]rune(e.Label)))*5.6 + 8)
	e.BoxX, e.BoxY = tenth(e.X-e.BoxW/2), e.Y-8
	e.Title = countText(f.tensors, "tensor", "tensors") + ", " + bytesText(f.bytes)
	if f.crosses {
		e.Title += ", sent from " + timeText(f.start) + " to " + timeText(f.arrive)
	}
	for _, name := range f.names {
		e.Title += "\n" + name
	}
	if f.tensors > len(f.names) {
		e.Title += "\n…"
	}
	e.Width = tenth(1.2 + 0.5*math.Max(0, math.Log10(float64(f.bytes+1))-3))
	return e
}
