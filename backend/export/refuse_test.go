package export_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/export"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// change rewrites a fixture's manifest.
func (f *fixture) change(t *testing.T, edit func(*backend.Manifest)) {
	t.Helper()
	m, err := backend.ReadManifest(f.bundle)
	if err != nil {
		t.Fatal(err)
	}
	edit(m)
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.bundle, backend.ManifestFile), body, 0o666); err != nil {
		t.Fatal(err)
	}
}

// retype gives the first tensor between sub-models another type.
func retype(elem string) func(*backend.Manifest) {
	return func(m *backend.Manifest) { m.Edges[0].Dtype = elem }
}

// wantNote wants a note of exactly this text.
func wantNote(t *testing.T, r *export.Result, want string) {
	t.Helper()
	if !slices.Contains(r.Notes, want) {
		t.Errorf("the notes are %q, want %q among them", r.Notes, want)
	}
}

// Types of elements that a target cannot pass, or not everywhere.
func TestElementTypes(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	at := f.manifest.Edges[0].Tensor
	f.change(t, retype("bfloat16"))
	wantNote(t, f.export(t, "triton", nil), fmt.Sprintf("%q is bfloat16, which only recent releases of Triton's ONNX Runtime back end pass on", at))
	_, err := f.try("runner", nil)
	wantError(t, err, fmt.Sprintf("value %q: it is of type bfloat16, which numpy does not have: split again with its producer and its users in one place (--same)", at))
	f.change(t, retype("complex64"))
	_, err = f.try("runner", nil)
	wantError(t, err, fmt.Sprintf("value %q: it is of type complex64, which ONNX Runtime's Python and Node bindings cannot pass: ", at))
}

func TestSubmodelWithoutOutputs(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	last := len(f.manifest.Submodels) - 1
	f.change(t, func(m *backend.Manifest) {
		m.Submodels[0].Outputs = append(m.Submodels[0].Outputs, m.Submodels[last].Outputs...)
		m.Submodels[last].Outputs = []string{}
		m.Outputs[0].From = &m.Submodels[0].ID
	})
	_, err := f.try("triton", nil)
	wantError(t, err, fmt.Sprintf("sub-model %q has no outputs, and a step of a Triton ensemble needs one", f.manifest.Submodels[last].ID))
}

func TestUndeclaredValue(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	f.change(t, func(m *backend.Manifest) { m.Submodels[1].Outputs = append(m.Submodels[1].Outputs, "ghost") })
	_, err := f.try("dot", nil)
	wantError(t, err, fmt.Sprintf(`value "ghost": sub-model %q has this value, but the manifest does not say what it is`, f.manifest.Submodels[1].ID))
}

// External data of a sub-model can have any name but one in a Triton repository,
// and that of an annotated model any but its own.
func TestExternalDataNames(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	f.change(t, func(m *backend.Manifest) {
		s := &m.Submodels[0]
		s.Data = &backend.File{File: "model.onnx", SHA256: s.SHA256, Bytes: s.Bytes}
	})
	_, err := f.try("triton", nil)
	wantError(t, err, filepath.Join(f.bundle, "model.onnx")+": external data cannot have this name in a Triton repository")

	m, err := onnxtest.Named("odd/external-one-file", 1)
	if err != nil {
		t.Fatal(err)
	}
	g := bundleFrom(t, m, corpus.Thirds)
	data := m.ExternalFiles()[0]
	if filepath.Ext(data) != ".onnx" { // as it would be named, were it a model
		renamed := data + ".onnx"
		body, err := os.ReadFile(g.model)
		if err != nil {
			t.Fatal(err)
		}
		p := &onnxpb.ModelProto{}
		if err := proto.Unmarshal(body, p); err != nil {
			t.Fatal(err)
		}
		for _, w := range p.GetGraph().GetInitializer() {
			for _, e := range w.GetExternalData() {
				if e.GetKey() == "location" {
					e.Value = proto.String(renamed)
				}
			}
		}
		g.replaceModel(t, p)
		if err := os.Rename(filepath.Join(filepath.Dir(g.model), data), filepath.Join(filepath.Dir(g.model), renamed)); err != nil {
			t.Fatal(err)
		}
	}
	_, err = g.try("annotated", func(o *export.Options) { o.Name = data })
	wantError(t, err, data+".onnx: external data cannot have the name of another file of the export: choose another with --name")
}

// replaceModel puts another model where the bundle's is, and has the manifest say that it was split.
func (f *fixture) replaceModel(t *testing.T, p *onnxpb.ModelProto) {
	t.Helper()
	body, err := proto.MarshalOptions{Deterministic: true}.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.model, body, 0o666); err != nil {
		t.Fatal(err)
	}
	f.change(t, func(m *backend.Manifest) { m.Model.SHA256 = fmt.Sprintf("%x", sha256.Sum256(body)) })
}

