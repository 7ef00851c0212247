package frontend

import (
	"container/heap"
	"context"
	"fmt"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// structure is the main graph with its names resolved: who makes what, who
// reads what (captures of nested graphs included), and a valid order.
type structure struct {
	file  string
	graph *onnxpb.GraphProto

	stored    map[string]bool  // initializers, dense and sparse
	inputs    map[string]bool  // graph inputs that no initializer overrides
	producer  map[string]int32 // value → index of the node that makes it
	reads     [][]string       // by node: distinct values it depends on, captures included
	captures  [][]string       // by node: the part of reads that only nested graphs name
	order     []int32          // node indices, topological, as close to the file's order as can be
	inOrder   bool             // the file's own order is valid
	outputs   []string         // graph outputs, as listed
	functions map[functionKey]*onnxpb.FunctionProto

	// hides are pairs of nodes: a nested graph of the first makes a value of the name
	// of one that the second makes. Runtimes take that where the second comes after
	// the first, as they read; so the two must stay in one sub-model.
	hides [][2]int32
}

type functionKey struct{ domain, name, overload string }

// domainOf spells the default domain one way.
func domainOf(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

func (k functionKey) String() string {
	s := k.name
	if k.domain != "" {
		s = k.domain + "::" + s
	}
	if k.overload != "" {
		s += ":" + k.overload
	}
	return s
}

func keyOf(n *onnxpb.NodeProto) functionKey {
	return functionKey{domainOf(n.GetDomain()), n.GetOpType(), n.GetOverload()}
}

// resolve checks the names of a model and orders its nodes.
func resolve(ctx context.Context, file string, m *onnxpb.ModelProto) (*structure, error) {
	g := m.GetGraph()
	s := &structure{
		file: file, graph: g,
		stored: make(map[string]bool, len(g.GetInitializer())), inputs: map[string]bool{},
		producer:  make(map[string]int32, len(g.GetNode())),
		functions: map[functionKey]*onnxpb.FunctionProto{},
	}
	if err := s.checkOpsets(m); err != nil {
		return nil, err
	}
	if err := s.collectFunctions(m); err != nil {
		return nil, err
	}
	var problems diag.List
	bad := func(node, value, format string, args ...any) {
		problems = append(problems, &diag.Error{File: file, Node: node, Value: value, Msg: fmt.Sprintf(format, args...)})
	}
	for _, t := range g.GetInitializer() {
		s.stored[t.GetName()] = true
	}
	for _, t := range g.GetSparseInitializer() {
		s.stored[t.GetValues().GetName()] = true
	}
	if s.stored[""] {
		bad("", "", "an initializer has no name")
	}
	listed := map[string]bool{}
	for i, v := range g.GetInput() {
		name := v.GetName()
		switch {
		case name == "":
			bad("", "", "graph input %d has no name", i)
		case listed[name]:
			bad("", name, "it is listed twice as a graph input")
		}
		listed[name] = true
		if !s.stored[name] {
			s.inputs[name] = true
		}
	}
	for i, n := range g.GetNode() {
		for _, out := range n.GetOutput() {
			if out == "" {
				continue
			}
			if first, dup := s.producer[out]; dup {
				switch {
				case int(first) != i && isConstantNode(n) && isConstantNode(g.GetNode()[first]):
					// Against the standard, but ONNX Runtime makes both initializers, and the last counts.
					s.producer[out] = int32(i)
				case int(first) == i:
					bad(nodeLabel(g, i), out, "the node lists it twice as an output")
				default:
					bad(nodeLabel(g, i), out, "node %q makes it too, each value must have one producer", nodeLabel(g, int(first)))
				}
				continue
			}
			if s.inputs[out] || s.stored[out] {
				bad(nodeLabel(g, i), out, "the node's output has the name of a graph input or initializer")
				continue
			}
			s.producer[out] = int32(i)
		}
	}
	at := int32(0)
	outer := &scope{
		defined: func(name string) bool {
			_, made := s.producer[name]
			return made || s.inputs[name] || s.stored[name]
		},
		before: func(name string) bool {
			p, made := s.producer[name]
			return made && p < at || s.inputs[name] || s.stored[name]
		},
		hidden: func(name string) {
			if p := s.producer[name]; p != at {
				s.hides = append(s.hides, [2]int32{at, p})
			}
		},
	}
	s.reads = make([][]string, len(g.GetNode()))
	s.captures = make([][]string, len(g.GetNode()))
	for i, n := range g.GetNode() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		at = int32(i)
		seen := map[string]bool{}
		for _, in := range n.GetInput() {
			if in == "" || seen[in] {
				continue
			}
			seen[in] = true
			if !outer.has(in) {
				bad(nodeLabel(g, i), in, "the node reads it, but no node makes it and it is no graph input or initializer")
				continue
			}
			s.reads[i] = append(s.reads[i], in)
		}
		capture := func(name string) {
			if !seen[name] {
				seen[name] = true
				s.reads[i] = append(s.reads[i], name)
				s.captures[i] = append(s.captures[i], name)
			}
		}
		for _, body := range bodies(n) {
			if err := outer.resolveBody(body, capture); err != nil {
				problems = append(problems, &diag.Error{File: file, Node: nodeLabel(g, i), Value: err.value, Msg: err.msg})
			}
		}
	}
	for i, v := range g.GetOutput() {
		name := v.GetName()
		if !outer.has(name) {
			if name == "" {
				bad("", "", "graph output %d has no name", i)
			} else {
				bad("", name, "it is a graph output, but no node makes it and it is no graph input or initializer")
			}
		}
		s.outputs = append(s.outputs, name)
	}
	if err := problems.Err(); err != nil {
		return nil, err
	}
	return s, s.sort()
}

func isConstantNode(n *onnxpb.NodeProto) bool {
	return n.GetOpType() == "Constant" && domainOf(n.GetDomain()) == ""
}

// nodeLabel names a node for people: its name, or its op and index.
func nodeLabel(g *onnxpb.GraphProto, i int) string {
	n := g.GetNode()[i]
	if n.GetName() != "" {
		return n.GetName()
	}
	return fmt.Sprintf("%s#%d", n.GetOpType(), i)
}

// bodies are the graphs in a node's attributes, in attribute order.
func bodies(n *onnxpb.NodeProto) []*onnxpb.GraphProto {
	var out []*onnxpb.GraphProto
	for _, a := range n.GetAttribute() {
		if a.G != nil {
			out = append(out, a.G)
		}
		out = append(out, a.GetGraphs()...)
	}
	return out
}

// scope is a chain of sets of names that a nested graph can see.
type scope struct {
	defined func(string) bool
	before  func(string) bool // defined before the node that is looked into; nil: nothing is
	hidden  func(string)      // a nested graph makes a defined name that is not before; nil: nobody cares
	outer   *scope
}

func (s *scope) has(name string) bool {
	for ; s != nil; s = s.outer {
		if s.defined(name) {
			return true
		}
	}
	return false
}

// shadow says whether a name that a nested graph makes hides one that is there
// already. Names that come later, the node's own outputs among them, it may use.
func (s *scope) shadow(name string) bool {
	for ; s != nil; s = s.outer {
		switch {
		case !s.defined(name):
		case s.before != nil && s.before(name):
			return true
		case s.hidden != nil:
			s.hidden(name)
		}
	}
	return false
}

type bodyError struct{ value, msg string }

// resolveBody checks a nested graph and reports the names that it takes from
// outermost scope s. Nesting is bounded by the reader.
func (s *scope) resolveBody(g *onnxpb.GraphProto, capture func(string)) *bodyError {
	return resolveNested(g, s, s, capture)
}

func resolveNested(g *onnxpb.GraphProto, outer, main *scope, capture func(string)) *bodyError {
	local := map[string]bool{}
	for _, v := range g.GetInput() {
		local[v.GetName()] = true
	}
	for _, t := range g.GetInitializer() {
		local[t.GetName()] = true
	}
	for _, t := range g.GetSparseInitializer() {
		local[t.GetValues().GetName()] = true
	}
	made := map[string]int{}
	for i, n := range g.GetNode() {
		for _, out := range n.GetOutput() {
			if out == "" {
				continue
			}
			if _, twice := made[out]; twice || local[out] {
				return &bodyError{out, "a nested graph makes it twice"}
			}
			if outer.shadow(out) {
				return &bodyError{out, "a nested graph makes a value of that name, which the graph around it has already"}
			}
			made[out] = i
		}
	}
	at := 0
	here := &scope{
		outer: outer,
		defined: func(name string) bool {
			_, ok := made[name]
			return ok || local[name]
		},
		before: func(name string) bool {
			i, ok := made[name]
			return ok && i < at || local[name]
		},
	}
	use := func(name string) *bodyError {
		if name == "" || here.defined(name) {
			return nil
		}
		for o := outer; o != main; o = o.outer {
			if o.defined(name) {
				return nil
			}
		}
		if !main.has(name) {
			return &bodyError{name, "a nested graph reads it, but nothing defines it"}
		}
		capture(name)
		return nil
	}
	for i, n := range g.GetNode() {
		at = i
		for _, in := range n.GetInput() {
			if err := use(in); err != nil {
				return err
			}
		}
		for _, body := range bodies(n) {
			if err := resolveNested(body, here, main, capture); err != nil {
				return err
			}
		}
	}
	for _, v := range g.GetOutput() {
		if err := use(v.GetName()); err != nil {
			return err
		}
	}
	return nil
}

func (s *structure) checkOpsets(m *onnxpb.ModelProto) error {
	for _, o := range m.GetOpsetImport() {
		if o.GetVersion() < 1 {
			name := o.GetDomain()
			if name == "" {
				name = "ai.onnx"
			}
			return &diag.Error{File: s.file, Msg: fmt.Sprintf("it imports version %d of operator set %s, versions start at 1", o.GetVersion(), name)}
		}
	}
	return nil
}

// collectFunctions indexes the model's functions and refuses recursive ones.
func (s *structure) collectFunctions(m *onnxpb.ModelProto) error {
	var keys []functionKey
	for _, f := range m.GetFunctions() {
		k := functionKey{domainOf(f.GetDomain()), f.GetName(), f.GetOverload()}
		if s.functions[k] == nil {
			keys = append(keys, k)
		}
		s.functions[k] = f
	}
	const (
		unseen = iota
		open
		done
	)
	state := map[functionKey]int{}
	// A stack of our own: call chains are as long as the file wants.
	type frame struct {
		key   functionKey
		calls []functionKey
	}
	for _, root := range keys {
		if state[root] != unseen {
			continue
		}
		stack := []frame{{root, s.calls(s.functions[root].GetNode())}}
		state[root] = open
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.calls) == 0 {
				state[top.key] = done
				stack = stack[:len(stack)-1]
				continue
			}
			next := top.calls[0]
			top.calls = top.calls[1:]
			switch state[next] {
			case open:
				var chain []string
				for _, f := range stack {
					if len(chain) > 0 || f.key == next {
						chain = append(chain, f.key.String())
					}
				}
				return &diag.Error{File: s.file, Msg: "function " + next.String() + " calls itself: " + strings.Join(append(chain, next.String()), " -> ")}
			case unseen:
				state[next] = open
				stack = append(stack, frame{next, s.calls(s.functions[next].GetNode())})
			}
		}
	}
	return nil
}

