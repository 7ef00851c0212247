package export

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// NNStreamer runs a sub-model as a tensor_filter of framework onnxruntime in a
// GStreamer pipeline. What it can pass is narrower than ONNX (nnstreamer:
// tensor_typedef.h, tensor_filter_onnxruntime.cc):
//
//   - every extent is a number, at least 1; the rank is from 1 to 16. Free dimensions
//     get the sizes that the user gives, tensors of rank 0 travel as one element;
//   - element types are the integers of 8 to 64 bits, float16, float32 and float64;
//   - dimensions are written innermost first, joined by colons;
//   - a buffer holds at most 256 tensors, in the order in which the model has them.
//
// A tensor that several sub-models use passes a tee, with a queue in each branch.
// A model with several inputs gets them from a tensor_mux, which waits for one
// buffer from each side; one with several outputs feeds a tensor_demux. Between
// pipelines a tensor goes from an edgesink to an edgesrc over TCP, a port each.
//
// An edgesrc connects when its pipeline starts, so that the edgesink must be there
// already, and pipelines must not wait for one another in a circle. A device
// therefore has a pipeline for each level: a sub-model's level is the largest number
// of times that anything on its way there has changed devices.

const (
	nnsMaxRank    = 16
	nnsMaxTensors = 256
	nnsFirstPort  = 5001
)

// nnsType is the name of an element type in caps.
func nnsType(e ir.ElemType) (string, bool) {
	switch e {
	case ir.Uint8, ir.Uint16, ir.Uint32, ir.Uint64, ir.Int8, ir.Int16, ir.Int32, ir.Int64, ir.Float16, ir.Float32, ir.Float64:
		return e.String(), true
	}
	return "", false
}

// flow is a tensor as it passes the pipelines.
type flow struct {
	tensor     string
	from       int   // the sub-model that makes it; -1: it is an input of the whole
	takers     []int // sub-models that use it
	output     bool  // it is an output of the whole
	extents    []int64
	dims, elem string
}

// stage is a pipeline: a device's sub-models of one level.
type stage struct {
	device int // among the manifest's
	level  int
}

func (a stage) compare(b stage) int {
	return cmp.Or(cmp.Compare(a.level, b.level), cmp.Compare(a.device, b.device))
}

// crossing is a tensor that goes to another pipeline.
type crossing struct {
	tensor string
	to     stage
}

// pipelines are the launch lines in the making.
type pipelines struct {
	*job
	flows    []*flow
	by       map[string]*flow
	at       []stage // by sub-model
	source   stage   // where the application puts inputs in
	sink     stage   // where it takes outputs out
	stages   []stage // in the order in which they can be started
	ports    map[crossing]int
	problems diag.List
}

func (j *job) nnstreamer(ctx context.Context) error {
	p := &pipelines{job: j, by: map[string]*flow{}, ports: map[crossing]int{}}
	if len(j.m.Submodels) == 0 {
		return &diag.Error{File: filepath.Join(j.dir, backend.ManifestFile), Msg: "the bundle has no sub-model that a pipeline could run"}
	}
	p.gather()
	for i, s := range j.m.Submodels {
		for _, list := range [][]string{s.Inputs, s.Outputs} {
			if n := len(list); n == 0 || n > nnsMaxTensors {
				p.problems = append(p.problems, &diag.Error{
					File: filepath.Join(j.dir, backend.ManifestFile),
					Msg:  fmt.Sprintf("sub-model %q has %d inputs and %d outputs, a tensor_filter takes and gives 1 to %d tensors", j.m.Submodels[i].ID, len(s.Inputs), len(s.Outputs), nnsMaxTensors),
				})
				break
			}
		}
	}
	if err := p.problems.Err(); err != nil {
		return err
	}
	p.arrange()
	if err := p.assignPorts(); err != nil {
		return err
	}
	for _, at := range p.stages {
		name := p.name(at)
		j.addText(name, p.lines(at))
		fmt.Fprintf(&j.text, "%s: gst-launch-1.0 $(cat %s)\n", j.m.Devices[at.device].Name, shellQuoted(name))
	}
	for i, s := range j.m.Submodels {
		if err := p.model(ctx, i); err != nil {
			return err
		}
		if p := j.proc(i); p.Kind != "cpu" {
			j.notef("NNStreamer's onnxruntime sub-plugin runs on the CPU: sub-model %q does not run on %s", s.ID, p.Name)
		}
	}
	j.notef("start the pipelines in the order in which they are listed, in this folder on every device: an edgesrc connects to an edgesink that is there already")
	j.notef("appsrc and appsink are where an application puts tensors in and takes them out: it starts those pipelines with gst_parse_launch")
	return nil
}

