package passes

import (
	"cmp"
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/assign"
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
	f := assign.NewSegments(j.p)
	n := ir.NodeID(j.p.Graph.NumNodes())
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
			end, need := f.Extend(from.end, procs[k], limit)
			if end > best.end {
				best = reached{end: end, last: k, device: q.Device, bytes: need, before: from}
			}
		}
		reach[set] = best
		if best.end == n && best.last >= 0 {
			plan := best.plan(procs)
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

// plan is the plan of the segments that r ends with.
func (r *reached) plan(procs []ir.ProcID) *ir.Plan {
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
