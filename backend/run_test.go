//go:build cgo

package backend

import (
	"bytes"
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// The tests in this file cut models at random and hold every value that the
// pieces make against the whole model in ONNX Runtime, bit for bit.

// feedOf converts inputs for the engine.
func feedOf(values []onnxtest.Value) (map[string]*runtime.Value, error) {
	feed := map[string]*runtime.Value{}
	for _, v := range values {
		x, err := valueOf(v)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", v.Name, err)
		}
		feed[v.Name] = x
	}
	return feed, nil
}

func valueOf(v onnxtest.Value) (*runtime.Value, error) {
	switch {
	case v.Seq != nil:
		var items []*runtime.Value
		for _, e := range v.Seq {
			x, err := valueOf(e)
			if err != nil {
				return nil, err
			}
			items = append(items, x)
		}
		return runtime.NewSequence(items...), nil
	case v.Type == onnxtest.String:
		return runtime.NewStrings(v.Dims, v.Strings)
	}
	return runtime.NewTensor(ir.ElemType(v.Type), v.Dims, v.Data)
}

// run runs a model file once; the outputs come by name.
func run(t testing.TB, e runtime.Engine, path string, feed map[string]*runtime.Value) (map[string]*runtime.Value, map[string]ir.Type, error) {
	t.Helper()
	s, err := e.Load(runtime.Model{Path: path}, runtime.Options{})
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = s.Close() }()
	in := map[string]*runtime.Value{}
	for _, p := range s.Inputs() {
		if in[p.Name] = feed[p.Name]; in[p.Name] == nil {
			return nil, nil, fmt.Errorf("there is no value for input %q", p.Name)
		}
	}
	got, err := s.Run(context.Background(), in)
	if err != nil {
		return nil, nil, err
	}
	values, types := map[string]*runtime.Value{}, map[string]ir.Type{}
	for i, p := range s.Outputs() {
		values[p.Name], types[p.Name] = got[i], p.Type
	}
	return values, types, nil
}

// exposed writes the model with every value that its main graph computes as an
// output. Constants may be of types that the engine cannot hand over.
func exposed(t testing.TB, f *onnxfile.Model, path string) {
	t.Helper()
	d := f.Draft()
	d.Graph = slices.Clone(d.Graph)
	listed := map[string]bool{}
	for _, o := range f.Proto.GetGraph().GetOutput() {
		listed[o.GetName()] = true
	}
	for _, n := range f.Proto.GetGraph().GetNode() {
		for _, name := range n.GetOutput() {
			if name == "" || listed[name] || n.GetOpType() == "Constant" {
				continue
			}
			listed[name] = true
			b, err := marshal(&onnxpb.ValueInfoProto{Name: proto.String(name)})
			if err != nil {
				t.Fatal(err)
			}
			d.Graph = append(d.Graph, onnxfile.Field{Num: graphOutput, Type: protowire.BytesType, Body: onnxfile.Bytes(b)})
		}
	}
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }()
	if _, err := d.WriteTo(out); err != nil {
		t.Fatal(err)
	}
}

// randomPlan cuts a random topological order into runs on random processors. It
// does not cut where a value that is no tensor would cross.
func randomPlan(r *rand.Rand, l *ir.Lowered, cuts int) []ir.Submodel {
	g := l.Problem.Graph
	n := g.NumNodes()
	waits := make([]int, n)
	for i := range n {
		for _, v := range g.Inputs(ir.NodeID(i)) {
			if g.Producer(v) != ir.NoNode {
				waits[i]++
			}
		}
	}
	var ready, order []int
	for i, w := range waits {
		if w == 0 {
			ready = append(ready, i)
		}
	}
	for len(ready) > 0 {
		k := r.IntN(len(ready))
		i := ready[k]
		ready = slices.Delete(ready, k, k+1)
		order = append(order, i)
		for _, v := range g.Outputs(ir.NodeID(i)) {
			for _, c := range g.Consumers(v) {
				if waits[c]--; waits[c] == 0 {
					ready = append(ready, int(c))
				}
			}
		}
	}
	place := make([]int, n)
	for k, i := range order {
		place[i] = k
	}
	whole := make([]bool, n+1) // no cut before this place
	for v := range g.NumValues() {
		if l.Types[v].Kind == ir.Tensor || g.Producer(ir.ValueID(v)) == ir.NoNode {
			continue
		}
		for _, c := range g.Consumers(ir.ValueID(v)) {
			for k := place[g.Producer(ir.ValueID(v))] + 1; k <= place[c]; k++ {
				whole[k] = true
			}
		}
	}
	var subs []ir.Submodel
	for k, i := range order {
		if k == 0 || !whole[k] && r.IntN(n) < cuts {
			subs = append(subs, ir.Submodel{Processor: ir.ProcID(r.IntN(3))})
		}
		last := &subs[len(subs)-1]
		last.Nodes = append(last.Nodes, ir.NodeID(i))
	}
	for i := range subs {
		slices.Sort(subs[i].Nodes)
	}
	return subs
}

