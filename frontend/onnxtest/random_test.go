package onnxtest

import (
	"bytes"
	"testing"
)

// randomConfigs are all combinations, by bit.
func randomConfig(i uint64) RandomConfig {
	return RandomConfig{Nodes: 10 + int(i%7)*15, Symbolic: i&1 != 0, Bodies: i&2 != 0, Functions: i&4 != 0, Images: i&8 != 0}
}

func TestRandomIsDeterministic(t *testing.T) {
	for i := range uint64(16) {
		a, b := Random(i, randomConfig(i)).Bytes(), Random(i, randomConfig(i)).Bytes()
		if !bytes.Equal(a, b) {
			t.Errorf("seed %d gives two models", i)
		}
		if bytes.Equal(a, Random(i+1, randomConfig(i)).Bytes()) {
			t.Errorf("seeds %d and %d give one model", i, i+1)
		}
	}
}

// What the generator promises occurs: joins, ties, captured values, nodes of several outputs.
func TestRandomVariety(t *testing.T) {
	seen := map[string]bool{}
	for i := range uint64(32) {
		m := Random(i, RandomConfig{Nodes: 120, Symbolic: true, Bodies: true, Functions: true, Images: true})
		users := map[string]int{}
		for _, n := range m.Structure().Graph.Node {
			seen[n.GetOpType()] = true
			for _, in := range n.Input {
				users[in]++
			}
		}
		for _, w := range m.Structure().Graph.Initializer {
			if users[w.GetName()] > 1 {
				seen["tied weight"] = true
			}
		}
	}
	for _, what := range []string{"tied weight", "If", "Loop", "Scan", "Layer", "Gate", "Split", "Concat", "Shape", "Conv", "MatMul", "Gemm", "Constant", "Transpose", "Identity", "Flatten", "MaxPool", "LayerNormalization"} {
		if !seen[what] {
			t.Errorf("32 random models have no %s", what)
		}
	}
}

func TestSizedSizes(t *testing.T) {
	for _, n := range []int64{1 << 16, 1<<20 + 12, 100 << 20} {
		m := Weights(1, n)
		if got := m.WeightBytes(); got != n {
			t.Errorf("Weights(%d) has %d bytes", n, got)
		}
	}
	if n := len(Chain(1, 1000).Structure().Graph.Node); n != 1000 {
		t.Errorf("Chain(1000) has %d nodes", n)
	}
	if _, err := Named("weights=1MiB", 1); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{"nothing", "chain", "chain=", "chain=x", "chain=-1", "weights=99999999999GiB"} {
		if _, err := Named(bad, 1); err == nil {
			t.Errorf("Named(%q) builds something", bad)
		}
	}
}
