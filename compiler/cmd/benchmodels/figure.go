package main

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// The figure has a panel for each network: processors to the right, the objective upwards, on a logarithmic scale. All
// lengths are in pixels.
const (
	across      = 4
	panelWidth  = 292
	panelHeight = 232
	marginLeft  = 50
	marginRight = 14
	marginTop   = 34
	marginFoot  = 34
	border      = 18
	headHeight  = 86
)

// style is how a line is drawn. Colours are those of Okabe and Ito, which the colour-blind can tell apart; marks
// differ as well.
type style struct {
	key, label, colour, mark, dash string
	width                          float64
}

func styles() []style {
	return []style{
		{"single", "best single processor", "#555555", "square", "", 1.4},
		{"heft", "HEFT, projected", "#E69F00", "triangle", "", 1.4},
		{"peft", "PEFT, projected", "#D55E00", "triangle", "2 3", 1.4},
		{"greedy", "greedy", "#CC79A7", "diamond", "", 1.4},
		{"min-cut", "min-cut, two processors", "#56B4E9", "cross", "", 1.4},
		{"metis", "METIS, best assignment", "#009E73", "plus", "", 1.4},
		{"random", "best of 1,000 random", "#8C6D46", "ring", "", 1.4},
		{"bound", "lower bound", "#0072B2", "", "4 3", 1.2},
		{"ours", "dnnsplit", "#0B3C8C", "dot", "", 2.6},
	}
}

func (p *point) value(key string) float64 {
	switch key {
	case "ours":
		return p.ours
	case "bound":
		return p.bound
	}
	return p.base[key]
}

// cutOff is how many times our largest value an axis shows at most: what lies above is drawn at its upper edge.
const cutOff = 12

type drawing struct{ bytes.Buffer }

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(&d.Buffer, format+"\n", args...) }

func (d *drawing) text(x, y float64, class, anchor, s string) {
	var esc strings.Builder
	_ = xml.EscapeText(&esc, []byte(s)) // a Builder takes all
	d.printf(`<text class="%s" x="%.1f" y="%.1f" text-anchor="%s">%s</text>`, class, x, y, anchor, esc.String())
}

// figure draws all series as SVG.
func figure(all []series, o ir.Objective) []byte {
	d := &drawing{}
	columns := min(across, len(all))
	rows := (len(all) + columns - 1) / columns
	width := 2*border + max(columns, 3)*panelWidth
	height := headHeight + rows*panelHeight + border
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d">`, width, height, width, height)
	d.printf(`<style>text{font-family:"Helvetica Neue",Helvetica,Arial,"Liberation Sans",sans-serif;fill:#222}.head{font-size:17px;font-weight:600}.name{font-size:13px;font-weight:600}.note{font-size:11px;fill:#666}.tick{font-size:10.5px;fill:#444}.key{font-size:12px}</style>`)
	d.printf(`<rect width="%d" height="%d" fill="#ffffff"/>`, width, height)
	what := "Latency of one inference"
	if o == ir.Throughput {
		what = "Time for each inference in a stream (bottleneck)"
	}
	d.text(border, 28, "head", "start", what+" by number of processors")
	d.text(float64(width-border), 28, "note", "end", "milliseconds, logarithmic; lower is better")
	d.legend(border, 50, width-2*border)
	for i := range all {
		x, y := border+i%columns*panelWidth, headHeight+i/columns*panelHeight
		d.panel(&all[i], float64(x), float64(y))
	}
	d.printf("</svg>")
	return d.Bytes()
}

func (d *drawing) legend(left, top, width int) {
	list := styles()
	const perRow = 4
	step := float64(width) / perRow
	order := append([]style{list[len(list)-1]}, list[:len(list)-1]...) // ours first
	for i, s := range order {
		x, y := float64(left)+float64(i%perRow)*step, float64(top)+float64(i/perRow)*18
		d.line(s, [][2]float64{{x, y}, {x + 28, y}})
		d.mark(s, x+14, y)
		d.text(x+36, y+4, "key", "start", s.label)
	}
}

// scale maps values to heights.
type scale struct {
	low, high   float64 // logarithms
	top, bottom float64
}

func (s scale) at(x float64) float64 {
	t := (math.Log(x) - s.low) / (s.high - s.low)
	return s.bottom - max(0, min(1, t))*(s.bottom-s.top)
}

