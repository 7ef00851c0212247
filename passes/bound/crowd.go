package bound

import (
	"math/bits"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// crowded says whether the weights of the nodes that must be on some of the processors are more than these hold.
func crowded(p *ir.Problem) bool {
	g, pf := p.Graph, p.Platform
	room := rooms(pf)
	if len(room) > crowdMost || slices.Min(room) == ir.UnlimitedBytes {
		return false
	}
	masks := make([]uint32, g.NumNodes())
	for n := range masks {
		for q, c := range p.Costs.Row(ir.NodeID(n)) {
			if c != ir.Unsupported {
				masks[n] |= 1 << q
			}
		}
	}
	// The weights of nodes that may only be on processors of a set: each weight counts once for the least set of one of its nodes.
	bytes := make([]int64, 1<<len(room))
	at := make([]uint32, g.NumWeights())
	for n, mask := range masks {
		for _, w := range g.Weights(ir.NodeID(n)) {
			if at[w] == 0 || bits.OnesCount32(mask) < bits.OnesCount32(at[w]) {
				at[w] = mask
			}
		}
	}
	for w, mask := range at {
		if mask != 0 { // some node has it
			bytes[mask] += g.WeightBytes(ir.WeightID(w))
		}
	}
	for q := range room { // of a set and all smaller ones
		for set := range bytes {
			if set&(1<<q) != 0 {
				bytes[set] += bytes[set&^(1<<q)]
			}
		}
	}
	device := make([]int64, len(pf.Devices))
	for set := 1; set < len(bytes); set++ {
		clear(device)
		for q := range room {
			if set&(1<<q) != 0 {
				d := &device[pf.Processors[q].Device]
				*d += min(room[q], ir.UnlimitedBytes-*d)
			}
		}
		var holds int64
		for d, b := range device {
			holds += min(b, pf.Devices[d].MemoryBytes, ir.UnlimitedBytes-holds)
		}
		if bytes[set] > holds {
			return true
		}
	}
	return false
}

// crowdMost is the most processors whose sets are looked at.
const crowdMost = 12
