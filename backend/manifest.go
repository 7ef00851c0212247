package backend

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// ManifestSchema names the format of manifests.
const ManifestSchema = "dnnsplit/manifest/v1"

// ManifestFile is the name of the manifest in a bundle's folder.
const ManifestFile = "manifest.json"

// ManifestJSONSchema is the JSON Schema (draft 2020-12) that every manifest meets.
//
//go:embed manifest.schema.json
var ManifestJSONSchema []byte

// Manifest describes a bundle: its sub-models and the tensors that travel between
// them. Times are microseconds under the execution model, exact to the picosecond.
type Manifest struct {
	Schema     string          `json:"schema"`
	Tool       Tool            `json:"tool"`
	Model      Model           `json:"model"`
	Options    json.RawMessage `json:"options"` // what the split was asked for; an object
	Devices    []Device        `json:"devices"`
	Processors []Processor     `json:"processors"`
	Links      []Link          `json:"links,omitempty"` // that transfers use
	Submodels  []Submodel      `json:"submodels"`       // in a valid execution order
	Edges      []Edge          `json:"edges"`
	Inputs     []Input         `json:"inputs"`  // the model's, in its order, without stored ones
	Outputs    []Output        `json:"outputs"` // the model's, in its order
	Prediction Prediction      `json:"prediction"`
	Files      []File          `json:"files"` // what the bundle has beside sub-models and this manifest
	Notes      []string        `json:"notes"` // what the user should know
}

// Tool is the program that wrote the bundle.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Model is the source model.
type Model struct {
	File    string   `json:"file"`   // without its folder
	SHA256  string   `json:"sha256"` // of the file, external data not included
	Data    []string `json:"data,omitempty"`
	Inputs  []Tensor `json:"inputs"`
	Outputs []Tensor `json:"outputs"`
}

// Tensor is a value with its type. Dtype is an element type, or the kind of a
// value that is no dense tensor.
type Tensor struct {
	Name  string `json:"name"`
	Dtype string `json:"dtype"`
	Shape Shape  `json:"shape"`
}

// Shape is a tensor's extents, or nil (null in JSON) if the rank is not known.
type Shape []Dim

// Dim is one extent: a number, a symbol, or null for one that is not known.
type Dim ir.Dim

// MarshalJSON writes a number, a string or null.
func (d Dim) MarshalJSON() ([]byte, error) {
	switch {
	case d.N >= 0:
		return json.Marshal(d.N)
	case d.Sym != "":
		return marshalJSON(d.Sym)
	}
	return []byte("null"), nil
}

// UnmarshalJSON is the inverse of MarshalJSON.
func (d *Dim) UnmarshalJSON(b []byte) error {
	*d = Dim{N: -1}
	switch {
	case bytes.Equal(b, []byte("null")):
		return nil
	case len(b) > 0 && b[0] == '"':
		if err := json.Unmarshal(b, &d.Sym); err != nil {
			return err
		}
		if d.Sym == "" {
			return fmt.Errorf("an extent is an empty string")
		}
		return nil
	}
	if err := json.Unmarshal(b, &d.N); err != nil || d.N < 0 {
		return fmt.Errorf("an extent is %s, want a whole number from 0 on, a name or null", b)
	}
	return nil
}

// Device is a machine of the fleet, with the memory that the plan takes there.
type Device struct {
	Name             string `json:"name"`
	MemoryBytes      int64  `json:"memory_bytes"`
	MemoryLimitBytes *int64 `json:"memory_limit_bytes"` // null: no limit
}

// Processor is a processor of the fleet, used or not.
type Processor struct {
	Name             string   `json:"name"`
	Device           string   `json:"device"`
	Kind             string   `json:"kind"`
	Provider         string   `json:"provider"`
	Submodels        []string `json:"submodels"` // in run order
	MemoryBytes      int64    `json:"memory_bytes"`
	MemoryLimitBytes *int64   `json:"memory_limit_bytes"` // null: no limit of its own
	BusyUs           float64  `json:"busy_us"`
}

