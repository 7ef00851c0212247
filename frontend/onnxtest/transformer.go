package onnxtest

import (
	"fmt"
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// TextConfig chooses a transformer. Zero fields take the values of the published
// base model. Batch and sequence length are symbols unless fixed.
type TextConfig struct {
	Seed         uint64
	Layers       int
	Hidden       int // must be a multiple of Heads
	Heads        int
	Intermediate int // default 4·Hidden
	Vocab        int
	Positions    int // longest sequence
	Batch        int // 0: the symbol "batch"
	Seq          int // 0: the symbol "seq", 128 (BERT) or 4 (GPT) unless bound otherwise
	// Opset below 17 writes LayerNormalization as nine elementary nodes, as
	// exporters did before that opset. Default 17.
	Opset int64
}

func (c TextConfig) with(layers, hidden, heads, vocab, positions int) TextConfig {
	c.Layers, c.Heads = or(c.Layers, layers), or(c.Heads, heads)
	c.Hidden = or(c.Hidden, hidden)
	c.Intermediate = or(c.Intermediate, 4*c.Hidden)
	c.Vocab, c.Positions = or(c.Vocab, vocab), or(c.Positions, positions)
	c.Opset = or(c.Opset, 17)
	if c.Hidden%c.Heads != 0 {
		diag.Bugf("%d features cannot be shared among %d heads", c.Hidden, c.Heads)
	}
	return c
}

func (c TextConfig) dims() (batch, seq any) {
	batch, seq = "batch", "seq"
	if c.Batch != 0 {
		batch = c.Batch
	}
	if c.Seq != 0 {
		seq = c.Seq
	}
	return batch, seq
}

// text builds transformers. Values are of shape [batch, seq, features].
type text struct {
	g      *Graph
	c      TextConfig
	prefix string // of all names
	tokens int64  // per item of the batch, for counting multiply-adds
	keys   int64  // tokens that each token attends to
}

// linear is x·W + b on the last axis.
func (t *text) linear(name, x string, in, out int) string {
	name = t.prefix + name
	w := t.g.Weight(name+".weight", Float, Scaled(1, int64(in)), int64(in), int64(out))
	b := t.g.Weight(name+".bias", Float, Uniform(-0.05, 0.05), int64(out))
	t.g.m.macs += t.tokens * int64(in) * int64(out)
	return t.g.add(name+"/Add", t.g.Op("MatMul", []string{x, w}, Name(name+"/MatMul")), b)
}

// norm is a layer normalization over the last axis (J. Ba et al., Layer Normalization, 2016).
func (t *text) norm(name, x string, eps float32) string {
	name = t.prefix + name
	g := t.g
	scale := g.Weight(name+".weight", Float, Uniform(0.8, 1.2), int64(t.c.Hidden))
	bias := g.Weight(name+".bias", Float, Uniform(-0.1, 0.1), int64(t.c.Hidden))
	if t.c.Opset >= 17 {
		return g.Op("LayerNormalization", []string{x, scale, bias}, Name(name), Int("axis", -1), Flt("epsilon", eps))
	}
	mean := g.Op("ReduceMean", []string{x}, Name(name+"/ReduceMean"), Ints("axes", -1), Int("keepdims", 1))
	d := g.Op("Sub", []string{x, mean}, Name(name+"/Sub"))
	v := g.Op("ReduceMean", []string{g.Op("Pow", []string{d, g.Scalar(2)}, Name(name+"/Pow"))}, Name(name+"/ReduceMean_1"), Ints("axes", -1), Int("keepdims", 1))
	s := g.Op("Sqrt", []string{g.add(name+"/Add", v, g.Scalar(eps))}, Name(name+"/Sqrt"))
	y := g.Op("Mul", []string{g.Op("Div", []string{d, s}, Name(name+"/Div")), scale}, Name(name+"/Mul"))
	return g.add(name+"/Add_1", y, bias)
}

// gelu is x·(1 + erf(x/√2))/2 (D. Hendrycks, K. Gimpel, Gaussian Error Linear Units, 2016).
func (t *text) gelu(name, x string) string {
	name = t.prefix + name
	g := t.g
	e := g.Op("Erf", []string{g.Op("Div", []string{x, g.Scalar(math.Sqrt2)}, Name(name+"/Div"))}, Name(name+"/Erf"))
	y := g.Op("Mul", []string{x, g.add(name+"/Add", e, g.Scalar(1))}, Name(name+"/Mul"))
	return g.Op("Mul", []string{y, g.Scalar(0.5)}, Name(name+"/Mul_1"))
}

// geluTanh is the approximation of it with a hyperbolic tangent that GPT-2 uses.
func (t *text) geluTanh(name, x string) string {
	name = t.prefix + name
	g := t.g
	cube := g.Op("Pow", []string{x, g.Scalar(3)}, Name(name+"/Pow"))
	in := g.add(name+"/Add", x, g.Op("Mul", []string{cube, g.Scalar(0.044715)}, Name(name+"/Mul")))
	th := g.tanh(name+"/Tanh", g.Op("Mul", []string{in, g.Scalar(float32(math.Sqrt(2 / math.Pi)))}, Name(name+"/Mul_1")))
	y := g.Op("Mul", []string{x, g.add(name+"/Add_1", th, g.Scalar(1))}, Name(name+"/Mul_2"))
	return g.Op("Mul", []string{y, g.Scalar(0.5)}, Name(name+"/Mul_3"))
}

// heads reshapes [batch, seq, hidden] to [batch, heads, seq, hidden/heads], with
// the last two swapped for the keys of a product.
func (t *text) heads(name, x string, swap bool) string {
	name = t.prefix + name
	r := t.g.Op("Reshape", []string{x, t.g.Vec(0, 0, int64(t.c.Heads), int64(t.c.Hidden/t.c.Heads))}, Name(name+"/Reshape"))
	perm := []int64{0, 2, 1, 3}
	if swap {
		perm = []int64{0, 2, 3, 1}
	}
	return t.g.Op("Transpose", []string{r}, Name(name+"/Transpose"), Ints("perm", perm...))
}

// attend is softmax(q·k/√d + mask)·v, merged to [batch, seq, hidden] again; k has
// its last two axes swapped (A. Vaswani et al., Attention Is All You Need, 2017, section 3.2).
func (t *text) attend(name, q, k, v, mask string) string {
	name = t.prefix + name
	g := t.g
	s := g.Op("MatMul", []string{q, k}, Name(name+"/MatMul"))
	s = g.Op("Div", []string{s, g.Scalar(float32(math.Sqrt(float64(t.c.Hidden / t.c.Heads))))}, Name(name+"/Div"))
	p := g.Op("Softmax", []string{g.add(name+"/Add", s, mask)}, Name(name+"/Softmax"), Int("axis", -1))
	y := g.Op("MatMul", []string{p, v}, Name(name+"/MatMul_1"))
	y = g.Op("Transpose", []string{y}, Name(name+"/Transpose"), Ints("perm", 0, 2, 1, 3))
	t.g.m.macs += 2 * t.tokens * t.keys * int64(t.c.Hidden)
	return g.Op("Reshape", []string{y, g.Vec(0, 0, int64(t.c.Hidden))}, Name(name+"/Reshape"))
}

// attentionMask turns [batch, keys] of ones and zeros into [batch, 1, 1, keys] of 0 and -10000.
func (t *text) attentionMask(mask string) string {
	name := t.prefix + "mask"
	m := t.g.Op("Unsqueeze", []string{mask, t.g.Vec(1, 2)}, Name(name+"/Unsqueeze"))
	m = t.g.cast(name+"/Cast", m, Float)
	m = t.g.Op("Sub", []string{t.g.Scalar(1), m}, Name(name+"/Sub"))
	return t.g.Op("Mul", []string{m, t.g.Scalar(-10000)}, Name(name+"/Mul"))
}

// encoderLayer is a layer of BERT: normalization after each residual sum.
func (t *text) encoderLayer(name, x, mask string) string {
	h := t.c.Hidden
	q := t.heads(name+"/attention/query", t.linear(name+".attention.query", x, h, h), false)
	k := t.heads(name+"/attention/key", t.linear(name+".attention.key", x, h, h), true)
	v := t.heads(name+"/attention/value", t.linear(name+".attention.value", x, h, h), false)
	y := t.linear(name+".attention.output", t.attend(name+"/attention", q, k, v, mask), h, h)
	x = t.norm(name+".attention.norm", t.g.add(t.prefix+name+"/attention/residual", y, x), 1e-12)
	y = t.gelu(name+"/gelu", t.linear(name+".intermediate", x, h, t.c.Intermediate))
	y = t.linear(name+".output", y, t.c.Intermediate, h)
	return t.norm(name+".norm", t.g.add(t.prefix+name+"/residual", y, x), 1e-12)
}

// embeddings sums those of tokens, positions and, if types is not "", segments.
func (t *text) embeddings(ids, types string) string {
	g, p, h := t.g, t.prefix+"embeddings.", int64(t.c.Hidden)
	table := func(name string, n int) string {
		return g.Weight(p+name+".weight", Float, Uniform(-0.1, 0.1), int64(n), h)
	}
	x := g.Op("Gather", []string{table("word", t.c.Vocab), ids}, Name(p+"word/Gather"))
	// Positions 0, 1, ... as many as there are tokens: a slice of a constant.
	shape := g.Op("Shape", []string{ids}, Name(p+"Shape"))
	n := g.Op("Gather", []string{shape, g.Store(Int64s(p+"axis", []int64{1}, 1))}, Name(p+"Gather"), Int("axis", 0))
	all := make([]int64, t.c.Positions)
	for i := range all {
		all[i] = int64(i)
	}
	ps := g.Op("Slice", []string{g.Store(Int64s(p+"position_ids", all, 1, int64(len(all)))), g.Vec(0), n, g.Vec(1)}, Name(p+"Slice"))
	pos := g.Op("Gather", []string{table("position", t.c.Positions), ps}, Name(p+"position/Gather"))
	if types != "" {
		x = g.add(p+"Add", x, g.Op("Gather", []string{table("token_type", 2), types}, Name(p+"token_type/Gather")))
	}
	return t.norm("embeddings.norm", g.add(p+"Add_1", x, pos), 1e-12)
}

// BERT is the encoder of J. Devlin et al., BERT: Pre-training of Deep Bidirectional
// Transformers, 2018, with embeddings and pooler; by default the base model (12
// layers, 768 features, 12 heads, 30,522 tokens, 512 positions). Inputs are
// input_ids, attention_mask and token_type_ids of [batch, seq].
func BERT(c TextConfig) *Model {
	c = c.with(12, 768, 12, 30522, 512)
	m := New(Header{Name: "bert", Seed: c.Seed, Opset: c.Opset})
	g := m.Graph()
	t := &text{g: g, c: c, tokens: int64(or(c.Seq, min(128, c.Positions)))}
	t.keys = t.tokens
	batch, seq := c.dims()
	m.Bind("batch", 1)
	m.Bind("seq", t.tokens)
	ids := g.Input("input_ids", Int64, batch, seq)
	mask := g.Input("attention_mask", Int64, batch, seq)
	types := g.Input("token_type_ids", Int64, batch, seq)
	m.Hint(ids, Hint{0, float64(c.Vocab - 1)})
	x := t.embeddings(ids, types)
	bias := t.attentionMask(mask)
	for i := range c.Layers {
		x = t.encoderLayer(fmt.Sprintf("layer.%d", i), x, bias)
	}
	last := g.rename(x, "last_hidden_state")
	first := g.Op("Gather", []string{last, g.Store(Int64s("pooler.first", []int64{0}))}, Name("pooler/Gather"), Int("axis", 1))
	t.tokens = 1
	pooled := g.Op("Tanh", []string{t.linear("pooler", first, c.Hidden, c.Hidden)}, Name("pooler/Tanh"), Outs("pooler_output"))
	g.Output(last, Float, batch, seq, c.Hidden)
	g.Output(pooled, Float, batch, c.Hidden)
	return m
}

// rename renames the value x, the output of the last node, without a node.
func (g *Graph) rename(x, name string) string {
	last := g.pb.Node[len(g.pb.Node)-1]
	if last.Output[0] != x {
		diag.Bugf("value %s is not the last node's", x)
	}
	last.Output[0] = name
	return name
}

// GPT is the decoder of A. Radford et al., Language Models are Unsupervised
// Multitask Learners, 2019 (GPT-2), with a cache of keys and values; by default
// the small model (12 layers, 768 features, 12 heads, 50,257 tokens, 1,024
// positions). Inputs are input_ids of [batch, seq], attention_mask of
// [batch, past + seq] and per layer past.i.key and past.i.value of [batch,
// heads, past, hidden/heads]; outputs are logits and present.i.key, present.i.value.
// The token embedding serves transposed as the last layer's weight.
func GPT(c TextConfig) *Model {
	c = c.with(12, 768, 12, 50257, 1024)
	const past = 16 // unless bound otherwise
	m := New(Header{Name: "gpt", Seed: c.Seed, Opset: c.Opset})
	g := m.Graph()
	t := &text{g: g, c: c, tokens: int64(or(c.Seq, 4))}
	t.keys = t.tokens + past
	batch, seq := c.dims()
	m.Bind("batch", 1)
	m.Bind("seq", t.tokens)
	m.Bind("past", past)
	sum := "past + seq"
	if c.Seq != 0 {
		sum = fmt.Sprintf("past + %d", c.Seq)
	}
	d := c.Hidden / c.Heads
	ids := g.Input("input_ids", Int64, batch, seq)
	m.Hint(ids, Hint{0, float64(c.Vocab - 1)})
	mask := g.Input("attention_mask", Int64, batch, sum)
	m.Hint(mask, Hint{1, 1})
	cache := func(prefix string, i int, kind string) string { return fmt.Sprintf("%s.%d.%s", prefix, i, kind) }
	for i := range c.Layers {
		for _, kind := range []string{"key", "value"} {
			g.Input(cache("past", i, kind), Float, batch, c.Heads, "past", d)
		}
	}

	// Lengths, positions and the causal mask are computed from shapes.
	length := func(name, of string, axis int64) string {
		s := g.Op("Shape", []string{of}, Name(name+"/Shape"))
		return g.Op("Gather", []string{s, g.Store(Int64s(name+"/axis", []int64{axis}))}, Name(name+"/Gather"), Int("axis", 0))
	}
	zero, one := g.Store(Int64s("zero", []int64{0})), g.Store(Int64s("one", []int64{1}))
	pastLen, seqLen := length("past_len", cache("past", 0, "key"), 2), length("seq_len", ids, 1)
	total := g.add("total_len", pastLen, seqLen)
	rows := g.Op("Range", []string{pastLen, total, one}, Name("positions/Range"))
	cols := g.Op("Range", []string{zero, total, one}, Name("keys/Range"))
	seen := g.Op("Less", []string{g.Op("Unsqueeze", []string{rows, g.Vec(1)}, Name("causal/Unsqueeze")), cols}, Name("causal/Less"))
	causal := g.Op("Where", []string{seen, g.Scalar(-10000), g.Scalar(0)}, Name("causal/Where"))
	bias := g.add("bias", t.attentionMask(mask), causal)

	wte := g.Weight("wte.weight", Float, Uniform(-0.08, 0.08), int64(c.Vocab), int64(c.Hidden))
	wpe := g.Weight("wpe.weight", Float, Uniform(-0.08, 0.08), int64(c.Positions), int64(c.Hidden))
	x := g.add("embed", g.Op("Gather", []string{wte, ids}, Name("wte/Gather")), g.Op("Gather", []string{wpe, rows}, Name("wpe/Gather")))
	var present []string
	for i := range c.Layers {
		name := fmt.Sprintf("h.%d", i)
		y := t.norm(name+".ln_1", x, 1e-5)
		qkv := g.Ops("Split", 3, []string{t.linear(name+".attn.c_attn", y, c.Hidden, 3*c.Hidden)}, Name(name+"/attn/Split"), Int("axis", 2))
		join := func(kind, v string) string {
			out := cache("present", i, kind)
			g.Op("Concat", []string{cache("past", i, kind), v}, Name(name+"/attn/"+kind+"/Concat"), Outs(out), Int("axis", 2))
			present = append(present, out)
			return out
		}
		q := t.heads(name+"/attn/q", qkv[0], false)
		k := join("key", t.heads(name+"/attn/k", qkv[1], false))
		v := join("value", t.heads(name+"/attn/v", qkv[2], false))
		kt := g.Op("Transpose", []string{k}, Name(name+"/attn/kt"), Ints("perm", 0, 1, 3, 2))
		y = t.linear(name+".attn.c_proj", t.attend(name+"/attn", q, kt, v, bias), c.Hidden, c.Hidden)
		x = g.add(name+"/residual", x, y)
		y = t.linear(name+".mlp.c_fc", t.norm(name+".ln_2", x, 1e-5), c.Hidden, c.Intermediate)
		y = t.linear(name+".mlp.c_proj", t.geluTanh(name+"/mlp/gelu", y), c.Intermediate, c.Hidden)
		x = g.add(name+"/residual_1", x, y)
	}
	x = t.norm("ln_f", x, 1e-5)
	head := g.Op("Transpose", []string{wte}, Name("lm_head/Transpose"), Ints("perm", 1, 0))
	m.macs += t.tokens * int64(c.Hidden) * int64(c.Vocab)
	g.Output(g.Op("MatMul", []string{x, head}, Name("lm_head/MatMul"), Outs("logits")), Float, batch, seq, c.Vocab)
	for _, p := range present {
		g.Output(p, Float, batch, c.Heads, sum, d)
	}
	return m
}
