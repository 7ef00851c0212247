package bound

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// polished is the most nodes times processors for which shares are improved one by one.
const polished = 20_000

// Area is a lower bound of the bottleneck, and so of the latency: all work has
// to be done by somebody. It is the linear relaxation of scheduling on unrelated
// machines, in its dual form: for any shares w of the processors with Σw = 1,
// some processor is busy for at least Σ over nodes of the least w·cost. Good
// shares are found by multiplicative weights, then one by one (Arora, Hazan and Kale, Theory of
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
	// value is the bound that the shares in share give; it leaves the loads that go with it.
	value := func() float64 {
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
		return sum
	}
	best := 0.0
	kept := slices.Clone(share)
	for i := range rounds {
		if sum := value(); sum > best {
			best = sum
			copy(kept, share)
		}
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
	if g.NumNodes()*procs <= polished {
		// Single shares, up and down by less and less.
		for by := 0.3; by > 1e-4; by *= 0.8 {
			for k := range 2 * procs {
				copy(share, kept)
				if k&1 == 0 {
					share[k/2] *= 1 + by
				} else {
					share[k/2] /= 1 + by
				}
				total := 0.0
				for _, s := range share {
					total += s
				}
				for q := range share {
					share[q] /= total
				}
				if sum := value(); sum > best {
					best = sum
					copy(kept, share)
				}
			}
		}
	}
	// Rounding in the sum of n products is below n units in the last place.
	return ir.Time(best * (1 - 1e-9))
}
