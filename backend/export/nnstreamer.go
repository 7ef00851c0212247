package export

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// NNStreamer runs a sub-model as a tensor_filter of framework onnxruntime in a
// GStreamer pipeline, one pipeline a device here. What it can pass is narrower
// than ONNX (nnstreamer: tensor_typedef.h, tensor_filter_onnxruntime.cc):
//
//   - every extent is a number, at least 1; the rank is from 1 to 16;
//   - element types are the integers of 8 to 64 bits, float16, float32 and float64;
//   - dimensions are written innermost first, joined by colons;
//   - a buffer holds at most 256 tensors, in the order in which the model has them.
//
// A tensor that several sub-models use passes a tee, with a queue in each branch.
// A model with several inputs gets them from a tensor_mux, which waits for one
// buffer from each side; one with several outputs feeds a tensor_demux. Between
// devices a tensor goes from an edgesink to an edgesrc over TCP, a port each.

const (
	nnsMaxRank    = 16
	nnsMaxTensors = 256
	nnsFirstPort  = 5001
)

// nnsTypes are the names of element types in caps.
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
	dims, elem string
}

// pipelines are the launch lines in the making.
type pipelines struct {
	*job
	flows    []*flow
	by       map[string]*flow
	ports    map[[2]string]int // by tensor and destination device
	problems diag.List
}

