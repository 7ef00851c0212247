package export_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/dnnsplit/dnnsplit/backend/export"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// schemaText lists the messages of Triton's model_config.proto that exports use:
// "message: field=number type, ...". A type with * is a list; one in upper case
// letters an enumeration.
var schemaText = []string{
	"ModelConfig: name=1 string, platform=2 string, max_batch_size=4 int32, input=5 *ModelInput, output=6 *ModelOutput, instance_group=7 *ModelInstanceGroup, optimization=12 ModelOptimizationPolicy, parameters=14 *ParametersEntry, ensemble_scheduling=15 ModelEnsembling, backend=17 string",
	"ModelInput: name=1 string, data_type=2 DATATYPE, dims=4 *int64",
	"ModelOutput: name=1 string, data_type=2 DATATYPE, dims=3 *int64",
	"ModelInstanceGroup: count=2 int32, gpus=3 *int32, kind=4 KIND",
	"ModelOptimizationPolicy: execution_accelerators=5 ExecutionAccelerators",
	"ExecutionAccelerators: gpu_execution_accelerator=1 *Accelerator, cpu_execution_accelerator=2 *Accelerator",
	"Accelerator: name=1 string",
	"ParametersEntry: key=1 string, value=2 ModelParameter",
	"ModelParameter: string_value=1 string",
	"ModelEnsembling: step=1 *Step",
	"Step: model_name=1 string, model_version=2 int64, input_map=3 *MapEntry, output_map=4 *MapEntry",
	"MapEntry: key=1 string, value=2 string",
}

var enumText = map[string][]string{
	"DATATYPE": {"TYPE_INVALID", "TYPE_BOOL", "TYPE_UINT8", "TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64", "TYPE_INT8", "TYPE_INT16", "TYPE_INT32", "TYPE_INT64", "TYPE_FP16", "TYPE_FP32", "TYPE_FP64", "TYPE_STRING", "TYPE_BF16"},
	"KIND":     {"KIND_AUTO", "KIND_GPU", "KIND_CPU", "KIND_MODEL"},
}

