package ir

import (
	"errors"
	"fmt"
	"io"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// GraphSchema is the schema of execution graph files, the text form of a Problem.
const GraphSchema = "dnnsplit/graph/v1"

// ReadProblem reads a dnnsplit/graph/v1 file. file names it in errors. Keys that
// the schema does not have are skipped, so files of later versions can be read.
// Submodels of the result is 1, the default of the option.
//
// It reads the file once and keeps no more of it than the tables of the result,
// whatever the order of the sections.
func ReadProblem(r io.Reader, file string) (*Problem, error) {
	d := graphReader{
		s:      newScanner(r, file),
		values: symbols{what: "value", id: map[string]int32{}}, weights: symbols{what: "weight", id: map[string]int32{}},
		groups: map[string]string{}, ops: map[string]string{},
	}
	d.document()
	if err := d.s.finish(); err != nil {
		return nil, err
	}
	p, err := d.build()
	if err == nil {
		err = p.Validate()
	}
	if err != nil {
		if placed := (*diag.Error)(nil); !errors.As(err, &placed) {
			err = &diag.Error{File: file, Msg: err.Error()}
		}
		return nil, err
	}
	return p, nil
}

// symbols numbers names in order of first mention. A name is declared by the
// entry that describes it, which may come later.
type symbols struct {
	what     string
	id       map[string]int32
	name     []string // by symbol
	declared []int32  // by symbol: position of its entry, -1 if there is none yet
	order    []int32  // by position: symbol
}

func (t *symbols) mention(name []byte) int32 {
	if i, ok := t.id[string(name)]; ok {
		return i
	}
	i := int32(len(t.name))
	kept := string(name)
	t.id[kept] = i
	t.name = append(t.name, kept)
	t.declared = append(t.declared, -1)
	return i
}

// declare records the next entry; false if the name has one already.
func (t *symbols) declare(name []byte) bool {
	i := t.mention(name)
	if t.declared[i] >= 0 {
		return false
	}
	t.declared[i] = int32(len(t.order))
	t.order = append(t.order, i)
	return true
}

// rawProcessor and rawLink wait for the list of devices.
type rawProcessor struct {
	Processor
	device string
}

type rawLink struct {
	Link
	from, to string
}

type graphReader struct {
	s            *scanner
	schema, name string
	source, sink *string
	sections     uint32 // sections that have been read

	devices    []Device
	processors []rawProcessor
	links      []rawLink

	values   symbols
	bytes    []int64 // by position
	resident []int64
	input    []bool
	output   []bool

	weights     symbols
	weightBytes []int64

	nodeNames map[string]struct{}
	nodes     []rawNode
	cost      []Time // nodes' rows one after the other
	refs      []int32
	sorted    []int32           // scratch of node
	groups    map[string]string // interned
	ops       map[string]string
}

// rawNode holds positions in graphReader.refs: inputs from ref, then outputs, then weights.
type rawNode struct {
	name, op, group          string
	ref                      int
	inputs, outputs, weights int32
	costs                    int32
	replicable               bool
}

// once reports whether key bit has not been seen; a second time is an error.
func (d *graphReader) once(seen *uint32, bit int, key []byte) bool {
	if *seen&(1<<bit) != 0 {
		d.s.failf("key %q comes twice", key)
		return false
	}
	*seen |= 1 << bit
	return true
}

func (d *graphReader) document() {
	s := d.s
	if c := s.peek(); c != '{' {
		s.unexpected(c, "an execution graph, a JSON object,")
		return
	}
	s.object(func(key []byte) {
		section := func(bit int, item func()) {
			if d.once(&d.sections, bit, key) && !s.null() {
				s.array(item)
			} else {
				d.sections &^= 1 << bit // null is as good as missing
			}
		}
		switch string(key) {
		case "schema":
			d.schema = d.text("schema")
		case "name":
			d.name = d.text("name")
		case "source":
			d.source = d.reference("source")
		case "sink":
			d.sink = d.reference("sink")
		case "devices":
			section(0, d.device)
		case "processors":
			section(1, d.processor)
		case "links":
			section(2, d.link)
		case "values":
			section(3, d.value)
		case "weights":
			section(4, d.weight)
		case "nodes":
			section(5, d.node)
		default:
			s.skip()
		}
	})
}

// text takes a string or null.
func (d *graphReader) text(what string) string {
	if d.s.null() {
		return ""
	}
	if c := d.s.peek(); c != '"' {
		d.s.failf("%s is not a string", what)
		return ""
	}
	return string(d.s.string())
}

func (d *graphReader) reference(what string) *string {
	if d.s.null() {
		return nil
	}
	name := d.text(what)
	return &name
}

// names takes a list of names.
func (d *graphReader) names(what string, item func(name []byte)) {
	if d.s.null() {
		return
	}
	if c := d.s.peek(); c != '[' {
		d.s.failf("%s is not a list", what)
		return
	}
	d.s.array(func() {
		if c := d.s.peek(); c != '"' {
			d.s.failf("an entry of %s is not a name", what)
			return
		}
		item(d.s.string())
	})
}

// entry takes an object of a section; a field that is null counts as missing.
func (d *graphReader) entry(what string, field func(key []byte)) {
	if c := d.s.peek(); c != '{' {
		d.s.failf("%s is not an object", what)
		return
	}
	d.s.object(func(key []byte) {
		if !d.s.null() {
			field(key)
		}
	})
}

func (d *graphReader) device() {
	at := Device{MemoryBytes: UnlimitedBytes}
	i := len(d.devices)
	d.entry(fmt.Sprintf("device %d", i), func(key []byte) {
		switch string(key) {
		case "name":
			at.Name = d.text("name of a device")
		case "memory_bytes":
			at.MemoryBytes = d.s.whole(fmt.Sprintf("device %d (%q): memory_bytes", i, at.Name))
		default:
			d.s.skip()
		}
	})
	d.devices = append(d.devices, at)
}

func (d *graphReader) processor() {
	at := rawProcessor{Processor: Processor{MemoryBytes: UnlimitedBytes, MaxSubmodels: DefaultSubmodels}}
	i := len(d.processors)
	d.entry(fmt.Sprintf("processor %d", i), func(key []byte) {
		what := func() string { return fmt.Sprintf("processor %d (%q): %s", i, at.Name, key) }
		switch string(key) {
		case "name":
			at.Name = d.text("name of a processor")
		case "device":
			at.device = d.text(what())
		case "memory_bytes":
			at.MemoryBytes = d.s.whole(what())
		case "launch_us":
			at.Launch = d.s.micros(what())
		case "max_submodels":
			at.MaxSubmodels = int(d.s.whole(what()))
		case "upload":
			at.Upload = d.copy(what())
		case "download":
			at.Download = d.copy(what())
		case "kind":
			at.Kind = d.text(what())
		case "provider":
			at.Provider = d.text(what())
		default:
			d.s.skip()
		}
	})
	d.processors = append(d.processors, at)
}

// copy takes an upload or download.
func (d *graphReader) copy(what string) *Copy {
	var c Copy
	d.entry(what, func(key []byte) { d.copyField(&c, what, key) })
	d.checkRate(&c, what)
	return &c
}

func (d *graphReader) copyField(c *Copy, what string, key []byte) {
	switch string(key) {
	case "latency_us":
		c.Latency = d.s.micros(what + ": latency_us")
	case "bytes_per_us":
		if c.BytesPerUs = d.s.number(what + ": bytes_per_us"); c.BytesPerUs == 0 {
			d.s.failf("%s: bytes_per_us must be positive, it is 0", what)
		}
	default:
		d.s.skip()
	}
}

func (d *graphReader) checkRate(c *Copy, what string) {
	if c.BytesPerUs == 0 {
		d.s.failf("%s: bytes_per_us is missing", what)
	}
}

func (d *graphReader) link() {
	var at rawLink
	what := fmt.Sprintf("link %d", len(d.links))
	d.entry(what, func(key []byte) {
		switch string(key) {
		case "from":
			at.from = d.text(what + ": from")
		case "to":
			at.to = d.text(what + ": to")
		case "medium":
			if at.Medium = d.text(what + ": medium"); at.Medium == "" {
				d.s.failf("%s: medium is empty; leave it out where the link has its own", what)
			}
		default:
			d.copyField(&at.Copy, what, key)
		}
	})
	d.checkRate(&at.Copy, what)
	d.links = append(d.links, at)
}

func (d *graphReader) value() {
	var seen uint32
	i := len(d.bytes)
	var size, resident int64
	var input, output bool
	d.entry(fmt.Sprintf("value %d", i), func(key []byte) {
		what := func() string { return fmt.Sprintf("value %s: %s", d.label(&d.values, i), key) }
		switch string(key) {
		case "name":
			if d.once(&seen, 0, key) {
				d.declare(&d.values)
			}
		case "bytes":
			if size = d.s.whole("bytes"); d.s.err == nil {
				seen |= 1 << 1
			}
		case "resident_bytes":
			resident = d.s.whole("resident_bytes")
			seen |= 1 << 2
		case "graph_input":
			input = d.s.bool(what())
		case "graph_output":
			output = d.s.bool(what())
		default:
			d.s.skip()
		}
	})
	switch {
	case seen&1 == 0:
		d.s.failf("value %d: name is missing", i)
	case seen&2 == 0:
		d.s.failf("value %s: bytes is missing", d.label(&d.values, i))
	case seen&4 == 0:
		resident = size
	}
	d.bytes = append(d.bytes, size)
	d.resident = append(d.resident, resident)
	d.input = append(d.input, input)
	d.output = append(d.output, output)
}

// label names entry i of a section if its name has been read.
func (d *graphReader) label(t *symbols, i int) string {
	if i < len(t.order) {
		return fmt.Sprintf("%q", t.name[t.order[i]])
	}
	return fmt.Sprint(i)
}

// declare takes the name of the next value or weight.
func (d *graphReader) declare(t *symbols) {
	if c := d.s.peek(); c != '"' {
		d.s.failf("%s %d: name is not a string", t.what, len(t.order))
		return
	}
	switch name := d.s.string(); {
	case d.s.err != nil:
	case len(name) == 0:
		d.s.failf("%s %d: name is empty", t.what, len(t.order))
	case !t.declare(name):
		d.s.failf("%s %q: name is used twice", t.what, name)
	}
}

func (d *graphReader) weight() {
	var seen uint32
	var size int64
	i := len(d.weightBytes)
	d.entry(fmt.Sprintf("weight %d", i), func(key []byte) {
		switch string(key) {
		case "name":
			if d.once(&seen, 0, key) {
				d.declare(&d.weights)
			}
		case "bytes":
			size = d.s.whole("bytes")
			seen |= 1 << 1
		default:
			d.s.skip()
		}
	})
	switch {
	case seen&1 == 0:
		d.s.failf("weight %d: name is missing", i)
	case seen&2 == 0:
		d.s.failf("weight %s: bytes is missing", d.label(&d.weights, i))
	}
	d.weightBytes = append(d.weightBytes, size)
}

// intern keeps one copy of a text that many nodes have.
func intern(t map[string]string, b []byte) string {
	if s, ok := t[string(b)]; ok {
		return s
	}
	s := string(b)
	t[s] = s
	return s
}

func (d *graphReader) node() {
	var seen uint32
	n := rawNode{}
	i := len(d.nodes)
	what := func(key string) string {
		if n.name != "" {
			return fmt.Sprintf("node %q: %s", n.name, key)
		}
		return fmt.Sprintf("node %d: %s", i, key)
	}
	// The three lists may come in any order; they are put in place at the end.
	var lists [3][]int32
	start := len(d.refs)
	list := func(k int, t *symbols, key []byte) {
		name := string(key)
		if d.once(&seen, 8+k, key) {
			from := len(d.refs)
			d.names(what(name), func(ref []byte) { d.refs = append(d.refs, t.mention(ref)) })
			lists[k] = d.refs[from:]
		}
	}
	d.entry(fmt.Sprintf("node %d", i), func(key []byte) {
		switch string(key) {
		case "name":
			if n.name = d.text(what("name")); d.s.err == nil && n.name == "" {
				d.s.failf("node %d: name is empty", i)
			}
		case "op":
			if d.s.peek() == '"' {
				n.op = intern(d.ops, d.s.string())
			} else {
				d.s.failf("%s", what("op is not a string"))
			}
		case "group":
			if d.s.peek() != '"' {
				d.s.failf("%s", what("group is not a string"))
			} else if n.group = intern(d.groups, d.s.string()); n.group == "" && d.s.err == nil {
				d.s.failf("%s", what("group is empty; leave it out where the node has none"))
			}
		case "replicable":
			n.replicable = d.s.bool(what("replicable"))
		case "inputs":
			list(0, &d.values, key)
		case "outputs":
			list(1, &d.values, key)
		case "weights":
			list(2, &d.weights, key)
		case "cost_us":
			if d.once(&seen, 0, key) {
				d.costs(&n, what)
			}
		default:
			d.s.skip()
		}
	})
	switch {
	case d.s.err != nil:
		return
	case n.name == "":
		d.s.failf("node %d: name is missing", i)
	case seen&1 == 0:
		d.s.failf("%s", what("cost_us is missing"))
	}
	if d.nodeNames == nil {
		d.nodeNames = map[string]struct{}{}
	}
	if _, dup := d.nodeNames[n.name]; dup {
		d.s.failf("%s", what("name is used twice"))
	}
	d.nodeNames[n.name] = struct{}{}
	n.ref = start
	d.sorted = d.sorted[:0]
	for k, into := range []*int32{&n.inputs, &n.outputs, &n.weights} {
		*into = int32(len(lists[k]))
		d.sorted = append(d.sorted, lists[k]...)
	}
	copy(d.refs[start:], d.sorted)
	d.nodes = append(d.nodes, n)
}

func (d *graphReader) costs(n *rawNode, what func(string) string) {
	if d.s.peek() != '[' {
		d.s.failf("%s", what("cost_us is not a list"))
		return
	}
	d.s.array(func() {
		n.costs++
		if d.s.null() {
			d.cost = append(d.cost, Unsupported)
			return
		}
		if c := d.s.peek(); c != '-' && (c < '0' || c > '9') {
			d.s.failf("%s", what("an entry of cost_us is not a number"))
			return
		}
		d.cost = append(d.cost, d.s.micros("cost_us"))
	})
}
