package passes

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// graphOf reads a graph from lines "out… = Op operand…"; "*" is a stored operand,
// "!" after a result makes it a graph output, "~" a scalar. Operands that no line
// makes are graph inputs. Nodes are named after their first result.
func graphOf(t *testing.T, text string) *ir.Graph {
	t.Helper()
	b := ir.NewBuilder("test")
	ids := map[string]ir.ValueID{}
	stored := 0
	for _, line := range strings.Split(strings.TrimSpace(text), "\n") {
		left, right, _ := strings.Cut(strings.TrimSpace(line), " = ")
		words := strings.Fields(right)
		n := ir.Node{Op: words[0]}
		for _, w := range words[1:] {
			name := strings.TrimRight(w, "~")
			switch _, known := ids[name]; {
			case w == "*":
				n.Weights = append(n.Weights, b.Weight(fmt.Sprint("w", stored), 4))
				stored++
				continue
			case !known:
				ids[name] = b.Value(ir.Value{Name: name, Bytes: size(w), ResidentBytes: size(w), Input: true})
			}
			n.Inputs = append(n.Inputs, ids[name])
		}
		for _, w := range strings.Fields(left) {
			name := strings.TrimRight(w, "!~")
			ids[name] = b.Value(ir.Value{Name: name, Bytes: size(w), ResidentBytes: size(w), Output: strings.Contains(w, "!")})
			n.Outputs = append(n.Outputs, ids[name])
			if n.Name == "" {
				n.Name = name
			}
		}
		b.Node(n)
	}
	g, err := b.Build()
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func size(word string) int64 {
	if strings.Contains(word, "~") {
		return 4
	}
	return 4096
}

func groupText(g *ir.Graph) []string {
	out := []string{}
	for _, f := range Groups(g) {
		text := f.Kind + ":"
		for _, n := range f.Nodes {
			text += " " + g.NodeName(n)
		}
		out = append(out, text)
	}
	return out
}

func TestGroups(t *testing.T) {
	t.Parallel()
	const attention = `
		q = MatMul x *
		qb = Add q *
		qr = Reshape qb *
		qt = Transpose qr
		k = MatMul %[1]s *
		kb = Add k *
		kr = Reshape kb *
		kt = Transpose kr
		v = MatMul %[1]s *
		vb = Add v *
		vr = Reshape vb *
		vt = Transpose vr
		s = MatMul qt kt
		d = Div s *
		m = Add d mask~
		p = Softmax m
		a = MatMul p vt
		at = Transpose a
		ar = Reshape at *
		o! = MatMul ar *`
	for _, c := range []struct {
		name, graph string
		want        []string
	}{
		{"convolution", "c = Conv x *\nb = BatchNormalization c *\nr! = Relu b", []string{"Conv+BatchNormalization+Relu: c b r"}},
		{"padded convolution", "p = Pad x *\nc! = Conv p *", []string{"Pad+Conv: p c"}},
		{"the longer of two branches takes the sum", "a = Conv x *\nb = Relu a\nc = Conv b *\nd = Conv x *\ns = Add c d\nr! = Relu s", []string{"Conv+Relu: a b", "Conv+Add+Relu: c s r"}},
		{"of two equal branches the first by name takes the sum", "b = Conv x *\na = Conv x *\ns = Add a b\nr! = Relu s", []string{"Conv+Add+Relu: a s r"}},
		{"a sum that repeats an operand is not attached", "a = Conv x *\ns = Add a bias~\nr! = Relu s", []string{}},
		{"an output ends a group", "c! = Conv x *\nr! = Relu c", []string{}},
		{"a second reader ends a group", "c = Conv x *\nr = Relu c\nt! = Tanh c\nu! = Add r r", []string{}},
		{"matrix product", "m = MatMul x *\nb = Add m *\nr! = Relu b", []string{"MatMul+Add+Relu: m b r"}},
		{"two computed operands are no bias", "m = MatMul x *\nb! = Add m y", []string{}},
		{
			"GELU after a product", "m = MatMul x *\nb = Add m *\nd = Div b *\ne = Erf d\na = Add e *\nu = Mul b a\no! = Mul u *",
			[]string{"MatMul+Add+Gelu: m b d e a u o"},
		},
		{"GELU with its half first", "h = Mul x *\nd = Div x *\ne = Erf d\na = Add e *\no! = Mul h a", []string{"Gelu: h d e a o"}},
		{
			"GELU by tanh", "c = Pow x *\nd = Mul c *\ns = Add x d\nt = Mul s *\nu = Tanh t\na = Add u *\nm = Mul x a\no! = Mul m *",
			[]string{"Gelu: c d s t u a m o"},
		},
		{"SiLU", "c = Conv x *\ns = Sigmoid c\no! = Mul c s", []string{"Conv+Silu: c s o"}},
		{"a gate on something else is no SiLU", "f = Gemm x *\ns = Sigmoid f\no! = Mul y s", []string{"Gemm+Sigmoid: f s"}},
		{"hard swish", "c = Conv x *\na = Add c *\nk = Clip a *\nm = Mul c k\no! = Div m *", []string{"Conv+HardSwish: c a k m o"}},
		{
			"layer normalisation with its residual", "r = Add x y\nm = ReduceMean r\nd = Sub r m\nq = Pow d *\nv = ReduceMean q\ne = Add v *\ns = Sqrt e\nn = Div d s\ng = Mul n *\no! = Add g *",
			[]string{"SkipLayerNorm: r m d q v e s n g o"},
		},
		{
			"the residual is used again", "r = Add x y\nm = ReduceMean r\nd = Sub r m\nq = Mul d d\nv = ReduceMean q\ne = Add v *\ns = Sqrt e\nn = Div d s\ng = Mul n *\no! = Add g *\nz! = Add o r",
			[]string{"LayerNorm: m d q v e s n g o"},
		},
		{
			"layer normalisation with its terms spread", "m = ReduceMean x\nd = Sub x m\nq = Mul d d\nv = ReduceMean q\ne = Add v *\ns = Sqrt e\nr = Reciprocal s\ng = Mul r *\na = Mul x g\nb = Mul m g\nc = Sub b *\no! = Add a c",
			[]string{"LayerNorm: m d q v e s r g a b c o"},
		},
		{"RMS normalisation", "q = Pow x *\nv = ReduceMean q\ne = Add v *\ns = Sqrt e\nn = Div x s\no! = Mul n *", []string{"RMSNorm: q v e s n o"}},
		{"softmax with scale and mask", "s = Mul x *\nm = Add s mask~\no! = Softmax m", []string{"ScaledSoftmax: s m o"}},
		{"softmax of a classifier", "g = MatMul x *\nb = Add g *\no! = Softmax b", []string{"MatMul+Add: g b"}},
		{"self-attention", fmt.Sprintf(attention, "x"), []string{"SelfAttention: q qb qr qt k kb kr kt v vb vr vt s d m p a at ar"}},
		{"attention to something else", fmt.Sprintf(attention, "y"), []string{
			"MatMul+Add: q qb", "Attention: qr qt kr kt vr vt s d m p a at ar", "MatMul+Add: k kb", "MatMul+Add: v vb",
		}},
		{"attention with a cache", `
			q k v = Split x
			kk! = Concat pk k
			vv! = Concat pv v
			kt = Transpose kk
			s = MatMul q kt
			w = Where mask~ s ninf~
			p = Softmax w
			a = MatMul p vv
			o! = Transpose a`, []string{"Attention: kt s w p a o"}},
		{"packed attention with a row that is masked as a whole", `
			p = MatMul x *
			r = Reshape p *
			q k v = Split r
			kt = Transpose k
			s = MatMul q kt
			f = Softmax s
			i = IsNaN f
			w = Where i zero~ f
			a = MatMul w v
			o! = Reshape a *`, []string{"SelfAttention: p r q kt s f i w a o"}},
		{
			"quantized convolution", "d = DequantizeLinear x *\nc = Conv d *\nr = Relu c\nq! = QuantizeLinear r *",
			[]string{"DQ+Conv+Relu+Q: d c r q"},
		},
		{
			"a conversion that changes nothing", "d = DequantizeLinear x *\nc = Relu d\nq = QuantizeLinear c *\nt! = Cast q",
			[]string{"DQ+Relu+Q: d c q t"},
		},
		{
			"two readers of one DequantizeLinear", "d = DequantizeLinear x *\na = Conv d *\nb = Conv d *\np! = QuantizeLinear a *\nq! = QuantizeLinear b *",
			[]string{"DQ+Conv+Q: a p", "DQ+Conv+Q: b q"},
		},
		{"a float operand is not quantized", "d = DequantizeLinear x *\ns = Add d y\nq! = QuantizeLinear s *", []string{}},
		{"a product that stays in floating point", "a = DequantizeLinear x *\nb = DequantizeLinear y *\nm! = MatMul a b", []string{"DQ+MatMul: a b m"}},
		{
			"dynamically quantized product", "q s~ z~ = DynamicQuantizeLinear x\nm = MatMulInteger q z *\nc = Cast m\nk~ = Mul s *\nf = Mul c k\nb! = Add f *",
			[]string{"DynamicQuantizeLinear+MatMulInteger+Add: q m c k f b"},
		},
		{"layout", "t = Transpose x\nr = Reshape t *\ns = Squeeze r\no! = Relu s", []string{"Layout: t r s"}},
		{"normalisation and activation", "b = BatchNormalization x *\nm = Mul b *\na = Add m *\nr! = Relu a", []string{"BatchNormalization+Mul+Add+Relu: b m a r"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, groupText(graphOf(t, c.graph))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Groups of random graphs of the operators that patterns name are disjoint, have
// one node that is seen from outside, and stay acyclic when contracted.
func TestGroupsOfRandomGraphs(t *testing.T) {
	t.Parallel()
	ops := []string{
		"Conv", "MatMul", "Gemm", "Add", "Add", "Mul", "Mul", "Div", "Sub", "Relu", "Sigmoid", "Erf", "Tanh", "Softmax", "Transpose", "Reshape",
		"ReduceMean", "Sqrt", "Pow", "DequantizeLinear", "QuantizeLinear", "Split", "Where", "BatchNormalization", "Cast", "Clip", "Pad",
	}
	grouped := 0
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := ir.NewBuilder("random")
		values := []ir.ValueID{b.Value(ir.Value{Name: "x", Bytes: 64, ResidentBytes: 64, Input: true})}
		w := b.Weight("w", 4)
		for i := range 80 {
			n := ir.Node{Name: fmt.Sprint("n", i), Op: ops[r.IntN(len(ops))]}
			for range 1 + r.IntN(2) {
				n.Inputs = append(n.Inputs, values[max(0, len(values)-1-r.IntN(5)/3)])
			}
			if r.IntN(2) == 0 {
				n.Weights = append(n.Weights, w)
			}
			for k := range 1 + r.IntN(10)/9 {
				v := b.Value(ir.Value{Name: fmt.Sprint("v", i, "_", k), Bytes: 64, ResidentBytes: 64, Output: r.IntN(25) == 0})
				n.Outputs = append(n.Outputs, v)
				values = append(values, v)
			}
			b.Node(n)
		}
		g, err := b.Build()
		if err != nil {
			t.Fatal(err)
		}
		unit := make([]int, g.NumNodes())
		for i := range unit {
			unit[i] = i
		}
		taken := map[ir.NodeID]bool{}
		for _, f := range Groups(g) {
			grouped++
			exits := 0
			for _, n := range f.Nodes {
				if taken[n] {
					t.Fatalf("seed %d: node %s is in two groups", seed, g.NodeName(n))
				}
				taken[n] = true
				unit[n] = int(f.Nodes[0])
				seen := false
				for _, v := range g.Outputs(n) {
					seen = seen || g.IsOutput(v)
					for _, c := range g.Consumers(v) {
						seen = seen || !slices.Contains(f.Nodes, c)
					}
				}
				if seen {
					exits++
				}
			}
			if len(f.Nodes) < 2 || exits != 1 {
				t.Fatalf("seed %d: group %v has %d nodes that are seen from outside", seed, f, exits)
			}
		}
		if cyclic(g, unit) {
			t.Fatalf("seed %d: contracted groups form a cycle", seed)
		}
	}
	if grouped < 300 {
		t.Fatalf("only %d groups in all: the random graphs do not exercise the patterns", grouped)
	}
}

// cyclic says whether the graph of units has a cycle; unit is by node.
func cyclic(g *ir.Graph, unit []int) bool {
	next := map[int]map[int]bool{}
	waits := map[int]int{}
	for i, u := range unit {
		if next[u] == nil {
			next[u] = map[int]bool{}
		}
		for _, v := range g.Outputs(ir.NodeID(i)) {
			for _, c := range g.Consumers(v) {
				if to := unit[c]; to != u && !next[u][to] {
					next[u][to] = true
					waits[to]++
				}
			}
		}
	}
	var ready []int
	for u := range next {
		if waits[u] == 0 {
			ready = append(ready, u)
		}
	}
	done := 0
	for ; len(ready) > 0; done++ {
		u := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		for to := range next[u] {
			if waits[to]--; waits[to] == 0 {
				ready = append(ready, to)
			}
		}
	}
	return done < len(next)
}
