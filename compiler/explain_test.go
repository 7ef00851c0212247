package compiler_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// explainFleet has a fast machine that is far and cannot hold the model, one that
// lacks an operator, one that is slow, and one that no link reaches.
var explainFleet = map[string]string{
	"near.yaml": `schema: dnnsplit/device/v1
name: near
memory: 1GiB
processors:
  - {name: cpu, kind: cpu, provider: CPUExecutionProvider, peak: {float32: 100GFLOP/s}, memory_bandwidth: 10GB/s, op_overhead: 1us, launch: 10us}
  - {name: npu, kind: npu, provider: CPUExecutionProvider, peak: {float32: 1TFLOP/s}, memory_bandwidth: 50GB/s, op_overhead: 1us, launch: 10us, unsupported: [MaxPool], upload: {latency: 5us, bandwidth: 1GB/s}, download: {latency: 5us, bandwidth: 1GB/s}}
`,
	"far.yaml": `schema: dnnsplit/device/v1
name: far
memory: 3MiB
processors:
  - {name: cpu, kind: cpu, provider: CPUExecutionProvider, peak: {float32: 10TFLOP/s}, memory_bandwidth: 900GB/s, op_overhead: 1us, launch: 10us}
`,
	"slow.yaml": `schema: dnnsplit/device/v1
name: slow
memory: 1GiB
processors:
  - {name: cpu, kind: cpu, provider: CPUExecutionProvider, peak: {float32: 1GFLOP/s}, memory_bandwidth: 1GB/s, op_overhead: 1us, launch: 10us}
`,
	"tiny.yaml": `schema: dnnsplit/device/v1
name: tiny
memory: 20KiB
processors:
  - {name: cpu, kind: cpu, provider: CPUExecutionProvider, peak: {float32: 1GFLOP/s}, memory_bandwidth: 1GB/s, op_overhead: 1us, launch: 10us}
`,
	"island.yaml": `schema: dnnsplit/device/v1
name: island
memory: 1GiB
processors:
  - {name: cpu, kind: cpu, provider: CPUExecutionProvider, peak: {float32: 1TFLOP/s}, memory_bandwidth: 90GB/s, op_overhead: 1us, launch: 10us}
`,
	"fleet.yaml": `schema: dnnsplit/fleet/v1
source: near
sink: near
links:
  - {between: [near, far], latency: 100us, bandwidth: 10Gbit/s}
  - {between: [near, slow], latency: 1ms, bandwidth: 1Gbit/s}
  - {between: [near, tiny], latency: 1ms, bandwidth: 1Gbit/s}
`,
}

// TestExplain holds against each processor what must bind there.
func TestExplain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range explainFleet {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	model := write(t, "squeezenet1_1")
	type wants map[string][]string // by processor: kinds that must be among its binds
	for _, c := range []struct {
		name, node string
		options    compiler.Options
		want       wants
		text       []string // each must be in what some bind says
	}{
		{
			"limits", "pool1",
			compiler.Options{},
			wants{
				"near.npu": {compiler.BindOperator}, "slow": {compiler.BindNode, compiler.BindTransfer},
				"tiny": {compiler.BindMemory}, "island": {compiler.BindLimit},
			},
			[]string{`does not support operator MaxPool of node "pool1"`, " bytes), goes from near to slow in ", "device tiny is ", "which no link brings to processor"},
		},
		{
			"pin", "pool1",
			compiler.Options{Pins: []compiler.Rule{{Pattern: "^pool1$", Processor: "slow"}}},
			wants{"near.cpu": {compiler.BindRule}, "far": {compiler.BindRule}, "near.npu": {compiler.BindOperator}},
			[]string{"--pin '^pool1$=slow' rules it out"},
		},
		{
			"placement", "pool1",
			compiler.Options{Place: []compiler.Placed{{Processor: "slow", Nodes: []string{"pool1"}}}},
			wants{"near.cpu": {compiler.BindRule}, "far": {compiler.BindRule}},
			[]string{"the placement file puts it on slow"},
		},
		{
			"forbid, group and throughput", "conv1",
			compiler.Options{Objective: ir.Throughput, Same: []string{"^(conv1|pool1)$"}, Forbids: []compiler.Rule{{Pattern: "^conv", Processor: "far"}}},
			wants{"far": {compiler.BindRule}, "near.npu": {compiler.BindGroup}, "slow": {compiler.BindBusiest}},
			[]string{
				"--forbid '^conv=far' rules it out", "would be busy for ",
				`and node "pool1" cannot be there: its profile does not support operator MaxPool`,
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := c.options
			o.Model, o.Devices, o.Submodels, o.Seed = model, dir, 1, 1
			o.SkipAuto, o.NoWrite = true, true
			r, err := compiler.Compile(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			e, err := r.Explain(t.Context(), c.node)
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			for _, choice := range e.Choices {
				var kinds []string
				for _, b := range choice.Binds {
					kinds = append(kinds, b.Kind)
					said = append(said, b.Text)
					if b.Kind == compiler.BindMemory && b.Bytes <= 0 || b.Kind == compiler.BindTransfer && (b.Us <= 0 || b.Value == "") {
						t.Errorf("%s: empty: %+v", choice.Processor, b)
					}
				}
				if choice.Chosen && len(kinds) > 0 {
					t.Errorf("%s is chosen, and against it stand %v", choice.Processor, kinds)
				}
				if !choice.Chosen && choice.PlanUs == 0 && len(kinds) == 0 {
					t.Errorf("%s: no plan, and nothing stands against it", choice.Processor)
				}
				for _, k := range c.want[choice.Processor] {
					if !slices.Contains(kinds, k) {
						t.Errorf("%s: binds %+v, want a %s", choice.Processor, choice.Binds, k)
					}
				}
			}
			for _, text := range c.text {
				if !strings.Contains(strings.Join(said, "\n"), text) {
					t.Errorf("nothing says %q:\n%s", text, strings.Join(said, "\n"))
				}
			}
		})
	}
}
