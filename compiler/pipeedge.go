package compiler

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// PipeEdge (Y. Hu, C. Imes, X. Zhao, S. Kundu, P. A. Beerel, S. P. Crago, J. P.
// Walters: "PipeEdge: Pipeline Parallelism for Large-Scale Model Inference on
// Heterogeneous Edge Devices", DSD 2022) describes models, types of devices and
// devices in three YAML files. Its scheduler counts a megabyte as 2^20 bytes and a
// megabit as 2^20 bits, and a link is as fast as the slower of its two ends.
const (
	PipeEdgeModels      = "models.yml"       // model → layers, mem_MB, parameters_in, parameters_out
	PipeEdgeDeviceTypes = "device_types.yml" // type → mem_MB, bw_Mbps, model_profiles
	PipeEdgeDevices     = "devices.yml"      // type → hosts

	pipeEdgeMega = 1 << 20
)

// PipeEdge is what a folder of PipeEdge's files says.
type PipeEdge struct {
	dir    string
	models map[string]pipeEdgeModel
	hosts  []pipeEdgeHost // by type, then as in the file
}

type pipeEdgeModel struct {
	Layers int       `yaml:"layers"`
	MemMB  []float64 `yaml:"mem_MB"`
	In     float64   `yaml:"parameters_in"`
	Out    []float64 `yaml:"parameters_out"`
}

type pipeEdgeType struct {
	MemMB    float64                      `yaml:"mem_MB"`
	BwMbps   float64                      `yaml:"bw_Mbps"`
	Profiles map[string][]pipeEdgeProfile `yaml:"model_profiles"`
}

type pipeEdgeProfile struct {
	Dtype string    `yaml:"dtype"`
	Batch int       `yaml:"batch_size"`
	TimeS []float64 `yaml:"time_s"`
}

type pipeEdgeHost struct {
	host, name, kind string // as PipeEdge calls it, as a device is called, its type
	spec             pipeEdgeType
}

// PipeEdgeOptions choose among what PipeEdge's files hold.
type PipeEdgeOptions struct {
	Model string // "": the only one
	Dtype string // "": torch.float32
	Batch int    // 0: the only batch size that the profiles have
}

// ReadPipeEdge reads device_types.yml and devices.yml of a folder, and models.yml
// if it is there.
func ReadPipeEdge(dir string) (*PipeEdge, error) {
	p := &PipeEdge{dir: dir}
	types := map[string]pipeEdgeType{}
	if _, err := readYAML(filepath.Join(dir, PipeEdgeDeviceTypes), &types); err != nil {
		return nil, err
	}
	devices := map[string][]string{}
	if _, err := readYAML(filepath.Join(dir, PipeEdgeDevices), &devices); err != nil {
		return nil, err
	}
	models := filepath.Join(dir, PipeEdgeModels)
	if fileExists(models) {
		if _, err := readYAML(models, &p.models); err != nil {
			return nil, err
		}
	}
	fail := func(file, format string, args ...any) error {
		return &diag.Error{File: filepath.Join(dir, file), Msg: fmt.Sprintf(format, args...)}
	}
	taken := map[string]string{}
	for _, kind := range sortedKeys(devices) {
		spec, ok := types[kind]
		if !ok {
			return nil, fail(PipeEdgeDevices, "device type %q is not in %s", kind, PipeEdgeDeviceTypes)
		}
		for _, v := range []float64{spec.MemMB, spec.BwMbps} {
			if !(v >= 0) || v > 1e12 {
				return nil, fail(PipeEdgeDeviceTypes, "device type %q has a size or a bandwidth of %v", kind, v)
			}
		}
		for _, host := range devices[kind] {
			name := pipeEdgeName(host)
			if other, twice := taken[name]; twice || name == "" {
				return nil, fail(PipeEdgeDevices, "host %q cannot be told from %q as the name of a device", host, other)
			}
			taken[name] = host
			p.hosts = append(p.hosts, pipeEdgeHost{host, name, kind, spec})
		}
	}
	if len(p.hosts) == 0 {
		return nil, fail(PipeEdgeDevices, "it has no hosts")
	}
	return p, nil
}

