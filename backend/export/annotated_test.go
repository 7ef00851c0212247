package export_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

func open(t *testing.T, path string) *onnxfile.Model {
	t.Helper()
	m, err := onnxfile.Open(context.Background(), path, onnxfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// props is a node's metadata; a key that stands twice is an error.
func props(t *testing.T, list []*onnxpb.StringStringEntryProto) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, e := range list {
		if _, dup := out[e.GetKey()]; dup {
			t.Errorf("metadata has %q twice", e.GetKey())
		}
		out[e.GetKey()] = e.GetValue()
	}
	return out
}

// checkAnnotations holds what is written at the nodes against the sub-models' files.
func checkAnnotations(t *testing.T, f *fixture, m *onnxfile.Model) (marked int) {
	t.Helper()
	holders := map[string][]int{} // by the first output of a node
	for i, s := range f.manifest.Submodels {
		for _, n := range open(t, filepath.Join(f.bundle, s.File)).Proto.GetGraph().GetNode() {
			holders[n.GetOutput()[0]] = append(holders[n.GetOutput()[0]], i)
		}
	}
	var devices []string
	for _, p := range f.manifest.Processors {
		devices = append(devices, p.Name)
	}
	all := m.Proto.GetConfiguration() // the model's own come first
	ours := all[len(all)-1]
	if !slices.Equal(ours.GetDevice(), devices) || int(ours.GetNumDevices()) != len(devices) {
		t.Fatalf("device configurations are %v, the processors %v", all, devices)
	}
	made := make([]map[string]bool, len(f.manifest.Submodels))
	for i := range made {
		made[i] = map[string]bool{}
	}
	for _, n := range m.Proto.GetGraph().GetNode() {
		meta := props(t, n.GetMetadataProps())
		in := holders[n.GetOutput()[0]]
		configurations := slices.DeleteFunc(slices.Clone(n.GetDeviceConfigurations()), func(c *onnxpb.NodeDeviceConfigurationProto) bool {
			return c.GetConfigurationId() != ours.GetName()
		})
		if len(configurations) == 0 {
			if len(in) > 0 {
				t.Errorf("node %q is in sub-models %v and not marked", n.GetName(), in)
			}
			continue
		}
		marked++
		c := configurations[0]
		sub := int(c.GetPipelineStage())
		s := f.manifest.Submodels[sub]
		if len(configurations) != 1 || !slices.Contains(in, sub) {
			t.Errorf("node %q: configuration %v, it is in sub-models %v", n.GetName(), c, in)
		}
		if meta["dnnsplit.submodel"] != s.ID || meta["dnnsplit.processor"] != s.Processor || !strings.HasPrefix(meta["layer_ann"], fmt.Sprintf("dnnsplit.s%03d/", sub)) {
			t.Errorf("node %q: metadata %v, it is in sub-model %q", n.GetName(), meta, s.ID)
		}
		var outs []string
		for _, spec := range c.GetShardingSpec() {
			outs = append(outs, spec.GetTensorName())
			if d := spec.GetDevice(); len(d) != 1 || devices[d[0]] != s.Processor || len(spec.GetShardedDim()) > 0 {
				t.Errorf("node %q: %v, it is on %s", n.GetName(), spec, s.Processor)
			}
		}
		if want := slices.DeleteFunc(slices.Clone(n.GetOutput()), func(o string) bool { return o == "" }); !slices.Equal(outs, want) {
			t.Errorf("node %q: specifications of %q, outputs %q", n.GetName(), outs, want)
		}
		for _, o := range outs {
			made[sub][o] = true
		}
		copies := 0
		if meta["dnnsplit.copies"] != "" {
			copies = len(strings.Split(meta["dnnsplit.copies"], ","))
		}
		if copies != len(in)-1 {
			t.Errorf("node %q: copies %q, it is in sub-models %v", n.GetName(), meta["dnnsplit.copies"], in)
		}
	}
	// What a sub-model gives away must be made where the marks say.
	for i, s := range f.manifest.Submodels {
		for _, o := range s.Outputs {
			if holders[o] != nil && !made[i][o] {
				t.Errorf("sub-model %q puts out %q, and its node is marked for another", s.ID, o)
			}
		}
	}
	return marked
}

func TestAnnotated(t *testing.T) {
	eng := runtimetest.ORT(t)
	for _, c := range []struct {
		name string
		cut  corpus.Cut
	}{
		{"small/googlenet", corpus.Thirds},
		{"small/bert_base", corpus.Shatter},
		{"small/gpt2", corpus.Shatter},
		{"odd/external-folder", corpus.Thirds},
		{"odd/function", corpus.Shatter},
		{"odd/function-holds-all", corpus.Thirds},
		{"odd/function-with-if", corpus.Shatter},
		{"odd/external-in-body", corpus.Thirds},
		{"odd/ir-4-opset-17", corpus.Thirds},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := bundleOf(t, c.name, c.cut)
			r := f.export(t, "annotated", nil)
			path := filepath.Join(r.Output, "model.onnx")
			m, source := open(t, path), open(t, f.model)
			if v := m.Proto.GetIrVersion(); v != max(11, source.Proto.GetIrVersion()) {
				t.Errorf("IR version %d, the source has %d", v, source.Proto.GetIrVersion())
			}
			if n := checkAnnotations(t, f, m); n == 0 {
				t.Error("no node is marked")
			}
			sameValues(t, "annotated", run(t, eng, f.model, f.feed), run(t, eng, path, f.feed))
			meta := props(t, m.Proto.GetMetadataProps())
			for _, line := range strings.Split(strings.TrimSpace(r.Text), "\n") {
				key, value, _ := strings.Cut(line, "=")
				if key != "session.layer_assignment_settings" || meta["dnnsplit."+key] != value || !strings.HasPrefix(value, "cpu(dnnsplit.s000/") {
					t.Errorf("printed: %q, metadata: %v", line, meta)
				}
			}
		})
	}
}

