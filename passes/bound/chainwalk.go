package bound

import (
	"cmp"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// walk is the dynamic programme over the spine. A state is how many runs each processor had, and the processor of the
// run at hand. Runs are not counted of processors that may have any number, and of the slowest where there are too many states.
type walk struct {
	*chain
	sets   int       // states but for the processor at hand; state 0: no runs
	stride []int     // by processor: how far apart states are of one run more; 0: its runs are not counted
	counts []int     // by processor: runs that are told apart; more count as that many if it may have more
	holds  []int64   // by set: memory of all processors that had a run, or may have had one
	need   []int64   // by spine index: bytes of the weights of the spine up to it
	aside  bool      // runs beside those of the walk are counted, too: there are few enough states
	prefix []ir.Time // (spine index · procs + q): Σ of sum up to it, unsupported ones as 0
	enter  []ir.Time // by set·procs + q: T of the spine node at hand for a run that holds it first
	done   []ir.Time // the same for any run
	before []ir.Time // done of the spine node before
	next   int       // index of the spine node that comes next
	queues [][]entry // by set·procs + q: entries that a run at the spine node at hand may have started with, best first
}

// newWalk makes a walk for which no more than most states times spine nodes times transitions are looked at.
func newWalk(c *chain, most int) *walk {
	m, p := len(c.spine), c.procs
	w := &walk{chain: c, sets: 1, stride: make([]int, p), prefix: make([]ir.Time, m*p)}
	for i := range m {
		for q := range p {
			if i > 0 {
				w.prefix[i*p+q] = w.prefix[(i-1)*p+q]
			}
			if t := c.sum[i*p+q]; t < ir.MaxTime {
				w.prefix[i*p+q] += t
			}
		}
	}
	order := make([]int, p)
	for q := range order {
		order[q] = q
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(w.prefix[(m-1)*p+a], w.prefix[(m-1)*p+b]) })
	// First which processors had a run at all, where that matters, then how many they had.
	w.counts = make([]int, p)
	work := m * p * p
	limited := slices.Min(c.room) < ir.UnlimitedBytes
	for _, q := range order {
		if (limited || c.limit[q] == 1 && m > 1) && work <= most/2 {
			w.counts[q] = 1
			work *= 2
		}
	}
	for _, q := range order {
		if k := c.limit[q]; k > 1 && k < m && work/(w.counts[q]+1) <= most/(k+1) {
			work = work / (w.counts[q] + 1) * (k + 1)
			w.counts[q] = k
		}
	}
	for q, k := range w.counts {
		if k > 0 {
			w.stride[q] = w.sets
			w.sets *= k + 1
		}
	}
	w.memory()
	others := 0
	for _, block := range c.blocks[1:] {
		if len(block) > 1 {
			others += p * p * p * p / 2
		}
	}
	w.aside = others*w.sets <= most
	return w
}

// memory finds how much a row of runs can hold, and how much it must: the processors that it has visited hold the
// spine up to where it is.
func (w *walk) memory() {
	pf := w.p.Platform
	w.holds = make([]int64, w.sets)
	for set := range w.holds {
		byDevice := make([]int64, len(pf.Devices))
		for q := range w.procs {
			if w.stride[q] == 0 || set/w.stride[q]%(w.counts[q]+1) > 0 {
				d := &byDevice[pf.Processors[q].Device]
				*d += min(w.room[q], ir.UnlimitedBytes-*d)
			}
		}
		for d, bytes := range byDevice {
			w.holds[set] += min(bytes, pf.Devices[d].MemoryBytes, ir.UnlimitedBytes-w.holds[set])
		}
	}
	seen := make([]bool, w.g.NumWeights())
	var sum int64
	for _, x := range w.spine {
		for _, v := range w.g.Weights(x) {
			if !seen[v] {
				seen[v] = true
				sum += w.g.WeightBytes(v)
			}
		}
		w.need = append(w.need, sum)
	}
}

// with is a state with one run more of a processor, and whether that may have one.
func (w *walk) with(set, q int) (int, bool) {
	switch {
	case w.stride[q] == 0:
		return set, true
	case set/w.stride[q]%(w.counts[q]+1) < w.counts[q]:
		return set + w.stride[q], true
	}
	return set, w.limit[q] != w.counts[q]
}
