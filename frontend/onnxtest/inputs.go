package onnxtest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// Hint says which elements a graph input may have, where [-1, 1) or 0..1 is not right.
type Hint struct {
	Lo, Hi float64 // floats uniform in [Lo, Hi), integers in Lo..Hi
}

// Hint notes what Inputs may draw for the graph input of that name.
func (m *Model) Hint(input string, h Hint) { m.hints[input] = h }

// Value is the value of a graph input.
type Value struct {
	Name    string
	Type    DType
	Dims    []int64
	Data    []byte   // elements, little endian, sub-byte ones packed; nil for strings
	Strings []string // elements of a string tensor
	Seq     []Value  // elements of a sequence, unnamed; nil for a tensor
}

// seqLen is the number of elements that Inputs puts into a sequence.
const seqLen = 3

// Inputs draws a value for every graph input that is no initializer, in order:
// floats in [-1, 1), integers and bools 0 or 1, strings of a few letters, unless a
// Hint says otherwise. Symbols have the size in bindings, else the one that Bind
// noted, else 2; so have unknown dimensions, under the name "?". A symbol "a + b" is
// a sum. Errors name inputs of a type that is not supported: maps, optionals, untyped ones.
func (m *Model) Inputs(seed uint64, bindings map[string]int64) ([]Value, error) {
	stored := map[string]bool{}
	for _, t := range m.pb.Graph.Initializer {
		stored[t.GetName()] = true
	}
	for _, s := range m.pb.Graph.SparseInitializer {
		stored[s.GetValues().GetName()] = true
	}
	var l []Value
	for _, in := range m.pb.Graph.Input {
		if stored[in.GetName()] {
			continue
		}
		v := Value{Name: in.GetName()}
		if s := in.GetType().GetSequenceType(); s != nil && s.GetElemType().GetTensorType() != nil {
			for i := range seqLen {
				v.Seq = append(v.Seq, m.draw(in.GetName(), s.GetElemType().GetTensorType(), hashKey(seed, fmt.Sprint(in.GetName(), i)), bindings))
			}
		} else if t := in.GetType().GetTensorType(); t != nil {
			v = m.draw(in.GetName(), t, hashKey(seed, in.GetName()), bindings)
			v.Name = in.GetName()
		} else {
			return nil, &diag.Error{Value: in.GetName(), Msg: "no value can be drawn for an input that is neither a tensor nor a sequence of tensors"}
		}
		l = append(l, v)
	}
	return l, nil
}

func (m *Model) draw(input string, t *onnxpb.TypeProto_Tensor, key uint64, bindings map[string]int64) Value {
	v := Value{Type: DType(t.GetElemType()), Dims: []int64{}}
	for _, d := range t.GetShape().GetDim() {
		n := d.GetDimValue()
		if _, fixed := d.GetValue().(*onnxpb.TensorShapeProto_Dimension_DimValue); !fixed {
			n = m.size(d.GetDimParam(), bindings)
		}
		v.Dims = append(v.Dims, n)
	}
	n := count(v.Dims)
	if v.Type == String {
		words := []string{"a", "b", "ab", "ba"}
		for i := range n {
			v.Strings = append(v.Strings, words[random(key, uint64(i))%uint64(len(words))])
		}
		return v
	}
	f := Uniform(0, 1)
	switch v.Type {
	case Float, Float16, BFloat16, Double:
		f = Uniform(-1, 1)
	}
	if h, ok := m.hints[input]; ok {
		f = Uniform(h.Lo, h.Hi)
	}
	v.Data = make([]byte, elemBytes(v.Type, n))
	if gen := f.generator(v.Type, key); gen != nil {
		gen(0, v.Data)
	}
	return v
}

// size is that of a symbolic dimension: a name, or a sum of names and numbers.
func (m *Model) size(symbol string, bindings map[string]int64) int64 {
	if symbol == "" {
		symbol = "?"
	}
	if n, ok := bindings[symbol]; ok {
		return n
	}
	if n, ok := m.bindings[symbol]; ok {
		return n
	}
	if n, err := strconv.ParseInt(symbol, 10, 64); err == nil {
		return n
	}
	if terms := strings.Split(symbol, " + "); len(terms) > 1 {
		sum := int64(0)
		for _, t := range terms {
			sum += m.size(t, bindings)
		}
		return sum
	}
	return 2
}
