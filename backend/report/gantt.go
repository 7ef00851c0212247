package report

import (
	"math"
	"strconv"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Sizes of the timeline, in SVG units.
const (
	ganttLabel  = 215.0 // width of the row labels
	ganttPlot   = 1000.0
	ganttRow    = 30.0
	ganttAxis   = 26.0
	ganttRight  = 24.0
	charWidth   = 6.6 // of the labels' font
	maxGanttBox = 4000
)

// gantt is the timeline: a row for each processor that runs something and each
// link that carries something.
type gantt struct {
	Width, Height float64
	PlotX, PlotW  float64
	PlotH         float64
	Ticks         []ganttTick
	Rows          []ganttLine
	Left          int // boxes that are not drawn
}

type ganttTick struct {
	X    float64
	Text string
}

type ganttLine struct {
	Label, Title string
	Link         bool
	Y            float64
	Boxes        []ganttBox
}

type ganttBox struct {
	X, Y, W, H  float64
	TextX       float64
	Class       string // run, transfer, and "critical" behind it
	Color       int
	Label       string // "" if it does not fit
	Title       string
	Parts       []ganttPart
	TailX       float64 // of a transfer: where it arrives
	TailVisible bool
}

// ganttPart is launch, upload, compute or download within a run.
type ganttPart struct {
	X, W  float64
	Class string
}

// scale maps a moment to a coordinate, to a tenth of a unit. The conversions keep
// the result the same on processors that fuse multiply and add.
func scale(t, total ir.Time, width float64) float64 {
	if total <= 0 {
		return 0
	}
	share := float64(t) / float64(total)
	return tenth(float64(share * width))
}

func tenth(x float64) float64 { return math.Round(float64(x*10)) / 10 }

func (v *view) gantt() gantt {
	s, pf, plan := v.p.Schedule, v.l.Problem.Platform, v.p.Plan
	total := s.Latency
	for _, r := range s.Runs {
		total = max(total, r.End)
	}
	for _, h := range s.Hops {
		total = max(total, h.Arrive)
	}
	g := gantt{Width: ganttLabel + ganttPlot + ganttRight, PlotX: ganttLabel, PlotW: ganttPlot}
	row := func(label, title string, link bool) *ganttLine {
		g.Rows = append(g.Rows, ganttLine{Label: shorten(label, 32), Title: title, Link: link, Y: ganttAxis + float64(len(g.Rows))*ganttRow})
		return &g.Rows[len(g.Rows)-1]
	}
	drawn := 0
	for i, q := range pf.Processors {
		var r *ganttLine
		for k, sub := range plan.Submodels {
			if sub.Processor != ir.ProcID(i) {
				continue
			}
			if r == nil {
				r = row(q.Name, q.Name+" ("+q.Kind+", "+percent(share(s.ProcLoad[i], total))+" busy)", false)
			}
			if drawn++; drawn > maxGanttBox {
				g.Left++
				continue
			}
			r.Boxes = append(r.Boxes, v.runBox(k, r.Y, total))
		}
	}
	for k, link := range pf.Links {
		var r *ganttLine
		for i, h := range s.Hops {
			if h.Link != ir.LinkID(k) {
				continue
			}
			if r == nil {
				from, to := pf.Devices[link.From].Name, pf.Devices[link.To].Name
				name, title := shorten(from, 15)+" → "+shorten(to, 14), from+" → "+to
				if link.Medium != "" {
					title += ", shared medium " + link.Medium
				}
				r = row(name, title, true)
			}
			if drawn++; drawn > maxGanttBox {
				g.Left++
				continue
			}
			r.Boxes = append(r.Boxes, v.hopBox(i, r.Y, total))
		}
	}
	g.PlotH = float64(len(g.Rows)) * ganttRow
	g.Height = ganttAxis + g.PlotH + 8
	g.Ticks = ticks(total)
	return g
}

func (v *view) runBox(k int, y float64, total ir.Time) ganttBox {
	s, sub := v.p.Schedule, v.p.Plan.Submodels[k]
	run, q := s.Runs[k], v.l.Problem.Platform.Processors[sub.Processor]
	b := ganttBox{X: ganttLabel + scale(run.Start, total, ganttPlot), Y: y + 3, H: ganttRow - 6, Class: "run", Color: v.color(sub.Processor)}
	b.W = max(1, tenth(ganttLabel+scale(run.End, total, ganttPlot)-b.X))
	b.TextX = b.X + 5
	b.Title = v.ids[k] + "\n" + timeText(run.Start) + " to " + timeText(run.End) + " (" + timeText(run.End-run.Start) + ")\n" +
		countText(v.modelNodes(sub.Nodes)+v.modelNodes(sub.Replicas), "node", "nodes")
	b.Label = fitted(v.ids[k], b.W-8)
	if v.critical.runs[k] {
		b.Class += " critical"
		b.Title += "\non the critical path"
	}
	at := run.Start
	part := func(class string, d ir.Time) {
		if d <= 0 {
			return
		}
		x := ganttLabel + scale(at, total, ganttPlot)
		at += d
		w := tenth(ganttLabel + scale(at, total, ganttPlot) - x)
		b.Title += "\n" + class + " " + timeText(d)
		if w >= 0.3 {
			b.Parts = append(b.Parts, ganttPart{x, w, class})
		}
	}
	part("launch", q.Launch)
	var up, down, compute ir.Time
	if q.Upload != nil {
		for _, id := range run.Uploads {
			up += q.Upload.Time(v.l.Problem.Graph.Bytes(id))
		}
	}
	if q.Download != nil {
		for _, id := range run.Downloads {
			down += q.Download.Time(v.l.Problem.Graph.Bytes(id))
		}
	}
	compute = run.End - run.Start - q.Launch - up - down
	part("upload", up)
	part("compute", compute)
	part("download", down)
	return b
}

func (v *view) hopBox(i int, y float64, total ir.Time) ganttBox {
	h, g := v.p.Schedule.Hops[i], v.l.Problem.Graph
	b := ganttBox{X: ganttLabel + scale(h.Start, total, ganttPlot), Y: y + 7, H: ganttRow - 14, Class: "transfer"}
	b.W = max(1, tenth(ganttLabel+scale(h.Free, total, ganttPlot)-b.X))
	b.TextX = b.X + 4
	b.TailX = ganttLabel + scale(h.Arrive, total, ganttPlot)
	b.TailVisible = b.TailX > b.X+b.W+0.5
	name := g.ValueName(h.Value)
	b.Label = fitted(name, b.W-6)
	b.Title = shorten(name, 200) + "\n" + bytesText(g.Bytes(h.Value)) + ", for " + v.l.Problem.Platform.Devices[h.For].Name + "\n" +
		timeText(h.Start) + " to " + timeText(h.Free) + ", there at " + timeText(h.Arrive)
	if v.critical.hops[i] {
		b.Class += " critical"
		b.Title += "\non the critical path"
	}
	return b
}

// fitted is a label cut to a width, or nothing where less than a few characters fit.
func fitted(s string, width float64) string {
	n := int(width / charWidth)
	if n < 7 && len([]rune(s)) > n {
		return ""
	}
	return shorten(s, n)
}

func share(a, b ir.Time) float64 {
	if b <= 0 {
		return 0
	}
	return float64(a) / float64(b)
}

// ticks are round moments, four to ten of them.
func ticks(total ir.Time) []ganttTick {
	if total <= 0 {
		return nil
	}
	step := ir.Time(1)
	for k := 0; total/step > 10; k++ {
		if k%3 == 1 {
			step = step / 2 * 5 // 1, 2, 5, 10, 20, ...
		} else {
			step *= 2
		}
	}
	unit, name := ir.Nanosecond, "ns"
	for _, u := range []struct {
		unit ir.Time
		name string
	}{{ir.Microsecond, "us"}, {ir.Millisecond, "ms"}, {ir.Second, "s"}} {
		if step >= u.unit/10 && total >= u.unit {
			unit, name = u.unit, u.name
		}
	}
	var out []ganttTick
	for t := ir.Time(0); t <= total; t += step {
		text := strconv.FormatFloat(float64(t)/float64(unit), 'f', -1, 64)
		if t > total-step {
			text += " " + name
		}
		out = append(out, ganttTick{ganttLabel + scale(t, total, ganttPlot), text})
	}
	return out
}
