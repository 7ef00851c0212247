package importer

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// ONNX Runtime writes a JSON array of Chrome trace events, one a line: a Node event
// for each kernel, and Session events of which model_run spans a run. Numbers in
// args are texts. Nodes of nested graphs have events of their own inside the
// interval of the node that holds the graph, written before it.

// ortEvent is one execution of a kernel.
type ortEvent struct {
	layer   int32
	run     int32 // noRun: of none
	tid     int64
	start   int64 // microseconds
	us      int64
	kernels float64 // microseconds on an accelerator that it started
	nested  bool
}

const noRun = -1

// rounding is how much the end of an event can be off: start and duration are cut to
// whole microseconds each.
const rounding = 1

type ortRun struct{ start, end, tid int64 }

type ortReader struct {
	s      *scanner
	t      *trace
	events []ortEvent
	runs   []ortRun
	byKey  map[string]int32
	bytes  int

	unreadable int
	worst      error // the first of them
	worstLine  int
	key        []byte
}

// readORT reads the events of a profile; s stands before its array.
func readORT(file string, s *scanner) (*ortReader, error) {
	r := &ortReader{s: s, t: &trace{file: file, format: ORTProfile}, byKey: map[string]int32{}}
	if err := s.expect('['); err != nil {
		return nil, fileError(file, s.line, "%v", err)
	}
	for {
		kind, err := s.peek()
		if err == nil && kind == ']' {
			break
		}
		if err == nil && kind == ',' {
			s.kind = 0
			continue
		}
		line := s.line
		if err == nil {
			err = r.event()
		}
		switch {
		case err == nil:
		case errors.Is(err, errEnd):
			r.t.truncated = true
		case errors.Is(err, errSyntax):
			if r.unreadable++; r.worst == nil {
				r.worst, r.worstLine = err, line
			}
			if r.unreadable > maxUnreadable {
				return nil, fileError(file, line, "more than %d lines cannot be read: %v", maxUnreadable, err)
			}
			if !s.skipLine() {
				r.t.truncated = true
			}
		default:
			return nil, fileError(file, line, "%v", err)
		}
		if r.t.truncated {
			break
		}
	}
	if len(r.events) == 0 {
		if r.worst != nil {
			return nil, fileError(file, r.worstLine, "%v", r.worst)
		}
		return nil, fileError(file, 0, "the profile holds no event of a node; was the model run before the profile ended?")
	}
	if r.unreadable > 0 {
		r.t.notes = append(r.t.notes, fmt.Sprintf("%s: left out lines that cannot be read, %d in all, the first is line %d: %v", file, r.unreadable, r.worstLine, r.worst))
	}
	if r.t.truncated {
		r.t.notes = append(r.t.notes, file+": the file ends before its array does (a session that crashed or still runs); what is whole was read")
	}
	return r, nil
}

// event reads one event.
func (r *ortReader) event() error {
	var cat, name, op, provider, outputs string
	var ts, dur, tid float64
	index := -1
	err := r.s.object(func(key string) (err error) {
		switch key {
		case "cat":
			cat, _, err = r.s.scalar()
		case "name":
			name, _, err = r.s.scalar()
		case "ts":
			ts, _, err = r.s.number()
		case "dur":
			dur, _, err = r.s.number()
		case "tid":
			tid, _, err = r.s.number()
		case "args":
			op, provider, outputs, index, err = r.args()
		default:
			err = r.s.skip()
		}
		return err
	})
	if err != nil {
		return err
	}
	const longest = 1e15 // microseconds: 30 years
	if !(dur >= 0 && dur <= longest && ts >= -longest && ts <= longest && tid >= -1e18 && tid <= 1e18) {
		return fmt.Errorf("%w: an event has the time %g and the duration %g", errSyntax, ts, dur)
	}
	switch cat {
	case "Session":
		if name == "model_run" {
			r.runs = append(r.runs, ortRun{int64(ts), int64(ts + dur), int64(tid)})
		}
	case "Kernel":
		// The kernels on an accelerator follow the event of the node that started them.
		if n := len(r.events); n > 0 {
			r.events[n-1].kernels += dur
		}
	case "Node":
		if strings.HasSuffix(name, "_fence_before") || strings.HasSuffix(name, "_fence_after") {
			return nil // of ONNX Runtime before 1.14: waiting for other streams
		}
		name = strings.TrimSuffix(name, "_kernel_time")
		id, err := r.layer(name, op, provider, outputs, index)
		if err != nil {
			return err
		}
		if len(r.events) == maxEvents {
			return fmt.Errorf("the profile has more than %d events", maxEvents)
		}
		r.events = append(r.events, ortEvent{layer: id, run: noRun, tid: int64(tid), start: int64(ts), us: int64(dur)})
	}
	return nil
}

