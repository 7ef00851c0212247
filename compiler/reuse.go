package compiler

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
)

// earlier is where an earlier bundle ran a node.
type earlier struct {
	op        string
	processor string
}

// reuse pins every node that an earlier bundle has too, with the same operator
// and the same first output, to the processor it had there. Nodes of processors
// that the fleet no longer has, or that no longer support them, are free.
func (r *Result) reuse(ctx context.Context) error {
	dir := filepath.Dir(r.Options.Reuse)
	m, err := backend.ReadManifest(dir)
	if err != nil {
		return err
	}
	placed, err := earlierPlacement(ctx, dir, m)
	if err != nil {
		return err
	}
	l := r.Lowered
	procs := map[string]ir.ProcID{}
	for p, proc := range l.Problem.Platform.Processors {
		procs[proc.Name] = ir.ProcID(p)
	}
	kept, moved := 0, 0
	nodes := r.model.Proto.GetGraph().GetNode()
	for id, members := range l.Members {
		if len(members) == 0 {
			continue
		}
		n := ir.NodeID(id)
		var to string
		known := true
		for _, i := range members {
			e, ok := earlier{}, false
			for _, out := range nodes[i].GetOutput() {
				if out != "" {
					e, ok = placed[out]
					break
				}
			}
			known = known && ok && e.op == nodes[i].GetOpType() && (to == "" || to == e.processor)
			to = e.processor
		}
		if !known {
			continue
		}
		p, ok := procs[to]
		if !ok || l.Problem.Costs.Of(n, p) == ir.Unsupported {
			moved += len(members)
			continue
		}
		kept += len(members)
		for q := range l.Problem.Platform.Processors {
			if ir.ProcID(q) != p {
				l.Problem.Costs.Set(n, ir.ProcID(q), ir.Unsupported)
			}
		}
	}
	if kept == 0 {
		return &diag.Error{File: r.Options.Reuse, Msg: fmt.Sprintf("none of its nodes is in %s: is it the bundle of another model?", r.Options.Model)}
	}
	note := fmt.Sprintf("the placement of %s is kept for %d of %d nodes", r.Options.Reuse, kept, len(r.Analysis.Nodes))
	if moved > 0 {
		note += fmt.Sprintf("; %d more had a processor that is gone or does not support them", moved)
	}
	r.Notes = append(r.Notes, note)
	return nil
}

// earlierPlacement maps outputs of nodes to where the bundle in dir runs them.
// A node that stands in several sub-models, as its owner's and as replicas,
// belongs to the one that gives its output to others, else to the first.
func earlierPlacement(ctx context.Context, dir string, m *backend.Manifest) (map[string]earlier, error) {
	placed := map[string]earlier{}
	given := map[string]bool{}
	for _, s := range m.Submodels {
		gives := map[string]bool{}
		for _, v := range s.Outputs {
			gives[v] = true
		}
		sub, err := onnxfile.Open(ctx, filepath.Join(dir, s.File), onnxfile.Options{})
		if err != nil {
			return nil, err
		}
		for _, n := range sub.Proto.GetGraph().GetNode() {
			for _, out := range n.GetOutput() {
				if out == "" {
					continue
				}
				if _, dup := placed[out]; !dup || (gives[out] && !given[out]) {
					placed[out] = earlier{n.GetOpType(), s.Processor}
					given[out] = gives[out]
				}
			}
		}
		if err := sub.Close(); err != nil {
			return nil, err
		}
	}
	return placed, nil
}
