package compiler

import (
	"fmt"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Placed are nodes that must run on a processor, by their exact names or by the
// names of values that they make.
type Placed struct {
	Processor string
	Nodes     []string
}

// pinPlaced makes every node of Options.Place unsupported everywhere else. A name
// that no node and no value has, and a node that cannot run where it should, are
// errors; all of them are reported.
func (r *Result) pinPlaced() error {
	var problems diag.List
	fail := func(node, format string, args ...any) {
		problems = append(problems, &diag.Error{File: r.Options.PlacementFile, Node: node, Msg: fmt.Sprintf(format, args...)})
	}
	byName := r.nodesByName()
	problem := r.Lowered.Problem
	at := make([]ir.ProcID, problem.Graph.NumNodes())
	for i := range at {
		at[i] = ir.NoProc
	}
	procs := problem.Platform.Processors
	for _, e := range r.Options.Place {
		p, err := r.Fleet.Processor(e.Processor)
		if err != nil {
			problems = append(problems, &diag.Error{File: r.Options.PlacementFile, Msg: "place", Err: err})
			continue
		}
		for _, name := range e.Nodes {
			n, ok := byName[name]
			switch {
			case !ok:
				fail("", "place: no node that runs and no value of the model is called %q; `dnnsplit inspect` lists the names", name)
			case at[n] == p:
			case at[n] != ir.NoProc:
				fail(name, "place: it is placed on %s, and it or a node that it cannot be cut from on %s", e.Processor, procs[at[n]].Name)
			case problem.Costs.Of(n, p) == ir.Unsupported:
				fail(name, "place: it cannot run on %s: the profile does not support it, or pin and forbid rule it out", e.Processor)
			default:
				at[n] = p
			}
		}
	}
	if err := problems.Err(); err != nil {
		return err
	}
	for i, p := range at {
		if p == ir.NoProc {
			continue
		}
		for q := range procs {
			if ir.ProcID(q) != p {
				problem.Costs.Set(ir.NodeID(i), ir.ProcID(q), ir.Unsupported)
			}
		}
	}
	return nil
}

// nodesByName finds the node of the execution graph that stands for a node of the
// model, by that node's name or by the name of a value that it makes. A node's
// name beats a value's.
func (r *Result) nodesByName() map[string]ir.NodeID {
	byName := map[string]ir.NodeID{}
	unit := map[int32]ir.NodeID{}
	for id, members := range r.Lowered.Members {
		for _, m := range members {
			unit[m] = ir.NodeID(id)
		}
	}
	for i := range r.Analysis.Nodes {
		info := &r.Analysis.Nodes[i]
		if id, ok := unit[info.Index]; ok {
			for _, v := range info.Outputs() {
				byName[v] = id
			}
		}
	}
	for i := range r.Analysis.Nodes {
		if id, ok := unit[r.Analysis.Nodes[i].Index]; ok {
			byName[r.Analysis.Nodes[i].Name] = id
		}
	}
	g := r.Lowered.Problem.Graph
	for i := range g.NumNodes() { // nodes that stand for stored values only
		if name := g.NodeName(ir.NodeID(i)); strings.HasPrefix(name, "(") {
			if _, taken := byName[name]; !taken {
				byName[name] = ir.NodeID(i)
			}
		}
	}
	return byName
}
