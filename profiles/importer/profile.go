package importer

import (
	"fmt"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// Format is a kind of file.
type Format string

// The kinds of files that are read.
const (
	ORTProfile   Format = "ONNX Runtime profile"
	TRTProfile   Format = "TensorRT profile"
	TRTLayerInfo Format = "TensorRT layer information"
	OVCounters   Format = "OpenVINO counters"
)

// Bounds on what is read. ONNX Runtime stops at a million events by itself.
const (
	maxFileBytes  = 2 << 30
	maxEvents     = 8 << 20
	maxLayers     = 1 << 20 // distinct ones
	maxNameBytes  = 128 << 20
	maxUnreadable = 1000 // lines of a file
)

// layer is a kernel of a profile: what one of the runtime's own nodes took in a run.
type layer struct {
	name     string
	op       string // the runtime's name of the operator; "" if it does not say
	provider string // "" if the profile does not say
	index    int    // in the runtime's graph; -1 if the profile does not say
	outputs  string // types, joined with spaces; "" if the profile does not say
	claims   []claim
	copies   bool // changes a layout or moves data: work of no node, on behalf of one
	own      bool // of the runtime itself, belongs to no node
	order    int  // rank of its start in a run

	us       float64 // median over the runs of the sum in a run
	spreadUs float64 // half the distance between the quartiles
	runs     int64
	events   int64
	totalUs  float64 // of all its events
}

// claim names nodes that the runtime says a layer is made of: one, or with to a range.
type claim struct{ from, to string }

// trace is what a file says.
type trace struct {
	file      string
	format    Format
	layers    []layer
	runs      int // complete ones
	warmUp    int // of them left out
	runUs     float64
	truncated bool
	notes     []string
	left      leftOut
}

// leftOut counts the events that were not used, by reason, in the order in which
// reasons came up.
type leftOut struct{ list []LeftOut }

// LeftOut is a kind of event that was not used.
type LeftOut struct {
	Reason string  `json:"reason"`
	Events int64   `json:"events"`
	Us     float64 `json:"us"` // of all these events
	// Aside says that they are left out on purpose: warm-up, or what other events hold.
	Aside    bool     `json:"set_aside"`
	Examples []string `json:"examples"` // names, a few
}

const maxExamples = 3

func (l *leftOut) add(reason, example string, events int64, us float64) *LeftOut {
	i := slices.IndexFunc(l.list, func(o LeftOut) bool { return o.Reason == reason })
	if i < 0 {
		i = len(l.list)
		l.list = append(l.list, LeftOut{Reason: reason, Examples: []string{}})
	}
	o := &l.list[i]
	o.Events += events
	o.Us += us
	if example != "" && len(o.Examples) < maxExamples && !slices.Contains(o.Examples, example) {
		o.Examples = append(o.Examples, example)
	}
	return o
}

// sample is the time of a layer in one run.
type sample struct {
	run int32
	us  float64
}

// summarize fills the times of a layer from its samples, of which those of one
// run are neighbours.
func (l *layer) summarize(samples []sample) {
	var sums []float64
	for i, s := range samples {
		if i > 0 && samples[i-1].run == s.run {
			sums[len(sums)-1] += s.us
		} else {
			sums = append(sums, s.us)
		}
		l.totalUs += s.us
	}
	l.events, l.runs = int64(len(samples)), int64(len(sums))
	l.us, l.spreadUs = quartiles(sums)
}

// quartiles returns the median of values, which it sorts, and half the distance
// between their quartiles.
func quartiles(values []float64) (median, spread float64) {
	if len(values) == 0 {
		return 0, 0
	}
	slices.Sort(values)
	at := func(q float64) float64 {
		x := q * float64(len(values)-1)
		i := int(x)
		if i+1 == len(values) {
			return values[i]
		}
		return values[i] + float64((x-float64(i))*(values[i+1]-values[i]))
	}
	return at(0.5), (at(0.75) - at(0.25)) / 2
}

// fileError is what is wrong with a file, at a line of it if line > 0.
func fileError(file string, line int, format string, args ...any) error {
	return &diag.Error{File: file, Line: line, Msg: fmt.Sprintf(format, args...)}
}
