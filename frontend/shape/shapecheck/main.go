// Command shapecheck holds shape inference against ONNX Runtime: it runs models
// with all of their values as outputs and compares what was inferred with what
// came out. Data sets beside a model (test_data_set_0), or hints
// (MODEL.hints.json), give its inputs; else they are random.
//
//	go run ./frontend/shape/shapecheck [-only TEXT] [-details] [-notes] [-python PATH] [-catalog] [DIR…]
//
// It prints a table and ends with status 1 if anything inferred was contradicted.
package main

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
	"time"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/shape"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

var (
	only    = flag.String("only", "", "compare only models whose path contains this")
	details = flag.Bool("details", false, "print every value that is not known exactly")
	notes   = flag.Bool("notes", false, "print the notes of each model")
	pyPath  = flag.String("python", "", "a python3 with package onnx, to compare with its shape inference as well")
	catalog = flag.Bool("catalog", false, "check the models of package onnxtest as well")
	library = flag.String("ort-lib", "", "ONNX Runtime's library (default: $ONNXRUNTIME_LIB, or where make puts it)")
)

func main() {
	flag.Parse()
	engine, err := runtime.OpenORT(*library)
	if err != nil {
		fmt.Fprintln(os.Stderr, "shapecheck:", err)
		os.Exit(2)
	}
	var py *python
	if *pyPath != "" {
		if py, err = startPython(*pyPath); err != nil {
			fmt.Fprintln(os.Stderr, "shapecheck:", err)
			os.Exit(2)
		}
	}
	var sum tally
	var jobs []job
	for _, dir := range flag.Args() {
		err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".onnx") && strings.Contains(path, *only) {
				jobs = append(jobs, fileJob(path))
			}
			return err
		})
		if err != nil {
			fmt.Fprintln(os.Stderr, "shapecheck:", err)
			os.Exit(2)
		}
	}
	if *catalog {
		dir, err := os.MkdirTemp("", "shapecheck")
		if err == nil {
			var more []job
			more, err = catalogJobs(dir)
			jobs = append(jobs, more...)
		}
		if err != nil {
			_ = os.RemoveAll(dir)
			fmt.Fprintln(os.Stderr, "shapecheck:", err)
			os.Exit(2)
		}
		defer func() { _ = os.RemoveAll(dir) }()
	}
	fmt.Printf("%-48s %6s %6s %6s %6s %6s %6s %5s %8s\n", "model", "values", "typed", "exact", "data", "wrong", "python", "contr", "ms")
	for _, j := range jobs {
		one := compareModel(engine, py, j)
		sum.add(one)
		if len(jobs) < 60 || len(one.contradictions) > 0 || one.exact+one.data < one.values || one.typed < one.values || one.failed != "" {
			fmt.Printf("%-48s %6d %6d %6d %6d %6d %6d %5d %8.2f %s\n", j.name, one.values, one.typed, one.exact, one.data, one.wrong, one.python, len(one.contradictions), one.ms, one.failed)
		}
		for _, c := range one.contradictions {
			fmt.Printf("    %s\n", c)
		}
	}
	fmt.Printf("%d models, %d ran; %d values: %d typed, %d exact, %d data-dependent, %d wrong; %d exact by python; %d contradictions\n", len(jobs), sum.ran, sum.values, sum.typed, sum.exact, sum.data, sum.wrong, sum.python, len(sum.contradictions))
	if len(sum.contradictions) > 0 {
		defer os.Exit(1)
	}
}

// job is one model to compare.
type job struct {
	name, path string
	inputs     func() (map[string]*runtime.Value, map[string][]int64, error) // nil: by feedsFor
}

func fileJob(path string) job {
	name := filepath.Base(path)
	if name == "model.onnx" {
		name = filepath.Base(filepath.Dir(path))
	}
	return job{name: name, path: path}
}

