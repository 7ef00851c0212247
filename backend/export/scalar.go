package export

import (
	"context"
	"fmt"
	"io"
	"slices"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// Field numbers of GraphProto.
const (
	graphNode        = 1
	graphInitializer = 5
	graphInput       = 11
	graphOutput      = 12
	graphInfo        = 13
)

// Tensors of rank 0 leave and enter a sub-model as tensors of shape [1]: the
// sub-model gets an input or output of another name, and a Reshape between that
// and the value. Its elements are the same bits.

// wideSuffix ends the name of such an input or output.
const wideSuffix = "__1"

// inside is the name of a value that crosses a boundary in the changed sub-models.
func (s *source) inside(tensor string) string {
	if s.scalar(tensor) {
		return tensor + wideSuffix
	}
	return tensor
}

// reshapeOpset is the version of the operator set from which on Reshape takes
// the shape as an input.
const reshapeOpset = 5

// adapt adds sub-model i without tensors of rank 0, as a file of that name. Where
// shapes has an entry, the input or output of that name is declared with these
// extents. Weights go from file to file.
func (j *job) adapt(ctx context.Context, i int, file string, shapes map[string][]int64) error {
	m, err := j.open(ctx, i)
	if err != nil {
		return err
	}
	w := &widening{m: m, made: map[int]string{}, names: valueNames(m.Proto.GetGraph()), wide: map[string]bool{}, shapes: shapes}
	fail := func(format string, args ...any) error {
		return &diag.Error{File: m.Path, Msg: fmt.Sprintf("it passes tensors of rank 0, which the target does not know, and cannot be given others: "+format, args...)}
	}
	for _, name := range slices.Concat(j.m.Submodels[i].Inputs, j.m.Submodels[i].Outputs) {
		if !j.scalar(name) {
			continue
		}
		w.wide[name] = true
		if w.names[j.inside(name)] {
			return fail("it has a value called %q already", j.inside(name))
		}
	}
	opset := int64(-1)
	for _, o := range m.Proto.GetOpsetImport() {
		if domainOf(o.GetDomain()) == "" {
			opset = o.GetVersion()
		}
	}
	if opset < reshapeOpset && len(w.wide) > 0 {
		return fail("its operator set ai.onnx is of version %d, Reshape needs %d", opset, reshapeOpset)
	}
	d, err := w.draft()
	if err != nil {
		return &diag.Error{File: m.Path, Msg: "it cannot be encoded", Err: err}
	}
	j.sources = append(j.sources, m.Path)
	j.files = append(j.files, fileOf(file, d))
	return nil
}

// fileOf is a file that holds a model.
func fileOf(name string, d *onnxfile.Draft) backend.FolderFile {
	return backend.FolderFile{Name: name, Bytes: d.Size(), Write: func(w io.Writer) error {
		_, err := d.WriteTo(w)
		return err
	}}
}

// widening is the new form of one sub-model.
type widening struct {
	m      *onnxfile.Model
	names  map[string]bool    // of values
	wide   map[string]bool    // values of rank 0 that cross the boundary
	shapes map[string][]int64 // extents to declare, by input or output
	made   map[int]string     // initializer that holds a shape of that rank, by rank
	extra  []onnxfile.Field
}

func (w *widening) draft() (*onnxfile.Draft, error) {
	d := w.m.Draft()
	g := w.m.Proto.GetGraph()
	var before, after, fields []onnxfile.Field
	for _, in := range g.GetInput() {
		if name := in.GetName(); w.wide[name] {
			f, err := w.reshape(name+wideSuffix, name, 0)
			if err != nil {
				return nil, err
			}
			before = append(before, f)
		}
	}
	for _, out := range g.GetOutput() {
		if name := out.GetName(); w.wide[name] {
			f, err := w.reshape(name, name+wideSuffix, 1)
			if err != nil {
				return nil, err
			}
			after = append(after, f)
		}
	}
	fields = append(fields, before...)
	for _, f := range d.Graph {
		if f.Num == graphNode {
			fields = append(fields, f)
		}
	}
	fields = append(append(fields, after...), w.extra...)
	seen := map[int]int{}
	for _, f := range d.Graph {
		k := seen[int(f.Num)]
		seen[int(f.Num)]++
		var info *onnxpb.ValueInfoProto
		switch f.Num {
		case graphNode:
			continue
		case graphInput:
			info = g.GetInput()[k]
		case graphOutput:
			info = g.GetOutput()[k]
		}
		if info != nil && (w.wide[info.GetName()] || w.shapes[info.GetName()] != nil) {
			changed, err := onnxfile.MessageField(f.Num, w.declared(info))
			if err != nil {
				return nil, err
			}
			f = changed
		}
		fields = append(fields, f)
	}
	return &onnxfile.Draft{Fields: d.Fields, GraphAt: d.GraphAt, Graph: fields}, nil
}

// declared is the declaration of a value in its other form.
func (w *widening) declared(info *onnxpb.ValueInfoProto) *onnxpb.ValueInfoProto {
	out := proto.Clone(info).(*onnxpb.ValueInfoProto)
	extents := w.shapes[info.GetName()]
	if w.wide[info.GetName()] {
		out.Name = proto.String(info.GetName() + wideSuffix)
		extents = []int64{1}
	}
	if t := out.GetType().GetTensorType(); t != nil {
		t.Shape = &onnxpb.TensorShapeProto{}
		for _, n := range extents {
			t.Shape.Dim = append(t.Shape.Dim, &onnxpb.TensorShapeProto_Dimension{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: n}})
		}
	}
	return out
}

// reshape is a node that gives a value of one element another rank, 0 or 1.
func (w *widening) reshape(from, to string, rank int) (onnxfile.Field, error) {
	shape, ok := w.made[rank]
	if !ok {
		shape = fmt.Sprintf("dnnsplit_shape_%d", rank)
		for w.names[shape] {
			shape += "_"
		}
		w.names[shape] = true
		w.made[rank] = shape
		t := &onnxpb.TensorProto{Name: proto.String(shape), DataType: proto.Int32(int32(onnxpb.TensorProto_INT64)), Dims: []int64{int64(rank)}}
		if rank == 1 {
			t.Int64Data = []int64{1}
		}
		f, err := onnxfile.MessageField(graphInitializer, t)
		if err != nil {
			return f, err
		}
		w.extra = append(w.extra, f)
	}
	return onnxfile.MessageField(graphNode, &onnxpb.NodeProto{
		OpType: proto.String("Reshape"), Name: proto.String("dnnsplit_reshape/" + to), Input: []string{from, shape}, Output: []string{to},
	})
}

// valueNames are the names of all values of a graph and of those nested in it.
func valueNames(g *onnxpb.GraphProto) map[string]bool {
	names := map[string]bool{}
	var walk func(g *onnxpb.GraphProto)
	walk = func(g *onnxpb.GraphProto) {
		for _, v := range g.GetInput() {
			names[v.GetName()] = true
		}
		for _, t := range g.GetInitializer() {
			names[t.GetName()] = true
		}
		for _, t := range g.GetSparseInitializer() {
			names[t.GetValues().GetName()] = true
		}
		for _, n := range g.GetNode() {
			for _, out := range n.GetOutput() {
				names[out] = true
			}
			for _, a := range n.GetAttribute() {
				if a.G != nil {
					walk(a.G)
				}
				for _, b := range a.GetGraphs() {
					walk(b)
				}
			}
		}
	}
	walk(g)
	return names
}
