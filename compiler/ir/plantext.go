package ir

import (
	"bufio"
	"fmt"
	"io"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// PlanSchema is the schema of plan files.
const PlanSchema = "dnnsplit/plan/v1"

// WritePlan writes a dnnsplit/plan/v1 file, one sub-model a line. Equal plans give equal bytes.
func WritePlan(w io.Writer, p *Problem, plan *Plan) error {
	t := &writer{w: bufio.NewWriterSize(w, 1<<16)}
	g := p.Graph
	t.raw("{\"schema\":\"" + PlanSchema + "\",\"graph\":").str(g.Name)
	t.raw(",\"objective\":\"" + plan.Objective.String() + "\"")
	t.section("submodels", len(plan.Submodels), func(i int) {
		s := &plan.Submodels[i]
		t.raw("{\"processor\":").str(p.Platform.Processors[s.Processor].Name)
		t.list("nodes", len(s.Nodes), func(k int) string { return g.NodeName(s.Nodes[k]) })
		t.list("replicas", len(s.Replicas), func(k int) string { return g.NodeName(s.Replicas[k]) })
		t.raw("}")
	})
	t.raw(",\n\"latency_us\":").time(plan.Latency).raw(",\"bottleneck_us\":").time(plan.Bottleneck)
	t.raw(",\"lower_bound_us\":").time(plan.LowerBound)
	if plan.ProvenOptimal {
		t.raw(",\"proven_optimal\":true}\n")
	} else {
		t.raw(",\"proven_optimal\":false}\n")
	}
	return t.w.Flush()
}

// ReadPlan reads a dnnsplit/plan/v1 file for a problem. file names it in errors.
// Unknown processors and nodes are errors; whether the plan is feasible is for
// CheckPlan to say, and its numbers are those that the file states (0 where it
// states none).
func ReadPlan(r io.Reader, file string, p *Problem) (*Plan, error) {
	g := p.Graph
	d := graphReader{s: newScanner(r, file)}
	s := d.s
	nodes := make(map[string]NodeID, g.NumNodes())
	for n := range g.NumNodes() {
		nodes[g.NodeName(NodeID(n))] = NodeID(n)
	}
	procs := map[string]ProcID{}
	for i, q := range p.Platform.Processors {
		procs[q.Name] = ProcID(i)
	}
	plan := &Plan{}
	var schema, graph string
	var seen uint32
	submodel := func() {
		i := len(plan.Submodels)
		at := Submodel{Processor: NoProc}
		var fields uint32
		list := func(into *[]NodeID, key string) {
			d.names(fmt.Sprintf("sub-model %d: %s", i, key), func(name []byte) {
				n, ok := nodes[string(name)]
				if !ok {
					s.failf("sub-model %d: unknown node %q", i, name)
				}
				*into = append(*into, n)
			})
			slices.Sort(*into)
		}
		d.entry(fmt.Sprintf("sub-model %d", i), func(key []byte) {
			switch string(key) {
			case "processor":
				name := d.text(fmt.Sprintf("sub-model %d: processor", i))
				q, ok := procs[name]
				if !ok {
					s.failf("sub-model %d: unknown processor %q", i, name)
				}
				at.Processor = q
			case "nodes":
				if d.once(&fields, 0, key) {
					list(&at.Nodes, "nodes")
				}
			case "replicas":
				if d.once(&fields, 1, key) {
					list(&at.Replicas, "replicas")
				}
			default:
				s.skip()
			}
		})
		switch {
		case at.Processor == NoProc:
			s.failf("sub-model %d: processor is missing", i)
		case fields&1 == 0:
			s.failf("sub-model %d: nodes is missing", i)
		}
		plan.Submodels = append(plan.Submodels, at)
	}
	d.entry("the plan", func(key []byte) {
		switch string(key) {
		case "schema":
			schema = d.text("schema")
		case "graph":
			graph = d.text("graph")
		case "objective":
			switch o := d.text("objective"); o {
			case "latency":
				plan.Objective = Latency
			case "throughput":
				plan.Objective = Throughput
			default:
				s.failf("unknown objective %q", o)
			}
		case "submodels":
			if d.once(&seen, 0, key) {
				s.array(submodel)
			}
		case "latency_us":
			plan.Latency = s.micros("latency_us")
		case "bottleneck_us":
			plan.Bottleneck = s.micros("bottleneck_us")
		case "lower_bound_us":
			plan.LowerBound = s.micros("lower_bound_us")
		case "proven_optimal":
			plan.ProvenOptimal = s.bool("proven_optimal")
		default:
			s.skip()
		}
	})
	if err := s.finish(); err != nil {
		return nil, err
	}
	var msg string
	switch {
	case schema != PlanSchema:
		msg = fmt.Sprintf("schema is %q, not %q: this is no plan", schema, PlanSchema)
	case seen&1 == 0:
		msg = "submodels is missing"
	case graph != g.Name:
		msg = fmt.Sprintf("the plan is for graph %q, this one is %q", graph, g.Name)
	default:
		return plan, nil
	}
	return nil, &diag.Error{File: file, Msg: msg}
}
