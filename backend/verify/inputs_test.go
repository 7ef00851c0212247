package verify

import (
	"slices"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

func TestExtents(t *testing.T) {
	for _, c := range []struct {
		bound map[string]int64
		dims  []ir.Dim
		want  []int64
	}{
		{nil, []ir.Dim{ir.Symbol("N"), ir.Fixed(3), ir.Symbol("height"), ir.Symbol("W")}, []int64{1, 3, 224, 224}},
		{nil, []ir.Dim{ir.Symbol(""), ir.Symbol(""), ir.Symbol(""), ir.Symbol("")}, []int64{1, 3, 224, 224}},
		{nil, []ir.Dim{ir.Symbol("batch"), ir.Symbol("past_len"), ir.Symbol("sequence")}, []int64{1, 4, 16}},
		{nil, []ir.Dim{ir.Symbol("past + seq"), ir.Symbol("2*(seq-1)/3"), ir.Symbol("a-b-20")}, []int64{20, 10, 16}},
		{map[string]int64{"seq": 5}, []ir.Dim{ir.Symbol("seq"), ir.Symbol("seq + 1"), ir.Symbol("seq // 2")}, []int64{5, 6, 2}},
		{map[string]int64{"past + seq": 9}, []ir.Dim{ir.Symbol("past + seq")}, []int64{9}},
		{nil, []ir.Dim{ir.Symbol("x/0"), ir.Symbol("(x"), ir.Symbol("*"), ir.Symbol("1e9*1e9"), ir.Symbol(strings.Repeat("(", 100) + "1" + strings.Repeat(")", 100) + "+1")}, []int64{1, 16, 16, 16, 16}},
	} {
		b := &binder{bound: map[string]int64{}}
		for k, n := range c.bound {
			b.bound[k] = n
		}
		if got := b.shape(c.dims); !slices.Equal(got, c.want) {
			t.Errorf("%v with %v is %v, want %v", c.dims, c.bound, got, c.want)
		}
	}
}

// A shape that is given for one input binds the symbols of the others.
func TestShapesBindSymbols(t *testing.T) {
	port := func(name string, dims ...ir.Dim) runtime.Port {
		return runtime.Port{Name: name, Type: ir.TensorOf(ir.Float32, dims...)}
	}
	g := &generator{
		model: "m", hints: &Hints{Shapes: map[string][]int64{"c": {2, 9}}}, shapes: map[string][]int64{"a": {7, 3}},
		ports: []runtime.Port{port("b", ir.Symbol("n"), ir.Symbol("k")), port("a", ir.Symbol("n"), ir.Fixed(3)), port("c", ir.Fixed(2), ir.Symbol("k"))},
	}
	if err := g.prepare(); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]int64{{7, 9}, {7, 3}, {2, 9}} {
		if !slices.Equal(g.plan[i].shape, want) {
			t.Errorf("input %d has shape %v, want %v", i, g.plan[i].shape, want)
		}
	}
}

// TestDims gives extents by symbol, an extent to an input of one dimension, and
// one to a name that the model does not have.
func TestDims(t *testing.T) {
	ports := []runtime.Port{
		{Name: "a", Type: ir.TensorOf(ir.Float32, ir.Symbol("n"), ir.Fixed(3))},
		{Name: "b", Type: ir.TensorOf(ir.Float32, ir.Symbol("m"))},
	}
	g := &generator{model: "m.onnx", hints: &Hints{}, ports: ports, dims: map[string]int64{"n": 5, "b": 8}}
	if err := g.prepare(); err != nil {
		t.Fatal(err)
	}
	for i, want := range [][]int64{{5, 3}, {8}} {
		if !slices.Equal(g.plan[i].shape, want) {
			t.Errorf("input %d has shape %v, want %v", i, g.plan[i].shape, want)
		}
	}
	g = &generator{model: "m.onnx", hints: &Hints{}, ports: ports, dims: map[string]int64{"batch": 5}}
	err := g.prepare()
	if want := `m.onnx: value "batch": no input of the model has a symbolic extent of this name for --shape, only "m", "n"`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// Inputs depend on the seed and the trial, not on what else there is, and every
// element type can be made.
func TestGenerate(t *testing.T) {
	var ports []runtime.Port
	for elem := ir.Float32; elem <= ir.Int2; elem++ {
		ports = append(ports, runtime.Port{Name: elem.String(), Type: ir.TensorOf(elem, ir.Fixed(101))})
	}
	ports = append(ports, runtime.Port{Name: "attention_mask", Type: ir.TensorOf(ir.Int64, ir.Fixed(5))})
	generate := func(seed uint64, trial int) map[string]*runtime.Value {
		g := &generator{model: "m", seed: seed, ports: ports, hints: &Hints{}}
		if err := g.prepare(); err != nil {
			t.Fatal(err)
		}
		feed, err := g.make(trial, wide(trial))
		if err != nil {
			t.Fatal(err)
		}
		return feed
	}
	a, again, otherSeed, otherTrial := generate(1, 0), generate(1, 0), generate(2, 0), generate(1, 1)
	for _, p := range ports {
		if err := a[p.Name].Check(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		if d := Compare(a[p.Name], again[p.Name]); !d.Equal() {
			t.Errorf("%s is not the same again: %+v", p.Name, d)
		}
		if p.Name == "attention_mask" {
			for i := range int64(5) {
				if bitsAt(ir.Int64, a[p.Name].Data, i) != 1 {
					t.Errorf("mask % x", a[p.Name].Data)
				}
			}
			continue
		}
		if Compare(a[p.Name], otherSeed[p.Name]).Equal() || Compare(a[p.Name], otherTrial[p.Name]).Equal() {
			t.Errorf("%s is the same for another seed or trial", p.Name)
		}
	}
	for i := range int64(101) {
		if x := number(ir.Float32, bitsAt(ir.Float32, a["float32"].Data, i)); x < 0 || x >= 1 {
			t.Errorf("float %v is not in [0,1)", x)
		}
		if n := bitsAt(ir.Int64, a["int64"].Data, i); n > 1 {
			t.Errorf("int64 %d", n)
		}
	}
}

func TestExposeKeepsTheModel(t *testing.T) {
	m := diamond()
	before := m.Bytes()
	after := expose(before, []string{"a", "c"})
	if !slices.Equal(after[:len(before)], before) || len(after) <= len(before) {
		t.Error("the model's own bytes are not kept")
	}
	eng := runtimetest.ORT(t)
	s, err := eng.Load(runtime.Model{Path: "m", Data: after}, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	var names []string
	for _, p := range s.Outputs() {
		names = append(names, p.Name+" "+p.Type.Elem.String())
	}
	if !slices.Equal(names, []string{"y float32", "a float32", "c float32"}) {
		t.Errorf("outputs %q", names)
	}
}