// name is the file of a pipeline: the device's name, with the level where there are several.
func (p *pipelines) name(at stage) string {
	name := safe(p.m.Devices[at.device].Name)
	for i, d := range p.m.Devices {
		if i != at.device && strings.EqualFold(safe(d.Name), name) {
			name = fmt.Sprintf("%s-%d", name, at.device)
			break
		}
	}
	n := 0
	for _, s := range p.stages {
		if s.device == at.device {
			n++
		}
	}
	if n > 1 {
		name += "." + strconv.Itoa(at.level)
	}
	return name + ".launch"
}

func (p *pipelines) fail(tensor, msg string) {
	p.problems = append(p.problems, &diag.Error{File: filepath.Join(p.dir, backend.ManifestFile), Value: tensor, Msg: msg})
}

// gather lists the tensors that pass between sub-models, in and out.
func (p *pipelines) gather() {
	add := func(f *flow) {
		if old := p.by[f.tensor]; old != nil {
			old.takers = append(old.takers, f.takers...)
			old.output = old.output || f.output
			return
		}
		f.extents, f.elem = p.caps(f.tensor)
		f.dims = innermostFirst(f.extents)
		p.by[f.tensor] = f
		p.flows = append(p.flows, f)
	}
	places := func(ids []string) (out []int) {
		for _, id := range ids {
			out = append(out, p.subs[id])
		}
		return out
	}
	for _, in := range p.m.Inputs {
		if len(in.To) == 0 {
			p.notef("input %q of the model is used by no sub-model and by no pipeline", in.Tensor)
			continue
		}
		add(&flow{tensor: in.Tensor, from: -1, takers: places(in.To)})
	}
	for _, e := range p.m.Edges {
		add(&flow{tensor: e.Tensor, from: p.subs[e.From], takers: places(e.To)})
	}
	for _, out := range p.m.Outputs {
		from := -1
		if out.From != nil {
			from = p.subs[*out.From]
		} else if p.by[out.Tensor] == nil {
			p.notef("output %q is an input that no sub-model uses: no pipeline has it", out.Tensor)
			continue
		}
		add(&flow{tensor: out.Tensor, from: from, output: true})
	}
	// A file may list an output that nobody takes.
	for i, s := range p.m.Submodels {
		for _, name := range s.Outputs {
			if p.by[name] == nil {
				add(&flow{tensor: name, from: i})
			}
		}
	}
}

// caps describes a tensor in NNStreamer's terms, or reports why it cannot be. A
// tensor of rank 0 has one extent of 1.
func (p *pipelines) caps(name string) (extents []int64, elem string) {
	t := p.tensors[name]
	e, ok := p.elem(name)
	if ok {
		elem, ok = nnsType(e)
	}
	switch {
	case !ok:
		p.fail(name, fmt.Sprintf("it is of type %s, which NNStreamer cannot pass: %s", t.Dtype, keepTogether))
		return nil, ""
	case t.Shape == nil:
		p.fail(name, "its shape is not known, and NNStreamer needs static shapes")
		return nil, elem
	case len(t.Shape) == 0:
		return []int64{1}, elem
	case len(t.Shape) > nnsMaxRank:
		p.fail(name, fmt.Sprintf("it has rank %d, NNStreamer's tensors have at most %d dimensions", len(t.Shape), nnsMaxRank))
		return nil, elem
	}
	given := p.Shapes[name]
	if given != nil && len(given) != len(t.Shape) {
		p.fail(name, fmt.Sprintf("it has rank %d, and a shape of %d extents is given", len(t.Shape), len(given)))
		return nil, elem
	}
	for i, d := range t.Shape {
		n := p.extent(d)
		if given != nil && d.N < 0 {
			n = given[i]
		}
		if n < 1 || given != nil && n != given[i] {
			p.fail(name, fmt.Sprintf("its shape %s is not static, which NNStreamer needs: bind its dimensions with --shape DIM=N, or give all of them with --shape VALUE=N,N", strings.TrimPrefix(typeText(t), t.Dtype)))
			return nil, elem
		}
		extents = append(extents, n)
	}
	return extents, elem
}

// extent is the size of a dimension: a number, a name that the user bound, or a
// sum of them; 0 if it is not known.
func (p *pipelines) extent(d backend.Dim) int64 {
	if d.N >= 0 {
		return d.N
	}
	if n, ok := p.Dims[d.Sym]; ok {
		return n
	}
	terms := strings.Split(d.Sym, " + ")
	sum := int64(0)
	for _, term := range terms {
		n, ok := p.Dims[term]
		if !ok {
			k, err := strconv.ParseInt(term, 10, 32)
			if err != nil {
				return 0
			}
			n = k
		}
		sum += n
	}
	return sum
}

