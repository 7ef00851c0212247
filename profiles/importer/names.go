package importer

import (
	"strconv"
	"strings"
)

// How a layer was tied to nodes.
type how uint8

const (
	unresolved  how = iota
	byName          // the layer has the node's name
	byPosition      // the node has no name; its operator and place in the graph agree
	byValue         // the layer is named after a value that the node makes
	byPart          // the layer's name holds the node's, with something added
	byList          // the runtime lists the nodes that the layer is made of
	byNeighbour     // a copy or change of layout, on behalf of the node beside it
	byStructure     // the only work that is left at this place of the graph
)

var howNames = [...]string{
	byName: "by name", byPosition: "by operator and position", byValue: "by the name of a value", byPart: "by a part of the name",
	byList: "by the runtime's list", byNeighbour: "copies and layout changes, to the node beside them", byStructure: "by structure",
}

// names finds nodes. A node is told by its index in Model.Nodes; constants follow
// behind, at len(Nodes) and on.
type names struct {
	m        *Model
	byName   map[string][]int
	byValue  map[string]int
	unnamed  map[string]int // "Op_index", both ways to count
	inner    map[string]bool
	holders  map[string]bool // names of nodes that hold graphs
	calls    map[string][]int
	prefixes map[string]int   // of inlined calls: how many of the operator came before
	seen     map[string]int   // by operator: inlined calls so far
	replaced map[string][]int // by the name inside a function: nodes that calls were replaced by, in order
	inputs   map[string]bool
}

func newNames(m *Model) *names {
	n := &names{
		m: m, byName: map[string][]int{}, byValue: map[string]int{}, unnamed: map[string]int{}, inner: map[string]bool{},
		holders: map[string]bool{}, calls: map[string][]int{}, prefixes: map[string]int{}, seen: map[string]int{}, replaced: map[string][]int{}, inputs: map[string]bool{},
	}
	for _, v := range m.Inputs {
		n.inputs[v] = true
	}
	for i := range len(m.Nodes) + len(m.Constants) {
		x := n.node(i)
		if x.Name != "" {
			n.byName[x.Name] = append(n.byName[x.Name], i)
		} else {
			// ONNX Runtime counts without Constant nodes; where that says two things, it wins.
			if key := x.Op + "_" + strconv.Itoa(x.Index); !n.has(key) {
				n.unnamed[key] = i
			}
			n.unnamed[x.Op+"_"+strconv.Itoa(x.Listed)] = i
		}
		for _, v := range x.Outputs {
			n.byValue[v] = i
		}
		if x.Inlined != "" {
			n.replaced[x.Inlined] = append(n.replaced[x.Inlined], i)
		}
		for _, name := range x.Inner {
			n.inner[name] = true
		}
		if x.Nested {
			if x.Name != "" {
				n.holders[x.Name] = true
			}
			n.calls[x.Op] = append(n.calls[x.Op], i)
		}
	}
	return n
}

func (n *names) has(unnamed string) bool { _, ok := n.unnamed[unnamed]; return ok }

func (n *names) node(i int) *Node {
	if i < len(n.m.Nodes) {
		return &n.m.Nodes[i]
	}
	return &n.m.Constants[i-len(n.m.Nodes)]
}

func (n *names) isMain(name string) bool  { return len(n.byName[name]) > 0 }
func (n *names) isInner(name string) bool { return n.inner[name] }
func (n *names) holds(name string) bool   { return n.holders[name] }

// exact finds the nodes of a name, or the one that makes the value of that name.
func (n *names) exact(name string) ([]int, how) {
	if nodes := n.byName[name]; len(nodes) > 0 {
		return nodes, byName
	}
	if i, ok := n.byValue[name]; ok {
		return []int{i}, byValue
	}
	return nil, unresolved
}

// Parts of names are looked for up to these bounds, so that long names of many
// separators cost little.
const (
	maxPartBytes = 2048
	maxParts     = 64
)

func separator(c byte) bool { return strings.IndexByte("/_.: -[]()+,;#|", c) >= 0 }

// part finds the longest beginning of a name that names a node or value.
func (n *names) part(name string) ([]int, how) {
	name = name[:min(len(name), maxPartBytes)]
	for i, tries := len(name)-1, 0; i > 0 && tries < maxParts; i-- {
		if !separator(name[i]) {
			continue
		}
		tries++
		if nodes, h := n.exact(name[:i]); h != unresolved {
			return nodes, byPart
		}
	}
	return nil, unresolved
}

// ending finds the longest end of a name that names a node or value.
func (n *names) ending(name string) ([]int, how) {
	name = name[max(0, len(name)-maxPartBytes):]
	for i, tries := 0, 0; i < len(name)-1 && tries < maxParts; i++ {
		if !separator(name[i]) {
			continue
		}
		tries++
		if nodes, h := n.exact(name[i+1:]); h != unresolved {
			return nodes, byPart
		}
	}
	return nil, unresolved
}

