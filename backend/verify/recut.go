package verify

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// ONNX Runtime's CPU kernels know float16 hardly at all. Where one is missing it
// computes in float32 with a Cast before and one behind, and then drops the
// Casts between neighbours, even with graph optimisation off (its transformers
// InsertCast and RemoveDuplicateCast). A float16 value inside a model is thus
// never rounded to float16, but at a cut it must be, since float16 is what
// travels. Whole and split differ then by a rounding that the model itself
// demands, whoever cuts it.
//
// What the split is held against in that case is the model cut a second time:
// the model's own nodes and stored values, straight from its file, taken apart
// where the sub-models are. That shares nothing with the sub-models but their
// lists of values, and rounds where they do. Every sub-model must then agree
// with its piece bit for bit.

// Field numbers of GraphProto.
const (
	graphNode        = 1
	graphInitializer = 5
	graphInput       = 11
	graphOutput      = 12
	graphInfo        = 13
	graphAnnotation  = 14
	graphSparse      = 15
)

// halfTensors are the float16 tensors that sub-models exchange.
func (v *verification) halfTensors(ctx context.Context) ([]string, error) {
	var names []string
	for i := range v.manifest.Submodels {
		sub, err := onnxfile.Open(ctx, filepath.Join(v.dir, v.manifest.Submodels[i].File), v.Limits)
		if err != nil {
			return nil, err
		}
		for _, out := range sub.Proto.GetGraph().GetOutput() {
			if out.GetType().GetTensorType().GetElemType() != int32(onnxpb.TensorProto_FLOAT16) {
				continue
			}
			for _, e := range v.manifest.Edges {
				if e.Tensor == listed(out.GetName()) {
					names = append(names, out.GetName())
				}
			}
		}
		_ = sub.Close() // only read
	}
	return names, nil
}

