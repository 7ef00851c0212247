package onnxtest

import (
	"fmt"
	"slices"
)

// RandomConfig bounds what Random may use. The zero value is a plain graph of 30 nodes.
type RandomConfig struct {
	Nodes     int  // about as many in the main graph (default 30)
	Symbolic  bool // the batch dimension is the symbol "N", not 2
	Bodies    bool // If, Loop and Scan with captured values
	Functions bool // calls of model-local functions
	Images    bool // values of rank 4, convolutions, pooling
}

// Random builds a random network: branches of different depth that fork and
// join, tied weights, weights behind Identity, Transpose and Constant, nodes of
// several outputs, shape arithmetic, and what the config allows. Every model is
// valid; values stay finite, and the outputs depend on the inputs, because values
// that grew or were squashed are normalised. The cost is linear in the nodes.
func Random(seed uint64, c RandomConfig) *Model {
	c.Nodes = or(c.Nodes, 30)
	h := Header{Name: "random", Seed: seed, Opset: 17}
	if c.Functions {
		h.Imports = []Import{{fnDomain, 1}}
	}
	m := New(h)
	d := &randomDAG{m: m, g: m.Graph(), cfg: c, state: hashKey(seed, "random"), weights: map[string][]string{}}
	d.batch = any(2)
	if c.Symbolic {
		m.Bind("N", 3)
		d.batch = "N"
	}
	if c.Functions {
		d.functions()
	}
	for i := range 1 + d.n(3) {
		f := []int64{4, 6, 8, 12}[d.n(4)]
		d.put(rv{name: d.g.Input(fmt.Sprintf("x%d", i), Float, d.batch, f), dims: []int64{f}})
	}
	for len(d.g.pb.Node) < c.Nodes {
		d.step()
	}
	d.outputs()
	return m
}

// rv is a value of the random network.
type rv struct {
	name   string
	dims   []int64 // without the batch: one for rank 2, three for rank 4
	heat   float64 // about the binary logarithm of its magnitude
	squash int     // functions since the last normalisation that bring values together
	used   bool
}

type randomDAG struct {
	m       *Model
	g       *Graph
	cfg     RandomConfig
	batch   any
	state   uint64
	drawn   uint64
	serial  int
	pool    []rv
	unused  []int               // indices into pool, some stale
	weights map[string][]string // by shape
}

func (d *randomDAG) n(k int) int {
	d.drawn++
	return int(random(d.state, d.drawn) % uint64(k))
}

func (d *randomDAG) name(op string) string {
	d.serial++
	return fmt.Sprintf("%s_%d", op, d.serial)
}

func (d *randomDAG) put(v rv) {
	if v.heat > 3 || v.heat < -3 || v.squash > 1 {
		v = d.normalise(v)
	}
	d.unused = append(d.unused, len(d.pool))
	d.pool = append(d.pool, v)
}

// normalise undoes growth and squashing: mean 0 and variance 1 over all features.
func (d *randomDAG) normalise(v rv) rv {
	n := d.name("norm")
	if len(v.dims) == 1 {
		v.name = d.g.Op("LayerNormalization", []string{
			v.name, d.g.Weight(n+".g", Float, Uniform(0.8, 1.2), v.dims[0]),
			d.g.Weight(n+".b", Float, Uniform(-0.1, 0.1), v.dims[0]),
		}, Name(n), Int("axis", 1))
	} else {
		v.name = d.g.Op("InstanceNormalization", []string{
			v.name, d.g.Weight(n+".g", Float, Uniform(0.8, 1.2), v.dims[0]),
			d.g.Weight(n+".b", Float, Uniform(-0.1, 0.1), v.dims[0]),
		}, Name(n))
	}
	v.heat, v.squash = 0, 0
	return v
}