// tally counts values: typed ones whose type and rank are published, exact ones
// whose extents are right and rest on no assumption, data-dependent ones that
// rest on one, wrong ones: extents claimed for certain that did not come out, and
// those that onnx.shape_inference knows exactly.
type tally struct {
	ran, values, typed, exact, data, wrong, python int
	contradictions                                 []string
	ms                                             float64
	failed                                         string
}

func (a *tally) add(b *tally) {
	a.ran += b.ran
	a.values += b.values
	a.typed += b.typed
	a.exact += b.exact
	a.data += b.data
	a.wrong += b.wrong
	a.python += b.python
	a.contradictions = append(a.contradictions, b.contradictions...)
}

type hints struct {
	Shapes map[string][]int64 `json:"shapes"`
	Values map[string]float64 `json:"values"`
}

func compareModel(engine runtime.Engine, py *python, j job) *tally {
	r, path := &tally{}, j.path
	m, err := onnxfile.Open(context.Background(), path, onnxfile.Options{})
	if err != nil {
		r.failed = "open: " + err.Error()
		return r
	}
	defer func() { _ = m.Close() }()
	inputs := j.inputs
	if inputs == nil {
		inputs = func() (map[string]*runtime.Value, map[string][]int64, error) { return feedsFor(path, m) }
	}
	feeds, bind, err := inputs()
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
		r.failed = "inputs: " + err.Error() // the data set does not fit the model
		return r
	}
	got, err := runAll(engine, path, bound, feeds)
	if err != nil {
		r.failed = "run: " + firstLine(strings.TrimPrefix(err.Error(), path+": "))
		if got = recorded(path, m); len(got) == 0 {
			return r
		}
		r.failed = "by its data set; " + r.failed
	}
	r.ran = 1
	if *notes {
		for _, n := range bound.Notes() {
			fmt.Println("    note:", n)
		}
	}
	theirs, err := py.infer(path, bind)
	if err != nil {
		r.failed = err.Error()
	}
	symbols := map[string]int64{}
	symbolAt := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		v := got[name]
		ints := smallInts(v)
		if known, ok := theirs[name]; ok && v.Kind == ir.Tensor {
			if sameShape(known, v.Shape) {
				r.python++
			} else if *details {
				fmt.Printf("    %s: python says %s, is %v\n", name, showShape(known), v.Shape)
			}
		}
		r.values++
		f, ok := free.Of(name)
		if !ok {
			r.contradictions = append(r.contradictions, name+": not inferred at all")
			continue
		}
		if c := contradiction(name, f.Type, v, symbols, symbolAt); c != "" {
			r.contradictions = append(r.contradictions, c)
		}
		if f.Const && ints != nil && !slices.Equal(f.Ints, ints) {
			r.contradictions = append(r.contradictions, fmt.Sprintf("%s: contents inferred as %v, are %v", name, f.Ints, ints))
		}
		b, _ := bound.Of(name)
		if f.Type.Kind == ir.Tensor && f.Type.Rank >= 0 && f.Type.Elem.Known() || f.Type.Kind > ir.Tensor {
			r.typed++
		} else if *details {
			fmt.Printf("    %s: type %s, is %s%v\n", name, f.Type, v.Elem, v.Shape)
		}
		switch {
		case v.Kind != ir.Tensor:
			r.exact++ // kinds are all that is claimed
		case b.Assumed:
			r.data++
			if *details {
				fmt.Printf("    %s: assumed %v, is %v\n", name, b.Dims, v.Shape)
			}
		case slices.Equal(b.Dims, v.Shape):
			r.exact++
		default:
			r.wrong++
			r.contradictions = append(r.contradictions, fmt.Sprintf("%s: bound shape inferred as %v, is %v", name, b.Dims, v.Shape))
		}
		if !b.Assumed && b.Ints != nil && ints != nil && len(b.Ints) == len(ints) && f.Ints != nil && !slices.Equal(b.Ints, ints) && *details {
			fmt.Printf("    %s: contents evaluate to %v, are %v\n", name, b.Ints, ints)
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

func contradiction(name string, t ir.Type, v *runtime.Value, symbols map[string]int64, symbolAt map[string]string) string {
	if t.Kind != ir.UnknownKind && t.Kind != ir.Optional && t.Kind != v.Kind {
		return fmt.Sprintf("%s: inferred %s, is %s", name, t, v.Kind)
	}
	if t.Kind != ir.Tensor || v.Kind != ir.Tensor {
		return ""
	}
	if t.Elem != ir.UndefinedElem && t.Elem != v.Elem {
		return fmt.Sprintf("%s: inferred %s, is %s%v", name, t, v.Elem, v.Shape)
	}
	if t.Rank < 0 {
		return ""
	}
	if t.Rank != len(v.Shape) {
		return fmt.Sprintf("%s: inferred %s, is %v", name, t, v.Shape)
	}
	for i, d := range t.Shape {
		if d.N >= 0 && d.N != v.Shape[i] {
			return fmt.Sprintf("%s: inferred %s, is %v", name, t, v.Shape)
		}
		if d.N < 0 && d.Sym != "" {
			if old, ok := symbols[d.Sym]; ok && old != v.Shape[i] {
				return fmt.Sprintf("%s: extent %q is %d, but it is %d in %s", name, d.Sym, v.Shape[i], old, symbolAt[d.Sym])
			}
			symbols[d.Sym], symbolAt[d.Sym] = v.Shape[i], name
		}
	}
	return ""
}

// feedsFor makes the inputs of a model: those of a data set beside it, or random
// ones of the shapes that its hints state.
func feedsFor(path string, m *onnxfile.Model) (map[string]*runtime.Value, map[string][]int64, error) {
	feeds, bind := map[string]*runtime.Value{}, map[string][]int64{}
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
			x, err := readValue(b, v.Type)
			if err != nil {
				return nil, nil, fmt.Errorf("input %s: %w", name, err)
			}
			feeds[name] = x
			if x.Kind == ir.Tensor {
				bind[name] = x.Shape
			}
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
	if a, b, ok := strings.Cut(p, " + "); ok && rank > 0 {
		sum := guess(symbolDim(a), i, 0) + guess(symbolDim(b), i, 0)
		return sum
	}
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

func symbolDim(name string) *onnxpb.TensorShapeProto_Dimension {
	return &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimParam{DimParam: name}}
}

func randomTensor(rng *rand.Rand, name string, elem int32, dims []int64, values map[string]float64) *runtime.Value {
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
	return &runtime.Value{Kind: ir.Tensor, Elem: ir.ElemType(elem), Shape: dims, Data: raw}
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

// mostBytes bounds what all values of a model may take together.
const mostBytes = 2 << 30

// runAll runs the model with every value of its main graph as an output, or with
// its own outputs only where that is refused or too much.
func runAll(engine runtime.Engine, path string, bound *shape.Result, feeds map[string]*runtime.Value) (map[string]*runtime.Value, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	mp := &onnxpb.ModelProto{}
	if err := proto.Unmarshal(b, mp); err != nil {
		return nil, err
	}
	have := map[string]bool{"": true}
	for _, o := range mp.Graph.Output {
		have[o.GetName()] = true
	}
	total := int64(0)
	for _, n := range mp.Graph.Node {
		for _, o := range n.Output {
			if v, ok := bound.Of(o); ok && v.Bytes < mostBytes {
				total += v.Bytes
			} else if ok {
				total = mostBytes
			}
			if !have[o] {
				have[o] = true
				mp.Graph.Output = append(mp.Graph.Output, &onnxpb.ValueInfoProto{Name: proto.String(o)})
			}
		}
	}
	folder := filepath.Dir(path)
	if total < mostBytes {
		all, err := proto.Marshal(mp)
		if err != nil {
			return nil, err
		}
		if got, err := runModel(engine, runtime.Model{Path: path, Data: all, Folder: folder}, feeds); err == nil {
			return got, nil
		} else if *details {
			fmt.Printf("    with all values: %v\n", err)
		}
	}
	return runModel(engine, runtime.Model{Path: path}, feeds)
}

func runModel(engine runtime.Engine, m runtime.Model, feeds map[string]*runtime.Value) (map[string]*runtime.Value, error) {
	s, err := engine.Load(m, runtime.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	outs, err := s.Run(context.Background(), feeds)
	if err != nil {
		return nil, err
	}
	got := map[string]*runtime.Value{}
	for i, p := range s.Outputs() {
		got[p.Name] = outs[i]
	}
	return got, nil
}

// smallInts are the contents of a small int64 or int32 tensor; nil for others.
func smallInts(v *runtime.Value) []int64 {
	if v.Kind != ir.Tensor || v.Elements() > 64 {
		return nil
	}
	ns := []int64{}
	switch v.Elem {
	case ir.Int64:
		for i := 0; i < len(v.Data); i += 8 {
			ns = append(ns, int64(binary.LittleEndian.Uint64(v.Data[i:])))
		}
	case ir.Int32:
		for i := 0; i < len(v.Data); i += 4 {
			ns = append(ns, int64(int32(binary.LittleEndian.Uint32(v.Data[i:]))))
		}
	default:
		return nil
	}
	return ns
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
		switch ir.ElemType(t.GetDataType()).Bits() {
		case 32:
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		case 16:
			b = binary.LittleEndian.AppendUint16(b, uint16(n))
		default:
			b = append(b, byte(n))
		}
	}
	return b
}

// recorded are the outputs in the data set beside a model that does not run here.
func recorded(path string, m *onnxfile.Model) map[string]*runtime.Value {
	got := map[string]*runtime.Value{}
	for i, o := range m.Proto.Graph.Output {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(path), "test_data_set_0", fmt.Sprintf("output_%d.pb", i)))
		if err != nil {
			continue
		}
		if v, err := readValue(b, o.Type); err == nil {
			got[o.GetName()] = v
		}
	}
	return got
}