// configSchema makes the descriptor of ModelConfig.
func configSchema(t *testing.T) protoreflect.MessageDescriptor {
	t.Helper()
	file := &descriptorpb.FileDescriptorProto{Name: proto.String("config.proto"), Syntax: proto.String("proto3")}
	for _, name := range []string{"DATATYPE", "KIND"} {
		e := &descriptorpb.EnumDescriptorProto{Name: proto.String(name)}
		for i, v := range enumText[name] {
			e.Value = append(e.Value, &descriptorpb.EnumValueDescriptorProto{Name: proto.String(v), Number: proto.Int32(int32(i))})
		}
		file.EnumType = append(file.EnumType, e)
	}
	for _, text := range schemaText {
		name, fields, _ := strings.Cut(text, ": ")
		m := &descriptorpb.DescriptorProto{Name: proto.String(name)}
		for _, field := range strings.Split(fields, ", ") {
			var fname, typ string
			var num int32
			if _, err := fmt.Sscanf(strings.Replace(field, "=", " ", 1), "%s %d %s", &fname, &num, &typ); err != nil {
				t.Fatal(field, err)
			}
			f := &descriptorpb.FieldDescriptorProto{Name: &fname, Number: &num, Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum()}
			if strings.HasPrefix(typ, "*") {
				typ = typ[1:]
				f.Label = descriptorpb.FieldDescriptorProto_LABEL_REPEATED.Enum()
			}
			switch {
			case typ == "string":
				f.Type = descriptorpb.FieldDescriptorProto_TYPE_STRING.Enum()
			case typ == "int32":
				f.Type = descriptorpb.FieldDescriptorProto_TYPE_INT32.Enum()
			case typ == "int64":
				f.Type = descriptorpb.FieldDescriptorProto_TYPE_INT64.Enum()
			case enumText[typ] != nil:
				f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_ENUM.Enum(), proto.String("."+typ)
			default:
				f.Type, f.TypeName = descriptorpb.FieldDescriptorProto_TYPE_MESSAGE.Enum(), proto.String("."+typ)
			}
			m.Field = append(m.Field, f)
		}
		file.MessageType = append(file.MessageType, m)
	}
	d, err := protodesc.NewFile(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	return d.Messages().ByName("ModelConfig")
}

// config is a parsed config.pbtxt.
type config struct{ protoreflect.Message }

func (c config) get(name string) protoreflect.Value {
	return c.Get(c.Descriptor().Fields().ByName(protoreflect.Name(name)))
}

func (c config) text(name string) string { return c.get(name).String() }

func (c config) list(name string) (out []config) {
	l := c.get(name).List()
	for i := range l.Len() {
		out = append(out, config{l.Get(i).Message()})
	}
	return out
}

func (c config) numbers(name string) (out []int64) {
	l := c.get(name).List()
	for i := range l.Len() {
		out = append(out, l.Get(i).Int())
	}
	return out
}

func (c config) pairs(name string) (out [][2]string) {
	for _, e := range c.list(name) {
		out = append(out, [2]string{e.text("key"), e.text("value")})
	}
	return out
}

// server is a stand-in for Triton: it knows the folder of an export and nothing else.
type server struct {
	t      *testing.T
	eng    runtime.Engine
	root   string
	models map[string]config
	wide   int // ports that stand for tensors of rank 0
	vague  int // extents that ONNX Runtime infers and the bundle does not know: Triton would refuse them
}

func startServer(t *testing.T, eng runtime.Engine, root string) *server {
	t.Helper()
	s := &server{t: t, eng: eng, root: root, models: map[string]config{}}
	schema := configSchema(t)
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !e.IsDir() {
			continue // Triton looks at folders only
		}
		m := dynamicpb.NewMessage(schema)
		if err := prototext.Unmarshal([]byte(read(t, root, e.Name(), "config.pbtxt")), m); err != nil {
			t.Fatalf("%s: %v", e.Name(), err)
		}
		c := config{m}
		if c.text("name") != e.Name() || strings.TrimSpace(e.Name()) == "" {
			t.Errorf("model %q is in folder %q", c.text("name"), e.Name())
		}
		if st, err := os.Stat(filepath.Join(root, e.Name(), "1")); err != nil || !st.IsDir() {
			t.Errorf("model %q has no folder for version 1: %v", e.Name(), err)
		}
		if c.get("max_batch_size").Int() != 0 {
			t.Errorf("%s: max_batch_size is %v", e.Name(), c.get("max_batch_size"))
		}
		for _, p := range append(c.list("input"), c.list("output")...) {
			dims := p.numbers("dims")
			if p.text("name") == "" || p.get("data_type").Enum() == 0 || len(dims) == 0 {
				t.Errorf("%s: a port lacks a name, type or dims: %v", e.Name(), p)
			}
			for _, d := range dims {
				if d < 1 && d != -1 {
					t.Errorf("%s: port %q has dims %v", e.Name(), p.text("name"), dims)
				}
			}
		}
		if c.text("platform") != "ensemble" {
			if g := c.list("instance_group"); len(g) != 1 || g[0].get("count").Int() != 1 {
				t.Errorf("%s: instance groups are %v", e.Name(), g)
			} else if kind := enumText["KIND"][g[0].get("kind").Enum()]; kind != "KIND_GPU" && len(g[0].numbers("gpus")) > 0 {
				t.Errorf("%s: %s has GPUs", e.Name(), kind)
			}
		}
		s.models[e.Name()] = c
	}
	return s
}

