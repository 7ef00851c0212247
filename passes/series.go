package passes

import (
	"cmp"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/dense"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Many networks are series of blocks whose branches meet again: one value leads
// into a block and one leads out of it. A plan that lets the branches of every block
// run at the same time needs a sub-model for each block and processor, far more
// than a search tries, but is made block by block: branches are independent tasks
// on the processors of one device, whose loads are to be even. The nodes between two
// blocks, often a Concat, are repeated on every processor if they may be; otherwise
// they take a run of their own.

// block is the nodes between two points where a single value is alive.
type block struct {
	nodes []ir.NodeID // the last one makes the value that leads out
	// tasks are the connected parts of the nodes without the last one, on processors.
	tasks []task
	apart bool // the tasks run on several processors
}

type task struct {
	nodes []ir.NodeID
	on    ir.ProcID
}

const (
	seriesTeam   = 8    // most processors that blocks are spread over
	seriesSpread = 4096 // most spreads of a block's tasks that are compared; of more tasks the longest go first
	// Blocks are tried again in one piece where that looks at no more nodes than this in
	// all: each try rates a plan of the whole graph.
	seriesTries = 200_000
)

// series offers the plan whose blocks run in parallel on the device of the best
// single processor, where that may have enough sub-models.
func series(j *job) error {
	if j.whole == nil || len(j.whole.Submodels) == 0 || j.p.Graph.NumNodes() > hugeNodes || j.p.SubmodelLimit(j.whole.Submodels[0].Processor) == 1 {
		return nil
	}
	g, pf := j.p.Graph, j.p.Platform
	home := j.whole.Submodels[0].Processor
	team := []ir.ProcID{home}
	for q := range pf.Processors {
		if id := ir.ProcID(q); id != home && pf.Processors[q].Device == pf.Processors[home].Device && len(team) < seriesTeam {
			team = append(team, id)
		}
	}
	if len(team) < 2 {
		return nil
	}
	blocks := blocksOf(g)
	parallel := 0
	for i := range blocks {
		if b := &blocks[i]; len(b.tasks) > 1 {
			if j.spread(b, team); b.apart {
				parallel++
			}
		}
	}
	if parallel == 0 {
		return nil
	}
	if !j.tryBlocks(blocks, home) || parallel*g.NumNodes() > seriesTries {
		return nil
	}
	for i := range blocks {
		if b := &blocks[i]; b.apart {
			b.apart = false
			b.apart = !j.tryBlocks(blocks, home)
		}
	}
	return nil
}

// tryBlocks offers the plan of the blocks and says whether it is the best so far.
func (j *job) tryBlocks(blocks []block, home ir.ProcID) bool {
	plan := blockPlan(j.p, blocks, home)
	return ir.CheckPlan(j.p, plan) == nil && j.offer(plan)
}

// blocksOf cuts the graph's order wherever a single value is alive: made before and
// used after. Values that are graph outputs do not stay alive for that, and graph
// inputs are alive between their uses.
func blocksOf(g *ir.Graph) []block {
	lastUse := make([]int, g.NumNodes()) // by node that makes it: the last node that uses an output
	for n := range ir.NodeID(g.NumNodes()) {
		for _, v := range g.Outputs(n) {
			for _, c := range g.Consumers(v) {
				lastUse[n] = max(lastUse[n], int(c))
			}
		}
	}
	dies := make([]int, g.NumNodes()) // by node: how many of those alive it is the last to use
	starts := make([]int, g.NumNodes())
	for v := range ir.ValueID(g.NumValues()) {
		if users := g.Consumers(v); g.IsInput(v) && len(users) > 0 {
			starts[slices.Min(users)]++
			dies[slices.Max(users)]++
		}
	}
	alive := 0
	var blocks []block
	var open block
	for n := range ir.NodeID(g.NumNodes()) {
		open.nodes = append(open.nodes, n)
		alive += starts[n] - dies[n]
		if lastUse[n] > int(n) {
			alive++
			dies[lastUse[n]]++
		}
		if alive <= 1 && lastUse[n] > int(n) || int(n) == g.NumNodes()-1 {
			open.tasks = tasksOf(g, open.nodes)
			blocks = append(blocks, open)
			open = block{}
		}
	}
	return blocks
}

// tasksOf are the connected parts of nodes, which are consecutive, without the last one.
func tasksOf(g *ir.Graph, nodes []ir.NodeID) []task {
	first, count := nodes[0], len(nodes)-1
	sets := dense.NewSets(count)
	join := func(a, b ir.NodeID) {
		if a >= first && int(a-first) < count {
			sets.Join(int(a-first), int(b-first))
		}
	}
	for _, n := range nodes[:count] {
		for _, v := range g.Inputs(n) {
			if !g.IsInput(v) {
				join(g.Producer(v), n)
			}
		}
		if id := g.Group(n); id != ir.NoGroup {
			for _, m := range g.Members(id) {
				join(m, n)
			}
		}
	}
	at := map[int]int{}
	var tasks []task
	for i, n := range nodes[:count] {
		r := sets.Find(i)
		k, ok := at[r]
		if !ok {
			k = len(tasks)
			at[r] = k
			tasks = append(tasks, task{})
		}
		tasks[k].nodes = append(tasks[k].nodes, n)
	}
	return tasks
}

// spread puts the tasks of a block on processors so that the last one ends early,
// and says in apart whether that is worth the runs that it takes.
func (j *job) spread(b *block, team []ir.ProcID) {
	home := team[0]
	cost := func(t *task, p ir.ProcID) ir.Time {
		var sum ir.Time
		for _, n := range t.nodes {
			c := j.p.Costs.Of(n, p)
			if c == ir.Unsupported {
				return ir.Unsupported
			}
			sum += c
		}
		return sum
	}
	var serial ir.Time
	costs := make([][]ir.Time, len(b.tasks)) // by task and place in the team
	for i := range b.tasks {
		costs[i] = make([]ir.Time, len(team))
		for k, p := range team {
			costs[i][k] = cost(&b.tasks[i], p)
		}
		if costs[i][0] == ir.Unsupported {
			return
		}
		serial += costs[i][0]
	}
	choice := spreadAll(costs, len(team))
	if choice == nil {
		choice = spreadLongest(costs, len(team))
	}
	if choice == nil {
		return
	}
	for i := range b.tasks {
		b.tasks[i].on = team[choice[i]]
		b.apart = b.apart || b.tasks[i].on != home
	}
	b.apart = b.apart && makespan(costs, choice, len(team))+j.p.Platform.Processors[home].Launch < serial
}

// makespan is the largest load of a choice; Unsupported if that is not possible.
func makespan(costs [][]ir.Time, choice []int, team int) ir.Time {
	load := make([]ir.Time, team)
	var most ir.Time
	for i, k := range choice {
		if costs[i][k] == ir.Unsupported {
			return ir.Unsupported
		}
		load[k] += costs[i][k]
		most = max(most, load[k])
	}
	return most
}

// spreadAll compares all choices of processors for tasks, nil if there are too many.
func spreadAll(costs [][]ir.Time, team int) []int {
	count := 1
	for range costs {
		if count *= team; count > seriesSpread {
			return nil
		}
	}
	var best []int
	var least ir.Time
	choice := make([]int, len(costs))
	for range count {
		if m := makespan(costs, choice, team); m != ir.Unsupported && (best == nil || m < least) {
			best, least = slices.Clone(choice), m
		}
		for i := range choice { // counts in base team
			if choice[i]++; choice[i] < team {
				break
			}
			choice[i] = 0
		}
	}
	return best
}

// spreadLongest gives each task, the longest first, to the processor that ends it
// first (R. L. Graham, "Bounds on Multiprocessing Timing Anomalies", SIAM Journal on
// Applied Mathematics 17, 1969).
func spreadLongest(costs [][]ir.Time, team int) []int {
	order := make([]int, len(costs))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(costs[b][0], costs[a][0]) })
	load := make([]ir.Time, team)
	choice := make([]int, len(costs))
	for _, i := range order {
		at := -1
		for k := range team {
			if c := costs[i][k]; c != ir.Unsupported && (at < 0 || load[k]+c < load[at]+costs[i][at]) {
				at = k
			}
		}
		if at < 0 {
			return nil
		}
		choice[i] = at
		load[at] += costs[i][at]
	}
	return choice
}

