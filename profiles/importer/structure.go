package importer

import (
	"math"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/dense"
)

// bounds of the search for a part of the graph that a layer can stand for
const nearParts = 256

// part is a connected piece of the graph whose nodes have no time yet.
type part struct {
	nodes  []int
	after  int // the order of the last layer that makes what it reads; -1 if none does
	before int // the order of the first layer that reads what it makes; MaxInt if none does
	layers int // that were matched with it
}

// loose finds the parts of the graph whose nodes satisfy open. Nodes that compute
// with shapes do not join others: they reach through the whole graph.
func (a *attribution) loose(open func(i int) bool) []part {
	sets := dense.NewSets(len(a.m.Nodes))
	member := func(i int) bool { return open(i) && !a.m.Nodes[i].Shapes }
	for i := range a.m.Nodes {
		for _, p := range a.reads[i] {
			if member(i) && member(p) {
				sets.Join(i, p)
			}
		}
	}
	at := map[int]int{}
	var parts []part
	for i := range a.m.Nodes {
		if !member(i) {
			continue
		}
		root := sets.Find(i)
		k, ok := at[root]
		if !ok {
			k = len(parts)
			at[root] = k
			parts = append(parts, part{after: -1, before: math.MaxInt})
		}
		p := &parts[k]
		p.nodes = append(p.nodes, i)
		for _, r := range a.reads[i] {
			for _, l := range a.taken[r] {
				p.after = max(p.after, a.t.layers[l].order)
			}
		}
		for _, u := range a.users[i] {
			for _, l := range a.taken[u] {
				p.before = min(p.before, a.t.layers[l].order)
			}
		}
	}
	return parts
}

// trusted says whether enough layers have a name of the model to conclude anything
// from what is left. Subgraphs that another compiler took as a whole do not count
// against it: they never have one.
func (a *attribution) trusted() bool {
	named, all := 0, 0
	for l := range a.t.layers {
		x := &a.t.layers[l]
		if x.own || x.copies || a.compiled(x) || a.t.format == ORTProfile && a.how[l] == unresolved && nameless(x) {
			continue
		}
		all++
		if a.how[l] != unresolved || a.why[l] != "" {
			named++
		}
	}
	return 2*named >= all
}

// compiled says whether a layer of ONNX Runtime is a subgraph that an execution
// provider compiled; it is named after the provider.
func (a *attribution) compiled(x *layer) bool {
	return a.t.format == ORTProfile && x.provider != "" && strings.HasPrefix(x.name, x.provider+"_")
}

// matchParts ties layers that nothing is known of to what is left of the graph.
func (a *attribution) matchParts() {
	var open []int
	for _, l := range a.inOrder() {
		if a.how[l] == unresolved && a.why[l] == "" {
			open = append(open, l)
		}
	}
	if len(open) == 0 {
		return
	}
	if !a.trusted() {
		for _, l := range open {
			a.why[l] = "names no node of the model"
		}
		return
	}
	parts := a.loose(func(i int) bool { return a.state[i] == noTime })
	parts = slices.DeleteFunc(parts, func(p part) bool {
		return !slices.ContainsFunc(p.nodes, func(i int) bool { return !a.m.Nodes[i].View })
	})
	for _, want := range []func(p *part, x *layer) bool{
		func(p *part, x *layer) bool { return p.layers == 0 && a.makes(p, x) },
		func(p *part, x *layer) bool { return p.layers == 0 },
		a.makes,
	} {
		rest := open[:0:0]
		from := 0
		for _, l := range open {
			x := &a.t.layers[l]
			for from < len(parts) && parts[from].before < x.order {
				from++
			}
			hit := -1
			for k := from; k < min(len(parts), from+nearParts) && hit < 0; k++ {
				if p := &parts[k]; p.after < x.order && x.order < p.before && want(p, x) {
					hit = k
				}
			}
			if hit < 0 {
				rest = append(rest, l)
				continue
			}
			parts[hit].layers++
			a.tie(l, slices.Clone(parts[hit].nodes), byStructure)
		}
		open = rest
	}
	// What the runtime inserted is work on behalf of who runs next.
	if a.t.format == ORTProfile {
		for _, b := range a.copies(func(x *layer) bool { return !a.compiled(x) }) {
			a.tie(b.layer, []int{b.node}, byNeighbour)
		}
	}
	for _, l := range open {
		if a.how[l] == unresolved {
			a.why[l] = "names no node of the model"
		}
	}
}

// makes says whether a node of the part makes what the layer does.
func (a *attribution) makes(p *part, x *layer) bool {
	return x.outputs != "" && slices.ContainsFunc(p.nodes, func(i int) bool { return strings.Join(a.m.Nodes[i].Types, " ") == x.outputs })
}