// load loads a model and compares its ports with the configuration, as the back end does.
func (s *server) load(name string) runtime.Session {
	s.t.Helper()
	path := filepath.Join(s.root, name, "1", "model.onnx")
	if st, err := os.Stat(path); err == nil && st.IsDir() {
		path = filepath.Join(path, "model.onnx")
	}
	loaded, err := s.eng.Load(runtime.Model{Path: path}, runtime.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	c := s.models[name]
	for _, side := range []struct {
		field string
		ports []runtime.Port
	}{{"input", loaded.Inputs()}, {"output", loaded.Outputs()}} {
		listed := c.list(side.field)
		if len(listed) != len(side.ports) {
			s.t.Fatalf("%s: the configuration has %d %ss, the model %d", name, len(listed), side.field, len(side.ports))
		}
		for _, p := range side.ports {
			i := slices.IndexFunc(listed, func(c config) bool { return c.text("name") == p.Name })
			if i < 0 {
				s.t.Fatalf("%s: %s %q is not in the configuration", name, side.field, p.Name)
			}
			dims := listed[i].numbers("dims")
			if typ := tritonNames[p.Type.Elem]; typ != enumText["DATATYPE"][listed[i].get("data_type").Enum()] {
				s.t.Errorf("%s: %s %q is %s", name, side.field, p.Name, typ)
			}
			if p.Type.Rank != len(dims) {
				s.t.Errorf("%s: %s %q has rank %d in the model, dims %v", name, side.field, p.Name, p.Type.Rank, dims)
				continue
			}
			for k, d := range p.Type.Shape {
				if d.N >= 0 && dims[k] == -1 {
					s.vague++
					s.t.Logf("%s: %s %q has shape %v in the model, dims %v", name, side.field, p.Name, p.Type.Shape, dims)
				} else if d.N >= 0 && d.N != dims[k] {
					s.t.Errorf("%s: %s %q has shape %v in the model, dims %v", name, side.field, p.Name, p.Type.Shape, dims)
				}
			}
			if strings.HasSuffix(p.Name, "__1") {
				s.wide++
			}
		}
	}
	return loaded
}

var tritonNames = map[ir.ElemType]string{
	ir.Bool: "TYPE_BOOL", ir.Uint8: "TYPE_UINT8", ir.Uint16: "TYPE_UINT16", ir.Uint32: "TYPE_UINT32", ir.Uint64: "TYPE_UINT64",
	ir.Int8: "TYPE_INT8", ir.Int16: "TYPE_INT16", ir.Int32: "TYPE_INT32", ir.Int64: "TYPE_INT64",
	ir.Float16: "TYPE_FP16", ir.Float32: "TYPE_FP32", ir.Float64: "TYPE_FP64", ir.String: "TYPE_STRING", ir.BFloat16: "TYPE_BF16",
}

// infer runs an ensemble: each step when its inputs are there.
func (s *server) infer(name string, feed map[string]*runtime.Value) map[string]*runtime.Value {
	s.t.Helper()
	c, ok := s.models[name]
	if !ok || c.text("platform") != "ensemble" || len(c.list("instance_group")) > 0 {
		s.t.Fatalf("%q is no ensemble: %v", name, c)
	}
	values, usedOnce := map[string]*runtime.Value{}, map[string]bool{}
	for _, p := range c.list("input") {
		v, ok := feed[p.text("name")]
		if !ok {
			s.t.Fatalf("input %q is not given", p.text("name"))
		}
		values[p.text("name")] = widen(v)
	}
	steps := config{c.get("ensemble_scheduling").Message()}.list("step")
	written := map[string]bool{}
	for _, step := range steps {
		if len(step.pairs("input_map")) == 0 || len(step.pairs("output_map")) == 0 || step.get("model_version").Int() != -1 {
			s.t.Errorf("a step is not complete: %v", step)
		}
		for _, e := range step.pairs("output_map") {
			if written[e[1]] {
				s.t.Errorf("ensemble tensor %q is written twice", e[1])
			}
			written[e[1]] = true
		}
		for _, e := range step.pairs("input_map") {
			usedOnce[e[1]] = true
		}
	}
	slices.Reverse(steps) // the order of steps must not matter
	for len(steps) > 0 {
		ready := slices.IndexFunc(steps, func(step config) bool {
			return !slices.ContainsFunc(step.pairs("input_map"), func(e [2]string) bool { return values[e[1]] == nil })
		})
		if ready < 0 {
			s.t.Fatalf("%d steps never become ready", len(steps))
		}
		step := steps[ready]
		steps = slices.Delete(steps, ready, ready+1)
		loaded := s.load(step.text("model_name"))
		in := map[string]*runtime.Value{}
		for _, e := range step.pairs("input_map") {
			in[e[0]] = values[e[1]]
		}
		got, err := loaded.Run(context.Background(), in)
		if err != nil {
			s.t.Fatal(err)
		}
		out := map[string]*runtime.Value{}
		for i, p := range loaded.Outputs() {
			out[p.Name] = got[i]
		}
		loaded.Close()
		for _, e := range step.pairs("output_map") {
			values[e[1]] = out[e[0]]
		}
	}
	outputs := map[string]*runtime.Value{}
	for _, p := range c.list("output") {
		outputs[p.text("name")] = values[p.text("name")]
	}
	for name := range values {
		if !usedOnce[name] && outputs[name] == nil {
			s.t.Errorf("ensemble tensor %q is not used", name)
		}
	}
	return outputs
}

// widen is how a value of rank 0 travels.
func widen(v *runtime.Value) *runtime.Value {
	if v.Kind != ir.Tensor || len(v.Shape) > 0 {
		return v
	}
	w := *v
	w.Shape = []int64{1}
	return &w
}

func TestTriton(t *testing.T) {
	eng := runtimetest.ORT(t)
	for _, c := range []struct {
		name string
		cut  corpus.Cut
	}{
		{"small/googlenet", corpus.Thirds},
		{"small/three_towers", corpus.Thirds},
		{"small/bert_base", corpus.Shatter},
		{"small/gpt2", corpus.Thirds},
		{"small/squeezenet1_1", corpus.Whole},
		{"odd/external-one-file", corpus.Thirds},
		{"odd/names-json", corpus.Shatter},
		{"odd/names-controls", corpus.Shatter},
		{"odd/names-unicode", corpus.Shatter},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := bundleOf(t, c.name, c.cut)
			r := f.export(t, "triton", nil)
			s := startServer(t, eng, r.Output)
			if len(s.models) != len(f.manifest.Submodels)+1 {
				t.Errorf("%d models for %d sub-models", len(s.models), len(f.manifest.Submodels))
			}
			got := s.infer("model", f.feed)
			want := run(t, eng, f.model, f.feed)
			for name, v := range want {
				want[name] = widen(v)
			}
			sameValues(t, "ensemble", want, got)
			if s.vague > 0 {
				t.Errorf("%d extents are known to ONNX Runtime only", s.vague)
			}
		})
	}
}

