package frontend

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/shape"
	"github.com/dnnsplit/dnnsplit/frontend/work"
)

// Analysis is what the front end knows of a model before any hardware: which
// nodes run, in which order, what they read, hold and do. It is immutable.
type Analysis struct {
	File   string
	Shapes *shape.Result
	Nodes  []NodeInfo // the nodes that run, in topological order
	// Constant and Dead count the nodes of the main graph that do not run: those
	// that depend on stored values only, and those no graph output depends on.
	Constant, Dead int
	Notes          []string

	// Model is what Index of a node refers to: the model that was analysed, or one
	// made from it in which calls of functions are replaced by their bodies.
	Model *onnxfile.Model

	s     *structure
	roles []role
	count *work.Counter

	at      []int32         // by index in the model's node list: the index into Nodes, -1 where it does not run
	readers map[string]int  // by value: how many nodes that run read it
	outputs map[string]bool // of the graph
}

// Options steer an analysis.
type Options struct {
	Shape    shape.Options
	Inline   Inlining
	MaxNodes int // of the node list after inlining; 0: a million
}

// NodeInfo describes a node that runs.
type NodeInfo struct {
	Index     int32  // in the model's node list
	Name      string // unique, valid UTF-8, not empty: the node's own name wherever that is all three
	Op        string // "domain::Type" outside the standard domain
	Domain    string // "" for ai.onnx
	Type      string // operator without its domain
	Work      work.Work
	Signature string
	Atomic    bool // holds nested graphs or calls a function: never cut inside

	proto *onnxpb.NodeProto
}

// Analyze resolves the model's names, classifies its nodes, infers shapes, counts
// work and, as o.Inline says, replaces calls of functions by their bodies. Errors
// are diag.Error or diag.List.
func Analyze(ctx context.Context, m *onnxfile.Model, o Options) (*Analysis, error) {
	if o.MaxNodes <= 0 {
		o.MaxNodes = 1e6
	}
	var notes []string
	for {
		a, err := analyze(ctx, m, o.Shape)
		if err != nil {
			return nil, err
		}
		var inlined *onnxfile.Model
		if calls := a.largeCalls(); o.Inline == InlineAuto && len(calls) > 0 {
			var why []string
			if inlined, why, err = a.inline(m, calls, o.MaxNodes); err != nil {
				return nil, err
			}
			if inlined == nil {
				notes = append(notes, why...)
			}
		}
		if inlined == nil {
			// Bodies do not call themselves, so every round ends some calls for good,
			// and calls in bodies are replaced with them: rounds are few.
			a.Notes = append(a.Notes, notes...)
			a.noteAtomic()
			return a, nil
		}
		m = inlined
	}
}

// analyze is Analyze without inlining.
func analyze(ctx context.Context, m *onnxfile.Model, o shape.Options) (*Analysis, error) {
	s, err := resolve(ctx, m.Path, m.Proto)
	if err != nil {
		return nil, err
	}
	shapes, err := shape.Infer(ctx, m, o)
	if err != nil {
		return nil, err
	}
	a := &Analysis{File: m.Path, Model: m, Shapes: shapes, s: s, roles: s.classify(), count: work.NewCounter()}
	a.at = slices.Repeat([]int32{-1}, len(s.graph.GetNode()))
	a.readers, a.outputs = make(map[string]int, len(s.order)), map[string]bool{}
	for _, v := range s.outputs {
		a.outputs[v] = true
	}
	var deadNodes []string
	name := newNamer(len(s.order))
	for _, i := range s.order {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		switch a.roles[i] {
		case constant:
			a.Constant++
			continue
		case dead:
			a.Dead++
			deadNodes = append(deadNodes, nodeLabel(s.graph, int(i)))
			continue
		}
		n := s.graph.GetNode()[i]
		info := NodeInfo{
			Index: i, Name: name.unique(n.GetName(), nodeLabel(s.graph, int(i))),
			Domain: domainOf(n.GetDomain()), Type: n.GetOpType(),
			Work: a.count.Of(shapes.Main(), n), Signature: work.Signature(shapes.Main(), n),
			Atomic: len(bodies(n)) > 0 || s.functions[keyOf(n)] != nil,
			proto:  n,
		}
		info.Op = info.Type
		if info.Domain != "" {
			info.Op = info.Domain + "::" + info.Type
		}
		a.at[i] = int32(len(a.Nodes))
		for _, v := range s.reads[i] {
			a.readers[v]++
		}
		a.Nodes = append(a.Nodes, info)
	}
	for _, n := range shapes.Notes() {
		a.Notes = append(a.Notes, n.String())
	}
	a.noteUnsized()
	if len(deadNodes) > 0 {
		a.Notes = append(a.Notes, diag.Count(len(deadNodes), "node is", "nodes are")+" left out because no graph output depends on them: "+listSome(deadNodes))
	}
	return a, nil
}

