package onnxtest

import "fmt"

// inceptionV1 lists the inception modules of GoogLeNet: C. Szegedy et al., Going
// Deeper with Convolutions, 2014, table 1. A pooling stands before those with pool set.
var inceptionV1 = [...]struct {
	name                          string
	one, reduce3, three           int
	reduce5, five, poolProjection int
	pool                          bool
}{
	{"3a", 64, 96, 128, 16, 32, 32, true},
	{"3b", 128, 128, 192, 32, 96, 64, false},
	{"4a", 192, 96, 208, 16, 48, 64, true},
	{"4b", 160, 112, 224, 24, 64, 64, false},
	{"4c", 128, 128, 256, 24, 64, 64, false},
	{"4d", 112, 144, 288, 32, 64, 64, false},
	{"4e", 256, 160, 320, 32, 128, 128, false},
	{"5a", 256, 160, 320, 32, 128, 128, true},
	{"5b", 384, 192, 384, 48, 128, 128, false},
}

// GoogLeNet is the network of the paper as BVLC's Caffe model has it: biases, local
// response normalization, 5×5 convolutions, no auxiliary classifiers, Softmax at the end.
func GoogLeNet(c Config) *Model {
	n, x := newCNN("googlenet", c, 224)
	lrn := func(name string, x feat) feat {
		x.name = n.g.Op("LRN", []string{x.name}, Name(name), Int("size", 5), Flt("alpha", 1e-4), Flt("beta", 0.75))
		return x
	}
	x = n.conv("conv1/7x7_s2", x, conv{out: n.ch(64), k: 7, s: 2, p: 3, act: "Relu"})
	x = lrn("pool1/norm1", n.maxPool("pool1/3x3_s2", x, pool{k: 3, s: 2, ceil: true}))
	x = n.conv("conv2/3x3_reduce", x, conv{out: n.ch(64), k: 1, act: "Relu"})
	x = lrn("conv2/norm2", n.conv("conv2/3x3", x, conv{out: n.ch(192), k: 3, p: 1, act: "Relu"}))
	for _, m := range inceptionV1 {
		if m.pool {
			x = n.maxPool(fmt.Sprintf("pool%c/3x3_s2", m.name[0]-1), x, pool{k: 3, s: 2, ceil: true})
		}
		p := "inception_" + m.name + "/"
		a := n.conv(p+"1x1", x, conv{out: n.ch(m.one), k: 1, act: "Relu"})
		b := n.conv(p+"3x3_reduce", x, conv{out: n.ch(m.reduce3), k: 1, act: "Relu"})
		b = n.conv(p+"3x3", b, conv{out: n.ch(m.three), k: 3, p: 1, act: "Relu"})
		d := n.conv(p+"5x5_reduce", x, conv{out: n.ch(m.reduce5), k: 1, act: "Relu"})
		d = n.conv(p+"5x5", d, conv{out: n.ch(m.five), k: 5, p: 2, act: "Relu"})
		e := n.maxPool(p+"pool", x, pool{k: 3, s: 1, p: 1})
		e = n.conv(p+"pool_proj", e, conv{out: n.ch(m.poolProjection), k: 1, act: "Relu"})
		x = n.concat(p+"output", a, b, d, e)
	}
	x = n.globalPool("pool5/7x7_s1", x)
	return n.classes(n.softmax("prob", n.fc("loss3/classifier", x, or(c.Classes, 1000), "")))
}

// GoogLeNetBN is torchvision's googlenet: batch normalization, 3×3 convolutions
// where the paper has 5×5, no auxiliary classifiers.
func GoogLeNetBN(c Config) *Model {
	n, x := newCNN("googlenet_bn", c, 224)
	const eps = 1e-3
	cv := func(name string, x feat, out, k, s int) feat {
		return n.conv(name, x, conv{out: n.ch(out), k: k, s: s, p: k / 2, bn: eps, act: "Relu"})
	}
	x = cv("conv1", x, 64, 7, 2)
	x = n.maxPool("maxpool1", x, pool{k: 3, s: 2, ceil: true})
	x = cv("conv3", cv("conv2", x, 64, 1, 1), 192, 3, 1)
	for _, m := range inceptionV1 {
		if m.pool {
			k := 3
			if m.name == "5a" {
				k = 2
			}
			x = n.maxPool(fmt.Sprintf("maxpool%c", m.name[0]-1), x, pool{k: k, s: 2, ceil: true})
		}
		p := "inception" + m.name + "/branch"
		a := cv(p+"1", x, m.one, 1, 1)
		b := cv(p+"2.1", cv(p+"2.0", x, m.reduce3, 1, 1), m.three, 3, 1)
		d := cv(p+"3.1", cv(p+"3.0", x, m.reduce5, 1, 1), m.five, 3, 1)
		e := n.maxPool(p+"4.0", x, pool{k: 3, s: 1, p: 1, ceil: true})
		x = n.concat("inception"+m.name+"/concat", a, b, d, cv(p+"4.1", e, m.poolProjection, 1, 1))
	}
	x = n.globalPool("avgpool", x)
	return n.classes(n.fc("fc", x, or(c.Classes, 1000), ""))
}

