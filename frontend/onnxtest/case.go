package onnxtest

import "strings"

// Case is a model that tests loop over.
type Case struct {
	Name  string
	What  string // which network it is, or what is odd about it; one sentence without full stop
	Build func(seed uint64) *Model
	Tags  Tag
}

// Tag is a set of properties.
type Tag uint

// The properties of cases. A case without tags is a valid model of at most IR
// version 8 and opset 17 that ONNX Runtime runs, whose outputs are the same in
// each run and depend on the inputs.
const (
	// Unchecked: the checker or the strict shape inference of ONNX 1.12 refuses it.
	Unchecked Tag = 1 << iota
	// Newer: it needs more than IR version 8 or opset 17.
	Newer
	// NoRun: ONNX Runtime's CPU provider does not run it.
	NoRun
	// Unrepeatable: two runs of one session on the same inputs give different outputs.
	Unrepeatable
	// Fixed: no output depends on the inputs, or there are none.
	Fixed
	// ExternalData: it must be written with WriteFile.
	ExternalData
	// Exotic: it has inputs or outputs that are no plain tensors with elements:
	// sequences, optionals, tensors of rank 0 or of no elements, types that few
	// runtime bindings can pass.
	Exotic
	// Large: more than 100 MB of weights or more than a second to run.
	Large
)

func (t Tag) String() string {
	var l []string
	for i, name := range []string{"unchecked", "newer", "norun", "unrepeatable", "fixed", "external", "exotic", "large"} {
		if t&(1<<i) != 0 {
			l = append(l, name)
		}
	}
	return strings.Join(l, ",")
}

// Has says whether all of the given tags are set.
func (t Tag) Has(all Tag) bool { return t&all == all }

// Architecture is a network at full size.
type Architecture struct {
	Case
	Parameters int64   // as published; 0 for networks of our own
	GMACs      float64 // billions of multiply-adds for one image or sentence, as published; 0: not known
	Source     string  // of the two numbers
	Small      func(seed uint64) *Model
	Variant    func(Config) *Model // of image networks; nil for others
}

const torchvision = "torchvision.models documentation, num_params and GFLOPS of the IMAGENET1K_V1 weights"

// Architectures lists the networks with their published sizes.
func Architectures() []Architecture {
	image := func(name, what string, build func(Config) *Model, params int64, gmacs float64, source string, small Config) Architecture {
		return Architecture{
			Case: Case{Name: name, What: what, Build: func(seed uint64) *Model { return build(Config{Seed: seed}) }},
			Small: func(seed uint64) *Model {
				small.Seed = seed
				return build(small)
			},
			Variant:    build,
			Parameters: params, GMACs: gmacs, Source: source,
		}
	}
	list := []Architecture{
		image("alexnet", "AlexNet, one column", AlexNet, 61100840, 0.71, torchvision, Config{Width: 0.125, Resolution: 95, Classes: 10}),
		image("vgg16", "VGG-16", VGG16, 138357544, 15.47, torchvision, Config{Width: 0.125, Resolution: 32, Classes: 10}),
		image("vgg19", "VGG-19", VGG19, 143667240, 19.63, torchvision, Config{Width: 0.125, Resolution: 32, Classes: 10}),
		image("squeezenet1_1", "SqueezeNet 1.1", SqueezeNet, 1235496, 0.35, torchvision, Config{Width: 0.25, Resolution: 64, Classes: 10}),
		image("resnet18", "ResNet-18", ResNet18, 11689512, 1.81, torchvision, Config{Width: 0.125, Resolution: 64, Classes: 10}),
		image("resnet50", "ResNet-50", ResNet50, 25557032, 4.09, torchvision, Config{Width: 0.125, Resolution: 64, Classes: 10}),
		image("mobilenet_v2", "MobileNet-v2", MobileNetV2, 3504872, 0.30, torchvision, Config{Width: 0.25, Resolution: 64, Classes: 10}),
		image("densenet121", "DenseNet-121", DenseNet121, 7978856, 2.83, torchvision, Config{Width: 0.125, Resolution: 64, Classes: 10}),
		image("googlenet", "GoogLeNet with LRN, biases and 5×5 convolutions as in the paper", GoogLeNet, 6998552, 0,
			"parameters of BVLC's bvlc_googlenet without auxiliary classifiers (6,990,272 weights and 8,280 biases)", Config{Width: 0.25, Resolution: 64, Classes: 10}),
		image("googlenet_bn", "GoogLeNet as torchvision has it", GoogLeNetBN, 6624904, 1.50, torchvision, Config{Width: 0.25, Resolution: 64, Classes: 10}),
		// torchvision's 27,161,264 include 3,326,696 of the auxiliary classifier:
		// 768·128 + 2·128, 128·768·25 + 2·768, 768·1000 + 1000.
		image("inception_v3", "Inception-v3", InceptionV3, 27161264-3326696, 5.71, torchvision+"; less those of the auxiliary classifier", Config{Width: 0.125, Resolution: 107, Classes: 10}),
		image("unet", "U-Net with four skips", UNet, 31037633, 0,
			"sum of trainable parameters of the usual PyTorch and Keras forms with 3 channels in, 1 out, base 64", Config{Width: 0.125, Resolution: 32}),
	}
	const tinyBERT = 22.5 / 2
	text := func(name, what string, build func(TextConfig) *Model, params int64, gmacs float64, source string, small TextConfig) {
		list = append(list, Architecture{
			Case: Case{Name: name, What: what, Build: func(seed uint64) *Model { return build(TextConfig{Seed: seed}) }, Tags: Large},
			Small: func(seed uint64) *Model {
				small.Seed = seed
				return build(small)
			},
			Parameters: params, GMACs: gmacs, Source: source,
		})
	}
	text("bert_base", "BERT base, encoder with embeddings and pooler", BERT, 109482240, tinyBERT,
		"sum of the parameters of bert-base-uncased: 23,837,184 in embeddings, 85,054,464 in layers, 590,592 in the pooler; "+
			"22.5 billion operations for 128 tokens: Jiao et al., TinyBERT, Findings of EMNLP 2020, table 1",
		TextConfig{Layers: 2, Hidden: 32, Heads: 4, Vocab: 100, Positions: 16})
	text("gpt2", "GPT-2 small, decoder with a cache of keys and values and a tied embedding", GPT, 124439808, 0,
		"sum of the parameters of gpt2, the embedding counted once",
		TextConfig{Layers: 2, Hidden: 32, Heads: 4, Vocab: 100, Positions: 32})
	text("bert_base_opset13", "BERT base with layer normalization in elementary nodes",
		func(c TextConfig) *Model { c.Opset = 13; return BERT(c) }, 109482240, tinyBERT, "as bert_base",
		TextConfig{Layers: 2, Hidden: 32, Heads: 4, Vocab: 100, Positions: 16})
	list = append(list, Architecture{
		Case: Case{Name: "three_towers", What: "image, text and table towers that join at the end", Build: func(seed uint64) *Model { return ThreeTowers(TowersConfig{Seed: seed}) }},
		Small: func(seed uint64) *Model {
			return ThreeTowers(TowersConfig{Seed: seed, Width: 0.125, Resolution: 32, TextLayers: 2, TextHidden: 32, Seq: 8, Columns: 16, TableWidth: 32, Vocab: 50})
		},
	})
	for i := range list {
		if list[i].Parameters > 25e6 {
			list[i].Tags |= Large
		}
	}
	return list
}
