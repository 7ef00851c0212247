package onnxtest

import "fmt"

// branchGamma scales the last BatchNormalization of a residual branch: each block
// adds a quarter of the variance that it finds, so that deep networks stay bounded.
const branchGamma = 0.5

// ResNet50 is the network of K. He et al., Deep Residual Learning for Image
// Recognition, 2015, table 1, with the stride in the 3×3 convolutions as torchvision's.
func ResNet50(c Config) *Model { return resnet("resnet50", c, true, 3, 4, 6, 3) }

// ResNet18 is the one of 18 layers, of basic blocks; see ResNet50.
func ResNet18(c Config) *Model { return resnet("resnet18", c, false, 2, 2, 2, 2) }

func resnet(name string, c Config, bottleneck bool, depths ...int) *Model {
	n, x := newCNN(name, c, 224)
	x = n.resnetTrunk("", x, bottleneck, depths...)
	x = n.globalPool("avgpool", x)
	return n.classes(n.fc("fc", x, or(c.Classes, 1000), ""))
}

// resnetTrunk is a ResNet up to its global pooling; prefix begins all names.
func (n *cnn) resnetTrunk(prefix string, x feat, bottleneck bool, depths ...int) feat {
	const eps = 1e-5
	x = n.conv(prefix+"conv1", x, conv{out: n.ch(64), k: 7, s: 2, p: 3, bn: eps, act: "Relu"})
	x = n.maxPool(prefix+"maxpool", x, pool{k: 3, s: 2, p: 1})
	for stage, depth := range depths {
		for i := range depth {
			name := fmt.Sprintf("%slayer%d.%d", prefix, stage+1, i)
			mid, stride := n.ch(64<<stage), 1
			if i == 0 && stage > 0 {
				stride = 2
			}
			var y feat
			out := mid
			if bottleneck {
				out = n.ch(256 << stage)
				y = n.conv(name+"/conv1", x, conv{out: mid, k: 1, bn: eps, act: "Relu"})
				y = n.conv(name+"/conv2", y, conv{out: mid, k: 3, p: 1, s: stride, bn: eps, act: "Relu"})
				y = n.conv(name+"/conv3", y, conv{out: out, k: 1, bn: eps, gamma: branchGamma})
			} else {
				y = n.conv(name+"/conv1", x, conv{out: mid, k: 3, p: 1, s: stride, bn: eps, act: "Relu"})
				y = n.conv(name+"/conv2", y, conv{out: mid, k: 3, p: 1, bn: eps, gamma: branchGamma})
			}
			if stride != 1 || x.c != out {
				x = n.conv(name+"/downsample", x, conv{out: out, k: 1, s: stride, bn: eps})
			}
			x = n.act(name, n.add(name+"/add", y, x), "Relu")
		}
	}
	return x
}

// MobileNetV2 is the network of M. Sandler et al., MobileNetV2: Inverted Residuals
// and Linear Bottlenecks, 2018, table 2.
func MobileNetV2(c Config) *Model {
	n, x := newCNN("mobilenet_v2", c, 224)
	const eps = 1e-5
	x = n.conv("features.0", x, conv{out: n.ch(32), k: 3, s: 2, p: 1, bn: eps, act: "Clip6"})
	block := 0
	for _, r := range []struct{ expand, out, repeat, stride int }{
		{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1},
	} {
		for i := range r.repeat {
			block++
			name := fmt.Sprintf("features.%d", block)
			stride, y := 1, x
			if i == 0 {
				stride = r.stride
			}
			if r.expand != 1 {
				// Its input is linear, not behind a ReLU.
				y = n.conv(name+"/expand", y, conv{out: x.c * r.expand, k: 1, bn: eps, gain: 1, act: "Clip6"})
			}
			y = n.conv(name+"/depthwise", y, conv{out: y.c, k: 3, s: stride, p: 1, group: y.c, bn: eps, act: "Clip6"})
			residual := stride == 1 && x.c == n.ch(r.out)
			project := conv{out: n.ch(r.out), k: 1, bn: eps}
			if residual {
				project.gamma = branchGamma
			}
			y = n.conv(name+"/project", y, project)
			if residual {
				y = n.add(name+"/add", x, y)
			}
			x = y
		}
	}
	x = n.conv("features.18", x, conv{out: n.ch(1280), k: 1, bn: eps, gain: 1, act: "Clip6"})
	x = n.globalPool("pool", x)
	return n.classes(n.fc("classifier.1", x, or(c.Classes, 1000), ""))
}

// DenseNet121 is the network of G. Huang et al., Densely Connected Convolutional
// Networks, 2016, table 1 (growth rate 32), as torchvision's: each layer
// concatenates all maps before it in its block.
func DenseNet121(c Config) *Model { return densenet("densenet121", c, 32, 6, 12, 24, 16) }

func densenet(name string, c Config, growth int, depths ...int) *Model {
	n, x := newCNN(name, c, 224)
	const eps = 1e-5
	growth = n.ch(growth)
	bnRelu := func(name string, x feat) feat { return n.act(name, n.batchNorm(name, x, eps, 1), "Relu") }
	x = n.conv("conv0", x, conv{out: n.ch(64), k: 7, s: 2, p: 3, bn: eps, act: "Relu"})
	x = n.maxPool("pool0", x, pool{k: 3, s: 2, p: 1})
	for b, depth := range depths {
		maps := []feat{x}
		for i := range depth {
			layer := fmt.Sprintf("denseblock%d/layer%d", b+1, i+1)
			y := maps[0]
			if i > 0 {
				y = n.concat(layer+"/concat", maps...)
			}
			y = bnRelu(layer+"/norm1", y)
			y = n.conv(layer+"/conv1", y, conv{out: 4 * growth, k: 1, bn: eps, act: "Relu"})
			maps = append(maps, n.conv(layer+"/conv2", y, conv{out: growth, k: 3, p: 1, noBias: true}))
		}
		x = n.concat(fmt.Sprintf("denseblock%d/concat", b+1), maps...)
		if b < len(depths)-1 {
			t := fmt.Sprintf("transition%d", b+1)
			x = bnRelu(t+"/norm", x)
			x = n.conv(t+"/conv", x, conv{out: x.c / 2, k: 1, noBias: true})
			x = n.avgPool(t+"/pool", x, pool{k: 2, s: 2})
		}
	}
	x = n.globalPool("pool5", bnRelu("norm5", x))
	return n.classes(n.fc("classifier", x, or(c.Classes, 1000), ""))
}
