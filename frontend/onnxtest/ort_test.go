//go:build cgo

package onnxtest

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
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

// runFile runs a model once on the given inputs with graph optimisation off.
func runFile(path string, in []Value) (map[string]any, error) {
	_, outs, err := ort.GetInputOutputInfo(path)
	if err != nil {
		return nil, err
	}
	so, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer so.Destroy()
	if err := so.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll); err != nil {
		return nil, err
	}
	var inNames, outNames []string
	var vals []ort.Value
	defer func() {
		for _, v := range vals {
			v.Destroy()
		}
	}()
	for _, v := range in {
		x, err := ortValue(v)
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", v.Name, err)
		}
		inNames, vals = append(inNames, v.Name), append(vals, x)
	}
	for _, o := range outs {
		outNames = append(outNames, o.Name)
	}
	s, err := ort.NewDynamicAdvancedSession(path, inNames, outNames, so)
	if err != nil {
		return nil, err
	}
	defer s.Destroy()
	got := make([]ort.Value, len(outNames))
	if err := s.Run(vals, got); err != nil {
		return nil, err
	}
	res := map[string]any{}
	for i, v := range got {
		res[outNames[i]] = elements(v)
		v.Destroy()
	}
	return res, nil
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
			in1, err := m.Inputs(1, nil)
			if err != nil {
				t.Fatal(err)
			}
			in2, err := m.Inputs(2, nil)
			if err != nil {
				t.Fatal(err)
			}
			out1, err := runFile(path, in1)
			if c.Tags.Has(NoRun) {
				if err == nil {
					t.Error("tagged NoRun, but it runs")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			again, err := runFile(path, in1)
			if err != nil {
				t.Fatal(err)
			}
			out2, err := runFile(path, in2)
			if err != nil {
				t.Fatal(err)
			}
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
			if repeats == c.Tags.Has(Random) {
				t.Errorf("outputs repeat: %v", repeats)
			}
		})
	}
}
