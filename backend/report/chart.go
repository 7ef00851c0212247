package report

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"strconv"
)

// Chart is a drawing of one or more panels, as an SVG file that stands alone and
// follows the reader's choice of light or dark.
type Chart struct {
	Title  string
	Panels []Panel
	Legend []string // names of the series, by colour
}

// Panel is one pair of axes.
type Panel struct {
	X, Y   Axis
	Series []Series
}

// Axis is an axis with its label. Log needs positive values.
type Axis struct {
	Label string
	Log   bool
	Zero  bool                   // start at zero; not with Log
	Tick  func(v float64) string // text of a value; nil: the number
}

// Series are points of one colour.
type Series struct {
	Colour int // index into Chart.Legend
	Line   bool
	Points []Point
}

// Point is a point with what is shown while the pointer is on it.
type Point struct {
	X, Y  float64
	Title string
	Large bool
}

// chartColours can be told apart by most people with colour blindness (M. Okabe,
// K. Ito, "Color Universal Design", 2008), the last two added.
var chartColours = [...]string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c6d31"}

const (
	chartWidth  = 760
	panelHeight = 300
	panelLeft   = 86
	panelRight  = 24
	panelTop    = 20
	panelBottom = 48
)

// SVG draws the chart.
func (c *Chart) SVG() []byte {
	var b bytes.Buffer
	top := 46 + 20*((len(c.Legend)+2)/3)
	height := top + panelHeight*len(c.Panels)
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">`+"\n", chartWidth, height, chartWidth, height)
	b.WriteString(`<style>
.bg{fill:#fff}.ink{fill:#222}.dim{fill:#666}.grid{stroke:#ddd}.axis{stroke:#888;fill:none}
@media (prefers-color-scheme: dark){.bg{fill:#16181d}.ink{fill:#e8e8e8}.dim{fill:#a8a8a8}.grid{stroke:#333}.axis{stroke:#888}}
</style>
`)
	fmt.Fprintf(&b, `<rect class="bg" width="%d" height="%d"/>`+"\n", chartWidth, height)
	fmt.Fprintf(&b, `<text class="ink" x="16" y="26" font-size="15" font-weight="600">%s</text>`+"\n", html.EscapeString(c.Title))
	for i, name := range c.Legend {
		x, y := 16+(i%3)*245, 50+20*(i/3)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="12" height="12" rx="2" fill="%s"/><text class="ink" x="%d" y="%d">%s</text>`+"\n",
			x, y-10, chartColours[i%len(chartColours)], x+18, y, html.EscapeString(shortLabel(name, 34)))
	}
	for i := range c.Panels {
		c.Panels[i].draw(&b, float64(top+panelHeight*i))
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}

func shortLabel(s string, most int) string {
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

func (p *Panel) draw(b *bytes.Buffer, top float64) {
	x0, x1 := float64(panelLeft), float64(chartWidth-panelRight)
	y0, y1 := top+panelHeight-panelBottom, top+panelTop
	xs, ys := rangeOf(p, func(q Point) float64 { return q.X }, p.X), rangeOf(p, func(q Point) float64 { return q.Y }, p.Y)
	px := func(v float64) float64 { return x0 + (x1-x0)*xs.at(v) }
	py := func(v float64) float64 { return y0 + (y1-y0)*ys.at(v) }
	for _, v := range xs.ticks() {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><text class="dim" text-anchor="middle" x="%.1f" y="%.1f">%s</text>`+"\n",
			px(v), px(v), y0, y1, px(v), y0+18, html.EscapeString(p.X.text(v)))
	}
	for _, v := range ys.ticks() {
		fmt.Fprintf(b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/><text class="dim" text-anchor="end" x="%.1f" y="%.1f">%s</text>`+"\n",
			x0, x1, py(v), py(v), x0-8, py(v)+4, html.EscapeString(p.Y.text(v)))
	}
	fmt.Fprintf(b, `<path class="axis" d="M%.1f %.1fV%.1fH%.1f"/>`+"\n", x0, y1, y0, x1)
	fmt.Fprintf(b, `<text class="ink" text-anchor="middle" x="%.1f" y="%.1f">%s</text>`+"\n", (x0+x1)/2, y0+38, html.EscapeString(p.X.Label))
	fmt.Fprintf(b, `<text class="ink" text-anchor="middle" transform="translate(20 %.1f) rotate(-90)">%s</text>`+"\n", (y0+y1)/2, html.EscapeString(p.Y.Label))
	for _, s := range p.Series {
		colour := chartColours[s.Colour%len(chartColours)]
		if s.Line && len(s.Points) > 1 {
			fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="2" points="`, colour)
			for i, q := range s.Points {
				if i > 0 {
					b.WriteByte(' ')
				}
				fmt.Fprintf(b, "%.1f,%.1f", px(q.X), py(q.Y))
			}
			b.WriteString("\"/>\n")
		}
		for _, q := range s.Points {
			r := 3.5
			if q.Large {
				r = 6
			}
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s" fill-opacity="0.85"><title>%s</title></circle>`+"\n", px(q.X), py(q.Y), r, colour, html.EscapeString(q.Title))
		}
	}
}

func (a Axis) text(v float64) string {
	if a.Tick != nil {
		return a.Tick(v)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// axisRange maps values to [0,1].
type axisRange struct {
	low, high float64
	log       bool
}

func rangeOf(p *Panel, of func(Point) float64, a Axis) axisRange {
	s := axisRange{low: math.Inf(1), high: math.Inf(-1), log: a.Log}
	for _, l := range p.Series {
		for _, q := range l.Points {
			s.low, s.high = min(s.low, of(q)), max(s.high, of(q))
		}
	}
	switch {
	case s.low > s.high: // nothing is drawn
		s.low, s.high, s.log = 0, 1, false
	case s.log && s.low <= 0:
		s.log = false
	}
	if s.log {
		if s.low == s.high {
			s.low, s.high = s.low/2, s.high*2
		}
		return s
	}
	if a.Zero {
		s.low = min(s.low, 0)
	}
	if s.low == s.high {
		s.low, s.high = s.low-max(math.Abs(s.low)/10, 1e-9), s.high+max(math.Abs(s.high)/10, 1e-9)
	}
	room := (s.high - s.low) * 0.05
	s.high += room
	if !a.Zero {
		s.low -= room
	}
	return s
}

func (s axisRange) at(v float64) float64 {
	if s.log {
		return math.Log(v/s.low) / math.Log(s.high/s.low)
	}
	return (v - s.low) / (s.high - s.low)
}

// ticks are round values within the scale: 1, 2 and 5 times powers of ten.
func (s axisRange) ticks() []float64 {
	var out []float64
	if s.log {
		decades := math.Log10(s.high / s.low)
		steps := []float64{1, 2, 5}
		if decades > 4 {
			steps = steps[:1]
		}
		for e := math.Floor(math.Log10(s.low)); e <= math.Ceil(math.Log10(s.high)); e++ {
			for _, m := range steps {
				if v := m * math.Pow(10, e); v >= s.low*0.999 && v <= s.high*1.001 {
					out = append(out, v)
				}
			}
		}
		if len(out) > 1 {
			return out
		}
		return []float64{s.low, s.high}
	}
	raw := (s.high - s.low) / 5
	step := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5, 10} {
		if step*m >= raw {
			step *= m
			break
		}
	}
	for v := math.Ceil(s.low/step) * step; v <= s.high && len(out) < 20; v += step {
		out = append(out, math.Round(v/step)*step)
	}
	return out
}
