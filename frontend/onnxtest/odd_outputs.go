package onnxtest

// oddOutputs: what graph inputs and outputs may be.
func oddOutputs() []Case {
	return []Case{
		odd("output-consumed", "values inside the chain are graph outputs too, listed against the order of computation", 0, func(_ *Model, g *Graph) {
			a := g.layer("a", g.x())
			b := g.layer("b", a)
			g.y(g.layer("c", b))
			g.y(b)
			g.y(a)
		}),
		odd("output-is-input", "a graph output is a graph input", 0, func(_ *Model, g *Graph) {
			x := g.x()
			g.y(g.layer("a", x))
			g.y(x)
		}),
		odd("output-is-weight", "a graph output is an initializer that a layer uses as well", 0, func(_ *Model, g *Graph) {
			g.y(g.layer("b", g.layer("a", g.x())))
			g.Output("a.w", Float, width, width)
		}),
		odd("output-is-constant", "graph outputs are a Constant node and what is computed from it alone", 0, func(_ *Model, g *Graph) {
			g.y(g.layer("a", g.x()))
			c := g.Const(g.Generated("c", Float, Uniform(-1, 1), 5))
			g.Output(c, Float, 5)
			g.Output(g.Op("Neg", []string{c}, Name("neg")), Float, 5)
		}),
		odd("output-twice", "one value is listed twice among the graph outputs", 0, func(_ *Model, g *Graph) {
			v := g.layer("a", g.x())
			g.y(v)
			g.y(v)
		}),
		odd("outputs-by-identity", "one value leaves as two graph outputs through Identity", 0, func(_ *Model, g *Graph) {
			v := g.layer("a", g.x())
			g.y(g.identity(v, "first"))
			g.y(g.identity(v, "second"))
		}),
		odd("no-nodes", "no node at all: the output is the input", 0, func(_ *Model, g *Graph) { g.y(g.x()) }),
		odd("no-nodes-weight", "no node at all: one output is the input, one a weight", 0, func(_ *Model, g *Graph) {
			g.y(g.x())
			g.Output(g.Weight("w", Float, Uniform(-1, 1), 4), Float, 4)
		}),
		odd("no-inputs", "the graph has no input, everything is constant", Fixed|Exotic, func(_ *Model, g *Graph) {
			c := g.Weight("c", Float, Uniform(-1, 1), rows, width)
			g.y(g.layer("b", g.layer("a", c)))
		}),
		odd("identity-only", "one Identity from input to output", 0, func(_ *Model, g *Graph) { g.y(g.identity(g.x(), "y")) }),
		odd("output-without-shape", "outputs are declared without a shape, one without a type", Unchecked, func(_ *Model, g *Graph) {
			a := g.layer("a", g.x())
			g.OutputOf(g.layer("b", a), NoShape(Float))
			g.OutputOf(a, nil)
		}),
		odd("input-without-shape", "the input is declared without a shape", Exotic|Unchecked, func(_ *Model, g *Graph) {
			x := g.InputOf("x", NoShape(Float))
			g.OutputOf(g.Op("Tanh", []string{x}, Name("a")), NoShape(Float))
		}),
		odd("input-without-type", "the input is declared without a type", Exotic|NoRun|Unchecked, func(_ *Model, g *Graph) {
			g.y(g.layer("a", g.InputOf("x", nil)))
		}),
		odd("info-of-io", "value infos repeat a graph input and output, and one disagrees in its symbol", 0, func(_ *Model, g *Graph) {
			x := g.x()
			a := g.layer("a", x)
			b := g.layer("b", a)
			g.Info(x, Float, rows, width)
			g.Info(a, Float, "anything", width)
			g.Info(b, Float, rows, width)
			g.y(b)
		}),
		odd("input-many-uses", "a graph input is used by branches that are as deep as the rest, and by the last node", 0, func(_ *Model, g *Graph) {
			x := g.x()
			a, b := g.layer("a2", g.layer("a1", x)), g.layer("b2", g.layer("b1", x))
			g.y(g.Op("Sum", []string{a, x, b}, Name("sum")))
		}),
	}
}
