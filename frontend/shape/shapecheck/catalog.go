package main

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
)

// catalogJobs writes the models of package onnxtest to a folder, but for the
// large ones, whose scaled versions are there.
func catalogJobs(dir string) ([]job, error) {
	var jobs []job
	for _, c := range onnxtest.Catalog() {
		if c.Tags.Has(onnxtest.Large) || !strings.Contains(c.Name, *only) {
			continue
		}
		m := c.Build(1)
		path := filepath.Join(dir, c.Name, "m.onnx")
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return nil, err
		}
		if err := m.WriteFile(path); err != nil {
			return nil, err
		}
		jobs = append(jobs, job{name: c.Name, path: path, inputs: func() (map[string]*runtime.Value, map[string][]int64, error) {
			return catalogInputs(m)
		}})
	}
	return jobs, nil
}

// catalogInputs draws inputs, every symbol of another size so that extents which
// are mistaken for one another show.
func catalogInputs(m *onnxtest.Model) (map[string]*runtime.Value, map[string][]int64, error) {
	sizes := m.Bindings()
	next := 2
	for _, v := range m.Structure().Graph.Input {
		for _, d := range v.GetType().GetTensorType().GetShape().GetDim() {
			if p := d.GetDimParam(); p != "" && !strings.Contains(p, "+") && sizes[p] == 0 {
				sizes[p] = int64(next)
				next++
			}
		}
	}
	drawn, err := m.Inputs(1, sizes)
	if err != nil {
		return nil, nil, err
	}
	feeds, bind := map[string]*runtime.Value{}, map[string][]int64{}
	for _, v := range drawn {
		feeds[v.Name] = toValue(v)
		if v.Seq == nil {
			bind[v.Name] = v.Dims
		}
	}
	return feeds, bind, nil
}

func toValue(v onnxtest.Value) *runtime.Value {
	if v.Seq != nil {
		s := &runtime.Value{Kind: ir.Sequence}
		for _, item := range v.Seq {
			s.Items = append(s.Items, toValue(item))
		}
		return s
	}
	x := &runtime.Value{Kind: ir.Tensor, Elem: ir.ElemType(v.Type), Shape: v.Dims, Data: v.Data, Strings: v.Strings}
	if v.Type == onnxpb.TensorProto_STRING && x.Strings == nil {
		x.Strings = []string{}
	}
	return x
}
