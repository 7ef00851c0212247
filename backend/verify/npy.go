package verify

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// The .npy format is that of numpy.lib.format, versions 1.0 to 3.0: a magic
// number, the length of a header, the header as a Python dictionary, the data.

var (
	npyDescr   = regexp.MustCompile(`['"]descr['"]\s*:\s*['"]([<>|=]?)([a-zA-Z])(\d+)['"]`)
	npyFortran = regexp.MustCompile(`['"]fortran_order['"]\s*:\s*(True|False)`)
	npyShape   = regexp.MustCompile(`['"]shape['"]\s*:\s*\(([\d,\sL]*)\)`)
)

// maxInputBytes bounds what is read as one input.
const maxInputBytes = 4 << 30

// parseNPY decodes the contents of a .npy file.
func parseNPY(b []byte) (*runtime.Value, error) {
	if len(b) < 10 || string(b[:6]) != "\x93NUMPY" {
		return nil, fmt.Errorf("it is no .npy file")
	}
	size, at := int(binary.LittleEndian.Uint16(b[8:])), 10
	if b[6] >= 2 {
		if len(b) < 12 {
			return nil, fmt.Errorf("it ends in its header")
		}
		size, at = int(min(binary.LittleEndian.Uint32(b[8:]), math.MaxInt32)), 12
	}
	if len(b)-at < size {
		return nil, fmt.Errorf("it ends in its header")
	}
	header := string(b[at : at+size])
	data := b[at+size:]
	descr := npyDescr.FindStringSubmatch(header)
	fortran := npyFortran.FindStringSubmatch(header)
	dims := npyShape.FindStringSubmatch(header)
	if descr == nil || fortran == nil || dims == nil {
		return nil, fmt.Errorf("its array is not of plain numbers or strings: %.100q", header)
	}
	shape := []int64{}
	for _, d := range strings.Split(dims[1], ",") {
		if d = strings.TrimSuffix(strings.TrimSpace(d), "L"); d == "" {
			continue
		}
		n, err := strconv.ParseInt(d, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("its shape (%s) is no list of whole numbers", dims[1])
		}
		shape = append(shape, n)
	}
	width, err := strconv.ParseInt(descr[3], 10, 32)
	if err != nil {
		return nil, fmt.Errorf("its elements of %s bytes are too wide", descr[3])
	}
	kind := descr[2]
	if kind == "U" {
		width *= 4
	}
	n, ok := ir.Elements(shape)
	if !ok || (width > 0 && n > int64(len(data))/width) || n*width != int64(len(data)) {
		return nil, fmt.Errorf("it has %d bytes of data, which does not fit shape %s", len(data), runtime.FormatShape(shape))
	}
	data = slices.Clone(data)
	if fortran[1] == "True" {
		data = rowMajor(data, shape, int(width))
	}
	if kind == "S" || kind == "U" {
		return npyStrings(data, shape, int(width), kind == "U", descr[1] == ">")
	}
	elem, ok := npyElem(kind, width)
	if !ok {
		return nil, fmt.Errorf("elements of type %s%s cannot be read: save it as a type of ONNX, such as float32 or int64", kind, descr[3])
	}
	if descr[1] == ">" {
		unit := int(width)
		if kind == "c" {
			unit /= 2
		}
		for i := 0; i < len(data); i += unit {
			slices.Reverse(data[i : i+unit])
		}
	}
	return runtime.NewTensor(elem, shape, data)
}

func npyElem(kind string, width int64) (ir.ElemType, bool) {
	types := map[string]ir.ElemType{
		"f2": ir.Float16, "f4": ir.Float32, "f8": ir.Float64, "i1": ir.Int8, "i2": ir.Int16, "i4": ir.Int32, "i8": ir.Int64,
		"u1": ir.Uint8, "u2": ir.Uint16, "u4": ir.Uint32, "u8": ir.Uint64, "b1": ir.Bool, "c8": ir.Complex64, "c16": ir.Complex128,
	}
	t, ok := types[kind+strconv.FormatInt(width, 10)]
	return t, ok
}

// rowMajor brings column-major elements into row-major order.
func rowMajor(data []byte, shape []int64, width int) []byte {
	out := make([]byte, len(data))
	index := make([]int64, len(shape))
	for at := 0; at < len(out); at += width {
		from, step := int64(0), int64(1)
		for i := range shape {
			from += index[i] * step
			step *= shape[i]
		}
		copy(out[at:at+width], data[from*int64(width):])
		for i := len(shape) - 1; i >= 0; i-- {
			if index[i]++; index[i] < shape[i] {
				break
			}
			index[i] = 0
		}
	}
	return out
}

// npyStrings decodes strings of a fixed width, which are padded with zeros.
func npyStrings(data []byte, shape []int64, width int, wide, bigEndian bool) (*runtime.Value, error) {
	n, _ := ir.Elements(shape)
	if n > maxElements || (width == 0 && n > 1<<20) {
		return nil, fmt.Errorf("%d strings are too many", n)
	}
	elems := make([]string, n)
	for i := range elems {
		b := data[i*width : (i+1)*width]
		if !wide {
			elems[i] = string(bytes.TrimRight(b, "\x00"))
			continue
		}
		var s []byte
		for ; len(b) >= 4; b = b[4:] {
			r := rune(binary.LittleEndian.Uint32(b))
			if bigEndian {
				r = rune(binary.BigEndian.Uint32(b))
			}
			if utf16.IsSurrogate(r) || !utf8.ValidRune(r) {
				return nil, fmt.Errorf("string %d is no Unicode", i)
			}
			s = utf8.AppendRune(s, r)
		}
		elems[i] = string(bytes.TrimRight(s, "\x00"))
	}
	return runtime.NewStrings(shape, elems)
}

// readNPZ reads an archive of arrays, by name.
func readNPZ(path string) (map[string]*runtime.Value, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, &diag.Error{File: path, Msg: "cannot be read as .npz", Err: cause(err)}
	}
	defer func() { _ = z.Close() }() // only read
	out := map[string]*runtime.Value{}
	for _, f := range z.File {
		name, ok := strings.CutSuffix(f.Name, ".npy")
		if !ok {
			return nil, &diag.Error{File: path, Msg: fmt.Sprintf("holds %q, which is no .npy file", f.Name)}
		}
		v, err := readZipped(f)
		if err != nil {
			return nil, &diag.Error{File: path, Value: name, Msg: "array cannot be read", Err: err}
		}
		out[name] = v
	}
	return out, nil
}

func readZipped(f *zip.File) (*runtime.Value, error) {
	if f.UncompressedSize64 > maxInputBytes {
		return nil, fmt.Errorf("it has more than %d bytes", int64(maxInputBytes))
	}
	r, err := f.Open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(r, maxInputBytes))
	if err != nil {
		return nil, err
	}
	return parseNPY(b)
}
