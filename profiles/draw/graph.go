package draw

import (
	"fmt"
	"html"
	"math"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// DOT draws the fleet for Graphviz: a cluster for each device.
func DOT(f *profiles.Fleet) string {
	p := f.Platform
	var b strings.Builder
	b.WriteString("digraph fleet {\n  compound=true; rankdir=LR; fontname=\"Helvetica\"; node [shape=box, style=rounded, fontname=\"Helvetica\"]; edge [fontname=\"Helvetica\", fontsize=10];\n")
	first := make([]int, len(p.Devices))
	for d := range p.Devices {
		fmt.Fprintf(&b, "  subgraph cluster_%d {\n    label=%s; style=rounded;\n", d, quote(title(p, ir.DeviceID(d))+"\n"+memoryText(p.Devices[d].MemoryBytes)))
		first[d] = -1
		for q := range p.Processors {
			if p.Processors[q].Device != ir.DeviceID(d) {
				continue
			}
			if first[d] < 0 {
				first[d] = q
			}
			fmt.Fprintf(&b, "    p%d [label=%s];\n", q, quote(processorText(f, q)))
		}
		b.WriteString("  }\n")
	}
	for _, l := range Lines(f) {
		dir := ""
		if l.Both {
			dir = ", dir=both"
		}
		fmt.Fprintf(&b, "  p%d -> p%d [ltail=cluster_%d, lhead=cluster_%d, label=%s%s];\n", first[l.A], first[l.B], l.A, l.B, quote(l.Label()), dir)
	}
	b.WriteString("}\n")
	return b.String()
}

func quote(s string) string {
	s = strings.ReplaceAll(s, `\`, `\\`)
	s = strings.ReplaceAll(s, `"`, `\"`)
	return `"` + strings.ReplaceAll(s, "\n", `\n`) + `"`
}

func memoryText(n int64) string {
	if n == ir.UnlimitedBytes {
		return "no memory limit"
	}
	return profiles.FormatBytes(n)
}

func processorText(f *profiles.Fleet, q int) string {
	hard, soft := &f.Platform.Processors[q], &f.Processors[q]
	text := processorName(f.Platform, q)
	if text != hard.Kind {
		text += " (" + hard.Kind + ")"
	}
	text += "\n" + Peaks(soft) + "\n" + profiles.FormatDataRate(round(soft.MemoryBytesPerSecond))
	if c := f.Costs(ir.ProcID(q)); c != nil {
		text += fmt.Sprintf("\n%d measured costs", len(c.Entries))
	}
	return text
}

// SVG draws the fleet as a picture: devices on a circle, lines between them.
func SVG(f *profiles.Fleet) string {
	const (
		boxWidth   = 250.0
		lineHeight = 16.0
		margin     = 30.0
	)
	p := f.Platform
	texts := make([][]string, len(p.Devices))
	tallest := 0.0
	for d := range p.Devices {
		texts[d] = append(texts[d], title(p, ir.DeviceID(d)), memoryText(p.Devices[d].MemoryBytes))
		for q := range p.Processors {
			if p.Processors[q].Device == ir.DeviceID(d) {
				texts[d] = append(texts[d], wrap(processorText(f, q), 38)...)
			}
		}
		tallest = max(tallest, float64(len(texts[d]))*lineHeight+12)
	}
	n := float64(len(p.Devices))
	radius := 0.0
	if n > 1 {
		radius = max(boxWidth, tallest) * max(1, 0.75/math.Sin(math.Pi/max(n, 2)))
	}
	width, height := 2*(radius+boxWidth/2+margin), 2*(radius+tallest/2+margin)
	center := func(d ir.DeviceID) (x, y float64) {
		angle := 2*math.Pi*float64(d)/n - math.Pi/2
		return width/2 + radius*math.Cos(angle), height/2 + radius*math.Sin(angle)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" font-family="Helvetica, Arial, sans-serif" font-size="12">`+"\n", width, height, width, height)
	b.WriteString(`<defs><marker id="arrow" viewBox="0 0 10 10" refX="5" refY="5" markerWidth="9" markerHeight="9" orient="auto-start-reverse"><path d="M0 0L10 5L0 10z" fill="#555"/></marker></defs>` + "\n")
	b.WriteString(`<rect width="100%" height="100%" fill="white"/>` + "\n")
	type pair struct{ a, b ir.DeviceID }
	drawn := map[pair]int{}
	for _, l := range Lines(f) {
		x1, y1 := center(l.A)
		x2, y2 := center(l.B)
		// Several lines between two devices bend apart.
		top, bottom := ends(l)
		k := drawn[pair{top, bottom}]
		drawn[pair{top, bottom}]++
		length := max(math.Hypot(x2-x1, y2-y1), 1)
		bend := 30 * float64((k+1)/2) * float64(1-2*(k%2))
		mx, my := (x1+x2)/2-bend*(y2-y1)/length, (y1+y2)/2+bend*(x2-x1)/length
		dash := ""
		if l.Medium != "" {
			dash = ` stroke-dasharray="6 4"`
		}
		fmt.Fprintf(&b, `<path d="M%.1f %.1fQ%.1f %.1f %.1f %.1f" fill="none" stroke="#555" stroke-width="1.5"%s/>`+"\n", x1, y1, 2*mx-(x1+x2)/2, 2*my-(y1+y2)/2, x2, y2, dash)
		if !l.Both {
			fmt.Fprintf(&b, `<path d="M%.1f %.1fL%.1f %.1f" stroke="none" marker-end="url(#arrow)"/>`+"\n", mx-(x2-x1)/length, my-(y2-y1)/length, mx+(x2-x1)/length*14, my+(y2-y1)/length*14)
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%.1f" text-anchor="middle" stroke="white" stroke-width="4" paint-order="stroke">%s</text>`+"\n", mx, my-4, html.EscapeString(l.Label()))
	}
	for d := range p.Devices {
		x, y := center(ir.DeviceID(d))
		h := float64(len(texts[d]))*lineHeight + 12
		fmt.Fprintf(&b, `<rect x="%.1f" y="%.1f" width="%.0f" height="%.1f" rx="8" fill="#f4f7fb" stroke="#333"/>`+"\n", x-boxWidth/2, y-h/2, boxWidth, h)
		for i, line := range texts[d] {
			weight := ""
			if i == 0 {
				weight = ` font-weight="bold"`
			}
			fmt.Fprintf(&b, `<text x="%.1f" y="%.1f"%s>%s</text>`+"\n", x-boxWidth/2+10, y-h/2+float64(i+1)*lineHeight, weight, html.EscapeString(line))
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// wrap breaks text into lines of at most so many characters, at commas where it can.
func wrap(text string, most int) []string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		for len(line) > most {
			at := strings.LastIndex(line[:most], ", ")
			if at < 0 {
				break
			}
			out = append(out, line[:at+1])
			line = "  " + line[at+2:]
		}
		out = append(out, line)
	}
	return out
}
