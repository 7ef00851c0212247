package verify

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// maxElements bounds a generated tensor.
const maxElements = 300_000_000

// generator makes inputs. A port's contents depend on the seed, the trial and
// its place among the inputs only.
type generator struct {
	model  string // for errors
	seed   uint64
	ports  []runtime.Port
	given  map[string]*runtime.Value
	shapes map[string][]int64
	hints  *Hints
	dims   map[string]int64
	elemOf func(name string) (ir.Type, error) // element type of a sequence or optional

	plan []plannedInput
}

// plannedInput is what is known of an input before its contents are made.
type plannedInput struct {
	port   runtime.Port
	typ    ir.Type // of a sequence or optional: of what it holds
	shape  []int64
	source string // InputReport.Source
}

// prepare decides the shape of every input.
func (g *generator) prepare() error {
	var problems diag.List
	known := map[string]bool{}
	for _, p := range g.ports {
		known[p.Name] = true
	}
	g.sortDims(&problems, known)
	g.unknownNames(&problems, known)

	b := &binder{bound: map[string]int64{}}
	for sym, n := range g.hints.Sym {
		b.bound[sym] = n
	}
	for sym, n := range g.dims {
		b.bound[sym] = n
	}
	// Shapes that are given bind the symbols of the others.
	for _, p := range g.ports {
		if shape, _ := g.fixedShape(p); shape != nil {
			b.learn(p.Type.Shape, shape)
		}
	}
	g.plan = make([]plannedInput, len(g.ports))
	for i, p := range g.ports {
		in := plannedInput{port: p, typ: p.Type, source: "generated"}
		shape, source := g.fixedShape(p)
		if source != "" {
			in.source = source
		}
		if _, ok := g.hints.Values[p.Name]; ok && source != "given" {
			in.source = "hint"
		}
		if source != "given" {
			if k := p.Type.Kind; k == ir.Sequence || k == ir.Optional {
				t, err := g.elemOf(p.Name)
				if err != nil {
					problems = append(problems, err)
					continue
				}
				in.typ = t
			}
			if in.typ.Kind != ir.Tensor || !in.typ.Elem.Known() {
				problems = append(problems, &diag.Error{
					File: g.model, Value: p.Name,
					Msg: fmt.Sprintf("an input of kind %q cannot be generated, give it with --input", in.typ.Kind),
				})
				continue
			}
			if shape == nil {
				shape = b.ofType(in.typ)
			}
			if n, ok := ir.Elements(shape); !ok || n > maxElements {
				problems = append(problems, &diag.Error{
					File: g.model, Value: p.Name,
					Msg: fmt.Sprintf("an input of shape %s is too large to generate, give a smaller one with --shape", runtime.FormatShape(shape)),
				})
				continue
			}
		}
		in.shape = shape
		g.plan[i] = in
	}
	return problems.Err()
}

// fixedShape is the shape that somebody gave for p, and who; nil if nobody did.
func (g *generator) fixedShape(p runtime.Port) (shape []int64, source string) {
	if v := g.given[p.Name]; v != nil {
		if v.Kind == ir.Tensor {
			return v.Shape, "given"
		}
		return nil, "given"
	}
	if s, ok := g.shapes[p.Name]; ok {
		return append([]int64{}, s...), ""
	}
	if s, ok := g.hints.Shapes[p.Name]; ok {
		return append([]int64{}, s...), ""
	}
	return nil, ""
}

// unknownNames reports inputs that somebody names and the model does not have.
// Hints may know inputs that a model has no longer.
func (g *generator) unknownNames(problems *diag.List, known map[string]bool) {
	names := make([]string, 0, len(g.given)+len(g.shapes))
	for name := range g.given {
		names = append(names, name)
	}
	for name := range g.shapes {
		names = append(names, name)
	}
	sort.Strings(names)
	have := make([]string, 0, len(g.ports))
	for _, p := range g.ports {
		have = append(have, strconv.Quote(p.Name))
	}
	for _, name := range names {
		if !known[name] {
			*problems = append(*problems, &diag.Error{
				File: g.model, Value: name,
				Msg: "the model has no such input, only " + strings.Join(have, ", "),
			})
		}
	}
}

// sortDims holds the extents that somebody gives against the model: a name is a
// symbol of an input, or else an input of one dimension.
func (g *generator) sortDims(problems *diag.List, known map[string]bool) {
	if len(g.dims) == 0 {
		return
	}
	symbols := map[string]bool{}
	for _, p := range g.ports {
		types := []ir.Type{p.Type}
		if g.elemOf != nil {
			if t, err := g.elemOf(p.Name); err == nil {
				types = append(types, t)
			}
		}
		for _, t := range types {
			for _, d := range t.Shape {
				if d.N < 0 && d.Sym != "" {
					symbols[d.Sym] = true
				}
			}
		}
	}
	dims, shapes := map[string]int64{}, maps.Clone(g.shapes)
	if shapes == nil {
		shapes = map[string][]int64{}
	}
	have := "there is none"
	if len(symbols) > 0 {
		var names []string
		for _, name := range slices.Sorted(maps.Keys(symbols)) {
			names = append(names, strconv.Quote(name))
		}
		have = "only " + strings.Join(names, ", ")
	}
	for _, name := range slices.Sorted(maps.Keys(g.dims)) {
		switch {
		case symbols[name]:
			dims[name] = g.dims[name]
		case known[name]:
			shapes[name] = []int64{g.dims[name]}
		default:
			*problems = append(*problems, &diag.Error{
				File: g.model, Value: name,
				Msg: "no input of the model has a symbolic extent of this name for --shape, " + have,
			})
		}
	}
	g.dims, g.shapes = dims, shapes
}