// Link is a directed link between two devices. A transfer occupies it, or the
// medium that it shares, for bytes/bytes_per_us and arrives latency_us after that.
type Link struct {
	From       string  `json:"from"`
	To         string  `json:"to"`
	LatencyUs  float64 `json:"latency_us"`
	BytesPerUs float64 `json:"bytes_per_us"`
	Medium     string  `json:"medium,omitempty"`
}

// Submodel is one emitted model. Its file holds Nodes + Replicas + Constants nodes.
type Submodel struct {
	ID                  string   `json:"id"`
	File                string   `json:"file"`
	SHA256              string   `json:"sha256"`
	Bytes               int64    `json:"bytes"`
	Data                *File    `json:"data,omitempty"`       // its external weights
	References          []string `json:"references,omitempty"` // data files of the source that its weights are in: entries of Files
	Processor           string   `json:"processor"`
	Order               int      `json:"order"`     // among the processor's runs
	Nodes               int      `json:"nodes"`     // of the model, that it owns
	Replicas            int      `json:"replicas"`  // copies of nodes that another sub-model owns
	Constants           int      `json:"constants"` // nodes that compute constants; every user has a copy
	Inputs              []string `json:"inputs"`
	Outputs             []string `json:"outputs"`
	WeightBytes         int64    `json:"weight_bytes"`
	PeakActivationBytes int64    `json:"peak_activation_bytes"`
	Predicted           Span     `json:"predicted"`
	NodeNames           []string `json:"node_names"`    // of the model's nodes that it owns
	ReplicaNames        []string `json:"replica_names"` // of those that it holds a copy of
}

// Span is a stretch of the predicted schedule.
type Span struct {
	StartUs float64 `json:"start_us"`
	EndUs   float64 `json:"end_us"`
}

// Edge is a tensor that goes from one sub-model to others. Predicted spans its
// transfers; where all are on one device it is the moment in which it is there.
type Edge struct {
	Tensor    string     `json:"tensor"`
	Dtype     string     `json:"dtype"`
	Shape     Shape      `json:"shape"`
	Bytes     int64      `json:"bytes"`
	From      string     `json:"from"`
	To        []string   `json:"to"`
	Predicted Span       `json:"predicted"`
	Transfers []Transfer `json:"transfers"`
}

// Transfer is one hop of a tensor between two devices.
type Transfer struct {
	From      string `json:"from"`
	To        string `json:"to"`
	For       string `json:"for"` // the device where it is needed
	Predicted Span   `json:"predicted"`
}

// Input is a graph input and the sub-models that take it.
type Input struct {
	Tensor    string     `json:"tensor"`
	To        []string   `json:"to"`
	Transfers []Transfer `json:"transfers"`
}

// Output is a graph output and the sub-model that makes it.
type Output struct {
	Tensor    string     `json:"tensor"`
	From      *string    `json:"from"`           // null: it is a graph input
	Kept      []string   `json:"kept,omitempty"` // what is odd about it: KeptInput, KeptConstant, KeptRepeated
	Transfers []Transfer `json:"transfers"`
}

// What Output.Kept can hold.
const (
	KeptInput    = "input"    // it is the graph input of that name
	KeptConstant = "constant" // it is stored in the model, or computed from what is
	KeptRepeated = "repeated" // the model lists it more than once
)

// Prediction is what the execution model says of the plan and what it is held against.
type Prediction struct {
	Objective         string         `json:"objective"`
	LatencyUs         float64        `json:"latency_us"`
	BottleneckUs      float64        `json:"bottleneck_us"`
	LowerBoundUs      float64        `json:"lower_bound_us"` // of the objective, for any plan
	Gap               float64        `json:"gap"`            // (objective - lower bound) / objective
	ProvenOptimal     bool           `json:"proven_optimal"`
	SingleProcessorUs NamedTimes     `json:"single_processor_us"` // the objective with the whole model there; null where that cannot be
	Baselines         NamedTimes     `json:"baselines"`
	CostSources       CostSources    `json:"cost_sources"`
	AutoSubmodels     *AutoSubmodels `json:"auto_submodels,omitempty"` // what --submodels auto would give, if better
}

// CostSources are the shares of the predicted compute time by what they rest on.
type CostSources struct {
	Measured float64 `json:"measured"`
	Fitted   float64 `json:"fitted"`
	Roofline float64 `json:"roofline"`
}

