// Package reference computes what others would do with a placement problem, for
// benchmarks to hold our plans against: METIS, random plans, and the baselines that
// a placement brings along.
package reference

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/assign"
)

// randomPlans is how many plans Random is the best of.
const randomPlans = 1000

// Random is the best of many random plans: the node order is cut at random places, and the pieces go to random
// processors, no more to one than it may have sub-models. It is nil if none is feasible.
func Random(p *ir.Problem, o ir.Objective, seed uint64) *ir.Plan {
	r := rand.New(rand.NewPCG(seed, 1000))
	n, procs := p.Graph.NumNodes(), len(p.Platform.Processors)
	var best *ir.Plan
	for range randomPlans {
		plan := &ir.Plan{}
		runs := make([]int, procs)
		pieces := 1 + r.IntN(procs+1)
		from := 0
		for k := range pieces {
			to := n
			if k < pieces-1 {
				to = from + r.IntN(n-from+1)
			}
			q := r.IntN(procs)
			for i := 0; i < procs && p.SubmodelLimit(ir.ProcID(q)) > 0 && runs[q] >= p.SubmodelLimit(ir.ProcID(q)); i++ {
				q = (q + 1) % procs
			}
			if from == to {
				continue
			}
			runs[q]++
			s := ir.Submodel{Processor: ir.ProcID(q)}
			for ; from < to; from++ {
				s.Nodes = append(s.Nodes, ir.NodeID(from))
			}
			plan.Submodels = append(plan.Submodels, s)
		}
		best = better(best, assign.Rated(p, plan, o))
	}
	return best
}

// better is the plan with the lower value; either may be nil.
func better(a, b *ir.Plan) *ir.Plan {
	if a == nil || b != nil && b.Value() < a.Value() {
		return b
	}
	return a
}

// HasMETIS says whether the graph partitioner of METIS (Karypis and Kumar, SIAM Journal on Scientific Computing
// 20(1), 1998) is installed.
func HasMETIS() bool {
	_, err := exec.LookPath("gpmetis")
	return err == nil
}

// METIS cuts the graph into as many parts as METIS is asked for, 2 to one for each processor, by the bytes that
// cross and with even work, and gives the parts to processors as well as exchanges find. The parts are
// projected onto legal sub-models. It is nil if nothing feasible comes out.
func METIS(p *ir.Problem, o ir.Objective) (*ir.Plan, error) {
	dir, err := os.MkdirTemp("", "metis")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	file := filepath.Join(dir, "graph")
	if err := os.WriteFile(file, metisGraph(p), 0o644); err != nil {
		return nil, err
	}
	var best *ir.Plan
	for k := 2; k <= len(p.Platform.Processors) && k <= p.Graph.NumNodes(); k++ {
		if out, err := exec.Command("gpmetis", "-seed=1", file, strconv.Itoa(k)).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("gpmetis: %w: %s", err, bytes.TrimSpace(out))
		}
		text, err := os.ReadFile(file + ".part." + strconv.Itoa(k))
		if err != nil {
			return nil, err
		}
		part := make([]int, 0, p.Graph.NumNodes())
		for _, f := range strings.Fields(string(text)) {
			x, err := strconv.Atoi(f)
			if err != nil || x < 0 || x >= k {
				return nil, fmt.Errorf("gpmetis wrote part %q", f)
			}
			part = append(part, x)
		}
		if len(part) != p.Graph.NumNodes() {
			return nil, fmt.Errorf("gpmetis wrote %d parts for %d nodes", len(part), p.Graph.NumNodes())
		}
		best = better(best, assignParts(p, o, part, k))
	}
	return best, nil
}

