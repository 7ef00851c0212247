package passes

import (
	"fmt"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// explain says why there is no plan: what is proved to be too large, and what would make room.
func explain(j *job) *InfeasibleError {
	e := &InfeasibleError{Proved: true, Reasons: short(j.p)}
	if len(e.Reasons) == 0 {
		e.Proved = false
		e.Reasons = []string{"every candidate broke a limit on memory, on the number of sub-models or on where nodes may run"}
	}
	e.Reasons = append(e.Reasons, relax(j)...)
	return e
}

// proved says of an explanation that the problem is known to have no plan.
func (e *InfeasibleError) proved() *InfeasibleError {
	e.Proved = true
	return e
}

// short lists limits that no plan can keep, and by how many bytes each is short.
func short(p *ir.Problem) []string {
	g, pf := p.Graph, p.Platform
	limit := func(q int) int64 {
		return min(pf.Processors[q].MemoryBytes, pf.Devices[pf.Processors[q].Device].MemoryBytes)
	}
	var reasons []string
	var all int64
	for w := range ir.WeightID(g.NumWeights()) {
		all += g.WeightBytes(w)
	}
	if room := together(pf); all > room {
		reasons = append(reasons, fmt.Sprintf("the weights take %d bytes, %d more than the %d that all processors have together", all, all-room, room))
	}
	// roomiest is the most memory of a processor that supports all of some nodes.
	roomiest := func(nodes ...ir.NodeID) (most int64, name string) {
		most = -1
		for q := range pf.Processors {
			able := true
			for _, n := range nodes {
				able = able && p.Costs.Of(n, ir.ProcID(q)) != ir.Unsupported
			}
			if able && limit(q) > most {
				most, name = limit(q), pf.Processors[q].Name
			}
		}
		return most, name
	}
	for n := range ir.NodeID(g.NumNodes()) {
		need := nodeBytes(g, n)
		if most, name := roomiest(n); most >= 0 && need > most {
			reasons = append(reasons, fmt.Sprintf("node %q%s alone needs %d bytes, %d more than processor %q has, the roomiest that may run it", g.NodeName(n), ofOp(g.Op(n)), need, need-most, name))
		}
	}
	for id := range ir.GroupID(g.NumGroups()) {
		members := g.Members(id)
		if most, name := roomiest(members...); len(members) > 1 && most >= 0 {
			if need := weightsOf(g, members); need > most {
				reasons = append(reasons, fmt.Sprintf("the weights of group %q take %d bytes, %d more than processor %q has, the roomiest that may run it", g.GroupName(id), need, need-most, name))
			}
		}
	}
	for q, e := range pf.Processors {
		var bound []ir.NodeID // nodes that run nowhere else
		for n := range ir.NodeID(g.NumNodes()) {
			only := p.Costs.Of(n, ir.ProcID(q)) != ir.Unsupported
			for k, c := range p.Costs.Row(n) {
				only = only && (k == q || c == ir.Unsupported)
			}
			if only {
				bound = append(bound, n)
			}
		}
		if need := weightsOf(g, bound); len(bound) > 1 && need > limit(q) {
			reasons = append(reasons, fmt.Sprintf("the weights of the %d nodes that run on processor %q alone take %d bytes, %d more than it has", len(bound), e.Name, need, need-limit(q)))
		}
	}
	return reasons
}

// together is the memory of all processors, within the limits of their devices.
func together(pf *ir.Platform) int64 {
	var room int64
	for d, dev := range pf.Devices {
		var sum int64
		for _, q := range pf.Processors {
			if int(q.Device) == d {
				if q.MemoryBytes == ir.UnlimitedBytes || sum > ir.UnlimitedBytes-q.MemoryBytes {
					sum = ir.UnlimitedBytes
					break
				}
				sum += q.MemoryBytes
			}
		}
		sum = min(sum, dev.MemoryBytes)
		if room > ir.UnlimitedBytes-sum {
			return ir.UnlimitedBytes
		}
		room += sum
	}
	return room
}

// nodeBytes is what a node needs at least: its weights, and its inputs and outputs at once.
func nodeBytes(g *ir.Graph, n ir.NodeID) int64 {
	need := weightsOf(g, []ir.NodeID{n})
	for _, v := range g.Inputs(n) {
		need += g.ResidentBytes(v)
	}
	for _, v := range g.Outputs(n) {
		need += g.ResidentBytes(v)
	}
	return need
}

// weightsOf is the bytes of the distinct weights of some nodes.
func weightsOf(g *ir.Graph, nodes []ir.NodeID) int64 {
	var all []ir.WeightID
	for _, n := range nodes {
		all = append(all, g.Weights(n)...)
	}
	slices.Sort(all)
	var sum int64
	for _, w := range slices.Compact(all) {
		sum += g.WeightBytes(w)
	}
	return sum
}

// relax names changes of the problem after which a plan is found: more sub-models, or more memory and how much of
// it where.
func relax(j *job) []string {
	var ways []string
	try := func(p *ir.Problem) *ir.Plan {
		k := newJob(j.ctx, p, Options{Objective: j.o.Objective})
		k.pass = "relax"
		for _, run := range []func(*job) error{singles, fit} {
			if run(k) != nil || k.best != nil {
				break
			}
		}
		return k.best
	}
	free := *j.p
	free.Submodels = 0
	if j.p.Submodels != 0 {
		k := newJob(j.ctx, &free, Options{Objective: j.o.Objective})
		k.pass = "relax"
		if baselines(k) == nil && k.best != nil {
			ways = append(ways, "it would fit with more sub-models for each processor: allow any number")
		}
	}
	percents := []int64{2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 1000}
	if j.p.Graph.NumNodes() > 50_000 { // each try takes time
		percents = []int64{20, 100, 500}
	}
	for _, percent := range percents {
		wide := *j.p
		pf := *j.p.Platform
		wide.Platform = &pf
		pf.Processors, pf.Devices = slices.Clone(pf.Processors), slices.Clone(pf.Devices)
		for q := range pf.Processors {
			pf.Processors[q].MemoryBytes = more(pf.Processors[q].MemoryBytes, percent)
		}
		for d := range pf.Devices {
			pf.Devices[d].MemoryBytes = more(pf.Devices[d].MemoryBytes, percent)
		}
		plan := try(&wide)
		if plan == nil {
			if j.ctx.Err() != nil {
				break
			}
			continue
		}
		need := ir.MeasureMemory(j.p, plan, ir.Connect(j.p.Graph, plan))
		var where []string
		for q, e := range j.p.Platform.Processors {
			if k := need.Processors[q] - e.MemoryBytes; k > 0 {
				where = append(where, fmt.Sprintf("%d bytes for processor %q", k, e.Name))
			}
		}
		for d, e := range j.p.Platform.Devices {
			if k := need.Devices[d] - e.MemoryBytes; k > 0 {
				where = append(where, fmt.Sprintf("%d bytes for device %q", k, e.Name))
			}
		}
		if len(where) > 0 {
			ways = append(ways, "it would fit with more memory: "+strings.Join(where, ", "))
		}
		break
	}
	return ways
}

// more is a limit raised by some percent.
func more(limit, percent int64) int64 {
	if limit > ir.UnlimitedBytes/(100+percent) {
		return ir.UnlimitedBytes
	}
	return limit * (100 + percent) / 100
}
