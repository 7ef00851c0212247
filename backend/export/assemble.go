package export

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// A split may have replaced calls of functions by their bodies. In such a case
// the model as it was split is put together again: the source model's nodes where
// they are in a sub-model, and the nodes that only sub-models have instead of the
// calls. Nodes that no output depends on are in no sub-model; they stay if they can.

// assembled is the list of nodes of the model as it was split.
type assembled struct {
	nodes  []*placed // sub is -1 for nodes that are in no sub-model
	opsets []*onnxpb.OperatorSetIdProto
}

// assemble finds the place of every node of the model.
func (j *job) assemble(m *onnxfile.Model, parts []*placed) (*assembled, error) {
	of := make(map[string]*placed, len(parts))
	for _, p := range parts {
		of[key(p.proto)] = p
	}
	a := &assembled{}
	made := map[string]bool{} // by nodes of the source that a sub-model has
	taken := map[*placed]bool{}
	var fields []onnxfile.Field
	for _, f := range m.GraphFields {
		if f.Num == graphNode {
			fields = append(fields, f)
		}
	}
	replaced := false
	for k, n := range m.Proto.GetGraph().GetNode() {
		p := of[key(n)]
		switch {
		case p == nil:
			a.nodes = append(a.nodes, &placed{proto: n, m: m, body: fields[k].Body, sub: -1, cost: -1})
		case !sameCall(n, p.proto):
			replaced = true // by nodes that the source does not have
		default:
			taken[p] = true
			a.nodes = append(a.nodes, &placed{proto: n, m: m, body: fields[k].Body, sub: p.sub, copies: p.copies, label: p.label, cost: p.cost})
			for _, out := range n.GetOutput() {
				made[out] = true
			}
		}
	}
	var fresh []*placed
	for _, p := range parts {
		if !taken[p] {
			fresh = append(fresh, p)
		}
	}
	if len(fresh) == 0 {
		return a, nil
	}
	if !replaced {
		return nil, &diag.Error{File: m.Path, Node: fresh[0].proto.GetName(), Value: key(fresh[0].proto), Msg: "a sub-model has this node, the model does not: it is not the model that was split"}
	}
	for _, p := range fresh {
		body, err := p.m.Encode(p.proto, embedded) // away from its sub-model's data file
		if err != nil {
			return nil, &diag.Error{File: p.m.Path, Node: p.proto.GetName(), Msg: "it cannot be encoded", Err: err}
		}
		p.body = body
	}
	a.nodes = append(a.nodes, fresh...)
	a.sort(m.Proto.GetGraph())
	j.addOpsets(a, m)
	return a, nil
}

// sameCall says whether two nodes with the same outputs are one.
func sameCall(a, b *onnxpb.NodeProto) bool {
	return a.GetOpType() == b.GetOpType() && a.GetDomain() == b.GetDomain() && a.GetOverload() == b.GetOverload() && slices.Equal(a.GetOutput(), b.GetOutput())
}

// embedded encodes a tensor with its contents.
func embedded(t *onnxfile.Tensor) (onnxfile.Chunk, error) { return t.Embedded() }

// sort puts the nodes into an order in which every value is made before it is
// read, as close to the present one as that goes, and drops nodes in no sub-model
// that read what nobody makes any more.
func (a *assembled) sort(g *onnxpb.GraphProto) {
	maker := map[string]int{}
	for i, p := range a.nodes {
		for _, out := range p.proto.GetOutput() {
			if out != "" {
				maker[out] = i
			}
		}
	}
	known := map[string]bool{}
	for _, v := range g.GetInput() {
		known[v.GetName()] = true
	}
	for _, t := range g.GetInitializer() {
		known[t.GetName()] = true
	}
	for _, t := range g.GetSparseInitializer() {
		known[t.GetValues().GetName()] = true
	}
	const untouched, open, done, dropped = 0, 1, 2, 3
	state := make([]uint8, len(a.nodes))
	var order []*placed
	// Depth first, with a stack of its own: chains may be long.
	type frame struct {
		node int
		deps []int
	}
	deps := func(i int) []int {
		var out []int
		for _, in := range a.nodes[i].proto.GetInput() {
			if m, ok := maker[in]; ok && m != i {
				out = append(out, m)
			}
		}
		for _, in := range reads(a.nodes[i].proto) {
			if m, ok := maker[in]; ok && m != i {
				out = append(out, m)
			}
		}
		return out
	}
	finish := func(i int) {
		p := a.nodes[i]
		for _, in := range p.proto.GetInput() {
			m, ok := maker[in]
			lost := ok && state[m] == dropped || !ok && !known[in] && in != ""
			if lost && p.sub < 0 {
				state[i] = dropped
				return
			}
		}
		state[i] = done
		order = append(order, p)
	}
	for i := range a.nodes {
		stack := []frame{}
		push := func(i int) {
			if state[i] == untouched {
				state[i] = open
				stack = append(stack, frame{i, deps(i)})
			}
		}
		push(i)
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.deps) == 0 {
				finish(top.node)
				stack = stack[:len(stack)-1]
				continue
			}
			next := top.deps[0]
			top.deps = top.deps[1:]
			push(next)
		}
	}
	a.nodes = order
}

// addOpsets finds the operator sets that sub-models import and the model does not.
func (j *job) addOpsets(a *assembled, m *onnxfile.Model) {
	have := map[string]bool{}
	for _, o := range m.Proto.GetOpsetImport() {
		have[domainOf(o.GetDomain())] = true
	}
	for _, c := range j.closers {
		sub, ok := c.(*onnxfile.Model)
		if !ok {
			continue
		}
		for _, o := range sub.Proto.GetOpsetImport() {
			if d := domainOf(o.GetDomain()); !have[d] {
				have[d] = true
				a.opsets = append(a.opsets, o)
			}
		}
	}
}

// domainOf is a domain with one spelling for the default one.
func domainOf(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}
