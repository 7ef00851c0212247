package profiles

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

const costsSchema = "dnnsplit/costs/v1"

// CostFile holds what was measured on one processor; its text form is JSON of
// the schema dnnsplit/costs/v1.
type CostFile struct {
	Processor  string            // that was measured; informative, so that a profile can be shared
	Machine    map[string]string // what was measured with: cpu, runtime, provider, threads, ...; may be nil
	Source     string            // where the numbers come from, as in a device profile; may be ""
	Parameters Parameters
	Entries    []CostEntry // ascending by Signature, each once

	// SubmodelRuns are the measurements that entries and parameters were calibrated
	// to, so that later ones can be calibrated together with them. Predictions do
	// not look at them. Ascending by SubmodelRun.Key, each once.
	SubmodelRuns []SubmodelRun
}

// SubmodelRun is a measured run of a sub-model: of one operation or group alone,
// of a stretch of a model, of a whole model.
type SubmodelRun struct {
	Units       []UnitCount // what it holds, ascending by signature, each once; all have an entry
	Inputs      int64       // distinct values that it takes
	InputBytes  int64
	Outputs     int64 // distinct values that it gives
	OutputBytes int64
	MedianUs    float64
	SpreadUs    float64
	// FirstUs is the median of first runs, after other sub-models had run; MedianUs
	// is that of those right after them. 0 if it is not known.
	FirstUs float64
	Runs    int64  // ≥ 1
	Model   string // name of the file that it was cut from; informative
	Whole   bool   // it is a whole model
	// Shared says that it ran while other processors were busy, as in a bench of a split.
	Shared bool
}

// UnitCount is how often a sub-model holds operations of a signature.
type UnitCount struct {
	Signature string
	Count     int64 // ≥ 1
}

// Key tells runs of sub-models that hold different things apart.
func (r *SubmodelRun) Key() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%t %t %d %d %d %d", r.Whole, r.Shared, r.Inputs, r.InputBytes, r.Outputs, r.OutputBytes)
	for _, u := range r.Units {
		fmt.Fprintf(&b, "\n%d %s", u.Count, u.Signature)
	}
	return b.String()
}

// Parameters are measured or calibrated properties of the processor. Each one
// that is given replaces what the device profile says.
type Parameters struct {
	// LaunchUs is what a run of a sub-model costs beside its operations where another
	// sub-model ran before it: code and weights are in slower memory then.
	LaunchUs       *float64
	LaunchSpreadUs *float64 // its median absolute deviation
	// WarmLaunchUs is the same right after a run of the same sub-model, the condition
	// in which SubmodelRuns are timed unless they are Shared. Predictions do not use it.
	WarmLaunchUs *float64
	Upload       *CopyCost // host memory → processor
	Download     *CopyCost // processor → host memory
	// Scale multiplies measured and fitted costs, so that their sum over a whole
	// model agrees with the time of that model (cache effects, fusion across
	// groups); absent is 1.
	Scale *float64
	// Busy multiplies costs while the other processors of the device are busy too:
	// they share memory and caches. See Fleet.Busy; absent is 1.
	Busy *float64
	// Error is the relative error at which entries and parameters explain runs of
	// several operations (the median): a smaller predicted gain says nothing. See
	// Fleet.Error; absent is 0.
	Error *float64
}

// CopyCost is the time of a copy: LatencyUs plus bytes/BytesPerUs.
type CopyCost struct {
	LatencyUs  float64
	BytesPerUs float64 // > 0
}

// CostEntry is the measured cost of one op signature.
type CostEntry struct {
	Signature string // domain, op type, attributes that matter, element types and shapes
	Op        string
	Domain    string      // "" is the default domain
	Kernel    string      // as Op.Kernel; may be ""
	Elem      ir.ElemType // that the arithmetic works on; UndefinedElem if none
	FLOPs     int64       // a multiplication and an addition are two
	Bytes     int64       // read and written
	MedianUs  float64
	SpreadUs  float64 // half the distance between the quartiles, or what Source says
	Runs      int64   // ≥ 1
}

