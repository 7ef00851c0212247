package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Hints are what a model needs of its inputs: see the package comment.
type Hints struct {
	Shapes map[string][]int64 `json:"shapes"`
	Sym    map[string]int64   `json:"sym"`
	Values map[string]any     `json:"values"` // a json.Number, bool or string, or a list of them
}

// maxHintsBytes bounds a hints file.
const maxHintsBytes = 16 << 20

// readHints reads path. With path "" it reads the file beside the model, if there is one.
func readHints(path, model string) (*Hints, error) {
	named := path != ""
	if !named {
		path = model + ".hints.json"
	}
	st, err := os.Stat(path)
	if err != nil {
		if !named && errors.Is(err, fs.ErrNotExist) {
			return &Hints{}, nil
		}
		return nil, &diag.Error{File: path, Msg: "hints cannot be read", Err: cause(err)}
	}
	if st.Size() > maxHintsBytes {
		return nil, &diag.Error{File: path, Msg: fmt.Sprintf("hints of %d bytes are too large, %d are allowed", st.Size(), maxHintsBytes)}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, &diag.Error{File: path, Msg: "hints cannot be read", Err: cause(err)}
	}
	h := &Hints{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	dec.UseNumber()
	if err := dec.Decode(h); err != nil {
		return nil, &diag.Error{File: path, Msg: "hints are no JSON object of shapes, sym and values", Err: err}
	}
	return h, nil
}

// cause is what a file error says besides the path.
func cause(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// hinted makes a tensor of a hint's contents. A single one fills the tensor. A
// list must have its number of elements; where the shape is free it gives the
// extent of the only dimension.
func hinted(hint any, elem ir.ElemType, shape []int64, free bool) (*runtime.Value, error) {
	list, isList := hint.([]any)
	if isList && free && len(shape) == 1 {
		shape = []int64{int64(len(list))}
	}
	n, ok := ir.Elements(shape)
	if !ok || n > maxElements {
		return nil, fmt.Errorf("shape %s is too large to fill", runtime.FormatShape(shape))
	}
	if isList && int64(len(list)) != n {
		return nil, fmt.Errorf("the hint has %d values, %s%s takes %d", len(list), elem, runtime.FormatShape(shape), n)
	}
	at := func(i int64) any {
		if isList {
			return list[i]
		}
		return hint
	}
	if elem == ir.String {
		elems := make([]string, n)
		for i := range elems {
			s, ok := at(int64(i)).(string)
			if !ok {
				return nil, fmt.Errorf("the hint's value %d is no string", i)
			}
			elems[i] = s
		}
		return runtime.NewStrings(shape, elems)
	}
	size, ok := ir.StoredBytes(elem, n)
	if !ok {
		return nil, fmt.Errorf("shape %s is impossible", runtime.FormatShape(shape))
	}
	if elem.Bits() > 64 || elem == ir.Complex64 {
		return nil, fmt.Errorf("values of %s cannot be given as a hint", elem)
	}
	data := make([]byte, size)
	for i := int64(0); i < n; i++ {
		bits, err := hintBits(at(i), elem)
		if err != nil {
			return nil, fmt.Errorf("the hint's value %d: %w", i, err)
		}
		setBits(elem, data, i, bits)
	}
	return runtime.NewTensor(elem, shape, data)
}

func hintBits(hint any, elem ir.ElemType) (uint64, error) {
	switch h := hint.(type) {
	case bool:
		if h {
			return encode(elem, 1), nil
		}
		return encode(elem, 0), nil
	case json.Number:
		if n, err := h.Int64(); err == nil && elem == ir.Int64 {
			return uint64(n), nil // exact beyond 2^53
		}
		x, err := h.Float64()
		if err != nil {
			return 0, fmt.Errorf("%s is no number", h)
		}
		return encode(elem, x), nil
	}
	return 0, fmt.Errorf("%v is no number", hint)
}