// piece encodes the part of the model that sub-model i holds.
func (v *verification) piece(ctx context.Context, whole *onnxfile.Model, i int) ([]byte, error) {
	path := filepath.Join(v.dir, v.manifest.Submodels[i].File)
	sub, err := onnxfile.Open(ctx, path, v.Limits)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Close() }() // only read
	fail := func(value, msg string) error { return &diag.Error{File: path, Value: value, Msg: msg} }

	made := map[string]bool{} // by the sub-model's nodes
	for _, n := range sub.Proto.GetGraph().GetNode() {
		for _, out := range n.GetOutput() {
			made[out] = out != ""
		}
	}
	used := map[string]bool{}
	d := whole.Draft()
	g := whole.Proto.GetGraph()
	var fields []onnxfile.Field
	k := map[int]int{} // entries seen, by field number
	for _, f := range d.Graph {
		at := k[int(f.Num)]
		k[int(f.Num)]++
		if f.Num != graphNode {
			continue
		}
		n := g.GetNode()[at]
		mine := false
		for _, out := range n.GetOutput() {
			mine = mine || made[out]
		}
		if !mine {
			continue
		}
		fields = append(fields, f)
		for _, out := range n.GetOutput() {
			delete(made, out)
		}
		for _, in := range inputsOf(n) {
			used[in] = true
		}
	}
	for name := range made {
		if name != "" {
			return nil, fail(name, "the model has no node that makes this value")
		}
	}
	for _, out := range sub.Proto.GetGraph().GetOutput() {
		used[out.GetName()] = true
	}
	stored := map[string]bool{}
	clear(k)
	for _, f := range d.Graph {
		at := k[int(f.Num)]
		k[int(f.Num)]++
		switch f.Num {
		case graphInitializer:
			if name := g.GetInitializer()[at].GetName(); used[name] {
				stored[name] = true
				fields = append(fields, f)
			}
		case graphSparse:
			if name := g.GetSparseInitializer()[at].GetValues().GetName(); used[name] {
				stored[name] = true
				fields = append(fields, f)
			}
		}
	}
	// Stored values that the model lists as inputs stay listed: whether one may be
	// overridden decides which kernels are used.
	for _, in := range g.GetInput() {
		if stored[in.GetName()] {
			f, err := onnxfile.MessageField(graphInput, in)
			if err != nil {
				return nil, err
			}
			fields = append(fields, f)
		}
	}
	for _, in := range sub.Proto.GetGraph().GetInput() {
		if stored[in.GetName()] {
			continue
		}
		f, err := onnxfile.MessageField(graphInput, in)
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	for _, out := range sub.Proto.GetGraph().GetOutput() {
		f, err := onnxfile.MessageField(graphOutput, out)
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	for _, f := range d.Graph {
		switch f.Num {
		case graphNode, graphInitializer, graphInput, graphOutput, graphInfo, graphAnnotation, graphSparse:
		default:
			fields = append(fields, f)
		}
	}
	draft := &onnxfile.Draft{Fields: d.Fields, GraphAt: d.GraphAt, Graph: fields}
	var b bytes.Buffer
	b.Grow(int(min(draft.Size(), onnxfile.MaxModelBytes)))
	if _, err := draft.WriteTo(&b); err != nil {
		return nil, fail("", "the model's own nodes for it cannot be encoded: "+err.Error())
	}
	return b.Bytes(), nil
}

// inputsOf are the values that a node reads, those that graphs inside it take
// from outside included. A name that such a graph hides may be among them too.
func inputsOf(n *onnxpb.NodeProto) []string {
	names := append([]string{}, n.GetInput()...)
	var inside func(g *onnxpb.GraphProto)
	inside = func(g *onnxpb.GraphProto) {
		for _, m := range g.GetNode() {
			names = append(names, m.GetInput()...)
			for _, a := range m.GetAttribute() {
				if a.GetG() != nil {
					inside(a.GetG())
				}
				for _, b := range a.GetGraphs() {
					inside(b)
				}
			}
		}
		for _, out := range g.GetOutput() {
			names = append(names, out.GetName())
		}
	}
	for _, a := range n.GetAttribute() {
		if a.GetG() != nil {
			inside(a.GetG())
		}
		for _, b := range a.GetGraphs() {
			inside(b)
		}
	}
	return names
}

// recut runs the model in the pieces that the sub-models hold, and returns the
// outputs of every feed and the sub-model that differs from its piece, if one
// does. why says what keeps it from that.
func (v *verification) recut(ctx context.Context) (want [][]*runtime.Value, culprit *Culprit, why string, err error) {
	whole, err := onnxfile.Open(ctx, v.model, v.Limits)
	if err != nil {
		return nil, nil, err.Error(), ctx.Err()
	}
	defer func() { _ = whole.Close() }() // only read
	parts := NewParts(v.eng, v.dir, v.manifest, runtime.Options{})
	values := make([]map[string]*runtime.Value, len(v.feeds))
	for k, feed := range v.feeds {
		values[k] = make(map[string]*runtime.Value, len(feed))
		for name, value := range feed {
			values[k][name] = value
		}
	}
	for i := range v.manifest.Submodels {
		v.Progress(fmt.Sprintf("cutting the model again, piece %d of %d", i+1, len(v.manifest.Submodels)))
		body, err := v.piece(ctx, whole, i)
		if err != nil {
			return nil, nil, err.Error(), ctx.Err()
		}
		truth, err := v.runPiece(ctx, parts, i, runtime.Model{Path: v.model, Data: body, Folder: filepath.Dir(v.model)}, values)
		if err != nil {
			return nil, nil, err.Error(), ctx.Err()
		}
		made, err := v.runPiece(ctx, parts, i, runtime.Model{Path: parts.path(i)}, values)
		if err != nil {
			return nil, nil, err.Error(), ctx.Err()
		}
		if c := culpritOf(parts.label(i), truth[0], made[0]); c != nil && culprit == nil {
			culprit = c
		} else if c != nil {
			culprit.Others = append(culprit.Others, c.Submodel)
		}
		for k := range values {
			for _, out := range truth[k] {
				values[k][out.name] = out.value
			}
		}
		parts.forget(i, values)
	}
	want = make([][]*runtime.Value, len(values))
	for k := range values {
		for _, name := range v.outputs {
			value, ok := values[k][name]
			if !ok {
				return nil, culprit, fmt.Sprintf("no sub-model makes %q", name), nil
			}
			want[k] = append(want[k], value)
		}
	}
	return want, culprit, "", nil
}

// named is an output with its name.
type named struct {
	name  string
	value *runtime.Value
}

// runPiece runs m in the place of sub-model i, on every set of values.
func (v *verification) runPiece(ctx context.Context, parts *Parts, i int, m runtime.Model, values []map[string]*runtime.Value) ([][]named, error) {
	s, err := v.eng.Load(m, runtime.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close() }()
	out := make([][]named, len(values))
	for k, known := range values {
		got, err := parts.call(ctx, i, s, known)
		if err != nil {
			return nil, err
		}
		for j, port := range s.Outputs() {
			out[k] = append(out[k], named{port.Name, got[j]})
		}
	}
	return out, nil
}

// culpritOf compares what sub-model id made with what it should have made; nil if it is the same.
func culpritOf(id string, truth, made []named) *Culprit {
	by := make(map[string]*runtime.Value, len(made))
	for _, m := range made {
		by[m.name] = m.value
	}
	for _, t := range truth {
		if d := Compare(t.value, by[t.name]); !d.Equal() {
			return &Culprit{Submodel: id, Tensor: t.name, Diff: *d, Others: []string{}}
		}
	}
	return nil
}
