package frontend

import (
	"fmt"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/shape"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// A function is atomic: a call of it is one node, which one processor runs. Where
// a call holds a good part of the whole network that makes the model hard or
// impossible to split, so such calls are replaced by the function's body.
//
// The body's values and nodes get names that start with the call's and are unique
// in the model. A formal input becomes the value that the call passes, a formal
// output the value that the call makes; attributes that refer to the call's take
// its values, or the function's defaults. Semantics: "Functions" in the ONNX IR
// specification.

// Inlining says which function calls are replaced by their bodies.
type Inlining int

const (
	// InlineAuto replaces calls that hold more than inlineShare of the model's work.
	InlineAuto Inlining = iota
	// InlineNever keeps every call atomic.
	InlineNever
)

// inlineShare is the part of a model's work that one call may hold and stay
// atomic. A unit of that size costs a balanced split over four processors at most
// an eighth of its gain.
const inlineShare = 1.0 / 16

// largeCalls are the indices of the calls of functions that hold more than
// inlineShare of the work of the nodes that run.
func (a *Analysis) largeCalls() map[int32]bool {
	total := a.totalWeight()
	large := map[int32]bool{}
	for i := range a.Nodes {
		n := &a.Nodes[i]
		f := a.s.functions[keyOf(n.proto)]
		if f != nil && len(f.GetNode()) > 1 && n.weight() > inlineShare*total {
			large[n.Index] = true
		}
	}
	return large
}

// inline replaces calls by function bodies. It returns nil if nothing could be
// replaced, and notes on what could not. maxNodes bounds the node list.
func (a *Analysis) inline(m *onnxfile.Model, calls map[int32]bool, maxNodes int) (*onnxfile.Model, []string, error) {
	in := &inliner{
		a: a, model: m.Proto, opsets: map[string]int64{}, maxNodes: maxNodes, share: inlineShare * a.totalWeight(),
		used: map[string]bool{}, next: map[string]int{}, noted: map[string]bool{},
	}
	for _, o := range m.Proto.GetOpsetImport() {
		in.opsets[domainOf(o.GetDomain())] = max(in.opsets[domainOf(o.GetDomain())], o.GetVersion())
	}
	in.reserveNames()
	done := 0
	for i, n := range m.Proto.GetGraph().GetNode() {
		if !calls[int32(i)] {
			in.nodes = append(in.nodes, n)
			continue
		}
		if in.expand(n, nodeLabel(m.Proto.GetGraph(), i), a.Shapes.Main().Call(n)) {
			done++
		}
		if len(in.nodes) > maxNodes {
			return nil, nil, &diag.Error{File: a.File, Msg: fmt.Sprintf("its functions expand to more than %d nodes: keep them with --inline never, or raise --max-nodes", maxNodes)}
		}
	}
	if done == 0 {
		return nil, in.notes, nil
	}
	d, err := m.WithNodes(in.nodes, onnxfile.Additions{Opsets: in.added, Infos: in.infos})
	if err != nil {
		return nil, nil, &diag.Error{File: a.File, Err: err}
	}
	return d, in.notes, nil
}

// inliner is the state of one inlining.
type inliner struct {
	a        *Analysis
	model    *onnxpb.ModelProto
	share    float64          // calls of more weight are replaced
	maxNodes int              // expansion stops soon after so many
	opsets   map[string]int64 // by domain: what the model imports

	nodes []*onnxpb.NodeProto // the new list
	added []*onnxpb.OperatorSetIdProto
	infos []*onnxpb.ValueInfoProto

	used  map[string]bool // names of values and nodes anywhere in the model
	next  map[string]int  // by wanted name: the first number that may be free
	notes []string
	noted map[string]bool
}

// reserveNames notes every name of the model, nested graphs included.
func (in *inliner) reserveNames() {
	g := in.model.GetGraph()
	for _, t := range g.GetInitializer() {
		in.used[t.GetName()] = true
	}
	for _, t := range g.GetSparseInitializer() {
		in.used[t.GetValues().GetName()] = true
	}
	for _, v := range g.GetInput() {
		in.used[v.GetName()] = true
	}
	walkNodes(g.GetNode(), func(n *onnxpb.NodeProto) {
		in.used[n.GetName()] = true
		for _, v := range n.GetOutput() {
			in.used[v] = true
		}
		for _, b := range bodies(n) {
			for _, v := range b.GetInput() {
				in.used[v.GetName()] = true
			}
			for _, t := range b.GetInitializer() {
				in.used[t.GetName()] = true
			}
		}
	})
}

// fresh is an unused name like want.
func (in *inliner) fresh(want string) string {
	name := want
	for i := max(in.next[want], 2); in.used[name]; i++ {
		name = want + "~" + itoa(i)
		in.next[want] = i + 1
	}
	in.used[name] = true
	return name
}

// maxPrefix bounds the names of calls in calls in calls, in bytes.
const maxPrefix = 300

// expand adds the body of the function that n calls, in terms of the main graph;
// calls in it that are large are replaced too. s is the body as shape inference
// saw it, nil if it did not. Where the body cannot be had expand adds n itself,
// and notes why.
func (in *inliner) expand(n *onnxpb.NodeProto, label string, s *shape.Scope) bool {
	c, why := in.bind(n, label)
	if why == "" {
		why = in.importOpsets(c.f)
	}
	if why != "" {
		note := fmt.Sprintf("function %s stays one node: %s", keyOf(n), why)
		if !in.noted[note] {
			in.noted[note] = true
			in.notes = append(in.notes, note)
		}
		in.nodes = append(in.nodes, n)
		return false
	}
	for _, b := range c.f.GetNode() {
		if len(in.nodes) > in.maxNodes {
			return true // the caller says so
		}
		copied := c.node(b)
		f := in.a.s.functions[keyOf(b)]
		if f != nil && len(f.GetNode()) > 1 && s != nil && weightOf(in.a.count.Of(s, b)) > in.share {
			in.expand(copied, copied.GetName(), s.Call(b))
			continue
		}
		in.nodes = append(in.nodes, copied)
	}
	for _, v := range c.f.GetValueInfo() {
		if name := c.names[v.GetName()]; name != "" && !c.actual[name] {
			in.infos = append(in.infos, renamedInfo(v, name))
		}
	}
	in.nodes = append(in.nodes, c.copies...)
	return true
}

// bind makes the names of a call; why says in a clause why its body cannot be had.
func (in *inliner) bind(n *onnxpb.NodeProto, label string) (c *call, why string) {
	f := in.a.s.functions[keyOf(n)]
	label = strings.ToValidUTF8(label, "~") // manifests can hold no other names
	if len(label) > maxPrefix {
		label = strings.ToValidUTF8(label[:maxPrefix/2], "") + "~"
	}
	c = &call{in: in, f: f, prefix: label + "/", names: map[string]string{}, actual: map[string]bool{}, attrs: map[string]*onnxpb.AttributeProto{}}
	if len(n.GetInput()) > len(f.GetInput()) || len(n.GetOutput()) > len(f.GetOutput()) {
		return nil, "the call passes more values than the function takes"
	}
	if name := undefined(f); name != "" {
		return nil, fmt.Sprintf("its body reads %q, which nothing in it defines", name)
	}
	for i, formal := range f.GetInput() {
		c.names[formal] = ""
		if i < len(n.GetInput()) {
			c.names[formal] = n.GetInput()[i]
			c.actual[n.GetInput()[i]] = true
		}
	}
	for _, at := range f.GetAttributeProto() {
		c.attrs[at.GetName()] = at
	}
	for _, at := range n.GetAttribute() {
		c.attrs[at.GetName()] = at
	}
	// Outputs that the body does not make under a name of their own (a formal
	// input passed on, one value for two outputs) need an Identity.
	for i, formal := range f.GetOutput() {
		actual := ""
		if i < len(n.GetOutput()) {
			actual = n.GetOutput()[i]
		}
		if actual == "" {
			continue
		}
		c.actual[actual] = true
		from, taken := c.names[formal]
		switch {
		case !taken:
			c.names[formal] = actual
		case from == "":
			return nil, fmt.Sprintf("it hands on its input %q, which the call leaves out", formal)
		case in.opsets[""] == 0:
			return nil, "it hands a value on, and the model imports no operator set that could"
		default:
			c.copies = append(c.copies, &onnxpb.NodeProto{
				OpType: proto.String("Identity"), Name: proto.String(in.fresh(c.prefix + "Identity")),
				Input: []string{from}, Output: []string{actual},
			})
		}
	}
	for _, b := range f.GetNode() {
		for _, out := range b.GetOutput() {
			c.define(out)
		}
	}
	absent := ""
	walkNodes(f.GetNode(), func(b *onnxpb.NodeProto) {
		for _, g := range bodies(b) {
			for _, v := range g.GetOutput() {
				if to, ok := c.names[v.GetName()]; ok && to == "" {
					absent = v.GetName()
				}
			}
		}
	})
	if absent != "" {
		return nil, fmt.Sprintf("it hands on its input %q, which the call leaves out", absent)
	}
	return c, ""
}

// undefined is a name that a function's body or result reads and nothing in it defines.
func undefined(f *onnxpb.FunctionProto) string {
	defined := map[string]bool{"": true}
	for _, v := range f.GetInput() {
		defined[v] = true
	}
	for _, n := range f.GetNode() {
		for _, v := range n.GetOutput() {
			defined[v] = true
		}
	}
	main := &scope{defined: func(name string) bool { return defined[name] }}
	missing := ""
	note := func(name string) {
		if missing == "" && !defined[name] {
			missing = name
		}
	}
	for _, n := range f.GetNode() {
		for _, v := range n.GetInput() {
			note(v)
		}
		for _, b := range bodies(n) {
			if err := main.resolveBody(b, note); err != nil {
				note(err.value)
			}
		}
	}
	for _, v := range f.GetOutput() {
		note(v)
	}
	return missing
}

// importOpsets makes the model import what the function does. An operator set of
// another version than the model's bars inlining: its operators may mean
// something else.
func (in *inliner) importOpsets(f *onnxpb.FunctionProto) (why string) {
	used := map[string]bool{}
	walkNodes(f.GetNode(), func(n *onnxpb.NodeProto) { used[domainOf(n.GetDomain())] = true })
	var missing []*onnxpb.OperatorSetIdProto
	for _, o := range f.GetOpsetImport() {
		d := domainOf(o.GetDomain())
		have, ok := in.opsets[d]
		switch {
		case !used[d]:
		case !ok:
			missing = append(missing, o)
		case have != o.GetVersion():
			name := d
			if name == "" {
				name = "ai.onnx"
			}
			return fmt.Sprintf("it is written for version %d of operator set %s, the model for version %d", o.GetVersion(), name, have)
		}
	}
	for _, o := range missing {
		in.opsets[domainOf(o.GetDomain())] = o.GetVersion()
		in.added = append(in.added, o)
	}
	return ""
}

// call is the expansion of one call.
type call struct {
	in     *inliner
	f      *onnxpb.FunctionProto
	prefix string
	names  map[string]string // name in the body → name in the main graph; "": absent
	actual map[string]bool   // names of the main graph that the call passes or makes
	attrs  map[string]*onnxpb.AttributeProto
	copies []*onnxpb.NodeProto // of values that are handed on
	outer  *call               // of a nested graph: the graph around it
}

// define gives a value that the body makes a name in the main graph.
func (c *call) define(name string) {
	if _, ok := c.names[name]; !ok && name != "" {
		c.names[name] = c.in.fresh(c.prefix + name)
	}
}

func (c *call) name(name string) string {
	for ; c != nil; c = c.outer {
		if to, ok := c.names[name]; ok {
			return to
		}
	}
	return name
}

func (c *call) rename(names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = c.name(n)
	}
	return out
}

