package onnxfile

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// outside is a float32 tensor w[4,4] with external data of these keys and values.
func outside(kv ...string) *onnxpb.TensorProto {
	t := &onnxpb.TensorProto{
		Name: proto.String("w"), Dims: []int64{4, 4}, DataType: proto.Int32(1),
		DataLocation: onnxpb.TensorProto_EXTERNAL.Enum(),
	}
	for i := 0; i < len(kv); i += 2 {
		t.ExternalData = append(t.ExternalData, &onnxpb.StringStringEntryProto{Key: &kv[i], Value: &kv[i+1]})
	}
	return t
}

// dataFile makes a folder with 256 bytes 0, 1, 2, ... in w.bin.
func dataFile(t testing.TB) (dir string, content []byte) {
	t.Helper()
	for i := range 256 {
		content = append(content, byte(i))
	}
	dir = t.TempDir()
	save(t, dir, "w.bin", content)
	return dir, content
}

func TestExternal(t *testing.T) {
	dir, content := dataFile(t)
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	save(t, filepath.Join(dir, "sub"), "x", content)
	for _, link := range [][2]string{{"w.bin", "link"}, {"sub", "folder"}, {"../w.bin", "sub/up"}} {
		if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	for _, c := range []struct {
		kv  []string
		off int
	}{
		{[]string{"location", "w.bin", "offset", "64", "length", "64"}, 64},
		{[]string{"location", "w.bin"}, 0},
		{[]string{"location", "w.bin", "offset", "192"}, 192},
		{[]string{"location", "w.bin", "length", "64"}, 0},
		{[]string{"location", "w.bin", "length", "0"}, 0}, // as ONNX Runtime
		{[]string{"location", "w.bin", "offset", "0064", "checksum", "ab", "other", "x"}, 64},
		{[]string{"location", "a", "location", "w.bin"}, 0}, // the last one counts
		{[]string{"location", "./w.bin"}, 0},
		{[]string{"location", "sub/x"}, 0},
		{[]string{"location", "sub//./x", "offset", "1"}, 1},
		{[]string{"location", "link"}, 0},
		{[]string{"location", "folder/x"}, 0},
		{[]string{"location", "sub/up"}, 0},
	} {
		m := mustOpen(t, save(t, dir, "m.onnx", marshal(t, withInitializers(outside(c.kv...)))), Options{})
		w := m.Proto.Graph.Initializer[0]
		got, err := m.Values(w, 64)
		if err != nil || !bytes.Equal(got, content[c.off:c.off+64]) {
			t.Errorf("%q: %v, %v", c.kv, got, err)
		}
		if r := m.Tensor(w); r.DataField != 13 || r.External == "" || r.Data.Len() != 64 {
			t.Errorf("%q: %+v", c.kv, r)
		}
	}
}

func TestExternalRefusals(t *testing.T) {
	dir, _ := dataFile(t)
	outer := t.TempDir()
	save(t, outer, "secret", make([]byte, 256))
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, link := range [][2]string{
		{filepath.Join(outer, "secret"), "link"},
		{outer, "folder"},
		{"loop", "loop"},
		{"gone", "dangling"},
		{"../../../../../../../../../../" + filepath.Join(outer, "secret"), "sub/up"},
	} {
		if err := os.Symlink(link[0], filepath.Join(dir, link[1])); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	const leaves, absolute, number = "leads out of the model's folder", "of its external data is absolute: it must be relative to the model's folder", "is no decimal number of bytes"
	for _, c := range []struct {
		want string
		kv   []string
	}{
		{"has no location", nil},
		{"has no location", []string{"location", ""}},
		{"has no location", []string{"offset", "0"}},
		{"is not there: it belongs beside the model", []string{"location", "absent.bin"}},
		{"is not there: it belongs beside the model", []string{"location", "dangling"}},
		{absolute, []string{"location", filepath.Join(dir, "w.bin")}},
		{absolute, []string{"location", "/dev/zero"}},
		{absolute, []string{"location", "C:w.bin"}},
		{absolute, []string{"location", "c:/w.bin"}},
		{leaves, []string{"location", "../w.bin"}},
		{leaves, []string{"location", "sub/../w.bin"}},
		{leaves, []string{"location", "sub/../../w.bin"}},
		{leaves, []string{"location", ".."}},
		{leaves, []string{"location", "link"}},
		{leaves, []string{"location", "folder/secret"}},
		{leaves, []string{"location", "sub/up"}},
		{"cannot be found", []string{"location", "loop"}},
		{"cannot be found", []string{"location", "w.bin/x"}},
		{"cannot be found", []string{"location", strings.Repeat("n", 5000)}},
		{"of its external data holds a backslash: folders are separated by /", []string{"location", `..\w.bin`}},
		{"of its external data holds a backslash: folders are separated by /", []string{"location", `sub\x`}},
		{"of its external data holds a NUL", []string{"location", "w.bin\x00.txt"}},
		{"of its external data is a folder", []string{"location", "."}},
		{"of its external data is a folder", []string{"location", "sub"}},
		{"of its external data is a folder", []string{"location", "sub/"}},
		{number, []string{"location", "w.bin", "offset", ""}},
		{number, []string{"location", "w.bin", "offset", "-64"}},
		{number, []string{"location", "w.bin", "offset", "+64"}},
		{number, []string{"location", "w.bin", "offset", "0x40"}},
		{number, []string{"location", "w.bin", "offset", " 64"}},
		{number, []string{"location", "w.bin", "offset", "6_4"}},
		{number, []string{"location", "w.bin", "offset", "12abc"}},
		{number, []string{"location", "w.bin", "offset", "9223372036854775808"}},
		{number, []string{"location", "w.bin", "length", strings.Repeat("9", 10000)}},
		{`its external data starts at byte 257, past the end of "w.bin", which has 256 bytes`, []string{"location", "w.bin", "offset", "257", "length", "64"}},
		{"past the end", []string{"location", "w.bin", "offset", "9223372036854775807", "length", "64"}},
		{"has only 256 bytes", []string{"location", "w.bin", "offset", "193"}},
		{`its external data needs 64 bytes at byte 256 of "w.bin", which has only 256 bytes`, []string{"location", "w.bin", "offset", "256", "length", "64"}},
		{"its external data has 63 bytes, but its dims [4 4] need 16 elements of float32, 64 bytes", []string{"location", "w.bin", "length", "63"}},
		{"has 65 bytes, but", []string{"location", "w.bin", "length", "65"}},
		{"has 4611686018427387904 bytes, but", []string{"location", "w.bin", "length", "4611686018427387904"}},
	} {
		t.Run(fmt.Sprintf("%.60q", c.kv), func(t *testing.T) {
			refuse(t, save(t, dir, "m.onnx", marshal(t, withInitializers(outside(c.kv...)))), Options{}, c.want)
		})
	}
	p := outside("location", "w.bin")
	p.DataType = proto.Int32(8)
	refuse(t, save(t, dir, "m.onnx", marshal(t, withInitializers(p))), Options{}, "strings cannot be stored outside the model")
}

func TestExternalFIFO(t *testing.T) {
	dir := t.TempDir()
	if err := mkfifo(filepath.Join(dir, "pipe")); err != nil {
		t.Skip("no pipes here:", err)
	}
	refuse(t, save(t, dir, "m.onnx", marshal(t, withInitializers(outside("location", "pipe")))), Options{}, "of its external data is no regular file")
	refuse(t, filepath.Join(dir, "pipe"), Options{}, "no regular file")
}

// TestExternalUnknownType takes the rest of the file where no size is known.
func TestExternalUnknownType(t *testing.T) {
	dir, content := dataFile(t)
	p := outside("location", "w.bin", "offset", "200")
	p.DataType = proto.Int32(99)
	m := mustOpen(t, save(t, dir, "m.onnx", marshal(t, withInitializers(p))), Options{})
	got, err := m.Values(m.Proto.Graph.Initializer[0], 100)
	if err != nil || !bytes.Equal(got, content[200:]) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestLinkedModel opens a model as download caches store it: names that are
// links in one folder, contents in another.
func TestLinkedModel(t *testing.T) {
	root := t.TempDir()
	for _, d := range []string{"blobs", "snapshot", "elsewhere"} {
		if err := os.Mkdir(filepath.Join(root, d), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	save(t, filepath.Join(root, "blobs"), "b1", marshal(t, withInitializers(outside("location", "w.bin"))))
	save(t, filepath.Join(root, "blobs"), "b2", make([]byte, 64))
	save(t, filepath.Join(root, "elsewhere"), "b2", make([]byte, 64))
	link := func(to, name string) {
		_ = os.Remove(filepath.Join(root, name))
		if err := os.Symlink(to, filepath.Join(root, name)); err != nil {
			t.Skip("no symbolic links here:", err)
		}
	}
	path := filepath.Join(root, "snapshot", "m.onnx")
	link("../blobs/b1", "snapshot/m.onnx")
	link("../blobs/b2", "snapshot/w.bin")
	m := mustOpen(t, path, Options{})
	if _, err := m.Values(m.Proto.Graph.Initializer[0], 64); err != nil {
		t.Error(err)
	}
	link("../elsewhere/b2", "snapshot/w.bin")
	refuse(t, path, Options{}, "a link that leads out of the model's folder")
}

// TestManyExternalFiles reads more files than may be open, from several
// goroutines.
func TestManyExternalFiles(t *testing.T) {
	dir := t.TempDir()
	var ts []*onnxpb.TensorProto
	const n = 3 * maxOpenFiles
	for i := range n {
		name := fmt.Sprintf("w%d.bin", i)
		save(t, dir, name, bytes.Repeat([]byte{byte(i)}, 64))
		ts = append(ts, outside("location", name), outside("location", "./"+name))
	}
	m := mustOpen(t, save(t, dir, "m.onnx", marshal(t, withInitializers(ts...))), Options{})
	if got := len(m.files.all); got != n+1 {
		t.Errorf("%d files are known, want %d", got, n+1)
	}
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			for i := range ts {
				i = (i + k*n/2) % len(ts)
				b, err := m.Values(m.Proto.Graph.Initializer[i], 64)
				if err != nil || b[0] != byte(i/2) || b[63] != byte(i/2) {
					t.Errorf("tensor %d: %v, %v", i, b, err)
				}
			}
		})
	}
	wg.Wait()
	if m.files.open > maxOpenFiles {
		t.Errorf("%d files are open, at most %d may be", m.files.open, maxOpenFiles)
	}
}

func TestClosed(t *testing.T) {
	dir, _ := dataFile(t)
	m, err := Open(context.Background(), save(t, dir, "m.onnx", marshal(t, withInitializers(outside("location", "w.bin")))), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := m.Values(m.Proto.Graph.Initializer[0], 64); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("reading from a closed model gives %v", err)
	}
}

// TestChangedUnderUs replaces, cuts and removes files of an opened model.
func TestChangedUnderUs(t *testing.T) {
	dir := t.TempDir()
	var ts []*onnxpb.TensorProto
	for i := range maxOpenFiles + 5 { // so that the first ones are closed again
		name := fmt.Sprintf("w%d.bin", i)
		save(t, dir, name, make([]byte, 64))
		p := outside("location", name)
		p.Name = &name
		ts = append(ts, p)
	}
	path := save(t, dir, "m.onnx", marshal(t, withInitializers(ts...)))
	m := mustOpen(t, path, Options{})
	read := func(i int, want string) {
		t.Helper()
		if _, err := m.Values(m.Proto.Graph.Initializer[i], 64); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("tensor %d: error %v, want %q", i, err, want)
		}
	}
	if err := os.Remove(filepath.Join(dir, "w0.bin")); err != nil {
		t.Fatal(err)
	}
	save(t, dir, "w1.bin", make([]byte, 65))
	last := len(ts) - 1
	if err := os.Truncate(filepath.Join(dir, ts[last].GetName()), 10); err != nil {
		t.Fatal(err)
	}
	read(0, "no such file")
	read(1, "has changed since the model was opened")
	read(last, "became shorter while it was read")
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Draft().WriteTo(&bytes.Buffer{}); err == nil {
		t.Error("a model that became shorter is written without an error")
	}
}

// TestSparseGigabytes opens a model with 3 GiB of weights outside and 1.5 GiB
// inside, all holes, and makes sure that memory does not grow with them.
func TestSparseGigabytes(t *testing.T) {
	dir := t.TempDir()
	const inside, outer = 3 << 29, 3 << 30
	hole := func(name string, size int64) {
		if err := os.Truncate(filepath.Join(dir, name), size); err != nil {
			t.Skip("no sparse files here:", err)
		}
	}
	save(t, dir, "w.bin", nil)
	hole("w.bin", outer)
	p := outside("location", "w.bin")
	p.Dims = []int64{3 << 28}
	// The head of a large raw_data by hand: tensor in graph in model.
	head := cat(varint(1, 3<<27), varint(2, 1))
	tensor := int64(len(head)) + BytesField(tensorRaw, Chunk{n: inside}).Size()
	first := ld(graphInitializer, marshal(t, p))
	graph := int64(len(first)) + BytesField(graphInitializer, Chunk{n: tensor}).Size()
	b := appendHead(nil, BytesField(modelGraph, Chunk{n: graph}))
	b = append(b, first...)
	b = append(appendHead(b, BytesField(graphInitializer, Chunk{n: tensor})), head...)
	b = appendHead(b, BytesField(tensorRaw, Chunk{n: inside}))
	path := save(t, dir, "m.onnx", b)
	hole("m.onnx", int64(len(b))+inside)

	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	m := mustOpen(t, path, Options{})
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Errorf("opening allocates %d bytes", used)
	}
	for i, want := range []int64{outer, inside} {
		if r := m.Tensor(m.Proto.Graph.Initializer[i]); r.Data.Len() != want {
			t.Errorf("initializer %d has %d bytes, want %d", i, r.Data.Len(), want)
		}
		if _, err := m.Values(m.Proto.Graph.Initializer[i], 1<<20); err == nil {
			t.Errorf("initializer %d is read past the limit", i)
		}
	}
	if got := m.Draft().Size(); got != int64(len(b))+inside {
		t.Errorf("Size is %d, the file has %d", got, int64(len(b))+inside)
	}
}
