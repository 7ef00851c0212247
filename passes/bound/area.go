package bound

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Area is a lower bound of the bottleneck, and so of the latency: all work has
// to be done by somebody. It is the linear relaxation of scheduling on unrelated
// machines, in its dual form: for any shares w of the processors with Σw = 1,
// some processor is busy for at least Σ over nodes of the least w·cost. Good
// shares are found by multiplicative weights (Arora, Hazan and Kale, Theory of
// Computing 8, 2012); any shares give a valid bound. Time grows with nodes · processors.
func Area(p *ir.Problem) ir.Time {
	g := p.Graph
	procs := len(p.Platform.Processors)
	rounds := 400
	if g.NumNodes() > 20_000 {
		rounds = 60
	}
	if g.NumNodes() > 200_000 {
		rounds = 20
	}
	share := make([]float64, procs)
	for q := range share {
		share[q] = 1 / float64(procs)
	}
	load := make([]float64, procs)
	best := 0.0
	for i := range rounds {
		clear(load)
		sum := 0.0
		for n := range ir.NodeID(g.NumNodes()) {
			least, at := math.Inf(1), -1
			for q, c := range p.Costs.Row(n) {
				if c != ir.Unsupported && share[q]*float64(c) < least {
					least, at = share[q]*float64(c), q
				}
			}
			if at < 0 {
				continue
			}
			sum += least
			load[at] += float64(p.Costs.Of(n, ir.ProcID(at)))
		}
		best = max(best, sum)
		most := slices.Max(load)
		if most == 0 {
			break
		}
		step := 0.5 / math.Sqrt(float64(i+1))
		total := 0.0
		for q := range share {
			share[q] *= math.Exp(step * load[q] / most)
			total += share[q]
		}
		for q := range share {
			share[q] /= total
		}
	}
	// Rounding in the sum of n products is below n units in the last place.
	return ir.Time(best * (1 - 1e-9))
}
