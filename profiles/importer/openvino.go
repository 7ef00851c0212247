package importer

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// benchmark_app writes counters as CSV with ";" between columns: a block for each
// request (detailed_counters) or one of averages, each with a header, a row a node
// and a total; or as JSON with -json_stats. Times are milliseconds where the header
// says so, and in the JSON; before that they were microseconds. A node's name is the
// friendly name of the runtime's graph: that of the ONNX node or of its output.
// Source: samples/cpp/benchmark_app/statistics_report.cpp of OpenVINO.

// ovReader collects rows; each block is a run.
type ovReader struct {
	t       *trace
	byKey   map[string]int
	samples [][]sample
	block   int32
	rows    int
	size    int
	idle    int // rows of nodes that did not run
}

func newOVReader(file string) *ovReader {
	return &ovReader{t: &trace{file: file, format: OVCounters}, byKey: map[string]int{}}
}

// add takes a row; us < 0 is no time.
func (r *ovReader) add(name, status, kind string, us float64) error {
	if r.rows++; r.rows > maxEvents {
		return fmt.Errorf("it has more than %d rows", maxEvents)
	}
	status = strings.TrimPrefix(status, "Status.")
	if status != "EXECUTED" && us == 0 || status == "NOT_RUN" || status == "OPTIMIZED_OUT" {
		r.idle++
		return nil
	}
	if !(us >= 0 && us <= 1e15) {
		return fmt.Errorf("%w: node %.60q has the time %g us", errSyntax, name, us)
	}
	key := name + "\x00" + kind
	id, ok := r.byKey[key]
	if !ok {
		if r.size += len(key); len(r.t.layers) == maxLayers || r.size > maxNameBytes {
			return fmt.Errorf("it names more than %d nodes, or their names take more than %d bytes", maxLayers, maxNameBytes)
		}
		id = len(r.t.layers)
		r.byKey[key] = id
		l := layer{name: name, op: kind, index: -1, order: id}
		switch kind {
		case "Reorder", "Convert":
			l.copies = kind == "Reorder"
		case "Parameter", "Input", "Result", "Output", "Const", "Constant":
			l.own = true
		}
		r.t.layers = append(r.t.layers, l)
		r.samples = append(r.samples, nil)
	}
	r.samples[id] = append(r.samples[id], sample{r.block, us})
	return nil
}

func (r *ovReader) finish() (*trace, error) {
	t := r.t
	if len(t.layers) == 0 {
		return nil, fileError(t.file, 0, "no node in it ran")
	}
	t.runs = max(int(r.block), 1)
	for i := range t.layers {
		t.layers[i].summarize(r.samples[i])
		t.runUs += t.layers[i].us
	}
	if r.idle > 0 {
		t.notes = append(t.notes, fmt.Sprintf("%s: %s of nodes that were fused into others or optimised out have no time", t.file, diag.Count(r.idle, "row", "rows")))
	}
	return t, nil
}

// ovColumns are where a header has its columns; -1 if it has none.
type ovColumns struct {
	name, status, kind, real, n int
	scale                       float64 // to microseconds
}

func ovHeader(cells []string) (ovColumns, bool) {
	c := ovColumns{-1, -1, -1, -1, len(cells), 1}
	for i, cell := range cells {
		switch cell = strings.TrimSpace(cell); {
		case cell == "layerName":
			c.name = i
		case cell == "execStatus":
			c.status = i
		case cell == "layerType":
			c.kind = i
		case strings.HasPrefix(cell, "realTime"):
			c.real = i
			if strings.Contains(cell, "(ms)") {
				c.scale = 1e3
			}
		}
	}
	return c, c.name == 0 && c.real > 0
}