// blockPlan is the plan of the blocks: those that are not apart run at home.
func blockPlan(p *ir.Problem, blocks []block, home ir.ProcID) *ir.Plan {
	g := p.Graph
	plan := &ir.Plan{}
	var between []ir.NodeID // at home, since the last block that is apart
	for i := range blocks {
		b := &blocks[i]
		if !b.apart {
			between = append(between, b.nodes...)
			continue
		}
		runs := map[ir.ProcID]int{} // index into plan.Submodels
		// Nodes are repeated if that is not longer than the run which it saves.
		repeat := len(between) > 0
		var again ir.Time
		for _, n := range between {
			again += p.Costs.Of(n, home)
			repeat = repeat && g.Replicable(n) && again <= p.Platform.Processors[home].Launch
		}
		if len(between) > 0 && !repeat {
			plan.Submodels = append(plan.Submodels, ir.Submodel{Processor: home, Nodes: between})
		}
		owned := !repeat
		for k := range b.tasks {
			t := &b.tasks[k]
			at, ok := runs[t.on]
			if !ok {
				at = len(plan.Submodels)
				runs[t.on] = at
				s := ir.Submodel{Processor: t.on}
				switch {
				case !owned:
					s.Nodes, owned = append(s.Nodes, between...), true
				case repeat:
					s.Replicas = append(s.Replicas, between...)
				}
				plan.Submodels = append(plan.Submodels, s)
			}
			plan.Submodels[at].Nodes = append(plan.Submodels[at].Nodes, t.nodes...)
		}
		between = slices.Clone(b.nodes[len(b.nodes)-1:])
	}
	if len(between) > 0 {
		plan.Submodels = append(plan.Submodels, ir.Submodel{Processor: home, Nodes: between})
	}
	for i := range plan.Submodels {
		s := &plan.Submodels[i]
		s.Nodes = slices.Sorted(slices.Values(s.Nodes))
		s.Replicas = needed(g, s)
	}
	return plan
}

// needed are the replicas of a sub-model that something in it reads.
func needed(g *ir.Graph, s *ir.Submodel) []ir.NodeID {
	inside := map[ir.NodeID]bool{}
	for _, n := range s.Nodes {
		inside[n] = true
	}
	var keep []ir.NodeID
	for _, n := range slices.Backward(s.Replicas) { // readers stand later
		read := slices.ContainsFunc(g.Outputs(n), func(v ir.ValueID) bool {
			return slices.ContainsFunc(g.Consumers(v), func(c ir.NodeID) bool { return inside[c] })
		})
		if read {
			inside[n] = true
			keep = append(keep, n)
		}
	}
	slices.Reverse(keep)
	return keep
}