// args reads what an event says of its node.
func (r *ortReader) args() (op, provider, outputs string, index int, err error) {
	index = -1
	if ok, err := r.s.opens('{'); !ok {
		return "", "", "", index, err
	}
	err = r.s.object(func(key string) (err error) {
		switch key {
		case "op_name":
			op, _, err = r.s.scalar()
		case "provider":
			provider, _, err = r.s.scalar()
		case "node_index", "graph_index": // the second is what versions before 1.14 call it
			var text string
			if text, _, err = r.s.scalar(); err == nil {
				if n, e := strconv.ParseUint(text, 10, 31); e == nil {
					index = int(n)
				}
			}
		case "output_type_shape":
			outputs, err = r.types()
		default:
			err = r.s.skip()
		}
		return err
	})
	return op, provider, outputs, index, err
}

// types reads [{"float":[1,64]},...] as "float32[1,64] ...".
func (r *ortReader) types() (string, error) {
	var b strings.Builder
	if ok, err := r.s.opens('['); !ok {
		return "", err
	}
	err := r.s.array(func() error {
		return r.s.object(func(elem string) error {
			if b.Len() > 0 {
				b.WriteByte(' ')
			}
			switch elem {
			case "float":
				elem = "float32"
			case "double":
				elem = "float64"
			}
			b.WriteString(elem)
			b.WriteByte('[')
			first := true
			if ok, err := r.s.opens('['); !ok {
				b.WriteByte(']')
				return err
			}
			err := r.s.array(func() error {
				text, _, err := r.s.scalar()
				if !first {
					b.WriteByte(',')
				}
				first = false
				if b.Len() < maxText {
					b.WriteString(text)
				}
				return err
			})
			b.WriteByte(']')
			return err
		})
	})
	return b.String(), err
}

// layer is the number of the layer with these properties.
func (r *ortReader) layer(name, op, provider, outputs string, index int) (int32, error) {
	r.key = append(append(append(append(r.key[:0], name...), 0), op...), 0)
	r.key = append(append(append(append(r.key, provider...), 0), outputs...), 0)
	r.key = strconv.AppendInt(r.key, int64(index), 10)
	if id, ok := r.byKey[string(r.key)]; ok {
		return id, nil
	}
	if r.bytes += len(r.key); len(r.t.layers) == maxLayers || r.bytes > maxNameBytes {
		return 0, fmt.Errorf("the profile names more than %d different nodes, or their names take more than %d bytes", len(r.t.layers), maxNameBytes)
	}
	id := int32(len(r.t.layers))
	r.byKey[string(r.key)] = id
	r.t.layers = append(r.t.layers, layer{name: name, op: op, provider: provider, index: index, outputs: outputs})
	return id, nil
}

// Operators that hold graphs, whose nodes have events of their own.
var holdsGraphs = [...]string{"If", "Loop", "Scan", "SequenceMap", "BeamSearch", "GreedySearch", "Sampling", "WhisperBeamSearch"}

// finish sorts events into runs, drops warm-up and what runs inside other nodes,
// and sums up.
func (r *ortReader) finish(warmUp int, names *names) *trace {
	t := r.t
	byStart := func(a, b ortRun) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.end, b.end)) }
	slices.SortStableFunc(r.runs, byStart)
	t.runs = len(r.runs)
	if t.runs > 0 {
		r.assign()
	} else {
		r.countRuns()
	}
	if warmUp >= t.runs {
		if warmUp > 0 && t.runs > 0 {
			t.notes = append(t.notes, fmt.Sprintf("%s: it holds %s only, so nothing is left out as warm-up and the times are too long", t.file, diag.Count(t.runs, "run", "runs")))
		}
		warmUp = 0
	}
	t.warmUp = warmUp
	whole := make([]float64, 0, len(r.runs))
	for _, run := range r.runs[min(warmUp, len(r.runs)):] {
		whole = append(whole, float64(run.end-run.start))
	}
	t.runUs, _ = quartiles(whole)
	r.nest(names)

	samples := make([][]sample, len(t.layers))
	starts := make([]int64, len(t.layers))
	for i := range r.events {
		e := &r.events[i]
		name, us := t.layers[e.layer].name, float64(e.us)
		if e.kernels > 0 {
			us = e.kernels
		}
		switch {
		case e.nested:
			t.left.add("inside another node, whose time holds theirs", name, 1, us).Aside = true
		case e.run == noRun && t.runs > 0:
			t.left.add("of a run that has no end in the file", name, 1, us).Aside = true
		case e.run != noRun && int(e.run) < warmUp:
			t.left.add("of the warm-up", name, 1, us).Aside = true
		default:
			samples[e.layer] = append(samples[e.layer], sample{e.run, us})
			base := int64(0)
			if e.run != noRun && int(e.run) < len(r.runs) {
				base = r.runs[e.run].start
			}
			if last := samples[e.layer]; len(last) == 1 || last[len(last)-2].run != e.run {
				starts[e.layer] = e.start - base // of the last run
			} else {
				starts[e.layer] = min(starts[e.layer], e.start-base)
			}
		}
	}
	kept := make([]int, 0, len(t.layers))
	for i := range t.layers {
		if len(samples[i]) > 0 {
			slices.SortStableFunc(samples[i], func(a, b sample) int { return cmp.Compare(a.run, b.run) })
			t.layers[i].summarize(samples[i])
			kept = append(kept, i)
		}
	}
	slices.SortStableFunc(kept, func(a, b int) int { return cmp.Compare(starts[a], starts[b]) })
	layers := make([]layer, 0, len(kept))
	for rank, i := range kept {
		l := t.layers[i]
		l.order = rank
		l.copies = isCopyOp(l.op, l.name)
		layers = append(layers, l)
	}
	t.layers = layers
	return t
}