// readOVTable reads the CSV form.
func readOVTable(file string, in *bufio.Reader) (*trace, error) {
	r := newOVReader(file)
	var c ovColumns
	have := false
	for line := 1; ; line++ {
		text, err := readLine(in)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fileError(file, line, "%v", err)
		}
		last := err != nil
		text = strings.TrimRight(strings.TrimPrefix(text, "\ufeff"), "\r\n")
		switch cells := strings.Split(text, ";"); {
		case strings.TrimSpace(text) == "":
		case len(cells) > 1 && strings.TrimSpace(cells[0]) == "layerName":
			var ok bool
			if c, ok = ovHeader(cells); !ok {
				return nil, fileError(file, line, "the header names no column realTime")
			}
			r.block++
			have = true
		case !have:
			return nil, fileError(file, line, "expected the header layerName;execStatus;layerType;execType;realTime (ms);cpuTime (ms)")
		case cells[0] == "Total":
		default:
			if !utf8.ValidString(text) {
				return nil, fileError(file, line, "the line is not UTF-8 text")
			}
			// Names can hold the separator: what is too much is part of the name.
			extra := len(cells) - c.n
			if extra < 0 {
				if last {
					r.t.truncated = true
					break
				}
				return nil, fileError(file, line, "it has %s, the header %d", diag.Count(len(cells), "column", "columns"), c.n)
			}
			name := strings.Join(cells[:extra+1], ";")
			at := func(i int) string {
				if i < 0 {
					return ""
				}
				return strings.TrimSpace(cells[i+extra])
			}
			us, ok := ovTime(at(c.real), c.scale)
			if !ok {
				return nil, fileError(file, line, "realTime: %.40q is no time", at(c.real))
			}
			if err := r.add(name, at(c.status), at(c.kind), us); err != nil {
				return nil, fileError(file, line, "%v", err)
			}
		}
		if last {
			return r.finish()
		}
	}
}

// readLine reads a line of bounded length; io.EOF comes with the last one.
func readLine(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		part, err := in.ReadSlice('\n')
		if b.Write(part); b.Len() > 4*maxText {
			return "", fmt.Errorf("the line is longer than %d bytes", 4*maxText)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return b.String(), err
		}
	}
}

// ovTime reads a time: a number in the header's unit, or h:mm:ss.ffffff, as the
// Python tool writes it.
func ovTime(text string, scale float64) (us float64, ok bool) {
	if parts := strings.Split(text, ":"); len(parts) == 3 {
		for _, p := range parts {
			v, err := strconv.ParseFloat(p, 64)
			if err != nil || !(v >= 0) {
				return 0, false
			}
			us = float64(60*us) + v
		}
		return 1e6 * us, us < 1e9
	}
	v, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
	return v * scale, err == nil && v >= 0 && v < 1e12
}

// readOVJSON reads the JSON form.
func readOVJSON(file string, s *scanner) (*trace, error) {
	r := newOVReader(file)
	found := false
	performance := func() error { // an object with nodes
		return s.object(func(key string) error {
			if key != "nodes" {
				return s.skip()
			}
			found = true
			r.block++
			return s.array(func() error {
				var name, status, kind string
				us, ok := -1.0, false
				err := s.object(func(key string) (err error) {
					switch key {
					case "name":
						name, _, err = s.scalar()
					case "status":
						status, _, err = s.scalar()
					case "node_type":
						kind, _, err = s.scalar()
					case "real_time":
						us, ok, err = s.number()
						us *= 1e3
					default:
						err = s.skip()
					}
					return err
				})
				if err != nil {
					return err
				}
				if !ok {
					return fmt.Errorf("%w: node %.60q has no real_time", errSyntax, name)
				}
				return r.add(name, status, kind, us)
			})
		})
	}
	err := s.object(func(key string) error {
		switch key {
		case "avg_performance":
			return performance()
		case "detailed_performance":
			kind, err := s.peek()
			switch {
			case err != nil:
				return err
			case kind == '[':
				return s.array(performance)
			}
			return performance()
		}
		return s.skip()
	})
	switch {
	case errors.Is(err, errEnd) && found:
		r.t.truncated = true
		r.t.notes = append(r.t.notes, file+": the file ends too early; what is whole was read")
	case err != nil:
		return nil, fileError(file, s.line, "%v", err)
	case !found:
		return nil, fileError(file, 0, "expected counters of benchmark_app -json_stats with -report_type average_counters or detailed_counters, found no nodes")
	}
	return r.finish()
}