// InceptionV3 is the network of C. Szegedy et al., Rethinking the Inception
// Architecture for Computer Vision, 2015, as torchvision's inception_v3 without
// the auxiliary classifier.
func InceptionV3(c Config) *Model {
	n, x := newCNN("inception_v3", c, 299)
	v := inceptionV3{n}
	x = v.conv("Conv2d_1a_3x3", x, 32, conv{k: 3, s: 2})
	x = v.conv("Conv2d_2a_3x3", x, 32, conv{k: 3})
	x = v.conv("Conv2d_2b_3x3", x, 64, conv{k: 3, p: 1})
	x = n.maxPool("maxpool1", x, pool{k: 3, s: 2})
	x = v.conv("Conv2d_3b_1x1", x, 80, conv{k: 1})
	x = v.conv("Conv2d_4a_3x3", x, 192, conv{k: 3})
	x = n.maxPool("maxpool2", x, pool{k: 3, s: 2})
	x = v.a("Mixed_5b", x, 32)
	x = v.a("Mixed_5c", x, 64)
	x = v.a("Mixed_5d", x, 64)
	x = v.b("Mixed_6a", x)
	for i, c7 := range []int{128, 160, 160, 192} {
		x = v.c("Mixed_6"+string(rune('b'+i)), x, c7)
	}
	x = v.d("Mixed_7a", x)
	x = v.e("Mixed_7b", x)
	x = v.e("Mixed_7c", x)
	x = n.globalPool("avgpool", x)
	return n.classes(n.fc("fc", x, or(c.Classes, 1000), ""))
}

// inceptionV3 builds the five kinds of modules, in torchvision's order and names.
type inceptionV3 struct{ n *cnn }

func (v inceptionV3) conv(name string, x feat, out int, o conv) feat {
	o.out, o.bn, o.act = v.n.ch(out), 1e-3, "Relu"
	return v.n.conv(name, x, o)
}

func (v inceptionV3) pooled(name string, x feat, out int) feat {
	p := v.n.avgPool(name+"/pool", x, pool{k: 3, s: 1, p: 1})
	return v.conv(name+"/branch_pool", p, out, conv{k: 1})
}

func (v inceptionV3) a(name string, x feat, pooled int) feat {
	one := v.conv(name+"/branch1x1", x, 64, conv{k: 1})
	five := v.conv(name+"/branch5x5_1", x, 48, conv{k: 1})
	five = v.conv(name+"/branch5x5_2", five, 64, conv{k: 5, p: 2})
	dbl := v.conv(name+"/branch3x3dbl_1", x, 64, conv{k: 1})
	dbl = v.conv(name+"/branch3x3dbl_2", dbl, 96, conv{k: 3, p: 1})
	dbl = v.conv(name+"/branch3x3dbl_3", dbl, 96, conv{k: 3, p: 1})
	return v.n.concat(name+"/concat", one, five, dbl, v.pooled(name, x, pooled))
}

func (v inceptionV3) b(name string, x feat) feat {
	three := v.conv(name+"/branch3x3", x, 384, conv{k: 3, s: 2})
	dbl := v.conv(name+"/branch3x3dbl_1", x, 64, conv{k: 1})
	dbl = v.conv(name+"/branch3x3dbl_2", dbl, 96, conv{k: 3, p: 1})
	dbl = v.conv(name+"/branch3x3dbl_3", dbl, 96, conv{k: 3, s: 2})
	return v.n.concat(name+"/concat", three, dbl, v.n.maxPool(name+"/pool", x, pool{k: 3, s: 2}))
}

var (
	wide = conv{kh: 1, kw: 7, pw: 3}
	high = conv{kh: 7, kw: 1, ph: 3}
)

func (v inceptionV3) c(name string, x feat, c7 int) feat {
	one := v.conv(name+"/branch1x1", x, 192, conv{k: 1})
	seven := v.conv(name+"/branch7x7_1", x, c7, conv{k: 1})
	seven = v.conv(name+"/branch7x7_2", seven, c7, wide)
	seven = v.conv(name+"/branch7x7_3", seven, 192, high)
	dbl := v.conv(name+"/branch7x7dbl_1", x, c7, conv{k: 1})
	dbl = v.conv(name+"/branch7x7dbl_2", dbl, c7, high)
	dbl = v.conv(name+"/branch7x7dbl_3", dbl, c7, wide)
	dbl = v.conv(name+"/branch7x7dbl_4", dbl, c7, high)
	dbl = v.conv(name+"/branch7x7dbl_5", dbl, 192, wide)
	return v.n.concat(name+"/concat", one, seven, dbl, v.pooled(name, x, 192))
}

func (v inceptionV3) d(name string, x feat) feat {
	three := v.conv(name+"/branch3x3_1", x, 192, conv{k: 1})
	three = v.conv(name+"/branch3x3_2", three, 320, conv{k: 3, s: 2})
	seven := v.conv(name+"/branch7x7x3_1", x, 192, conv{k: 1})
	seven = v.conv(name+"/branch7x7x3_2", seven, 192, wide)
	seven = v.conv(name+"/branch7x7x3_3", seven, 192, high)
	seven = v.conv(name+"/branch7x7x3_4", seven, 192, conv{k: 3, s: 2})
	return v.n.concat(name+"/concat", three, seven, v.n.maxPool(name+"/pool", x, pool{k: 3, s: 2}))
}

func (v inceptionV3) e(name string, x feat) feat {
	split := func(branch string, x feat) feat {
		a := v.conv(branch+"a", x, 384, conv{kh: 1, kw: 3, pw: 1})
		b := v.conv(branch+"b", x, 384, conv{kh: 3, kw: 1, ph: 1})
		return v.n.concat(branch+"/concat", a, b)
	}
	one := v.conv(name+"/branch1x1", x, 320, conv{k: 1})
	three := split(name+"/branch3x3_2", v.conv(name+"/branch3x3_1", x, 384, conv{k: 1}))
	dbl := v.conv(name+"/branch3x3dbl_1", x, 448, conv{k: 1})
	dbl = split(name+"/branch3x3dbl_3", v.conv(name+"/branch3x3dbl_2", dbl, 384, conv{k: 3, p: 1}))
	return v.n.concat(name+"/concat", one, three, dbl, v.pooled(name, x, 192))
}
