// Package backend cuts a model by a plan and writes the bundle: one ONNX file per
// sub-model and a manifest.
//
// Build works out what every file holds, Bundle.Write puts it on disk: all of it
// or nothing. Weights go from file to file and never through the heap.
//
// It knows the model through package onnxfile and the plan through package ir. It
// must not import frontend or passes.
package backend

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
)

// Options say how sub-models are written. The zero value is the default.
type Options struct {
	ToolVersion string          // of this program, for the manifest
	Recorded    json.RawMessage // what the user asked for, for the manifest: a JSON object; nil for none
	Weights     Weights

	// MaxModelBytes is the largest .onnx file (default and most 2 GiB - 1, what
	// protobuf can read).
	MaxModelBytes int64
}

// Weights says where sub-models keep their weights.
type Weights uint8

const (
	// WeightsAuto keeps embedded weights embedded and external ones external; a
	// sub-model that would exceed MaxModelBytes gets external weights.
	WeightsAuto Weights = iota
	// WeightsEmbedded puts everything into the .onnx file and fails where it is too small.
	WeightsEmbedded
	// WeightsExternal puts every initializer from 1 KiB on into the .data file.
	WeightsExternal
	// WeightsReference leaves external weights where they are: the bundle gets hard
	// links to the source's data files, which take no room of their own.
	WeightsReference
)

var weightsNames = [...]string{"auto", "embedded", "external", "reference"}

func (w Weights) String() string { return weightsNames[w] }

// ParseWeights is the inverse of String.
func ParseWeights(name string) (Weights, error) {
	for i, n := range weightsNames {
		if n == name {
			return Weights(i), nil
		}
	}
	return 0, fmt.Errorf("weights cannot be %q, they are one of %s", name, strings.Join(weightsNames[:], ", "))
}

const maxProtobufBytes = 1<<31 - 1

// Bundle describes what a split writes. The model must stay open until it is written.
type Bundle struct {
	// Manifest is complete but for file sizes and digests, which Write fills in
	// in the manifest that it writes.
	Manifest *Manifest

	// Models are the sub-models in the order of Manifest.Submodels, and Plan their
	// indices in the plan.
	Models []*onnxfile.Draft
	Plan   []int

	model *onnxfile.Model // that was split
	data  []*store        // by sub-model; its ranges are the data file, if any
	extra []fileBody      // in the order in which they were added
}

type fileBody struct {
	name string
	body []byte
	link string // if not "", the file is a hard link to that one
}

// AddFile puts another file into the bundle's folder. The name must be new and
// a plain file name.
func (b *Bundle) AddFile(name string, body []byte) {
	if !plainName(name) || name == ManifestFile {
		diag.Bugf("a bundle cannot have a file %q", name)
	}
	for _, f := range b.Manifest.Files {
		if strings.EqualFold(f.File, name) {
			diag.Bugf("file %q is in the bundle already", name)
		}
	}
	b.extra = append(b.extra, fileBody{name: name, body: body})
	b.Manifest.Files = append(b.Manifest.Files, File{File: name})
}

// Build cuts the model by the plan. Nothing is written and no weight is read. The
// lowered form must be that of the model and the plan feasible: anything else is
// a fault of the compiler and panics. Errors are *diag.Error about the model, or
// that of ctx.
func Build(ctx context.Context, m *onnxfile.Model, l *ir.Lowered, p *ir.Placement, o Options) (*Bundle, error) {
	if o.MaxModelBytes <= 0 || o.MaxModelBytes > maxProtobufBytes {
		o.MaxModelBytes = maxProtobufBytes
	}
	x, err := newIndex(ctx, m)
	if err != nil {
		return nil, err
	}
	c := newCut(x, l, p.Plan)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d, err := newDescription(c, p)
	if err != nil {
		return nil, err
	}
	b := &Bundle{model: m, Plan: d.order}
	lib := newLibrary(m.Proto)
	for i, s := range d.order {
		e := &extraction{ctx: ctx, c: c, p: c.parts[s], lib: lib, use: c.usageOf(c.parts[s], lib)}
		draft, err := e.fit(d.stems[s], o)
		if err != nil {
			return nil, err
		}
		b.Models = append(b.Models, draft)
		b.data = append(b.data, e.store)
		if len(e.store.ranges) > 0 {
			d.dataFile(i, e.store)
		}
	}
	b.Manifest = d.manifest(o)
	if o.Weights == WeightsReference {
		if err := b.refer(m.Path); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// fit drafts the sub-model and moves weights out of it until it is small enough.
func (e *extraction) fit(stem string, o Options) (*onnxfile.Draft, error) {
	steps := []moving{moveNothing, moveWeights, moveAll}
	switch o.Weights {
	case WeightsEmbedded:
		steps = []moving{embedAll}
	case WeightsExternal:
		steps = steps[1:]
	case WeightsReference:
		steps = []moving{referAll}
	}
	var size int64
	for _, move := range steps {
		e.store = &store{m: e.c.x.m, move: move, location: stem + ".data"}
		d, err := e.draft()
		if err != nil {
			return nil, err
		}
		if size = d.Size(); size <= o.MaxModelBytes {
			return d, nil
		}
	}
	advice := "what cannot be moved out of it is too large"
	if o.Weights == WeightsEmbedded {
		advice = "let its weights be external"
	}
	if o.Weights == WeightsReference {
		advice = "weights that are embedded in the model cannot be referred to, let them be external"
	}
	return nil, &diag.Error{File: e.c.x.m.Path, Msg: fmt.Sprintf("sub-model %q would have %d bytes, an ONNX file can have %d: %s", stem, size, o.MaxModelBytes, advice)}
}
