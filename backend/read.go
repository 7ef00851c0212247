package backend

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// maxManifestBytes bounds what is read as a manifest.
const maxManifestBytes = 1 << 28

// readManifestFile reads a manifest's bytes, but not without end.
func readManifestFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // it is only read
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := st.Size() // nothing is read of a file that is too large; of a pipe, all up to the limit
	var body []byte
	if size <= maxManifestBytes {
		body, err = io.ReadAll(io.LimitReader(f, maxManifestBytes+1))
		size = int64(len(body))
	}
	if err == nil && size > maxManifestBytes {
		err = fmt.Errorf("it has more than %d bytes", maxManifestBytes)
	}
	return body, err
}

// plainName says whether a name is that of a file in the bundle's own folder.
func plainName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\\:\x00")
}

// ReadManifest reads the manifest of the bundle in a folder and checks it: its
// format, that all it refers to is there, and that the sub-models stand in a valid
// execution order. It does not look at the other files. Errors are *diag.Error or
// a diag.List of them.
func ReadManifest(dir string) (*Manifest, error) {
	path := filepath.Join(dir, ManifestFile)
	body, err := readManifestFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, serr := os.Stat(dir); serr != nil {
			return nil, &diag.Error{File: dir, Msg: "there is no such folder"}
		}
		return nil, &diag.Error{File: dir, Msg: "it is no bundle: it has no " + ManifestFile}
	case err != nil:
		return nil, &diag.Error{File: path, Msg: "cannot read the manifest", Err: err}
	}
	return ParseManifest(path, body)
}

// ParseManifest is ReadManifest for a manifest's bytes; path is for errors.
func ParseManifest(path string, body []byte) (*Manifest, error) {
	// The schema first: of another version all else would be noise.
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(body, &head); err != nil {
		return nil, syntaxError(path, body, err)
	}
	if head.Schema != ManifestSchema {
		return nil, &diag.Error{File: path, Msg: fmt.Sprintf("its schema is %q, this program reads %q", head.Schema, ManifestSchema)}
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	m := &Manifest{}
	if err := dec.Decode(m); err != nil {
		return nil, syntaxError(path, body, err)
	}
	c := manifestChecker{m: m, path: path}
	c.check()
	if err := c.problems.Err(); err != nil {
		return nil, err
	}
	return m, nil
}

// syntaxError adds line and column where the decoder knows an offset.
func syntaxError(path string, body []byte, err error) error {
	e := &diag.Error{File: path, Msg: "it is no valid manifest", Err: err}
	offset := int64(-1)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		offset = syntax.Offset
	case errors.As(err, &kind):
		offset = kind.Offset
		e.Err = fmt.Errorf("%s is a %s, which it cannot be", kind.Field, kind.Value)
	}
	if offset >= 0 && offset <= int64(len(body)) {
		before := body[:offset]
		e.Line = 1 + bytes.Count(before, []byte("\n"))
		e.Col = len(before) - bytes.LastIndexByte(before, '\n') - 1
		e.Col = max(e.Col, 1)
	}
	return e
}

// manifestChecker collects what is wrong with a manifest.
type manifestChecker struct {
	m        *Manifest
	path     string
	problems diag.List
}

func (c *manifestChecker) fail(format string, args ...any) {
	c.problems = append(c.problems, &diag.Error{File: c.path, Msg: fmt.Sprintf(format, args...)})
}

func (c *manifestChecker) check() {
	m := c.m
	if m.Tool.Name != "dnnsplit" {
		c.fail("it was written by %q", m.Tool.Name)
	}
	var options map[string]json.RawMessage
	if json.Unmarshal(m.Options, &options) != nil || options == nil {
		c.fail("options is no object")
	}
	if m.Model.File == "" {
		c.fail("the model has no file name")
	}
	c.sha("the model", m.Model.SHA256)
	devices := c.hardware()
	position := c.submodels()
	c.processors(position)
	made := c.edges(position, devices)
	c.boundary(devices, made)
	c.prediction()
}

func (c *manifestChecker) sha(what, s string) {
	if len(s) != 64 || strings.Trim(s, "0123456789abcdef") != "" {
		c.fail("the sha256 of %s is %q, want 64 hexadecimal digits", what, s)
	}
}

func (c *manifestChecker) bytes(what string, n int64) {
	if n < 0 {
		c.fail("%s has %d bytes", what, n)
	}
}

func (c *manifestChecker) span(what string, s Span) {
	if !(s.StartUs >= 0 && s.EndUs >= s.StartUs) {
		c.fail("%s is predicted from %v to %v us", what, s.StartUs, s.EndUs)
	}
}