// pipeEdgeName is a host as a name of a device: letters, digits, - and _.
func pipeEdgeName(host string) string {
	return strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' {
			return r
		}
		return '-'
	}, host), "-_")
}

// choose fills what o leaves open, from the profiles.
func (p *PipeEdge) choose(o *PipeEdgeOptions) error {
	names, batches := map[string]bool{}, map[int]bool{}
	for _, h := range p.hosts {
		for name := range h.spec.Profiles {
			names[name] = true
		}
	}
	fail := func(format string, args ...any) error {
		return &diag.Error{File: filepath.Join(p.dir, PipeEdgeDeviceTypes), Msg: fmt.Sprintf(format, args...)}
	}
	all := sortedKeys(names)
	switch {
	case o.Model != "" && !names[o.Model]:
		return fail("no model is called %q; there are %s", o.Model, strings.Join(all, ", "))
	case o.Model == "" && len(all) != 1:
		return fail("name a model with --model: there are %s", strings.Join(all, ", "))
	case o.Model == "":
		o.Model = all[0]
	}
	if o.Dtype == "" {
		o.Dtype = "torch.float32"
	}
	for _, h := range p.hosts {
		for _, pr := range h.spec.Profiles[o.Model] {
			if pr.Dtype == o.Dtype {
				batches[pr.Batch] = true
			}
		}
	}
	sizes := sortedKeys(batches)
	switch {
	case len(sizes) == 0:
		return fail("model %q has no profile of dtype %s", o.Model, o.Dtype)
	case o.Batch == 0 && len(sizes) > 1:
		return fail("name a batch size with --batch: the profiles of %q have %s", o.Model, strings.Trim(fmt.Sprint(sizes), "[]"))
	case o.Batch == 0:
		o.Batch = sizes[0]
	case !batches[o.Batch]:
		return fail("no profile of %q has batch size %d; there are %s", o.Model, o.Batch, strings.Trim(fmt.Sprint(sizes), "[]"))
	}
	return nil
}

// times are the seconds of each layer on a host, nil if it has no such profile.
func (h *pipeEdgeHost) times(o PipeEdgeOptions) []float64 {
	for _, pr := range h.spec.Profiles[o.Model] {
		if pr.Dtype == o.Dtype && pr.Batch == o.Batch {
			return pr.TimeS
		}
	}
	return nil
}

// way is the link between two hosts; false if it carries nothing.
func (h *pipeEdgeHost) way(to *pipeEdgeHost) (bytesPerSecond float64, ok bool) {
	mbps := min(h.spec.BwMbps, to.spec.BwMbps)
	return mbps * pipeEdgeMega / 8, mbps > 0
}

// elementBytes are those of PyTorch's types that PipeEdge's profiles name.
var elementBytes = map[string]float64{
	"torch.float64": 8, "torch.float32": 4, "torch.float16": 2, "torch.bfloat16": 2, "torch.int8": 1, "torch.uint8": 1,
}

