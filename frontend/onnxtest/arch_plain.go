package onnxtest

import "fmt"

// AlexNet is torchvision's alexnet: the single-column network of A. Krizhevsky,
// One weird trick for parallelizing convolutional neural networks, 2014, without
// groups and without local response normalization.
func AlexNet(c Config) *Model {
	n, x := newCNN("alexnet", c, 224)
	x = n.conv("features.0", x, conv{out: n.ch(64), k: 11, s: 4, p: 2, act: "Relu"})
	x = n.maxPool("features.2", x, pool{k: 3, s: 2})
	x = n.conv("features.3", x, conv{out: n.ch(192), k: 5, p: 2, act: "Relu"})
	x = n.maxPool("features.5", x, pool{k: 3, s: 2})
	x = n.conv("features.6", x, conv{out: n.ch(384), k: 3, p: 1, act: "Relu"})
	x = n.conv("features.8", x, conv{out: n.ch(256), k: 3, p: 1, act: "Relu"})
	x = n.conv("features.10", x, conv{out: n.ch(256), k: 3, p: 1, act: "Relu"})
	x = n.maxPool("features.12", x, pool{k: 3, s: 2})
	x = n.flatten("flatten", x)
	x = n.fc("classifier.1", x, n.ch(4096), "Relu")
	x = n.fc("classifier.4", x, n.ch(4096), "Relu")
	return n.classes(n.fc("classifier.6", x, or(c.Classes, 1000), ""))
}

// VGG16 is configuration D, VGG19 configuration E, of K. Simonyan, A. Zisserman,
// Very Deep Convolutional Networks for Large-Scale Image Recognition, 2014, table 1.
func VGG16(c Config) *Model { return vgg("vgg16", c, 2, 2, 3, 3, 3) }

// VGG19 is the deeper one; see VGG16.
func VGG19(c Config) *Model { return vgg("vgg19", c, 2, 2, 4, 4, 4) }

func vgg(name string, c Config, depths ...int) *Model {
	n, x := newCNN(name, c, 224)
	for stage, depth := range depths {
		out := n.ch(min(64<<stage, 512))
		for i := range depth {
			x = n.conv(fmt.Sprintf("conv%d_%d", stage+1, i+1), x, conv{out: out, k: 3, p: 1, act: "Relu"})
		}
		x = n.maxPool(fmt.Sprintf("pool%d", stage+1), x, pool{k: 2, s: 2})
	}
	x = n.flatten("flatten", x)
	x = n.fc("fc6", x, n.ch(4096), "Relu")
	x = n.fc("fc7", x, n.ch(4096), "Relu")
	return n.classes(n.fc("fc8", x, or(c.Classes, 1000), ""))
}

// SqueezeNet is version 1.1 of F. Iandola et al., SqueezeNet: AlexNet-level accuracy
// with 50x fewer parameters, 2016 (table 1, with the pooling moved forward), as
// torchvision's squeezenet1_1.
func SqueezeNet(c Config) *Model {
	n, x := newCNN("squeezenet1_1", c, 224)
	x = n.conv("conv1", x, conv{out: n.ch(64), k: 3, s: 2, act: "Relu"})
	x = n.maxPool("pool1", x, pool{k: 3, s: 2, ceil: true})
	fires := []struct{ squeeze, expand int }{{16, 64}, {16, 64}, {32, 128}, {32, 128}, {48, 192}, {48, 192}, {64, 256}, {64, 256}}
	for i, f := range fires {
		name := fmt.Sprintf("fire%d", i+2)
		s := n.conv(name+"/squeeze1x1", x, conv{out: n.ch(f.squeeze), k: 1, act: "Relu"})
		a := n.conv(name+"/expand1x1", s, conv{out: n.ch(f.expand), k: 1, act: "Relu"})
		b := n.conv(name+"/expand3x3", s, conv{out: n.ch(f.expand), k: 3, p: 1, act: "Relu"})
		x = n.concat(name+"/concat", a, b)
		if i == 1 || i == 3 {
			x = n.maxPool(fmt.Sprintf("pool%d", i+2), x, pool{k: 3, s: 2, ceil: true})
		}
	}
	x = n.conv("conv10", x, conv{out: or(c.Classes, 1000), k: 1, act: "Relu"})
	return n.classes(n.globalPool("pool10", x))
}