// absorb finds where the work of nodes without a layer went.
func (a *attribution) absorb() {
	if !a.trusted() {
		return
	}
	unitOf := make([]int, len(a.m.Nodes))
	for u := range a.m.Units {
		for _, i := range a.m.Units[u].Nodes {
			unitOf[i] = u
		}
	}
	for u := range a.m.Units {
		longest := -1
		for _, i := range a.m.Units[u].Nodes {
			for _, l := range a.taken[i] {
				if a.how[l] != byNeighbour && (longest < 0 || a.t.layers[l].us > a.t.layers[longest].us) {
					longest = l
				}
			}
		}
		for _, i := range a.m.Units[u].Nodes {
			if longest < 0 || a.state[i] != noTime {
				continue
			}
			l := a.above(i)
			if l < 0 || !slices.ContainsFunc(a.of[l], func(k int) bool { return unitOf[k] == u }) {
				l = longest
			}
			a.join(i, l)
		}
	}
	whole := a.t.format != ORTProfile || a.t.runs > 0
	for i := range a.m.Nodes {
		if n := &a.m.Nodes[i]; a.state[i] == noTime && n.Shapes && whole {
			a.state[i] = dropped
		}
	}
	open := func(i int) bool { return a.state[i] == noTime }
	ran := make([]bool, len(a.m.Nodes)) // the profile does not end before the node
	for _, p := range a.loose(open) {
		for _, i := range p.nodes {
			ran[i] = whole || p.before != math.MaxInt
		}
	}
	for i := range a.m.Nodes {
		if n := &a.m.Nodes[i]; open(i) && ran[i] && !n.View && follows(n.Op) {
			if l := a.above(i); l >= 0 {
				a.join(i, l)
			}
		}
	}
	for _, p := range a.loose(func(i int) bool { return open(i) && ran[i] }) {
		moves := slices.ContainsFunc(p.nodes, func(i int) bool { return !a.m.Nodes[i].View })
		best := a.host(&p)
		for _, i := range p.nodes {
			switch {
			case !moves && whole:
				a.state[i] = dropped
			case moves && best >= 0:
				a.join(i, best)
			}
		}
	}
}

// above is the layer of a heavy or rewritten node whose result node i works on,
// through nodes that were fused into it. Of several it is the last to run, since the
// others cannot wait for its result. -1 if there is none.
func (a *attribution) above(i int) int {
	best := -1
	for _, r := range a.reads[i] {
		candidates := a.taken[r]
		if a.state[r] == inFused {
			candidates = []int{a.fused[r]}
		}
		for _, l := range candidates {
			if a.how[l] == byNeighbour || a.state[r] == hasOwn && a.rank(l, r) < 2 {
				continue
			}
			if best < 0 || a.t.layers[l].order > a.t.layers[best].order {
				best = l
			}
		}
	}
	return best
}

// follows says whether runtimes commonly compute an operator on the result of
// another kernel before that is stored.
func follows(op string) bool {
	switch op {
	case "Relu", "LeakyRelu", "PRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Swish", "Mish", "Tanh", "Elu", "Celu", "Selu",
		"Gelu", "QuickGelu", "FastGelu", "BiasGelu", "Softplus", "Softsign", "ThresholdedRelu", "Erf", "Abs", "Neg", "Exp", "Sqrt", "Round",
		"Add", "Sub", "Mul", "Div", "Sum", "Min", "Max", "Pow", "BatchNormalization", "Cast", "QuantizeLinear", "DequantizeLinear":
		return true
	}
	return false
}

// host is the layer beside a part that most likely holds its work; of equal ones
// one that makes what the part reads, and of those the last to run. -1 if none is
// there. What is heavy itself is taken in only where the runtime rewrote the graph;
// else it is not run at all, such as the second of two equal nodes.
func (a *attribution) host(p *part) int {
	best, bestRank := -1, 0
	if slices.ContainsFunc(p.nodes, func(i int) bool { return heavy(a.m.Nodes[i].Op) }) {
		bestRank = 2
	}
	for pass, near := range [2][][]int{a.reads, a.users} {
		for _, i := range p.nodes {
			for _, r := range near[i] {
				for _, l := range a.taken[r] {
					if a.how[l] == byNeighbour {
						continue
					}
					rank := a.rank(l, r)
					if rank > bestRank || best >= 0 && pass == 0 && rank == bestRank && a.t.layers[l].order > a.t.layers[best].order {
						best, bestRank = l, rank
					}
				}
			}
		}
	}
	return best
}

func (a *attribution) join(i, l int) { a.fused[i], a.state[i] = l, inFused }

// rank says how likely a layer that is tied to a node holds the work of others: 3
// where the runtime rewrote the node, 2 where its operator commonly takes others in.
func (a *attribution) rank(l, node int) int {
	x, n := &a.t.layers[l], &a.m.Nodes[node]
	if a.ended[l] {
		return 1
	}
	if a.t.format == ORTProfile && x.op != n.Op || slices.ContainsFunc(x.claims, func(c claim) bool { return c.to != "" }) {
		return 3
	}
	if heavy(n.Op) {
		return 2
	}
	return 1
}

// heavy says whether an operator does so much that runtimes fuse others into it.
func heavy(op string) bool {
	switch op {
	case "Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "Gemm", "MatMul", "MatMulInteger", "QLinearMatMul",
		"LSTM", "GRU", "RNN", "Einsum", "LayerNormalization", "InstanceNormalization", "GroupNormalization", "Softmax":
		return true
	}
	return false
}
