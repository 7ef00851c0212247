package assign

import (
	"cmp"
	"context"
	"math/bits"
	"math/rand/v2"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Feasible decides whether a problem has any feasible plan: it finds one or proves that there is none, if Steps
// suffice. It looks at no times, which is a much smaller search than that for the best plan. Equal problems and
// Steps give equal results.
//
// Nodes are given to runs, the last node first. What a run reads that nobody makes yet is then live at all that it
// holds so far, wherever it will come from; who needs a node's outputs is known when the node's turn comes. So
// memory, activations included, is known from below and only grows, a run waits for another as soon as both
// ends of an edge are placed, and a copy of a node is tried only where something is that reads it.
//
// Runs are made when they are needed, at every place of a processor's order, so no two ways lead to one
// plan. Where a processor may have any number of runs, and memory is no matter, each node gets a run of its own, for
// that delays nobody: runs joined wait for all that any of them waits for. Where nothing is left for a node, the search goes back to the last of those nodes that took part in the
// reasons (conflict-directed backjumping: Prosser, Computational Intelligence 9(3), 1993): what has nothing to do
// with a dead end is not tried anew. Of processors that differ in nothing and hold nothing only the first is tried.
type Feasible struct {
	Problem *ir.Problem
	Steps   int // placements of a node to look at, at most

	Plan  *ir.Plan // a feasible plan, not rated; nil: none was found
	Whole bool     // there is a Plan, or it is proved that there is none
}

// FeasibleNodes is the most nodes of a problem that Feasible takes on.
const FeasibleNodes = 256

// Run searches until a plan is found, all ways are covered, Steps is used up, or the context ends.
func (f *Feasible) Run(ctx context.Context) {
	g := f.Problem.Graph
	if n := g.NumNodes(); n == 0 || n > FeasibleNodes {
		return
	}
	for try := range shuffledTries + 2 {
		x := newFeasible(ctx, f)
		switch try {
		case 0:
			x.steps = f.Steps / 20
		case shuffledTries + 1:
			x.steps = f.Steps / 100 * 60
		default:
			x.steps = f.Steps / 100
			x.shuffle = rand.New(rand.NewPCG(uint64(try), 0))
		}
		if _, found := x.decide(g.NumNodes() - 1); found {
			f.Plan, f.Whole = x.plan(), true
			return
		}
		if !x.gaveUp {
			f.Whole = !x.cut
			return
		}
	}
}

// shuffledTries is how many short searches try the places of a node in a random order before a long one does so in the
// usual order: what one order misses for long another often finds at once.
const shuffledTries = 35

// nodeSet is a set of nodes.
type nodeSet [FeasibleNodes / 64]uint64

func (s *nodeSet) add(n int)      { s[n>>6] |= 1 << (n & 63) }
func (s *nodeSet) remove(n int)   { s[n>>6] &^= 1 << (n & 63) }
func (s *nodeSet) has(n int) bool { return s[n>>6]&(1<<(n&63)) != 0 }

func (s *nodeSet) unite(other nodeSet) {
	for i := range s {
		s[i] |= other[i]
	}
}

// mostRuns is how many runs a plan under construction may have: a set of them is one word.
const mostRuns = 64

type feasible struct {
	ctx     context.Context
	p       *ir.Problem
	g       *ir.Graph
	pf      *ir.Platform
	limited bool     // some memory is limited
	spots   [][]bool // by node: processors that may hold copies of it; nil: none
	whole   []bool   // by node: only the processor that owns it may, for some of its group cannot be copied
	loose   []bool   // by processor: each node has a run of its own there, and their order follows in the end
	leads   []bool   // from·devices + to: values can travel
	twins   []int    // by processor: one before it that differs in nothing, -1: none
	steps   int
	shuffle *rand.Rand // the order of places; nil: the most promising first
	gaveUp  bool       // Steps is used up, or the context has ended
	cut     bool       // some plans were left out: they have too many runs

	owner []int    // by node: run
	held  []uint64 // by node: runs that hold it
	proc  []int    // by run
	after []uint64 // by run: runs that wait for its values
	runs  [][]int  // by processor: its runs in order

	need    []int64 // by processor: memory
	weights []int64 // by processor: that of the weights
	on      []int32 // processor·weights + weight: copies of nodes that read it
	uses    []int32 // by weight: nodes placed that read it
	open    int64   // bytes of the weights that no node placed reads
	least   []int64 // by node: its inputs and outputs

	gauge   gauge
	outlook outlook
}

func newFeasible(ctx context.Context, f *Feasible) *feasible {
	g, pf := f.Problem.Graph, f.Problem.Platform
	n, procs := g.NumNodes(), len(pf.Processors)
	x := &feasible{
		ctx: ctx, p: f.Problem, g: g, pf: pf, steps: f.Steps, owner: make([]int, n), held: make([]uint64, n), runs: make([][]int, procs),
		need: make([]int64, procs), weights: make([]int64, procs), on: make([]int32, procs*g.NumWeights()), uses: make([]int32, g.NumWeights()), least: make([]int64, n),
	}
	routes := ir.NewRoutes(pf)
	for a := range ir.DeviceID(len(pf.Devices)) {
		for b := range ir.DeviceID(len(pf.Devices)) {
			x.leads = append(x.leads, routes.Find(a, b, 1) != nil)
		}
	}
	for i := range ir.NodeID(n) {
		for _, v := range g.Inputs(i) {
			x.least[i] += g.ResidentBytes(v)
		}
		for _, v := range g.Outputs(i) {
			x.least[i] += g.ResidentBytes(v)
		}
	}
	for w := range ir.WeightID(g.NumWeights()) {
		x.open += g.WeightBytes(w)
	}
	for i := range ir.NodeID(n) {
		for _, w := range g.Weights(i) {
			x.uses[w] = -1
		}
	}
	for w, k := range x.uses {
		if k == 0 {
			x.open -= g.WeightBytes(ir.WeightID(w)) // nobody reads it
		}
		x.uses[w] = 0
	}
	for _, e := range pf.Processors {
		x.limited = x.limited || e.MemoryBytes != ir.UnlimitedBytes || pf.Devices[e.Device].MemoryBytes != ir.UnlimitedBytes
	}
	x.findSpots()
	for q, e := range pf.Processors {
		x.loose = append(x.loose, n <= mostRuns && f.Problem.SubmodelLimit(ir.ProcID(q)) == 0 &&
			e.MemoryBytes == ir.UnlimitedBytes && pf.Devices[e.Device].MemoryBytes == ir.UnlimitedBytes)
	}
	for q := range procs {
		x.twins = append(x.twins, x.twin(q))
	}
	x.gauge.init(g)
	x.outlook.init(x)
	return x
}

// findSpots finds where copies may be. Those of a group are whole: its processors support all of it. If some member
// cannot be copied, they stand beside that one, on its processor, and in another run than the node itself.
func (x *feasible) findSpots() {
	x.spots, x.whole = make([][]bool, len(x.owner)), make([]bool, len(x.owner))
	for n := range x.spots {
		id := ir.NodeID(n)
		members := []ir.NodeID{id}
		if k := x.g.Group(id); k != ir.NoGroup {
			members = x.g.Members(k)
		}
		if !x.g.Replicable(id) {
			continue
		}
		for _, m := range members {
			x.whole[n] = x.whole[n] || !x.g.Replicable(m)
		}
		for q := range x.runs {
			able := !x.whole[n] || x.p.SubmodelLimit(ir.ProcID(q)) != 1
			for _, m := range members {
				able = able && x.p.Costs.Of(m, ir.ProcID(q)) != ir.Unsupported
			}
			if able && x.spots[n] == nil {
				x.spots[n] = make([]bool, len(x.runs))
			}
			if able {
				x.spots[n][q] = true
			}
		}
	}
}

// way says whether values can travel from one device to another.
func (x *feasible) way(from, to ir.DeviceID) bool {
	return from == ir.NoDevice || x.leads[int(from)*len(x.pf.Devices)+int(to)]
}

// device is that of a run.
func (x *feasible) device(run int) ir.DeviceID { return x.pf.Processors[x.proc[run]].Device }

// twin is the last processor before q that differs from it in nothing that feasibility depends on; -1: none.
func (x *feasible) twin(q int) int {
	procs := x.pf.Processors
	everywhere := !slices.Contains(x.leads, false)
	lonely := func(d ir.DeviceID) bool {
		n := 0
		for _, e := range procs {
			if e.Device == d {
				n++
			}
		}
		return n == 1
	}
	for r := q - 1; r >= 0; r-- {
		a, b := &procs[r], &procs[q]
		same := a.MemoryBytes == b.MemoryBytes && x.p.SubmodelLimit(ir.ProcID(r)) == x.p.SubmodelLimit(ir.ProcID(q)) &&
			(a.Device == b.Device || everywhere && x.pf.Devices[a.Device].MemoryBytes == x.pf.Devices[b.Device].MemoryBytes && lonely(a.Device) && lonely(b.Device))
		for n := range ir.NodeID(x.g.NumNodes()) {
			row := x.p.Costs.Row(n)
			same = same && (row[r] == ir.Unsupported) == (row[q] == ir.Unsupported)
		}
		if same {
			return r
		}
	}
	return -1
}

// place is where a node may go: into a run, or into a new one at a position of its processor's order.
type place struct {
	run  int // -1: a new one
	proc int
	at   int
}

// places are those of a node that its processors support, the most promising first: where its outputs are read, where
// something runs, and new runs where most memory is free. What keeps a new run out joins the conflict.
func (x *feasible) places(n int, wanted uint64, conflict *nodeSet) []place {
	row := x.p.Costs.Row(ir.NodeID(n))
	var list []place
	for _, near := range []bool{true, false} {
		for q, runs := range x.runs {
			for _, t := range runs {
				if row[q] != ir.Unsupported && !x.loose[q] && (wanted>>t&1 == 1) == near {
					list = append(list, place{t, q, 0})
				}
			}
		}
	}
	joined := len(list)
	for q, runs := range x.runs {
		if row[q] == ir.Unsupported || len(runs) == 0 && x.twins[q] >= 0 && len(x.runs[x.twins[q]]) == 0 {
			continue
		}
		if limit := x.p.SubmodelLimit(ir.ProcID(q)); limit > 0 && len(runs) >= limit {
			if limit > 1 { // a run of one alone is known by its processor
				conflict.unite(x.holders(q))
			}
			continue
		}
		if len(x.proc) == mostRuns {
			x.cut = true
			continue
		}
		for at := x.firstNew(q); at <= len(runs); at++ {
			list = append(list, place{-1, q, at})
		}
	}
	room := func(q int) int64 {
		return min(x.pf.Processors[q].MemoryBytes, x.pf.Devices[x.pf.Processors[q].Device].MemoryBytes) - x.need[q]
	}
	slices.SortStableFunc(list[joined:], func(a, b place) int { return cmp.Compare(room(b.proc), room(a.proc)) })
	if x.shuffle != nil {
		x.shuffle.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	return list
}

// firstNew is the first position where a new run of a processor may be.
func (x *feasible) firstNew(q int) int {
	if x.loose[q] {
		return len(x.runs[q])
	}
	return 0
}

// enter makes a new run where a place asks for one, and says which run it is.
func (x *feasible) enter(to place) int {
	if to.run >= 0 {
		return to.run
	}
	t := len(x.proc)
	x.proc = append(x.proc, to.proc)
	x.after = append(x.after, 0)
	x.runs[to.proc] = slices.Insert(x.runs[to.proc], to.at, t)
	return t
}

// quit takes back enter.
func (x *feasible) quit(to place) {
	if to.run >= 0 {
		return
	}
	t := len(x.proc) - 1
	x.proc, x.after = x.proc[:t], x.after[:t]
	x.runs[to.proc] = slices.Delete(x.runs[to.proc], to.at, to.at+1)
}

// hold lets runs hold a node.
func (x *feasible) hold(n int, runs uint64) {
	x.held[n] = runs
	x.count(n, 1)
}

// drop takes back hold.
func (x *feasible) drop(n int) {
	x.count(n, -1)
	x.held[n] = 0
}

func (x *feasible) count(n int, by int32) {
	for _, w := range x.g.Weights(ir.NodeID(n)) {
		if by > 0 && x.uses[w] == 0 {
			x.open -= x.g.WeightBytes(w)
		}
		if x.uses[w] += by; x.uses[w] == 0 {
			x.open += x.g.WeightBytes(w)
		}
		for rest := x.held[n]; rest != 0; rest &= rest - 1 {
			x.on[x.proc[bits.TrailingZeros64(rest)]*len(x.uses)+int(w)] += by
		}
	}
}

// decide places node n, and with it all nodes before it. If that fails, the nodes of the conflict, all behind n,
// cannot stay as they are.
func (x *feasible) decide(n int) (conflict nodeSet, found bool) {
	if n < 0 {
		return x.finished()
	}
	id := ir.NodeID(n)
	c := choice{n: n, partner: -1}
	if k := x.g.Group(id); k != ir.NoGroup && len(x.g.Members(k)) > 1 {
		c.grouped = true
		for _, m := range x.g.Members(k) {
			if int(m) > n {
				c.partner = int(m)
			}
		}
	}
	for _, v := range x.g.Outputs(id) {
		for _, r := range x.g.Consumers(v) {
			c.wanted |= x.held[r]
		}
	}
	for _, to := range x.places(n, c.wanted, &conflict) {
		if c.partner >= 0 && to.proc != x.proc[x.owner[c.partner]] {
			conflict.add(c.partner)
			continue
		}
		x.owner[n] = x.enter(to)
		why, ok := x.copies(&c, 0, 0, 0)
		if ok || x.gaveUp {
			return why, ok
		}
		x.quit(to)
		if !why.has(n) {
			return why, false // nothing that n could do helps
		}
		conflict.unite(why)
	}
	conflict.remove(n)
	return conflict, false
}

// choice is a node whose turn it is.
type choice struct {
	n       int
	wanted  uint64 // runs that read its outputs
	grouped bool   // its group has other nodes
	partner int    // one of them that is placed; -1: none
}

// copies tries all sets of runs that may hold a replica of the node beside its owner: those that read it, or, in a
// group, which is copied as a whole, any, and new ones that hold no more yet, from a processor and position on.
func (x *feasible) copies(c *choice, extra uint64, proc, at int) (conflict nodeSet, found bool) {
	n, t := c.n, x.owner[c.n]
	if !x.step() {
		return conflict, false
	}
	must, may := x.copyable(c, extra)
	if must&^may != 0 {
		return x.partners(n), false
	}
	may &^= must
	need, weights, before := slices.Clone(x.need), slices.Clone(x.weights), x.after[t]
	for set := uint64(0); ; set = (set - may) & may { // all subsets, the empty one first
		if !x.step() {
			return conflict, false
		}
		x.hold(n, 1<<t|extra|must|set)
		x.after[t] |= c.wanted &^ x.held[n]
		why, ok := x.check(c)
		if ok {
			why, ok = x.decide(n - 1)
		}
		if ok || x.gaveUp {
			return why, ok
		}
		x.drop(n)
		x.after[t] = before
		copy(x.need, need)
		copy(x.weights, weights)
		if !why.has(n) {
			return why, false
		}
		conflict.unite(why)
		if set == may {
			break
		}
	}
	if !c.grouped || c.partner >= 0 || x.spots[n] == nil {
		return conflict, false
	}
	if x.idle() >= n {
		conflict.unite(x.placed(n)) // each must come to own a node
		return conflict, false
	}
	for ; proc < len(x.runs); proc, at = proc+1, 0 {
		if !x.spots[n][proc] || x.whole[n] && proc != x.proc[t] {
			continue
		}
		for at = max(at, x.firstNew(proc)); at <= len(x.runs[proc]); at++ {
			if limit := x.p.SubmodelLimit(ir.ProcID(proc)); limit > 0 && len(x.runs[proc]) >= limit {
				if limit > 1 {
					conflict.unite(x.holders(proc))
				}
				break
			}
			if len(x.proc) == mostRuns {
				x.cut = true
				break
			}
			to := place{-1, proc, at}
			why, ok := x.copies(c, extra|1<<x.enter(to), proc, at+1)
			if ok || x.gaveUp {
				return why, ok
			}
			x.quit(to)
			if !why.has(n) {
				return why, false
			}
			conflict.unite(why)
		}
	}
	return conflict, false
}

// step counts; false if the search must end.
func (x *feasible) step() bool {
	x.steps--
	x.gaveUp = x.gaveUp || x.steps < 0 || x.steps&255 == 0 && x.ctx.Err() != nil
	return !x.gaveUp
}

// copyable are the runs that must and that may hold a copy of the node beside its owner and some others: what reads
// it, and, since groups are copied as a whole, what the nodes of its group say.
func (x *feasible) copyable(c *choice, beside uint64) (must, may uint64) {
	id := ir.NodeID(c.n)
	beside |= 1 << x.owner[c.n]
	if spots := x.spots[c.n]; spots != nil {
		may = c.wanted
		if c.grouped {
			may = 1<<len(x.proc) - 1
		}
		may &^= beside
		for rest := may; rest != 0; rest &= rest - 1 {
			t := bits.TrailingZeros64(rest)
			if q := x.proc[t]; !spots[q] || x.whole[c.n] && q != x.proc[x.owner[c.n]] {
				may &^= 1 << t
			}
		}
	}
	if !c.grouped {
		return may & x.roomy(id), may
	}
	if c.partner >= 0 {
		for _, m := range x.g.Members(x.g.Group(id)) {
			if int(m) > c.n {
				must |= x.held[m] &^ (1 << x.owner[m]) &^ beside
				may &= x.held[m]
			}
		}
	}
	return must, may
}

// roomy are the runs where a copy of a node that they read does no harm. What the node reads would then travel to them
// directly, but it did so through the owner before, so nothing comes to wait for anything new. Only memory is
// left to count: that of the runs, and of those from which something would now leave.
func (x *feasible) roomy(n ir.NodeID) (runs uint64) {
	if x.limited {
		for _, v := range x.g.Inputs(n) {
			if !x.g.IsInput(v) {
				return 0
			}
		}
	}
	for t, q := range x.proc {
		if e := &x.pf.Processors[q]; e.MemoryBytes == ir.UnlimitedBytes && x.pf.Devices[e.Device].MemoryBytes == ir.UnlimitedBytes {
			runs |= 1 << t
		}
	}
	return runs
}

// partners are a node and those of its group that are placed.
func (x *feasible) partners(n int) (all nodeSet) {
	for _, m := range x.g.Members(x.g.Group(ir.NodeID(n))) {
		if int(m) >= n {
			all.add(int(m))
		}
	}
	return all
}

// idle is how many runs own no node yet.
func (x *feasible) idle() int {
	var own uint64
	for n, o := range x.owner {
		own |= x.held[n] & (1 << o)
	}
	return len(x.proc) - bits.OnesCount64(own)
}

// finished checks the plan.
func (x *feasible) finished() (conflict nodeSet, found bool) {
	if ir.CheckPlan(x.p, x.plan()) == nil {
		return conflict, true
	}
	return x.placed(0), false
}

// plan is what the runs hold, in an order in which they may run.
func (x *feasible) plan() *ir.Plan {
	plan := &ir.Plan{}
	x.orders()
	for q, runs := range x.runs {
		if x.loose[q] {
			runs = slices.Clone(runs)
			slices.SortStableFunc(runs, func(s, t int) int {
				return bits.OnesCount64(x.outlook.before[s]) - bits.OnesCount64(x.outlook.before[t])
			})
		}
		for _, t := range runs {
			s := ir.Submodel{Processor: ir.ProcID(x.proc[t])}
			for n, held := range x.held {
				switch {
				case held>>t&1 == 0:
				case x.owner[n] == t:
					s.Nodes = append(s.Nodes, ir.NodeID(n))
				default:
					s.Replicas = append(s.Replicas, ir.NodeID(n))
				}
			}
			plan.Submodels = append(plan.Submodels, s)
		}
	}
	return plan
}

// placed are the nodes from n on.
func (x *feasible) placed(n int) (all nodeSet) {
	for ; n < len(x.owner); n++ {
		all.add(n)
	}
	return all
}
