package onnxtest

import (
	"fmt"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// TowersConfig chooses a three-tower network. The zero value takes about 2 GMACs
// each for the image and the text tower.
type TowersConfig struct {
	Seed       uint64
	Batch      string // symbolic batch dimension; "": 1
	Width      float64
	Resolution int // of the image, default 224
	TextLayers int // default 6
	TextHidden int // default 512, in 8 heads
	Seq        int // tokens, default 128
	Columns    int // of the table, default 256
	TableWidth int // features in the table's tower, default 1024
	Vocab      int // default 8192
}

// ThreeTowers joins a ResNet-18 over an image, a transformer encoder over a text
// and a residual MLP over a row of a table, which share nothing before the join:
// three branches that can run at once, and a fusion head after them. It has two
// outputs: a score per class, and the embedding that the head works on.
func ThreeTowers(c TowersConfig) *Model {
	tc := TextConfig{Layers: or(c.TextLayers, 6), Hidden: or(c.TextHidden, 512), Heads: 8, Vocab: or(c.Vocab, 8192), Positions: or(c.Seq, 128), Seq: or(c.Seq, 128), Opset: 17}
	tc = tc.with(1, 1, 1, 1, 1)
	m := New(Header{Name: "three_towers", Seed: c.Seed, Opset: tc.Opset})
	g := m.Graph()
	cfg := Config{Batch: c.Batch, Width: c.Width}
	if c.Batch != "" {
		m.Bind(c.Batch, 1)
	}
	n := &cnn{g: g, cfg: cfg, batch: cfg.batch()}

	r := or(c.Resolution, 224)
	image := n.input("image", 3, r, r)
	ids := g.Input("input_ids", Int64, n.batch, tc.Seq)
	m.Hint(ids, Hint{0, float64(tc.Vocab - 1)})
	mask := g.Input("attention_mask", Int64, n.batch, tc.Seq)
	columns := or(c.Columns, 256)
	table := feat{name: g.Input("table", Float, n.batch, columns), c: columns}

	x := n.resnetTrunk("image/", image, false, 2, 2, 2, 2)
	img := n.fc("image/project", n.globalPool("image/avgpool", x), n.ch(512), "Relu")

	t := &text{g: g, c: tc, prefix: "text/", tokens: int64(tc.Seq), keys: int64(tc.Seq)}
	h := t.embeddings(ids, "")
	bias := t.attentionMask(mask)
	for i := range tc.Layers {
		h = t.encoderLayer(fmt.Sprintf("layer.%d", i), h, bias)
	}
	mean := feat{name: g.Op("ReduceMean", []string{h}, Name("text/mean"), Ints("axes", 1), Int("keepdims", 0)), c: tc.Hidden}
	txt := n.fc("text/project", mean, n.ch(512), "Relu")

	wide := or(c.TableWidth, 1024)
	y := n.fc("table/in", table, wide, "Relu")
	for i := range 4 {
		b := fmt.Sprintf("table/block%d", i)
		z := n.fc(b+"/fc2", n.fc(b+"/fc1", y, wide, "Relu"), wide, "")
		y = n.add(b+"/add", y, z)
	}
	tab := n.fc("table/project", y, n.ch(512), "Relu")

	if img.c != txt.c || txt.c != tab.c {
		diag.Bugf("towers end in %d, %d and %d features", img.c, txt.c, tab.c)
	}
	j := n.concat("join", img, txt, tab)
	e := n.fc("head/fc1", j, n.ch(512), "Relu")
	g.Output(e.name, Float, n.batch, e.c)
	s := n.softmax("score", n.fc("head/fc2", e, 10, ""))
	g.Output(s.name, Float, n.batch, 10)
	return m
}
