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

	// Types is the type of each value, by ValueID, as sub-models declare it:
	// symbolic dimensions stay symbolic.
	Types []Type

	// Sources says what the cost of node n on processor p rests on, at n·P+p for P processors.
	Sources []CostSource

	// Notes are what the user should know: assumptions, dead nodes, atomic bodies.
	Notes []string
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
