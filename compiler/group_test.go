package compiler_test

import (
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// TestGroupsInArchitectures counts what is fused in networks whose structure is
// known, and that no split cuts it, however many sub-models it may have.
func TestGroupsInArchitectures(t *testing.T) {
	for _, c := range []struct {
		name string
		want map[string]int // by kind; "Conv…" is all that begin so
	}{
		{"squeezenet1_1", map[string]int{"Conv+Relu": 26}},
		{"resnet50", map[string]int{"Conv+BatchNormalization+Relu": 33, "Conv+BatchNormalization+Add+Relu": 16, "Conv+BatchNormalization": 4}},
		{"bert_base", map[string]int{"SelfAttention": 12, "SkipLayerNormalization": 25, "MatMul+Add+Gelu": 12}},
		{"mobilenet_v2", map[string]int{"Conv…": 52}},
		{"gpt2", map[string]int{"Attention": 12, "SkipLayerNormalization": 1, "MatMul+Add+Gelu": 12}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := compiler.Options{Model: write(t, c.name), Devices: "../profiles", Output: t.TempDir() + "/out", Submodels: compiler.Auto}
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
