package backend

import (
	"context"
	"slices"

	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// functionKey is how a node names a model-local function.
type functionKey struct{ domain, name, overload string }

// domainOf spells the default domain one way.
func domainOf(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

// usage is what a set of nodes refers to outside the graph: nested graphs and
// called functions count.
type usage struct {
	domains        map[string]bool
	functions      map[functionKey]bool
	configurations map[string]bool
}

// library is the model's functions by the name under which nodes call them.
// Several definitions of one name are kept together.
type library map[functionKey][]int

func newLibrary(m *onnxpb.ModelProto) library {
	lib := library{}
	for i, f := range m.GetFunctions() {
		k := functionKey{domainOf(f.GetDomain()), f.GetName(), f.GetOverload()}
		lib[k] = append(lib[k], i)
	}
	return lib
}

// usageOf walks the nodes of a part, what is nested in them and what they call.
func (c *cut) usageOf(p *part, lib library) *usage {
	u := &usage{domains: map[string]bool{}, functions: map[functionKey]bool{}, configurations: map[string]bool{}}
	var queue []functionKey
	var walk func(nodes []*onnxpb.NodeProto)
	visit := func(n *onnxpb.NodeProto) {
		k := functionKey{domainOf(n.GetDomain()), n.GetOpType(), n.GetOverload()}
		u.domains[k.domain] = true
		if lib[k] != nil && !u.functions[k] {
			u.functions[k] = true
			queue = append(queue, k)
		}
		for _, d := range n.GetDeviceConfigurations() {
			u.configurations[d.GetConfigurationId()] = true
		}
		for _, body := range bodies(n) {
			walk(body.GetNode())
		}
	}
	walk = func(nodes []*onnxpb.NodeProto) {
		for _, n := range nodes {
			visit(n)
		}
	}
	for _, i := range p.nodes {
		visit(c.x.graph.GetNode()[i])
	}
	for len(queue) > 0 {
		k := queue[0]
		queue = queue[1:]
		for _, i := range lib[k] {
			walk(c.x.m.Proto.GetFunctions()[i].GetNode())
		}
	}
	return u
}

// extraction is the emission of one part.
type extraction struct {
	ctx   context.Context
	c     *cut
	p     *part
	use   *usage
	lib   library
	store *store
}

// draft describes the sub-model's file. Whatever the sub-model keeps is taken as
// it stands in the source; the graph's fields come in the order of their numbers.
func (e *extraction) draft() (*onnxfile.Draft, error) {
	d := &onnxfile.Draft{}
	if err := e.graph(d); err != nil {
		return nil, err
	}
	if err := e.model(d); err != nil {
		return nil, err
	}
	return d, nil
}

func (e *extraction) graph(d *onnxfile.Draft) error {
	x, p := e.c.x, e.p
	add := func(num protowire.Number, body onnxfile.Chunk) {
		d.Graph = append(d.Graph, onnxfile.Field{Num: num, Type: protowire.BytesType, Body: body})
	}
	all := func(num protowire.Number) {
		for _, f := range x.byField[num] {
			add(num, f.Body)
		}
	}
	for _, i := range p.nodes {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		body, err := e.store.message(x.graph.GetNode()[i], x.byField[graphNode][i].Body)
		if err != nil {
			return x.errorAt(i, err)
		}
		add(graphNode, body)
	}
	all(graphName)
	for _, i := range p.dense {
		if err := e.ctx.Err(); err != nil {
			return err
		}
		body, err := e.store.message(x.graph.GetInitializer()[i], x.byField[graphInitializer][i].Body)
		if err != nil {
			return x.errorIn(x.graph.GetInitializer()[i].GetName(), err)
		}
		add(graphInitializer, body)
	}
	all(graphDoc)
	boundary := map[valueID]bool{}
	for _, v := range p.inputs {
		body, err := e.c.boundaryInfo(v)
		if err != nil {
			return err
		}
		boundary[v] = true
		add(graphInput, body)
	}
	for _, v := range e.storedInputs() {
		boundary[v] = true
		add(graphInput, x.byField[graphInput][x.inputAt[v]].Body)
	}
	for _, v := range p.outputs {
		body, err := e.c.boundaryInfo(v)
		if err != nil {
			return err
		}
		boundary[v] = true
		add(graphOutput, body)
	}
	var infos []int32
	for _, v := range p.values {
		if x.infoAt[v] >= 0 && !boundary[v] {
			infos = append(infos, x.infoAt[v])
		}
	}
	slices.Sort(infos)
	for _, i := range infos {
		add(graphValueInfo, x.byField[graphValueInfo][i].Body)
	}
	for _, i := range p.notes {
		add(graphAnnotation, x.byField[graphAnnotation][i].Body)
	}
	for _, i := range p.sparse {
		body, err := e.store.message(x.graph.GetSparseInitializer()[i], x.byField[graphSparse][i].Body)
		if err != nil {
			return x.errorIn(x.graph.GetSparseInitializer()[i].GetValues().GetName(), err)
		}
		add(graphSparse, body)
	}
	all(graphMetadata)
	d.Graph = append(d.Graph, x.unknown...)
	return nil
}

// storedInputs are the part's initializers that the source also lists as graph
// inputs: IR versions before 4 ask for that, later ones let callers override
// them. They stay listed, and keep their stored values.
func (e *extraction) storedInputs() []valueID {
	x := e.c.x
	var out []valueID
	for _, v := range e.p.values {
		if x.inputAt[v] >= 0 && x.kind[v] != fromInput {
			out = append(out, v)
		}
	}
	slices.SortFunc(out, x.byPlace(x.inputAt))
	return out
}

// model adds the fields around the graph: in the source's order, without the
// operator sets, functions and device configurations that nothing here uses, and
// without training information, which is about the whole graph.
func (e *extraction) model(d *onnxfile.Draft) error {
	m := e.c.x.m
	keep := e.imports()
	seen := map[protowire.Number]int{}
	d.GraphAt = -1
	for k, f := range m.Fields {
		if k == m.GraphAt {
			d.GraphAt = len(d.Fields)
		}
		i := seen[f.Num]
		if f.Type == protowire.BytesType {
			seen[f.Num]++
			switch f.Num {
			case modelOpsetImport:
				if !keep[i] {
					continue
				}
			case modelTrainingInfo:
				continue
			case modelFunctions:
				fn := m.Proto.GetFunctions()[i]
				if !e.use.functions[functionKey{domainOf(fn.GetDomain()), fn.GetName(), fn.GetOverload()}] {
					continue
				}
				body, err := e.store.message(fn, f.Body)
				if err != nil {
					return e.c.x.errorIn(fn.GetName(), err)
				}
				f.Body = body
			case modelConfiguration:
				if !e.use.configurations[m.Proto.GetConfiguration()[i].GetName()] {
					continue
				}
			}
		}
		d.Fields = append(d.Fields, f)
	}
	if d.GraphAt < 0 {
		d.GraphAt = len(d.Fields)
	}
	return nil
}

// imports says which entries of opset_import stay: those of used domains. Where
// that leaves none (a sub-model without nodes) the default domain's stay, or
// else all.
func (e *extraction) imports() []bool {
	all := e.c.x.m.Proto.GetOpsetImport()
	keep := make([]bool, len(all))
	kept := false
	for i, o := range all {
		keep[i] = e.use.domains[domainOf(o.GetDomain())]
		kept = kept || keep[i]
	}
	for i, o := range all {
		if !kept && domainOf(o.GetDomain()) == "" {
			keep[i] = true
		}
	}
	if !slices.Contains(keep, true) {
		for i := range keep {
			keep[i] = true
		}
	}
	return keep
}
