//go:build cgo

package onnxtest

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ort "github.com/yalue/onnxruntime_go"
)

var full = flag.Bool("full", false, "run the full-size networks in ONNX Runtime too")

// engine loads ONNX Runtime: from $ONNXRUNTIME_LIB, else from where the Makefile puts it.
func engine(t *testing.T) {
	t.Helper()
	lib := os.Getenv("ONNXRUNTIME_LIB")
	if lib == "" {
		lib = filepath.Join("..", "..", ".ort", "libonnxruntime.so.1")
	}
	if _, err := os.Stat(lib); err != nil {
		t.Fatalf("ONNX Runtime is missing: %v; set ONNXRUNTIME_LIB, or run make test, which fetches it", err)
	}
	if ort.IsInitialized() {
		return
	}
	ort.SetSharedLibraryPath(lib)
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		t.Fatal(err)
	}
}

// runFile runs a model in one session on each of the given inputs, graph
// optimisation off. With no inputs it only loads the model.
func runFile(path string, inputs ...[]Value) ([]map[string]any, error) {
	_, outs, err := ort.GetInputOutputInfo(path)
	if err != nil {
		return nil, err
	}
	so, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer func() { _ = so.Destroy() }()
	if err := so.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll); err != nil {
		return nil, err
	}
	var inNames, outNames []string
	if len(inputs) > 0 {
		for _, v := range inputs[0] {
			inNames = append(inNames, v.Name)
		}
	}
	for _, o := range outs {
		outNames = append(outNames, o.Name)
	}
	s, err := ort.NewDynamicAdvancedSession(path, inNames, outNames, so)
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Destroy() }()
	var all []map[string]any
	for _, in := range inputs {
		r, err := runSession(s, outs, in)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

func runSession(s *ort.DynamicAdvancedSession, outs []ort.InputOutputInfo, in []Value) (map[string]any, error) {
	var vals []ort.Value
	defer func() {
		for _, v := range vals {
			_ = v.Destroy()
		}
	}()
	for _, v := range in {
		x, err := ortValue(v)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", v.Name, err)
		}
		vals = append(vals, x)
	}
	var err error
	got := make([]ort.Value, len(outs))
	for i, o := range outs {
		if got[i], err = preallocated(o); err != nil {
			return nil, err
		}
	}
	if err := s.Run(vals, got); err != nil {
		return nil, err
	}
	res := map[string]any{}
	for i, v := range got {
		res[outs[i].Name] = elements(v)
		_ = v.Destroy()
	}
	return res, nil
}

// preallocated is the value for an output that the binding cannot make by itself:
// of rank 0 or of 16-bit floats, which it would cut to half. nil for all others.
func preallocated(o ort.InputOutputInfo) (ort.Value, error) {
	t := DType(o.DataType)
	switch {
	case o.OrtValueType != ort.ONNXTypeTensor:
	case t == Float16 || t == BFloat16:
		return ort.NewCustomDataTensor(o.Dimensions, make([]byte, elemBytes(t, o.Dimensions.FlattenedSize())), o.DataType)
	case t == Float && o.Dimensions != nil && len(o.Dimensions) == 0:
		return ort.NewEmptyScalar[float32]()
	}
	return nil, nil
}

func ortValue(v Value) (ort.Value, error) {
	if v.Seq != nil {
		var l []ort.Value
		for _, e := range v.Seq {
			x, err := ortValue(e)
			if err != nil {
				return nil, err
			}
			l = append(l, x)
		}
		return ort.NewSequence(l)
	}
	if v.Type == String {
		s, err := ort.NewStringTensor(v.Dims)
		if err == nil {
			err = s.SetContents(v.Strings)
		}
		return s, err
	}
	if v.Type == Float && len(v.Dims) == 0 {
		return ort.NewScalar(math.Float32frombits(binary.LittleEndian.Uint32(v.Data)))
	}
	if v.Type == Float && len(v.Data) == 0 {
		return ort.NewEmptyTensor[float32](v.Dims)
	}
	return ort.NewCustomDataTensor(v.Dims, v.Data, ort.TensorElementDataType(v.Type))
}

