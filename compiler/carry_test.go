package compiler_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"google.golang.org/protobuf/proto"
)

// TestCarriesOnlyWhatItUses looks at every sub-model of every small model in
// every cut: all of it is the source's, in the source's order, and is used.
func TestCarriesOnlyWhatItUses(t *testing.T) {
	t.Parallel()
	for _, c := range onnxtest.All() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel() // writing waits for the disk
			if refusals[c.Name] != "" {
				t.Skip("it is refused")
			}
			path := write(t, c.Name)
			source := readModel(t, path)
			for _, cut := range []corpus.Cut{corpus.Whole, corpus.Thirds, corpus.Shatter, corpus.Scatter} {
				dir := filepath.Join(t.TempDir(), "out")
				res, err := corpus.CutModel(t.Context(), path, dir, cut, 1, frontend.Options{Inline: frontend.InlineNever})
				if err != nil {
					t.Fatalf("%s: %v", cut, err)
				}
				constants := constantValues(source)
				for _, e := range res.Manifest.Edges {
					if constants[e.Tensor] {
						t.Errorf("%s: %q is sent, but it is a weight or a constant", cut, e.Tensor)
					}
				}
				for _, s := range res.Manifest.Submodels {
					x := &carried{t: t, where: fmt.Sprintf("%s, %s", cut, s.ID), source: source, sub: readModel(t, filepath.Join(dir, s.File))}
					x.check(constants, c.Tags.Has(onnxtest.ExternalData))
				}
			}
		})
	}
}

func readModel(t *testing.T, path string) *onnxpb.ModelProto {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	m := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return m
}

func bodiesOf(n *onnxpb.NodeProto) []*onnxpb.GraphProto {
	var l []*onnxpb.GraphProto
	for _, a := range n.GetAttribute() {
		if a.G != nil {
			l = append(l, a.G)
		}
		l = append(l, a.GetGraphs()...)
	}
	return l
}

// everyNode visits nodes and those nested in them.
func everyNode(nodes []*onnxpb.NodeProto, visit func(*onnxpb.NodeProto)) {
	for _, n := range nodes {
		visit(n)
		for _, g := range bodiesOf(n) {
			everyNode(g.GetNode(), visit)
		}
	}
}

// mentioned are all names that the nodes read at any depth, and the results of
// graphs in them.
func mentioned(nodes []*onnxpb.NodeProto) map[string]bool {
	names := map[string]bool{}
	everyNode(nodes, func(n *onnxpb.NodeProto) {
		for _, v := range n.GetInput() {
			names[v] = true
		}
		for _, g := range bodiesOf(n) {
			for _, v := range g.GetOutput() {
				names[v.GetName()] = true
			}
		}
	})
	return names
}

// constantValues are the source's stored values and what nodes without randomness
// compute from them and Constants alone.
func constantValues(m *onnxpb.ModelProto) map[string]bool {
	g := m.GetGraph()
	constant := map[string]bool{"": true}
	for _, t := range g.GetInitializer() {
		constant[t.GetName()] = true
	}
	for _, t := range g.GetSparseInitializer() {
		constant[t.GetValues().GetName()] = true
	}
	plain := map[string]bool{
		"Constant": true, "Identity": true, "Transpose": true, "Reshape": true, "Cast": true, "Mul": true, "Add": true,
		"Concat": true, "ConstantOfShape": true, "Unsqueeze": true, "DequantizeLinear": true, "EyeLike": true,
	}
	for changed := true; changed; {
		changed = false
	nodes:
		for _, n := range g.GetNode() {
			if !plain[n.GetOpType()] || n.GetDomain() != "" || len(n.GetOutput()) == 0 || constant[n.GetOutput()[0]] {
				continue
			}
			for _, v := range n.GetInput() {
				if !constant[v] {
					continue nodes
				}
			}
			constant[n.GetOutput()[0]] = true
			changed = true
		}
	}
	return constant
}

// carried checks one sub-model against its source.
type carried struct {
	t           *testing.T
	where       string
	source, sub *onnxpb.ModelProto
}

func (x *carried) errorf(format string, args ...any) {
	x.t.Helper()
	x.t.Errorf("%s: "+format, append([]any{x.where}, args...)...)
}