// innermostFirst writes extents as NNStreamer does.
func innermostFirst(extents []int64) string {
	var parts []string
	for _, n := range slices.Backward(extents) {
		parts = append(parts, strconv.FormatInt(n, 10))
	}
	return strings.Join(parts, ":")
}

// model adds the file of a sub-model: a copy where all its shapes are static, else
// one that declares the shapes that the user gave.
func (p *pipelines) model(ctx context.Context, i int) error {
	s := &p.m.Submodels[i]
	for _, f := range p.m.DataOf(i) {
		shared := slices.ContainsFunc(p.files, func(have backend.FolderFile) bool { return have.Name == f.File })
		if !shared {
			p.copyFile(f.File, f.File, f.SHA256, f.Bytes)
		}
	}
	shapes := map[string][]int64{}
	scalars := false
	for _, name := range slices.Concat(s.Inputs, s.Outputs) {
		scalars = scalars || p.scalar(name)
		if slices.ContainsFunc(p.tensors[name].Shape, func(d backend.Dim) bool { return d.N < 0 }) {
			shapes[name] = p.by[name].extents
		}
	}
	if len(shapes) > 0 || scalars {
		return p.adapt(ctx, i, s.File, shapes)
	}
	p.copyFile(s.File, s.File, s.SHA256, s.Bytes)
	return nil
}

// arrange finds the pipelines.
func (p *pipelines) arrange() {
	device := map[string]int{}
	for i, d := range p.m.Devices {
		device[d.Name] = i
	}
	source, sink := p.ends()
	p.source = stage{device: device[source]}
	p.at = make([]stage, len(p.m.Submodels))
	// behind is a pipeline of a device that can have what a pipeline makes.
	behind := func(from stage, dev int) int {
		if from.device == dev {
			return from.level
		}
		return from.level + 1
	}
	for i, s := range p.m.Submodels { // in execution order
		p.at[i].device = device[p.proc(i).Device]
		for _, name := range s.Inputs {
			p.at[i].level = max(p.at[i].level, behind(p.home(p.by[name]), p.at[i].device))
		}
	}
	p.sink.device = device[sink]
	for _, f := range p.flows {
		if f.output {
			p.sink.level = max(p.sink.level, behind(p.home(f), p.sink.device))
		}
	}
	used := map[stage]bool{}
	for _, f := range p.flows {
		used[p.home(f)] = true
		for _, at := range p.destinations(f) {
			used[at] = true
		}
	}
	p.stages = slices.SortedFunc(maps.Keys(used), stage.compare)
}

// ends are the devices where inputs appear and where outputs go: those of the
// predicted transfers, else those of the first and the last sub-model.
func (p *pipelines) ends() (source, sink string) {
	if n := len(p.m.Submodels); n > 0 {
		source, sink = p.proc(0).Device, p.proc(n-1).Device
	}
	for _, in := range slices.Backward(p.m.Inputs) {
		if len(in.Transfers) > 0 {
			source = in.Transfers[0].From
		}
	}
	for _, out := range p.m.Outputs {
		if n := len(out.Transfers); n > 0 {
			sink = out.Transfers[n-1].For
		}
	}
	return source, sink
}

// home is the pipeline in which a tensor comes to be.
func (p *pipelines) home(f *flow) stage {
	if f.from < 0 {
		return p.source
	}
	return p.at[f.from]
}

// destinations are the other pipelines that need a tensor, in the order of their start.
func (p *pipelines) destinations(f *flow) []stage {
	var out []stage
	for _, i := range f.takers {
		out = append(out, p.at[i])
	}
	if f.output {
		out = append(out, p.sink)
	}
	slices.SortFunc(out, stage.compare)
	home := p.home(f)
	return slices.DeleteFunc(slices.Compact(out), func(s stage) bool { return s == home })
}

// assignPorts gives every tensor that goes to another pipeline a port.
func (p *pipelines) assignPorts() error {
	next := p.Port
	if next == 0 {
		next = nnsFirstPort
	}
	for _, f := range p.flows {
		for _, to := range p.destinations(f) {
			if next < 1 || next > 65535 {
				return &diag.Error{File: p.dir, Msg: fmt.Sprintf("the tensors between pipelines need more ports than there are from %d on: choose a lower first port", p.Port)}
			}
			p.ports[crossing{f.tensor, to}] = next
			next++
		}
	}
	return nil
}
