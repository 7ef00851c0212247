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
	kept, lost := 0, 0
	for i := range problem.Graph.NumNodes() {
		n := ir.NodeID(i)
		to, ok := placed[problem.Graph.NodeName(n)]
		if !ok {
			continue
		}
		p, ok := procs[to]
		if !ok || problem.Costs.Of(n, p) == ir.Unsupported {
			lost++
			continue
		}
		kept++
		for q := range problem.Platform.Processors {
			if ir.ProcID(q) != p {
				problem.Costs.Set(n, ir.ProcID(q), ir.Unsupported)
			}
		}
	}
	if kept == 0 {
		return &diag.Error{File: r.Options.Reuse, Msg: fmt.Sprintf("none of its nodes can stay where it was: it is the bundle of another model than %s, or of another fleet", r.Options.Model)}
	}
	note := fmt.Sprintf("the placement of %s is kept for %d of %d nodes", r.Options.Reuse, kept, problem.Graph.NumNodes())
	if lost > 0 {
		note += fmt.Sprintf("; %d more had a processor that is gone or does not support them", lost)
	}
	r.Notes = append(r.Notes, note)
	return nil
}