// ort finds the nodes of a layer of ONNX Runtime.
func (n *names) ort(l *layer) ([]int, how) {
	if nodes, h := n.exact(l.name); h != unresolved {
		return nodes, h
	}
	position := l.op + "_" + strconv.Itoa(l.index)
	if i, ok := n.unnamed[position]; ok && (l.name == position || l.name == "") {
		return []int{i}, byPosition
	}
	if nodes, h := n.inlined(l); h != unresolved {
		return nodes, h
	}
	// Nodes that ONNX Runtime inserts are named after their operator or after nothing:
	// "Transpose_token_3", "Unsqueeze_2".
	base := l.name
	if at := strings.LastIndex(base, "_token_"); at >= 0 {
		base = base[:at]
	}
	if base == l.op || l.name == "" || isCopyOp(l.op, l.name) {
		return nil, unresolved
	}
	if rest, ok := strings.CutPrefix(base, l.op+"_"); ok {
		if _, err := strconv.Atoi(rest); err == nil {
			return nil, unresolved
		}
	}
	if base != l.name {
		if nodes, h := n.exact(base); h != unresolved {
			return nodes, byPart
		}
	}
	if nodes, h := n.part(l.name); h != unresolved {
		return nodes, h
	}
	if rest, ok := strings.CutPrefix(l.name, fusedPrefix); ok {
		for _, name := range [2]string{rest, rest[:max(strings.LastIndexByte(rest, '/'), 0)]} {
			if nodes, h := n.exact(name); h != unresolved {
				return nodes, byPart
			}
		}
		return n.part(rest)
	}
	return nil, unresolved
}

const fusedPrefix = "fused " // before the name of a node that took others in

// nameless says whether a layer of ONNX Runtime has a name that it would have in any
// model: of its operator, of a branch that is always taken, or made from an empty one.
func nameless(l *layer) bool {
	base := l.name
	if at := strings.LastIndex(base, "_token_"); at >= 0 {
		base = base[:at]
	}
	if base == "" || base == l.op || strings.HasPrefix(base, fusedPrefix+"/") || strings.HasPrefix(base, "/") && strings.Contains(base, "Fusion") && strings.Count(base, "/") < 3 {
		return true
	}
	if strings.HasPrefix(base, "_if_") || strings.HasPrefix(base, "_inlfunc_") {
		return true
	}
	rest, ok := strings.CutPrefix(base, l.op+"_")
	_, err := strconv.Atoi(rest)
	return ok && err == nil
}

// inlined finds the call of a function that ONNX Runtime replaced by its body. The
// names of its nodes start with _inlfunc_ and the function's name; of several calls
// the first to run is the first in the model.
func (n *names) inlined(l *layer) ([]int, how) {
	rest, ok := strings.CutPrefix(strings.TrimPrefix(l.name, fusedPrefix), "_inlfunc_")
	if !ok {
		return nil, unresolved
	}
	if at := strings.LastIndexByte(rest, '/'); at > 0 && strings.Contains(rest[at:], "Fusion") {
		rest = rest[:at]
	}
	rest = rest[:min(len(rest), maxPartBytes)]
	for end := len(rest) - 1; end > 0; end-- {
		calls := n.calls[rest[:end]]
		if rest[end] != '_' || len(calls) == 0 {
			continue
		}
		op, prefix := rest[:end], rest[:end]
		if tail, ok := strings.CutPrefix(rest[end:], "_token_"); ok {
			digits := len(tail) - len(strings.TrimLeft(tail, "0123456789"))
			prefix += "_token_" + tail[:digits]
		}
		k, ok := n.prefixes[prefix]
		if !ok {
			k = n.seen[op]
			n.prefixes[prefix] = k
			n.seen[op]++
		}
		return []int{calls[min(k, len(calls)-1)]}, byPart
	}
	// The call was replaced here too: its nodes are named call/node.
	for at := len(rest) - 1; at > 0; at-- {
		if rest[at] != '_' {
			continue
		}
		key := rest[at+1:]
		if nodes := n.replaced[key]; len(nodes) > 0 {
			if len(nodes) > 1 {
				n.replaced[key] = nodes[1:] // of the next call
			}
			return nodes[:1], byPart
		}
	}
	return nil, unresolved
}

// claimed finds the nodes that a layer's claims name; a range is every node
// between its ends in the order of the model that no other layer names.
func (n *names) claimed(l *layer, taken func(node int) bool) ([]int, how) {
	var nodes []int
	in := map[int]bool{}
	found := unresolved
	add := func(more []int, h how) {
		for _, i := range more {
			if !in[i] {
				in[i] = true
				nodes = append(nodes, i)
			}
		}
		if h != unresolved && (found == unresolved || h > found) {
			found = h
		}
	}
	one := func(name string) ([]int, how) {
		nodes, h := n.exact(name)
		if h == unresolved {
			nodes, h = n.part(name)
		}
		return nodes, h
	}
	for _, c := range l.claims {
		if c.to == "" {
			add(one(c.from))
			continue
		}
		from, h1 := one(c.from)
		to, h2 := one(c.to)
		// Where one end is no node's name, the range goes on to what other layers name.
		switch {
		case h1 == unresolved && h2 == unresolved:
			continue
		case h2 == unresolved:
			to = from[:1]
			for to[0]+1 < len(n.m.Nodes) && !taken(to[0]+1) {
				to = []int{to[0] + 1}
			}
		case h1 == unresolved:
			from = to[:1]
			for from[0] > 0 && from[0] <= len(n.m.Nodes) && !taken(from[0]-1) {
				from = []int{from[0] - 1}
			}
		}
		first, last := min(from[0], to[0]), max(from[0], to[0])
		for i := first; i <= last && i < len(n.m.Nodes); i++ {
			if !taken(i) || i == from[0] || i == to[0] {
				add([]int{i}, byList)
			}
		}
		found = max(found, byList)
	}
	if found == byName && len(l.claims) > 1 {
		found = byList
	}
	return nodes, found
}
