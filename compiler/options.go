package compiler

import (
	"encoding/json"
	"time"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Options say what to compile and how. The zero value of a field is its default.
type Options struct {
	Model   string // path of the ONNX file
	Devices string // folder of device profiles
	Output  string // folder to write; default: Model with .split for .onnx

	Objective ir.Objective
	Submodels int  // most sub-models per processor; 0: 1; Auto: no limit
	SkipAuto  bool // do not work out what unlimited sub-models would gain

	// LeastGain is the share by which a split must be predicted to beat the best single
	// processor; nil: the error that the cost files state, see profiles.Parameters.
	LeastGain *float64

	Dims   map[string]int64   // symbolic dimension → extent, for costing only
	Inputs map[string][]int64 // graph input → shape, for costing only

	KeepNodes     bool // let every node be a unit of its own, also where runtimes fuse it with others
	KeepFunctions bool // never replace a function call by the function's body

	Source, Sink string // device names; "": as the fleet says

	Only    []string // processors and devices that may run nodes; empty: all of the fleet
	Pins    []Rule   // nodes that must run on a processor
	Forbids []Rule   // nodes that must not run on a processor
	Same    []string // patterns; the nodes that match one share a processor
	Reuse   string   // manifest of an earlier bundle whose placement is kept
	Place   []Placed // nodes, by their exact names, that must run on a processor

	// PlacementFile is the placement file that some of these options come from, for
	// errors and depfiles; "" if there is none. See Placement.Apply.
	PlacementFile string

	// What a file may cost to read; 0: the defaults of the reader, which take any
	// real model. They guard against files made to exhaust the machine.
	MaxDepth          int   // graphs nested in graphs (default 64, at most 1000)
	MaxNodes          int   // nodes, nested ones included (default 10 million), and after inlining (default a million)
	MaxStructureBytes int64 // of memory for all but the contents of tensors (default 2 GiB)

	TimeLimit time.Duration // 0: the search ends at deterministic points only
	KeepBest  bool          // when the context ends during the search: go on with the best plan so far
	Seed      uint64
	Workers   int // goroutines of the search; 0: one a core. Never changes the result

	Weights backend.Weights // where sub-models keep their weights

	Force bool // replace an output folder that is no bundle

	// NoWrite says that Result.Write will not be called: Compile does not begin to read
	// the weights, whose digest the manifest of a written bundle has.
	NoWrite bool

	Progress func(Progress) // called from one goroutine at a time; may be nil
}

// Auto as Options.Submodels lets every processor have as many sub-models as pay.
const Auto = -1

// Rule binds the nodes whose name matches a regular expression to a processor, or to
// the processors of a device.
type Rule struct {
	Pattern   string // Go syntax, unanchored
	Processor string // or device
}

// Progress says where a compilation is.
type Progress struct {
	Stage string  // "profiles", "read", "shapes", "lower", "place", "describe" or "write"
	Step  string  // of the stage: a pass of the placement; "" if it has none
	Done  float64 // share of the stage in [0,1]; negative if unknown
	Note  string  // best latency so far, gap, rate, ...: what matters most first, separated by ", "
}

func (o *Options) progress(stage string, done float64, note string) {
	if o.Progress != nil {
		o.Progress(Progress{Stage: stage, Done: done, Note: note})
	}
}

// submodels translates the option to the convention of ir.Problem.
func (o *Options) submodels() int {
	switch {
	case o.Submodels == Auto:
		return 0
	case o.Submodels <= 0:
		return 1
	}
	return o.Submodels
}

// recorded is what the manifest says was asked for: what a result depends on
// beside the contents of the files. Paths are not in it, so that bundles made in
// different folders are the same.
func (o *Options) recorded() (json.RawMessage, error) {
	type rule struct {
		Pattern   string `json:"pattern"`
		Processor string `json:"processor"`
	}
	rules := func(in []Rule) []rule {
		out := make([]rule, len(in))
		for i, r := range in {
			out[i] = rule(r)
		}
		return out
	}
	submodels := any(o.submodels())
	if submodels == 0 {
		submodels = "auto"
	}
	return json.Marshal(struct {
		Objective string             `json:"objective"`
		Submodels any                `json:"submodels"`
		Seed      uint64             `json:"seed"`
		Dims      map[string]int64   `json:"dims,omitempty"`
		Inputs    map[string][]int64 `json:"inputs,omitempty"`
		Inline    string             `json:"inline,omitempty"`
		Source    string             `json:"source,omitempty"`
		Sink      string             `json:"sink,omitempty"`
		Only      []string           `json:"only,omitempty"`
		Pins      []rule             `json:"pin,omitempty"`
		Forbids   []rule             `json:"forbid,omitempty"`
		Same      []string           `json:"same,omitempty"`
		Reuse     bool               `json:"reuse,omitempty"`
		Place     map[string]int     `json:"place,omitempty"`
		TimeLimit string             `json:"time_limit,omitempty"`
		Weights   string             `json:"weights,omitempty"`
		LeastGain *float64           `json:"least_gain,omitempty"`
	}{
		o.Objective.String(), submodels, o.Seed, o.Dims, o.Inputs, inlineText(o.KeepFunctions), o.Source, o.Sink,
		o.Only, rules(o.Pins), rules(o.Forbids), o.Same, o.Reuse != "", placedCounts(o.Place), limitText(o.TimeLimit), weightsText(o.Weights), o.LeastGain,
	})
}

// placedCounts is how many nodes a placement file puts on each processor; which
// ones the sub-models show.
func placedCounts(list []Placed) map[string]int {
	var n map[string]int
	for _, e := range list {
		if n == nil {
			n = map[string]int{}
		}
		n[e.Processor] += len(e.Nodes)
	}
	return n
}

func limitText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func inlineText(never bool) string {
	if never {
		return "never"
	}
	return ""
}

func weightsText(w backend.Weights) string {
	if w == backend.WeightsAuto {
		return ""
	}
	return w.String()
}
