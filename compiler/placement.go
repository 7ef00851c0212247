package compiler

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/goccy/go-yaml"
)

// PlacementSchema names the format of placement files.
const PlacementSchema = "dnnsplit/placement/v1"

// Placement is a placement file: everything that steers a split, in one place to
// keep with a model. The zero value of a field leaves the option as it is.
type Placement struct {
	Schema    string           `yaml:"schema"`
	Objective string           `yaml:"objective"`  // latency, throughput
	Submodels string           `yaml:"submodels"`  // a number or auto
	Source    string           `yaml:"source"`     // a device
	Sink      string           `yaml:"sink"`       // a device
	Shape     map[string]any   `yaml:"shape"`      // symbol: extent, or input: [extents]
	Seed      *uint64          `yaml:"seed"`       // of the search
	TimeLimit string           `yaml:"time_limit"` // such as 10s
	Inline    string           `yaml:"inline"`     // auto, never
	Weights   string           `yaml:"weights"`    // as --weights
	Only      []string         `yaml:"only"`       // processors and devices
	Pin       []PlacementRule  `yaml:"pin"`
	Forbid    []PlacementRule  `yaml:"forbid"`
	Same      []string         `yaml:"same"`  // patterns
	Reuse     string           `yaml:"reuse"` // manifest of a bundle, relative to the file
	Place     []PlacementNodes `yaml:"place"` // nodes by their exact names

	path string
	text *yamlText
}

// PlacementRule binds the nodes whose name matches a pattern to a processor, or to the
// processors of a device.
type PlacementRule struct {
	Nodes     string `yaml:"nodes"` // regular expression, Go syntax, unanchored
	Processor string `yaml:"processor"`
}

// PlacementNodes are nodes that run on a processor, by their exact names or by
// the names of values that they make.
type PlacementNodes struct {
	Processor string   `yaml:"processor"`
	Nodes     []string `yaml:"nodes"`
}

