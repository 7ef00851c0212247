package onnxtest

import "fmt"

// UNet is the network of O. Ronneberger et al., U-Net: Convolutional Networks for
// Biomedical Image Segmentation, 2015, figure 1, in its usual form: padded
// convolutions with batch normalization, transposed convolutions upwards, one
// class. The skips cross the whole network. The default resolution is 256.
func UNet(c Config) *Model {
	n, x := newCNN("unet", c, 256)
	double := func(name string, x feat, out int) feat {
		o := conv{out: out, k: 3, p: 1, bn: 1e-5, act: "Relu"}
		return n.conv(name+"/conv2", n.conv(name+"/conv1", x, o), o)
	}
	var skips []feat
	for i := range 4 {
		x = double(fmt.Sprintf("down%d", i+1), x, n.ch(64<<i))
		skips = append(skips, x)
		x = n.maxPool(fmt.Sprintf("down%d/pool", i+1), x, pool{k: 2, s: 2})
	}
	x = double("bottom", x, n.ch(1024))
	for i := 3; i >= 0; i-- {
		name := fmt.Sprintf("up%d", i+1)
		out := n.ch(64 << i)
		in := int64(x.c)
		up := feat{c: out, h: 2 * x.h, w: 2 * x.w}
		up.name = n.g.Op("ConvTranspose", []string{
			x.name,
			n.g.Weight(name+".weight", Float, Scaled(2, in), in, int64(out), 2, 2),
			n.g.Weight(name+".bias", Float, Uniform(-0.05, 0.05), int64(out)),
		},
			Name(name+"/upconv"), Ints("kernel_shape", 2, 2), Ints("strides", 2, 2))
		n.g.m.macs += in * 4 * int64(out*x.h*x.w)
		x = double(name, n.concat(name+"/concat", skips[i], up), out)
	}
	x = n.conv("head", x, conv{out: 1, k: 1, gain: 1})
	y := n.g.Op("Sigmoid", []string{x.name}, Name("mask"))
	n.g.Output(y, Float, n.batch, x.c, x.h, x.w)
	return n.g.m
}
