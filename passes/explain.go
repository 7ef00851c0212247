package passes

import (
	"fmt"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// explain says why there is no plan.
func explain(p *ir.Problem) error {
	g, pf := p.Graph, p.Platform
	var weights int64
	for w := range ir.WeightID(g.NumWeights()) {
		weights += g.WeightBytes(w)
	}
	room, limited := int64(0), true
	for d, dev := range pf.Devices {
		var sum int64
		all := true
		for _, q := range pf.Processors {
			if int(q.Device) == d {
				if q.MemoryBytes == ir.UnlimitedBytes {
					all = false
				} else {
					sum += q.MemoryBytes
				}
			}
		}
		if !all {
			sum = dev.MemoryBytes
		}
		sum = min(sum, dev.MemoryBytes)
		if sum == ir.UnlimitedBytes {
			limited = false
			break
		}
		room += sum
	}
	if limited && weights > room {
		return &InfeasibleError{Proved: true, Reasons: []string{fmt.Sprintf("the weights take %d bytes, %d more than the %d that all processors have together", weights, weights-room, room)}}
	}
	return &InfeasibleError{Reasons: []string{"every candidate broke a limit on memory, on the number of sub-models or on where nodes may run; raise a memory limit or allow more sub-models"}}
}
