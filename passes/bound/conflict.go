package bound

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// conflicts knows which nodes cannot be on one processor: the weights of both, with all that their groups hold,
// exceed its memory. A nil one knows of none.
type conflicts struct {
	g     *ir.Graph
	room  []int64 // by processor
	least int64
	bytes []int64 // by node: weights of it, or of its group
}

// newConflicts is nil where nothing is in conflict.
func newConflicts(p *ir.Problem) *conflicts {
	g := p.Graph
	c := &conflicts{g: g, room: rooms(p.Platform)}
	c.least = slices.Min(c.room)
	if c.least == ir.UnlimitedBytes {
		return nil
	}
	c.bytes = make([]int64, g.NumNodes())
	var first, second int64
	for n := range ir.NodeID(g.NumNodes()) {
		if id := g.Group(n); id != ir.NoGroup && g.Members(id)[0] != n {
			c.bytes[n] = c.bytes[g.Members(id)[0]]
			continue
		}
		for _, w := range c.weights(n) {
			c.bytes[n] += g.WeightBytes(w)
		}
		if c.bytes[n] > first {
			first, second = c.bytes[n], first
		} else {
			second = max(second, c.bytes[n])
		}
	}
	if first+second <= c.least {
		return nil
	}
	return c
}

// weights are the distinct weights of a node or its group.
func (c *conflicts) weights(n ir.NodeID) []ir.WeightID {
	id := c.g.Group(n)
	if id == ir.NoGroup {
		return c.g.Weights(n)
	}
	var list []ir.WeightID
	for _, m := range c.g.Members(id) {
		list = append(list, c.g.Weights(m)...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// keeps says whether two nodes keep each other off a processor.
func (c *conflicts) keeps(a, b ir.NodeID, q int) bool {
	if c == nil || c.bytes[a]+c.bytes[b] <= c.room[q] {
		return false
	}
	if id := c.g.Group(a); id != ir.NoGroup && id == c.g.Group(b) {
		return c.bytes[a] > c.room[q]
	}
	both := slices.Concat(c.weights(a), c.weights(b))
	slices.Sort(both)
	var need int64
	for _, w := range slices.Compact(both) {
		need += c.g.WeightBytes(w)
	}
	return need > c.room[q]
}