func (j *job) nnstreamer(context.Context) error {
	p := &pipelines{job: j, by: map[string]*flow{}, ports: map[[2]string]int{}}
	p.gather()
	for i, s := range j.m.Submodels {
		for _, list := range [][]string{s.Inputs, s.Outputs} {
			if n := len(list); n == 0 || n > nnsMaxTensors {
				p.problems = append(p.problems, &diag.Error{File: filepath.Join(j.dir, backend.ManifestFile),
					Msg: fmt.Sprintf("sub-model %q has %d inputs and %d outputs, a tensor_filter takes and gives 1 to %d tensors", j.m.Submodels[i].ID, len(s.Inputs), len(s.Outputs), nnsMaxTensors)})
				break
			}
		}
	}
	if err := p.problems.Err(); err != nil {
		return err
	}
	if err := p.assignPorts(); err != nil {
		return err
	}
	source, sink := p.home()
	for _, dev := range j.m.Devices {
		if text := p.device(dev.Name, source, sink); text != "" {
			name := safe(dev.Name) + ".launch"
			j.addText(name, text)
			fmt.Fprintf(&j.text, "%s: gst-launch-1.0 $(cat %s)\n", dev.Name, shellQuoted(filepath.Join(j.Output, name)))
		}
	}
	for i, s := range j.m.Submodels {
		j.copyFile(s.File, s.File, s.SHA256, s.Bytes)
		if s.Data != nil {
			j.copyFile(s.Data.File, s.Data.File, s.Data.SHA256, s.Data.Bytes)
		}
		if p := j.proc(i); p.Kind != "cpu" {
			j.notef("NNStreamer's onnxruntime sub-plugin runs on the CPU: sub-model %q does not run on %s", s.ID, p.Name)
		}
	}
	j.notef("start the devices from the last to the first, so that each finds its peers: every edgesink waits for the connection")
	return nil
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
		f.dims, f.elem = p.caps(f.tensor)
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

// caps describes a tensor in NNStreamer's terms, or reports why it cannot be.
func (p *pipelines) caps(name string) (dims, elem string) {
	t := p.tensors[name]
	e, ok := p.elem(name)
	if ok {
		elem, ok = nnsType(e)
	}
	if !ok {
		p.fail(name, fmt.Sprintf("it is of type %s, which NNStreamer cannot pass: %s", t.Dtype, keepTogether))
		return "", ""
	}
	switch {
	case t.Shape == nil:
		p.fail(name, "its shape is not known, and NNStreamer needs static shapes")
		return "", elem
	case len(t.Shape) == 0:
		p.fail(name, "it has rank 0, and NNStreamer's tensors have a rank of 1 or more: "+keepTogether)
		return "", elem
	case len(t.Shape) > nnsMaxRank:
		p.fail(name, fmt.Sprintf("it has rank %d, NNStreamer's tensors have at most %d dimensions", len(t.Shape), nnsMaxRank))
		return "", elem
	}
	var parts []string
	for _, d := range slices.Backward(t.Shape) {
		if d.N < 1 {
			p.fail(name, fmt.Sprintf("its shape %s is not static: fix the dimensions in the model before the split, since NNStreamer takes every free one for 1", strings.TrimPrefix(typeText(t), t.Dtype)))
			return "", elem
		}
		parts = append(parts, strconv.FormatInt(d.N, 10))
	}
	return strings.Join(parts, ":"), elem
}

// destinations are the other devices that need a tensor, in the order of the fleet.
func (p *pipelines) destinations(f *flow, home, sink string) []string {
	var out []string
	for _, dev := range p.m.Devices {
		if dev.Name == home {
			continue
		}
		needed := f.output && dev.Name == sink
		for _, i := range f.takers {
			needed = needed || p.proc(i).Device == dev.Name
		}
		if needed {
			out = append(out, dev.Name)
		}
	}
	return out
}

// home is the device where inputs appear and the one where outputs go: those of
// the predicted transfers, else those of the first and the last sub-model.
func (p *pipelines) home() (source, sink string) {
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

// homeOf is the device where a tensor comes to be.
func (p *pipelines) homeOf(f *flow, source string) string {
	if f.from < 0 {
		return source
	}
	return p.proc(f.from).Device
}

// assignPorts gives every crossing of a tensor between two devices a port.
func (p *pipelines) assignPorts() error {
	next := p.Port
	if next == 0 {
		next = nnsFirstPort
	}
	source, sink := p.home()
	for _, f := range p.flows {
		for _, dev := range p.destinations(f, p.homeOf(f, source), sink) {
			if next < 1 || next > 65535 {
				return &diag.Error{File: p.dir, Msg: fmt.Sprintf("the tensors between devices need more ports than there are from %d on: choose a lower first port", p.Port)}
			}
			p.ports[[2]string{f.tensor, dev}] = next
			next++
		}
	}
	return nil
}

func (p *pipelines) host(device string) string {
	if h := p.Hosts[device]; h != "" {
		return h
	}
	return "localhost"
}

// device is the pipeline of a device, "" if nothing runs there: an element chain a line.
func (p *pipelines) device(dev, source, sink string) string {
	var lines []string
	index := map[*flow]int{}
	for k, f := range p.flows {
		index[f] = k
	}
	caps := func(f *flow) string {
		return fmt.Sprintf("other/tensors,format=static,num_tensors=1,dimensions=(string)%s,types=(string)%s,framerate=0/1", f.dims, f.elem)
	}
	tee := func(f *flow) string { return fmt.Sprintf("t%d", index[f]) }
	// Where tensors come from: the application, another device, or a model here.
	for _, f := range p.flows {
		home := p.homeOf(f, source)
		port, sent := p.ports[[2]string{f.tensor, dev}]
		switch {
		case sent:
			lines = append(lines, fmt.Sprintf("edgesrc dest-host=%s dest-port=%d connect-type=TCP ! %s ! tee name=%s", p.host(home), port, caps(f), tee(f)))
		case home == dev && f.from < 0:
			lines = append(lines, fmt.Sprintf("appsrc name=in%d is-live=true format=time caps=%s ! tee name=%s", index[f], caps(f), tee(f)))
		}
	}
	for i, s := range p.m.Submodels {
		if p.proc(i).Device != dev {
			continue
		}
		filter := fmt.Sprintf("tensor_filter name=f%d framework=onnxruntime model=%s", i, gstQuoted(s.File))
		if len(s.Inputs) == 1 {
			filter = fmt.Sprintf("%s. ! queue ! %s", tee(p.by[s.Inputs[0]]), filter)
		} else {
			for k, name := range s.Inputs {
				lines = append(lines, fmt.Sprintf("%s. ! queue ! m%d.sink_%d", tee(p.by[name]), i, k))
			}
			filter = fmt.Sprintf("tensor_mux name=m%d sync-mode=nosync ! %s", i, filter)
		}
		if len(s.Outputs) == 1 {
			lines = append(lines, fmt.Sprintf("%s ! tee name=%s", filter, tee(p.by[s.Outputs[0]])))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s ! tensor_demux name=d%d", filter, i))
		for k, name := range s.Outputs {
			lines = append(lines, fmt.Sprintf("d%d.src_%d ! queue ! tee name=%s", i, k, tee(p.by[name])))
		}
	}
	// Where they go beside the models.
	for _, f := range p.flows {
		home := p.homeOf(f, source)
		_, received := p.ports[[2]string{f.tensor, dev}]
		if home != dev && !received {
			continue
		}
		used := slices.ContainsFunc(f.takers, func(i int) bool { return p.proc(i).Device == dev })
		if home == dev {
			for _, to := range p.destinations(f, home, sink) {
				used = true
				lines = append(lines, fmt.Sprintf("%s. ! queue ! edgesink host=%s port=%d connect-type=TCP wait-connection=true", tee(f), p.host(dev), p.ports[[2]string{f.tensor, to}]))
			}
		}
		switch {
		case f.output && dev == sink:
			lines = append(lines, fmt.Sprintf("%s. ! queue ! appsink name=out%d sync=false", tee(f), index[f]))
		case !used:
			lines = append(lines, fmt.Sprintf("%s. ! queue ! fakesink", tee(f)))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// gstQuoted is a value for gst-launch.
func gstQuoted(s string) string {
	if strings.ContainsAny(s, " \t\"'!\\(),;") {
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
	}
	return s
}