// Nodes, tensors and all else are byte for byte those of the source, but for what
// is added behind the nodes.
func TestAnnotatedKeepsBytes(t *testing.T) {
	f := bundleOf(t, "small/resnet18", corpus.Thirds)
	r := f.export(t, "annotated", nil)
	a, b := open(t, f.model), open(t, filepath.Join(r.Output, "model.onnx"))
	if len(a.GraphFields) != len(b.GraphFields) {
		t.Fatalf("%d and %d fields", len(a.GraphFields), len(b.GraphFields))
	}
	for i, fa := range a.GraphFields {
		want, err := fa.Body.ReadAll(1 << 30)
		if err != nil {
			t.Fatal(err)
		}
		got, err := b.GraphFields[i].Body.ReadAll(1 << 30)
		if err != nil {
			t.Fatal(err)
		}
		const node = 1
		if fa.Num != b.GraphFields[i].Num || (fa.Num == node && string(got[:len(want)]) != string(want)) || (fa.Num != node && string(got) != string(want)) {
			t.Fatalf("field %d (number %d) has changed", i, fa.Num)
		}
	}
}

// An annotated model can be split, and its split exported again: marks of before go.
func TestAnnotatedTwice(t *testing.T) {
	eng := runtimetest.ORT(t)
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	once := f.export(t, "annotated", nil)
	dir := t.TempDir()
	model := filepath.Join(dir, "model.onnx")
	if err := os.Rename(filepath.Join(once.Output, "model.onnx"), model); err != nil {
		t.Fatal(err)
	}
	g := &fixture{model: model, bundle: filepath.Join(dir, "out"), feed: f.feed}
	res, err := corpus.CutModel(t.Context(), model, g.bundle, corpus.Shatter, 3, frontend.Options{})
	if err != nil {
		t.Fatal(err)
	}
	g.manifest = res.Manifest
	twice := g.export(t, "annotated", nil)
	path := filepath.Join(twice.Output, "model.onnx")
	m := open(t, path)
	for _, n := range m.Proto.GetGraph().GetNode() {
		props(t, n.GetMetadataProps())
	}
	props(t, m.Proto.GetMetadataProps())
	if k := len(m.Proto.GetConfiguration()); k != 1 {
		t.Errorf("%d device configurations", k)
	}
	for _, n := range m.Proto.GetGraph().GetNode() {
		if k := len(n.GetDeviceConfigurations()); k > 1 {
			t.Fatalf("node %q has %d device configurations", n.GetName(), k)
		}
	}
	checkAnnotations(t, g, m)
	sameValues(t, "annotated twice", run(t, eng, f.model, f.feed), run(t, eng, path, f.feed))
}

