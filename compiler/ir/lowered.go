package ir

// Lowered ties a Problem to the model that it was lowered from, so that the
// back end can cut that model by a plan. It holds indices and types only.
//
// Nodes of the model that no entry of Members names are either constant (they
// depend on stored values only, and are copied to whoever uses them) or dead
// (no graph output depends on them, and they are left out).
type Lowered struct {
	Problem *Problem

	// Members lists, by NodeID, the model's top-level nodes (indices into its
	// node list) that a node stands for, ascending. A node without members
	// stands for constants that are graph outputs: it carries them.
	Members [][]int32

	// MemberNames are the members' names, in the same order: unique over the model.
	MemberNames [][]string

	// Fused says, by NodeID, whether runtimes run the members as one kernel: a
	// group that Fusion described. Other nodes of several members are kept together
	// because what they pass cannot travel.
	Fused []bool

	// Types is the type of each value, by ValueID, as sub-models declare it:
	// symbolic dimensions stay symbolic.
	Types []Type

	// Sources says what the cost of node n on processor p rests on, at n·P+p for P processors.
	Sources []CostSource

	// Notes are what the user should know: assumptions, dead nodes, atomic bodies.
	Notes []string
}

// NamesOf are the names of the model's nodes that n stands for; a node without
// members, or of a graph that no model was lowered to, has its own.
func (l *Lowered) NamesOf(n NodeID) []string {
	if int(n) < len(l.MemberNames) && len(l.MemberNames[n]) > 0 {
		return l.MemberNames[n]
	}
	return []string{l.Problem.Graph.NodeName(n)}
}

// Fusion is a set of nodes that runtimes run as one kernel.
type Fusion struct {
	Kind  string   // the operators, "Conv+Relu", or what they are together, "Gelu"
	Nodes []NodeID // ascending
}

// CostSource says where the cost of a node comes from.
type CostSource uint8

const (
	// Roofline is max(FLOPs/peak, bytes/bandwidth) plus the overhead of an op.
	Roofline CostSource = iota
	// Fitted is a model fitted to measurements of the same op type.
	Fitted
	// Measured is a measurement of the same op signature.
	Measured
)

func (s CostSource) String() string { return [...]string{"roofline", "fitted", "measured"}[s] }
