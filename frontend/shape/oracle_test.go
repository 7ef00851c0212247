//go:build cgo

package shape_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/shape"
	ort "github.com/yalue/onnxruntime_go"
	"google.golang.org/protobuf/proto"
)

// Comparison with ONNX Runtime: each model under -models is run with all of its
// values as outputs, and what was inferred is held against what came out.
//
//	go test ./frontend/shape -run Oracle -v -args -models=DIR,DIR
var (
	modelDirs = flag.String("models", "", "folders of models to compare with ONNX Runtime, separated by commas")
	only      = flag.String("only", "", "compare only models whose path contains this")
	verbose   = flag.Bool("details", false, "print every value that is not known exactly")
	listNotes = flag.Bool("notes", false, "print the notes of each model")
)

func oracleEngine(t *testing.T) {
	t.Helper()
	lib := os.Getenv("ONNXRUNTIME_LIB")
	if lib == "" {
		lib = filepath.Join("..", "..", ".ort", "libonnxruntime.so.1")
	}
	if ort.IsInitialized() {
		return
	}
	ort.SetSharedLibraryPath(lib)
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		t.Fatalf("ONNX Runtime cannot be loaded: %v; set ONNXRUNTIME_LIB", err)
	}
}

func TestOracle(t *testing.T) {
	if *modelDirs == "" {
		t.Skip("needs -args -models=DIR: a comparison over folders of models, run by make shapes")
	}
	oracleEngine(t)
	var sum tally
	var files []string
	for _, dir := range strings.Split(*modelDirs, ",") {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".onnx") && strings.Contains(path, *only) {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	fmt.Printf("%-52s %6s %6s %6s %6s %6s %5s %8s\n", "model", "values", "typed", "exact", "data", "wrong", "contr", "ms")
	for _, path := range files {
		one := compareModel(t, path)
		sum.add(one)
		name := filepath.Base(path)
		if name == "model.onnx" {
			name = filepath.Base(filepath.Dir(path))
		}
		if len(files) < 60 || one.wrong > 0 || len(one.contradictions) > 0 || one.exact+one.data < one.values || one.failed != "" {
			fmt.Printf("%-52s %6d %6d %6d %6d %6d %5d %8.2f %s\n", name, one.values, one.typed, one.exact, one.data, one.wrong, len(one.contradictions), one.ms, one.failed)
		}
		for _, c := range one.contradictions {
			fmt.Printf("    %s\n", c)
		}
	}
	fmt.Printf("%d models, %d ran; %d values: %d typed, %d exact, %d data-dependent, %d wrong; %d contradictions\n", len(files), sum.ran, sum.values, sum.typed, sum.exact, sum.data, sum.wrong, len(sum.contradictions))
	if len(sum.contradictions) > 0 {
		t.Errorf("%d contradictions", len(sum.contradictions))
	}
}

// tally counts values: typed ones whose type and rank are published, exact ones
// whose extents are right and rest on no assumption, data-dependent ones that
// rest on one, and wrong ones: extents claimed for certain that did not come out.
type tally struct {
	ran, values, typed, exact, data, wrong int
	contradictions                         []string
	ms                                     float64
	failed                                 string
}

func (a *tally) add(b *tally) {
	a.ran += b.ran
	a.values += b.values
	a.typed += b.typed
	a.exact += b.exact
	a.data += b.data
	a.wrong += b.wrong
	a.contradictions = append(a.contradictions, b.contradictions...)
}

type hints struct {
	Shapes map[string][]int64 `json:"shapes"`
	Values map[string]float64 `json:"values"`
}

func compareModel(t *testing.T, path string) *tally {
	r := &tally{}
	m, err := onnxfile.Open(context.Background(), path, onnxfile.Options{})
	if err != nil {
		r.failed = "open: " + err.Error()
		return r
	}
	defer m.Close()
	feeds, bind, err := feedsFor(path, m)
	if err != nil {
		r.failed = "inputs: " + err.Error()
		return r
	}
	start := time.Now()
	free, err := shape.Infer(context.Background(), m, shape.Options{})
	r.ms = float64(time.Since(start).Microseconds()) / 1000
	if err != nil {
		r.failed = "infer: " + err.Error()
		r.contradictions = append(r.contradictions, r.failed)
		return r
	}
	bound, err := shape.Infer(context.Background(), m, shape.Options{Inputs: bind})
	if err != nil {
		r.failed = "infer bound: " + err.Error()
		r.contradictions = append(r.contradictions, r.failed)
		return r
	}
	got, err := runAll(t, path, feeds)
	if err != nil {
		r.failed = "run: " + firstLine(err.Error())
		return r
	}
	r.ran = 1
	if *listNotes {
		for _, n := range bound.Notes() {
			fmt.Println("    note:", n)
		}
	}
	symbols := map[string]int64{}
	symbolAt := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		v := got[name]
		r.values++
		f, ok := free.Of(name)
		if !ok {
			r.contradictions = append(r.contradictions, name+": not inferred at all")
			continue
		}
		if c := contradiction(name, f.Type, v, symbols, symbolAt); c != "" {
			r.contradictions = append(r.contradictions, c)
		}
		if f.Const && v.ints != nil && !slices.Equal(f.Ints, v.ints) {
			r.contradictions = append(r.contradictions, fmt.Sprintf("%s: contents inferred as %v, are %v", name, f.Ints, v.ints))
		}
		b, _ := bound.Of(name)
		if f.Type.Kind == ir.Tensor && f.Type.Rank >= 0 && f.Type.Elem.Known() || f.Type.Kind > ir.Tensor {
			r.typed++
		} else if *verbose {
			fmt.Printf("    %s: type %s, is %s%v\n", name, f.Type, v.elem, v.dims)
		}
		switch {
		case v.kind != ir.Tensor:
			r.exact++ // kinds are all that is claimed
		case b.Assumed:
			r.data++
			if *verbose {
				fmt.Printf("    %s: assumed %v, is %v\n", name, b.Dims, v.dims)
			}
		case slices.Equal(b.Dims, v.dims):
			r.exact++
		default:
			r.wrong++
			r.contradictions = append(r.contradictions, fmt.Sprintf("%s: bound shape inferred as %v, is %v", name, b.Dims, v.dims))
		}
		if !b.Assumed && b.Ints != nil && v.ints != nil && len(b.Ints) == len(v.ints) && f.Ints != nil && !slices.Equal(b.Ints, v.ints) && *verbose {
			fmt.Printf("    %s: contents evaluate to %v, are %v\n", name, b.Ints, v.ints)
		}
	}
	return r
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if len(s) > 160 {
		s = s[:160]
	}
	return s
}

