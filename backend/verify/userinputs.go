package verify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// ReadInput reads one value from a .npy file or a .pb file with a value of the
// kind that the model wants there.
func ReadInput(path string, kind ir.Kind) (*runtime.Value, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, &diag.Error{File: path, Msg: "input cannot be read", Err: cause(err)}
	case st.Size() > maxInputBytes:
		return nil, &diag.Error{File: path, Msg: fmt.Sprintf("input has more than %d bytes", int64(maxInputBytes))}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, &diag.Error{File: path, Msg: "input cannot be read", Err: cause(err)}
	}
	var v *runtime.Value
	switch filepath.Ext(path) {
	case ".npy":
		v, err = parseNPY(b)
	case ".pb":
		v, _, err = ParseProto(b, kind)
	default:
		err = errors.New("it is neither .npy nor .pb")
	}
	if err != nil {
		return nil, &diag.Error{File: path, Msg: "input cannot be read", Err: err}
	}
	return v, nil
}

// ReadInputs reads values for several inputs of a model: from a .npz file, by
// name, or from a folder. A folder has NAME.npy or NAME.pb for an input, or
// input_0.pb, input_1.pb and so on as in ONNX's test data, for the inputs in
// model order; a name in such a file wins if the model has it. Inputs for which
// there is nothing are left out.
func ReadInputs(path string, ports []runtime.Port) (map[string]*runtime.Value, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, &diag.Error{File: path, Msg: "inputs cannot be read", Err: cause(err)}
	}
	if !st.IsDir() {
		if filepath.Ext(path) != ".npz" {
			return nil, &diag.Error{File: path, Msg: "is neither a folder of inputs nor an .npz file"}
		}
		return readNPZ(path)
	}
	out := map[string]*runtime.Value{}
	for i, port := range ports {
		for _, name := range []string{port.Name + ".npy", port.Name + ".pb", "input_" + strconv.Itoa(i) + ".pb"} {
			if !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) {
				continue
			}
			file := filepath.Join(path, name)
			if _, err := os.Stat(file); err != nil {
				if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
					continue
				}
				return nil, &diag.Error{File: file, Msg: "input cannot be read", Err: cause(err)}
			}
			target, err := targetOf(file, i, ports)
			if err != nil {
				return nil, err
			}
			if out[target.Name] != nil {
				return nil, &diag.Error{File: file, Value: target.Name, Msg: "another file in the folder is for this input too"}
			}
			if out[target.Name], err = ReadInput(file, target.Type.Kind); err != nil {
				return nil, err
			}
			break
		}
	}
	if len(out) == 0 {
		return nil, &diag.Error{File: path, Msg: "holds no file for an input of the model: NAME.npy, NAME.pb or input_0.pb"}
	}
	return out, nil
}

// targetOf is the input that a file of place i is for.
func targetOf(file string, i int, ports []runtime.Port) (runtime.Port, error) {
	if !strings.HasPrefix(filepath.Base(file), "input_") || filepath.Ext(file) != ".pb" {
		return ports[i], nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return runtime.Port{}, &diag.Error{File: file, Msg: "input cannot be read", Err: cause(err)}
	}
	_, name, err := ParseProto(b, ports[i].Type.Kind)
	if err != nil {
		return ports[i], nil // reading it says what is wrong
	}
	if k := slices.IndexFunc(ports, func(p runtime.Port) bool { return p.Name == name }); k >= 0 {
		return ports[k], nil
	}
	return ports[i], nil
}

// userInputs puts together what the user gives, for a model with these inputs.
func (o *Options) userInputs(model string, ports []runtime.Port) (map[string]*runtime.Value, error) {
	given := map[string]*runtime.Value{}
	if o.InputSet != "" {
		set, err := ReadInputs(o.InputSet, ports)
		if err != nil {
			return nil, err
		}
		for name, v := range set {
			given[name] = v
		}
	}
	var problems diag.List
	for _, port := range ports {
		path, ok := o.InputFiles[port.Name]
		if !ok {
			continue
		}
		v, err := ReadInput(path, port.Type.Kind)
		if err != nil {
			problems = append(problems, err)
		}
		given[port.Name] = v
	}
	names := make([]string, len(ports))
	for i, port := range ports {
		names[i] = port.Name
		given[port.Name] = retyped(given[port.Name], port.Type)
		if v := given[port.Name]; v != nil && !accepts(port.Type, v) {
			problems = append(problems, &diag.Error{File: model, Value: port.Name, Msg: fmt.Sprintf("what is given for this input is %s, the model takes %s", v, port.Type)})
		}
	}
	var unknown []string
	for name := range o.InputFiles {
		if !slices.ContainsFunc(ports, func(p runtime.Port) bool { return p.Name == name }) {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	for _, name := range unknown {
		problems = append(problems, &diag.Error{File: model, Value: name, Msg: "a file is given for this input, but the model has no such input; its inputs are " + strings.Join(names, ", ")})
	}
	for name, v := range o.Inputs {
		given[name] = v
	}
	for name, v := range given {
		if v == nil {
			delete(given, name)
		}
	}
	return given, problems.Err()
}

// accepts says whether a tensor has the element type and the fixed extents of an input;
// of other kinds of values it knows nothing.
func accepts(want ir.Type, v *runtime.Value) bool {
	if v.Kind != ir.Tensor || want.Kind != ir.Tensor {
		return true
	}
	if want.Elem != ir.UndefinedElem && v.Elem != want.Elem {
		return false
	}
	if want.Rank < 0 {
		return true
	}
	if len(v.Shape) != want.Rank {
		return false
	}
	for i, d := range want.Shape {
		if d.N > 0 && v.Shape[i] != d.N {
			return false
		}
	}
	return true
}

// retyped reads bits as what the model wants there: numpy and older test data
// have no type for bfloat16 and the 8-bit floats and keep them as whole numbers.
func retyped(v *runtime.Value, want ir.Type) *runtime.Value {
	if v == nil || v.Kind != ir.Tensor || want.Kind != ir.Tensor || v.Elem == want.Elem {
		return v
	}
	small := want.Elem >= ir.Float8E4M3FN && want.Elem <= ir.Float8E5M2FNUZ || want.Elem == ir.Float8E8M0
	if v.Elem == ir.Uint16 && want.Elem == ir.BFloat16 || v.Elem == ir.Uint8 && small {
		return &runtime.Value{Kind: ir.Tensor, Elem: want.Elem, Shape: v.Shape, Data: v.Data}
	}
	return v
}