// Costs come from the bundle's own prediction and add up to the run times of the plan.
func TestAnnotatedCosts(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "model.onnx")
	m, err := onnxtest.Named("small/googlenet", 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := m.WriteFile(model); err != nil {
		t.Fatal(err)
	}
	r, err := compiler.Compile(t.Context(), compiler.Options{Model: model, Devices: "../../profiles", Output: filepath.Join(dir, "out"), SkipAuto: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := r.Write(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &fixture{model: model, bundle: filepath.Join(dir, "out"), manifest: r.Bundle.Manifest}
	out := f.export(t, "annotated", nil)
	var want float64
	for _, s := range r.Placement.Plan.Submodels {
		for _, n := range s.Nodes {
			want += r.Lowered.Problem.Costs.Of(n, s.Processor).Us()
		}
	}
	var got float64
	for _, n := range open(t, filepath.Join(out.Output, "model.onnx")).Proto.GetGraph().GetNode() {
		if text := props(t, n.GetMetadataProps())["dnnsplit.cost_us"]; text != "" {
			us, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			got += us
		}
	}
	if got < 0.999999*want || got > 1.000001*want || want == 0 {
		t.Errorf("costs add up to %v us, the plan's to %v", got, want)
	}
	var data struct {
		Results map[string]struct{ Value float64 }
	}
	if err := json.Unmarshal([]byte(read(t, out.Output, "cost.nodedata.json")), &data); err != nil {
		t.Fatal(err)
	}
	var sum float64
	for _, v := range data.Results {
		sum += v.Value
	}
	if sum < 0.999999*want || sum > 1.000001*want {
		t.Errorf("node data add up to %v us, the plan's costs to %v", sum, want)
	}
}

// Another model of the same name is not annotated.
func TestAnnotatedRefuses(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	b := []byte(read(t, f.model))
	if err := os.WriteFile(f.model, append(b, 0xb0, 0x7f, 0), 0o666); err != nil {
		t.Fatal(err)
	}
	_, err := f.try("annotated", nil)
	wantError(t, err, "not the model that was split")
	if err := os.Remove(f.model); err != nil {
		t.Fatal(err)
	}
	_, err = f.try("annotated", nil)
	wantError(t, err, "--model")
}

// Initializers that an old model lists as inputs stay constant: with the new IR
// version they could be overridden otherwise.
func TestAnnotatedOldIR(t *testing.T) {
	eng := runtimetest.ORT(t)
	m := onnxtest.New(onnxtest.Header{Opset: 9, IR: 3})
	g := m.Graph()
	x := g.Input("x", onnxtest.Float, 2, 8)
	w := g.Weight("w", onnxtest.Float, onnxtest.Uniform(-1, 1), 8, 8)
	y := g.Op("MatMul", []string{x, w})
	g.Output(g.Op("Relu", []string{y}, onnxtest.Outs("y")), onnxtest.Float, 2, 8)
	listed := slices.ContainsFunc(m.Structure().Graph.Input, func(v *onnxpb.ValueInfoProto) bool { return v.GetName() == "w" })
	if !listed {
		g.Input("w", onnxtest.Float, 8, 8)
	}
	f := bundleFrom(t, m, corpus.Thirds)
	path := filepath.Join(f.export(t, "annotated", nil).Output, "model.onnx")
	if n := len(open(t, path).Proto.GetGraph().GetInput()); n != 1 {
		t.Errorf("%d inputs", n)
	}
	delete(f.feed, "w")
	sameValues(t, "annotated", run(t, eng, f.model, f.feed), run(t, eng, path, f.feed))
}
