// Package gen makes placement problems and plans for tests and benchmarks, from
// a seed: small ones that stress every rule of the execution model, and graphs
// in the shapes of real networks at any size.
package gen

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Rand is the generator that belongs to a seed.
func Rand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15)) }

func must(g *ir.Graph, err error) *ir.Graph {
	if err != nil {
		diag.Bugf("generated graph: %v", err)
	}
	return g
}

// chance is true with probability p.
func chance(r *rand.Rand, p float64) bool { return r.Float64() < p }

// Small makes a problem of at most nodes nodes in which everything that the
// model knows occurs: several devices, odd and missing links, routes, media,
// copies, limits, groups, replicas, shared weights, zero sizes, many ties.
// It may be infeasible.
func Small(r *rand.Rand, nodes int) *ir.Problem {
	pf := &ir.Platform{Source: ir.NoDevice, Sink: ir.NoDevice}
	devices := 1 + r.IntN(4)
	for d := range devices {
		pf.Devices = append(pf.Devices, ir.Device{Name: fmt.Sprintf("d%d", d), MemoryBytes: ir.UnlimitedBytes})
	}
	coarse := chance(r, 0.5) // small round numbers give ties
	us := func(most float64) ir.Time {
		if coarse {
			return ir.Time(r.IntN(4)) * ir.Microsecond
		}
		return ir.Micros(r.Float64() * most)
	}
	rate := func() float64 {
		if coarse {
			return []float64{1, 2, 5, 10}[r.IntN(4)]
		}
		return 0.5 + 20*r.Float64()
	}
	maybeCopy := func() *ir.Copy {
		if chance(r, 0.5) {
			return nil
		}
		return &ir.Copy{Latency: us(5), BytesPerUs: rate()}
	}
	procs := devices + r.IntN(3)
	for q := range procs {
		d := q
		if q >= devices {
			d = r.IntN(devices)
		}
		e := ir.Processor{
			Name: fmt.Sprintf("p%d", q), Device: ir.DeviceID(d), MemoryBytes: ir.UnlimitedBytes,
			MaxSubmodels: ir.DefaultSubmodels, Upload: maybeCopy(), Download: maybeCopy(),
		}
		if chance(r, 0.6) {
			e.Launch = us(10)
		}
		if chance(r, 0.1) {
			e.MaxSubmodels = r.IntN(3)
		}
		pf.Processors = append(pf.Processors, e)
	}
	density := 0.3 + 0.7*r.Float64()
	media := chance(r, 0.4)
	for a := range devices {
		for b := range devices {
			if a != b && (chance(r, density) || b == (a+1)%devices) {
				l := ir.Link{From: ir.DeviceID(a), To: ir.DeviceID(b), Copy: ir.Copy{Latency: us(8), BytesPerUs: rate()}}
				if media && chance(r, 0.5) {
					l.Medium = fmt.Sprintf("m%d", r.IntN(2))
				}
				pf.Links = append(pf.Links, l)
			}
		}
	}
	if chance(r, 0.6) {
		pf.Source = ir.DeviceID(r.IntN(devices))
	}
	if chance(r, 0.6) {
		pf.Sink = ir.DeviceID(r.IntN(devices))
	}
	n := 1 + r.IntN(nodes)
	g, costs := smallGraph(r, n, procs, us)
	p := &ir.Problem{Graph: g, Platform: pf, Costs: costs, Submodels: []int{0, 1, 1, 1, 2, 3}[r.IntN(6)]}
	if chance(r, 0.4) {
		Tighten(r, p)
	}
	return p
}

func smallGraph(r *rand.Rand, n, procs int, us func(float64) ir.Time) (*ir.Graph, *ir.Costs) {
	b := ir.NewBuilder("random")
	size := func() int64 {
		if chance(r, 0.1) {
			return 0
		}
		return int64(r.IntN(60))
	}
	var all []ir.ValueID
	value := func(input bool) ir.ValueID {
		s := size()
		v := ir.Value{Name: fmt.Sprintf("v%d", len(all)), Bytes: s, ResidentBytes: s, Input: input, Output: chance(r, 0.15)}
		if chance(r, 0.2) {
			v.ResidentBytes = size()
		}
		all = append(all, b.Value(v))
		return all[len(all)-1]
	}
	// Declare values in another order than that of their producers, now and then.
	outs := make([]int, n)
	total := 0
	for i := range outs {
		outs[i] = []int{1, 1, 1, 1, 2, 0}[r.IntN(6)]
		total += outs[i]
	}
	inputs := 1 + r.IntN(3)
	for range inputs {
		value(true)
	}
	made := make([]ir.ValueID, total)
	for i := range made {
		made[i] = value(false)
	}
	if chance(r, 0.3) {
		r.Shuffle(len(made), func(i, j int) { made[i], made[j] = made[j], made[i] })
	}
	weights := r.IntN(n + 1)
	for w := range weights {
		b.Weight(fmt.Sprintf("w%d", w), int64(r.IntN(100)))
	}
	costs := ir.NewCosts(n, procs)
	ready := slices.Clone(all[:inputs])
	next := 0
	grouped := chance(r, 0.3)
	for i := range n {
		node := ir.Node{Name: fmt.Sprintf("n%d", i), Replicable: chance(r, 0.4)}
		for range r.IntN(4) {
			k := r.IntN(len(ready))
			if chance(r, 0.6) {
				k = len(ready) - 1 - r.IntN(min(len(ready), 3))
			}
			node.Inputs = append(node.Inputs, ready[k])
		}
		node.Outputs = made[next : next+outs[i]]
		next += outs[i]
		for range r.IntN(3) {
			if weights > 0 {
				node.Weights = append(node.Weights, ir.WeightID(r.IntN(weights)))
			}
		}
		if grouped && chance(r, 0.3) {
			node.Group = fmt.Sprintf("g%d", r.IntN(3))
		}
		b.Node(node)
		ready = append(ready, node.Outputs...)
		for q := range procs {
			if !chance(r, 0.1) || q == i%procs {
				costs.Set(ir.NodeID(i), ir.ProcID(q), us(30))
			}
		}
	}
	return must(b.Build()), costs
}