// node is a node of the body in terms of the main graph. Tensors are shared with
// the function, so that their contents stay in the file.
func (c *call) node(n *onnxpb.NodeProto) *onnxpb.NodeProto {
	out := &onnxpb.NodeProto{}
	shallowCopy(out, n)
	label := n.GetName()
	if label == "" {
		label = n.GetOpType()
	}
	out.Name = proto.String(c.in.fresh(c.prefix + label))
	out.Input = c.rename(n.GetInput())
	out.Output = c.rename(n.GetOutput())
	out.Attribute = nil
	for _, at := range n.GetAttribute() {
		if ref := at.GetRefAttrName(); ref != "" {
			actual := c.attrs[ref]
			if actual == nil {
				continue // neither passed nor defaulted: the operator's own default holds
			}
			bound := &onnxpb.AttributeProto{}
			shallowCopy(bound, actual)
			bound.Name = proto.String(at.GetName())
			out.Attribute = append(out.Attribute, bound)
			continue
		}
		if at.G == nil && len(at.GetGraphs()) == 0 {
			out.Attribute = append(out.Attribute, at)
			continue
		}
		nested := &onnxpb.AttributeProto{}
		shallowCopy(nested, at)
		if at.G != nil {
			nested.G = c.graph(at.G)
		}
		nested.Graphs = nil
		for _, g := range at.GetGraphs() {
			nested.Graphs = append(nested.Graphs, c.graph(g))
		}
		out.Attribute = append(out.Attribute, nested)
	}
	return out
}