// AutoSubmodels is the plan with no limit on sub-models.
type AutoSubmodels struct {
	LatencyUs    float64 `json:"latency_us"`
	BottleneckUs float64 `json:"bottleneck_us"`
	Submodels    int     `json:"submodels"`
}

// File is a file of the bundle.
type File struct {
	File   string `json:"file"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
}

// NamedTimes is a JSON object of times in a fixed order.
type NamedTimes []NamedTime

// NamedTime is one entry; Us is nil (null) where there is no time.
type NamedTime struct {
	Name string
	Us   *float64
}

// MarshalJSON writes an object with its keys in order.
func (t NamedTimes) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, e := range t {
		if i > 0 {
			b = append(b, ',')
		}
		k, err := marshalJSON(e.Name)
		if err != nil {
			return nil, err
		}
		v, err := json.Marshal(e.Us)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, k...), ':'), v...)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads an object and keeps the order of its keys.
func (t *NamedTimes) UnmarshalJSON(b []byte) error {
	*t = NamedTimes{}
	dec := json.NewDecoder(bytes.NewReader(b))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return fmt.Errorf("times by name must be an object")
	}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return err
		}
		e := NamedTime{}
		e.Name, _ = tok.(string)
		if err := dec.Decode(&e.Us); err != nil {
			return err
		}
		*t = append(*t, e)
	}
	return nil
}

// Of is the time called name, nil if there is none.
func (t NamedTimes) Of(name string) *float64 {
	for _, e := range t {
		if e.Name == name {
			return e.Us
		}
	}
	return nil
}

// marshalJSON encodes v on one line, without escapes for HTML.
func marshalJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimRight(b.Bytes(), "\n"), nil
}

// clone is a copy whose sizes and digests can be filled in.
func (m *Manifest) clone() *Manifest {
	c := *m
	c.Submodels = slices.Clone(m.Submodels)
	for i, s := range c.Submodels {
		if s.Data != nil {
			data := *s.Data
			c.Submodels[i].Data = &data
		}
	}
	c.Files = slices.Clone(m.Files)
	return &c
}

// Encode writes the manifest as JSON, always to the same bytes: one line for each
// field, and one for each entry of a list.
func (m *Manifest) Encode() ([]byte, error) {
	w := manifestWriter{}
	w.value("schema", m.Schema)
	w.value("tool", m.Tool)
	w.value("model", m.Model)
	w.value("options", m.Options)
	w.list("devices", entries(m.Devices))
	w.list("processors", entries(m.Processors))
	if len(m.Links) > 0 {
		w.list("links", entries(m.Links))
	}
	w.list("submodels", entries(m.Submodels))
	w.list("edges", entries(m.Edges))
	w.list("inputs", entries(m.Inputs))
	w.list("outputs", entries(m.Outputs))
	w.value("prediction", m.Prediction)
	w.list("files", entries(m.Files))
	w.list("notes", entries(m.Notes))
	if w.err != nil {
		return nil, w.err
	}
	w.out.WriteString("\n}\n")
	return w.out.Bytes(), nil
}

func entries[T any](list []T) []any {
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i]
	}
	return out
}

// manifestWriter lays an object out in lines and keeps the first error.
type manifestWriter struct {
	out bytes.Buffer
	err error
}

func (w *manifestWriter) name(name string) {
	start := ",\n "
	if w.out.Len() == 0 {
		start = "{\n "
	}
	fmt.Fprintf(&w.out, "%s%q: ", start, name)
}

func (w *manifestWriter) json(v any) {
	b, err := marshalJSON(v)
	if err != nil && w.err == nil {
		w.err = err
	}
	w.out.Write(b)
}

func (w *manifestWriter) value(name string, v any) {
	w.name(name)
	w.json(v)
}

func (w *manifestWriter) list(name string, items []any) {
	w.name(name)
	w.out.WriteByte('[')
	for i, v := range items {
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.out.WriteString("\n  ")
		w.json(v)
	}
	if len(items) > 0 {
		w.out.WriteString("\n ")
	}
	w.out.WriteByte(']')
}