// take picks a value: one that nobody uses yet, a recent one, or any. With too
// many unused ones it is always one of them, so that branches join again.
func (d *randomDAG) take() rv {
	for len(d.unused) > 0 {
		k := d.n(len(d.unused))
		i := d.unused[k]
		if d.pool[i].used {
			d.unused = slices.Delete(d.unused, k, k+1)
			continue
		}
		if len(d.unused) > 16 || d.n(3) == 0 {
			d.unused = slices.Delete(d.unused, k, k+1)
			return d.use(i)
		}
		break
	}
	k := min(len(d.pool), 8)
	if d.n(4) == 0 {
		k = min(len(d.pool), 200)
	}
	return d.use(len(d.pool) - 1 - d.n(k))
}

func (d *randomDAG) use(i int) rv {
	d.pool[i].used = true
	return d.pool[i]
}

// like looks for another value of the same shape among the last ones; it returns v itself if there is none.
func (d *randomDAG) like(v rv) rv {
	for k := range min(len(d.pool), 60) {
		i := len(d.pool) - 1 - k
		if d.pool[i].name != v.name && slices.Equal(d.pool[i].dims, v.dims) && d.n(2) == 0 {
			return d.use(i)
		}
	}
	return v
}

// weight is a new weight, or one of that shape that others use already; sometimes
// it stands behind Identity or Transpose or is a Constant node.
func (d *randomDAG) weight(fan int64, dims ...int64) string {
	key := fmt.Sprint(dims)
	if l := d.weights[key]; len(l) > 0 && d.n(4) == 0 {
		return l[d.n(len(l))]
	}
	n, f := d.name("w"), Scaled(1.5, fan)
	var w string
	switch kind := d.n(10); {
	case kind == 0:
		w = d.g.Const(d.g.Generated(n, Float, f, dims...))
	case kind == 1:
		w = d.g.identity(d.g.Weight(n, Float, f, dims...), n+"_same")
	case kind == 2 && len(dims) == 2:
		w = d.g.Op("Transpose", []string{d.g.Weight(n, Float, f, dims[1], dims[0])}, Name(n+"_t"), Ints("perm", 1, 0))
	default:
		w = d.g.Weight(n, Float, f, dims...)
	}
	d.weights[key] = append(d.weights[key], w)
	return w
}

func (d *randomDAG) bias(n int64) string {
	return d.g.Weight(d.name("bias"), Float, Uniform(-0.3, 0.3), n)
}

func (d *randomDAG) step() {
	v := d.take()
	if len(v.dims) == 3 {
		d.imageStep(v)
		return
	}
	if d.cfg.Bodies && d.n(12) == 0 {
		d.body(v)
		return
	}
	if d.cfg.Functions && d.n(12) == 0 {
		w := d.weight(v.dims[0], v.dims[0], v.dims[0])
		f := []string{"Layer", "Gate"}[d.n(2)]
		d.put(rv{name: d.g.call(f, d.name("call"), []string{v.name, w}), dims: v.dims, heat: v.heat})
		return
	}
	d.flatStep(v)
}

