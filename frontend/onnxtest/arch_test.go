package onnxtest

import (
	"bytes"
	"crypto/sha256"
	"math"
	"os"
	"testing"
)

// The sums that the builder makes while it builds meet the published numbers:
// parameters exactly, multiply-adds to the digits that are published.
func TestArchitecturesAreFullSize(t *testing.T) {
	for _, a := range Architectures() {
		m := a.Build(1)
		if a.Parameters != 0 && m.Parameters() != a.Parameters {
			t.Errorf("%s: %d parameters, published are %d (%s)", a.Name, m.Parameters(), a.Parameters, a.Source)
		}
		tolerance := 0.005
		if a.Variant == nil {
			tolerance = 0.01 * a.GMACs // what is published of text models counts more than products
		}
		if got := float64(m.MACs()) / 1e9; a.GMACs != 0 && math.Abs(got-a.GMACs) > tolerance {
			t.Errorf("%s: %.3f billion multiply-adds, published are %.2f (%s)", a.Name, got, a.GMACs, a.Source)
		}
	}
}

// Layer counts as the papers' tables have them: convolutions and matrix products.
func TestLayerCounts(t *testing.T) {
	want := map[string]map[string]int{
		"alexnet":       {"Conv": 5, "Gemm": 3, "MaxPool": 3},
		"vgg16":         {"Conv": 13, "Gemm": 3, "MaxPool": 5},
		"vgg19":         {"Conv": 16, "Gemm": 3, "MaxPool": 5},
		"squeezenet1_1": {"Conv": 26, "MaxPool": 3, "Concat": 8},
		"resnet18":      {"Conv": 20, "Gemm": 1, "Add": 8},
		"resnet50":      {"Conv": 53, "Gemm": 1, "Add": 16},
		"mobilenet_v2":  {"Conv": 52, "Gemm": 1, "Add": 10, "Clip": 35},
		"densenet121":   {"Conv": 120, "Gemm": 1, "AveragePool": 3},
		"googlenet":     {"Conv": 57, "Gemm": 1, "MaxPool": 13, "LRN": 2, "Concat": 9},
		"googlenet_bn":  {"Conv": 57, "Gemm": 1, "MaxPool": 13, "BatchNormalization": 57, "Concat": 9},
		"inception_v3":  {"Conv": 94, "Gemm": 1, "MaxPool": 4, "AveragePool": 9},
		"unet":          {"Conv": 19, "ConvTranspose": 4, "Concat": 4},
		// Per layer of BERT six linear layers and two products of attention, and the pooler.
		"bert_base":         {"MatMul": 12*8 + 1, "Softmax": 12, "LayerNormalization": 25, "Erf": 12, "Gather": 5},
		"bert_base_opset13": {"MatMul": 12*8 + 1, "Softmax": 12, "LayerNormalization": 0, "ReduceMean": 50, "Erf": 12},
		// Per layer of GPT-2 four linear layers and two products, and the last layer.
		"gpt2":         {"MatMul": 12*6 + 1, "Softmax": 12, "LayerNormalization": 25, "Split": 12, "Concat": 24},
		"three_towers": {"Conv": 20, "MatMul": 6 * 8, "Gemm": 1 + 1 + 1 + 8 + 1 + 2},
	}
	for _, a := range Architectures() {
		for op, n := range want[a.Name] {
			if got := countOps(a.Build(1), op); got != n {
				t.Errorf("%s: %d nodes of type %s, want %d", a.Name, got, op, n)
			}
		}
		if want[a.Name] == nil {
			t.Errorf("%s: its layers are not counted", a.Name)
		}
	}
}

func countOps(m *Model, op string) int {
	k := 0
	for _, n := range m.Structure().Graph.Node {
		if n.GetOpType() == op {
			k++
		}
	}
	return k
}

// The model that the repo holds for its main example is what the builder writes.
func TestCommittedModel(t *testing.T) {
	file, err := os.ReadFile("../../testdata/models/squeezenet1_1.onnx")
	if err != nil {
		t.Fatal(err)
	}
	m, err := Named("squeezenet1_1", 1)
	if err != nil {
		t.Fatal(err)
	}
	if b := m.Bytes(); !bytes.Equal(b, file) {
		t.Errorf("the file has SHA-256 %x, the builder's bytes %x: run make generate", sha256.Sum256(file), sha256.Sum256(b))
	}
	if len(file) >= 6<<20 {
		t.Errorf("the file takes %d bytes, more than 6 MiB", len(file))
	}
}
