// Package draw shows a fleet: as text for a terminal, for Graphviz, and as SVG. It
// also says what is likely to be a mistake in a fleet that is valid.
package draw

import (
	"fmt"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// Line is a link, or two of the same properties in both directions.
type Line struct {
	A, B   ir.DeviceID // from A to B
	Both   bool        // and back
	Way    ir.Copy
	Medium string
}

// Lines are the links of a fleet, in the order of its first ones.
func Lines(f *profiles.Fleet) []Line {
	links := f.Platform.Links
	type key struct {
		from, to ir.DeviceID
		way      ir.Copy
		medium   string
	}
	open := map[key][]int{} // lines that lack their way back
	var lines []Line
	for _, l := range links {
		back := key{l.To, l.From, l.Copy, l.Medium}
		if at := open[back]; len(at) > 0 {
			lines[at[0]].Both = true
			open[back] = at[1:]
			continue
		}
		k := key{l.From, l.To, l.Copy, l.Medium}
		open[k] = append(open[k], len(lines))
		lines = append(lines, Line{A: l.From, B: l.To, Way: l.Copy, Medium: l.Medium})
	}
	return lines
}

// Name is how a line is called: a letter, or a number behind it where letters run out.
func Name(i int) string {
	name := string(rune('a' + i%26))
	if i >= 26 {
		name += fmt.Sprint(i / 26)
	}
	return name
}

// Label says what a line carries and how fast: "941Mbit/s, 200us, medium wifi".
func (l Line) Label() string {
	text := l.Rate() + ", " + profiles.FormatTime(l.Way.Latency)
	if l.Medium != "" {
		text += ", medium " + l.Medium
	}
	return text
}

// Rate is the bandwidth of the line in bits per second.
func (l Line) Rate() string { return profiles.FormatBitRate(round(l.Way.BytesPerUs*8e6) / 8) }

const bullet = "  · " // before a processor

// mostColumns is how many lines a drawing of text has side by side.
const mostColumns = 12

// Text draws devices below one another, with a bracket for each line between the
// two that it joins; an arrow tells the end of a line in one direction. Lines whose
// brackets do not overlap share a column. With more than 12 columns there is no
// such drawing, and the result is "".
//
//	camera (source) ─a─┐
//	  · cpu            │
//	server          ─a─┘
//	  · gpu
func Text(f *profiles.Fleet) string {
	p := f.Platform
	lines := Lines(f)
	column := make([]int, len(lines))
	var free []ir.DeviceID // by column: the device from which on it is free
	// Short brackets stand inside of long ones.
	for _, i := range bySpan(lines) {
		top, bottom := ends(lines[i])
		c := 0
		for c < len(free) && !fits(lines, column, c, i, top, bottom) {
			c++
		}
		if c == len(free) {
			free = append(free, 0)
		}
		column[i] = c + 1
	}
	if len(free) > mostColumns {
		return ""
	}
	width := 0
	titles := make([]string, len(p.Devices))
	for d := range p.Devices {
		titles[d] = title(p, ir.DeviceID(d))
		width = max(width, len([]rune(titles[d])))
	}
	for q := range p.Processors {
		width = max(width, len([]rune(bullet+processorName(p, q))))
	}
	step := 4
	for i := range lines {
		step = max(step, len(Name(i))+3)
	}
	var b strings.Builder
	for d := range p.Devices {
		id := ir.DeviceID(d)
		// A row for each line that ends here, the first with the title.
		rows := rowsAt(lines, column, id)
		for r := range max(len(rows), 1) {
			head := strings.Repeat(" ", width)
			if r == 0 {
				head = titles[d] + strings.Repeat(" ", width-len([]rune(titles[d])))
			}
			cells := []rune(strings.Repeat(" ", (len(free)+1)*step+1))
			for i, l := range lines {
				top, bottom := ends(l)
				if top < id && id < bottom || top == id && passed(rows, i, r, true) || bottom == id && passed(rows, i, r, false) {
					cells[column[i]*step] = '│'
				}
			}
			if r < len(rows) {
				i := rows[r]
				top, _ := ends(lines[i])
				at := column[i] * step
				start := 1
				cells[0] = ' '
				for k := start; k < at; k++ {
					if cells[k] == '│' {
						cells[k] = '┼'
					} else {
						cells[k] = '─'
					}
				}
				if !lines[i].Both && lines[i].B == id {
					cells[start] = '◄'
				}
				cells[at] = map[bool]rune{true: '┐', false: '┘'}[top == id]
				copy(cells[at-step+2:], []rune(Name(i)))
			}
			b.WriteString(strings.TrimRight(head+string(cells), " "))
			b.WriteByte('\n')
		}
		for q := range p.Processors {
			if p.Processors[q].Device != id {
				continue
			}
			cells := []rune(strings.Repeat(" ", (len(free)+1)*step+1))
			for i, l := range lines {
				if top, bottom := ends(l); top <= id && id < bottom {
					cells[column[i]*step] = '│'
				}
			}
			name := bullet + processorName(p, q)
			b.WriteString(strings.TrimRight(name+strings.Repeat(" ", width-len([]rune(name)))+string(cells), " "))
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// processorName is that of a processor within its device; the only one of a device
// has none, and its kind says enough.
func processorName(p *ir.Platform, q int) string {
	device := p.Devices[p.Processors[q].Device].Name
	if p.Processors[q].Name == device {
		return p.Processors[q].Kind
	}
	return strings.TrimPrefix(p.Processors[q].Name, device+".")
}

// passed says whether the bracket of line i stands in row r of the device at its
// top (below its own row) or at its bottom (above it).
func passed(rows []int, i, r int, top bool) bool {
	for k, line := range rows {
		if line == i {
			return top && r > k || !top && r < k
		}
	}
	return false
}

// rowsAt are the lines that end at a device: first those from above, the innermost
// first, then those that go down, the outermost first. So brackets cross least.
func rowsAt(lines []Line, column []int, d ir.DeviceID) []int {
	var up, down []int
	for i, l := range lines {
		switch top, bottom := ends(l); d {
		case bottom:
			up = append(up, i)
		case top:
			down = append(down, i)
		}
	}
	order(up, func(x, y int) bool { return column[x] < column[y] })
	order(down, func(x, y int) bool { return column[x] > column[y] })
	return append(up, down...)
}

// order sorts a few indices, stably.
func order(list []int, before func(x, y int) bool) {
	for i := 1; i < len(list); i++ {
		for k := i; k > 0 && before(list[k], list[k-1]); k-- {
			list[k], list[k-1] = list[k-1], list[k]
		}
	}
}

func bySpan(lines []Line) []int {
	list := make([]int, len(lines))
	for i := range list {
		list[i] = i
	}
	span := func(i int) ir.DeviceID {
		top, bottom := ends(lines[i])
		return bottom - top
	}
	order(list, func(x, y int) bool { return span(x) < span(y) })
	return list
}

// fits says whether line i can stand in column c (0 is the first) without touching
// a bracket that is there.
func fits(lines []Line, column []int, c, i int, top, bottom ir.DeviceID) bool {
	for k := range lines {
		if k == i || column[k] != c+1 {
			continue
		}
		if t, b := ends(lines[k]); t < bottom && top < b || t == bottom || b == top {
			return false
		}
	}
	return true
}

// ends are the devices of a line, the first of the fleet first.
func ends(l Line) (top, bottom ir.DeviceID) { return min(l.A, l.B), max(l.A, l.B) }

func title(p *ir.Platform, d ir.DeviceID) string {
	text := p.Devices[d].Name
	var marks []string
	if p.Source == d {
		marks = append(marks, "source")
	}
	if p.Sink == d {
		marks = append(marks, "sink")
	}
	if len(marks) > 0 {
		text += " (" + strings.Join(marks, ", ") + ")"
	}
	return text
}
