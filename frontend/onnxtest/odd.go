package onnxtest

import "slices"

// Odd lists the small models that are odd in one way each. Names begin with
// "odd/"; those of one topic stand together.
func Odd() []Case {
	l := slices.Concat(oddStructure(), oddWeights(), oddOutputs(), oddBodies(), oddFunctions(),
		oddOptional(), oddContainers(), oddTypes(), oddNames(), oddShapes(), oddFiles(), oddVersions())
	for i := range l {
		l[i].Name = "odd/" + l[i].Name
	}
	return l
}

// odd makes a case.
func odd(name, what string, tags Tag, build func(m *Model, g *Graph)) Case {
	return oddHeader(name, what, tags, Header{}, build)
}

// oddHeader makes a case whose model needs a header of its own.
func oddHeader(name, what string, tags Tag, h Header, build func(m *Model, g *Graph)) Case {
	return Case{Name: name, What: what, Tags: tags, Build: func(seed uint64) *Model {
		h := h
		h.Name, h.Seed = name, seed
		m := New(h)
		build(m, m.Graph())
		return m
	}}
}

// width is the number of features in most odd models; batch the number of rows.
const (
	width = 6
	rows  = 3
)

// x adds the usual input of rows×width.
func (g *Graph) x() string { return g.Input("x", Float, rows, width) }

// y declares the usual output of rows×width.
func (g *Graph) y(v string) { g.Output(v, Float, rows, width) }

// dense is tanh(x·W + b) with weights of its own, named for the layer.
func (g *Graph) dense(name, x string, in, out int64) string {
	w := g.Weight(name+".w", Float, Scaled(1.5, in), in, out)
	b := g.Weight(name+".b", Float, Uniform(-0.2, 0.2), out)
	return g.tanh(name, g.Op("Add", []string{g.Op("MatMul", []string{x, w}, Name(name+".mul")), b}, Name(name+".add")))
}

// layer is a dense layer of the usual width.
func (g *Graph) layer(name, x string) string { return g.dense(name, x, width, width) }

func (g *Graph) tanh(name, x string) string { return g.Op("Tanh", []string{x}, Name(name)) }

func (g *Graph) add(name, a, b string) string { return g.Op("Add", []string{a, b}, Name(name)) }

func (g *Graph) identity(from, to string) string {
	return g.Op("Identity", []string{from}, Name("to_"+to), Outs(to))
}

// positive is a boolean of rank 0: whether the elements of x sum to more than 0.
func (g *Graph) positive(name, x string) string {
	s := g.Op("ReduceSum", []string{x}, Name(name+".sum"), Int("keepdims", 0))
	return g.Op("Greater", []string{s, g.Scalar(0)}, Name(name))
}
