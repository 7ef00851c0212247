package assign

import (
	"context"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Chain solves problems whose nodes have one order only: each node reads from the
// one before it. If processors may have one sub-model each, every sub-model is a
// segment of that order: with nodes a < c of S in S and b between them in T, the
// path from a to c leaves S and comes back, and S and T wait for each other.
// Segments then run one after another, and dynamic programming over (end of the
// segment, set of processors used, last processor) covers all plans.
//
// What a segment takes is exact: its nodes, its uploads (all that it reads from
// outside, for its processor has not run before) and its downloads (all that
// later segments read). Between two segments it counts the way, over idle links,
// of what the last node of one makes for the first node of the other. Values that
// skip a segment or wait for a link, and memory that processors of a device
// share, can make plans dearer than that, never cheaper: Bound is below every
// plan, and Plan is optimal if it takes no more.
//
// Replicas are left out where they cannot help. Take the last node with a
// replica; if one node alone reads from it, and it is no graph output, then a
// copy is of use only to the owner of that reader, who may as well own it.
type Chain struct {
	Problem   *ir.Problem
	Objective ir.Objective
	Limit     ir.Time // only plans below it are of interest

	Plan  *ir.Plan // the plan of the least bound below Limit, unrated, perhaps over a device's memory; nil: none
	Bound ir.Time  // below every plan; ir.MaxTime if no plan keeps to the limits of processors; at most Limit else
}

// chainWork is the most steps of the dynamic programme.
const chainWork = 150_000_000

// Run reports whether the problem is of that kind, and small enough; false, too,
// when the context ends before it is solved.
func (c *Chain) Run(ctx context.Context) bool {
	p := c.Problem
	g, pf := p.Graph, p.Platform
	n, procs := g.NumNodes(), len(pf.Processors)
	if n == 0 || procs > 16 || float64(n)*float64(n)/2*float64(procs)*float64(int(1)<<procs)/2 > chainWork {
		return false
	}
	for q := range procs {
		if p.SubmodelLimit(ir.ProcID(q)) != 1 {
			return false
		}
	}
	if !inLine(g) || !replicasUseless(g) {
		return false
	}
	x := &chainSearch{Chain: c, g: g, n: n, procs: procs, routes: ir.NewRoutes(pf)}
	x.prepare()
	return x.solve(ctx)
}

// inLine says whether each node reads from the one before it.
func inLine(g *ir.Graph) bool {
	for n := ir.NodeID(1); int(n) < g.NumNodes(); n++ {
		found := false
		for _, v := range g.Inputs(n) {
			found = found || g.Producer(v) == n-1
		}
		if !found {
			return false
		}
	}
	return true
}

// replicasUseless says whether some best plan has no replicas.
func replicasUseless(g *ir.Graph) bool {
	for n := range ir.NodeID(g.NumNodes()) {
		if !g.Replicable(n) {
			continue
		}
		if id := g.Group(n); id != ir.NoGroup && len(g.Members(id)) > 1 {
			return false
		}
		reader := ir.NoNode
		for _, v := range g.Outputs(n) {
			if g.IsOutput(v) {
				return false
			}
			for _, r := range g.Consumers(v) {
				if reader != ir.NoNode && r != reader {
					return false
				}
				reader = r
			}
		}
	}
	return true
}

type chainSearch struct {
	*Chain
	g        *ir.Graph
	n, procs int
	routes   *ir.Routes
	size     *Segments
	mark     int32
	seen     []int32        // by value
	last     []ir.NodeID    // by value: its last reader, beyond the last node if it is a graph output
	first    []ir.NodeID    // by value: its producer, NoNode for a graph input
	exit     [][]ir.Time    // by processor, then node: way to the sink of the outputs made from the node on
	best     [][]chainPlace // by end, then set·procs + last processor
}

type chainPlace struct {
	value ir.Time
	start int32
	from  int8 // processor of the segment before, -1: none
}

func (x *chainSearch) prepare() {
	g := x.g
	x.first, x.last = make([]ir.NodeID, g.NumValues()), make([]ir.NodeID, g.NumValues())
	for v := range ir.ValueID(g.NumValues()) {
		x.first[v], x.last[v] = g.Producer(v), ir.NoNode
		if r := g.Consumers(v); len(r) > 0 {
			x.last[v] = r[len(r)-1]
		}
		if g.IsOutput(v) {
			x.last[v] = ir.NodeID(x.n)
		}
	}
	x.size = NewSegments(x.Problem)
	x.seen = make([]int32, g.NumValues())
	pf := x.Problem.Platform
	x.exit = make([][]ir.Time, x.procs)
	for q := range x.exit {
		x.exit[q] = make([]ir.Time, x.n+1)
		for n := x.n - 1; n >= 0; n-- {
			x.exit[q][n] = x.exit[q][n+1]
			for _, v := range g.Outputs(ir.NodeID(n)) {
				if g.IsOutput(v) && pf.Sink != ir.NoDevice {
					x.exit[q][n] = max(x.exit[q][n], x.way(v, pf.Processors[q].Device, pf.Sink))
				}
			}
		}
	}
	x.best = make([][]chainPlace, x.n+1)
	for i := range x.best {
		x.best[i] = make([]chainPlace, x.procs<<x.procs)
		for k := range x.best[i] {
			x.best[i][k].value = ir.MaxTime
		}
	}
}

// way is the time of a value between two devices over idle links, ir.MaxTime if there is none.
func (x *chainSearch) way(v ir.ValueID, from, to ir.DeviceID) ir.Time {
	if from == to || from == ir.NoDevice {
		return 0
	}
	route := x.routes.Find(from, to, x.g.Bytes(v))
	if route == nil {
		return ir.MaxTime
	}
	var t ir.Time
	for _, l := range route {
		t += x.Problem.Platform.Links[l].Time(x.g.Bytes(v))
	}
	return t
}

// cross is the least time between the end of a segment before node n and the start of one from it on, and the least
// load that this adds to some channel.
func (x *chainSearch) cross(n ir.NodeID, from, to ir.DeviceID) (time, load ir.Time) {
	for _, v := range x.g.Inputs(n) {
		if x.first[v] == n-1 && from != to {
			time = max(time, x.way(v, from, to))
			for _, l := range x.routes.Find(from, to, x.g.Bytes(v)) {
				load = max(load, x.Problem.Platform.Links[l].Busy(x.g.Bytes(v)))
			}
		}
	}
	return time, load
}

func (x *chainSearch) join(before, more ir.Time) ir.Time {
	if x.Objective == ir.Throughput {
		return max(before, more)
	}
	return min(ir.MaxTime, before+more)
}

func (x *chainSearch) solve(ctx context.Context) bool {
	entry := make([]ir.Time, x.procs<<x.procs) // set·procs + processor: value when a segment starts there
	for h := range ir.NodeID(x.n) {
		if ctx.Err() != nil {
			return false
		}
		if !x.size.MayCut(h) {
			continue
		}
		for k := range entry {
			entry[k] = ir.MaxTime
		}
		pred := make([]int8, len(entry))
		if h == 0 {
			for q := range x.procs {
				entry[q], pred[q] = 0, -1
			}
		} else {
			x.enter(h, entry, pred)
		}
		x.segments(h, entry, pred)
	}
	x.finish()
	return true
}

// enter carries the values of what ends before h over to processors that have not been used.
func (x *chainSearch) enter(h ir.NodeID, entry []ir.Time, pred []int8) {
	pf := x.Problem.Platform
	for j := range x.procs {
		for k := range x.procs {
			if j == k {
				continue
			}
			time, load := x.cross(h, pf.Processors[k].Device, pf.Processors[j].Device)
			if time == ir.MaxTime {
				continue
			}
			if x.Objective == ir.Throughput {
				time = load
			}
			for set := 1 << k; set < 1<<x.procs; set = (set + 1) | 1<<k {
				c := &x.best[h][set*x.procs+k]
				if set&(1<<j) != 0 || c.value == ir.MaxTime {
					continue
				}
				at := set*x.procs + j
				if v := x.join(c.value, time); v < entry[at] {
					entry[at], pred[at] = v, int8(k)
				}
			}
		}
	}
}

// segments extends all plans that end before h by a segment from there on.
func (x *chainSearch) segments(h ir.NodeID, entry []ir.Time, pred []int8) {
	p, g, pf := x.Problem, x.g, x.Problem.Platform
	for j := range x.procs {
		var sets []int
		least := ir.MaxTime
		for set := range 1 << x.procs {
			if v := entry[set*x.procs+j]; v < x.Limit {
				sets = append(sets, set)
				least = min(least, v)
			}
		}
		if len(sets) == 0 {
			continue
		}
		e := &pf.Processors[j]
		end := x.most(h, ir.ProcID(j))
		busy, copies, arrive := e.Launch, ir.Time(0), ir.Time(0)
		x.mark++
		for n := h; n < end; n++ {
			busy += p.Costs.Of(n, ir.ProcID(j))
			if x.join(least, busy) >= x.Limit {
				break
			}
			for _, v := range g.Inputs(n) {
				if x.first[v] < h { // from outside
					if x.once(v) && e.Upload != nil {
						copies += e.Upload.Time(g.Bytes(v))
					}
					if h == 0 {
						arrive = max(arrive, x.way(v, pf.Source, e.Device))
					}
				} else if x.last[v] == n && x.once(v) && e.Download != nil {
					copies -= e.Download.Time(g.Bytes(v)) // no later segment reads it
				}
			}
			for _, v := range g.Outputs(n) {
				if x.last[v] > n && e.Download != nil {
					copies += e.Download.Time(g.Bytes(v))
				}
			}
			if !x.size.MayCut(n+1) || arrive == ir.MaxTime {
				continue
			}
			took := busy + copies
			if x.Objective == ir.Latency {
				took += arrive
				if int(n)+1 == x.n {
					took = min(ir.MaxTime, took+x.exit[j][h])
				}
			}
			row := x.best[n+1]
			for _, set := range sets {
				v := x.join(entry[set*x.procs+j], took)
				if c := &row[(set|1<<j)*x.procs+j]; v < c.value && v < x.Limit {
					*c = chainPlace{v, int32(h), pred[set*x.procs+j]}
				}
			}
		}
	}
}

// once is true the first time that it is asked about a value for the segments under way.
func (x *chainSearch) once(v ir.ValueID) bool {
	if x.seen[v] == x.mark {
		return false
	}
	x.seen[v] = x.mark
	return true
}

// most is the furthest end of a segment on a processor that supports its nodes and holds them.
func (x *chainSearch) most(from ir.NodeID, q ir.ProcID) ir.NodeID {
	pf := x.Problem.Platform
	e := pf.Processors[q]
	if limit := min(e.MemoryBytes, pf.Devices[e.Device].MemoryBytes); limit != ir.UnlimitedBytes {
		end, _ := x.size.Extend(from, q, limit)
		return end
	}
	end := from
	for int(end) < x.n && x.Problem.Costs.Of(end, q) != ir.Unsupported {
		end++
	}
	return end
}

// finish reads the best plan off the table.
func (x *chainSearch) finish() {
	end, at := -1, ir.MaxTime
	for k, c := range x.best[x.n] {
		if c.value < at {
			end, at = k, c.value
		}
	}
	x.Bound = min(at, x.Limit)
	if end < 0 {
		return
	}
	var subs []ir.Submodel
	for stop := x.n; ; {
		set, q := end/x.procs, end%x.procs
		c := x.best[stop][end]
		s := ir.Submodel{Processor: ir.ProcID(q)}
		for n := ir.NodeID(c.start); int(n) < stop; n++ {
			s.Nodes = append(s.Nodes, n)
		}
		subs = append(subs, s)
		if c.from < 0 {
			break
		}
		stop, end = int(c.start), (set&^(1<<q))*x.procs+int(c.from)
	}
	plan := &ir.Plan{Objective: x.Objective}
	for i := range subs {
		plan.Submodels = append(plan.Submodels, subs[len(subs)-1-i])
	}
	x.Plan = plan
}
