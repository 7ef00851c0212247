package onnxtest

// functions defines the two that calls may use.
func (d *randomDAG) functions() {
	imports := []Import{{"", 17}, {fnDomain, 1}}
	d.m.Function(FunctionHeader{Domain: fnDomain, Name: "Layer", Inputs: []string{"x", "w"}, Outputs: []string{"y"}, Imports: imports}, func(g *Graph) {
		p := g.Op("MatMul", []string{"x", "w"}, Name("mul"), Outs("p"))
		g.Op("Add", []string{"x", g.Op("Tanh", []string{p}, Name("tanh"), Outs("t"))}, Name("add"), Outs("y"))
	})
	d.m.Function(FunctionHeader{Domain: fnDomain, Name: "Gate", Inputs: []string{"x", "w"}, Outputs: []string{"y"}, Imports: imports}, func(g *Graph) {
		l := g.call("Layer", "layer", []string{"x", "w"}, Outs("l"))
		g.Op("Mul", []string{l, g.Op("Sigmoid", []string{"x"}, Name("sigmoid"), Outs("s"))}, Name("gate"), Outs("y"))
	})
}

// body adds an If, a Loop or a Scan on the value v of rank 2. Each captures
// another value and a weight of the main graph.
func (d *randomDAG) body(v rv) {
	f, n, other := v.dims[0], d.name("body"), d.like(v)
	w := d.weight(f, f, f)
	mul := func(b *Graph, x, name string) string {
		return b.tanh(name+"/tanh", b.Op("MatMul", []string{x, w}, Name(name)))
	}
	out := rv{dims: v.dims, heat: max(v.heat, other.heat, 0) + 0.5, squash: max(v.squash, other.squash)}
	switch d.n(3) {
	case 0:
		out.name = d.g.Op("If", []string{d.g.positive(n+"/cond", v.name)}, Name(n),
			Body("then_branch", func(b *Graph) {
				b.Output(b.add(n+"/then", mul(b, v.name, n+"/then/mul"), other.name), Float, d.batch, f)
			}),
			Body("else_branch", func(b *Graph) {
				own := b.Weight(n+"/own", Float, Scaled(1.5, f), f, f)
				b.Output(b.Op("Sub", []string{other.name, b.Op("MatMul", []string{v.name, own}, Name(n+"/else/mul"))}, Name(n+"/else")), Float, d.batch, f)
			}))
	case 1:
		trips := d.g.Store(Int64s(n+"/trips", []int64{int64(1 + d.n(3))}))
		out.name = d.g.Op("Loop", []string{trips, "", v.name}, Name(n), Body("body", func(b *Graph) {
			b.Input(n+"/i", Int64)
			c, x := b.Input(n+"/c", Bool), b.Input(n+"/x", Float, d.batch, f)
			y := b.add(n+"/next", mul(b, x, n+"/mul"), other.name)
			b.Output(b.identity(c, n+"/c_out"), Bool)
			b.Output(y, Float, d.batch, f)
		}))
	default:
		start := d.g.Buffer(n+"/start", Float, Fill{}, 1, f)
		r := d.g.Ops("Scan", 2, []string{start, v.name}, Name(n), Outs(n+"/state", n), Int("num_scan_inputs", 1), Body("body", func(b *Graph) {
			s, row := b.Input(n+"/s", Float, 1, f), b.Input(n+"/row", Float, f)
			y := b.add(n+"/y", mul(b, s, n+"/mul"), row)
			b.Output(b.identity(y, n+"/s_out"), Float, 1, f)
			b.Output(b.Op("Squeeze", []string{y, b.Vec(0)}, Name(n+"/flat")), Float, f)
		}))
		out.name = d.g.add(n+"/join", r[1], other.name)
		out.heat += 0.5
	}
	d.put(out)
}

// imageStep adds nodes on a value of rank 4.
func (d *randomDAG) imageStep(v rv) {
	c, h, w := v.dims[0], v.dims[1], v.dims[2]
	switch d.n(9) {
	case 0, 1:
		k, out := int64(1+2*d.n(2)), []int64{2, 3, 4, 6}[d.n(4)]
		y := d.g.Op("Conv", []string{v.name, d.weight(c*k*k, out, c, k, k), d.bias(out)}, Name(d.name("conv")),
			Ints("kernel_shape", k, k), Ints("pads", k/2, k/2, k/2, k/2))
		d.put(rv{name: y, dims: []int64{out, h, w}, heat: v.heat})
	case 2:
		y := d.g.Op("Conv", []string{v.name, d.weight(4, c, 1, 3, 3)}, Name(d.name("depthwise")),
			Ints("kernel_shape", 3, 3), Ints("pads", 1, 1, 1, 1), Int("group", c))
		d.put(rv{name: y, dims: v.dims, heat: v.heat})
	case 3:
		d.imageUnary(v)
	case 4:
		d.binary(v)
	case 5:
		d.concat(v)
	case 6:
		y := d.g.Op("MaxPool", []string{v.name}, Name(d.name("pool")), Ints("kernel_shape", 3, 3), Ints("pads", 1, 1, 1, 1))
		d.put(rv{name: d.g.Op("Sub", []string{y, v.name}, Name(d.name("top"))), dims: v.dims, heat: v.heat})
	case 7:
		y := d.g.Op("Flatten", []string{v.name}, Name(d.name("flatten")), Int("axis", 1))
		d.put(rv{name: y, dims: []int64{c * h * w}, heat: v.heat, squash: v.squash})
	case 8:
		p := d.g.Op("GlobalAveragePool", []string{v.name}, Name(d.name("gap")))
		y := d.g.Op("Sigmoid", []string{p}, Name(d.name("gate")))
		d.put(rv{name: d.g.Op("Mul", []string{v.name, y}, Name(d.name("gated"))), dims: v.dims, heat: v.heat - 1, squash: v.squash})
	}
}

func (d *randomDAG) imageUnary(v rv) {
	op := []string{"Relu", "LeakyRelu", "Tanh", "Neg"}[d.n(4)]
	squash := v.squash
	if op == "Relu" {
		squash++
	}
	d.put(rv{name: d.g.Op(op, []string{v.name}, Name(d.name(op))), dims: v.dims, heat: v.heat, squash: squash})
}