// hardware checks devices and processors and returns the devices' names.
func (c *manifestChecker) hardware() map[string]bool {
	devices := map[string]bool{}
	for _, d := range c.m.Devices {
		if d.Name == "" || devices[d.Name] {
			c.fail("device %q has no name or stands twice", d.Name)
		}
		devices[d.Name] = true
		c.bytes("the plan on device "+d.Name, d.MemoryBytes)
	}
	procs := map[string]bool{}
	for _, p := range c.m.Processors {
		if p.Name == "" || procs[p.Name] {
			c.fail("processor %q has no name or stands twice", p.Name)
		}
		procs[p.Name] = true
		if !devices[p.Device] {
			c.fail("processor %q is on device %q, which is not listed", p.Name, p.Device)
		}
		c.bytes("the plan on processor "+p.Name, p.MemoryBytes)
	}
	return devices
}

// submodels checks sub-models and files and returns the place of each id.
func (c *manifestChecker) submodels() map[string]int {
	position := map[string]int{}
	files := map[string]bool{strings.ToLower(ManifestFile): true}
	file := func(owner, name string) {
		if !plainName(name) {
			c.fail("%s names file %q, which is not in the bundle's folder", owner, name)
		} else if key := strings.ToLower(name); files[key] {
			c.fail("two things are in file %q", name)
		} else {
			files[key] = true
		}
	}
	for i, s := range c.m.Submodels {
		what := fmt.Sprintf("sub-model %q", s.ID)
		if _, dup := position[s.ID]; dup || s.ID == "" {
			c.fail("%s has no id or stands twice", what)
		}
		position[s.ID] = i
		file(what, s.File)
		c.sha(what, s.SHA256)
		c.bytes(what, s.Bytes)
		if s.Data != nil {
			file(what, s.Data.File)
			c.sha("the data of "+what, s.Data.SHA256)
			c.bytes("the data of "+what, s.Data.Bytes)
		}
		if s.Nodes < 0 || s.Replicas < 0 || s.Constants < 0 || s.WeightBytes < 0 || s.PeakActivationBytes < 0 {
			c.fail("%s has a negative count", what)
		}
		c.distinct(what+" as inputs", s.Inputs)
		c.distinct(what+" as outputs", s.Outputs)
		c.span(what, s.Predicted)
	}
	for i, s := range c.m.Submodels {
		own := 0
		if s.Data != nil {
			own = 1
		}
		if len(c.m.DataOf(i)) != own+len(s.References) {
			c.fail("sub-model %q refers to a file that is not listed, or twice to one", s.ID)
		}
	}
	for _, f := range c.m.Files {
		file("the bundle", f.File)
		c.sha(fmt.Sprintf("file %q", f.File), f.SHA256)
		c.bytes(fmt.Sprintf("file %q", f.File), f.Bytes)
	}
	return position
}

func (c *manifestChecker) distinct(what string, names []string) {
	seen := map[string]bool{}
	for _, n := range names {
		if n == "" || seen[n] {
			c.fail("%s has %q twice, or a name is empty", what, n)
		}
		seen[n] = true
	}
}

// processors checks that each sub-model is a run of its processor, in order.
func (c *manifestChecker) processors(position map[string]int) {
	runs := 0
	for _, p := range c.m.Processors {
		last := -1
		for k, id := range p.Submodels {
			i, ok := position[id]
			switch {
			case !ok:
				c.fail("processor %q has a sub-model %q, which is not listed", p.Name, id)
				continue
			case c.m.Submodels[i].Processor != p.Name || c.m.Submodels[i].Order != k:
				c.fail("sub-model %q is run %d of processor %q, but says it is run %d of %q", id, k, p.Name, c.m.Submodels[i].Order, c.m.Submodels[i].Processor)
			case i < last:
				c.fail("sub-model %q runs after a later one on processor %q", id, p.Name)
			}
			last = i
			runs++
		}
	}
	if runs != len(c.m.Submodels) {
		c.fail("the processors have %d sub-models, %d are listed", runs, len(c.m.Submodels))
	}
}

