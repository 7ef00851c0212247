package onnxtest

import (
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// Config chooses a variant of an architecture. The zero Config is the network
// as published, at batch size 1.
type Config struct {
	Seed       uint64
	Batch      string  // name of a symbolic batch dimension; "": the batch size is 1
	Width      float64 // multiplies channel counts (default 1)
	Resolution int     // height and width of the image (default: as published)
	Classes    int     // default 1000
	Opset      int64   // default 13
}

func (c Config) batch() any {
	if c.Batch != "" {
		return c.Batch
	}
	return 1
}

// or is v unless it is zero.
func or[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

// cnn builds image networks: it follows shapes, stores weights and counts multiply-adds.
type cnn struct {
	g     *Graph
	cfg   Config
	batch any
	clip6 []string // the bounds of ReLU6, shared by all
}

// feat is a feature map of c channels, or with h = w = 0 a flat vector of c features.
type feat struct {
	name    string
	c, h, w int
}

func newCNN(name string, c Config, resolution int) (*cnn, feat) {
	r := or(c.Resolution, resolution)
	m := New(Header{Name: name, Seed: c.Seed, Opset: c.Opset})
	if c.Batch != "" {
		m.Bind(c.Batch, 1)
	}
	n := &cnn{g: m.Graph(), cfg: c, batch: c.batch()}
	return n, n.input("image", 3, r, r)
}

func (n *cnn) input(name string, c, h, w int) feat {
	return feat{n.g.Input(name, Float, n.batch, c, h, w), c, h, w}
}

// classes ends a classifier: x, the last node's, is its output. Unless it is a
// probability it is named for what it is.
func (n *cnn) classes(x feat) *Model {
	if last := n.g.pb.Node[len(n.g.pb.Node)-1]; last.GetOpType() != "Softmax" {
		x.name = "logits"
		last.Output[0] = x.name
	}
	n.g.Output(x.name, Float, n.batch, x.c)
	return n.g.m
}

// ch scales a channel count, to a multiple of 4 where it is not the original.
func (n *cnn) ch(c int) int {
	if n.cfg.Width == 0 || n.cfg.Width == 1 {
		return c
	}
	return max(4, int(math.Round(float64(c)*n.cfg.Width/4))*4)
}

// conv says how a convolution is made. kh, kw are the kernel's size (k sets both),
// p, ph, pw the padding on either side.
type conv struct {
	out       int
	k, kh, kw int
	s         int // stride, default 1
	p, ph, pw int
	group     int     // default 1
	bn        float64 // epsilon of a BatchNormalization instead of a bias; 0: bias
	noBias    bool    // neither
	gamma     float64 // scale of the BatchNormalization (default 1)
	gain      float64 // of the initialization (default 2, see Scaled)
	act       string  // "Relu", "Clip6" or "" for none
}

func (n *cnn) conv(name string, x feat, o conv) feat {
	kh, kw := or(o.kh, o.k), or(o.kw, o.k)
	ph, pw := or(o.ph, o.p), or(o.pw, o.p)
	s, group := or(o.s, 1), or(o.group, 1)
	y := feat{c: o.out, h: (x.h+2*ph-kh)/s + 1, w: (x.w+2*pw-kw)/s + 1}
	if y.h < 1 || y.w < 1 || x.h+2*ph < kh || x.w+2*pw < kw {
		diag.Bugf("convolution %s: input of %d×%d is too small", name, x.h, x.w)
	}
	in := int64(x.c / group)
	fan := in * int64(kh*kw)
	w := n.g.Weight(name+".weight", Float, Scaled(or(o.gain, 2), fan), int64(o.out), in, int64(kh), int64(kw))
	ins := []string{x.name, w}
	if o.bn == 0 && !o.noBias {
		ins = append(ins, n.g.Weight(name+".bias", Float, Uniform(-0.05, 0.05), int64(o.out)))
	}
	attrs := []With{
		Name(name), Ints("dilations", 1, 1), Int("group", int64(group)), Ints("kernel_shape", int64(kh), int64(kw)),
		Ints("pads", int64(ph), int64(pw), int64(ph), int64(pw)), Ints("strides", int64(s), int64(s)),
	}
	y.name = n.g.Op("Conv", ins, attrs...)
	n.g.m.macs += fan * int64(o.out*y.h*y.w)
	if o.bn != 0 {
		y = n.batchNorm(name+"/bn", y, o.bn, or(o.gamma, 1))
	}
	return n.act(name, y, o.act)
}

// batchNorm normalises with statistics near mean 0 and variance 1, which the
// scaling of the weights keeps true enough.
func (n *cnn) batchNorm(name string, x feat, eps, gamma float64) feat {
	c := int64(x.c)
	x.name = n.g.Op("BatchNormalization", []string{
		x.name,
		n.g.Weight(name+".weight", Float, Uniform(0.8*gamma, 1.2*gamma), c),
		n.g.Weight(name+".bias", Float, Uniform(-0.1, 0.1), c),
		n.g.Buffer(name+".running_mean", Float, Uniform(-0.1, 0.1), c),
		n.g.Buffer(name+".running_var", Float, Uniform(0.7, 1.3), c),
	}, Name(name), Flt("epsilon", float32(eps)))
	return x
}

func (n *cnn) act(name string, x feat, kind string) feat {
	switch kind {
	case "Relu":
		x.name = n.g.Op("Relu", []string{x.name}, Name(name+"/relu"))
	case "Clip6":
		if n.clip6 == nil {
			n.clip6 = []string{n.g.Scalar(0), n.g.Scalar(6)}
		}
		x.name = n.g.Op("Clip", []string{x.name, n.clip6[0], n.clip6[1]}, Name(name+"/relu6"))
	}
	return x
}

// pool is a window of k×k. With ceil the last window may be cut off.
type pool struct {
	k, s, p int
	ceil    bool
}

func (o pool) size(x int) int {
	n := x + 2*o.p - o.k
	if o.ceil {
		y := (n+o.s-1)/o.s + 1
		if (y-1)*o.s >= x+o.p { // the last window would start in the padding
			y--
		}
		return y
	}
	return n/o.s + 1
}

func (n *cnn) pool(op, name string, x feat, o pool, with ...With) feat {
	k, s, p := int64(o.k), int64(o.s), int64(o.p)
	with = append([]With{Name(name), Ints("kernel_shape", k, k), Ints("strides", s, s), Ints("pads", p, p, p, p)}, with...)
	if o.ceil {
		with = append(with, Int("ceil_mode", 1))
	}
	return feat{n.g.Op(op, []string{x.name}, with...), x.c, o.size(x.h), o.size(x.w)}
}

func (n *cnn) maxPool(name string, x feat, o pool) feat { return n.pool("MaxPool", name, x, o) }

// avgPool counts padding in the mean, as torchvision's networks do.
func (n *cnn) avgPool(name string, x feat, o pool) feat {
	return n.pool("AveragePool", name, x, o, Int("count_include_pad", 1))
}

// globalPool averages each channel and flattens.
func (n *cnn) globalPool(name string, x feat) feat {
	p := n.g.Op("GlobalAveragePool", []string{x.name}, Name(name))
	return n.flatten(name+"/flatten", feat{p, x.c, 1, 1})
}

func (n *cnn) flatten(name string, x feat) feat {
	return feat{name: n.g.Op("Flatten", []string{x.name}, Name(name), Int("axis", 1)), c: x.c * x.h * x.w}
}

// fc is a fully connected layer on a flat vector.
func (n *cnn) fc(name string, x feat, out int, act string) feat {
	gain := 1.0
	if act != "" {
		gain = 2
	}
	in := int64(x.c)
	y := feat{c: out, name: n.g.Op("Gemm", []string{
		x.name,
		n.g.Weight(name+".weight", Float, Scaled(gain, in), int64(out), in),
		n.g.Weight(name+".bias", Float, Uniform(-0.05, 0.05), int64(out)),
	}, Name(name), Int("transB", 1))}
	n.g.m.macs += in * int64(out)
	return n.act(name, y, act)
}

func (n *cnn) concat(name string, xs ...feat) feat {
	y := xs[0]
	var in []string
	y.c = 0
	for _, x := range xs {
		if x.h != y.h || x.w != y.w {
			diag.Bugf("concat %s: %d×%d beside %d×%d", name, x.h, x.w, y.h, y.w)
		}
		in = append(in, x.name)
		y.c += x.c
	}
	y.name = n.g.Op("Concat", in, Name(name), Int("axis", 1))
	return y
}

func (n *cnn) add(name string, a, b feat) feat {
	a.name = n.g.Op("Add", []string{a.name, b.name}, Name(name))
	return a
}

func (n *cnn) softmax(name string, x feat) feat {
	x.name = n.g.Op("Softmax", []string{x.name}, Name(name), Int("axis", 1))
	return x
}