// noteAtomic names the nodes that hold a good part of the work and cannot be cut.
func (a *Analysis) noteAtomic() {
	total := a.totalWeight()
	for i := range a.Nodes {
		n := &a.Nodes[i]
		if share := n.weight() / total; n.Atomic && share > inlineShare && len(a.Nodes) > 1 {
			a.Notes = append(a.Notes, fmt.Sprintf("node %q (%s) holds %.0f%% of the model's work and runs on one processor: it is not cut inside", n.Name, n.Op, 100*share))
		}
	}
}

// weight is a measure of work that needs no processor: operations plus bytes.
func (n *NodeInfo) weight() float64 { return weightOf(n.Work) }

func weightOf(w work.Work) float64 {
	return float64(w.FLOPs) + float64(w.ReadBytes) + float64(w.WriteBytes) + 1
}

// totalWeight is that of all nodes that run.
func (a *Analysis) totalWeight() float64 {
	var total float64
	for i := range a.Nodes {
		total += a.Nodes[i].weight()
	}
	return total
}

// noteUnsized names the operators that work cannot size.
func (a *Analysis) noteUnsized() {
	var ops []string
	seen := map[string]bool{}
	for _, n := range a.Nodes {
		if !n.Work.Known && !seen[n.Op] {
			seen[n.Op] = true
			ops = append(ops, n.Op)
		}
	}
	if len(ops) > 0 {
		a.Notes = append(a.Notes, "the work of these operators is not known and counts as one operation for each output element: "+listSome(ops))
	}
}

// namer hands out names that are unique and valid UTF-8.
type namer struct{ used map[string]bool }

// newNamer makes room for that many names.
func newNamer(room int) *namer { return &namer{make(map[string]bool, room)} }

// unique returns want if it is free, else fallback, else fallback with a number.
func (n *namer) unique(want, fallback string) string {
	if want != "" && !n.used[want] && strings.ToValidUTF8(want, "") == want {
		n.used[want] = true
		return want
	}
	base := strings.ToValidUTF8(fallback, "�")
	name := base
	for i := 2; n.used[name]; i++ {
		name = base + "~" + itoa(i)
	}
	n.used[name] = true
	return name
}

// value is what the sizes of a value are for costs; every value that a placed
// node touches is known to the shapes.
func (a *Analysis) value(name string) shape.Value {
	v, ok := a.Shapes.Of(name)
	if !ok {
		diag.Bugf("shape inference does not know value %q", name)
	}
	return v
}

// nestedBytes is the size of the tensors stored inside the attributes of a node,
// at any depth, and of the functions it calls: weights that come with the node.
func nestedBytes(m *onnxfile.Model, n *onnxpb.NodeProto) int64 {
	var total int64
	add := func(t *onnxpb.TensorProto) {
		if t == nil {
			return
		}
		size, ok := ir.Elements(t.GetDims())
		if ok {
			size, ok = ir.StoredBytes(ir.ElemType(t.GetDataType()), size)
		}
		if info := m.Tensor(t); info != nil && (!ok || size == 0) {
			size = info.Data.Len()
		}
		total = saturate(total, size)
	}
	addSparse := func(t *onnxpb.SparseTensorProto) {
		add(t.GetValues())
		add(t.GetIndices())
	}
	walkNodes([]*onnxpb.NodeProto{n}, func(n *onnxpb.NodeProto) {
		for _, at := range n.GetAttribute() {
			add(at.T)
			for _, t := range at.GetTensors() {
				add(t)
			}
			if at.SparseTensor != nil {
				addSparse(at.SparseTensor)
			}
			for _, t := range at.GetSparseTensors() {
				addSparse(t)
			}
		}
		for _, body := range bodies(n) {
			for _, t := range body.GetInitializer() {
				add(t)
			}
			for _, t := range body.GetSparseInitializer() {
				addSparse(t)
			}
		}
	})
	return total
}

func saturate(a, b int64) int64 {
	if b > math.MaxInt64-a {
		return math.MaxInt64
	}
	return a + b
}

// GraphInputs are the model's inputs, as listed, those with a stored value left out.
func (a *Analysis) GraphInputs() []string {
	var names []string
	for _, v := range a.s.graph.GetInput() {
		if a.s.inputs[v.GetName()] {
			names = append(names, v.GetName())
		}
	}
	return names
}

// GraphOutputs are the model's outputs, as listed.
func (a *Analysis) GraphOutputs() []string { return slices.Clone(a.s.outputs) }

// Outputs are the values that the node makes, absent ones left out.
func (n *NodeInfo) Outputs() []string {
	var out []string
	for _, v := range n.proto.GetOutput() {
		if v != "" {
			out = append(out, v)
		}
	}
	return out
}