// Tighten sets memory limits near what random plans need.
func Tighten(r *rand.Rand, p *ir.Problem) {
	plan := Plan(r, p)
	m := ir.MeasureMemory(p, plan, ir.Connect(p.Graph, plan))
	for q := range p.Platform.Processors {
		if chance(r, 0.7) {
			p.Platform.Processors[q].MemoryBytes = m.Processors[q] + int64(r.IntN(100)) - 20
			p.Platform.Processors[q].MemoryBytes = max(0, p.Platform.Processors[q].MemoryBytes)
		}
	}
	for d := range p.Platform.Devices {
		if chance(r, 0.3) {
			p.Platform.Devices[d].MemoryBytes = m.Devices[d] + int64(r.IntN(100))
		}
	}
}

// Plan makes a random plan: mostly one that respects order and support, so that
// its timeline exists, with replicas; its memory and its groups are left to chance.
func Plan(r *rand.Rand, p *ir.Problem) *ir.Plan {
	g := p.Graph
	plan := &ir.Plan{}
	procs := len(p.Platform.Processors)
	// Cut the topological order into segments, each on a random processor; a segment may go on with an earlier sub-model.
	at := -1
	for n := range ir.NodeID(g.NumNodes()) {
		if at < 0 || chance(r, 0.4) || p.Costs.Of(n, plan.Submodels[at].Processor) == ir.Unsupported {
			if len(plan.Submodels) > 0 && chance(r, 0.3) {
				at = r.IntN(len(plan.Submodels))
			} else {
				at = -1
			}
			if at < 0 || p.Costs.Of(n, plan.Submodels[at].Processor) == ir.Unsupported {
				q := r.IntN(procs)
				for p.Costs.Of(n, ir.ProcID(q)) == ir.Unsupported {
					q = (q + 1) % procs
				}
				at = len(plan.Submodels)
				plan.Submodels = append(plan.Submodels, ir.Submodel{Processor: ir.ProcID(q)})
			}
		}
		plan.Submodels[at].Nodes = append(plan.Submodels[at].Nodes, n)
	}
	for i := range plan.Submodels {
		s := &plan.Submodels[i]
		for n := range ir.NodeID(g.NumNodes()) {
			if g.Replicable(n) && !slices.Contains(s.Nodes, n) && chance(r, 0.1) && p.Costs.Of(n, s.Processor) != ir.Unsupported {
				s.Replicas = append(s.Replicas, n)
			}
		}
	}
	return plan
}

// Damage breaks a plan at random; it may stay feasible.
func Damage(r *rand.Rand, p *ir.Problem, plan *ir.Plan) {
	pick := func() *ir.Submodel { return &plan.Submodels[r.IntN(len(plan.Submodels))] }
	if len(plan.Submodels) == 0 {
		return
	}
	n := ir.NodeID(r.IntN(p.Graph.NumNodes()))
	switch s := pick(); r.IntN(5) {
	case 0:
		s.Nodes = append(s.Nodes, n)
		slices.Sort(s.Nodes)
	case 1:
		s.Replicas = append(s.Replicas, n)
		slices.Sort(s.Replicas)
	case 2:
		if len(s.Nodes) > 0 {
			s.Nodes = s.Nodes[1:]
		}
	case 3:
		s.Processor = ir.ProcID(r.IntN(len(p.Platform.Processors)))
	case 4:
		i, j := r.IntN(len(plan.Submodels)), r.IntN(len(plan.Submodels))
		plan.Submodels[i], plan.Submodels[j] = plan.Submodels[j], plan.Submodels[i]
	}
}
