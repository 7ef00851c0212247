package verify

import (
	"archive/zip"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

func refused(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want ... %s", err, want)
	}
}

// sparse makes a file of that size, which takes no room.
func sparse(t *testing.T, name string, bytes int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, bytes); err != nil {
		t.Fatal(err)
	}
	return path
}

// Files and tensors that are too large are refused before they are read or made.
func TestTooLarge(t *testing.T) {
	_, err := ReadInput(sparse(t, "x.npy", maxInputBytes+1), ir.Tensor)
	refused(t, err, "x.npy: input has more than 4294967296 bytes")
	_, err = readHints(sparse(t, "hints.json", maxHintsBytes+1), "model.onnx")
	refused(t, err, "hints.json: hints of 16777217 bytes are too large, 16777216 are allowed")
	_, err = readZipped(&zip.File{FileHeader: zip.FileHeader{Name: "x.npy", UncompressedSize64: maxInputBytes + 1}})
	refused(t, err, "it has more than 4294967296 bytes")
	huge := []int64{1 << 20, 1 << 20}
	_, err = hinted(1.0, ir.Float32, huge, false)
	refused(t, err, "shape [1048576,1048576] is too large to fill")
	_, err = random(nil, ir.Float32, huge, false, false)
	refused(t, err, "shape [1048576,1048576] is too large to fill")
}

// A manifest that does not describe its sub-models.
func TestPortsOfAnotherManifest(t *testing.T) {
	runtimetest.ORT(t)
	for _, c := range []struct {
		name   string
		tweak  func(i int, sub *onnxpb.ModelProto)
		change func(b *bundle)
		want   string
	}{
		{"an output that is not listed", func(i int, sub *onnxpb.ModelProto) {
			if g := sub.Graph; i == 0 {
				g.Node = append(g.Node, &onnxpb.NodeProto{OpType: proto.String("Neg"), Input: []string{"a"}, Output: []string{"extra"}})
				extra := proto.Clone(g.Output[0]).(*onnxpb.ValueInfoProto)
				extra.Name = proto.String("extra")
				g.Output = append(g.Output, extra)
			}
		}, func(*bundle) {}, `p0.onnx: value "extra": sub-model p0 has this output, but the manifest does not list it`},
		{"an output that is not there", nil, func(b *bundle) {
			b.manifest.Submodels[0].Outputs = append(b.manifest.Submodels[0].Outputs, "ghost")
		}, `p0.onnx: value "ghost": the manifest lists this as an output of sub-model p0, but the file does not have it`},
	} {
		b := cut(t, diamond(), [][]int{{0}, {1, 2, 3}}, c.tweak)
		c.change(b)
		b.writeManifest(t)
		_, err := Run(context.Background(), Options{Bundle: b.dir})
		refused(t, err, c.want)
	}
}

// The sub-model that differs is found on whichever inputs it differs.
func TestDifferenceOnLaterInputs(t *testing.T) {
	runtimetest.ORT(t)
	m := onnxtest.New(onnxtest.Header{Name: "negative", Opset: 17})
	g := m.Graph()
	g.Op("Relu", []string{g.Input("x", onnxtest.Float, 64)}, onnxtest.Outs("a"))
	g.Op("Neg", []string{"a"}, onnxtest.Outs("y"))
	g.Info("a", onnxtest.Float, 64)
	g.Output("y", onnxtest.Float, 64)
	b := cut(t, m, [][]int{{0}, {1}}, func(i int, sub *onnxpb.ModelProto) {
		if i == 0 {
			sub.Graph.Node[0].OpType = proto.String("Identity")
		}
	})
	if r := verify(t, b, Options{Trials: 1, Levels: []runtime.Level{}}); !r.Equal {
		t.Fatalf("the first inputs, which are positive, tell them apart: %+v", r)
	}
	r := verify(t, b, Options{Trials: 2, Levels: []runtime.Level{}})
	if r.Equal || r.FirstDifference == nil || r.FirstDifference.Submodel != "p0" || r.FirstDifference.Tensor != "a" {
		t.Errorf("%+v, %+v", r.FirstDifference, r.Warnings)
	}
}

// A sub-model that comes before the one that makes what it needs, and outputs that none makes.
func TestPartsThatDoNotFit(t *testing.T) {
	eng := runtimetest.ORT(t)
	b := cut(t, diamond(), [][]int{{0}, {1, 2, 3}}, nil)
	p := NewParts(eng, b.dir, b.manifest, runtime.Options{})
	s, err := p.load(1)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = p.call(t.Context(), 1, s, nil)
	refused(t, err, "sub-model p1 needs this value, but it is no graph input and no sub-model before it makes it")

	one, err := runtime.NewTensor(ir.Float32, []int64{1}, make([]byte, 4))
	if err != nil {
		t.Fatal(err)
	}
	v := &verification{dir: b.dir, manifest: b.manifest, outputs: []string{"y"}, report: &Report{}}
	_, err = v.level(runtime.Disabled, [][]*runtime.Value{{one}}, []map[string]*runtime.Value{{"z": one}})
	refused(t, err, `manifest.json: value "y": no sub-model makes this output of the model, and it is no graph input`)
}

// Inputs of kinds that cannot be drawn by chance must be given.
func TestInputsThatMustBeGiven(t *testing.T) {
	g := &generator{model: "m.onnx", ports: []runtime.Port{{Name: "o", Type: ir.Type{Kind: ir.Opaque, Rank: -1}}}, hints: &Hints{}}
	refused(t, g.prepare(), `m.onnx: value "o": an input of kind "opaque" cannot be generated, give it with --input`)

	path := filepath.Join(t.TempDir(), "map.onnx")
	m := onnxtest.New(onnxtest.Header{Opset: 17})
	m.Graph().InputOf("o", onnxtest.OptionalType(&onnxpb.TypeProto{Value: &onnxpb.TypeProto_MapType{MapType: &onnxpb.TypeProto_Map{}}}))
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	v := &verification{model: path}
	_, err := v.contained(t.Context())("o")
	refused(t, err, `map.onnx: value "o": what this input holds cannot be generated, give it with --input`)
}

// picky is an engine whose optimiser fails.
type picky struct{ runtime.Engine }

func (e picky) Load(m runtime.Model, o runtime.Options) (runtime.Session, error) {
	if o.Optimization != runtime.Disabled {
		return nil, errors.New("no kernel is left")
	}
	return e.Engine.Load(m, o)
}

// An engine that fails on what its own optimiser makes takes nothing from the verdict.
func TestOptimiserFails(t *testing.T) {
	open := func(string) (runtime.Engine, error) { return picky{runtime.OpenGo()}, nil }
	r := verify(t, cut(t, convNet(), convParts, nil), Options{openORT: open})
	if !r.Equal || len(r.Levels) != 1 || !slices.Contains(r.Warnings, "with optimisation all the engine fails: no kernel is left") {
		t.Errorf("%+v", r)
	}
}