func (d *drawing) panel(line *series, left, top float64) {
	x0, x1 := left+marginLeft, left+panelWidth-marginRight
	s := scale{top: top + marginTop, bottom: top + panelHeight - marginFoot}
	least, largest, ours := math.Inf(1), 0.0, 0.0
	for i := range line.points {
		p := &line.points[i]
		for _, st := range styles() {
			if v := p.value(st.key); !math.IsNaN(v) && v > 0 {
				least, largest = min(least, v), max(largest, v)
			}
		}
		if !math.IsNaN(p.ours) {
			ours = max(ours, p.ours)
		}
	}
	d.text(x0, top+20, "name", "start", line.name)
	d.text(x1, top+20, "note", "end", fmt.Sprintf("%d nodes", line.nodes))
	if ours == 0 {
		d.text((x0+x1)/2, (s.top+s.bottom)/2, "note", "middle", "no feasible placement")
		return
	}
	cut := largest > cutOff*ours
	if cut {
		largest = cutOff * ours
	}
	s.low, s.high = math.Log(least)-0.08, math.Log(largest)+0.08
	for _, v := range ticks(math.Exp(s.low), math.Exp(s.high)) {
		y := s.at(v)
		d.printf(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#e4e4e4"/>`, x0, y, x1, y)
		d.text(x0-6, y+3.5, "tick", "end", short(v/1000))
	}
	first, last := line.points[0].procs, line.points[len(line.points)-1].procs
	at := func(procs int) float64 {
		return x0 + 10 + float64(procs-first)/float64(max(1, last-first))*(x1-x0-20)
	}
	for _, p := range line.points {
		d.printf(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#888"/>`, at(p.procs), s.bottom, at(p.procs), s.bottom+3)
		d.text(at(p.procs), s.bottom+15, "tick", "middle", fmt.Sprint(p.procs))
	}
	d.printf(`<path d="M%.1f %.1fV%.1fH%.1f" fill="none" stroke="#888"/>`, x0, s.top, s.bottom, x1)
	if cut {
		d.text(x1, s.top-3, "note", "end", fmt.Sprintf("▲ above %s", short(largest/1000)))
	}
	for _, st := range styles() {
		var run [][2]float64
		flush := func() {
			if len(run) > 1 {
				d.line(st, run)
			}
			run = nil
		}
		for i := range line.points {
			p := &line.points[i]
			v := p.value(st.key)
			if math.IsNaN(v) || v <= 0 {
				flush()
				continue
			}
			x, y := at(p.procs), s.at(v)
			run = append(run, [2]float64{x, y})
			if v > largest*1.0001 {
				d.printf(`<path d="M%.1f %.1fl-3.5 6h7z" fill="%s"/>`, x, s.top-1, st.colour)
			} else {
				d.mark(st, x, y)
			}
		}
		flush()
	}
}

func (d *drawing) line(s style, points [][2]float64) {
	var path strings.Builder
	for i, p := range points {
		c := "L"
		if i == 0 {
			c = "M"
		}
		fmt.Fprintf(&path, "%s%.1f %.1f", c, p[0], p[1])
	}
	dash := ""
	if s.dash != "" {
		dash = fmt.Sprintf(` stroke-dasharray="%s"`, s.dash)
	}
	d.printf(`<path d="%s" fill="none" stroke="%s" stroke-width="%.1f" stroke-linejoin="round"%s/>`, path.String(), s.colour, s.width, dash)
}

func (d *drawing) mark(s style, x, y float64) {
	const r = 3.2
	path := func(shape string) {
		d.printf(`<path d="%s" fill="%s"/>`, shape, s.colour)
	}
	switch s.mark {
	case "dot":
		d.printf(`<circle cx="%.1f" cy="%.1f" r="4" fill="%s"/>`, x, y, s.colour)
	case "ring":
		d.printf(`<circle cx="%.1f" cy="%.1f" r="2.8" fill="#fff" stroke="%s" stroke-width="1.3"/>`, x, y, s.colour)
	case "square":
		d.printf(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, x-r+0.4, y-r+0.4, 2*r-0.8, 2*r-0.8, s.colour)
	case "triangle":
		path(fmt.Sprintf("M%.1f %.1fl%.1f %.1fh%.1fz", x, y-r-0.4, r+0.2, 2*r, -2*r-0.4))
	case "diamond":
		path(fmt.Sprintf("M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz", x, y-r-0.6, r, r+0.6, -r, r+0.6, -r, -r-0.6))
	case "cross":
		d.printf(`<path d="M%.1f %.1fl6 6m0 -6l-6 6" stroke="%s" stroke-width="1.5" fill="none"/>`, x-3, y-3, s.colour)
	case "plus":
		d.printf(`<path d="M%.1f %.1fv7m-3.5 -3.5h7" stroke="%s" stroke-width="1.5" fill="none"/>`, x, y-3.5, s.colour)
	}
}

// ticks are round numbers between two values: 1, 2 and 5 times powers of ten, or powers alone where those are many.
func ticks(low, high float64) []float64 {
	steps := []float64{1, 2, 5}
	if high/low > 400 {
		steps = steps[:1]
	} else if high/low < 2.5 {
		steps = []float64{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 7, 8, 9}
	}
	var list []float64
	for power := math.Pow(10, math.Floor(math.Log10(low))); power <= high; power *= 10 {
		for _, s := range steps {
			if v := power * s; v >= low && v <= high {
				list = append(list, v)
			}
		}
	}
	return list
}

// short prints a round number without needless digits.
func short(x float64) string { return fmt.Sprintf("%.3g", x) }
