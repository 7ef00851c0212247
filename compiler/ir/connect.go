package ir

// Wiring says how the sub-models of a plan hang together: who owns each node,
// and which values each sub-model needs from outside or makes for others. It is
// defined for any plan, feasible or not: of several owners the first counts.
type Wiring struct {
	Owner    []int32 // by NodeID: index of the sub-model that owns it; -1: none
	Previous []int32 // by sub-model: the one before it on its processor; -1: none

	held     table[NodeID]
	needs    table[ValueID]
	produces table[ValueID]
	users    table[int32]
}

// Held are the nodes that a sub-model runs, owned and replicas, ascending.
func (w *Wiring) Held(s int) []NodeID { return w.held.row(s) }

// Needs are the distinct values that a sub-model needs from outside, ascending.
func (w *Wiring) Needs(s int) []ValueID { return w.needs.row(s) }

// Produces are the values that a sub-model owns and that other sub-models need, or that are graph outputs, ascending.
func (w *Wiring) Produces(s int) []ValueID { return w.produces.row(s) }

// Users are the sub-models that need a value from outside, ascending.
func (w *Wiring) Users(v ValueID) []int32 { return w.users.row(int(v)) }

// Connect wires a plan. It takes time linear in the graph and the plan.
func Connect(g *Graph, plan *Plan) *Wiring {
	k := len(plan.Submodels)
	w := &Wiring{Owner: make([]int32, g.NumNodes()), Previous: make([]int32, k)}
	for n := range w.Owner {
		w.Owner[n] = -1
	}
	last := map[ProcID]int32{}
	for i := range plan.Submodels {
		s := &plan.Submodels[i]
		w.Previous[i] = -1
		if j, ok := last[s.Processor]; ok {
			w.Previous[i] = j
		}
		last[s.Processor] = int32(i)
		for _, n := range s.Nodes {
			if w.Owner[n] < 0 {
				w.Owner[n] = int32(i)
			}
		}
	}
	w.held.start = []int32{0}
	w.needs.start = []int32{0}
	inside := make([]int32, g.NumNodes()) // 1 + the last sub-model that was found to hold the node
	needed := make([]int32, g.NumValues())
	for i := range plan.Submodels {
		mark := int32(i + 1)
		s := &plan.Submodels[i]
		mergeNodes(s.Nodes, s.Replicas, func(n NodeID, replica bool) {
			if inside[n] != mark && (replica || w.Owner[n] == int32(i)) {
				inside[n] = mark
				w.held.data = append(w.held.data, n)
			}
		})
		w.held.start = append(w.held.start, int32(len(w.held.data)))
		from := len(w.needs.data)
		for _, n := range w.held.row(i) {
			for _, v := range g.Inputs(n) {
				if p := g.Producer(v); (p == NoNode || inside[p] != mark) && needed[v] != mark {
					needed[v] = mark
					w.needs.data = append(w.needs.data, v)
				}
			}
		}
		sortValues(w.needs.data[from:])
		w.needs.start = append(w.needs.start, int32(len(w.needs.data)))
	}
	w.users = invert[int32](&w.needs, g.NumValues())
	count := make([]int32, k+1)
	leaves := func(v ValueID) int32 {
		if n := g.Producer(v); n != NoNode && w.Owner[n] >= 0 && (g.IsOutput(v) || len(w.Users(v)) > 0) {
			return w.Owner[n]
		}
		return -1
	}
	for v := range ValueID(g.NumValues()) {
		if s := leaves(v); s >= 0 {
			count[s+1]++
		}
	}
	for i := range k {
		count[i+1] += count[i]
	}
	w.produces = table[ValueID]{start: append([]int32(nil), count...), data: make([]ValueID, count[k])}
	for v := range ValueID(g.NumValues()) {
		if s := leaves(v); s >= 0 {
			w.produces.data[count[s]] = v
			count[s]++
		}
	}
	return w
}

// mergeNodes visits two ascending lists as one.
func mergeNodes(owned, replicas []NodeID, visit func(n NodeID, replica bool)) {
	for len(owned) > 0 || len(replicas) > 0 {
		if len(replicas) == 0 || len(owned) > 0 && owned[0] <= replicas[0] {
			visit(owned[0], false)
			owned = owned[1:]
		} else {
			visit(replicas[0], true)
			replicas = replicas[1:]
		}
	}
}