// edges checks the tensors between sub-models and returns who makes each.
func (c *manifestChecker) edges(position map[string]int, devices map[string]bool) map[string]string {
	has := func(list []string) map[string]bool {
		set := make(map[string]bool, len(list))
		for _, n := range list {
			set[n] = true
		}
		return set
	}
	ins, outs := make([]map[string]bool, len(c.m.Submodels)), make([]map[string]bool, len(c.m.Submodels))
	made := map[string]string{}
	for i, s := range c.m.Submodels {
		ins[i], outs[i] = has(s.Inputs), has(s.Outputs)
		for _, name := range s.Outputs {
			if other, dup := made[name]; dup {
				c.fail("tensor %q is an output of sub-models %q and %q", name, other, s.ID)
			}
			made[name] = s.ID
		}
	}
	supplied := make([]map[string]bool, len(c.m.Submodels))
	for i := range supplied {
		supplied[i] = map[string]bool{}
	}
	take := func(what, tensor, to string, from int) {
		i, ok := position[to]
		switch {
		case !ok:
			c.fail("%s goes to sub-model %q, which is not listed", what, to)
		case !ins[i][tensor]:
			c.fail("%s goes to sub-model %q, which has no such input", what, to)
		case i <= from:
			c.fail("%s goes to sub-model %q, which runs before it is there", what, to)
		case supplied[i][tensor]:
			c.fail("%s comes to sub-model %q twice", what, to)
		default:
			supplied[i][tensor] = true
		}
	}
	for _, e := range c.m.Edges {
		what := fmt.Sprintf("edge %q", e.Tensor)
		from, ok := position[e.From]
		if !ok || !outs[from][e.Tensor] {
			c.fail("%s comes from sub-model %q, which has no such output", what, e.From)
			continue
		}
		if len(e.To) == 0 {
			c.fail("%s goes nowhere", what)
		}
		for _, to := range e.To {
			take(what, e.Tensor, to, from)
		}
		c.bytes(what, e.Bytes)
		c.span(what, e.Predicted)
		c.transfers(what, e.Transfers, devices)
	}
	for _, in := range c.m.Inputs {
		for _, to := range in.To {
			take(fmt.Sprintf("input %q", in.Tensor), in.Tensor, to, -1)
		}
	}
	for i, s := range c.m.Submodels {
		for _, name := range s.Inputs {
			if !supplied[i][name] {
				c.fail("input %q of sub-model %q comes from nowhere", name, s.ID)
			}
		}
	}
	return made
}

func (c *manifestChecker) transfers(what string, list []Transfer, devices map[string]bool) {
	for _, t := range list {
		if !devices[t.From] || !devices[t.To] || !devices[t.For] {
			c.fail("%s is sent from %q to %q for %q, one of which is no device", what, t.From, t.To, t.For)
		}
		c.span(what, t.Predicted)
	}
}

// boundary checks the model's inputs and outputs against those of the bundle.
func (c *manifestChecker) boundary(devices map[string]bool, made map[string]string) {
	m := c.m
	if len(m.Inputs) != len(m.Model.Inputs) || len(m.Outputs) != len(m.Model.Outputs) {
		c.fail("the model has %d inputs and %d outputs, the bundle %d and %d", len(m.Model.Inputs), len(m.Model.Outputs), len(m.Inputs), len(m.Outputs))
		return
	}
	inputs := map[string]bool{}
	for i, in := range m.Inputs {
		if in.Tensor != m.Model.Inputs[i].Name || in.Tensor == "" || inputs[in.Tensor] {
			c.fail("input %d is %q, the model has %q there", i, in.Tensor, m.Model.Inputs[i].Name)
		}
		inputs[in.Tensor] = true
		c.transfers(fmt.Sprintf("input %q", in.Tensor), in.Transfers, devices)
	}
	for i, out := range m.Outputs {
		what := fmt.Sprintf("output %q", out.Tensor)
		if out.Tensor != m.Model.Outputs[i].Name {
			c.fail("output %d is %q, the model has %q there", i, out.Tensor, m.Model.Outputs[i].Name)
		}
		for _, k := range out.Kept {
			if k != KeptInput && k != KeptConstant && k != KeptRepeated {
				c.fail("%s is kept as %q", what, k)
			}
		}
		switch {
		case out.From == nil && !inputs[out.Tensor]:
			c.fail("%s comes from nowhere", what)
		case out.From != nil && (made[out.Tensor] != *out.From || *out.From == ""):
			c.fail("%s comes from sub-model %q, which has no such output", what, *out.From)
		}
		c.transfers(what, out.Transfers, devices)
	}
}

func (c *manifestChecker) prediction() {
	p := c.m.Prediction
	if p.Objective != "latency" && p.Objective != "throughput" {
		c.fail("the objective is %q, want latency or throughput", p.Objective)
	}
	for _, us := range []float64{p.LatencyUs, p.BottleneckUs, p.LowerBoundUs} {
		if !(us >= 0) {
			c.fail("a predicted time is %v us, want at least 0", us)
		}
	}
}
