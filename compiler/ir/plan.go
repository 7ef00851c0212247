package ir

// Objective is what a plan minimises.
type Objective int

const (
	// Latency is the moment when the last run has ended and the last graph output has arrived.
	Latency Objective = iota
	// Throughput minimises the bottleneck: the largest load of a processor, link or medium.
	Throughput
)

func (o Objective) String() string {
	if o == Throughput {
		return "throughput"
	}
	return "latency"
}

// Submodel is a set of nodes that runs as one blocking call on one processor.
type Submodel struct {
	Processor ProcID
	Nodes     []NodeID // owned, ascending
	Replicas  []NodeID // copies of nodes that another sub-model owns, ascending
}

// Plan places every node. The order of Submodels that share a processor is that
// processor's run order. Times are those of the execution model.
type Plan struct {
	Objective     Objective
	Submodels     []Submodel
	Latency       Time
	Bottleneck    Time
	LowerBound    Time // bounds the objective of every feasible plan
	ProvenOptimal bool
}

// Value is the plan's objective: Latency or Bottleneck.
func (p *Plan) Value() Time {
	if p.Objective == Throughput {
		return p.Bottleneck
	}
	return p.Latency
}

// Clone is an independent copy.
func (p *Plan) Clone() *Plan {
	q := *p
	q.Submodels = make([]Submodel, len(p.Submodels))
	for i, s := range p.Submodels {
		q.Submodels[i] = Submodel{s.Processor, append([]NodeID(nil), s.Nodes...), append([]NodeID(nil), s.Replicas...)}
	}
	return &q
}

// Run is one run of a sub-model.
type Run struct {
	Start, End Time
	Uploads    []ValueID // outside values that were not yet in the processor's memory, ascending
	Downloads  []ValueID // values that the run leaves in host memory, ascending
}

// Hop is one transfer of a value over one link.
type Hop struct {
	Value               ValueID
	Link                LinkID
	For                 DeviceID // final destination
	Start, Free, Arrive Time     // on the link from Start to Free, there at Arrive
}

// Schedule is a plan's timeline under the execution model.
type Schedule struct {
	Runs       []Run // by index in Plan.Submodels
	Hops       []Hop // in order of Start
	Latency    Time
	Bottleneck Time
	ProcLoad   []Time  // by ProcID: sum of run times
	LinkLoad   []Time  // by ChannelID: sum of bytes/bandwidth
	ProcBytes  []int64 // by ProcID: memory that the plan needs
	WeightOf   []int64 // by sub-model: bytes of its distinct weights
	PeakOf     []int64 // by sub-model: peak bytes of its activations
}

// Baseline is a reference result to hold a plan against.
type Baseline struct {
	Name       string // "heft", "peft", "greedy", "min-cut"
	Feasible   bool
	Latency    Time
	Bottleneck Time
}

// Placement is all that placing a problem yields.
type Placement struct {
	Plan      *Plan
	Schedule  *Schedule
	Single    []Baseline // by ProcID: the whole graph there; infeasible where it is unsupported or does not fit
	Baselines []Baseline
	Auto      *Plan // what unlimited sub-models would give; nil if not asked for or no better
	// Passed is a plan that is faster than Plan, the whole graph on one processor, by
	// less than a split was to gain; nil if there is none.
	Passed *Plan
}
