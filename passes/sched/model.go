package sched

import (
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// MaxSlots is how many sub-models a State can hold: a set of them is one word.
const MaxSlots = 64

// Model is a problem prepared for search at one level of detail: its nodes are
// gathered into units that move together, values inside a unit are gone, and
// places for sub-models (slots) are laid out, a fixed number for each processor
// in its run order. Read-only once it is made; many States may share it.
type Model struct {
	Problem *ir.Problem
	Units   int
	Values  int // values that a plan can make travel, in the order of ir.ValueID
	Procs   int
	Slots   int

	// By unit.
	UnitOf []int32   // by NodeID
	cost   []ir.Time // unit·Procs + processor; Unsupported where a node of the unit is
	ins    lists     // values that other units or the caller make
	outs   lists     // values that leave the unit
	nodes  lists     // NodeIDs, ascending
	copies []bool    // the unit may be replicated: all its nodes may

	// By value.
	value    []ir.ValueID
	bytes    []int64
	producer []int32 // unit; -1: a graph input
	output   []bool
	readers  lists // units
	sizeKind []int32
	sizes    []int64   // by kind of size
	ups      []ir.Time // kind·Procs + processor: uploads; nil where there are too many kinds
	downs    []ir.Time
	routeOf  [][]int32 // by kind of size: from·devices + to: 1 + index in routes; nil where there are too many
	routes   []route

	// By slot: processors' slots are consecutive and in run order.
	slotProc []int32
	slotDev  []int32
	launch   []ir.Time
	procMask []uint64 // by processor: its slots
	devMask  []uint64 // by device: its slots

	channel  []ir.ChannelID // by link
	channels int
	source   int32 // device, -1: everywhere
	sink     int32 // device, -1: none
	limited  []bool
	anyLimit bool
	devLimit []bool
}

// lists is a compressed list of lists.
type lists struct {
	start, data []int32
}

func (l *lists) row(i int32) []int32 { return l.data[l.start[i]:l.start[i+1]] }

// Cost is the time of a unit on a processor, ir.Unsupported if it cannot run there.
func (m *Model) Cost(unit int32, proc int) ir.Time { return m.cost[int(unit)*m.Procs+proc] }

// Ins are the values that a unit reads from other units or the caller.
func (m *Model) Ins(unit int32) []int32 { return m.ins.row(unit) }

// Outs are the values that a unit makes for other units or the caller.
func (m *Model) Outs(unit int32) []int32 { return m.outs.row(unit) }

// Nodes are the nodes of a unit, ascending.
func (m *Model) Nodes(unit int32) []int32 { return m.nodes.row(unit) }

// Readers are the units that read a value, ascending.
func (m *Model) Readers(value int32) []int32 { return m.readers.row(value) }

// Producer is the unit that makes a value, -1 for a graph input.
func (m *Model) Producer(value int32) int32 { return m.producer[value] }

// Bytes is the size of a value.
func (m *Model) Bytes(value int32) int64 { return m.bytes[value] }

// IsOutput says whether a value is a graph output.
func (m *Model) IsOutput(value int32) bool { return m.output[value] }

// ValueID is the value's number in the graph.
func (m *Model) ValueID(value int32) ir.ValueID { return m.value[value] }

// Proc is the processor of a slot.
func (m *Model) Proc(slot int) int { return int(m.slotProc[slot]) }

// SlotsOf is the set of slots of a processor, in run order.
func (m *Model) SlotsOf(proc int) uint64 { return m.procMask[proc] }

// Replicable says whether sub-models may hold copies of a unit.
func (m *Model) Replicable(unit int32) bool { return m.copies[unit] }

// Layout says how many slots each processor gets: as many sub-models as it may
// have, at most perProc, and no more than MaxSlots in all. Processors beyond
// MaxSlots get none.
func Layout(p *ir.Problem, perProc int) []int {
	procs := len(p.Platform.Processors)
	slots := make([]int, procs)
	left := MaxSlots
	for round := range perProc {
		for q := range procs {
			limit := p.SubmodelLimit(ir.ProcID(q))
			if left > 0 && slots[q] == round && (limit == 0 || limit > round) {
				slots[q]++
				left--
			}
		}
	}
	return slots
}

// NewModel gathers nodes into units: unitOf gives the unit, 0 to units-1, of each
// node. slots is the number of slots of each processor.
func NewModel(p *ir.Problem, unitOf []int32, units int, slots []int) *Model {
	g, pf := p.Graph, p.Platform
	m := &Model{Problem: p, Units: units, Procs: len(pf.Processors), UnitOf: unitOf, source: int32(pf.Source), sink: int32(pf.Sink)}
	m.nodes = groupBy(unitOf, units)
	m.cost = make([]ir.Time, units*m.Procs)
	m.copies = make([]bool, units)
	for u := range m.copies {
		m.copies[u] = true
	}
	for n := range ir.NodeID(g.NumNodes()) {
		u := int(unitOf[n])
		row := m.cost[u*m.Procs : (u+1)*m.Procs]
		for q, t := range p.Costs.Row(n) {
			if t == ir.Unsupported || row[q] == ir.Unsupported {
				row[q] = ir.Unsupported
			} else {
				row[q] += t
			}
		}
		if !g.Replicable(n) || g.Group(n) != ir.NoGroup && len(g.Members(g.Group(n))) > 1 {
			m.copies[u] = false
		}
	}
	m.makeValues()
	m.layOut(slots)
	m.findLimits()
	m.tabulateRoutes()
	return m
}

func groupBy(key []int32, n int) lists {
	l := lists{start: make([]int32, n+1), data: make([]int32, len(key))}
	for _, k := range key {
		l.start[k+1]++
	}
	for i := range n {
		l.start[i+1] += l.start[i]
	}
	next := slices.Clone(l.start)
	for i, k := range key {
		l.data[next[k]] = int32(i)
		next[k]++
	}
	return l
}

// makeValues keeps what can travel: values with a reader outside their
// producer's unit, and graph outputs that a node makes or that go from source to sink.
func (m *Model) makeValues() {
	g := m.Problem.Graph
	m.readers.start = []int32{0}
	seen := make([]int32, m.Units) // 1 + last value that the unit was found to read
	kinds := map[int64]int32{}
	for v := range ir.ValueID(g.NumValues()) {
		from := int32(-1)
		if n := g.Producer(v); n != ir.NoNode {
			from = m.UnitOf[n]
		}
		at := len(m.readers.data)
		for _, c := range g.Consumers(v) {
			if u := m.UnitOf[c]; u != from && seen[u] != int32(v)+1 {
				seen[u] = int32(v) + 1
				m.readers.data = append(m.readers.data, u)
			}
		}
		leaves := g.IsOutput(v) && (from >= 0 || m.source >= 0 && m.sink >= 0 && m.source != m.sink)
		if len(m.readers.data) == at && !leaves {
			continue
		}
		slices.Sort(m.readers.data[at:])
		m.readers.start = append(m.readers.start, int32(len(m.readers.data)))
		m.value = append(m.value, v)
		m.bytes = append(m.bytes, g.Bytes(v))
		m.producer = append(m.producer, from)
		m.output = append(m.output, g.IsOutput(v))
		kind, ok := kinds[g.Bytes(v)]
		if !ok {
			kind = int32(len(kinds))
			kinds[g.Bytes(v)] = kind
			m.sizes = append(m.sizes, g.Bytes(v))
		}
		m.sizeKind = append(m.sizeKind, kind)
	}
	m.Values = len(m.value)
	m.tabulateCopies()
	m.ins = invertLists(&m.readers, m.Units)
	m.outs.start = make([]int32, m.Units+1)
	for _, u := range m.producer {
		if u >= 0 {
			m.outs.start[u+1]++
		}
	}
	for u := range m.Units {
		m.outs.start[u+1] += m.outs.start[u]
	}
	m.outs.data = make([]int32, m.outs.start[m.Units])
	next := slices.Clone(m.outs.start)
	for v, u := range m.producer {
		if u >= 0 {
			m.outs.data[next[u]] = int32(v)
			next[u]++
		}
	}
}

func invertLists(l *lists, n int) lists {
	out := lists{start: make([]int32, n+1), data: make([]int32, len(l.data))}
	for _, k := range l.data {
		out.start[k+1]++
	}
	for i := range n {
		out.start[i+1] += out.start[i]
	}
	next := slices.Clone(out.start)
	for r := range int32(len(l.start) - 1) {
		for _, k := range l.row(r) {
			out.data[next[k]] = r
			next[k]++
		}
	}
	return out
}

func (m *Model) layOut(slots []int) {
	pf := m.Problem.Platform
	if len(slots) != m.Procs {
		diag.Bugf("a layout of %d processors for %d", len(slots), m.Procs)
	}
	m.procMask = make([]uint64, m.Procs)
	m.devMask = make([]uint64, len(pf.Devices))
	for q, n := range slots {
		for range n {
			if m.Slots == MaxSlots {
				diag.Bugf("a layout has more than %d slots", MaxSlots)
			}
			d := pf.Processors[q].Device
			m.procMask[q] |= 1 << m.Slots
			m.devMask[d] |= 1 << m.Slots
			m.slotProc = append(m.slotProc, int32(q))
			m.slotDev = append(m.slotDev, int32(d))
			m.launch = append(m.launch, pf.Processors[q].Launch)
			m.Slots++
		}
	}
	channel, names := pf.Channels()
	m.channel, m.channels = channel, len(names)
}

// findLimits marks the limits that some plan could break: where all weights, once for each slot, and all
// activations at once fit, there is nothing to check.
func (m *Model) findLimits() {
	g, pf := m.Problem.Graph, m.Problem.Platform
	var weights, values int64
	for w := range ir.WeightID(g.NumWeights()) {
		weights += g.WeightBytes(w)
	}
	for v := range ir.ValueID(g.NumValues()) {
		values += g.ResidentBytes(v)
	}
	m.limited = make([]bool, m.Procs)
	m.devLimit = make([]bool, len(pf.Devices))
	most := make([]int64, len(pf.Devices))
	for q, e := range pf.Processors {
		need := weights*int64(bits.OnesCount64(m.procMask[q])) + values
		m.limited[q] = need > e.MemoryBytes
		most[e.Device] += need
	}
	for d, e := range pf.Devices {
		m.devLimit[d] = most[d] > e.MemoryBytes
	}
	for q, e := range pf.Processors {
		m.limited[q] = m.limited[q] || m.devLimit[e.Device]
		m.anyLimit = m.anyLimit || m.limited[q]
	}
}

// Limited says whether some plan could break a memory limit.
func (m *Model) Limited() bool { return m.anyLimit }

// manyKinds is the number of kinds of sizes, times processors, above which copies are not tabulated.
const manyKinds = 1 << 20

func (m *Model) tabulateCopies() {
	if len(m.sizes)*m.Procs > manyKinds {
		return
	}
	m.ups = make([]ir.Time, len(m.sizes)*m.Procs)
	m.downs = make([]ir.Time, len(m.sizes)*m.Procs)
	for kind, size := range m.sizes {
		for q, e := range m.Problem.Platform.Processors {
			m.ups[kind*m.Procs+q] = copyTime(e.Upload, size)
			m.downs[kind*m.Procs+q] = copyTime(e.Download, size)
		}
	}
}

// manyRoutes is the number of routes above which they are not found before they are asked for.
const manyRoutes = 1 << 14

// tabulateRoutes finds the ways of values of all sizes between all devices.
func (m *Model) tabulateRoutes() {
	devices := int32(len(m.devMask))
	if len(m.sizes)*int(devices*devices) > manyRoutes {
		return
	}
	find := ir.NewRoutes(m.Problem.Platform)
	m.routeOf = make([][]int32, len(m.sizes))
	for kind, size := range m.sizes {
		row := make([]int32, devices*devices)
		for from := range devices {
			for to := range devices {
				if from != to {
					m.routes = append(m.routes, m.findRoute(find, size, from, to))
					row[from*devices+to] = int32(len(m.routes))
				}
			}
		}
		m.routeOf[kind] = row
	}
}

func (m *Model) findRoute(find *ir.Routes, size int64, from, to int32) route {
	links := find.Find(ir.DeviceID(from), ir.DeviceID(to), size)
	r := route{none: links == nil}
	for _, l := range links {
		link := &m.Problem.Platform.Links[l]
		r.hops = append(r.hops, hop{int32(m.channel[l]), link.Busy(size), link.Latency})
	}
	return r
}

func copyTime(c *ir.Copy, size int64) ir.Time {
	if c == nil {
		return 0
	}
	return c.Time(size)
}

// upload is the time to bring a value into a processor's memory.
func (m *Model) upload(v int32, q int32) ir.Time {
	if m.ups != nil {
		return m.ups[int(m.sizeKind[v])*m.Procs+int(q)]
	}
	return copyTime(m.Problem.Platform.Processors[q].Upload, m.bytes[v])
}

func (m *Model) download(v int32, q int32) ir.Time {
	if m.downs != nil {
		return m.downs[int(m.sizeKind[v])*m.Procs+int(q)]
	}
	return copyTime(m.Problem.Platform.Processors[q].Download, m.bytes[v])
}