func (x *carried) check(constants map[string]bool, external bool) {
	g, src := x.sub.GetGraph(), x.source.GetGraph()
	reads := mentioned(g.GetNode())
	outputs, inputs, made := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, v := range g.GetOutput() {
		outputs[v.GetName()] = true
	}
	for _, v := range g.GetInput() {
		inputs[v.GetName()] = true
	}
	for _, n := range g.GetNode() {
		for _, v := range n.GetOutput() {
			made[v] = true
		}
	}
	x.nodes(g.GetNode(), src.GetNode(), external)
	for _, q := range g.GetQuantizationAnnotation() {
		for _, p := range q.GetQuantParameterTensorNames() {
			reads[p.GetValue()] = true
		}
	}
	x.weights(reads, outputs, external)
	stored := map[string]bool{}
	for _, t := range g.GetInitializer() {
		stored[t.GetName()] = true
	}
	for _, t := range g.GetSparseInitializer() {
		stored[t.GetValues().GetName()] = true
	}
	listed := map[string]bool{}
	for _, v := range src.GetInput() {
		listed[v.GetName()] = true
	}
	for _, v := range g.GetInput() {
		switch name := v.GetName(); {
		case stored[name] && !listed[name]:
			x.errorf("initializer %q has become an input", name)
		case !stored[name] && constants[name]:
			x.errorf("input %q is a weight or a constant", name)
		case !reads[name] && !outputs[name]:
			x.errorf("input %q is not used", name)
		}
	}
	for _, v := range g.GetOutput() {
		if name := v.GetName(); !made[name] && !stored[name] && !inputs[name] {
			x.errorf("output %q is not made", name)
		}
	}
	infos := map[string]*onnxpb.ValueInfoProto{}
	for _, v := range src.GetValueInfo() {
		infos[v.GetName()] = v
	}
	for _, v := range g.GetValueInfo() {
		switch name := v.GetName(); {
		case inputs[name] || outputs[name]:
			x.errorf("value info of %q, which is an input or output", name)
		case !made[name] && !stored[name]:
			x.errorf("value info of %q, which is not there", name)
		case !proto.Equal(v, infos[name]):
			x.errorf("value info of %q has changed", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(infos)) {
		kept := slices.ContainsFunc(g.GetValueInfo(), func(v *onnxpb.ValueInfoProto) bool { return v.GetName() == name })
		if made[name] && !outputs[name] && !kept {
			x.errorf("the value info of %q is gone", name)
		}
	}
	for _, q := range g.GetQuantizationAnnotation() {
		name := q.GetTensorName()
		if !made[name] && !stored[name] && !inputs[name] {
			x.errorf("quantization annotation of %q, which is not there", name)
		}
		if !slices.ContainsFunc(src.GetQuantizationAnnotation(), func(s *onnxpb.TensorAnnotation) bool { return proto.Equal(q, s) }) {
			x.errorf("quantization annotation of %q has changed", name)
		}
	}
	x.imports()
	if x.sub.GetIrVersion() != x.source.GetIrVersion() || x.sub.GetDocString() != x.source.GetDocString() || x.sub.GetProducerName() != x.source.GetProducerName() ||
		x.sub.GetDomain() != x.source.GetDomain() || x.sub.GetModelVersion() != x.source.GetModelVersion() || g.GetDocString() != src.GetDocString() {
		x.errorf("the model's header has changed")
	}
	for _, p := range x.source.GetMetadataProps() {
		if !slices.ContainsFunc(x.sub.GetMetadataProps(), func(q *onnxpb.StringStringEntryProto) bool { return proto.Equal(p, q) }) {
			x.errorf("metadata %v is gone", p)
		}
	}
	if !bytes.Equal(x.sub.ProtoReflect().GetUnknown(), x.source.ProtoReflect().GetUnknown()) ||
		!bytes.Equal(g.ProtoReflect().GetUnknown(), src.ProtoReflect().GetUnknown()) {
		x.errorf("unknown fields have changed")
	}
}

// nodes wants the sub-model's nodes to be the source's, unchanged, in its order
// where that is valid.
func (x *carried) nodes(sub, source []*onnxpb.NodeProto, external bool) {
	same := func(a, b *onnxpb.NodeProto) bool {
		if external && a.GetName() != "" { // tensors in it may have moved
			return a.GetName() == b.GetName() && a.GetOpType() == b.GetOpType() && slices.Equal(a.GetInput(), b.GetInput()) && slices.Equal(a.GetOutput(), b.GetOutput())
		}
		return proto.Equal(a, b)
	}
	at, ordered := 0, inOrder(source)
	for _, n := range sub {
		if !ordered {
			at = 0
		}
		for at < len(source) && !same(n, source[at]) {
			at++
		}
		if at == len(source) {
			x.errorf("node %q (%s) is not the source's, or not in its order", n.GetName(), n.GetOpType())
			return
		}
		at++
	}
}

// inOrder says whether every node stands after those that it reads from. Of
// several that make one value the last counts.
func inOrder(nodes []*onnxpb.NodeProto) bool {
	maker := map[string]int{}
	for i, n := range nodes {
		for _, v := range n.GetOutput() {
			maker[v] = i
		}
	}
	for i, n := range nodes {
		for v := range mentioned([]*onnxpb.NodeProto{n}) {
			if p, ok := maker[v]; ok && p > i && v != "" {
				return false
			}
		}
	}
	return true
}

// weights wants every stored value to be the source's and used, in its order.
func (x *carried) weights(reads, outputs map[string]bool, external bool) {
	source := x.source.GetGraph().GetInitializer()
	at := 0
	for _, t := range x.sub.GetGraph().GetInitializer() {
		name := t.GetName()
		if !reads[name] && !outputs[name] {
			x.errorf("initializer %q is not used", name)
		}
		for at < len(source) && source[at].GetName() != name {
			at++
		}
		switch {
		case at == len(source):
			x.errorf("initializer %q is not the source's, or not in its order", name)
			return
		case !external && !proto.Equal(t, source[at]):
			x.errorf("initializer %q has changed", name)
		}
		at++
	}
	for _, t := range x.sub.GetGraph().GetSparseInitializer() {
		if name := t.GetValues().GetName(); !reads[name] && !outputs[name] {
			x.errorf("sparse initializer %q is not used", name)
		}
		if !slices.ContainsFunc(x.source.GetGraph().GetSparseInitializer(), func(s *onnxpb.SparseTensorProto) bool { return proto.Equal(s, t) }) {
			x.errorf("sparse initializer %q has changed", t.GetValues().GetName())
		}
	}
}

// imports wants the functions that are called, and the operator sets that are used.
func (x *carried) imports() {
	type key struct{ domain, name, overload string }
	source := map[key]*onnxpb.FunctionProto{}
	for _, f := range x.source.GetFunctions() {
		source[key{f.GetDomain(), f.GetName(), f.GetOverload()}] = f
	}
	called, domains := map[key]bool{}, map[string]bool{"": true, "ai.onnx": true}
	var visit func(n *onnxpb.NodeProto)
	visit = func(n *onnxpb.NodeProto) {
		domains[n.GetDomain()] = true
		k := key{n.GetDomain(), n.GetOpType(), n.GetOverload()}
		if f := source[k]; f != nil && !called[k] {
			called[k] = true
			everyNode(f.GetNode(), visit)
		}
	}
	everyNode(x.sub.GetGraph().GetNode(), visit)
	for _, f := range x.sub.GetFunctions() {
		k := key{f.GetDomain(), f.GetName(), f.GetOverload()}
		if !called[k] {
			x.errorf("function %v is not called", k)
		}
		if !proto.Equal(f, source[k]) {
			x.errorf("function %v has changed", k)
		}
		delete(called, k)
	}
	if len(called) > 0 {
		x.errorf("functions are missing: %v", called)
	}
	for _, o := range x.sub.GetOpsetImport() {
		if !domains[o.GetDomain()] {
			x.errorf("operator set %q is imported and not used", o.GetDomain())
		}
		if !slices.ContainsFunc(x.source.GetOpsetImport(), func(s *onnxpb.OperatorSetIdProto) bool { return proto.Equal(s, o) }) {
			x.errorf("operator set %q has changed", o.GetDomain())
		}
	}
}
