package verify

import (
	"fmt"
	"math/rand/v2"
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

// halfNet is a float16 net with branches that meet in Concat nodes, each reading
// what was computed before it and what is one node old, so that any cut leaves
// nodes that read from both sides of it.
func halfNet(layers int) *onnxtest.Model {
	rng := rand.New(rand.NewPCG(1, 2))
	half := func(n int) []byte {
		b := make([]byte, 2*n)
		for i := range n {
			setBits(ir.Float16, b, int64(i), encode(ir.Float16, rng.Float64()-.5))
		}
		return b
	}
	m := onnxtest.New(onnxtest.Header{Name: "half", Opset: 17})
	g := m.Graph()
	old, cur := g.Input("x", onnxtest.Float16, 1, 8, 6, 6), ""
	for i := range layers {
		in := cur
		if cur == "" {
			in = old
		}
		w, c, b, r := fmt.Sprint("w", i), fmt.Sprint("c", i), fmt.Sprint("b", i), fmt.Sprint("r", i)
		g.Store(onnxtest.Raw(w, onnxtest.Float16, half(8*8), 8, 8, 1, 1))
		g.Store(onnxtest.Raw(w+"2", onnxtest.Float16, half(8*16), 8, 16, 1, 1))
		g.Op("Conv", []string{in, w}, onnxtest.Outs(c))
		g.Op("Concat", []string{c, old}, onnxtest.Outs(b), onnxtest.Int("axis", 1))
		g.Op("Conv", []string{b, w + "2"}, onnxtest.Outs(r))
		g.Info(c, onnxtest.Float16, 1, 8, 6, 6)
		g.Info(b, onnxtest.Float16, 1, 16, 6, 6)
		g.Info(r, onnxtest.Float16, 1, 8, 6, 6)
		old, cur = in, r
	}
	g.Output(cur, onnxtest.Float16, 1, 8, 6, 6)
	return m
}

// A split float16 model rounds what it sends; the model is held to the same.
func TestHalfPrecisionIsRoundedAtCuts(t *testing.T) {
	runtimetest.ORT(t)
	for _, parts := range [][][]int{
		{{0, 1, 2, 3}, {4, 5, 6, 7, 8}, {9, 10, 11}},
		{{0}, {1, 2, 3}, {4, 5}, {6}, {7, 8, 9, 10, 11}},
	} {
		b := cut(t, halfNet(4), parts, nil)
		r := verify(t, b, Options{})
		off := r.Levels[0]
		if !r.Equal || !off.BitEqual || r.FirstDifference != nil || !r.Conclusive {
			t.Errorf("%v: %+v", parts, r)
		}
		if len(off.Rounded) == 0 || off.Unrounded == nil || off.Unrounded.Equal() || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "float16 tensors are cut, which ONNX Runtime does not round inside a model: the model was run with the same rounding (as it stands it differs by up to ") {
			t.Errorf("%v: rounded %q, %+v, warnings %q", parts, off.Rounded, off.Unrounded, r.Warnings)
		}
		var cutTensors []string
		for _, e := range b.manifest.Edges {
			cutTensors = append(cutTensors, e.Tensor)
		}
		if !slices.Equal(off.Rounded, cutTensors) {
			t.Errorf("%v: rounded %q, the edges are %q", parts, off.Rounded, cutTensors)
		}
	}
}

// A wrong weight in a float16 model is no rounding.
func TestHalfPrecisionWrongWeight(t *testing.T) {
	runtimetest.ORT(t)
	b := cut(t, halfNet(4), [][]int{{0, 1, 2, 3}, {4, 5, 6, 7, 8}, {9, 10, 11}}, func(i int, sub *onnxpb.ModelProto) {
		if i == 1 {
			w := proto.Clone(sub.Graph.Initializer[0]).(*onnxpb.TensorProto)
			w.RawData[0] ^= 1
			sub.Graph.Initializer[0] = w
		}
	})
	r := verify(t, b, Options{Levels: []runtime.Level{}})
	if r.Equal || r.FirstDifference == nil || r.FirstDifference.Submodel != "p1" || len(r.FirstDifference.Others) != 0 {
		t.Errorf("%+v", r.FirstDifference)
	}
}

// A sub-model with a node that the model does not have cannot be held against it.
func TestHalfPrecisionForeignNode(t *testing.T) {
	runtimetest.ORT(t)
	b := cut(t, halfNet(4), [][]int{{0, 1, 2, 3}, {4, 5, 6, 7, 8}, {9, 10, 11}}, func(i int, sub *onnxpb.ModelProto) {
		if i == 1 {
			n := sub.Graph.Node[0]
			sub.Graph.Node = append([]*onnxpb.NodeProto{{OpType: proto.String("Neg"), Input: n.Input[:1], Output: []string{"foreign"}}}, sub.Graph.Node...)
			sub.Graph.Node[1] = proto.Clone(n).(*onnxpb.NodeProto)
			sub.Graph.Node[1].Input[0] = "foreign"
		}
	})
	r := verify(t, b, Options{Levels: []runtime.Level{}})
	if r.Equal || len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], "float16 tensors are cut, which ONNX Runtime does not round inside a model, and the model could not be run with the same rounding: ") || !strings.Contains(r.Warnings[0], `value "foreign": the model has no node that makes this value`) {
		t.Errorf("equal %v, warnings %q", r.Equal, r.Warnings)
	}
}

// Stored values that are listed as inputs stay so in the pieces, and captured
// values come along: the pieces of a model with both agree with its sub-models.
func TestPiecesOfOddModels(t *testing.T) {
	runtimetest.ORT(t)
	for _, k := range kinds {
		m := onnxtest.New(onnxtest.Header{Name: "kind", Opset: 21})
		k.build(m.Graph())
		b := cut(t, m, k.parts, nil)
		v := &verification{Options: Options{Trials: 1, Progress: func(string) {}}, eng: runtimetest.ORT(t), dir: b.dir, model: b.model, manifest: b.manifest, report: &Report{}}
		whole, err := v.whole(t.Context(), runtime.Disabled)
		if err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
		want, culprit, why, err := v.recut(t.Context())
		if err != nil || why != "" || culprit != nil {
			t.Errorf("%s: %+v, %q, %v", k.name, culprit, why, err)
			continue
		}
		for j := range whole[0] {
			if d := Compare(whole[0][j], want[0][j]); !d.Equal() && !strings.HasPrefix(k.name, "float16") {
				t.Errorf("%s: output %d: %+v", k.name, j, d)
			}
		}
	}
}
