package frontend

import (
	"context"
	"fmt"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// kernelOf names the kernel that a node's time goes to, where what is fused with it
// hardly counts: products and convolutions. "" for other nodes.
func kernelOf(n *NodeInfo) string {
	switch {
	case n.Domain != "":
		return ""
	case n.Type == "MatMul", n.Type == "Gemm", n.Type == "ConvTranspose":
		return n.Type
	case n.Type == "Conv" && n.Work.Kernel != "":
		return n.Type + " " + n.Work.Kernel
	}
	return ""
}

// ProfileOp is the node as a fleet prices it.
func (n *NodeInfo) ProfileOp() profiles.Op {
	return profiles.Op{
		Kernel: kernelOf(n),
		Domain: n.Domain, Type: n.Type, Signature: n.Signature, Elem: n.Work.Elem,
		FLOPs: n.Work.FLOPs, Bytes: saturate(n.Work.ReadBytes, n.Work.WriteBytes),
	}
}

// price fills the cost table. Pins and prohibitions make a unit unsupported.
func (lw *lowering) price(ctx context.Context, fleet *profiles.Fleet, o LowerOptions) error {
	l := lw.lowered
	procs := len(fleet.Platform.Processors)
	l.Problem.Costs = ir.NewCosts(l.Problem.Graph.NumNodes(), procs)
	l.Sources = make([]ir.CostSource, l.Problem.Graph.NumNodes()*procs)
	var problems diag.List
	for u := range l.Problem.Graph.NumNodes() {
		if err := ctx.Err(); err != nil {
			return err
		}
		id := ir.NodeID(u)
		var members []int32
		if u < len(lw.units) {
			members = lw.units[u]
		}
		var op profiles.Op // a node without members only carries constants and costs nothing
		if len(members) > 0 {
			op = lw.a.unitOp(members, l.Problem.Graph.Op(id), l.Fused[u])
		}
		supported := false
		for p := range procs {
			proc := ir.ProcID(p)
			total, source := ir.Time(0), ir.Measured
			if len(members) > 0 {
				total, source = fleet.Cost(proc, op)
			}
			if total >= ir.MaxTime {
				diag.Bugf("%s: node %q costs %d, which is more than Fleet.Cost gives", lw.a.File, l.Problem.Graph.NodeName(id), total)
			}
			if total != ir.Unsupported {
				supported = true
				l.Problem.Costs.Set(id, proc, total)
				l.Sources[u*procs+p] = source
			}
		}
		if !supported {
			k := lw.unsupportedMember(members, fleet)
			problems = append(problems, &diag.Error{File: lw.a.File, Node: lw.a.Nodes[k].Name, Msg: fmt.Sprintf("no processor of the fleet supports operator %s together with what must stay with it; allow it in a profile (supported/unsupported), or add a device that runs it", lw.a.Nodes[k].Op)})
		}
	}
	if err := problems.Err(); err != nil {
		return err
	}
	return lw.applyRules(fleet, o)
}

// unsupportedMember is the node to blame where no processor runs a unit: one
// that none supports, else the first.
func (lw *lowering) unsupportedMember(members []int32, fleet *profiles.Fleet) int32 {
	for _, k := range members {
		any := false
		for p := range fleet.Platform.Processors {
			any = any || fleet.Supports(ir.ProcID(p), lw.a.Nodes[k].Domain, lw.a.Nodes[k].Type)
		}
		if !any {
			return k
		}
	}
	return members[0]
}

// applyRules turns pins and prohibitions into unsupported entries. A rule that
// matches nothing, and rules that leave a node nowhere to run, are errors.
func (lw *lowering) applyRules(fleet *profiles.Fleet, o LowerOptions) error {
	costs := lw.lowered.Problem.Costs
	apply := func(flag string, rules []Rule, bars func(rule Rule, p ir.ProcID) bool) error {
		for _, r := range rules {
			hit := false
			for u, members := range lw.units {
				for _, k := range members {
					if !r.Pattern.MatchString(lw.a.Nodes[k].Name) {
						continue
					}
					hit = true
					for p := range fleet.Platform.Processors {
						if bars(r, ir.ProcID(p)) {
							costs.Set(ir.NodeID(u), ir.ProcID(p), ir.Unsupported)
						}
					}
				}
			}
			if !hit {
				return &diag.Error{File: lw.a.File, Msg: fmt.Sprintf("%s '%s=%s' matches no node; `dnnsplit inspect` lists the names", flag, r.Pattern, r.Name)}
			}
		}
		return nil
	}
	if err := apply("--pin", o.Pins, func(r Rule, p ir.ProcID) bool { return !slices.Contains(r.On, p) }); err != nil {
		return err
	}
	if err := apply("--forbid", o.Forbids, func(r Rule, p ir.ProcID) bool { return slices.Contains(r.On, p) }); err != nil {
		return err
	}
	for u, members := range lw.units {
		free := false
		for p := range fleet.Platform.Processors {
			free = free || costs.Of(ir.NodeID(u), ir.ProcID(p)) != ir.Unsupported
		}
		if !free {
			n := lw.a.Nodes[members[0]]
			return &diag.Error{File: lw.a.File, Node: n.Name, Msg: "--only, --pin and --forbid leave no processor that supports operator " + n.Op}
		}
	}
	return nil
}
