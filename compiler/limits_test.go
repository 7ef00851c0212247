package compiler_test

import (
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler"
)

// TestLimits: each limit on what a model may cost refuses it with the option that
// raises the limit, and lets it pass when raised.
func TestLimits(t *testing.T) {
	for _, c := range []struct {
		model string
		o     compiler.Options
		want  string
	}{
		{"odd/nested-bodies", compiler.Options{MaxDepth: 1}, "--max-depth"},
		{"odd/nested-bodies", compiler.Options{MaxDepth: 4}, ""},
		{"odd/diamonds", compiler.Options{MaxNodes: 5}, "--max-nodes"},
		{"odd/diamonds", compiler.Options{MaxNodes: 500}, ""},
		{"odd/function-holds-layers", compiler.Options{MaxNodes: 11}, "--inline never"},
		{"odd/function-holds-layers", compiler.Options{MaxNodes: 11, KeepFunctions: true}, ""},
		{"odd/diamonds", compiler.Options{MaxStructureBytes: 1000}, "--max-structure"},
	} {
		c.o.Model, c.o.Devices, c.o.Output = write(t, c.model), "../profiles", t.TempDir()
		r, err := compiler.Compile(t.Context(), c.o)
		if err == nil {
			r.Close()
		}
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.model, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: error %v, want one that names %s", c.model, err, c.want)
		}
	}
}