// replicate copies a random producer of some sub-model's input into that sub-model.
func replicate(r *rand.Rand, l *ir.Lowered, subs []ir.Submodel) {
	g := l.Problem.Graph
	s := &subs[r.IntN(len(subs))]
	tensorsOnly := func(n ir.NodeID) bool { // what it reads may come from elsewhere
		return !slices.ContainsFunc(g.Inputs(n), func(v ir.ValueID) bool { return l.Types[v].Kind != ir.Tensor })
	}
	for _, n := range s.Nodes {
		for _, v := range g.Inputs(n) {
			p := g.Producer(v)
			if p != ir.NoNode && len(l.Members[p]) > 0 && !slices.Contains(s.Nodes, p) && !slices.Contains(s.Replicas, p) && tensorsOnly(p) && r.IntN(2) == 0 {
				s.Replicas = append(s.Replicas, p)
			}
		}
	}
	slices.Sort(s.Replicas)
}

// checkCuts cuts one model several times and compares. It says why the whole model
// does not run, if it does not.
func checkCuts(t *testing.T, e runtime.Engine, m *onnxtest.Model, seed uint64, tries int) (refusal error) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "model.onnx")
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	inputs, err := m.Inputs(seed, nil)
	if err != nil {
		return err
	}
	feed, err := feedOf(inputs)
	if err != nil {
		return err
	}
	f, err := onnxfile.Open(context.Background(), path, onnxfile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	all := filepath.Join(dir, "all.onnx")
	exposed(t, f, all)
	want, types, err := run(t, e, all, feed)
	if err != nil {
		return err
	}
	whole, _, err := run(t, e, path, feed)
	if err != nil {
		return err
	}
	l := lowerPlain(t, f)
	threeProcessors(l)
	for v := range l.Types {
		if typ, ok := types[l.Problem.Graph.ValueName(ir.ValueID(v))]; ok && !l.Problem.Graph.IsInput(ir.ValueID(v)) {
			if typ.Kind == ir.Tensor {
				typ = ir.Unranked(typ.Elem) // the engine does not tell an unknown rank from 0
			}
			l.Types[v] = typ
		}
	}
	same := sameValue
	for _, typ := range types {
		if typ.Elem == ir.Float16 {
			// On a CPU the engine computes chains of float16 nodes in float32 and rounds
			// where a chain ends, which is where the model is cut, too.
			same = nearValue
		}
	}
	r := rand.New(rand.NewPCG(seed, 1))
	for try := range tries {
		subs := randomPlan(r, l, []int{l.Problem.Graph.NumNodes(), 3, 8, 0}[try%4])
		if try%3 == 1 && len(subs) > 0 {
			replicate(r, l, subs)
		}
		o := Options{Weights: Weights(try % 3)}
		b, err := Build(t.Context(), f, l, placementOf(t, l, subs...), o)
		if err != nil {
			return err
		}
		out := filepath.Join(dir, fmt.Sprint("out", try))
		if err := b.Write(context.Background(), out, WriteOptions{files: &serial{faulty: faulty{at: -1}}}); err != nil {
			t.Fatal(err)
		}
		man, err := ReadManifest(out)
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]*runtime.Value{}
		for _, in := range man.Inputs {
			have[in.Tensor] = feed[in.Tensor]
		}
		for _, s := range man.Submodels {
			got, _, err := run(t, e, filepath.Join(out, s.File), have)
			if err != nil {
				t.Fatalf("sub-model %s of %d: %v", s.ID, len(man.Submodels), err)
			}
			for _, name := range s.Outputs {
				if !same(got[name], want[name]) {
					t.Errorf("%s of sub-model %s differs from the whole model's", name, s.ID)
				}
				have[name] = got[name]
			}
			if len(got) != len(s.Outputs) {
				t.Errorf("sub-model %s has %d outputs, the manifest says %q", s.ID, len(got), s.Outputs)
			}
		}
		for _, o := range man.Outputs {
			if !same(have[o.Tensor], whole[o.Tensor]) {
				t.Errorf("output %s differs from the whole model's", o.Tensor)
			}
		}
	}
	return nil
}

