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

// A Triton model repository has a folder for each model: config.pbtxt, a
// ModelConfig in text format, and a folder for each version. The sub-models become
// models of the ONNX Runtime back end, and an ensemble wires them. What Triton
// refuses is taken from its ValidateIOShape and ValidateEnsembleSchedulingConfig
// (core/src/model_config_utils.cc) and from the back end's checks when it loads a
// model (onnxruntime_backend/src/onnxruntime.cc):
//
//   - max_batch_size above 0 takes away the first dimension of every tensor, which
//     what travels inside a network need not have; it is 0 here, and dims are whole;
//   - a dim must be -1 or at least 1, and equal to the model's where that is a
//     number, so that an extent of 0 cannot be said;
//   - there are no tensors of rank 0. They travel as tensors of one element: see scalar.go;
//   - a step needs an input and an output; an ensemble's tensors must all be used.

// tritonType is the name of an element type in a ModelConfig.
func tritonType(e ir.ElemType) (string, bool) {
	switch e {
	case ir.Bool, ir.Uint8, ir.Uint16, ir.Uint32, ir.Uint64, ir.Int8, ir.Int16, ir.Int32, ir.Int64, ir.String:
		return "TYPE_" + strings.ToUpper(e.String()), true
	case ir.Float16:
		return "TYPE_FP16", true
	case ir.Float32:
		return "TYPE_FP32", true
	case ir.Float64:
		return "TYPE_FP64", true
	case ir.BFloat16:
		return "TYPE_BF16", true
	}
	return "", false
}

// port is an input or output of a Triton model.
type port struct {
	name   string // in the model
	tensor string // of the ensemble
	dtype  string
	dims   []int64
}

// repository is a model repository in the making.
type repository struct {
	*job
	names    []string // models, by sub-model
	problems diag.List
	failed   map[string]bool // tensors that a problem names
}

func (j *job) triton(ctx context.Context) error {
	r := &repository{job: j, failed: map[string]bool{}}
	ensemble := safe(j.Name)
	taken := map[string]bool{strings.ToLower(ensemble): true}
	for _, s := range j.m.Submodels {
		name := ensemble + "_" + safe(s.ID)
		for k := 2; taken[strings.ToLower(name)]; k++ {
			name = ensemble + "_" + safe(s.ID) + "-" + strconv.Itoa(k)
		}
		taken[strings.ToLower(name)] = true
		r.names = append(r.names, name)
	}
	if len(j.m.Submodels) == 0 {
		r.fail("", "the bundle has no sub-model, and an ensemble needs a step")
	}
	ins, outs := make([][]port, len(j.m.Submodels)), make([][]port, len(j.m.Submodels))
	for i, s := range j.m.Submodels {
		if len(s.Inputs) == 0 {
			r.fail("", fmt.Sprintf("sub-model %q has no inputs, and Triton starts a model when its inputs are there: split again with its nodes where their result is used (--same)", s.ID))
		}
		if len(s.Outputs) == 0 {
			r.fail("", fmt.Sprintf("sub-model %q has no outputs, and a step of a Triton ensemble needs one", s.ID))
		}
		for _, name := range s.Inputs {
			ins[i] = append(ins[i], r.port(name))
		}
		for _, name := range s.Outputs {
			outs[i] = append(outs[i], r.port(name))
		}
	}
	top := r.ensemble(ensemble, ins, outs)
	if err := r.problems.Err(); err != nil {
		return err
	}
	j.addText(ensemble+"/config.pbtxt", top)
	j.addText(ensemble+"/1/README", "An ensemble has no files; Triton wants the folder of its version.\n")
	for i := range j.m.Submodels {
		if err := r.model(ctx, i, ins[i], outs[i]); err != nil {
			return err
		}
	}
	r.notes()
	fmt.Fprintf(&j.text, "tritonserver --model-repository=%s\n", shellQuoted(j.Output))
	fmt.Fprintf(&j.text, "ensemble %s\n", ensemble)
	return nil
}

