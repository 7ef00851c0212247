package corpus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// slack is the part of its memory, one in so many, that a device of a tight fleet
// has beyond what a known plan needs. k-1 of k equal devices then hold at most
// (k-1)/k · 11/10 of the weights, less than all for k up to 10.
const slack = 10

// tightFleet writes a fleet of k unequal devices whose memory little more than
// holds a cut of the model into k runs of its nodes, so that fewer devices cannot
// hold it where weights make up most of the memory.
func tightFleet(ctx context.Context, o compiler.Options, work string, k int) (string, error) {
	dir := filepath.Join(work, "fleet")
	limits := make([]int64, k)
	for i := range limits {
		limits[i] = 1 << 50
	}
	if err := writeFleet(dir, limits); err != nil {
		return "", err
	}
	o.Devices = dir
	in, err := compiler.Inspect(ctx, o)
	if err != nil {
		return "", err
	}
	p := in.Lowered.Problem
	plan := prefixes(p, k)
	need := ir.MeasureMemory(p, plan, ir.Connect(p.Graph, plan))
	for i := range limits {
		limits[i] = need.Processors[i] + need.Processors[i]/slack + 1
	}
	return dir, writeFleet(dir, limits)
}

// prefixes cuts the node order into k runs of about equal weight; a node counts
// for its weights and, so that models without weights are cut too, for its outputs.
func prefixes(p *ir.Problem, k int) *ir.Plan {
	g := p.Graph
	load := make([]int64, g.NumNodes())
	var total int64
	for n := range load {
		for _, w := range g.Weights(ir.NodeID(n)) {
			load[n] += g.WeightBytes(w)
		}
		for _, v := range g.Outputs(ir.NodeID(n)) {
			load[n] += g.Bytes(v)/64 + 1
		}
		total += load[n]
	}
	plan := &ir.Plan{}
	var sum int64
	for n := range load {
		at := min(int(sum*int64(k)/max(total, 1)), k-1)
		for len(plan.Submodels) == 0 || (int(plan.Submodels[len(plan.Submodels)-1].Processor) < at) {
			plan.Submodels = append(plan.Submodels, ir.Submodel{Processor: ir.ProcID(at)})
		}
		last := &plan.Submodels[len(plan.Submodels)-1]
		last.Nodes = append(last.Nodes, ir.NodeID(n))
		sum += load[n]
	}
	return plan
}

func writeFleet(dir string, limits []int64) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for i, limit := range limits {
		text := fmt.Sprintf(`schema: dnnsplit/device/v1
name: d%d
memory: %dB
processors:
  - name: cpu
    kind: cpu
    provider: CPUExecutionProvider
    peak: {float32: %dGFLOP/s}
    memory_bandwidth: %dGB/s
    op_overhead: 2us
    launch: 20us
source: made up for a test of memory limits
`, i+1, limit, 40*(i+1), 10+5*i)
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("d%d.yaml", i+1)), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "fleet.yaml"), []byte("schema: dnnsplit/fleet/v1\nsource: d1\nsink: d1\ndefault_link: {bandwidth: 1Gbit/s, latency: 100us}\n"), 0o644)
}