// wide says whether a trial draws floats from [-1,1) too and not from [0,1) only.
func wide(trial int) bool { return trial%2 == 1 }

// make generates the inputs of a trial.
func (g *generator) make(trial int, wide bool) (map[string]*runtime.Value, error) {
	feed := make(map[string]*runtime.Value, len(g.plan))
	for i := range g.plan {
		in := &g.plan[i]
		if in.source == "given" {
			feed[in.port.Name] = g.given[in.port.Name]
			continue
		}
		rng := rand.New(rand.NewPCG(g.seed, uint64(trial)<<32|uint64(i)))
		var v *runtime.Value
		var err error
		if hint, ok := g.hints.Values[in.port.Name]; ok {
			v, err = hinted(hint, in.typ.Elem, in.shape, g.free(in))
		} else {
			v, err = random(rng, in.typ.Elem, in.shape, isMask.MatchString(in.port.Name), wide)
		}
		if err != nil {
			return nil, &diag.Error{File: g.model, Value: in.port.Name, Msg: "input cannot be made", Err: err}
		}
		if in.port.Type.Kind == ir.Sequence {
			items := []*runtime.Value{v}
			for range 2 {
				w, err := random(rng, in.typ.Elem, in.shape, false, wide)
				if err != nil {
					return nil, &diag.Error{File: g.model, Value: in.port.Name, Msg: "input cannot be made", Err: err}
				}
				items = append(items, w)
			}
			v = runtime.NewSequence(items...)
		}
		feed[in.port.Name] = v
	}
	return feed, nil
}

// free says whether nobody fixed the input's shape, neither the model nor the user.
func (g *generator) free(in *plannedInput) bool {
	if shape, _ := g.fixedShape(in.port); shape != nil {
		return false
	}
	for _, d := range in.typ.Shape {
		if d.N >= 0 {
			return false
		}
	}
	return true
}

// generated says whether any input changes from trial to trial.
func (g *generator) generated() bool {
	for _, in := range g.plan {
		if in.source == "generated" {
			if n, ok := ir.Elements(in.shape); ok && n > 0 {
				return true
			}
		}
	}
	return false
}

// sources says where the inputs come from, for errors.
func (g *generator) sources() string {
	given := 0
	for _, in := range g.plan {
		if in.source == "given" {
			given++
		}
	}
	switch {
	case given == 0:
		return "generated"
	case given == len(g.plan):
		return "given"
	}
	return "given and generated"
}

// isMask finds inputs that say which elements of another one count.
var isMask = regexp.MustCompile(`(?i)mask`)

// random makes a tensor: floats in [0,1), or in [-1,1) if wide; 32- and 64-bit
// integers 0 or 1, which are indices into nearly anything; masks of ones; other
// integers in a range that quantized networks use; strings of digits, which
// tokenizers and number parsers both take.
func random(rng *rand.Rand, elem ir.ElemType, shape []int64, mask, wide bool) (*runtime.Value, error) {
	n, ok := ir.Elements(shape)
	if !ok || n > maxElements {
		return nil, fmt.Errorf("shape %s is too large to fill", runtime.FormatShape(shape))
	}
	if elem == ir.String {
		elems := make([]string, n)
		for i := range elems {
			elems[i] = strconv.Itoa(rng.IntN(100))
		}
		return runtime.NewStrings(shape, elems)
	}
	size, ok := ir.StoredBytes(elem, n)
	if !ok || elem.Bits() == 0 {
		return nil, fmt.Errorf("a tensor %s%s cannot be filled", elem, runtime.FormatShape(shape))
	}
	data := make([]byte, size)
	float := func() float64 {
		x := float64(rng.Float32())
		if wide {
			x = 2*x - 1
		}
		return x
	}
	switch elem {
	case ir.Complex64, ir.Complex128:
		half := ir.Float32
		if elem == ir.Complex128 {
			half = ir.Float64
		}
		for i := range 2 * n {
			setBits(half, data, i, encode(half, float()))
		}
	case ir.Int32, ir.Int64, ir.Uint32, ir.Uint64, ir.Bool:
		for i := range n {
			bit := rng.Uint64N(2)
			if mask && elem != ir.Bool {
				bit = 1
			}
			setBits(elem, data, i, bit)
		}
	case ir.Int16, ir.Uint16:
		for i := range n {
			setBits(elem, data, i, rng.Uint64N(9))
		}
	case ir.Int8:
		for i := range n {
			setBits(elem, data, i, rng.Uint64N(100))
		}
	case ir.Uint8:
		for i := range n {
			setBits(elem, data, i, rng.Uint64N(255))
		}
	default: // floats, and integers of fewer than 8 bits
		for i := range n {
			if isInteger(elem) {
				setBits(elem, data, i, rng.Uint64N(1<<elem.Bits()))
			} else {
				setBits(elem, data, i, encode(elem, float()))
			}
		}
	}
	return runtime.NewTensor(elem, shape, data)
}
