package compiler

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// reuse pins every node that an earlier bundle has too, by name, to the processor
// that owned it there. Nodes are free whose processor is gone or does not support
// them any more, and so are nodes that the bundle does not have.
func (r *Result) reuse() error {
	dir := r.Options.Reuse
	if st, err := os.Stat(dir); err != nil || !st.IsDir() {
		dir = filepath.Dir(dir)
	}
	m, err := backend.ReadManifest(dir)
	if err != nil {
		return err
	}
	placed := map[string]string{}
	for _, s := range m.Submodels {
		for _, n := range s.NodeNames {
			placed[n] = s.Processor
		}
	}
	problem := r.Lowered.Problem
	procs := map[string]ir.ProcID{}
	for p, proc := range problem.Platform.Processors {
		procs[proc.Name] = ir.ProcID(p)
	}
	kept, lost, total := 0, 0, 0 // nodes of the model
	for i := range problem.Graph.NumNodes() {
		n := ir.NodeID(i)
		names := r.Lowered.NamesOf(n)
		total += len(names)
		to, ok := placedTogether(placed, names)
		if !ok {
			continue
		}
		p, ok := procs[to]
		if !ok || problem.Costs.Of(n, p) == ir.Unsupported {
			lost += len(names)
			continue
		}
		kept += len(names)
		for q := range problem.Platform.Processors {
			if ir.ProcID(q) != p {
				problem.Costs.Set(n, ir.ProcID(q), ir.Unsupported)
			}
		}
	}
	if kept == 0 {
		return &diag.Error{File: r.Options.Reuse, Msg: fmt.Sprintf("none of its nodes can stay where it was: it is the bundle of another model than %s, or of another fleet", r.Options.Model)}
	}
	note := fmt.Sprintf("the placement of %s is kept for %d of %d nodes", r.Options.Reuse, kept, total)
	if lost > 0 {
		note += fmt.Sprintf("; %d more had a processor that is gone or does not support them", lost)
	}
	r.Notes = append(r.Notes, note)
	return nil
}

// placedTogether is the processor that all nodes of a unit had. Nodes that are
// new do not count, so that a group may gain one.
func placedTogether(placed map[string]string, names []string) (string, bool) {
	at := ""
	for _, n := range names {
		to, ok := placed[n]
		if ok && at != "" && to != at {
			return "", false
		}
		if ok {
			at = to
		}
	}
	return at, at != ""
}
