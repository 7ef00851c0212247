package work

import (
	"testing"

	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"github.com/dnnsplit/dnnsplit/frontend/shape"
)

// Counts of every node of odd and random models are sane, and signatures repeat.
func TestOddAndRandomModels(t *testing.T) {
	type named struct {
		name string
		m    *onnxtest.Model
	}
	var models []named
	for _, c := range onnxtest.All() {
		if !c.Tags.Has(onnxtest.ExternalData) {
			models = append(models, named{c.Name, c.Build(1)})
		}
	}
	for seed := range uint64(30) {
		models = append(models, named{"random", onnxtest.Random(seed, onnxtest.RandomConfig{})})
	}
	for _, m := range models {
		one := inferred(t, m.m, shape.Options{})
		two := inferred(t, m.m, shape.Options{})
		nodes := two.Main().Nodes()
		for i, n := range one.Main().Nodes() {
			w := Of(one.Main(), n)
			if w.FLOPs < 0 || w.ReadBytes < 0 || w.WriteBytes < 0 || w.WeightBytes < 0 {
				t.Errorf("%s: %s counts %+v", m.name, n.GetName(), w)
			}
			if again := Of(two.Main(), nodes[i]); again != w {
				t.Errorf("%s: %s counts %+v, then %+v", m.name, n.GetName(), w, again)
			}
			if a, b := Signature(one.Main(), n), Signature(two.Main(), nodes[i]); a != b || a == "" {
				t.Errorf("%s: signature %q, then %q", m.name, a, b)
			}
		}
	}
}

func BenchmarkNetwork(b *testing.B) {
	m := onnxtest.DenseNet121(onnxtest.Config{Seed: 1, Width: 0.125})
	r := inferred(b, m, shape.Options{})
	nodes := r.Main().Nodes()
	for b.Loop() {
		for _, n := range nodes {
			Of(r.Main(), n)
			Signature(r.Main(), n)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(nodes)), "ns/node")
}