// Graph is PipeEdge's scheduling problem as an execution graph: a chain of the
// model's layers with the measured times, on the hosts that were measured.
func (p *PipeEdge) Graph(o PipeEdgeOptions) (problem *ir.Problem, err error) {
	defer catch(&err)
	if err := p.choose(&o); err != nil {
		return nil, err
	}
	fail := func(format string, args ...any) error {
		return &diag.Error{File: filepath.Join(p.dir, PipeEdgeModels), Msg: fmt.Sprintf(format, args...)}
	}
	m, ok := p.models[o.Model]
	size, known := elementBytes[o.Dtype]
	switch {
	case !ok:
		return nil, fail("it has no model %q", o.Model)
	case !known:
		return nil, fail("the size of dtype %s is not known", o.Dtype)
	case m.Layers < 1 || len(m.MemMB) != m.Layers || len(m.Out) != m.Layers:
		return nil, fail("model %q has %d layers, but %d entries in mem_MB and %d in parameters_out", o.Model, m.Layers, len(m.MemMB), len(m.Out))
	}
	bad := false
	bytesOf := func(n float64) int64 {
		if !(n >= 0) || n > 1<<50 {
			bad = true
			return 0
		}
		return int64(math.Ceil(n))
	}
	b := ir.NewBuilder(o.Model)
	tensor := func(name string, parameters float64, input, output bool) ir.ValueID {
		n := bytesOf(parameters * float64(o.Batch) * size)
		return b.Value(ir.Value{Name: name, Bytes: n, ResidentBytes: n, Input: input, Output: output})
	}
	last := tensor("input", m.In, true, false)
	for i := range m.Layers {
		name := fmt.Sprintf("layer%d", i+1)
		w := b.Weight(name+".memory", bytesOf(m.MemMB[i]*pipeEdgeMega))
		out := tensor(name+".output", m.Out[i], false, i == m.Layers-1)
		b.Node(ir.Node{Name: name, Op: "Layer", Weights: []ir.WeightID{w}, Inputs: []ir.ValueID{last}, Outputs: []ir.ValueID{out}})
		last = out
	}
	if bad {
		return nil, fail("model %q has sizes that cannot be", o.Model)
	}
	g, err := b.Build()
	if err != nil {
		return nil, fail("model %q: %v", o.Model, err)
	}
	pf := &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice}
	var hosts []*pipeEdgeHost
	for i := range p.hosts {
		h := &p.hosts[i]
		times := h.times(o)
		if times == nil || h.spec.MemMB == 0 {
			continue
		}
		if len(times) != m.Layers {
			return nil, &diag.Error{File: filepath.Join(p.dir, PipeEdgeDeviceTypes), Msg: fmt.Sprintf("device type %q has %d times for the %d layers of %q", h.kind, len(times), m.Layers, o.Model)}
		}
		memory := bytesOf(h.spec.MemMB * pipeEdgeMega)
		pf.Devices = append(pf.Devices, ir.Device{Name: h.name, MemoryBytes: memory})
		pf.Processors = append(pf.Processors, ir.Processor{Name: h.name, Device: ir.DeviceID(len(hosts)), MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels, Kind: "cpu"})
		hosts = append(hosts, h)
	}
	costs := ir.NewCosts(g.NumNodes(), len(hosts))
	for a, h := range hosts {
		for i, s := range h.times(o) {
			if !(s >= 0) || s > ir.MaxMicros/1e6 {
				return nil, &diag.Error{File: filepath.Join(p.dir, PipeEdgeDeviceTypes), Msg: fmt.Sprintf("device type %q takes %v s for layer %d of %q", h.kind, s, i+1, o.Model)}
			}
			costs.Set(ir.NodeID(i), ir.ProcID(a), ir.Micros(s*1e6))
		}
		for c, to := range hosts {
			if rate, ok := h.way(to); ok && a != c {
				pf.Links = append(pf.Links, ir.Link{From: ir.DeviceID(a), To: ir.DeviceID(c), Copy: ir.Copy{BytesPerUs: rate / 1e6}})
			}
		}
	}
	problem = &ir.Problem{Graph: g, Platform: pf, Costs: costs, Submodels: 1}
	if err := problem.Validate(); err != nil {
		return nil, fail("model %q: %v", o.Model, err)
	}
	return problem, nil
}

