package compiler_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// TestGroupsInArchitectures counts what is fused in networks whose structure is
// known, at any width, and that no split cuts it, however many sub-models it may have.
func TestGroupsInArchitectures(t *testing.T) {
	layers12 := onnxtest.TextConfig{Seed: 1, Layers: 12, Hidden: 24, Heads: 12, Vocab: 100, Positions: 32}
	narrow := onnxtest.Config{Seed: 1, Width: 0.25, Resolution: 64, Classes: 10}
	for i, c := range []struct {
		name  string
		model *onnxtest.Model
		want  map[string]int // by kind; "Conv…" is all that begin so
	}{
		{"squeezenet1_1", onnxtest.SqueezeNet(narrow), map[string]int{"Conv+Relu": 26}},
		{"resnet50", onnxtest.ResNet50(narrow), map[string]int{"Conv+BatchNormalization+Relu": 33, "Conv+BatchNormalization+Add+Relu": 16, "Conv+BatchNormalization": 4}},
		{"bert_base", onnxtest.BERT(layers12), map[string]int{"SelfAttention": 12, "SkipLayerNormalization": 25, "MatMul+Add+Gelu": 12}},
		{"mobilenet_v2", onnxtest.MobileNetV2(narrow), map[string]int{"Conv…": 52}},
		{"gpt2", onnxtest.GPT(layers12), map[string]int{"Attention": 12, "SkipLayerNormalization": 1, "MatMul+Add+Gelu": 12}},
	} {
		if race.Skips(i, 2) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "m.onnx")
			if err := c.model.WriteFile(path); err != nil {
				t.Fatal(err)
			}
			o := compiler.Options{Model: path, Devices: "../profiles", Submodels: compiler.Auto, NoWrite: true}
			r, err := compiler.Compile(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			g := r.Lowered.Problem.Graph
			found := map[string]int{}
			for n, fused := range r.Lowered.Fused {
				if fused {
					found[g.Op(ir.NodeID(n))]++
				}
			}
			for kind, want := range c.want {
				got := found[kind]
				for k, n := range found {
					if prefix, any := strings.CutSuffix(kind, "…"); any && strings.HasPrefix(k, prefix) {
						got += n
					}
				}
				if got != want {
					t.Errorf("%d groups %s, want %d; there are %v", got, kind, want, found)
				}
			}
			at := map[string]string{}
			for _, s := range r.Bundle.Manifest.Submodels {
				for _, n := range s.NodeNames {
					at[n] = s.ID
				}
			}
			for n, names := range r.Lowered.MemberNames {
				for _, name := range names {
					if r.Lowered.Fused[n] && at[name] != at[names[0]] {
						t.Errorf("group %s is cut: %s is in %q and %s in %q", g.Op(ir.NodeID(n)), names[0], at[names[0]], name, at[name])
					}
				}
			}
		})
	}
}