func (r *repository) fail(value, msg string) {
	if value != "" && r.failed[value] {
		return
	}
	r.failed[value] = value != ""
	r.problems = append(r.problems, &diag.Error{File: filepath.Join(r.dir, backend.ManifestFile), Value: value, Msg: msg})
}

// keepTogether ends messages about tensors that cannot leave a model.
const keepTogether = "split again with its producer and its users in one place (--same)"

// port describes a tensor, or reports why it cannot be one of Triton's.
func (r *repository) port(name string) port {
	t := r.tensors[name]
	p := port{name: r.inside(name), tensor: name}
	elem, ok := r.elem(name)
	if ok {
		p.dtype, ok = tritonType(elem)
	}
	if !ok {
		r.fail(name, fmt.Sprintf("it is of type %s, which Triton cannot pass between models: %s", t.Dtype, keepTogether))
		return p
	}
	if t.Shape == nil {
		r.fail(name, "its rank is not known, and Triton wants a number of dimensions: "+keepTogether)
		return p
	}
	for _, d := range t.Shape {
		if d.N == 0 {
			r.fail(name, "one of its extents is 0, which Triton does not allow: "+keepTogether)
			return p
		}
		p.dims = append(p.dims, d.N)
	}
	if len(p.dims) == 0 {
		p.dims = []int64{1}
	}
	return p
}

// outer describes a tensor as the ensemble's own input or output.
func (r *repository) outer(name string) port {
	p := r.port(name)
	p.name = name
	return p
}

// scalar says whether a tensor has rank 0.
func (s *source) scalar(name string) bool {
	t := s.tensors[name]
	return t.Shape != nil && len(t.Shape) == 0
}

// model adds the folder of a sub-model.
func (r *repository) model(ctx context.Context, i int, ins, outs []port) error {
	s, p := &r.m.Submodels[i], r.proc(i)
	file := r.names[i] + "/1/model.onnx"
	if data := r.m.DataOf(i); len(data) > 0 {
		// The back end takes a folder called model.onnx and looks for model.onnx in it.
		for _, f := range data {
			r.copyFile(file+"/"+f.File, f.File, f.SHA256, f.Bytes)
			if strings.EqualFold(f.File, "model.onnx") {
				return &diag.Error{File: filepath.Join(r.dir, f.File), Msg: "external data cannot have this name in a Triton repository"}
			}
		}
		file += "/model.onnx"
	}
	if slices.ContainsFunc(slices.Concat(s.Inputs, s.Outputs), r.scalar) {
		if err := r.adapt(ctx, i, file, nil); err != nil {
			return err
		}
	} else {
		r.copyFile(file, s.File, s.SHA256, s.Bytes)
	}
	c := &pbtxt{}
	c.text("name", r.names[i])
	c.text("backend", "onnxruntime")
	c.field("max_batch_size", 0)
	c.ports("input", ins)
	c.ports("output", outs)
	c.message("instance_group", func() {
		c.field("count", 1)
		if p.Kind == "gpu" {
			c.field("kind", "KIND_GPU")
			c.numbers("gpus", []int64{int64(r.gpu(p))})
		} else {
			c.field("kind", "KIND_CPU")
		}
	})
	if group, name := accelerator(p); group != "" {
		c.message("optimization", func() {
			c.message("execution_accelerators", func() {
				c.message(group, func() { c.text("name", name) })
			})
		})
	}
	for _, e := range [][2]string{{"dnnsplit.processor", p.Name}, {"dnnsplit.device", p.Device}, {"dnnsplit.submodel", s.ID}} {
		c.message("parameters", func() {
			c.text("key", e[0])
			c.message("value", func() { c.text("string_value", e[1]) })
		})
	}
	r.addText(r.names[i]+"/config.pbtxt", c.b.String())
	return nil
}

// gpu is the index of a processor among its device's GPUs, unless the user said otherwise.
func (r *repository) gpu(p *backend.Processor) int {
	if i, ok := r.GPUs[p.Name]; ok {
		return i
	}
	k := 0
	for i := range r.m.Processors {
		q := &r.m.Processors[i]
		if q.Name == p.Name {
			break
		}
		if q.Kind == "gpu" && q.Device == p.Device {
			k++
		}
	}
	return k
}