// Encode writes the file: entries ascending by signature, one a line, so that
// the same content is always the same bytes and versions compare well.
func (c *CostFile) Encode(w io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	entries := slices.Clone(c.Entries)
	slices.SortFunc(entries, func(a, b CostEntry) int { return cmp.Compare(a.Signature, b.Signature) })

	var b bytes.Buffer
	field := func(name string, v any) {
		b.WriteString(" ")
		b.Write(encodeJSON(name))
		b.WriteString(": ")
		b.Write(encodeJSON(v))
		b.WriteString(",\n")
	}
	b.WriteString("{\n")
	field("schema", costsSchema)
	field("processor", c.Processor)
	if len(c.Machine) > 0 {
		field("machine", c.Machine) // sorted by the encoder
	}
	if c.Source != "" {
		field("source", c.Source)
	}
	if p := c.Parameters.text(); p != (parametersText{}) {
		field("parameters", p)
	}
	b.WriteString(" \"entries\": [")
	for i, e := range entries {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n  ")
		b.Write(encodeJSON(entryText{e.Signature, e.Op, e.Domain, e.Kernel, e.Elem.String(), e.FLOPs, e.Bytes, e.MedianUs, e.SpreadUs, e.Runs}))
	}
	b.WriteString("\n ]")
	c.encodeRuns(&b, entries)
	b.WriteString("\n}\n")
	_, err := w.Write(b.Bytes())
	return err
}

// The JSON forms, in the order of the keys in the file.
type (
	entryText struct {
		Signature string  `json:"signature"`
		Op        string  `json:"op"`
		Domain    string  `json:"domain"`
		Kernel    string  `json:"kernel,omitempty"`
		Elem      string  `json:"elem"`
		FLOPs     int64   `json:"flops"`
		Bytes     int64   `json:"bytes"`
		MedianUs  float64 `json:"median_us"`
		SpreadUs  float64 `json:"spread_us"`
		Runs      int64   `json:"runs"`
	}
	copyText struct {
		LatencyUs  float64 `json:"latency_us"`
		BytesPerUs float64 `json:"bytes_per_us"`
	}
	parametersText struct {
		LaunchUs       *float64  `json:"launch_us,omitempty"`
		LaunchSpreadUs *float64  `json:"launch_spread_us,omitempty"`
		WarmLaunchUs   *float64  `json:"warm_launch_us,omitempty"`
		Upload         *copyText `json:"upload,omitempty"`
		Download       *copyText `json:"download,omitempty"`
		Scale          *float64  `json:"scale,omitempty"`
		Busy           *float64  `json:"busy,omitempty"`
		Error          *float64  `json:"error,omitempty"`
	}
)

func (p *Parameters) text() parametersText {
	return parametersText{p.LaunchUs, p.LaunchSpreadUs, p.WarmLaunchUs, (*copyText)(p.Upload), (*copyText)(p.Download), p.Scale, p.Busy, p.Error}
}

// encodeJSON is one line of JSON without escapes for HTML. v was checked and
// holds nothing that JSON cannot say.
func encodeJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return []byte("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// check says what would not survive writing and reading.
func (c *CostFile) check() error {
	texts := append(make([]string, 0, 2+2*len(c.Machine)), c.Processor, c.Source)
	for _, k := range slices.Sorted(maps.Keys(c.Machine)) {
		texts = append(texts, k, c.Machine[k])
	}
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return fmt.Errorf("the text %s is not UTF-8", quoted(s))
		}
	}
	if err := c.Parameters.check(); err != nil {
		return err
	}
	seen := make(map[string]bool, len(c.Entries))
	for i := range c.Entries {
		e := &c.Entries[i]
		if err := e.check(); err != nil {
			return fmt.Errorf("entry %s: %w", quoted(e.Signature), err)
		}
		if seen[e.Signature] {
			return fmt.Errorf("entry %s is there twice", quoted(e.Signature))
		}
		seen[e.Signature] = true
	}
	return c.checkRuns(seen)
}

func (e *CostEntry) check() error {
	switch {
	case e.Signature == "":
		return fmt.Errorf("signature is empty")
	case e.Op == "":
		return fmt.Errorf("op is empty, expected an op type such as Conv")
	case !utf8.ValidString(e.Signature) || !utf8.ValidString(e.Op) || !utf8.ValidString(e.Domain) || !utf8.ValidString(e.Kernel):
		return fmt.Errorf("signature, op, domain or kernel is not UTF-8")
	case e.Elem != ir.UndefinedElem && !e.Elem.Known():
		return fmt.Errorf("elem is %s, which is no element type", e.Elem)
	case e.FLOPs < 0:
		return fmt.Errorf("flops is %d, expected at least 0", e.FLOPs)
	case e.Bytes < 0:
		return fmt.Errorf("bytes is %d, expected at least 0", e.Bytes)
	case e.Runs < 1:
		return fmt.Errorf("runs is %d, expected at least 1", e.Runs)
	}
	if err := checkMicros("median_us", e.MedianUs); err != nil {
		return err
	}
	return checkMicros("spread_us", e.SpreadUs)
}

func checkMicros(what string, us float64) error {
	if !(us >= 0 && us <= ir.MaxMicros) {
		return fmt.Errorf("%s is %v, expected microseconds from 0 to %g", what, us, float64(ir.MaxMicros))
	}
	return nil
}