// graph is a graph nested in the body. Its own names are renamed too: in the
// main graph they could collide with names around it.
func (c *call) graph(g *onnxpb.GraphProto) *onnxpb.GraphProto {
	inner := &call{in: c.in, prefix: c.prefix, attrs: c.attrs, names: map[string]string{}, outer: c}
	define := func(name string) {
		if name != "" {
			inner.names[name] = c.in.fresh(c.prefix + name)
		}
	}
	for _, v := range g.GetInput() {
		define(v.GetName())
	}
	for _, t := range g.GetInitializer() {
		define(t.GetName())
	}
	for _, t := range g.GetSparseInitializer() {
		define(t.GetValues().GetName())
	}
	for _, n := range g.GetNode() {
		for _, out := range n.GetOutput() {
			define(out)
		}
	}
	out := &onnxpb.GraphProto{}
	shallowCopy(out, g)
	out.Node, out.Input, out.Output, out.ValueInfo = nil, nil, nil, nil
	out.Initializer, out.SparseInitializer, out.QuantizationAnnotation = nil, nil, nil
	fed := map[string]bool{} // initializers that are inputs too: their contents are defaults that the node overrides
	for _, v := range g.GetInput() {
		fed[v.GetName()] = true
	}
	for _, t := range g.GetInitializer() {
		if fed[t.GetName()] {
			continue
		}
		out.Node = append(out.Node, constantNode(&onnxpb.AttributeProto{
			Name: proto.String("value"), Type: onnxpb.AttributeProto_TENSOR.Enum(), T: t,
		}, inner.name(t.GetName())))
	}
	for _, t := range g.GetSparseInitializer() {
		out.Node = append(out.Node, constantNode(&onnxpb.AttributeProto{
			Name: proto.String("sparse_value"), Type: onnxpb.AttributeProto_SPARSE_TENSOR.Enum(), SparseTensor: t,
		}, inner.name(t.GetValues().GetName())))
	}
	for _, n := range g.GetNode() {
		out.Node = append(out.Node, inner.node(n))
	}
	infos := func(list []*onnxpb.ValueInfoProto) (renamed []*onnxpb.ValueInfoProto) {
		for _, v := range list {
			renamed = append(renamed, renamedInfo(v, inner.name(v.GetName())))
		}
		return renamed
	}
	out.Input, out.Output, out.ValueInfo = infos(g.GetInput()), infos(g.GetOutput()), infos(g.GetValueInfo())
	return out
}

func renamedInfo(v *onnxpb.ValueInfoProto, name string) *onnxpb.ValueInfoProto {
	w := &onnxpb.ValueInfoProto{}
	shallowCopy(w, v)
	w.Name = proto.String(name)
	return w
}

// constantNode makes a stored tensor of a nested graph a node, which can have
// another name than the tensor while the tensor's contents stay in the file.
func constantNode(attr *onnxpb.AttributeProto, output string) *onnxpb.NodeProto {
	return &onnxpb.NodeProto{
		OpType: proto.String("Constant"), Name: proto.String(output), Output: []string{output},
		Attribute: []*onnxpb.AttributeProto{attr},
	}
}

// shallowCopy makes to a copy of from that shares what from points to.
func shallowCopy(to, from proto.Message) {
	t, f := to.ProtoReflect(), from.ProtoReflect()
	f.Range(func(d protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		t.Set(d, v)
		return true
	})
	t.SetUnknown(f.GetUnknown())
}
