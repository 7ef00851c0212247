package onnxtest

import (
	"fmt"
	"math"
)

// Sized lists the families of models of any size.
func Sized() []SizedCase {
	return []SizedCase{
		{"chain", "a chain of N small nodes", func(n, seed uint64) *Model { return Chain(seed, int(n)) }},
		{"branches", "N branches of four layers between a fork and a join", func(n, seed uint64) *Model { return Branches(seed, int(n), 4, 16) }},
		{"random", "a random network of about N nodes with all that Random has", func(n, seed uint64) *Model {
			return Random(seed, RandomConfig{Nodes: int(n), Symbolic: true, Bodies: true, Functions: true, Images: true})
		}},
		{"weights", "two towers of matrix products with N bytes of weights", func(n, seed uint64) *Model { return Weights(seed, int64(n)) }},
		{"mixed", "the same with the first half of the weights in a file of their own", func(n, seed uint64) *Model { return MixedWeights(seed, int64(n)) }},
	}
}

// Chain is a chain of n nodes on 16 numbers: sums with a vector, products with
// signs, negations. Nothing squashes, so the output depends on the input at any length.
func Chain(seed uint64, n int) *Model {
	m := New(Header{Name: "chain", Seed: seed})
	g := m.Graph()
	x := g.Input("x", Float, 1, 16)
	for i := range n {
		name := fmt.Sprintf("n%d", i)
		switch i % 3 {
		case 0:
			x = g.add(name, x, g.Weight(name+".b", Float, Uniform(-0.1, 0.1), 16))
		case 1:
			x = g.Op("Neg", []string{x}, Name(name))
		case 2:
			x = g.Op("Mul", []string{x, g.Weight(name+".s", Float, Same(1-2*float64(i%2)), 16)}, Name(name))
		}
	}
	g.Output(x, Float, 1, 16)
	return m
}

// Branches is a fork to n branches of depth dense layers of the given width each,
// and a join.
func Branches(seed uint64, n, depth int, width int64) *Model {
	m := New(Header{Name: "branches", Seed: seed})
	g := m.Graph()
	x := g.dense("stem", g.Input("x", Float, rows, width), width, width)
	var ends []string
	for i := range n {
		y := x
		for k := range depth {
			y = g.dense(fmt.Sprintf("b%d.%d", i, k), y, width, width)
		}
		ends = append(ends, y)
	}
	m.macs = rows * width * width * int64(n*depth+1)
	g.Output(g.Op("Sum", ends, Name("join")), Float, rows, width)
	return m
}

// Weights is two towers of matrix products and tanh on a vector, with that many
// bytes of float weights, to the last one: at least 16 matrices of at most 64 MiB
// and a vector for the rest. From 2 GiB on it needs external data.
func Weights(seed uint64, bytes int64) *Model { return towers(seed, bytes, func(*Model, int64) {}) }

// MixedWeights is Weights with the first half, about, in external data and the rest
// in the model: at most 1.5 GiB, since a file ends at 2.
func MixedWeights(seed uint64, bytes int64) *Model {
	done := false
	return towers(seed, bytes, func(m *Model, left int64) {
		if !done && left <= min(bytes/2, 3<<29) {
			m.External(External{Location: "first.bin", MinBytes: 1024, Align: 4096})
			done = true
		}
	})
}

// towers builds Weights; after each matrix it tells how many bytes are left.
func towers(seed uint64, bytes int64, added func(m *Model, left int64)) *Model {
	m := New(Header{Name: "weights", Seed: seed})
	g := m.Graph()
	left := bytes / 4
	d := max(1, min(4096, int64(math.Sqrt(float64(left)/16))))
	x := g.Input("x", Float, 1, d)
	towers := []string{x, x}
	for i := 0; left >= d*d; i++ {
		n := fmt.Sprintf("t%d.%d", i%2, i/2)
		w := g.Weight(n+".w", Float, Scaled(1.5, d), d, d)
		towers[i%2] = g.tanh(n, g.Op("MatMul", []string{towers[i%2], w}, Name(n+".mul")))
		left -= d * d
		m.macs += d * d
		added(m, 4*left)
	}
	y := g.add("join", towers[0], towers[1])
	if left > 0 {
		rest := g.Weight("rest", Float, Uniform(-0.1, 0.1), left)
		s := g.Op("ReduceMean", []string{rest}, Name("rest.mean"), Ints("axes", 0), Int("keepdims", 1))
		y = g.add("shifted", y, s)
	}
	g.Output(y, Float, 1, d)
	return m
}