// observed is a value as ONNX Runtime made it.
type observed struct {
	kind ir.Kind
	elem ir.ElemType
	dims []int64
	ints []int64 // of small int64 and int32 tensors
}

func contradiction(name string, t ir.Type, v observed, symbols map[string]int64, symbolAt map[string]string) string {
	if t.Kind != ir.UnknownKind && t.Kind != ir.Optional && t.Kind != v.kind {
		return fmt.Sprintf("%s: inferred %s, is %s", name, t, v.kind)
	}
	if t.Kind != ir.Tensor || v.kind != ir.Tensor {
		return ""
	}
	if t.Elem != ir.UndefinedElem && t.Elem != v.elem {
		return fmt.Sprintf("%s: inferred %s, is %s%v", name, t, v.elem, v.dims)
	}
	if t.Rank < 0 {
		return ""
	}
	if t.Rank != len(v.dims) {
		return fmt.Sprintf("%s: inferred %s, is %v", name, t, v.dims)
	}
	for i, d := range t.Shape {
		if d.N >= 0 && d.N != v.dims[i] {
			return fmt.Sprintf("%s: inferred %s, is %v", name, t, v.dims)
		}
		if d.N < 0 && d.Sym != "" {
			if old, ok := symbols[d.Sym]; ok && old != v.dims[i] {
				return fmt.Sprintf("%s: extent %q is %d, but it is %d in %s", name, d.Sym, v.dims[i], old, symbolAt[d.Sym])
			}
			symbols[d.Sym], symbolAt[d.Sym] = v.dims[i], name
		}
	}
	return ""
}

