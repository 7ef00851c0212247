package frontend

import "github.com/dnnsplit/dnnsplit/frontend/onnxpb"

// role says what becomes of a node of the model.
type role uint8

const (
	placed   role = iota // runs on a processor
	constant             // depends on stored values only: copied to whoever uses it
	dead                 // no graph output depends on it: left out
)

// classify finds the role of every node. A node is constant if it is
// deterministic and everything it reads is stored or constant; it is dead if no
// graph output depends on it.
func (s *structure) classify() []role {
	roles := make([]role, len(s.graph.GetNode()))
	pure := &purity{s: s, functions: map[functionKey]bool{}}
	for _, i := range s.order {
		n := s.graph.GetNode()[i]
		if !pure.node(n) || (len(s.reads[i]) == 0 && !generator(n)) {
			continue
		}
		roles[i] = constant
		for _, v := range s.reads[i] {
			if !s.isConstant(v, roles) {
				roles[i] = placed
				break
			}
		}
	}
	needed := make([]bool, len(roles))
	var stack []int32
	need := func(v string) {
		if p, ok := s.producer[v]; ok && !needed[p] {
			needed[p] = true
			stack = append(stack, p)
		}
	}
	for _, v := range s.outputs {
		need(v)
	}
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		for _, v := range s.reads[i] {
			need(v)
		}
	}
	for i := range roles {
		if !needed[i] {
			roles[i] = dead
		}
	}
	return roles
}

// isConstant says whether the value is stored or made by a constant node.
func (s *structure) isConstant(v string, roles []role) bool {
	if s.stored[v] {
		return true
	}
	p, ok := s.producer[v]
	return ok && roles[p] == constant
}

// generator says whether a node without inputs is known to make a constant.
func generator(n *onnxpb.NodeProto) bool {
	if domainOf(n.GetDomain()) != "" {
		return false
	}
	switch n.GetOpType() {
	case "Constant", "ConstantFill", "SequenceEmpty", "Optional", "If":
		return true
	}
	return false
}

// purity knows which nodes give the same result each time they run on the same
// inputs. Functions are judged once, by their bodies.
type purity struct {
	s         *structure
	functions map[functionKey]bool
}

// node is false for ops with randomness or state, and for ops of domains that
// nobody but their author knows.
func (p *purity) node(n *onnxpb.NodeProto) bool {
	k := keyOf(n)
	if f := p.s.functions[k]; f != nil {
		known, ok := p.functions[k]
		if !ok {
			known = p.nodes(f.GetNode()) // functions cannot call themselves: resolve has checked
			p.functions[k] = known
		}
		return known
	}
	switch k.domain {
	case "", "ai.onnx.ml", "com.microsoft", "com.microsoft.nchwc":
	default:
		return false
	}
	switch k.name {
	case "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli":
		return false
	case "Dropout":
		// Random only in training mode, which opset 12 and later ask for by the third input.
		if len(n.GetInput()) > 2 && n.GetInput()[2] != "" {
			return false
		}
	case "DropoutGrad", "BiasDropout", "BitmaskDropout", "BitmaskBiasDropout", "Sampling", "BeamSearch", "GreedySearch", "WhisperBeamSearch":
		return false
	}
	for _, body := range bodies(n) {
		if !p.nodes(body.GetNode()) {
			return false
		}
	}
	return true
}

func (p *purity) nodes(list []*onnxpb.NodeProto) bool {
	for _, n := range list {
		if !p.node(n) {
			return false
		}
	}
	return true
}