// Tensors of rank 0 go in, through and out, of several types.
func TestTritonScalars(t *testing.T) {
	eng := runtimetest.ORT(t)
	m := onnxtest.New(onnxtest.Header{Opset: 17})
	g := m.Graph()
	a := g.Input("a", onnxtest.Float)
	b := g.Input("b", onnxtest.Float, "n", 4)
	s := g.Op("ReduceSum", []string{b}, onnxtest.Int("keepdims", 0))
	x := g.Op("Mul", []string{a, s})
	y := g.Op("Greater", []string{x, s})
	z := g.Op("Where", []string{y, x, s})
	g.Output(g.Op("Add", []string{z, b}, onnxtest.Outs("wide")), onnxtest.Float, "n", 4)
	g.Output(g.Op("Neg", []string{z}, onnxtest.Outs("narrow")), onnxtest.Float)
	f := bundleFrom(t, m, corpus.Thirds)
	if len(f.manifest.Submodels) < 3 {
		t.Fatalf("only %d sub-models", len(f.manifest.Submodels))
	}
	srv := startServer(t, eng, f.export(t, "triton", nil).Output)
	got := srv.infer("model", f.feed)
	want := run(t, eng, f.model, f.feed)
	want["narrow"] = widen(want["narrow"])
	sameValues(t, "ensemble", want, got)
	if srv.wide < 4 {
		t.Errorf("%d ports of rank 0", srv.wide)
	}
}