// elements returns a tensor's elements as []float64 or []string, a sequence's as a list of those.
func elements(v ort.Value) any {
	switch v := v.(type) {
	case *ort.Sequence:
		vals, err := v.GetValues()
		if err != nil {
			return err
		}
		l := []any{}
		for _, e := range vals {
			l = append(l, elements(e))
		}
		return l
	case *ort.StringTensor:
		s, err := v.GetContents()
		if err != nil {
			return err
		}
		return s
	case *ort.Tensor[float32]:
		return floats(v.GetData())
	case *ort.Scalar[float32]:
		return []float64{float64(v.GetData())}
	case *ort.Tensor[bool]:
		l := make([]float64, len(v.GetData()))
		for i, x := range v.GetData() {
			if x {
				l[i] = 1
			}
		}
		return l
	case *ort.Tensor[float64]:
		return floats(v.GetData())
	case *ort.Tensor[int64]:
		return floats(v.GetData())
	case *ort.Tensor[int32]:
		return floats(v.GetData())
	case *ort.Tensor[uint8]:
		return floats(v.GetData())
	case *ort.Tensor[int8]:
		return floats(v.GetData())
	case *ort.CustomDataTensor:
		return customElements(DType(v.DataType()), v.GetData())
	}
	return fmt.Errorf("output of type %T", v)
}

func floats[T int8 | uint8 | int32 | int64 | float32 | float64](s []T) []float64 {
	l := make([]float64, len(s))
	for i, x := range s {
		l[i] = float64(x)
	}
	return l
}

func customElements(t DType, b []byte) []float64 {
	var l []float64
	for ; len(b) > 0; b = b[max(1, Bits(t)/8):] {
		x := float64(b[0])
		switch t {
		case BFloat16:
			x = float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16))
		case Float16:
			h := uint32(binary.LittleEndian.Uint16(b))
			x = math.Ldexp(float64(h&0x3ff|0x400), int(h>>10&31)-25)
			if h>>10&31 == 0 {
				x = math.Ldexp(float64(h&0x3ff), -24)
			}
			if h&0x8000 != 0 {
				x = -x
			}
		}
		l = append(l, x)
	}
	return l
}

// distance is the difference of two outputs relative to the larger one's norm;
// 1 if their shapes or strings differ. NaN if an element is not finite.
func distance(a, b any) float64 {
	switch a := a.(type) {
	case []float64:
		b := b.([]float64)
		var d, na, nb float64
		for i := range a {
			if math.IsInf(a[i], 0) {
				return math.NaN()
			}
			na += a[i] * a[i]
		}
		for i := range b {
			nb += b[i] * b[i]
		}
		if len(a) != len(b) {
			return 1 + 0*(na+nb)
		}
		for i := range a {
			d += (a[i] - b[i]) * (a[i] - b[i])
		}
		if d == 0 {
			return 0
		}
		return math.Sqrt(d / max(na, nb))
	case []string:
		if fmt.Sprint(a) != fmt.Sprint(b) {
			return 1
		}
	case []any:
		b := b.([]any)
		if len(a) != len(b) {
			return 1
		}
		var worst float64
		for i := range a {
			worst = max(worst, distance(a[i], b[i]))
		}
		return worst
	}
	return 0
}