// A model that lacks a node of its sub-models is not annotated.
func TestAnnotatedLacksNode(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	p := &onnxpb.ModelProto{}
	if err := proto.Unmarshal([]byte(read(t, f.model)), p); err != nil {
		t.Fatal(err)
	}
	nodes := p.GetGraph().GetNode()
	p.Graph.Node = nodes[:len(nodes)-1]
	f.replaceModel(t, p)
	_, err := f.try("annotated", nil)
	wantError(t, err, fmt.Sprintf("value %q: a sub-model has this node, the model does not: it is not the model that was split", nodes[len(nodes)-1].GetOutput()[0]))
}

// One session stands in for all processors of a kind.
func TestAnnotatedProcessorsOfAKind(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	wantNote(t, f.export(t, "annotated", nil), "a session of ONNX Runtime has one cpu: the 3 processors of that kind are one there")
}

// An output of the model that is an input of it, which no sub-model reads.
func TestUnusedInputAsOutput(t *testing.T) {
	m := onnxtest.New(onnxtest.Header{Opset: 17})
	g := m.Graph()
	x := g.Input("x", onnxtest.Float, 4)
	g.Input("past", onnxtest.Float, 4)
	g.Output(g.Op("Neg", []string{g.Op("Relu", []string{x})}, onnxtest.Outs("y")), onnxtest.Float, 4)
	g.Output("past", onnxtest.Float, 4)
	f := bundleFrom(t, m, corpus.Thirds)
	wantNote(t, f.export(t, "triton", nil), `output "past" is an input that no sub-model uses, and is no output of the ensemble`)
	wantNote(t, f.export(t, "nnstreamer", nil), `output "past" is an input that no sub-model uses: no pipeline has it`)
}

// Tensors of rank 0 that cannot be given as tensors of one element.
func TestScalarsThatStay(t *testing.T) {
	const says = "it passes tensors of rank 0, which the target does not know, and cannot be given others: "
	build := func(opset int64, name string) *fixture {
		m := onnxtest.New(onnxtest.Header{Opset: opset, IR: 3})
		g := m.Graph()
		s := g.Op("ReduceSum", []string{g.Input("x", onnxtest.Float, 2, 4)}, onnxtest.Int("keepdims", 0), onnxtest.Outs("s"))
		if name != "" {
			s = g.Op("Neg", []string{g.Op("Neg", []string{s}, onnxtest.Outs(name))}, onnxtest.Outs("s2"))
		}
		g.Output(g.Op("Neg", []string{s}, onnxtest.Outs("y")), onnxtest.Float)
		return bundleFrom(t, m, corpus.Whole)
	}
	_, err := build(17, "y__1").try("triton", nil)
	wantError(t, err, says+`it has a value called "y__1" already`)
	_, err = build(4, "").try("triton", nil)
	wantError(t, err, says+"its operator set ai.onnx is of version 4, Reshape needs 5")
}

// What NNStreamer's tensors and pipelines have no room for.
func TestNNStreamerLimits(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	_, err := f.try("nnstreamer", func(o *export.Options) { o.Port = 65535 })
	if len(f.manifest.Edges) < 2 {
		t.Fatalf("%d edges", len(f.manifest.Edges))
	}
	wantError(t, err, "the tensors between pipelines need more ports than there are from 65535 on: choose a lower first port")
	at := f.manifest.Edges[0].Tensor
	_, err = f.try("nnstreamer", func(o *export.Options) { o.Shapes = map[string][]int64{at: {1, 2}} })
	wantError(t, err, fmt.Sprintf("value %q: it has rank 4, and a shape of 2 extents is given", at))
	f.change(t, func(m *backend.Manifest) { m.Edges[0].Shape = slices.Repeat(m.Edges[0].Shape[:1], 17) })
	_, err = f.try("nnstreamer", nil)
	wantError(t, err, fmt.Sprintf("value %q: it has rank 17, NNStreamer's tensors have at most 16 dimensions", at))
}

// A drawing that Graphviz takes long for says so.
func TestDotOfManyNodes(t *testing.T) {
	m := onnxtest.New(onnxtest.Header{Opset: 17})
	g := m.Graph()
	x := g.Input("x", onnxtest.Float, 1)
	for range 5001 {
		x = g.Op("Neg", []string{x})
	}
	g.Output(g.Op("Neg", []string{x}, onnxtest.Outs("y")), onnxtest.Float, 1)
	r := bundleFrom(t, m, corpus.Thirds).export(t, "dot", nil)
	wantNote(t, r, "nodes.dot has 5002 nodes: Graphviz's dot takes long for more than 5000, its sfdp does not")
	if drawn := bytes.Count([]byte(read(t, r.Output, "nodes.dot")), []byte("Neg")); drawn < 5002 {
		t.Errorf("%d nodes are drawn", drawn)
	}
}