// feedsFor makes the inputs of a model: those of a data set beside it, or random
// ones of the shapes that its hints state.
func feedsFor(path string, m *onnxfile.Model) (map[string]*onnxpb.TensorProto, map[string][]int64, error) {
	feeds, bind := map[string]*onnxpb.TensorProto{}, map[string][]int64{}
	stored := map[string]bool{}
	for _, t := range m.Proto.Graph.Initializer {
		stored[t.GetName()] = true
	}
	var h hints
	if b, err := os.ReadFile(path + ".hints.json"); err == nil {
		if err := json.Unmarshal(b, &h); err != nil {
			return nil, nil, err
		}
	}
	set := filepath.Join(filepath.Dir(path), "test_data_set_0")
	rng := rand.New(rand.NewPCG(1, 2))
	k := 0
	for _, v := range m.Proto.Graph.Input {
		name := v.GetName()
		if stored[name] {
			continue
		}
		if b, err := os.ReadFile(filepath.Join(set, fmt.Sprintf("input_%d.pb", k))); err == nil {
			k++
			if v.Type.GetTensorType() == nil {
				return nil, nil, fmt.Errorf("input %s is no tensor", name)
			}
			t := &onnxpb.TensorProto{}
			if err := proto.Unmarshal(b, t); err != nil {
				return nil, nil, err
			}
			feeds[name], bind[name] = t, t.Dims
			continue
		}
		tt := v.Type.GetTensorType()
		if tt == nil {
			return nil, nil, fmt.Errorf("input %s is no tensor", name)
		}
		dims, ok := h.Shapes[name]
		if !ok {
			for i, d := range tt.GetShape().GetDim() {
				dims = append(dims, guess(d, i, len(tt.GetShape().GetDim())))
			}
		}
		feeds[name] = randomTensor(rng, name, tt.GetElemType(), dims, h.Values)
		bind[name] = dims
	}
	return feeds, bind, nil
}

func guess(d *onnxpb.TensorShapeProto_Dimension, i, rank int) int64 {
	if d.GetDimParam() == "" && d.GetDimValue() > 0 {
		return d.GetDimValue()
	}
	p := strings.ToLower(d.GetDimParam())
	switch {
	case strings.Contains(p, "batch") || p == "n" || p == "b":
		return 2
	case strings.Contains(p, "past"):
		return 4
	case strings.Contains(p, "seq"):
		return 7
	case rank == 4 && i >= 2:
		return 64
	case rank == 4 && i == 1:
		return 3
	case i == 0:
		return 3
	}
	return 5
}

func randomTensor(rng *rand.Rand, name string, elem int32, dims []int64, values map[string]float64) *onnxpb.TensorProto {
	n := int64(1)
	for _, d := range dims {
		n *= d
	}
	var raw []byte
	for range n {
		x := rng.Float64()
		if v, ok := values[name]; ok {
			x = v
		}
		switch ir.ElemType(elem) {
		case ir.Float32:
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(x)))
		case ir.Float64:
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(x))
		case ir.Float16:
			raw = binary.LittleEndian.AppendUint16(raw, 0x3800)
		case ir.Int64:
			raw = binary.LittleEndian.AppendUint64(raw, uint64(pick(name, x, values)))
		case ir.Int32:
			raw = binary.LittleEndian.AppendUint32(raw, uint32(pick(name, x, values)))
		default:
			raw = append(raw, byte(pick(name, x, values)))
			for len(raw)%(max(ir.ElemType(elem).Bits(), 8)/8) != 0 {
				raw = append(raw, 0)
			}
		}
	}
	return &onnxpb.TensorProto{Dims: dims, DataType: proto.Int32(elem), RawData: raw}
}

func pick(name string, x float64, values map[string]float64) int64 {
	if v, ok := values[name]; ok {
		return int64(v)
	}
	if strings.Contains(name, "mask") || x > 0.5 {
		return 1
	}
	return 0
}

// runAll runs the model with every value of its main graph as an output.
func runAll(t *testing.T, path string, feeds map[string]*onnxpb.TensorProto) (map[string]observed, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	mp := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(b, mp); err != nil {
		return nil, err
	}
	have := map[string]bool{"": true}
	var names []string
	for _, o := range mp.Graph.Output {
		if !have[o.GetName()] {
			names = append(names, o.GetName())
		}
		have[o.GetName()] = true
	}
	original := len(names)
	for _, n := range mp.Graph.Node {
		for _, o := range n.Output {
			if !have[o] {
				have[o] = true
				mp.Graph.Output = append(mp.Graph.Output, &onnxpb.ValueInfoProto{Name: proto.String(o)})
				names = append(names, o)
			}
		}
	}
	dir := t.TempDir()
	for _, f := range []string{"*.bin", "*.data"} {
		side, _ := filepath.Glob(filepath.Join(filepath.Dir(path), f))
		for _, s := range side {
			if err := os.CopyFS(dir, os.DirFS(filepath.Dir(s))); err == nil {
				break
			}
		}
	}
	all := filepath.Join(dir, "all-values.onnx")
	if b, err = proto.Marshal(mp); err != nil {
		return nil, err
	}
	if err := os.WriteFile(all, b, 0o600); err != nil {
		return nil, err
	}
	got, err := runModel(all, names, feeds)
	if err != nil && original < len(names) {
		if got, err2 := runModel(path, names[:original], feeds); err2 == nil {
			return got, nil
		}
	}
	return got, err
}