func (d *randomDAG) flatStep(v rv) {
	f := v.dims[0]
	switch d.n(13) {
	case 0:
		d.unary(v)
	case 1, 2:
		d.binary(v)
	case 3, 4:
		out := []int64{4, 6, 8, 12}[d.n(4)]
		d.put(rv{name: d.g.Op("MatMul", []string{v.name, d.weight(f, f, out)}, Name(d.name("matmul"))), dims: []int64{out}, heat: v.heat + 0.3})
	case 5:
		out := []int64{4, 6, 8, 12}[d.n(4)]
		d.put(rv{name: d.g.Op("Gemm", []string{v.name, d.weight(f, out, f), d.bias(out)}, Name(d.name("gemm")), Int("transB", 1)), dims: []int64{out}, heat: v.heat + 0.3})
	case 6:
		d.put(rv{name: d.g.add(d.name("biased"), v.name, d.bias(f)), dims: v.dims, heat: max(v.heat, 0), squash: v.squash})
	case 7:
		d.concat(v)
	case 8:
		d.split(v)
	case 9:
		d.reshape(v)
	case 10:
		s := d.g.Op("Slice", []string{v.name, d.g.Vec(0), d.g.Vec(max(2, f-2)), d.g.Vec(1)}, Name(d.name("slice")))
		d.put(rv{name: s, dims: []int64{max(2, f-2)}, heat: v.heat, squash: v.squash})
	case 11:
		m := d.g.Op("ReduceMean", []string{v.name}, Name(d.name("mean")), Ints("axes", 1), Int("keepdims", 1))
		d.put(rv{name: d.g.Op("Sub", []string{v.name, m}, Name(d.name("centred"))), dims: v.dims, heat: v.heat})
	case 12:
		if d.cfg.Images && f%2 == 0 {
			shape := d.g.Vec(0, f/2, 2, 1)
			if f%4 == 0 {
				shape = d.g.Vec(0, f/4, 2, 2)
			}
			dims := []int64{f / 2, 2, 1}
			if f%4 == 0 {
				dims = []int64{f / 4, 2, 2}
			}
			d.put(rv{name: d.g.Op("Reshape", []string{v.name, shape}, Name(d.name("image"))), dims: dims, heat: v.heat, squash: v.squash})
			return
		}
		d.topK(v)
	}
}

func (d *randomDAG) unary(v rv) {
	ops := []struct {
		op     string
		squash int
		heat   float64
	}{
		{"Tanh", 0, -0.3},
		{"Sigmoid", 1, -1},
		{"Relu", 1, v.heat},
		{"LeakyRelu", 0, v.heat},
		{"Neg", 0, v.heat},
		{"Abs", 1, v.heat},
		{"Softplus", 1, max(v.heat, -0.5)},
		{"Erf", 0, -0.3},
		{"Identity", 0, v.heat},
		{"Elu", 0, v.heat},
	}
	o := ops[d.n(len(ops))]
	n := d.name(o.op)
	if o.op == "Tanh" || o.op == "Identity" || o.op == "Neg" || d.n(2) == 0 {
		d.put(rv{name: d.g.Op(o.op, []string{v.name}, Name(n)), dims: v.dims, heat: o.heat, squash: v.squash + o.squash})
		return
	}
	// As a residual branch.
	d.put(rv{name: d.g.add(n+"_plus", v.name, d.g.Op(o.op, []string{v.name}, Name(n))), dims: v.dims, heat: max(v.heat, o.heat) + 0.7, squash: v.squash + o.squash})
}

func (d *randomDAG) binary(v rv) {
	w := d.like(v)
	op := []string{"Add", "Sub", "Max", "Min", "Mul", "Mean", "Sum"}[d.n(7)]
	heat := max(v.heat, w.heat) + 0.5
	squash := max(v.squash, w.squash)
	switch {
	case v.name == w.name && (op == "Sub" || op == "Max" || op == "Min"):
		op = "Add" // the others of a value and itself are nothing, or the value again
	case op == "Mul":
		heat, squash = v.heat+w.heat, squash+1
	}
	if op == "Add" && v.name == w.name {
		heat++
	}
	in := []string{v.name, w.name}
	if op == "Mean" || op == "Sum" {
		u := d.like(v)
		in = append(in, u.name)
		heat = max(heat, u.heat+1)
		squash = max(squash, u.squash)
	}
	d.put(rv{name: d.g.Op(op, in, Name(d.name(op))), dims: v.dims, heat: heat, squash: squash})
}

func (d *randomDAG) concat(v rv) {
	w := d.take()
	if len(w.dims) != len(v.dims) || v.dims[0]+w.dims[0] > 24 || !slices.Equal(v.dims[1:], w.dims[1:]) {
		d.unary(v)
		if len(w.dims) == 1 {
			d.unary(w)
		} else {
			d.imageUnary(w)
		}
		return
	}
	dims := slices.Clone(v.dims)
	dims[0] += w.dims[0]
	d.put(rv{
		name: d.g.Op("Concat", []string{v.name, w.name}, Name(d.name("concat")), Int("axis", 1)), dims: dims,
		heat: max(v.heat, w.heat), squash: max(v.squash, w.squash),
	})
}

