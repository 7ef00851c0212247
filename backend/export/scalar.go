package export

import (
	"context"
	"fmt"
	"io"

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

// inside is the name of an ensemble's tensor in the sub-models.
func (r *repository) inside(p port) string {
	if r.scalar(p.tensor) {
		return p.tensor + wideSuffix
	}
	return p.tensor
}

// reshapeOpset is the version of the operator set from which on Reshape takes
// the shape as an input.
const reshapeOpset = 5

// widen adds sub-model i in the form that has no tensors of rank 0, as a file of
// that name, and renames its ports. Weights go from file to file.
func (r *repository) widen(ctx context.Context, i int, file string, ins, outs []port) error {
	m, err := r.open(ctx, i)
	if err != nil {
		return err
	}
	fail := func(format string, args ...any) error {
		return &diag.Error{File: m.Path, Msg: fmt.Sprintf("it passes tensors of rank 0, which Triton does not know, and cannot be given others: "+format, args...)}
	}
	opset := int64(-1)
	for _, o := range m.Proto.GetOpsetImport() {
		if d := o.GetDomain(); d == "" || d == "ai.onnx" {
			opset = o.GetVersion()
		}
	}
	if opset < reshapeOpset {
		return fail("its operator set ai.onnx is of version %d, Reshape needs %d", opset, reshapeOpset)
	}
	names := valueNames(m.Proto.GetGraph())
	wide := func(p *port) error {
		p.name = r.inside(*p)
		if p.name != p.tensor && names[p.name] {
			return fail("it has a value called %q already", p.name)
		}
		return nil
	}
	w := &widening{m: m, shapes: map[int]string{}, names: names, wide: map[string]bool{}}
	for k := range ins {
		if err := wide(&ins[k]); err != nil {
			return err
		}
		w.wide[ins[k].tensor] = ins[k].name != ins[k].tensor
	}
	for k := range outs {
		if err := wide(&outs[k]); err != nil {
			return err
		}
		w.wide[outs[k].tensor] = outs[k].name != outs[k].tensor
	}
	d, err := w.draft()
	if err != nil {
		return &diag.Error{File: m.Path, Msg: "it cannot be encoded", Err: err}
	}
	r.sources = append(r.sources, m.Path)
	r.files = append(r.files, fileOf(file, d))
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
	names  map[string]bool // of values
	wide   map[string]bool // values of rank 0 that cross the boundary
	shapes map[int]string  // initializer that holds a shape of that rank, by rank
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
		if info != nil && w.wide[info.GetName()] {
			changed, err := onnxfile.MessageField(f.Num, widened(info))
			if err != nil {
				return nil, err
			}
			f = changed
		}
		fields = append(fields, f)
	}
	return &onnxfile.Draft{Fields: d.Fields, GraphAt: d.GraphAt, Graph: fields}, nil
}

// widened is the declaration of a value in its other form.
func widened(info *onnxpb.ValueInfoProto) *onnxpb.ValueInfoProto {
	out := proto.Clone(info).(*onnxpb.ValueInfoProto)
	out.Name = proto.String(info.GetName() + wideSuffix)
	if t := out.GetType().GetTensorType(); t != nil {
		t.Shape = &onnxpb.TensorShapeProto{Dim: []*onnxpb.TensorShapeProto_Dimension{
			{Value: &onnxpb.TensorShapeProto_Dimension_DimValue{DimValue: 1}},
		}}
	}
	return out
}

// reshape is a node that gives a value of one element another rank, 0 or 1.
func (w *widening) reshape(from, to string, rank int) (onnxfile.Field, error) {
	shape, ok := w.shapes[rank]
	if !ok {
		shape = fmt.Sprintf("dnnsplit_shape_%d", rank)
		for w.names[shape] {
			shape += "_"
		}
		w.names[shape] = true
		w.shapes[rank] = shape
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
