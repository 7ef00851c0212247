package bound

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Area is a lower bound of the bottleneck, and so of the latency: all work has
// to be done by somebody. It is the linear relaxation of scheduling on unrelated
// machines, in its dual form: for any shares w of the processors with Σw = 1,
// some processor is busy for at least Σ over nodes of the least w·cost. Any shares
// give a valid bound; see shares for how good ones are found. Time grows with
// nodes · processors.
func Area(p *ir.Problem) ir.Time {
	value, _ := area(p)
	return value
}

// area is the bound and the shares that give it.
func area(p *ir.Problem) (ir.Time, []float64) {
	procs := len(p.Platform.Processors)
	s := &sharing{p: p, load: make([]float64, procs), best: make([]float64, procs)}
	for q := range s.best {
		s.best[q] = 1 / float64(procs)
	}
	steps := 120
	if n := p.Graph.NumNodes(); n > 20_000 {
		steps = max(12, 120*20_000/n)
	}
	if procs <= mostShares {
		s.cuttingPlanes(steps)
	}
	s.multiply(steps)
	// Rounding in the sum of n products is below n units in the last place.
	return ir.Time(s.value * (1 - 1e-9)), s.best
}

// mostShares is the most processors for which shares come from linear programmes.
const mostShares = 24

// sharing is a search for good shares.
type sharing struct {
	p     *ir.Problem
	load  []float64 // by processor: of the cheapest choices of the last shares tried
	best  []float64 // by processor: the best shares so far
	value float64   // and their bound
}

// try keeps some shares if they give a better bound; it leaves the loads that go with them.
func (s *sharing) try(share []float64) {
	clear(s.load)
	sum := 0.0
	for n := range ir.NodeID(s.p.Graph.NumNodes()) {
		least, at := math.Inf(1), -1
		for q, c := range s.p.Costs.Row(n) {
			if c != ir.Unsupported && share[q]*float64(c) < least {
				least, at = share[q]*float64(c), q
			}
		}
		if at < 0 {
			continue
		}
		sum += least
		s.load[at] += float64(s.p.Costs.Of(n, ir.ProcID(at)))
	}
	if sum > s.value {
		s.value = sum
		copy(s.best, share)
	}
}

// cuttingPlanes maximises the bound, a concave function of the shares, over its
// tangents (Kelley, Journal of the SIAM 8(4), 1960): the loads at the shares tried
// bound it from above, and the linear programme over those says where to look
// next. A step goes only part of the way there, which keeps it from swinging.
// Where the solver fails, the shares found so far stand.
func (s *sharing) cuttingPlanes(steps int) {
	procs := len(s.best)
	var planes [][]float64
	share := slices.Clone(s.best)
	for range min(steps, 60) {
		s.try(share)
		most := slices.Max(s.load)
		if most == 0 {
			return
		}
		planes = append(planes, slices.Clone(s.load))
		to, top, ok := master(planes)
		if !ok || top <= s.value*(1+1e-6) {
			return
		}
		sum := 0.0
		for q := range procs {
			share[q] = 0.5*to[q] + 0.5*s.best[q]
			sum += share[q]
		}
		for q := range procs {
			share[q] /= sum
		}
	}
}

// master maximises t over shares w ≥ 0, Σw = 1, with t ≤ load·w for every plane. ok is false where the solver fails.
func master(planes [][]float64) (share []float64, top float64, ok bool) {
	procs, rows := len(planes[0]), len(planes)
	scale := 0.0
	for _, p := range planes {
		scale = max(scale, slices.Max(p))
	}
	// Columns: shares, t, a slack for each plane. Rows: t - load·w + slack = 0; Σw = 1.
	cols := procs + 1 + rows
	a := mat.NewDense(rows+1, cols, nil)
	b := make([]float64, rows+1)
	c := make([]float64, cols)
	c[procs] = -1
	for i, load := range planes {
		for q := range procs {
			a.Set(i, q, -load[q]/scale)
		}
		a.Set(i, procs, 1)
		a.Set(i, procs+1+i, 1)
	}
	for q := range procs {
		a.Set(rows, q, 1)
	}
	b[rows] = 1
	// All on the first processor and t = 0 is feasible: its share and every slack are the basis.
	basis := make([]int, 0, rows+1)
	for i := range planes {
		basis = append(basis, procs+1+i)
	}
	basis = append(basis, 0)
	z, x, err := lp.Simplex(c, a, b, 1e-9, basis)
	if err != nil || x == nil {
		return nil, 0, false
	}
	share = x[:procs]
	sum := 0.0
	for q := range share {
		share[q] = max(0, share[q])
		sum += share[q]
	}
	if !(sum > 0.5) {
		return nil, 0, false
	}
	return share, -z * scale, true
}

// multiply raises the shares of what is loaded most, step by step (Arora, Hazan and Kale, Theory of Computing 8, 2012).
func (s *sharing) multiply(steps int) {
	share := slices.Clone(s.best)
	for i := range steps {
		s.try(share)
		most := slices.Max(s.load)
		if most == 0 {
			return
		}
		step := 0.2 / math.Sqrt(float64(i+1))
		total := 0.0
		for q := range share {
			share[q] *= math.Exp(step * s.load[q] / most)
			total += share[q]
		}
		for q := range share {
			share[q] /= total
		}
	}
}