func TestTritonPlacesOnGPUs(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	rewrite(t, f, func(text string) string {
		return strings.NewReplacer(`"device":"p2","kind":"cpu","provider":"CPUExecutionProvider"`, `"device":"p2","kind":"gpu","provider":"TensorrtExecutionProvider"`,
			`"device":"p3","kind":"cpu","provider":"CPUExecutionProvider"`, `"device":"p3","kind":"npu","provider":"QNNExecutionProvider"`).Replace(text)
	})
	schema := configSchema(t)
	parse := func(r *export.Result, name string) config {
		m := dynamicpb.NewMessage(schema)
		if err := prototext.Unmarshal([]byte(read(t, r.Output, name, "config.pbtxt")), m); err != nil {
			t.Fatal(err)
		}
		return config{m}
	}
	r := f.export(t, "triton", func(o *export.Options) { o.GPUs, o.Name = map[string]int{"p2": 3}, "net 1/x" })
	for name, want := range map[string]string{"net_1_x_p1": "KIND_CPU []", "net_1_x_p2": "KIND_GPU [3]", "net_1_x_p3": "KIND_CPU []"} {
		c := parse(r, name)
		g := c.list("instance_group")[0]
		if got := fmt.Sprint(enumText["KIND"][g.get("kind").Enum()], " ", g.numbers("gpus")); got != want {
			t.Errorf("%s runs on %s, want %s", name, got, want)
		}
	}
	acc := config{config{parse(r, "net_1_x_p2").get("optimization").Message()}.get("execution_accelerators").Message()}.list("gpu_execution_accelerator")
	if len(acc) != 1 || acc[0].text("name") != "tensorrt" {
		t.Errorf("accelerators of p2: %v", acc)
	}
	wantNote(t, r, `Triton's ONNX Runtime back end has no npu: sub-model "p3" runs on the CPU`)
	_, err := f.try("triton", func(o *export.Options) { o.GPUs = map[string]int{"p9": 0} })
	wantError(t, err, `"p9"`, "no processor")
}

// rewrite changes the text of a fixture's manifest.
func rewrite(t *testing.T, f *fixture, change func(string) string) {
	t.Helper()
	path := filepath.Join(f.bundle, "manifest.json")
	before := read(t, path)
	after := change(before)
	if before == after {
		t.Fatal("the manifest does not have what the test changes")
	}
	if err := os.WriteFile(path, []byte(after), 0o666); err != nil {
		t.Fatal(err)
	}
}

// What Triton cannot have is found before anything is written, all at once.
func TestTritonRefuses(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	edges := f.manifest.Edges
	if len(edges) < 2 {
		t.Fatalf("%d edges", len(edges))
	}
	first := true
	rewrite(t, f, func(text string) string {
		lines := strings.Split(text, "\n")
		for i, l := range lines {
			if !strings.Contains(l, `"tensor":"`) || !strings.Contains(l, `"dtype":"float32"`) {
				continue
			}
			if first {
				lines[i] = strings.Replace(l, "float32", "int4", 1)
			} else if at := strings.Index(l, `"shape":[`); at >= 0 {
				lines[i] = l[:at] + `"shape":null` + l[at+strings.Index(l[at:], "]")+1:]
			}
			first = false
		}
		return strings.Join(lines, "\n")
	})
	_, err := f.try("triton", nil)
	wantError(t, err, edges[0].Tensor, "int4", edges[1].Tensor, "rank is not known")
	if _, err := os.Stat(f.bundle + ".triton"); !os.IsNotExist(err) {
		t.Errorf("something was written: %v", err)
	}
}

// A file of the bundle that has changed since is not exported.
func TestExportChecksFiles(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	path := filepath.Join(f.bundle, f.manifest.Submodels[0].File)
	b := []byte(read(t, path))
	b[len(b)/2] ^= 1
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := f.try("triton", nil)
	wantError(t, err, "has changed")
	if _, err := os.Stat(f.bundle + ".triton"); !os.IsNotExist(err) {
		t.Errorf("something was written: %v", err)
	}
}
