package main

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/proto"
)

// Commands of scripts that make files.

// odd writes the models of onnxtest.Odd that are one file: odd DIR.
func odd(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: odd DIR")
	}
	ts.Check(os.MkdirAll(ts.MkAbs(args[0]), 0o755))
	for _, c := range onnxtest.Odd() {
		if !c.Tags.Has(onnxtest.ExternalData) {
			ts.Check(c.Build(1).WriteFile(filepath.Join(ts.MkAbs(args[0]), strings.ReplaceAll(c.Name, "/", "-")+".onnx")))
		}
	}
}

// each runs a command for every file, with its path in place of FILE and its name
// in place of NAME, and wants exit code 0 or 1 of each: each GLOB command...
func each(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: each GLOB command...")
	}
	paths, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(paths) == 0 {
		ts.Fatalf("no file %s", args[0])
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
		words := make([]string, len(args)-1)
		for i, a := range args[1:] {
			words[i] = strings.ReplaceAll(strings.ReplaceAll(a, "FILE", path), "NAME", name)
		}
		var exit *exec.ExitError
		if err := ts.Exec(words[0], words[1:]...); errors.As(err, &exit) {
			if exit.ExitCode() != exitFailed {
				ts.Fatalf("%s: exit code %d", strings.Join(words, " "), exit.ExitCode())
			}
		} else {
			ts.Check(err)
		}
	}
}

// counting is an array that counts 0, 0.001, ... as elements of float32, with its extents.
func counting(ts *testscript.TestScript, text string) (data []byte, dims []int64) {
	n := int64(1)
	for _, d := range strings.Split(text, ",") {
		extent, err := strconv.ParseInt(d, 10, 64)
		ts.Check(err)
		dims = append(dims, extent)
		n *= extent
	}
	for i := range n {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i)/1000))
	}
	return data, dims
}

// npy writes such an array as numpy does, as elements of another type if one of
// four bytes is named: npy FILE 1,3,64,64 [<i4].
func npy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: npy FILE N,N,... [DESCR]")
	}
	descr := "<f4"
	if len(args) == 3 {
		descr = args[2]
	}
	body, _ := counting(ts, args[1])
	header := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s,), }\n", descr, args[1])
	data := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), 0)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(append(data, header...), body...), 0o644))
}

// npz packs files as numpy.savez does: npz FILE FILE...
func npz(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: npz FILE FILE...")
	}
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range args[1:] {
		text, err := os.ReadFile(ts.MkAbs(name))
		ts.Check(err)
		f, err := w.Create(filepath.Base(name))
		ts.Check(err)
		_, err = f.Write(text)
		ts.Check(err)
	}
	ts.Check(w.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), b.Bytes(), 0o644))
}

// pb writes an array like that of npy as ONNX's test data do: pb FILE NAME 1,3,64,64.
func pb(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: pb FILE NAME N,N,...")
	}
	body, dims := counting(ts, args[2])
	text, err := proto.Marshal(&onnxpb.TensorProto{Name: proto.String(args[1]), DataType: proto.Int32(1), Dims: dims, RawData: body})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o644))
}
