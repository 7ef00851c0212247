package frontend

import (
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/profiles/importer"
)

// Traced is the model as profiles of its runs can speak of it. With l, its units
// are the nodes of that graph, as Lower or Graph made it; without, each node is one.
func (a *Analysis) Traced(l *ir.Lowered) *importer.Model {
	nodes := a.s.graph.GetNode()
	listed := make([]int, len(nodes)) // position among nodes that are no Constant
	n := 0
	for i, p := range nodes {
		listed[i] = n
		if !isConstantNode(p) {
			n++
		}
	}
	m := &importer.Model{File: a.File, Nodes: make([]importer.Node, len(a.Nodes))}
	for _, v := range a.s.graph.GetInput() {
		if a.s.inputs[v.GetName()] {
			m.Inputs = append(m.Inputs, v.GetName())
		}
	}
	symbols := a.symbols()
	for k := range a.Nodes {
		info := &a.Nodes[k]
		x := a.traced(info.Index, listed[info.Index], symbols)
		x.Label, x.Signature, x.Elem = info.Name, info.Signature, info.Work.Elem
		x.FLOPs, x.Bytes = info.Work.FLOPs, saturate(info.Work.ReadBytes, info.Work.WriteBytes)
		x.View = x.FLOPs == 0 && x.Bytes == 0
		m.Nodes[k] = x
	}
	for _, i := range a.s.order {
		if a.roles[i] != placed {
			m.Constants = append(m.Constants, a.traced(i, listed[i], symbols))
		}
	}
	if l == nil {
		for k := range m.Nodes {
			x := &m.Nodes[k]
			m.Units = append(m.Units, importer.Unit{
				Nodes: []int{k}, Signature: x.Signature, Op: x.Op, Domain: x.Domain, Elem: x.Elem, FLOPs: x.FLOPs, Bytes: x.Bytes,
			})
		}
		return m
	}
	for id, members := range l.Members {
		if len(members) == 0 {
			continue // it only carries constants
		}
		op := a.UnitOp(l, ir.NodeID(id))
		unit := importer.Unit{Signature: op.Signature, Op: op.Type, Domain: op.Domain, Elem: op.Elem, FLOPs: op.FLOPs, Bytes: op.Bytes}
		for _, index := range members {
			unit.Nodes = append(unit.Nodes, int(a.at[index]))
		}
		slices.Sort(unit.Nodes)
		m.Units = append(m.Units, unit)
	}
	return m
}

// traced describes a node by what the file says of it.
func (a *Analysis) traced(index int32, listed int, symbols map[string]bool) importer.Node {
	p := a.s.graph.GetNode()[index]
	x := importer.Node{
		Index: int(index), Listed: listed, Name: p.GetName(), Label: nodeLabel(a.s.graph, int(index)),
		Op: p.GetOpType(), Domain: domainOf(p.GetDomain()), Inputs: a.s.reads[index],
	}
	few := true
	for _, v := range p.GetOutput() {
		if v == "" {
			continue
		}
		x.Outputs = append(x.Outputs, v)
		val, _ := a.Shapes.Of(v) // of nodes that do not run it may be unknown
		text := ""
		if val.Type.Kind == ir.Tensor && val.Dims != nil && (!val.Assumed || bound(val.Type, symbols)) {
			text = ir.Type{Kind: ir.Tensor, Elem: val.Type.Elem, Shape: fixed(val.Dims)}.String()
		}
		x.Types = append(x.Types, text)
		elements, ok := ir.Elements(val.Dims)
		few = few && ok && elements <= maxShapeElements && (val.Type.Elem == ir.Int64 || val.Type.Elem == ir.Int32 || val.Type.Elem == ir.Bool)
	}
	x.Shapes = few
	body := func(n *onnxpb.NodeProto) {
		if n != p && n.GetName() != "" {
			x.Inner = append(x.Inner, n.GetName())
		}
	}
	walkNodes([]*onnxpb.NodeProto{p}, body)
	x.Nested = len(bodies(p)) > 0
	if f := a.s.functions[keyOf(p)]; f != nil {
		x.Nested = true
		walkNodes(f.GetNode(), body)
	}
	if at := strings.LastIndexByte(p.GetName(), '/'); at >= 0 {
		x.Inlined, _, _ = strings.Cut(p.GetName()[at+1:], "~") // behind it stands what makes names unique
	}
	return x
}

// bound says whether every extent of a type is a number or a symbol of a graph
// input: then the shape in a run follows from those of the inputs, and tells whether
// the run had the shapes that costs are for.
func bound(t ir.Type, symbols map[string]bool) bool {
	return t.Rank >= 0 && !slices.ContainsFunc(t.Shape, func(d ir.Dim) bool { return d.N < 0 && !symbols[d.Sym] })
}

// symbols are the names of extents of the graph inputs.
func (a *Analysis) symbols() map[string]bool {
	out := map[string]bool{}
	for _, v := range a.s.graph.GetInput() {
		for _, d := range v.GetType().GetTensorType().GetShape().GetDim() {
			if d.GetDimParam() != "" {
				out[d.GetDimParam()] = true
			}
		}
	}
	return out
}

// maxShapeElements is how large a tensor of whole numbers may be that counts as a
// shape: axes, extents, pads of a tensor of rank 8.
const maxShapeElements = 16

func fixed(dims []int64) []ir.Dim {
	out := make([]ir.Dim, len(dims))
	for i, d := range dims {
		out[i] = ir.Fixed(d)
	}
	return out
}