// TestOutputsDependOnInputs runs every model in ONNX Runtime on two inputs: its
// outputs are finite, and differ. A second model from another seed differs too.
func TestOutputsDependOnInputs(t *testing.T) {
	engine(t)
	cases := All()
	if *full {
		cases = Catalog()
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			m := c.Build(1)
			path := filepath.Join(t.TempDir(), "model.onnx")
			if err := m.WriteFile(path); err != nil {
				t.Fatal(err)
			}
			in1, err1 := m.Inputs(1, nil)
			in2, err2 := m.Inputs(2, nil)
			if c.Tags.Has(Exotic) && (err1 != nil || len(in1) == 0) {
				// The Go binding has no optionals and cannot run without inputs.
				if _, err := runFile(path); (err != nil) != c.Tags.Has(NoRun) {
					t.Errorf("loading: %v", err)
				}
				return
			}
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			out, err := runFile(path, in1, in1, in2)
			if c.Tags.Has(NoRun) {
				if err == nil {
					t.Error("tagged NoRun, but it runs")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			out1, again, out2 := out[0], out[1], out[2]
			differs, repeats := false, true
			for name, v := range out1 {
				if err, ok := v.(error); ok {
					t.Fatalf("output %s: %v", name, err)
				}
				d := distance(v, out2[name])
				if math.IsNaN(d) {
					t.Errorf("output %s is not finite", name)
				}
				if testing.Verbose() {
					t.Logf("output %s: relative difference %.3g", name, d)
				}
				differs = differs || d > 1e-4
				repeats = repeats && distance(v, again[name]) == 0
			}
			if differs == c.Tags.Has(Fixed) {
				t.Errorf("outputs differ with the inputs: %v", differs)
			}
			if repeats == c.Tags.Has(Unrepeatable) {
				t.Errorf("outputs repeat: %v", repeats)
			}
		})
	}
}

// TestRandomRuns does the same with random models.
func TestRandomRuns(t *testing.T) {
	engine(t)
	n := uint64(48)
	if *full {
		n = 1000
	}
	weak := 0
	for i := range n {
		m := Random(i, randomConfig(i))
		path := filepath.Join(t.TempDir(), "model.onnx")
		if err := m.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		in1, _ := m.Inputs(1, nil)
		in2, _ := m.Inputs(2, nil)
		out, err := runFile(path, in1, in2)
		if err != nil {
			t.Fatalf("seed %d: %v", i, err)
		}
		most := 0.0
		for name, v := range out[0] {
			d := distance(v, out[1][name])
			if math.IsNaN(d) {
				t.Errorf("seed %d: output %s is not finite", i, name)
			}
			if d <= 1e-4 {
				weak++
				t.Logf("seed %d: output %s: relative difference %.3g", i, name, d)
			}
			most = max(most, d)
		}
		if most <= 1e-4 {
			t.Errorf("seed %d: no output depends on the inputs", i)
		}
	}
	t.Logf("%d outputs of %d models hardly depend on the inputs", weak, n)
}

// TestGPTCache decodes six tokens at once, and four and then two with the cache
// of the first four: the last two logits agree.
func TestGPTCache(t *testing.T) {
	engine(t)
	m := GPT(TextConfig{Seed: 1, Layers: 2, Hidden: 32, Heads: 4, Vocab: 50, Positions: 16})
	path := filepath.Join(t.TempDir(), "gpt.onnx")
	if err := m.WriteFile(path); err != nil {
		t.Fatal(err)
	}
	step := func(past, seq int64, cache map[string]any, tokens []byte) map[string]any {
		t.Helper()
		in, err := m.Inputs(1, map[string]int64{"past": past, "seq": seq})
		if err != nil {
			t.Fatal(err)
		}
		for i := range in {
			if in[i].Name == "input_ids" {
				in[i].Data = tokens
			}
			if v, ok := cache[in[i].Name]; ok {
				in[i].Data = nil
				for _, x := range v.([]float64) {
					in[i].Data = binary.LittleEndian.AppendUint32(in[i].Data, math.Float32bits(float32(x)))
				}
			}
		}
		out, err := runFile(path, in)
		if err != nil {
			t.Fatal(err)
		}
		return out[0]
	}
	var tokens []byte
	for _, id := range []uint64{7, 31, 4, 49, 0, 12} {
		tokens = binary.LittleEndian.AppendUint64(tokens, id)
	}
	whole := step(0, 6, nil, tokens)["logits"].([]float64)
	first := step(0, 4, nil, tokens[:32])
	cache := map[string]any{}
	for name, v := range first {
		cache["past"+strings.TrimPrefix(name, "present")] = v
	}
	second := step(4, 2, cache, tokens[32:])["logits"].([]float64)
	if d := distance(whole[4*50:], second); d > 1e-5 {
		t.Errorf("logits with a cache differ from those without by %v", d)
	}
	if d := distance(whole[:4*50], first["logits"].([]float64)); d > 1e-5 {
		t.Errorf("logits of the first four tokens depend on later ones: %v", d)
	}
}
