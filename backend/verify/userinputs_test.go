package verify

import (
	"archive/zip"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// npy encodes a file of version 1 as numpy does.
func npy(descr, shape string, fortran bool, data ...byte) []byte {
	order := "False"
	if fortran {
		order = "True"
	}
	h := fmt.Sprintf("{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr, order, shape)
	h += strings.Repeat(" ", (64-(11+len(h))%64)%64) + "\n"
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(h)), byte(len(h)>>8))
	return append(append(b, h...), data...)
}

func TestNPY(t *testing.T) {
	text := func(shape []int64, s ...string) *runtime.Value {
		v, err := runtime.NewStrings(shape, s)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	tensor := func(elem ir.ElemType, shape []int64, data ...byte) *runtime.Value {
		v, err := runtime.NewTensor(elem, shape, data)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	two := append([]byte("\x93NUMPY\x02\x00"), 0, 0, 0, 0)
	head := "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), }\n"
	binary.LittleEndian.PutUint32(two[8:], uint32(len(head)))
	two = append(append(two, head...), 9)
	for _, c := range []struct {
		name string
		file []byte
		want *runtime.Value
	}{
		{"float32", npy("<f4", "(2,)", false, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40), tensor(ir.Float32, []int64{2}, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40)},
		{"big endian", npy(">f4", "(2,)", false, 0x3f, 0x80, 0, 0, 0x40, 0, 0, 0), tensor(ir.Float32, []int64{2}, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40)},
		{"rank 0", npy("<i2", "()", false, 7, 0), tensor(ir.Int16, []int64{}, 7, 0)},
		{"no elements", npy("<i8", "(0, 3)", false), tensor(ir.Int64, []int64{0, 3})},
		{"bool", npy("|b1", "(2,)", false, 1, 0), tensor(ir.Bool, []int64{2}, 1, 0)},
		{"half", npy("<f2", "(1,)", false, 0, 0x3c), tensor(ir.Float16, []int64{1}, 0, 0x3c)},
		{"columns", npy("|u1", "(2, 3)", true, 1, 4, 2, 5, 3, 6), tensor(ir.Uint8, []int64{2, 3}, 1, 2, 3, 4, 5, 6)},
		{"columns of three", npy("|u1", "(2, 1, 2)", true, 1, 3, 2, 4), tensor(ir.Uint8, []int64{2, 1, 2}, 1, 2, 3, 4)},
		{"bytes", npy("|S3", "(2,)", false, 'a', 'b', 'c', 'd', 0, 0), text([]int64{2}, "abc", "d")},
		{"text", npy("<U2", "(1,)", false, 0x22, 0x6f, 0, 0, 'x', 0, 0, 0), text([]int64{1}, "漢x")},
		{"version 2", two, tensor(ir.Uint8, []int64{1}, 9)},
	} {
		got, err := parseNPY(c.file)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if diff := cmp.Diff(c.want, got, cmp.Transformer("text", func(b []byte) string { return string(b) })); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
	for name, file := range map[string][]byte{
		"it is no .npy file":           []byte("hello, world"),
		"it ends in its header":        npy("<f4", "(2,)", false)[:40],
		"does not fit shape [3]":       npy("<f4", "(3,)", false, 1, 2),
		"does not fit shape [9999999]": npy("<f4", "(9999999,)", false),
		"is not of plain numbers":      npy("|O", "(1,)", false, 1),
		"elements of type V2 cannot be read: save it as a type of ONNX, such as float32 or int64": npy("|V2", "(1,)", false, 1, 2),
		"its elements of 99999999999 bytes are too wide":                                          npy("|S99999999999", "(1,)", false),
		"is no Unicode":        npy("<U1", "(1,)", false, 0, 0xd8, 0, 0),
		"strings are too many": npy("|S0", "(99999999,)", false),
		"its shape (99999999999999999999) is no list of whole numbers": npy("<f4", "(99999999999999999999)", false),
	} {
		if _, err := parseNPY(file); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want ... %s", err, name)
		}
	}
}

// Every element type in the field that ONNX keeps it in.
func TestTensorProto(t *testing.T) {
	for elem := ir.Float32; elem <= ir.Int2; elem++ {
		tp := &onnxpb.TensorProto{Name: proto.String("x"), DataType: proto.Int32(int32(elem)), Dims: []int64{3}}
		want := &runtime.Value{Kind: ir.Tensor, Elem: elem, Shape: []int64{3}}
		for i := range 3 {
			switch elem {
			case ir.String:
				tp.StringData = append(tp.StringData, []byte{byte('a' + i)})
				want.Strings = append(want.Strings, string(rune('a'+i)))
				continue
			case ir.Float32:
				tp.FloatData = append(tp.FloatData, float32(i)+.5)
			case ir.Complex64:
				tp.FloatData = append(tp.FloatData, float32(i), -float32(i))
			case ir.Float64:
				tp.DoubleData = append(tp.DoubleData, float64(i)+.5)
			case ir.Complex128:
				tp.DoubleData = append(tp.DoubleData, float64(i), -float64(i))
			case ir.Int64:
				tp.Int64Data = append(tp.Int64Data, -int64(i))
			case ir.Uint64, ir.Uint32:
				tp.Uint64Data = append(tp.Uint64Data, uint64(i)+250)
			default:
				if elem.Bits() >= 8 || i < (3*elem.Bits()+7)/8 {
					tp.Int32Data = append(tp.Int32Data, int32(i+1))
				}
			}
		}
		got, err := valueOf(tp)
		if err != nil {
			t.Errorf("%s: %v", elem, err)
			continue
		}
		if elem != ir.String {
			want.Data = got.Data
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", elem, diff)
		}
		// The same as raw data.
		tp.FloatData, tp.DoubleData, tp.Int32Data, tp.Int64Data, tp.Uint64Data = nil, nil, nil, nil, nil
		tp.RawData = got.Data
		if raw, err := valueOf(tp); err != nil || !Compare(got, raw).Equal() {
			t.Errorf("%s raw: %v", elem, err)
		}
		if elem != ir.String && elem != ir.Complex64 && elem != ir.Complex128 && elem.Bits() >= 8 && elem.Bits() <= 16 {
			if x := bitsAt(elem, got.Data, 2); x != 3 {
				t.Errorf("%s: element 2 is %d", elem, x)
			}
		}
	}
	if v, _ := valueOf(&onnxpb.TensorProto{DataType: proto.Int32(int32(ir.Int64)), Dims: []int64{2}, Int64Data: []int64{-1, 1 << 40}}); v == nil ||
		signed(ir.Int64, bitsAt(ir.Int64, v.Data, 0)) != -1 || bitsAt(ir.Int64, v.Data, 1) != 1<<40 {
		t.Errorf("int64: %v", v)
	}
	for _, c := range []struct {
		bad  *onnxpb.TensorProto
		want string
	}{
		{&onnxpb.TensorProto{DataType: proto.Int32(1), Dims: []int64{2}, FloatData: []float32{1}}, "a tensor float32[2] does not have 4 bytes of contents"},
		{&onnxpb.TensorProto{DataType: proto.Int32(99), Dims: []int64{0}}, "cannot be held"},
		{&onnxpb.TensorProto{DataType: proto.Int32(1), Dims: []int64{-1}}, "a tensor float32[-1] cannot be held"},
		{&onnxpb.TensorProto{DataType: proto.Int32(1), Dims: []int64{1 << 40, 1 << 40}}, "cannot be held"},
		{&onnxpb.TensorProto{DataType: proto.Int32(1), Dims: []int64{1}, DataLocation: onnxpb.TensorProto_EXTERNAL.Enum()}, "its contents are in another file"},
	} {
		if v, err := valueOf(c.bad); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v is taken as %s, %v; want %s", c.bad, v, err, c.want)
		}
	}
}

func tensorPB(t *testing.T, name string, x float32) []byte {
	t.Helper()
	b, err := proto.Marshal(&onnxpb.TensorProto{Name: &name, DataType: proto.Int32(1), Dims: []int64{1}, FloatData: []float32{x}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func field(num protowire.Number, body []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(nil, num, protowire.BytesType), body)
}

func TestContainerProtos(t *testing.T) {
	one, two := tensorOf(t, ir.Float32, 1), tensorOf(t, ir.Float32, 2)
	elemType := protowire.AppendVarint(protowire.AppendTag(nil, 2, protowire.VarintType), 1)
	seq := append(append(append(field(1, []byte("s")), elemType...), field(3, tensorPB(t, "", 1))...), field(3, tensorPB(t, "", 2))...)
	for _, c := range []struct {
		file []byte
		kind ir.Kind
		want *runtime.Value
		name string
	}{
		{seq, ir.Sequence, runtime.NewSequence(one, two), "s"},
		{nil, ir.Sequence, runtime.NewSequence(), ""},
		{field(5, seq), ir.Sequence, runtime.NewSequence(runtime.NewSequence(one, two)), ""},
		{field(3, tensorPB(t, "", 2)), ir.Optional, &runtime.Value{Kind: ir.Optional, Items: []*runtime.Value{two}}, ""},
		{field(5, seq), ir.Optional, &runtime.Value{Kind: ir.Optional, Items: []*runtime.Value{runtime.NewSequence(one, two)}}, ""},
		{field(1, []byte("o")), ir.Optional, &runtime.Value{Kind: ir.Optional}, "o"},
	} {
		got, name, err := ParseProto(c.file, c.kind)
		if err != nil || name != c.name {
			t.Errorf("%s: %q, %v", c.want, name, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.want, diff)
		}
	}
	deep := []byte{}
	for range 40 {
		deep = field(5, deep)
	}
	for _, c := range []struct {
		bad  []byte
		want string
	}{
		{deep, "it is nested more than"},
		{[]byte{0xff}, "it is damaged: unexpected EOF"},
		{[]byte{0x1a, 0xff}, "it is damaged: unexpected EOF"},
		{[]byte{0x10, 0xff}, "it is damaged: unexpected EOF"},
		{field(6, nil), "it holds sparse tensors or maps"},
		{field(3, []byte{0xff}), ""},
	} {
		if v, _, err := ParseProto(c.bad, ir.Sequence); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("% x is taken as %s, %v; want %s", c.bad, v, err, c.want)
		}
	}
	if _, _, err := ParseProto(append(seq, seq...), ir.Optional); err == nil {
		t.Error("an optional of four is taken")
	}
}

// The user's own inputs by file, folder and archive end up in the model.
func TestUserInputs(t *testing.T) {
	runtimetest.ORT(t)
	m := onnxtest.New(onnxtest.Header{Name: "two", Opset: 17})
	g := m.Graph()
	g.Input("x", onnxtest.Float, "N")
	g.Input("z", onnxtest.Float, "N")
	g.Op("Sub", []string{"x", "z"}, onnxtest.Outs("a"))
	g.Op("Neg", []string{"a"}, onnxtest.Outs("y"))
	g.Info("a", onnxtest.Float, "N")
	g.Output("y", onnxtest.Float, "N")
	b := cut(t, m, [][]int{{0}, {1}}, nil)
	dir := t.TempDir()
	write := func(name string, body []byte) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, body, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	three := npy("<f4", "(3,)", false, make([]byte, 12)...)
	x := write("x.npy", three)
	write("data/input_0.pb", tensorPB(t, "z", 2)) // its name says where it belongs
	write("data/input_1.pb", tensorPB(t, "x", 5))
	write("plain/input_0.pb", tensorPB(t, "", 2))
	write("plain/z.npy", npy("<f4", "(1,)", false, 0, 0, 0, 0))
	write("empty/readme.txt", nil)
	write("twice/x.npy", three)
	write("twice/input_1.pb", tensorPB(t, "x", 5))
	write("half/input_0.pb", []byte{0xff})
	npz := filepath.Join(dir, "both.npz")
	f, err := os.Create(npz)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	for _, name := range []string{"x.npy", "z.npy"} {
		w, err := z.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(three); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		o             Options
		x, z          string
		shape, trials int64
	}{
		{Options{InputFiles: map[string]string{"x": x}}, "given", "generated", 3, 2},
		{Options{InputSet: npz}, "given", "given", 3, 1},
		{Options{InputSet: filepath.Join(dir, "data")}, "given", "given", 1, 1},
		{Options{InputSet: filepath.Join(dir, "plain")}, "given", "given", 1, 1},
	} {
		r := verify(t, b, c.o)
		in := r.Inputs
		if !r.Equal || in[0].Source != c.x || in[1].Source != c.z || in[1].Shape[0] != c.shape || r.Trials != int(c.trials) {
			t.Errorf("%+v: %+v", c.o, r)
		}
	}
	ports := []runtime.Port{{Name: "x", Type: ir.Unranked(ir.Float32)}, {Name: "z", Type: ir.Unranked(ir.Float32)}}
	got, err := ReadInputs(filepath.Join(dir, "data"), ports)
	if err != nil || !Compare(tensorOf(t, ir.Float32, 5), got["x"]).Equal() || !Compare(tensorOf(t, ir.Float32, 2), got["z"]).Equal() {
		t.Errorf("by the names in the files: %v, %v", got, err)
	}
	for want, o := range map[string]Options{
		"is neither a folder of inputs nor an .npz file":                                                  {InputSet: x},
		"holds no file for an input of the model":                                                         {InputSet: filepath.Join(dir, "empty")},
		"none: inputs cannot be read":                                                                     {InputSet: filepath.Join(dir, "none")},
		`input_1.pb: value "x": another file in the folder is for this input too`:                         {InputSet: filepath.Join(dir, "twice")},
		"input_0.pb: input cannot be read":                                                                {InputSet: filepath.Join(dir, "half")},
		`value "q": a file is given for this input, but the model has no such input; its inputs are x, z`: {InputFiles: map[string]string{"q": x}},
		"it is neither .npy nor .pb":                                                                      {InputFiles: map[string]string{"x": b.model}},
		"gone.npy: input cannot be read":                                                                  {InputFiles: map[string]string{"x": filepath.Join(dir, "gone.npy")}},
	} {
		o.Bundle = b.dir
		if _, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ... %s", err, want)
		}
	}
}

// TestAccepts holds tensors against what a model declares.
func TestAccepts(t *testing.T) {
	v := &runtime.Value{Kind: ir.Tensor, Elem: ir.Float32, Shape: []int64{2, 3}}
	n, batch := ir.Fixed, ir.Symbol("batch")
	for _, c := range []struct {
		want ir.Type
		fits bool
	}{
		{ir.TensorOf(ir.Float32, n(2), n(3)), true},
		{ir.TensorOf(ir.Float32, batch, ir.Symbol("")), true},
		{ir.Unranked(ir.Float32), true},
		{ir.TensorOf(ir.UndefinedElem, batch, n(3)), true},
		{ir.TensorOf(ir.Float32, batch, n(4)), false},
		{ir.TensorOf(ir.Float32, n(2)), false},
		{ir.Unranked(ir.Float64), false},
		{ir.Type{Kind: ir.Sequence}, true},
	} {
		if got := accepts(c.want, v); got != c.fits {
			t.Errorf("%s for %s: %v, want %v", v, c.want, got, c.fits)
		}
	}
}

// What numpy cannot name is read as the model's type, and nothing else is.
func TestRetyped(t *testing.T) {
	word := &runtime.Value{Kind: ir.Tensor, Elem: ir.Uint16, Shape: []int64{1}, Data: []byte{0x80, 0x3f}}
	octet := &runtime.Value{Kind: ir.Tensor, Elem: ir.Uint8, Shape: []int64{1}, Data: []byte{0x38}}
	for _, c := range []struct {
		v    *runtime.Value
		want ir.ElemType
		got  ir.ElemType
	}{{word, ir.BFloat16, ir.BFloat16}, {octet, ir.Float8E5M2, ir.Float8E5M2}, {word, ir.Float16, ir.Uint16}, {word, ir.Uint16, ir.Uint16}, {octet, ir.Int8, ir.Uint8}} {
		if got := retyped(c.v, ir.Unranked(c.want)); got.Elem != c.got || got.Check() != nil {
			t.Errorf("%s for %s is %s", c.v, c.want, got)
		}
	}
	if retyped(nil, ir.Unranked(ir.BFloat16)) != nil {
		t.Error("nothing becomes something")
	}
}

func FuzzInputFiles(f *testing.F) {
	f.Add(npy("<f4", "(2,)", false, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40))
	f.Add(npy("<U2", "(1,)", true, 0x22, 0x6f, 0, 0, 'x', 0, 0, 0))
	f.Add(field(3, field(9, []byte{1, 2, 3, 4})))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := parseNPY(b); err == nil {
			if err := v.Check(); err != nil {
				t.Error(err)
			}
		}
		for _, kind := range []ir.Kind{ir.Tensor, ir.Sequence, ir.Optional} {
			if v, _, err := ParseProto(b, kind); err == nil {
				if err := v.Check(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
