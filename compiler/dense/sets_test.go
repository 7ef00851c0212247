package dense

import (
	"math/rand/v2"
	"testing"
)

// TestSets joins sets at random and holds each root against the smallest number of
// those with the same label, where labels are rewritten by every join.
func TestSets(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		n := 1 + r.IntN(60)
		s := NewSets(n)
		label := make([]int, n)
		for i := range label {
			label[i] = i
		}
		for range r.IntN(2 * n) {
			a, b := r.IntN(n), r.IntN(n)
			s.Join(a, b)
			old, to := max(label[a], label[b]), min(label[a], label[b])
			for i := range label {
				if label[i] == old {
					label[i] = to
				}
			}
			if x := r.IntN(n); s.Find(x) != label[x] {
				t.Fatalf("seed %d: the root of %d is %d, want %d", seed, x, s.Find(x), label[x])
			}
		}
		for i := range label {
			if s.Find(i) != label[i] {
				t.Errorf("seed %d: the root of %d is %d, want %d", seed, i, s.Find(i), label[i])
			}
		}
	}
}

// TestSetsDeep makes a path of a million numbers and asks for each root, the deepest
// first: that ends soon only because paths are halved.
func TestSetsDeep(t *testing.T) {
	const n = 1_000_000
	s := NewSets(n)
	for i := n - 1; i > 0; i-- {
		s.Join(i, i-1)
	}
	for i := n - 1; i >= 0; i-- {
		if s.Find(i) != 0 {
			t.Fatalf("the root of %d is %d, want 0", i, s.Find(i))
		}
	}
}
