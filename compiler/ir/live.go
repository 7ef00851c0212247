package ir

// LiveBytes is, by node, what the activations take while the node runs, if all
// nodes are one sub-model that runs them in order: its inputs and outputs, every
// value that a later node still needs, and graph outputs that are there. The
// largest is the sub-model's peak of activations by the execution model's rules.
func LiveBytes(g *Graph) []int64 {
	at := make([]int64, g.NumNodes())
	lastUse := make([]NodeID, g.NumValues())
	for v := range lastUse {
		lastUse[v] = NoNode
	}
	for n := range NodeID(g.NumNodes()) {
		for _, v := range g.Inputs(n) {
			lastUse[v] = n
		}
	}
	stays := func(v ValueID) bool { return g.Producer(v) != NoNode && g.IsOutput(v) }
	var live int64
	for v, last := range lastUse {
		if g.Producer(ValueID(v)) == NoNode && last != NoNode { // outside values are there from the start
			live += g.ResidentBytes(ValueID(v))
		}
	}
	for n := range NodeID(g.NumNodes()) {
		for _, v := range g.Outputs(n) {
			live += g.ResidentBytes(v)
		}
		at[n] = live
		for _, v := range g.Inputs(n) {
			if lastUse[v] == n && !stays(v) {
				live -= g.ResidentBytes(v)
			}
		}
		for _, v := range g.Outputs(n) {
			if lastUse[v] == NoNode && !stays(v) {
				live -= g.ResidentBytes(v)
			}
		}
	}
	return at
}