// ReadPlacement reads a placement file and checks what can be checked without the
// model and the fleet. Errors name file, line and column.
func ReadPlacement(path string) (*Placement, error) {
	p := &Placement{path: path}
	text, err := readYAML(path, p, yaml.Strict())
	if err != nil {
		return nil, err
	}
	p.text = text
	if err := p.check(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *Placement) check() error {
	var problems diag.List
	fail := func(at, format string, args ...any) { problems = append(problems, p.text.at(at, format, args...)) }
	if p.Schema != PlacementSchema {
		fail("schema", "its schema is %q, want %q", p.Schema, PlacementSchema)
		return problems.Err()
	}
	if p.Objective != "" && p.Objective != ir.Latency.String() && p.Objective != ir.Throughput.String() {
		fail(p.Objective, "objective: want latency or throughput, not %q", p.Objective)
	}
	if _, err := ParseSubmodels(p.Submodels); p.Submodels != "" && err != nil {
		fail(p.Submodels, "submodels: %v", err)
	}
	if d, err := time.ParseDuration(p.TimeLimit); p.TimeLimit != "" && (err != nil || d < 0) {
		fail(p.TimeLimit, "time_limit: want a time such as 10s, not %q", p.TimeLimit)
	}
	if p.Inline != "" && p.Inline != "auto" && p.Inline != "never" {
		fail(p.Inline, "inline: want auto or never, not %q", p.Inline)
	}
	if p.Weights != "" {
		if _, err := backend.ParseWeights(p.Weights); err != nil {
			fail(p.Weights, "weights: %v", err)
		}
	}
	for _, name := range sortedKeys(p.Shape) {
		if _, _, err := extents(p.Shape[name]); err != nil {
			fail(name, "shape of %q: %v", name, err)
		}
	}
	pattern := func(key, text string) {
		if _, err := regexp.Compile(text); err != nil {
			fail(text, "%s: %v", key, err)
		}
	}
	for _, list := range []struct {
		key   string
		rules []PlacementRule
	}{{"pin", p.Pin}, {"forbid", p.Forbid}} {
		for _, r := range list.rules {
			if r.Nodes == "" || r.Processor == "" {
				fail(list.key, "%s: an entry needs nodes and processor, for example {nodes: '^head/', processor: edge-server.gpu}", list.key)
				continue
			}
			pattern(list.key, r.Nodes)
		}
	}
	for _, text := range p.Same {
		pattern("same", text)
	}
	for _, e := range p.Place {
		if e.Processor == "" || len(e.Nodes) == 0 {
			fail("place", "place: an entry needs processor and nodes, for example {processor: edge-server.gpu, nodes: [conv1, conv2]}")
		}
	}
	return problems.Err()
}

// extents reads an entry of shape: one extent, or those of an input.
func extents(v any) (dim int64, input []int64, err error) {
	one := func(v any) (int64, error) {
		n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
		if err != nil || n < 0 {
			return 0, fmt.Errorf("%v is no extent, want a whole number of at least 0", v)
		}
		return n, nil
	}
	list, ok := v.([]any)
	if !ok {
		dim, err = one(v)
		return dim, nil, err
	}
	input = []int64{}
	for _, e := range list {
		n, err := one(e)
		if err != nil {
			return 0, nil, err
		}
		input = append(input, n)
	}
	return 0, input, nil
}

// ParseSubmodels reads a number of sub-models per processor, or auto, as
// Options.Submodels has it.
func ParseSubmodels(text string) (int, error) {
	if text == "auto" {
		return Auto, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("want a number of sub-models per processor, or auto")
	}
	if n == 0 {
		return Auto, nil
	}
	return n, nil
}

// Apply puts what the file says into o: it replaces single values and adds to
// lists. given says which options, by the name of their flag, are set already and
// stay as they are; it may be nil.
func (p *Placement) Apply(o *Options, given func(flag string) bool) {
	open := func(flag string) bool { return given == nil || !given(flag) }
	if p.Objective != "" && open("objective") {
		o.Objective = ir.Latency
		if p.Objective == ir.Throughput.String() {
			o.Objective = ir.Throughput
		}
	}
	if p.Submodels != "" && open("submodels") {
		o.Submodels, _ = ParseSubmodels(p.Submodels) // checked
	}
	if p.Source != "" && open("source") {
		o.Source = p.Source
	}
	if p.Sink != "" && open("sink") {
		o.Sink = p.Sink
	}
	if p.Seed != nil && open("seed") {
		o.Seed = *p.Seed
	}
	if p.TimeLimit != "" && open("time-limit") {
		o.TimeLimit, _ = time.ParseDuration(p.TimeLimit) // checked
	}
	if p.Inline != "" && open("inline") {
		o.KeepFunctions = p.Inline == "never"
	}
	if p.Weights != "" && open("weights") {
		o.Weights, _ = backend.ParseWeights(p.Weights) // checked
	}
	if p.Reuse != "" && open("reuse") {
		o.Reuse = p.Reuse
		if !filepath.IsAbs(o.Reuse) {
			o.Reuse = filepath.Join(filepath.Dir(p.path), o.Reuse)
		}
	}
	p.applyShape(o)
	if len(p.Only) > 0 && open("only") {
		o.Only = p.Only
	}
	for _, r := range p.Pin {
		o.Pins = append(o.Pins, Rule{Pattern: r.Nodes, Processor: r.Processor})
	}
	for _, r := range p.Forbid {
		o.Forbids = append(o.Forbids, Rule{Pattern: r.Nodes, Processor: r.Processor})
	}
	o.Same = append(o.Same, p.Same...)
	for _, e := range p.Place {
		o.Place = append(o.Place, Placed(e))
	}
	o.PlacementFile = p.path
}

// applyShape adds the shapes that o does not have.
func (p *Placement) applyShape(o *Options) {
	for _, name := range sortedKeys(p.Shape) {
		_, isDim := o.Dims[name]
		_, isInput := o.Inputs[name]
		if isDim || isInput {
			continue
		}
		dim, input, err := extents(p.Shape[name])
		switch {
		case err != nil: // check has said so
		case input != nil:
			if o.Inputs == nil {
				o.Inputs = map[string][]int64{}
			}
			o.Inputs[name] = input
		default:
			if o.Dims == nil {
				o.Dims = map[string]int64{}
			}
			o.Dims[name] = dim
		}
	}
}

// PlacementOf is the placement file of a bundle: what it was asked for, and where
// every node is. With it the same model is placed in the same way.
func PlacementOf(m *backend.Manifest) *Placement {
	var o struct {
		Objective string             `json:"objective"`
		Submodels any                `json:"submodels"`
		Seed      *uint64            `json:"seed"`
		Dims      map[string]int64   `json:"dims"`
		Inputs    map[string][]int64 `json:"inputs"`
		Inline    string             `json:"inline"`
		Source    string             `json:"source"`
		Sink      string             `json:"sink"`
		Only      []string           `json:"only"`
		Same      []string           `json:"same"`
		TimeLimit string             `json:"time_limit"`
		Weights   string             `json:"weights"`
	}
	_ = json.Unmarshal(m.Options, &o) // what cannot be read is left out
	p := &Placement{
		Schema: PlacementSchema, Objective: o.Objective, Source: o.Source, Sink: o.Sink, Seed: o.Seed,
		Inline: o.Inline, Only: o.Only, Same: o.Same, TimeLimit: o.TimeLimit, Weights: o.Weights,
	}
	if o.Submodels != nil {
		p.Submodels = fmt.Sprint(o.Submodels)
	}
	if len(o.Dims)+len(o.Inputs) > 0 {
		p.Shape = map[string]any{}
	}
	for name, n := range o.Dims {
		p.Shape[name] = n
	}
	for name, list := range o.Inputs {
		p.Shape[name] = list
	}
	for _, proc := range m.Processors {
		e := PlacementNodes{Processor: proc.Name}
		for _, s := range m.Submodels {
			if s.Processor == proc.Name {
				e.Nodes = append(e.Nodes, s.NodeNames...)
			}
		}
		if len(e.Nodes) > 0 {
			p.Place = append(p.Place, e)
		}
	}
	return p
}

// Encode writes the file, with comments, always to the same bytes. Comment, of
// one line, says where it comes from; it may be empty.
func (p *Placement) Encode(comment string) []byte {
	var b bytes.Buffer
	if comment != "" {
		fmt.Fprintf(&b, "# %s\n", strings.Join(strings.Fields(comment), " "))
	}
	fmt.Fprintf(&b, "schema: %s\n", PlacementSchema)
	line := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s: %s\n", key, yamlScalar(value))
		}
	}
	line("objective", p.Objective)
	line("submodels", p.Submodels)
	line("source", p.Source)
	line("sink", p.Sink)
	if p.Seed != nil {
		line("seed", strconv.FormatUint(*p.Seed, 10))
	}
	line("time_limit", p.TimeLimit)
	line("inline", p.Inline)
	line("weights", p.Weights)
	if len(p.Shape) > 0 {
		b.WriteString("shape:\n")
		for _, name := range sortedKeys(p.Shape) {
			text, _ := json.Marshal(p.Shape[name]) // numbers and lists of numbers
			fmt.Fprintf(&b, "  %s: %s\n", yamlScalar(name), text)
		}
	}
	texts := func(key string, list []string) {
		if len(list) > 0 {
			fmt.Fprintf(&b, "%s:\n", key)
		}
		for _, s := range list {
			fmt.Fprintf(&b, "  - %s\n", yamlScalar(s))
		}
	}
	texts("only", p.Only)
	rules := func(key string, list []PlacementRule) {
		if len(list) > 0 {
			fmt.Fprintf(&b, "%s:\n", key)
		}
		for _, r := range list {
			fmt.Fprintf(&b, "  - {nodes: %s, processor: %s}\n", yamlScalar(r.Nodes), yamlScalar(r.Processor))
		}
	}
	rules("pin", p.Pin)
	rules("forbid", p.Forbid)
	texts("same", p.Same)
	line("reuse", p.Reuse)
	if len(p.Place) > 0 {
		b.WriteString("# nodes by their names, or by the names of values that they make; a node that is\n# taken out of the lists is free\nplace:\n")
	}
	for _, e := range p.Place {
		fmt.Fprintf(&b, "  - processor: %s\n    nodes:\n", yamlScalar(e.Processor))
		for _, n := range e.Nodes {
			fmt.Fprintf(&b, "      - %s\n", yamlScalar(n))
		}
	}
	return b.Bytes()
}

// plainYAML is what may stand in YAML without quotes and means itself.
var plainYAML = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9_./]*(-[A-Za-z0-9_./]+)*|[0-9]+[a-z]*)$`)

// yamlScalar is a text as YAML: plain where that is safe, else in double quotes,
// where YAML reads what JSON writes.
func yamlScalar(s string) string {
	reserved := []string{"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}
	if plainYAML.MatchString(s) && !slices.Contains(reserved, strings.ToLower(s)) {
		return s
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if enc.Encode(s) != nil {
		return strconv.Quote(s)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
