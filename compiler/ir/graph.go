package ir

// Graph is the execution graph: a frozen DAG in which nodes stand in topological
// order. All tables are dense and read-only; slices that methods return alias
// them and must not be changed. Make one with a Builder or ReadProblem.
type Graph struct {
	Name string

	// By NodeID.
	nodeName   []string
	nodeOp     []string
	group      []GroupID
	replicable []bool
	inputs     table[ValueID] // distinct, in order of first use
	outputs    table[ValueID]
	weights    table[WeightID] // distinct

	// By ValueID.
	valueName   []string
	bytes       []int64
	resident    []int64
	graphInput  []bool
	graphOutput []bool
	producer    []NodeID // NoNode: a graph input
	consumers   table[NodeID]

	weightName  []string // by WeightID
	weightBytes []int64

	groupName []string // by GroupID
	members   table[NodeID]
}

// table is a compressed list of lists: row i is data[start[i]:start[i+1]].
type table[T any] struct {
	start []int32
	data  []T
}

func (t *table[T]) row(i int) []T {
	a, b := t.start[i], t.start[i+1]
	return t.data[a:b:b]
}

// NumNodes is the number of nodes.
func (g *Graph) NumNodes() int { return len(g.nodeName) }

// NumValues is the number of values: graph inputs and node outputs.
func (g *Graph) NumValues() int { return len(g.valueName) }

// NumWeights is the number of distinct weights.
func (g *Graph) NumWeights() int { return len(g.weightName) }

// NumGroups is the number of colocation groups.
func (g *Graph) NumGroups() int { return len(g.groupName) }

// NodeName is a unique, non-empty name.
func (g *Graph) NodeName(n NodeID) string { return g.nodeName[n] }

// Op is the operator, "domain::Type" outside the standard domain; "" if unknown.
func (g *Graph) Op(n NodeID) string { return g.nodeOp[n] }

// Inputs are the distinct values that n reads.
func (g *Graph) Inputs(n NodeID) []ValueID { return g.inputs.row(int(n)) }

// Outputs are the values that n makes.
func (g *Graph) Outputs(n NodeID) []ValueID { return g.outputs.row(int(n)) }

// Weights are the distinct weights that n holds.
func (g *Graph) Weights(n NodeID) []WeightID { return g.weights.row(int(n)) }

// Group is the colocation group of n, NoGroup if it has none.
func (g *Graph) Group(n NodeID) GroupID { return g.group[n] }

// Ungrouped is the same graph without colocation groups.
func (g *Graph) Ungrouped() *Graph {
	free := *g
	free.group = make([]GroupID, len(g.group))
	for n := range free.group {
		free.group[n] = NoGroup
	}
	free.groupName = nil
	free.members = table[NodeID]{}
	return &free
}

// GroupName is the name of a group.
func (g *Graph) GroupName(id GroupID) string { return g.groupName[id] }

// Members are the nodes of a group, ascending.
func (g *Graph) Members(id GroupID) []NodeID { return g.members.row(int(id)) }

// Replicable says whether sub-models may hold their own copy of n.
func (g *Graph) Replicable(n NodeID) bool { return g.replicable[n] }

// ValueName is a unique, non-empty name.
func (g *Graph) ValueName(v ValueID) string { return g.valueName[v] }

// Bytes is what v costs to send.
func (g *Graph) Bytes(v ValueID) int64 { return g.bytes[v] }

// ResidentBytes is what v occupies in memory.
func (g *Graph) ResidentBytes(v ValueID) int64 { return g.resident[v] }

// IsInput says whether v is a graph input.
func (g *Graph) IsInput(v ValueID) bool { return g.graphInput[v] }

// IsOutput says whether v is a graph output.
func (g *Graph) IsOutput(v ValueID) bool { return g.graphOutput[v] }

// Producer is the node that makes v, NoNode for a graph input.
func (g *Graph) Producer(v ValueID) NodeID { return g.producer[v] }

// Consumers are the nodes that read v, ascending.
func (g *Graph) Consumers(v ValueID) []NodeID { return g.consumers.row(int(v)) }

// WeightName is a unique, non-empty name.
func (g *Graph) WeightName(w WeightID) string { return g.weightName[w] }

// WeightBytes is the size of a weight.
func (g *Graph) WeightBytes(w WeightID) int64 { return g.weightBytes[w] }
