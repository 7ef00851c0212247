package ir

import (
	"bufio"
	"io"
	"math"
	"strconv"
	"unicode/utf8"
)

// WriteProblem writes a dnnsplit/graph/v1 file: one entry a line, sections and
// keys in a fixed order, so that equal problems give equal bytes. Times are
// written so that they read back to the same picosecond. Problem.Submodels is
// an option and not part of the file.
func WriteProblem(w io.Writer, p *Problem) error {
	t := &writer{w: bufio.NewWriterSize(w, 1<<16)}
	g, pf := p.Graph, p.Platform
	t.raw("{\"schema\":\"" + GraphSchema + "\",\"name\":").str(g.Name)
	t.section("devices", len(pf.Devices), func(i int) {
		e := &pf.Devices[i]
		t.raw("{\"name\":").str(e.Name).limit(e.MemoryBytes).raw("}")
	})
	t.section("processors", len(pf.Processors), func(i int) {
		e := &pf.Processors[i]
		t.raw("{\"name\":").str(e.Name).raw(",\"device\":").str(pf.Devices[e.Device].Name).limit(e.MemoryBytes)
		if e.Launch != 0 {
			t.raw(",\"launch_us\":").time(e.Launch)
		}
		if e.MaxSubmodels != DefaultSubmodels {
			t.raw(",\"max_submodels\":").int(int64(e.MaxSubmodels))
		}
		if e.Upload != nil {
			t.raw(",\"upload\":{").copy(*e.Upload).raw("}")
		}
		if e.Download != nil {
			t.raw(",\"download\":{").copy(*e.Download).raw("}")
		}
		if e.Kind != "" {
			t.raw(",\"kind\":").str(e.Kind)
		}
		if e.Provider != "" {
			t.raw(",\"provider\":").str(e.Provider)
		}
		t.raw("}")
	})
	t.section("links", len(pf.Links), func(i int) {
		e := &pf.Links[i]
		t.raw("{\"from\":").str(pf.Devices[e.From].Name).raw(",\"to\":").str(pf.Devices[e.To].Name).raw(",").copy(e.Copy)
		if e.Medium != "" {
			t.raw(",\"medium\":").str(e.Medium)
		}
		t.raw("}")
	})
	if pf.Source != NoDevice {
		t.raw(",\n\"source\":").str(pf.Devices[pf.Source].Name)
	}
	if pf.Sink != NoDevice {
		t.raw(",\n\"sink\":").str(pf.Devices[pf.Sink].Name)
	}
	t.section("nodes", g.NumNodes(), func(i int) { t.node(p, NodeID(i)) })
	t.section("weights", g.NumWeights(), func(i int) {
		t.raw("{\"name\":").str(g.WeightName(WeightID(i))).raw(",\"bytes\":").int(g.WeightBytes(WeightID(i))).raw("}")
	})
	t.section("values", g.NumValues(), func(i int) {
		v := ValueID(i)
		t.raw("{\"name\":").str(g.ValueName(v)).raw(",\"bytes\":").int(g.Bytes(v))
		if g.ResidentBytes(v) != g.Bytes(v) {
			t.raw(",\"resident_bytes\":").int(g.ResidentBytes(v))
		}
		if g.IsInput(v) {
			t.raw(",\"graph_input\":true")
		}
		if g.IsOutput(v) {
			t.raw(",\"graph_output\":true")
		}
		t.raw("}")
	})
	t.raw("}\n")
	return t.w.Flush()
}

func (t *writer) node(p *Problem, n NodeID) {
	g := p.Graph
	t.raw("{\"name\":").str(g.NodeName(n))
	if op := g.Op(n); op != "" {
		t.raw(",\"op\":").str(op)
	}
	t.raw(",\"cost_us\":[")
	for i, c := range p.Costs.Row(n) {
		if i > 0 {
			t.raw(",")
		}
		if c == Unsupported {
			t.raw("null")
		} else {
			t.time(c)
		}
	}
	t.raw("]")
	if ws := g.Weights(n); len(ws) > 0 {
		t.list("weights", len(ws), func(i int) string { return g.WeightName(ws[i]) })
	}
	if id := g.Group(n); id != NoGroup {
		t.raw(",\"group\":").str(g.GroupName(id))
	}
	if g.Replicable(n) {
		t.raw(",\"replicable\":true")
	}
	ins, outs := g.Inputs(n), g.Outputs(n)
	t.list("inputs", len(ins), func(i int) string { return g.ValueName(ins[i]) })
	t.list("outputs", len(outs), func(i int) string { return g.ValueName(outs[i]) })
	t.raw("}")
}

// writer writes JSON; bufio keeps the first error for Flush.
type writer struct {
	w       *bufio.Writer
	scratch []byte
}

func (t *writer) raw(s string) *writer {
	_, _ = t.w.WriteString(s)
	return t
}

func (t *writer) int(n int64) *writer {
	t.scratch = strconv.AppendInt(t.scratch[:0], n, 10)
	_, _ = t.w.Write(t.scratch)
	return t
}

func (t *writer) float(x float64) *writer {
	format := byte('f')
	if a := math.Abs(x); a != 0 && (a < 1e-6 || a >= 1e15) {
		format = 'e'
	}
	t.scratch = strconv.AppendFloat(t.scratch[:0], x, format, -1, 64)
	_, _ = t.w.Write(t.scratch)
	return t
}

// time writes microseconds that read back to the same picosecond where there is such a number: always
// below 2^51 ps, and for every time that was read.
func (t *writer) time(x Time) *writer {
	us := x.Us()
	for _, near := range [...]float64{us, math.Nextafter(us, math.Inf(1)), math.Nextafter(us, 0)} {
		if Micros(near) == x {
			return t.float(near)
		}
	}
	return t.float(us)
}

func (t *writer) copy(c Copy) *writer {
	return t.raw("\"latency_us\":").time(c.Latency).raw(",\"bytes_per_us\":").float(c.BytesPerUs)
}

func (t *writer) limit(bytes int64) *writer {
	if bytes == UnlimitedBytes {
		return t
	}
	return t.raw(",\"memory_bytes\":").int(bytes)
}

func (t *writer) section(name string, n int, item func(i int)) {
	t.raw(",\n\"" + name + "\":[")
	for i := range n {
		if i > 0 {
			t.raw(",")
		}
		t.raw("\n ")
		item(i)
	}
	t.raw("]")
}

func (t *writer) list(name string, n int, item func(i int) string) {
	t.raw(",\"" + name + "\":[")
	for i := range n {
		if i > 0 {
			t.raw(",")
		}
		t.str(item(i))
	}
	t.raw("]")
}

// str writes a string; a byte that is not UTF-8 becomes a lone low surrogate (see scanner).
func (t *writer) str(s string) *writer {
	const hex = "0123456789abcdef"
	b := t.scratch[:0]
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
			i++
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			i++
		case c < utf8.RuneSelf:
			b = append(b, c)
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(b, '\\', 'u', 'd', 'c', hex[c>>4], hex[c&15])
			} else {
				b = append(b, s[i:i+n]...)
			}
			i += n
		}
	}
	b = append(b, '"')
	_, _ = t.w.Write(b)
	t.scratch = b
	return t
}