func (p *Parameters) check() error {
	for _, t := range []struct {
		name string
		us   *float64
	}{{"launch_us", p.LaunchUs}, {"launch_spread_us", p.LaunchSpreadUs}, {"warm_launch_us", p.WarmLaunchUs}} {
		if t.us == nil {
			continue
		}
		if err := checkMicros(t.name, *t.us); err != nil {
			return err
		}
	}
	for _, way := range []*CopyCost{p.Upload, p.Download} {
		if way == nil {
			continue
		}
		if err := checkMicros("latency_us", way.LatencyUs); err != nil {
			return err
		}
		if r := way.BytesPerUs * 1e6; !(r >= minRate && r <= maxRate) {
			return fmt.Errorf("bytes_per_us is %v, expected a number such as 12000", way.BytesPerUs)
		}
	}
	if p.Scale != nil && !(*p.Scale >= 1e-3 && *p.Scale <= 1e3) {
		return fmt.Errorf("scale is %v, expected a number from 0.001 to 1000", *p.Scale)
	}
	if p.Busy != nil && !(*p.Busy >= 1 && *p.Busy <= 1e3) {
		return fmt.Errorf("busy is %v, expected a number from 1 to 1000", *p.Busy)
	}
	if p.Error != nil && !(*p.Error >= 0 && *p.Error <= 1) {
		return fmt.Errorf("error is %v, expected a share from 0 to 1", *p.Error)
	}
	return nil
}

// Merge takes over what newer measured: its entries replace those of the same
// signature, its parameters replace those that it gives. Measurements of
// different machines do not mix: it is an error if a key of Machine that both
// have differs, and c is then unchanged.
func (c *CostFile) Merge(newer *CostFile) error {
	for _, k := range slices.Sorted(maps.Keys(newer.Machine)) {
		if old, ok := c.Machine[k]; ok && old != newer.Machine[k] {
			return fmt.Errorf("measured with another machine or runtime: %s is %s there and %s here; write to another file",
				k, quoted(old), quoted(newer.Machine[k]))
		}
	}
	if c.Processor == "" {
		c.Processor = newer.Processor
	}
	if newer.Source != "" {
		c.Source = newer.Source
	}
	if len(newer.Machine) > 0 {
		if c.Machine == nil {
			c.Machine = map[string]string{}
		}
		maps.Copy(c.Machine, newer.Machine)
	}
	c.Parameters.override(&newer.Parameters)

	bySignature := make(map[string]int, len(c.Entries))
	for i, e := range c.Entries {
		bySignature[e.Signature] = i
	}
	for _, e := range newer.Entries {
		if i, ok := bySignature[e.Signature]; ok {
			c.Entries[i] = e
		} else {
			bySignature[e.Signature] = len(c.Entries)
			c.Entries = append(c.Entries, e)
		}
	}
	slices.SortFunc(c.Entries, func(a, b CostEntry) int { return cmp.Compare(a.Signature, b.Signature) })
	c.mergeRuns(newer.SubmodelRuns)
	return nil
}

// override replaces what newer gives.
func (p *Parameters) override(newer *Parameters) {
	for _, f := range []struct{ old, newer **float64 }{
		{&p.LaunchUs, &newer.LaunchUs},
		{&p.LaunchSpreadUs, &newer.LaunchSpreadUs},
		{&p.WarmLaunchUs, &newer.WarmLaunchUs},
		{&p.Scale, &newer.Scale},
		{&p.Busy, &newer.Busy},
		{&p.Error, &newer.Error},
	} {
		if *f.newer != nil {
			*f.old = *f.newer
		}
	}
	if newer.Upload != nil {
		p.Upload = newer.Upload
	}
	if newer.Download != nil {
		p.Download = newer.Download
	}
}

// apply puts measured parameters into the hardware; the scale is with the costs.
func (p *Parameters) apply(hardware *ir.Processor) {
	if p.LaunchUs != nil {
		hardware.Launch = ir.Micros(*p.LaunchUs)
	}
	if p.Upload != nil {
		hardware.Upload = p.Upload.copy()
	}
	if p.Download != nil {
		hardware.Download = p.Download.copy()
	}
}

func (c *CopyCost) copy() *ir.Copy {
	return &ir.Copy{Latency: ir.Micros(c.LatencyUs), BytesPerUs: c.BytesPerUs}
}

// scale is the calibration factor; 1 if there is none.
func (p *Parameters) scale() float64 {
	if p.Scale == nil {
		return 1
	}
	return *p.Scale
}

// busy is the factor of a busy device; 1 if there is none.
func (p *Parameters) busy() float64 {
	if p.Busy == nil {
		return 1
	}
	return *p.Busy
}

// finite says whether v is a number.
func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
