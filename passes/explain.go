package passes

import (
	"fmt"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// explain says why there is no plan: what is proved to be too large, and the nearest changes that would make room.
// proof says how it is known that there is none; "" if it is not.
func explain(j *job, proof string) *InfeasibleError {
	e := &InfeasibleError{Proved: true, Reasons: short(j.p)}
	if len(e.Reasons) == 0 {
		e.Reasons = []string{proof}
		if proof == "" {
			e.Proved = false
			e.Reasons = []string{"every candidate broke a limit on memory, on the number of sub-models or on where nodes may run"}
		}
	}
	e.Reasons = append(e.Reasons, relax(j)...)
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
		reasons = append(reasons, fmt.Sprintf("the weights take %s, %s more than the %s that all processors have together", diag.Bytes(all), diag.Bytes(all-room), diag.Bytes(room)))
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
	heavy := 0
	for n := range ir.NodeID(g.NumNodes()) {
		need := nodeBytes(g, n)
		if most, name := roomiest(n); most >= 0 && need > most {
			if heavy++; heavy > namedNodes {
				continue
			}
			reasons = append(reasons, fmt.Sprintf("node %q%s alone needs %s, %s more than processor %q has, the roomiest that may run it", g.NodeName(n), ofOp(g.Op(n)), diag.Bytes(need), diag.Bytes(need-most), name))
		}
	}
	if heavy > namedNodes {
		reasons = append(reasons, fmt.Sprintf("%d more nodes alone need more than any processor has that may run them", heavy-namedNodes))
	}
	for id := range ir.GroupID(g.NumGroups()) {
		members := g.Members(id)
		if most, name := roomiest(members...); len(members) > 1 && most >= 0 {
			if need := weightsOf(g, members); need > most {
				reasons = append(reasons, fmt.Sprintf("the weights of group %q take %s, %s more than processor %q has, the roomiest that may run it", g.GroupName(id), diag.Bytes(need), diag.Bytes(need-most), name))
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
			reasons = append(reasons, fmt.Sprintf("the weights of the %d nodes that run on processor %q alone take %s, %s more than it has", len(bound), e.Name, diag.Bytes(need), diag.Bytes(need-limit(q))))
		}
	}
	return reasons
}

// namedNodes is how many nodes an explanation names for one reason.
const namedNodes = 3

// stuck names a node to which some value that it reads can get on no processor that may run it, or an output that cannot get to the
// sink from where it can be made.
func stuck(p *ir.Problem) (reasons []string) {
	g, pf := p.Graph, p.Platform
	procs := len(pf.Processors)
	routes := ir.NewRoutes(pf)
	leads := func(v ir.ValueID, from, to ir.DeviceID) bool {
		return from == ir.NoDevice || routes.Find(from, to, g.Bytes(v)) != nil
	}
	had := make([]bool, g.NumValues()*procs)
	for v := range ir.ValueID(g.NumValues()) {
		if g.IsInput(v) {
			for q, e := range pf.Processors {
				had[int(v)*procs+q] = leads(v, pf.Source, e.Device)
			}
		}
	}
	runs := make([]bool, procs)
	for n := range ir.NodeID(g.NumNodes()) {
		able, where, what := false, ir.NoProc, ir.ValueID(-1)
		for q, c := range p.Costs.Row(n) {
			runs[q] = c != ir.Unsupported
			for _, v := range g.Inputs(n) {
				if runs[q] && !had[int(v)*procs+q] {
					runs[q], where, what = false, ir.ProcID(q), v
				}
			}
			able = able || runs[q]
		}
		if !able {
			if where == ir.NoProc {
				return nil // it runs nowhere at all
			}
			return append(reasons, fmt.Sprintf("node %q%s reads value %q, which no link brings to %s", g.NodeName(n), ofOp(g.Op(n)), g.ValueName(what), among(pf, p.Costs.Row(n), where)))
		}
		for _, v := range g.Outputs(n) {
			home := false
			for q, e := range pf.Processors {
				at := &had[int(v)*procs+q]
				for a, from := range pf.Processors {
					*at = *at || runs[a] && leads(v, from.Device, e.Device)
				}
				home = home || runs[q] && (pf.Sink == ir.NoDevice || leads(v, e.Device, pf.Sink))
			}
			if g.IsOutput(v) && !home {
				return append(reasons, fmt.Sprintf("no link brings output %q from where it can be made to the sink, device %q", g.ValueName(v), pf.Devices[pf.Sink].Name))
			}
		}
	}
	return nil
}

// among names the processors that support a node: the one given, if it is the only one.
func among(pf *ir.Platform, row []ir.Time, only ir.ProcID) string {
	able := 0
	for _, c := range row {
		if c != ir.Unsupported {
			able++
		}
	}
	if able == 1 {
		return fmt.Sprintf("processor %q, the only one that may run it", pf.Processors[only].Name)
	}
	return "any processor that may run it"
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
	all := make([]ir.WeightID, 0, len(nodes))
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