// isCopyOp says whether ONNX Runtime inserts nodes of this operator and name to
// change a layout or to copy between processors.
func isCopyOp(op, name string) bool {
	switch op {
	case "ReorderInput", "ReorderOutput", "MemcpyFromHost", "MemcpyToHost":
		return true
	case "Cast":
		return strings.HasPrefix(name, "Inserted")
	}
	return false
}

// assign gives each event the run whose interval holds it; of several runs at one
// time the one on the same thread.
func (r *ortReader) assign() {
	const farthest = 64 // runs at one time
	for i := range r.events {
		e := &r.events[i]
		end := e.start + e.us
		at, _ := slices.BinarySearchFunc(r.runs, e.start+1, func(run ortRun, start int64) int { return cmp.Compare(run.start, start) })
		for k := at - 1; k >= 0 && k >= at-farthest; k-- {
			if run := r.runs[k]; run.end+rounding >= end && (e.run == noRun || run.tid == e.tid) {
				e.run = int32(k)
				if run.tid == e.tid {
					break
				}
			}
		}
	}
}

// countRuns is assign for files without model_run events: the nth event of a layer
// is of the nth run.
func (r *ortReader) countRuns() {
	seen := make([]int32, len(r.t.layers))
	most := int32(0)
	for i := range r.events {
		e := &r.events[i]
		e.run = seen[e.layer]
		seen[e.layer]++
		most = max(most, seen[e.layer])
	}
	r.t.runs = int(most)
	if r.t.truncated {
		r.t.runs-- // the last one has no end
	}
	r.t.notes = append(r.t.notes, r.t.file+": it has no event that spans a run, so the nth event of a node counts as its nth run")
}

// nest marks events of nodes inside other nodes: those that lie in the interval of
// a node that holds graphs and stand before it in the file. Times are whole
// microseconds, so neighbours can seem to lie in each other; a name that only the
// main graph has, or only a nested one, decides.
func (r *ortReader) nest(names *names) {
	var holders []int // events, by start
	for i := range r.events {
		l := &r.t.layers[r.events[i].layer]
		if slices.Contains(holdsGraphs[:], l.op) || names.holds(l.name) {
			holders = append(holders, i)
		}
	}
	if len(holders) == 0 {
		return
	}
	slices.SortStableFunc(holders, func(a, b int) int { return cmp.Compare(r.events[a].start, r.events[b].start) })
	// last[k] is the holder among the first k+1 that ends last.
	last := make([]int, len(holders))
	for k, h := range holders {
		last[k] = h
		if k > 0 {
			if p := last[k-1]; r.events[p].start+r.events[p].us >= r.events[h].start+r.events[h].us {
				last[k] = p
			}
		}
	}
	for i := range r.events {
		e := &r.events[i]
		name := r.t.layers[e.layer].name
		main, inner := names.isMain(name), names.isInner(name)
		if main && !inner {
			continue
		}
		at, _ := slices.BinarySearchFunc(holders, e.start+1, func(h int, start int64) int { return cmp.Compare(r.events[h].start, start) })
		for k := at - 1; k >= max(0, at-maxNesting); k-- {
			h := last[k]
			o := &r.events[h]
			if h != i && o.start <= e.start && o.start+o.us+rounding >= e.start+e.us && (h > i || inner && !main) {
				e.nested = true
				break
			}
		}
	}
}