// accelerator is Triton's name for an execution provider that it does not use by itself.
func accelerator(p *backend.Processor) (group, name string) {
	switch {
	case p.Provider == "TensorrtExecutionProvider" && p.Kind == "gpu":
		return "gpu_execution_accelerator", "tensorrt"
	case p.Provider == "OpenVINOExecutionProvider" && p.Kind == "cpu":
		return "cpu_execution_accelerator", "openvino"
	}
	return "", ""
}

func (c *pbtxt) ports(field string, list []port) {
	for _, p := range list {
		c.message(field, func() {
			c.text("name", p.name)
			c.field("data_type", p.dtype)
			c.numbers("dims", p.dims)
		})
	}
}

// ensemble is the configuration of the model that wires the others.
func (r *repository) ensemble(name string, ins, outs [][]port) string {
	c := &pbtxt{}
	c.text("name", name)
	c.text("platform", "ensemble")
	c.field("max_batch_size", 0)
	used := map[string]bool{}
	inputs, outputs := make([]port, 0, len(r.m.Inputs)), make([]port, 0, len(r.m.Outputs))
	for _, in := range r.m.Inputs {
		if len(in.To) == 0 {
			r.notef("input %q of the model is used by no sub-model and is no input of the ensemble", in.Tensor)
			continue
		}
		used[in.Tensor] = true
		inputs = append(inputs, r.outer(in.Tensor))
	}
	listed := map[string]bool{}
	for _, out := range r.m.Outputs {
		switch {
		case listed[out.Tensor]:
			r.notef("output %q is listed more than once by the model and once by the ensemble", out.Tensor)
			continue
		case out.From == nil && !used[out.Tensor]:
			r.notef("output %q is an input that no sub-model uses, and is no output of the ensemble", out.Tensor)
			continue
		}
		listed[out.Tensor] = true
		outputs = append(outputs, r.outer(out.Tensor))
	}
	if len(outputs) == 0 {
		r.fail("", "the model has no outputs that an ensemble could have")
	}
	for _, p := range slices.Concat(inputs, outputs) {
		if r.scalar(p.tensor) {
			r.notef("%q has rank 0, which Triton does not know: the ensemble has it as a tensor of shape [1]", p.tensor)
		}
	}
	c.ports("input", inputs)
	c.ports("output", outputs)
	c.message("ensemble_scheduling", func() {
		for i := range ins {
			c.message("step", func() {
				c.text("model_name", r.names[i])
				c.field("model_version", -1)
				for _, p := range ins[i] {
					c.entry("input_map", p.name, p.tensor)
				}
				for _, p := range outs[i] {
					c.entry("output_map", p.name, p.tensor)
				}
			})
		}
	})
	return c.b.String()
}

// notes says what of the placement Triton does not do.
func (r *repository) notes() {
	devices := map[string]bool{}
	for i := range r.m.Submodels {
		p := r.proc(i)
		devices[p.Device] = true
		if p.Kind != "gpu" && p.Kind != "cpu" {
			r.notef("Triton's ONNX Runtime back end has no %s: sub-model %q runs on the CPU", p.Kind, r.m.Submodels[i].ID)
		}
	}
	if len(devices) > 1 {
		r.notef("Triton runs an ensemble in one server: its processors stand in for the %d devices of the plan", len(devices))
	}
	seen := map[string]bool{}
	for _, s := range r.m.Submodels {
		for _, name := range slices.Concat(s.Inputs, s.Outputs) {
			if e, _ := r.elem(name); e == ir.BFloat16 && !seen[name] {
				seen[name] = true
				r.notef("%q is bfloat16, which only recent releases of Triton's ONNX Runtime back end pass on", name)
			}
		}
	}
}

// shellQuoted is a word for a POSIX shell.
func shellQuoted(s string) string {
	if s != "" && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./=:,@%+") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