// readValue decodes a value of a data set: a tensor, or a sequence or optional of them.
func readValue(b []byte, t *onnxpb.TypeProto) (*runtime.Value, error) {
	if t.GetTensorType() != nil {
		x := &onnxpb.TensorProto{}
		if err := proto.Unmarshal(b, x); err != nil {
			return nil, err
		}
		return tensorValue(x)
	}
	// SequenceProto: elem_type = 2, tensor_values = 3. OptionalProto has the same
	// numbers and one tensor at most.
	kind, item := ir.Sequence, t.GetSequenceType().GetElemType()
	if o := t.GetOptionalType(); o != nil {
		kind, item = ir.Optional, o.GetElemType()
	}
	if item.GetTensorType() == nil {
		return nil, fmt.Errorf("nested containers are not read")
	}
	v := &runtime.Value{Kind: kind}
	for len(b) > 0 {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return nil, fmt.Errorf("not a data set")
		}
		b = b[n:]
		if num == 3 && typ == protowire.BytesType {
			body, n := protowire.ConsumeBytes(b)
			if n < 0 {
				return nil, fmt.Errorf("not a data set")
			}
			x := &onnxpb.TensorProto{}
			if err := proto.Unmarshal(body, x); err != nil {
				return nil, err
			}
			y, err := tensorValue(x)
			if err != nil {
				return nil, err
			}
			v.Items = append(v.Items, y)
			b = b[n:]
			continue
		}
		if n = protowire.ConsumeFieldValue(num, typ, b); n < 0 {
			return nil, fmt.Errorf("not a data set")
		}
		b = b[n:]
	}
	return v, nil
}

func tensorValue(t *onnxpb.TensorProto) (*runtime.Value, error) {
	v := &runtime.Value{Kind: ir.Tensor, Elem: ir.ElemType(t.GetDataType()), Shape: append([]int64{}, t.Dims...), Data: t.RawData}
	if v.Elem == ir.String {
		v.Strings = []string{}
		for _, s := range t.StringData {
			v.Strings = append(v.Strings, string(s))
		}
	} else if v.Data == nil {
		v.Data = typedBytes(t)
	}
	return v, v.Check()
}