func sameValue(a, b *runtime.Value) bool {
	if a == nil || b == nil {
		return false
	}
	if a.Kind != b.Kind || a.Elem != b.Elem || !slices.Equal(a.Shape, b.Shape) || !bytes.Equal(a.Data, b.Data) || !slices.Equal(a.Strings, b.Strings) || len(a.Items) != len(b.Items) {
		return false
	}
	for i := range a.Items {
		if !sameValue(a.Items[i], b.Items[i]) {
			return false
		}
	}
	return true
}

// nearValue takes numbers for the same that differ by the last bits of a float16.
func nearValue(a, b *runtime.Value) bool {
	if a == nil || b == nil || a.Elem != b.Elem || !slices.Equal(a.Shape, b.Shape) {
		return false
	}
	width, number := 2, half
	switch a.Elem {
	case ir.Float16:
	case ir.Float32:
		width, number = 4, func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }
	default:
		return sameValue(a, b)
	}
	for i := 0; i < len(a.Data); i += width {
		x, y := number(a.Data[i:]), number(b.Data[i:])
		if math.Abs(x-y) > 0x1p-8*max(1, math.Abs(x)) {
			return false
		}
	}
	return true
}

func half(b []byte) float64 {
	u := binary.LittleEndian.Uint16(b)
	exp, frac := int(u>>10&31), float64(u&1023)/1024
	v := math.Ldexp(1+frac, exp-15)
	if exp == 0 {
		v = math.Ldexp(frac, -14)
	}
	if u>>15 == 1 {
		return -v
	}
	return v
}

// seedOf keeps a case's cuts when others come or go.
func seedOf(name string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return h.Sum64()
}

// tries is how often a case is cut: networks differ less from one another.
func tries(c onnxtest.Case) int {
	if strings.HasPrefix(c.Name, "small/") {
		return 1
	}
	return race.Of(3, 1)
}

func TestRandomCuts(t *testing.T) {
	e := runtimetest.ORT(t)
	refused := map[string]string{}
	for _, c := range onnxtest.All() {
		if c.Tags.Has(onnxtest.NoRun) || c.Tags.Has(onnxtest.Unrepeatable) || c.Tags.Has(onnxtest.Large) {
			continue
		}
		t.Run(strings.ReplaceAll(c.Name, "/", "_"), func(t *testing.T) {
			if err := checkCuts(t, e, c.Build(1), seedOf(c.Name), tries(c)); err != nil {
				refused[c.Name] = err.Error()
				t.Logf("refused: %v", err)
			}
		})
	}
	// What cannot be cut or run is known, so that nothing else slips through.
	for name, words := range map[string]string{"odd/names-invalid-utf8": "UTF-8", "odd/optional-input": "no value can be drawn"} {
		if !strings.Contains(refused[name], words) {
			t.Errorf("%s is refused with %q, want %q", name, refused[name], words)
		}
		delete(refused, name)
	}
	for name, why := range refused {
		t.Errorf("%s is refused: %s", name, why)
	}
}

var manyModels = flag.Int("models", 12, "how many random models to cut")

func TestRandomModels(t *testing.T) {
	e := runtimetest.ORT(t)
	for i := range *manyModels {
		c := onnxtest.RandomConfig{Nodes: 10 + i*7%60, Symbolic: i&1 > 0, Bodies: i&2 > 0, Functions: i&4 > 0, Images: i&8 > 0}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			m := onnxtest.Random(uint64(i), c)
			switch i % 5 {
			case 1:
				m.WeightsAsConstants()
			case 2:
				m.WeightsAsInputs()
			case 3:
				m.TypedWeights()
			case 4:
				m.External(onnxtest.External{Location: "w.bin", MinBytes: 64})
			}
			if err := checkCuts(t, e, m, uint64(i), 4); err != nil {
				t.Error(err)
			}
		})
	}
}
