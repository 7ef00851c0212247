package assign

import (
	"context"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Line solves for the bottleneck of problems whose work stands in one line, where
// processors may have any number of sub-models each.
//
// The line is a path of the graph along values: x₁, x₂, …, each of which reads from
// the one before. Nodes beside it count for nothing; where they have more than a
// small part of the work, the graph is no line. In any plan the nodes of the line that
// stand together on one processor, a stretch, are a run of their own: between two
// stretches of a processor the path leaves it and comes back, and sub-models that
// wait for each other cannot be one. So the processor of each node tells at least
// what everything is busy for: launches, the nodes, the values that cross from one
// stretch to the next with their copies and links, graph inputs, graph outputs. It
// tells at least the memory for weights and for what one node reads and makes.
// Where nothing skips a node and nothing stands beside the line that is all there is.
//
// Replicas of nodes of the line are left out where they cannot help: see Chain.
//
// The search places node after node. It knows each beginning by a label: processor
// of the last node, loads, runs, memory. A label that is nowhere below another one of
// the same place is of no use, as is one from which no plan below the limit can
// come; what proves that are the prices of lineprices.go.
type Line struct {
	Problem *ir.Problem
	Limit   ir.Time // only plans below it are of interest
	Known   ir.Time // no plan is below it
	Steps   int     // about how many labels are looked at

	Plan  *ir.Plan // the best plan found below Limit, rated; nil: none
	Bound ir.Time  // below every plan; at most Limit
}

// Sizes of lines.
const (
	lineNodes = 300    // of more it proves little for its time
	lineProcs = 16     // so that a permutation of them fits into a word
	lineSize  = 20_000 // nodes times processors²
	lineApart = 50     // of the work one part in so many may stand beside the line
)

// Run reports whether the nodes stand in one line. It ends early, with what is proved so far, when ctx ends.
func (l *Line) Run(ctx context.Context) bool {
	l.Bound = l.Known
	if l.Known >= l.Limit || l.Limit == ir.MaxTime {
		return false
	}
	m := newLineModel(l.Problem)
	if m == nil {
		return false
	}
	l.search(ctx, m)
	return true
}

// channelLoad is how long a channel is busy.
type channelLoad struct {
	channel int32
	busy    ir.Time
}

// lineModel is what any plan pays for the nodes of a line.
type lineModel struct {
	p        *ir.Problem
	nodes    []ir.NodeID // of the line
	n, procs int
	channels int
	class    []int8 // by processor: the first one that is like it in all that the line sees
	limit    []int  // by processor: most runs

	// By place in the line · procs + processor.
	cost  []ir.Time       // the node, graph inputs that it is the first to read, graph outputs that it makes; Unsupported
	moved [][]channelLoad // by graph inputs and outputs
	start []ir.Time       // what starting a run with the node takes beside: launch, uploads of what the node before made
	end   []ir.Time       // what ending a run with it takes: downloads of what the next node reads

	// By place · devices² + device of the node before · devices + its own.
	devices int
	cross   [][]channelLoad
	barred  []bool

	joined []bool  // by place: a group keeps it with the one before
	weight []int64 // by place: bytes of weights that no earlier node of the line has
	active []int64 // by place: bytes of what the node reads and makes
}

// newLineModel is nil if the nodes do not stand in one line.
func newLineModel(p *ir.Problem) *lineModel {
	g, pf := p.Graph, p.Platform
	procs, devices := len(pf.Processors), len(pf.Devices)
	if procs < 2 || procs > lineProcs || g.NumNodes()*procs*procs > lineSize || g.NumNodes() > lineNodes {
		return nil
	}
	m := &lineModel{p: p, procs: procs, devices: devices, nodes: lineOf(p)}
	m.n = len(m.nodes)
	if m.n < 2 || m.n*devices*devices > lineSize || !m.copiesUseless() {
		return nil
	}
	m.limit = make([]int, procs)
	for q := range m.limit {
		if m.limit[q] = p.SubmodelLimit(ir.ProcID(q)); m.limit[q] == 0 {
			m.limit[q] = m.n
		}
		m.limit[q] = min(m.limit[q], (m.n+1)/2)
	}
	m.tabulate()
	m.classify()
	return m
}

// lineOf is the path of the most work along values, nil if too much work stands beside it.
func lineOf(p *ir.Problem) []ir.NodeID {
	g := p.Graph
	most := make([]ir.Time, g.NumNodes())
	from := make([]ir.NodeID, g.NumNodes())
	var total, beside ir.Time
	last := ir.NodeID(0)
	least := make([]ir.Time, g.NumNodes())
	for n := range ir.NodeID(g.NumNodes()) {
		least[n] = ir.MaxTime
		for _, c := range p.Costs.Row(n) {
			if c != ir.Unsupported {
				least[n] = min(least[n], c)
			}
		}
		if least[n] == ir.MaxTime {
			return nil
		}
		total += least[n]
		from[n] = ir.NoNode
		for _, v := range g.Inputs(n) {
			if m := g.Producer(v); m != ir.NoNode && most[m] > most[n] {
				most[n], from[n] = most[m], m
			}
		}
		most[n] += least[n] + 1 // of two paths of one length that of more nodes
		if most[n] > most[last] {
			last = n
		}
	}
	var line []ir.NodeID
	beside = total
	for n := last; n != ir.NoNode; n = from[n] {
		line = append(line, n)
		beside -= least[n]
	}
	if beside > total/lineApart {
		return nil
	}
	slices.Reverse(line)
	return line
}

// copiesUseless says whether some best plan has no replicas of nodes of the line.
func (m *lineModel) copiesUseless() bool {
	g := m.p.Graph
	for i, n := range m.nodes {
		if !g.Replicable(n) {
			continue
		}
		if id := g.Group(n); id != ir.NoGroup && len(g.Members(id)) > 1 {
			return false
		}
		for _, v := range g.Outputs(n) {
			if g.IsOutput(v) {
				return false
			}
			for _, r := range g.Consumers(v) {
				if i+1 == m.n || r != m.nodes[i+1] {
					return false
				}
			}
		}
	}
	return true
}

func (m *lineModel) tabulate() {
	g, pf := m.p.Graph, m.p.Platform
	routes := ir.NewRoutes(pf)
	byLink, names := pf.Channels()
	m.channels = len(names)
	cells := m.n * m.procs
	m.cost, m.start, m.end = make([]ir.Time, cells), make([]ir.Time, cells), make([]ir.Time, cells)
	m.moved = make([][]channelLoad, cells)
	m.cross, m.barred = make([][]channelLoad, m.n*m.devices*m.devices), make([]bool, m.n*m.devices*m.devices)
	m.joined = make([]bool, m.n)
	m.weight, m.active = make([]int64, m.n), make([]int64, m.n)
	seen := make([]bool, g.NumWeights())
	read := make([]bool, g.NumValues()) // graph inputs that a node has been the first to read
	travel := func(list []channelLoad, v ir.ValueID, from, to ir.DeviceID) ([]channelLoad, bool) {
		if from == to {
			return list, true
		}
		route := routes.Find(from, to, g.Bytes(v))
		for _, l := range route {
			if t := pf.Links[l].Busy(g.Bytes(v)); t > 0 {
				list = append(list, channelLoad{int32(byLink[l]), t})
			}
		}
		return list, route != nil
	}
	for i, n := range m.nodes {
		var inputs, entering, passed []ir.ValueID
		for _, v := range g.Inputs(n) {
			if slices.Contains(inputs, v) {
				continue
			}
			inputs = append(inputs, v)
			m.active[i] += g.ResidentBytes(v)
			switch from := g.Producer(v); {
			case from == ir.NoNode && !read[v]:
				read[v] = true
				entering = append(entering, v)
			case i > 0 && from == m.nodes[i-1]:
				passed = append(passed, v)
			}
		}
		for _, w := range g.Weights(n) {
			if !seen[w] {
				seen[w] = true
				m.weight[i] += g.WeightBytes(w)
			}
		}
		for _, v := range g.Outputs(n) {
			m.active[i] += g.ResidentBytes(v)
		}
		if id := g.Group(n); i > 0 && id != ir.NoGroup && id == g.Group(m.nodes[i-1]) {
			m.joined[i] = true
		}
		for q := range m.procs {
			e := &pf.Processors[q]
			at := i*m.procs + q
			cost, able := m.p.Costs.Of(n, ir.ProcID(q)), true
			m.cost[at] = ir.Unsupported
			m.start[at] = e.Launch
			for _, v := range passed {
				if e.Upload != nil {
					m.start[at] += e.Upload.Time(g.Bytes(v))
				}
				if e.Download != nil && !g.IsOutput(v) {
					m.end[at-m.procs] += e.Download.Time(g.Bytes(v))
				}
			}
			if cost == ir.Unsupported {
				continue
			}
			for _, v := range entering {
				if e.Upload != nil {
					cost += e.Upload.Time(g.Bytes(v))
				}
				if pf.Source != ir.NoDevice && able {
					m.moved[at], able = travel(m.moved[at], v, pf.Source, e.Device)
				}
			}
			for _, v := range g.Outputs(n) {
				if !g.IsOutput(v) {
					continue
				}
				if e.Download != nil {
					cost += e.Download.Time(g.Bytes(v))
				}
				if pf.Sink != ir.NoDevice && able {
					m.moved[at], able = travel(m.moved[at], v, e.Device, pf.Sink)
				}
			}
			if able {
				m.cost[at] = cost
			}
		}
		for a := range ir.DeviceID(m.devices) {
			for b := range ir.DeviceID(m.devices) {
				at := (i*m.devices+int(a))*m.devices + int(b)
				for _, v := range passed {
					if m.barred[at] || b == pf.Sink && g.IsOutput(v) {
						continue // it travels there anyhow
					}
					var ok bool
					m.cross[at], ok = travel(m.cross[at], v, a, b)
					m.barred[at] = !ok
				}
			}
		}
	}
}

// between is what crosses when a run ends on processor a before a place and one starts on b with it; false if it cannot.
func (m *lineModel) between(i, a, b int) ([]channelLoad, bool) {
	pf := m.p.Platform
	at := (i*m.devices+int(pf.Processors[a].Device))*m.devices + int(pf.Processors[b].Device)
	return m.cross[at], !m.barred[at]
}

// classify finds processors of one device that nothing tells apart.
func (m *lineModel) classify() {
	pf := m.p.Platform
	m.class = make([]int8, m.procs)
	same := func(a, b *ir.Copy) bool { return a == b || a != nil && b != nil && *a == *b }
	for q := range m.procs {
		m.class[q] = int8(q)
		e := &pf.Processors[q]
	others:
		for r := range q {
			f := &pf.Processors[r]
			if m.class[r] != int8(r) || e.Device != f.Device || e.MemoryBytes != f.MemoryBytes || e.Launch != f.Launch || m.limit[q] != m.limit[r] || !same(e.Upload, f.Upload) || !same(e.Download, f.Download) {
				continue
			}
			for _, n := range m.nodes {
				if m.p.Costs.Of(n, ir.ProcID(q)) != m.p.Costs.Of(n, ir.ProcID(r)) {
					continue others
				}
			}
			m.class[q] = int8(r)
			break
		}
	}
}

// reversed is the same line from its tail on: what ends a run there starts it here.
func (m *lineModel) reversed() *lineModel {
	r := *m
	n, p, d := m.n, m.procs, m.devices
	r.nodes = make([]ir.NodeID, n)
	r.cost, r.start, r.end = make([]ir.Time, n*p), make([]ir.Time, n*p), make([]ir.Time, n*p)
	r.moved = make([][]channelLoad, n*p)
	r.cross, r.barred = make([][]channelLoad, n*d*d), make([]bool, n*d*d)
	r.joined = make([]bool, n)
	r.weight, r.active = make([]int64, n), make([]int64, n)
	for i := range n {
		at := n - 1 - i
		r.nodes[at], r.weight[at], r.active[at] = m.nodes[i], m.weight[i], m.active[i]
		for q := range p {
			launch := m.p.Platform.Processors[q].Launch
			from, to := i*p+q, at*p+q
			r.cost[to], r.moved[to] = m.cost[from], m.moved[from]
			r.start[to], r.end[to] = m.end[from]+launch, m.start[from]-launch
		}
		if i == 0 {
			continue
		}
		r.joined[at+1] = m.joined[i]
		for a := range d {
			for b := range d {
				from, to := (i*d+a)*d+b, ((at+1)*d+b)*d+a
				r.cross[to], r.barred[to] = m.cross[from], m.barred[from]
			}
		}
	}
	return &r
}
