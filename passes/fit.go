package passes

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// fit finds plans for problems whose memory is tight: where no start is feasible
// a search that moves single nodes has nothing to stand on.
//
// It cuts the node order into consecutive segments, one a processor. For each set
// of processors it keeps how far the order gets if each of them takes all that it
// can hold: reach(S) = max over j in S of extend(reach(S \ j), j). In the order of
// the graph the memory of a segment grows with its end, so extend is a binary
// search, and a cut of that kind which fits is found if a longer start of the
// order never makes the rest harder to hold.
func fit(j *job) error {
	procs := j.roomiest(fitProcessors)
	f := &fitting{p: j.p, g: j.p.Graph, seen: make([]int32, j.p.Graph.NumWeights()), used: make([]ir.NodeID, j.p.Graph.NumValues())}
	f.prepare()
	n := ir.NodeID(f.g.NumNodes())
	size := 1 << len(procs)
	if float64(n)*float64(size)*float64(len(procs)) > fitWork {
		procs = procs[:min(len(procs), 4)]
		size = 1 << len(procs)
	}
	reach := make([]reached, size)
	plans := 0
	for set := 1; set < size && plans < fitPlans; set++ {
		best := reached{last: -1}
		for rest := set; rest != 0; rest &= rest - 1 {
			k := bits.TrailingZeros(uint(rest))
			from := &reach[set&^(1<<k)]
			if from.end == n {
				continue // fewer processors do
			}
			q := j.p.Platform.Processors[procs[k]]
			limit := min(q.MemoryBytes, j.p.Platform.Devices[q.Device].MemoryBytes-from.taken(q.Device))
			end, need := f.extend(from.end, procs[k], limit)
			if end > best.end {
				best = reached{end: end, last: k, device: q.Device, bytes: need, before: from}
			}
		}
		reach[set] = best
		if best.end == n && best.last >= 0 {
			plan := f.plan(&best, procs)
			if ir.CheckPlan(j.p, plan) == nil {
				plans++
				j.offer(plan)
				j.pool = append(j.pool, plan)
			}
		}
		if j.spent() {
			break
		}
	}
	return nil
}

// Bounds of fit's work: subsets are 2^fitProcessors, and each extension reads
// the nodes of a segment a few times.
const (
	fitProcessors = 8
	fitPlans      = 16
	fitWork       = 1e8
)

// reached is how far a set of processors gets.
type reached struct {
	end    ir.NodeID // nodes below it are placed
	last   int       // position of the processor of the last segment
	device ir.DeviceID
	bytes  int64 // that the last segment needs
	before *reached
}

// taken is what the segments need on a device.
func (r *reached) taken(d ir.DeviceID) int64 {
	var sum int64
	for ; r != nil && r.before != nil; r = r.before {
		if r.device == d {
			sum += r.bytes
		}
	}
	return sum
}

// roomiest are the processors with the most memory of their own, most first.
func (j *job) roomiest(most int) []ir.ProcID {
	pf := j.p.Platform
	room := func(q ir.ProcID) int64 {
		return min(pf.Processors[q].MemoryBytes, pf.Devices[pf.Processors[q].Device].MemoryBytes)
	}
	order := make([]ir.ProcID, len(pf.Processors))
	for q := range order {
		order[q] = ir.ProcID(q)
	}
	slices.SortStableFunc(order, func(a, b ir.ProcID) int { return cmp.Compare(room(b), room(a)) })
	return order[:min(most, len(order))]
}

// fitting measures segments of the node order.
type fitting struct {
	p    *ir.Problem
	g    *ir.Graph
	ends []ir.NodeID // by ValueID: its last consumer, NoNode if none; beyond the last node if it is an output
	cut  []bool      // by NodeID: a segment may end before the node, no group straddles it

	mark int32
	seen []int32     // by WeightID
	used []ir.NodeID // by ValueID: scratch of an outside value's last use in the segment
}

func (f *fitting) prepare() {
	g := f.g
	f.ends = make([]ir.NodeID, g.NumValues())
	for v := range f.ends {
		id := ir.ValueID(v)
		f.ends[v] = ir.NoNode
		if c := g.Consumers(id); len(c) > 0 {
			f.ends[v] = c[len(c)-1]
		}
		if g.IsOutput(id) {
			f.ends[v] = ir.NodeID(g.NumNodes())
		}
	}
	open := make([]int32, g.NumNodes()+1)
	for i := range g.NumGroups() {
		m := g.Members(ir.GroupID(i))
		if len(m) > 1 {
			open[m[0]+1]++
			open[m[len(m)-1]+1]--
		}
	}
	f.cut = make([]bool, g.NumNodes()+1)
	for n, depth := 0, int32(0); n <= g.NumNodes(); n++ {
		depth += open[n]
		f.cut[n] = depth == 0
	}
}

// extend is the furthest end of a segment that starts at a, runs on q and fits
// into limit, and what it needs.
func (f *fitting) extend(a ir.NodeID, q ir.ProcID, limit int64) (end ir.NodeID, need int64) {
	most := a
	for int(most) < f.g.NumNodes() && f.p.Costs.Of(most, q) != ir.Unsupported {
		most++
	}
	lo, hi := a, most // lo fits
	for lo < hi {
		mid := hi - (hi-lo)/2
		if f.measure(a, mid) <= limit {
			lo = mid
		} else {
			hi = mid - 1
		}
	}
	for lo > a && !f.cut[lo] {
		lo--
	}
	return lo, f.measure(a, lo)
}

// measure is the memory of the segment [a, b): its distinct weights and the peak
// of its activations. It counts graph inputs and what earlier nodes make as
// outside values, live from the start to their last use.
func (f *fitting) measure(a, b ir.NodeID) int64 {
	if a >= b {
		return 0
	}
	g := f.g
	f.mark++
	var weights, live int64
	for n := a; n < b; n++ {
		for _, w := range g.Weights(n) {
			if f.seen[w] != f.mark {
				f.seen[w] = f.mark
				weights += g.WeightBytes(w)
			}
		}
		for _, v := range g.Inputs(n) {
			if g.Producer(v) < a {
				if f.used[v] == 0 {
					live += g.ResidentBytes(v)
				}
				f.used[v] = n + 1
			}
		}
	}
	peak := live
	for n := a; n < b; n++ {
		for _, v := range g.Outputs(n) {
			live += g.ResidentBytes(v)
		}
		peak = max(peak, live)
		for _, v := range g.Inputs(n) {
			if outside := g.Producer(v) < a; outside && f.used[v] == n+1 || !outside && f.ends[v] == n {
				live -= g.ResidentBytes(v)
				f.used[v] = 0
			}
		}
		for _, v := range g.Outputs(n) {
			if f.ends[v] == ir.NoNode {
				live -= g.ResidentBytes(v)
			}
		}
	}
	return weights + peak
}

// plan is the plan of the segments that r ends with.
func (f *fitting) plan(r *reached, procs []ir.ProcID) *ir.Plan {
	plan := &ir.Plan{}
	for ; r.before != nil; r = r.before {
		s := ir.Submodel{Processor: procs[r.last]}
		for n := r.before.end; n < r.end; n++ {
			s.Nodes = append(s.Nodes, n)
		}
		if len(s.Nodes) > 0 {
			plan.Submodels = append(plan.Submodels, s)
		}
	}
	slices.Reverse(plan.Submodels)
	return plan
}