// metisGraph writes the graph as METIS reads it: nodes weigh their mean cost, edges the bytes that flow over them.
func metisGraph(p *ir.Problem) []byte {
	g := p.Graph
	n := g.NumNodes()
	type edge struct {
		to    int
		bytes int64
	}
	beside := make([]map[int]int64, n)
	for i := range beside {
		beside[i] = map[int]int64{}
	}
	var most int64 = 1
	for v := range ir.ValueID(g.NumValues()) {
		from := g.Producer(v)
		if from == ir.NoNode {
			continue
		}
		for _, to := range g.Consumers(v) {
			beside[from][int(to)] += g.Bytes(v)
			beside[to][int(from)] += g.Bytes(v)
			most = max(most, beside[from][int(to)])
		}
	}
	work := make([]float64, n)
	var heaviest float64 = 1
	edges := 0
	for i := range n {
		able := 0
		for _, c := range p.Costs.Row(ir.NodeID(i)) {
			if c != ir.Unsupported {
				work[i] += float64(c)
				able++
			}
		}
		work[i] /= float64(max(able, 1))
		heaviest = max(heaviest, work[i])
		edges += len(beside[i])
	}
	var out []byte
	out = fmt.Appendf(out, "%d %d 011\n", n, edges/2)
	for i := range n {
		out = fmt.Append(out, 1+int64(work[i]/heaviest*1e5))
		list := make([]edge, 0, len(beside[i]))
		for to, b := range beside[i] {
			list = append(list, edge{to, b})
		}
		slices.SortFunc(list, func(a, b edge) int { return a.to - b.to })
		for _, e := range list {
			out = fmt.Appendf(out, " %d %d", e.to+1, 1+int64(float64(e.bytes)/float64(most)*1e6))
		}
		out = append(out, '\n')
	}
	return out
}

// assignParts gives each part a processor of its own: the heaviest the fastest, then exchanges as long as one helps.
func assignParts(p *ir.Problem, o ir.Objective, part []int, parts int) *ir.Plan {
	procs := len(p.Platform.Processors)
	of := make([]ir.ProcID, procs) // by part; the rest are spare
	weight, speed := make([]float64, procs), make([]float64, procs)
	for n := range ir.NodeID(p.Graph.NumNodes()) {
		for q, c := range p.Costs.Row(n) {
			if c == ir.Unsupported {
				speed[q] += 1e15
				continue
			}
			speed[q] += float64(c)
			weight[part[n]] += float64(c)
		}
	}
	byWeight, bySpeed := make([]int, parts), make([]int, procs)
	for i := range byWeight {
		byWeight[i] = i
	}
	for q := range bySpeed {
		bySpeed[q] = q
	}
	slices.SortStableFunc(byWeight, func(a, b int) int { return int(min(1, max(-1, weight[b]-weight[a]))) })
	slices.SortStableFunc(bySpeed, func(a, b int) int { return int(min(1, max(-1, speed[a]-speed[b]))) })
	for i, q := range bySpeed {
		if i < parts {
			of[byWeight[i]] = ir.ProcID(q)
		} else {
			of[i] = ir.ProcID(q)
		}
	}
	try := func() *ir.Plan {
		wish := make([]ir.ProcID, len(part))
		for n, x := range part {
			wish[n] = of[x]
		}
		return assign.Rated(p, assign.Project(p, wish), o)
	}
	best := try()
	for changed := true; changed; {
		changed = false
		for a := range parts {
			for b := a + 1; b < procs; b++ {
				of[a], of[b] = of[b], of[a]
				if plan := try(); plan != nil && (best == nil || plan.Value() < best.Value()) {
					best, changed = plan, true
				} else {
					of[a], of[b] = of[b], of[a]
				}
			}
		}
	}
	return best
}

// Names are the baselines that Values knows, in a fixed order.
func Names() []string {
	return []string{"single", "heft", "peft", "greedy", "min-cut", "metis", "random"}
}

// Values are the objectives of all baselines of a problem by name, in microseconds, NaN where one finds no plan. got is
// the placement, which brings some of them along.
func Values(p *ir.Problem, o ir.Objective, seed uint64, got *ir.Placement) (map[string]float64, error) {
	base := map[string]float64{}
	for _, name := range Names() {
		base[name] = math.NaN()
	}
	of := func(b ir.Baseline) float64 {
		if o == ir.Throughput {
			return b.Bottleneck.Us()
		}
		return b.Latency.Us()
	}
	for _, b := range got.Baselines {
		if b.Feasible {
			base[b.Name] = of(b)
		}
	}
	for _, b := range got.Single {
		if b.Feasible && !(of(b) >= base["single"]) {
			base["single"] = of(b)
		}
	}
	if plan := Random(p, o, seed); plan != nil {
		base["random"] = plan.Value().Us()
	}
	if HasMETIS() {
		plan, err := METIS(p, o)
		if err != nil {
			return nil, err
		}
		if plan != nil {
			base["metis"] = plan.Value().Us()
		}
	}
	return base, nil
}
