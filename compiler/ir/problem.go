package ir

import "fmt"

// Costs holds the time of each node on each processor.
type Costs struct {
	procs int
	time  []Time
}

// NewCosts makes a table for nodes × procs, all Unsupported.
func NewCosts(nodes, procs int) *Costs {
	c := &Costs{procs: procs, time: make([]Time, nodes*procs)}
	for i := range c.time {
		c.time[i] = Unsupported
	}
	return c
}

// Of is the time of node n on processor p, or Unsupported.
func (c *Costs) Of(n NodeID, p ProcID) Time { return c.time[int(n)*c.procs+int(p)] }

// Row is the time of node n on every processor, by ProcID. It aliases the table.
func (c *Costs) Row(n NodeID) []Time {
	a := int(n) * c.procs
	return c.time[a : a+c.procs : a+c.procs]
}

// Set states a time; only the stage that builds the table calls it.
func (c *Costs) Set(n NodeID, p ProcID, t Time) { c.time[int(n)*c.procs+int(p)] = t }

// Clone is an independent copy.
func (c *Costs) Clone() *Costs {
	return &Costs{procs: c.procs, time: append([]Time(nil), c.time...)}
}

// Problem is what placement solves: a graph, the hardware, the costs. Pins and
// prohibitions are Unsupported entries of Costs. Read-only for passes.
type Problem struct {
	Graph     *Graph
	Platform  *Platform
	Costs     *Costs
	Submodels int // most sub-models of a processor whose MaxSubmodels is DefaultSubmodels; 0: unlimited
}

// SubmodelLimit is the most sub-models that p may have; 0: unlimited.
func (p *Problem) SubmodelLimit(id ProcID) int {
	if n := p.Platform.Processors[id].MaxSubmodels; n != DefaultSubmodels {
		return n
	}
	return p.Submodels
}

// Validate checks the parts against one another, and that no sum of times or
// bytes that a plan can have overflows.
func (p *Problem) Validate() error {
	g, pf := p.Graph, p.Platform
	if len(pf.Processors) == 0 {
		return fmt.Errorf("there are no processors")
	}
	if p.Costs.procs != len(pf.Processors) || len(p.Costs.time) != g.NumNodes()*p.Costs.procs {
		return fmt.Errorf("the cost table has %d entries for %d nodes on %d processors", len(p.Costs.time), g.NumNodes(), len(pf.Processors))
	}
	for _, q := range pf.Processors {
		if q.Device < 0 || int(q.Device) >= len(pf.Devices) {
			return fmt.Errorf("processor %q is on no device", q.Name)
		}
	}
	var memory float64
	for w := range g.NumWeights() {
		memory += float64(g.WeightBytes(WeightID(w)))
	}
	// A sub-model has each weight at most once, and there are at most as many sub-models as nodes.
	memory *= float64(max(1, min(g.NumNodes(), 1<<10)))
	var total float64
	for v := range g.NumValues() {
		size := g.Bytes(ValueID(v))
		memory += float64(size) + float64(g.ResidentBytes(ValueID(v)))
		for _, q := range pf.Processors {
			if q.Upload != nil {
				total += q.Upload.Latency.Us() + float64(size)/q.Upload.BytesPerUs
			}
			if q.Download != nil {
				total += q.Download.Latency.Us() + float64(size)/q.Download.BytesPerUs
			}
		}
		for _, l := range pf.Links {
			total += float64(len(pf.Devices)) * (l.Latency.Us() + float64(size)/l.BytesPerUs)
		}
	}
	var launch Time
	for _, q := range pf.Processors {
		launch = max(launch, q.Launch)
	}
	for n := range g.NumNodes() {
		var most Time
		for _, t := range p.Costs.Row(NodeID(n)) {
			most = max(most, t)
		}
		total += (most + launch).Us()
	}
	if total >= MaxTime.Us() {
		return fmt.Errorf("times add up to %.3g us, more than %.3g us can be scheduled: check the units of costs, sizes and bandwidths", total, MaxTime.Us())
	}
	if memory >= 1<<62 {
		return fmt.Errorf("sizes add up to %.3g bytes, more than can be counted: check the shapes", memory)
	}
	return nil
}
