package frontend

import (
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/work"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// A unit is what is never cut: one node that runs, a group of nodes that runtimes
// fuse, or nodes that are kept together because what they pass cannot travel. It
// is one node of the graph.

// UnitOp is what node n of the graph is to a fleet and to a measurement. A unit of
// several nodes has a signature of its own and its nodes as members. A node that
// only carries constants is the zero Op.
func (a *Analysis) UnitOp(l *ir.Lowered, n ir.NodeID) profiles.Op {
	members := l.Members[n]
	if len(members) == 0 {
		return profiles.Op{}
	}
	unit := make([]int32, len(members))
	for i, index := range members {
		unit[i] = a.at[index]
	}
	slices.Sort(unit)
	return a.unitOp(unit, l.Problem.Graph.Op(n), l.Fused[n])
}

// UnitNodes are the nodes of a unit, in the order in which they run.
func (a *Analysis) UnitNodes(l *ir.Lowered, n ir.NodeID) []*NodeInfo {
	nodes := make([]*NodeInfo, len(l.Members[n]))
	for i, index := range l.Members[n] {
		nodes[i] = &a.Nodes[a.at[index]]
	}
	slices.SortFunc(nodes, func(x, y *NodeInfo) int { return int(a.at[x.Index]) - int(a.at[y.Index]) })
	return nodes
}

// unitOp is UnitOp for indices into a.Nodes, ascending.
func (a *Analysis) unitOp(unit []int32, kind string, fused bool) profiles.Op {
	lead := &a.Nodes[a.lead(unit)]
	if len(unit) == 1 {
		return lead.ProfileOp()
	}
	op := profiles.Op{Type: kind, Fused: fused, Elem: lead.Work.Elem}
	if fused {
		op.Kernel = kernelOf(lead)
	}
	protos := make([]*onnxpb.NodeProto, len(unit))
	made := make(map[string]bool, len(unit))
	for i, k := range unit {
		protos[i] = a.Nodes[k].proto
		for _, out := range protos[i].GetOutput() {
			made[out] = true
		}
		op.Members = append(op.Members, a.Nodes[k].ProfileOp())
	}
	op.Signature = work.UnitSignature(a.Shapes.Main(), kind, protos)
	inside := a.insideOnly(unit, made)
	for _, k := range unit {
		n := &a.Nodes[k]
		read, written := n.Work.ReadBytes, n.Work.WriteBytes
		for _, in := range a.s.reads[n.Index] {
			switch {
			case made[in]:
				read -= a.value(in).Bytes
			case n.Type == "DequantizeLinear" && fused && !a.s.isConstant(in, a.roles):
				// Between DequantizeLinear and QuantizeLinear the arithmetic is on integers.
				if e := a.value(in).Type.Elem; e == ir.Int8 || e == ir.Uint8 {
					op.Elem = ir.Int8
				}
			}
		}
		for _, out := range n.proto.GetOutput() {
			if inside[out] {
				written -= a.value(out).Bytes
			}
		}
		op.FLOPs = saturate(op.FLOPs, n.Work.FLOPs)
		op.Bytes = saturate(op.Bytes, saturate(max(read, 0), max(written, 0)))
	}
	return op
}

// insideOnly tells the values that a unit makes and nobody else reads.
func (a *Analysis) insideOnly(unit []int32, made map[string]bool) map[string]bool {
	reads := make(map[string]int, len(made)) // by readers in the unit
	for _, k := range unit {
		for _, in := range a.s.reads[a.Nodes[k].Index] {
			if made[in] {
				reads[in]++
			}
		}
	}
	inside := make(map[string]bool, len(made))
	for v, n := range reads {
		inside[v] = n == a.readers[v] && !a.outputs[v]
	}
	return inside
}

// lead is the node of a unit that does the most: by operations, then bytes.
func (a *Analysis) lead(unit []int32) int32 {
	best := unit[0]
	for _, k := range unit[1:] {
		x, y := &a.Nodes[k].Work, &a.Nodes[best].Work
		if x.FLOPs > y.FLOPs || x.FLOPs == y.FLOPs && saturate(x.ReadBytes, x.WriteBytes) > saturate(y.ReadBytes, y.WriteBytes) {
			best = k
		}
	}
	return best
}

// unitKind is the operator of a unit that is not fused: of several nodes, the
// distinct operators in order.
func (a *Analysis) unitKind(unit []int32) string {
	var ops []string
	for _, k := range unit {
		if op := a.Nodes[k].Op; !slices.Contains(ops, op) {
			ops = append(ops, op)
		}
	}
	if len(unit) > 1 && len(ops) == 1 {
		return ops[0] + "*"
	}
	return strings.Join(ops, "+")
}