func (d *randomDAG) split(v rv) {
	f := v.dims[0]
	if f < 4 {
		d.unary(v)
		return
	}
	parts := []int64{f / 2, f - f/2}
	if f >= 6 && d.n(2) == 0 {
		parts = []int64{2, f - 4, 2}
	}
	for i, name := range d.g.Ops("Split", len(parts), []string{v.name, d.g.Vec(parts...)}, Name(d.name("split")), Int("axis", 1)) {
		dims := slices.Clone(v.dims)
		dims[0] = parts[i]
		d.put(rv{name: name, dims: dims, heat: v.heat, squash: v.squash})
	}
}

// reshape swaps halves of the features by a reshape whose target is computed from the shape.
func (d *randomDAG) reshape(v rv) {
	f, g := v.dims[0], d.g
	if f%2 != 0 {
		d.unary(v)
		return
	}
	n := d.name("reshape")
	s := g.Op("Shape", []string{v.name}, Name(n+"/shape"))
	b := g.Op("Gather", []string{s, g.Store(Int64s(n+"/axis", []int64{0}, 1))}, Name(n+"/batch"), Int("axis", 0))
	t := g.Op("Concat", []string{b, g.Vec(2, f/2)}, Name(n+"/target"), Int("axis", 0))
	y := g.Op("Reshape", []string{v.name, t}, Name(n+"/split"))
	y = g.Op("Transpose", []string{y}, Name(n+"/perm"), Ints("perm", 0, 2, 1))
	d.put(rv{name: g.Op("Reshape", []string{y, s}, Name(n)), dims: v.dims, heat: v.heat, squash: v.squash})
}

func (d *randomDAG) topK(v rv) {
	k := max(2, v.dims[0]/2)
	n := d.name("topk")
	o := d.g.Ops("TopK", 2, []string{v.name, d.g.Vec(k)}, Name(n), Int("axis", 1))
	i := d.g.cast(n+"/at", o[1], Float)
	d.put(rv{name: d.g.add(n+"/join", o[0], d.g.Op("Mul", []string{i, d.g.Scalar(0.2)}, Name(n+"/scale"))), dims: []int64{k}, heat: max(v.heat, 0) + 0.5, squash: v.squash})
}

func (d *randomDAG) outputs() {
	var leaves []rv
	for i := range d.pool {
		if !d.pool[i].used {
			leaves = append(leaves, d.pool[i])
		}
	}
	declare := func(v rv) {
		dims := []any{d.batch}
		for _, n := range v.dims {
			dims = append(dims, n)
		}
		d.g.Output(v.name, Float, dims...)
	}
	// A few leave as they are, together with a value that is used inside as well;
	// the largest elements of the rest make one output.
	direct := min(len(leaves), 1+d.n(3))
	for _, v := range leaves[:direct] {
		declare(v)
	}
	if mid := d.pool[len(d.pool)/2]; mid.used && !d.isInput(mid.name) {
		declare(mid)
	}
	var tops []string
	for _, v := range leaves[direct:] {
		m := d.g.Op("ReduceMax", []string{d.g.Op("Flatten", []string{v.name}, Name(d.name("flat")), Int("axis", 1))}, Name(d.name("leaf")), Ints("axes", 1), Int("keepdims", 1))
		tops = append(tops, m)
	}
	if len(tops) > 0 {
		y := d.g.Op("Concat", tops, Name(d.name("leaves")), Int("axis", 1))
		d.g.Output(y, Float, d.batch, len(tops))
	}
}

func (d *randomDAG) isInput(name string) bool {
	for _, in := range d.g.pb.Input {
		if in.GetName() == name {
			return true
		}
	}
	return false
}
