package compiler

import (
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

func TestCommand(t *testing.T) {
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Model: "/a/b/m.onnx", Devices: "/x/profiles/"}, "dnnsplit m.onnx --devices profiles/"},
		{
			Options{
				Model: "my model.onnx", Devices: "p", Objective: ir.Throughput, Submodels: Auto,
				Dims: map[string]int64{"seq": 8, "batch": 2}, Inputs: map[string][]int64{"x": {1, 3, 224, 224}},
				Pins: []Rule{{"^it's", "pi"}}, Same: []string{"a|b"}, Seed: 7,
			},
			`dnnsplit 'my model.onnx' --devices p/ --objective throughput --submodels auto --shape batch=2 --shape seq=8 ` +
				`--shape x=1,3,224,224 --pin '^it'\''s=pi' --same 'a|b' --seed 7`,
		},
	} {
		if got := c.o.command(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
