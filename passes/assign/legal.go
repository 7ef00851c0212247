package assign

import (
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// exactMemory is the most nodes for which memory is measured after every node;
// beyond it weights alone are counted on the way, and the finished plan is checked.
const exactMemory = 2000

// legal builds sub-models node by node and keeps them acyclic. It knows who
// reaches whom as one set of sub-models for each.
type legal struct {
	p      *ir.Problem
	layout []int
	owner  []int32 // by node: sub-model, -1: not yet placed
	group  []int32 // by group: processor, -1: open
	barred []bool  // group·processors + processor: the group came to a dead end there
	subs   []ir.Submodel
	of     [][]int32 // by processor: its sub-models, in run order
	reach  []uint64  // by sub-model: those that come after it
	weigh  bool
	bytes  []int64 // by processor: weights
	holds  []map[ir.WeightID]bool
}

func newLegal(p *ir.Problem) *legal {
	b := &legal{
		p: p, layout: sched.Layout(p, sched.MaxSlots), owner: make([]int32, p.Graph.NumNodes()),
		group: make([]int32, p.Graph.NumGroups()), of: make([][]int32, len(p.Platform.Processors)),
		bytes: make([]int64, len(p.Platform.Processors)), barred: make([]bool, p.Graph.NumGroups()*len(p.Platform.Processors)),
	}
	for n := range b.owner {
		b.owner[n] = -1
	}
	for i := range b.group {
		b.group[i] = -1
	}
	for _, q := range p.Platform.Processors {
		b.weigh = b.weigh || q.MemoryBytes != ir.UnlimitedBytes
	}
	for _, d := range p.Platform.Devices {
		b.weigh = b.weigh || d.MemoryBytes != ir.UnlimitedBytes
	}
	return b
}

// join puts a node into the first sub-model of a processor that takes it, a new one if it has none yet; false if
// none does. All that a node needs must have been placed before.
func (b *legal) join(n ir.NodeID, q int) bool {
	if !b.groupAllows(n, q) {
		return false
	}
	for _, s := range b.of[q] {
		if b.try(n, s) {
			return true
		}
	}
	return len(b.of[q]) == 0 && b.open(n, q)
}

// add is join, but opens a new sub-model if no other takes the node.
func (b *legal) add(n ir.NodeID, q int) bool {
	return b.join(n, q) || len(b.of[q]) > 0 && b.groupAllows(n, q) && b.open(n, q)
}

// groupAllows says whether a node may go to a processor for all that its group knows.
func (b *legal) groupAllows(n ir.NodeID, q int) bool {
	id := b.p.Graph.Group(n)
	return id == ir.NoGroup || b.group[id] == int32(q) || b.group[id] < 0 && !b.barred[int(id)*len(b.of)+q]
}

// bar keeps the group of a node, for which there is no place any more, off the processor that it has so far; false
// if it has none. The caller must begin anew.
func (b *legal) bar(n ir.NodeID) bool {
	id := b.p.Graph.Group(n)
	if id == ir.NoGroup || b.group[id] < 0 {
		return false
	}
	b.barred[int(id)*len(b.of)+int(b.group[id])] = true
	return true
}

// open puts a node into a new sub-model, the last of its processor; false if that is not allowed or does not fit.
func (b *legal) open(n ir.NodeID, q int) bool {
	if len(b.of[q]) == b.layout[q] || len(b.subs) == sched.MaxSlots {
		return false
	}
	s := int32(len(b.subs))
	b.subs = append(b.subs, ir.Submodel{Processor: ir.ProcID(q)})
	b.reach = append(b.reach, 0)
	b.holds = append(b.holds, map[ir.WeightID]bool{})
	saved := slices.Clone(b.reach)
	if len(b.of[q]) > 0 {
		b.link(b.of[q][len(b.of[q])-1], s)
	}
	b.of[q] = append(b.of[q], s)
	if b.try(n, s) {
		return true
	}
	copy(b.reach, saved)
	b.of[q] = b.of[q][:len(b.of[q])-1]
	b.subs, b.reach, b.holds = b.subs[:s], b.reach[:s], b.holds[:s]
	return false
}

func (b *legal) try(n ir.NodeID, s int32) bool {
	g := b.p.Graph
	var before uint64
	for _, v := range g.Inputs(n) {
		if m := g.Producer(v); m != ir.NoNode && b.owner[m] != s {
			before |= 1 << b.owner[m]
		}
	}
	if before&b.reach[s] != 0 {
		return false
	}
	sub := &b.subs[s]
	i := len(sub.Nodes)
	if b.p.Graph.NumNodes() <= exactMemory { // else plan sorts them
		i, _ = slices.BinarySearch(sub.Nodes, n)
	}
	sub.Nodes = slices.Insert(sub.Nodes, i, n)
	if b.weigh && !b.fits(n, s) {
		sub.Nodes = slices.Delete(sub.Nodes, i, i+1)
		return false
	}
	b.owner[n] = s
	if id := g.Group(n); id != ir.NoGroup {
		b.group[id] = int32(sub.Processor)
	}
	for rest := before; rest != 0; rest &= rest - 1 {
		b.link(int32(bits.TrailingZeros64(rest)), s)
	}
	return true
}

// link records that sub-model s comes after r.
func (b *legal) link(r, s int32) {
	add := b.reach[s] | 1<<s
	b.reach[r] |= add
	for i := range b.reach {
		if b.reach[i]&(1<<r) != 0 {
			b.reach[i] |= add
		}
	}
}

// fits says whether the memory holds with n, which stands in sub-model s already.
func (b *legal) fits(n ir.NodeID, s int32) bool {
	g, pf := b.p.Graph, b.p.Platform
	q := b.subs[s].Processor
	if g.NumNodes() <= exactMemory {
		plan := &ir.Plan{Submodels: b.subs}
		m := ir.MeasureMemory(b.p, plan, ir.Connect(g, plan))
		d := pf.Processors[q].Device
		return m.Processors[q] <= pf.Processors[q].MemoryBytes && m.Devices[d] <= pf.Devices[d].MemoryBytes
	}
	var more int64
	for _, w := range g.Weights(n) {
		if !b.holds[s][w] {
			more += g.WeightBytes(w)
		}
	}
	if b.bytes[q]+more > pf.Processors[q].MemoryBytes {
		return false
	}
	b.bytes[q] += more
	for _, w := range g.Weights(n) {
		b.holds[s][w] = true
	}
	return true
}

func (b *legal) plan() *ir.Plan {
	plan := &ir.Plan{}
	for _, s := range b.subs {
		if len(s.Nodes) > 0 {
			slices.Sort(s.Nodes)
			plan.Submodels = append(plan.Submodels, s)
		}
	}
	return plan
}
