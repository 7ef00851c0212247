package frontend_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// TestWholeNetwork: a network inside one function is taken apart, one inside an
// If or a loop stays whole, and the notes say so.
func TestWholeNetwork(t *testing.T) {
	for _, c := range []struct {
		name   string
		inline frontend.Inlining
		nodes  int    // that run, at least
		most   int    // and at most
		note   string // part of the notes; "": none speaks of a node that is not cut inside
	}{
		{"odd/function-holds-all", frontend.InlineAuto, 12, 100, ""},
		{"odd/function-holds-all", frontend.InlineNever, 1, 1, ""}, // nothing beside it: nothing to say
		{"odd/function-holds-layers", frontend.InlineAuto, 12, 12, ""},
		{"odd/function-with-if", frontend.InlineNever, 2, 100, ""},
		{"odd/function-other-opset", frontend.InlineAuto, 2, 100, ""},
		{"odd/whole-net-in-if", frontend.InlineAuto, 1, 5, "it is not cut inside"},
		{"odd/loop-captures", frontend.InlineAuto, 1, 100, "it is not cut inside"},
	} {
		model, err := onnxtest.Named(c.name, 1)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "m.onnx")
		if err := model.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		m, err := onnxfile.Open(t.Context(), path, onnxfile.Options{})
		if err != nil {
			t.Fatal(err)
		}
		a, err := frontend.Analyze(t.Context(), m, frontend.Options{Inline: c.inline})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(a.Nodes); got < c.nodes || got > c.most {
			t.Errorf("%s: %d nodes run, want %d to %d", c.name, got, c.nodes, c.most)
		}
		if notes := strings.Join(a.Notes, "\n"); !strings.Contains(notes, c.note) {
			t.Errorf("%s: the notes do not say %q: %s", c.name, c.note, notes)
		}
		m.Close()
	}
}