func runModel(path string, names []string, feeds map[string]*onnxpb.TensorProto) (map[string]observed, error) {
	so, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer so.Destroy()
	if err := so.SetGraphOptimizationLevel(ort.GraphOptimizationLevelDisableAll); err != nil {
		return nil, err
	}
	var inNames []string
	var ins []ort.Value
	defer func() {
		for _, v := range ins {
			v.Destroy()
		}
	}()
	for _, name := range slices.Sorted(maps.Keys(feeds)) {
		v, err := toValue(feeds[name])
		if err != nil {
			return nil, fmt.Errorf("input %s: %w", name, err)
		}
		inNames = append(inNames, name)
		ins = append(ins, v)
	}
	s, err := ort.NewDynamicAdvancedSession(path, inNames, names, so)
	if err != nil {
		return nil, err
	}
	defer s.Destroy()
	outs := make([]ort.Value, len(names))
	if err := s.Run(ins, outs); err != nil {
		return nil, err
	}
	got := map[string]observed{}
	for i, v := range outs {
		if v == nil {
			continue
		}
		got[names[i]] = observe(v)
		v.Destroy()
	}
	return got, nil
}

func observe(v ort.Value) observed {
	switch v.GetONNXType() {
	case ort.ONNXTypeSequence:
		return observed{kind: ir.Sequence}
	case ort.ONNXTypeMap:
		return observed{kind: ir.Map}
	}
	o := observed{kind: ir.Tensor, dims: slices.Clone([]int64(v.GetShape())), elem: fromORT(ort.TensorElementDataType(v.DataType()))}
	if o.dims == nil {
		o.dims = []int64{}
	}
	switch x := v.(type) {
	case *ort.Tensor[int64]:
		if len(x.GetData()) <= 64 {
			o.ints = append([]int64{}, x.GetData()...)
		}
	case *ort.Tensor[int32]:
		if len(x.GetData()) <= 64 {
			o.ints = []int64{}
			for _, n := range x.GetData() {
				o.ints = append(o.ints, int64(n))
			}
		}
	}
	return o
}

// fromORT converts ONNX Runtime's numbering of element types, which is that of
// ONNX but for the 4-bit ones on.
func fromORT(t ort.TensorElementDataType) ir.ElemType {
	switch t {
	case 21:
		return ir.Uint4
	case 22:
		return ir.Int4
	}
	return ir.ElemType(t)
}

func toValue(t *onnxpb.TensorProto) (ort.Value, error) {
	dims := ort.NewShape(t.Dims...)
	raw := t.RawData
	if ir.ElemType(t.GetDataType()) == ir.String {
		s, err := ort.NewStringTensor(dims)
		if err != nil {
			return nil, err
		}
		text := make([]string, len(t.StringData))
		for i, b := range t.StringData {
			text[i] = string(b)
		}
		return s, s.SetContents(text)
	}
	if raw == nil {
		raw = typedBytes(t)
	}
	if len(raw) == 0 {
		return emptyValue(t, dims)
	}
	return ort.NewCustomDataTensor(dims, raw, ort.TensorElementDataType(t.GetDataType()))
}

func emptyValue(t *onnxpb.TensorProto, dims ort.Shape) (ort.Value, error) {
	switch ir.ElemType(t.GetDataType()) {
	case ir.Int64:
		return ort.NewTensor(dims, []int64{})
	case ir.Int32:
		return ort.NewTensor(dims, []int32{})
	case ir.Float32:
		return ort.NewTensor(dims, []float32{})
	}
	return nil, fmt.Errorf("empty tensor")
}

func typedBytes(t *onnxpb.TensorProto) []byte {
	var b []byte
	for _, f := range t.FloatData {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(f))
	}
	for _, f := range t.DoubleData {
		b = binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
	}
	for _, n := range t.Int64Data {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	for _, n := range t.Uint64Data {
		if t.GetDataType() == int32(ir.Uint32) {
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		} else {
			b = binary.LittleEndian.AppendUint64(b, n)
		}
	}
	for _, n := range t.Int32Data {
		switch bits := ir.ElemType(t.GetDataType()).Bits(); {
		case bits == 32:
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		case bits == 16:
			b = binary.LittleEndian.AppendUint16(b, uint16(n))
		default:
			b = append(b, byte(n))
		}
	}
	return b
}