// calls lists the functions that nodes call, nested graphs included, each once, in order.
func (s *structure) calls(nodes []*onnxpb.NodeProto) []functionKey {
	var out []functionKey
	seen := map[functionKey]bool{}
	walkNodes(nodes, func(n *onnxpb.NodeProto) {
		if k := keyOf(n); s.functions[k] != nil && !seen[k] {
			seen[k] = true
			out = append(out, k)
		}
	})
	return out
}

// walkNodes visits nodes and those of their nested graphs.
func walkNodes(nodes []*onnxpb.NodeProto, visit func(*onnxpb.NodeProto)) {
	for _, n := range nodes {
		visit(n)
		for _, body := range bodies(n) {
			walkNodes(body.GetNode(), visit)
		}
	}
}

// sort orders the nodes topologically: always the ready node that stands first
// in the file, so that a valid file keeps its order.
func (s *structure) sort() error {
	n := len(s.graph.GetNode())
	waits := make([]int32, n)
	users := make([][]int32, n)
	s.inOrder = true
	for i := range n {
		for _, v := range s.reads[i] {
			if p, ok := s.producer[v]; ok {
				users[p] = append(users[p], int32(i))
				waits[i]++
				s.inOrder = s.inOrder && int(p) < i
			}
		}
	}
	s.order = make([]int32, 0, n)
	if s.inOrder {
		for i := range n {
			s.order = append(s.order, int32(i))
		}
		return nil
	}
	ready := &indexHeap{}
	for i, w := range waits {
		if w == 0 {
			*ready = append(*ready, int32(i))
		}
	}
	for ready.Len() > 0 {
		i := heap.Pop(ready).(int32)
		s.order = append(s.order, i)
		for _, j := range users[i] {
			if waits[j]--; waits[j] == 0 {
				heap.Push(ready, j)
			}
		}
	}
	if len(s.order) == n {
		return nil
	}
	return &diag.Error{File: s.file, Msg: "its nodes depend on one another in a circle: " + s.cycle(waits)}
}

// cycle names the nodes of one cycle among those that still wait.
func (s *structure) cycle(waits []int32) string {
	at := int32(0)
	for waits[at] <= 0 {
		at++
	}
	seen := map[int32]int{}
	var path []int32
	for {
		if first, ok := seen[at]; ok {
			path = path[first:]
			break
		}
		seen[at] = len(path)
		path = append(path, at)
		for _, v := range s.reads[at] {
			if p, ok := s.producer[v]; ok && waits[p] > 0 {
				at = p
				break
			}
		}
	}
	const shown = 6
	var names []string
	for i := len(path) - 1; i >= 0; i-- { // path runs against the edges
		if len(names) == shown {
			names = append(names, fmt.Sprintf("... (%d nodes)", len(path)))
			break
		}
		names = append(names, nodeLabel(s.graph, int(path[i])))
	}
	return strings.Join(append(names, names[0]), " -> ")
}

type indexHeap []int32

func (h indexHeap) Len() int           { return len(h) }
func (h indexHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h indexHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *indexHeap) Push(x any)        { *h = append(*h, x.(int32)) }
func (h *indexHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