// Fleet writes the hosts as device profiles: file names and contents, fleet.yaml
// last. Rates of arithmetic are not in PipeEdge's files. They are effective ones:
// those with which the roofline of the same model, given as ONNX, takes the time
// that was measured for all its layers. inspect has that model's shapes and work,
// at the batch size of the profile.
func (p *PipeEdge) Fleet(ctx context.Context, o PipeEdgeOptions, inspect Options) (names []string, files map[string][]byte, err error) {
	defer catch(&err)
	if err := p.choose(&o); err != nil {
		return nil, nil, err
	}
	inspect.Devices = ""
	in, err := Inspect(ctx, inspect)
	if err != nil {
		return nil, nil, err
	}
	flops, moved, spread := modelWork(in.Analysis)
	if flops <= 0 || moved <= 0 {
		return nil, nil, &diag.Error{File: inspect.Model, Msg: "no floating-point work of it is known, so no rate can be told from times"}
	}
	files = map[string][]byte{}
	var used []*pipeEdgeHost
	for i := range p.hosts {
		h := &p.hosts[i]
		var total float64
		for _, s := range h.times(o) {
			total += s
		}
		if !(total > 0) || h.spec.MemMB == 0 {
			continue
		}
		var b bytes.Buffer
		fmt.Fprintf(&b, "# %s, a %s, from PipeEdge's %s\nschema: dnnsplit/device/v1\n", h.host, h.kind, PipeEdgeDeviceTypes)
		fmt.Fprintf(&b, "name: %s\nmemory: %s\nprocessors:\n  - name: cpu\n    kind: cpu\n", h.name, profiles.FormatBytes(int64(h.spec.MemMB*pipeEdgeMega)))
		fmt.Fprintf(&b, "    peak: {float32: %s}\n    memory_bandwidth: %s\n",
			profiles.FormatFLOPRate(significant(flops*spread/total)), profiles.FormatDataRate(significant(moved*spread/total)))
		fmt.Fprintf(&b, "source: %s\n", yamlScalar(fmt.Sprintf("effective rates: %s, %s, batch size %d, took %.4g s", o.Model, o.Dtype, o.Batch, total)))
		name := h.name + ".yaml"
		names, files[name] = append(names, name), b.Bytes()
		used = append(used, h)
	}
	if len(used) == 0 {
		return nil, nil, &diag.Error{File: filepath.Join(p.dir, PipeEdgeDeviceTypes), Msg: fmt.Sprintf("no host has a profile of %q, %s, batch size %d", o.Model, o.Dtype, o.Batch)}
	}
	var b bytes.Buffer
	b.WriteString("# from PipeEdge: a link is as fast as the slower of its ends\nschema: dnnsplit/fleet/v1\n")
	linked := false
	for i, h := range used {
		for _, to := range used[i+1:] {
			if rate, ok := h.way(to); ok {
				if !linked {
					b.WriteString("links:\n")
				}
				linked = true
				fmt.Fprintf(&b, "  - {between: [%s, %s], bandwidth: %s}\n", h.name, to.name, profiles.FormatBitRate(rate))
			}
		}
	}
	names, files["fleet.yaml"] = append(names, "fleet.yaml"), b.Bytes()
	return names, files, nil
}

// modelWork is a model's floating-point operations and bytes, and how much longer
// than either alone its roofline is when both are scaled to the same total time:
// the sum over its nodes of the larger share.
func modelWork(a *frontend.Analysis) (flops, moved, spread float64) {
	for i := range a.Nodes {
		w := a.Nodes[i].Work
		flops += float64(w.FLOPs)
		moved += float64(w.ReadBytes) + float64(w.WriteBytes)
	}
	if flops <= 0 || moved <= 0 {
		return flops, moved, 1
	}
	for i := range a.Nodes {
		w := a.Nodes[i].Work
		spread += max(float64(w.FLOPs)/flops, (float64(w.ReadBytes)+float64(w.WriteBytes))/moved)
	}
	return flops, moved, spread
}

// significant rounds to four significant digits.
func significant(v float64) float64 {
	if v <= 0 {
		return v
	}
	scale := math.Pow(10, 3-math.Floor(math.Log10(v)))
	return math.Round(v*scale) / scale
}
