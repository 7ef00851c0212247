package corpus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

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
	// What all devices have beyond their part is less than the least part, so that
	// none can be left out as long as parts stay together.
	least := slices.Min(need.Processors)
	for i := range limits {
		limits[i] = need.Processors[i] + least/int64(2*k) + 1
	}
	return dir, writeFleet(dir, limits)
}

// prefixes cuts the node order into k runs, the lightest of them as heavy as can
// be. A node counts for its weights and, so that models without weights are cut
// too, for its outputs. There are fewer runs than k only if there are fewer nodes.
func prefixes(p *ir.Problem, k int) *ir.Plan {
	g := p.Graph
	load := make([]int64, g.NumNodes())
	var total int64
	held := make([]bool, g.NumWeights())
	for n := range load {
		for _, w := range g.Weights(ir.NodeID(n)) {
			if !held[w] {
				held[w] = true
				load[n] += g.WeightBytes(w)
			}
		}
		for _, v := range g.Outputs(ir.NodeID(n)) {
			load[n] += g.Bytes(v)/64 + 1
		}
		total += load[n]
	}
	k = min(k, len(load))
	// The largest least run for which k runs come out, by bisection.
	lo, hi := int64(0), total/int64(max(k, 1))
	for lo < hi {
		mid := hi - (hi-lo)/2
		if len(runs(load, mid, k)) >= k {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	plan := &ir.Plan{}
	from := 0
	for q, end := range runs(load, lo, k) {
		s := ir.Submodel{Processor: ir.ProcID(q)}
		for ; from < end; from++ {
			s.Nodes = append(s.Nodes, ir.NodeID(from))
		}
		plan.Submodels = append(plan.Submodels, s)
	}
	return plan
}

// runs ends a run as soon as it weighs least; there are at most k, and the last
// one takes the rest.
func runs(load []int64, least int64, k int) []int {
	var ends []int
	var sum int64
	for n, l := range load {
		sum += l
		if sum >= least && len(ends) < k {
			ends = append(ends, n+1)
			sum = 0
		}
	}
	if len(ends) > 0 {
		ends[len(ends)-1] = len(load)
	}
	return ends
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
