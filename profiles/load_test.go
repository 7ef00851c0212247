package profiles

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// wantFile is the member of an archive that holds the expected text.
const wantFile = "want"

// TestErrors loads the folder in each archive of testdata/errors and compares
// the error, line by line, with its member "want".
func TestErrors(t *testing.T) {
	paths, err := filepath.Glob("testdata/errors/*.txtar")
	if err != nil || len(paths) == 0 {
		t.Fatal("no archives", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			fsys := fstest.MapFS{}
			want := ""
			inputs := archive.Files[:0:0]
			for _, f := range archive.Files {
				if f.Name == wantFile {
					want = string(f.Data)
					continue
				}
				inputs = append(inputs, f)
				fsys["profiles/"+f.Name] = &fstest.MapFile{Data: f.Data}
			}
			_, err = LoadFS(fsys, "profiles")
			if err == nil {
				t.Fatal("the folder loads")
			}
			got := allErrors(err)
			if *update {
				archive.Files = slices.Concat(inputs, []txtar.File{{Name: wantFile, Data: []byte(got)}})
				if err := os.WriteFile(path, txtar.Format(archive), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// allErrors is the text of every error in err, a line each, all of them diag.Errors.
func allErrors(err error) string {
	var list diag.List
	if !errors.As(err, &list) {
		list = diag.List{err}
	}
	var b strings.Builder
	for _, e := range list {
		if d := (*diag.Error)(nil); !errors.As(e, &d) {
			b.WriteString("not a diag.Error: ")
		}
		b.WriteString(e.Error() + "\n")
	}
	return b.String()
}

// device is a profile with one processor.
func device(name string, more ...string) string {
	return "schema: dnnsplit/device/v1\nname: " + name + `
memory: 8GiB
processors:
  - name: cpu
    kind: cpu
    peak: {float32: 100GFLOP/s}
    memory_bandwidth: 10GB/s
` + strings.Join(more, "")
}

// files makes a file system of pairs of names and contents.
func files(pairs ...string) fstest.MapFS {
	fsys := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		fsys[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return fsys
}

func mustLoad(t *testing.T, pairs ...string) *Fleet {
	t.Helper()
	f, err := LoadFS(files(pairs...), ".")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestLoad(t *testing.T) {
	f := mustLoad(t, "b.yaml", `
schema: dnnsplit/device/v1
name: jetson
memory: 8GiB
processors:
  - name: gpu
    kind: gpu
    provider: CUDAExecutionProvider
    memory: 4GiB
    peak: {float16: 2.56TFLOP/s, float32: 1.28TFLOP/s, int8: 20TOP/s}
    memory_bandwidth: 68GB/s
    op_overhead: 8us
    launch: 60us
    upload: {latency: 10us, bandwidth: 12GB/s}
    download: {bandwidth: 6GB/s}
    unsupported: [NonMaxSuppression, "com.microsoft::*"]
    source: measured
  - name: cpu
    kind: cpu
    peak: {float32: 98GFLOP/s}
    memory_bandwidth: 544Gbit/s
source: data sheet
`, "a.yaml", device("pi"), "fleet.yaml", `
schema: dnnsplit/fleet/v1
source: pi
links:
  - {between: [jetson, pi], bandwidth: 940Mbit/s, latency: 200us}
`, "sub/c.yaml", "not read", ".hidden.yaml", "not read", "notes.txt", "not read")
	want := &ir.Platform{
		Devices: []ir.Device{{Name: "pi", MemoryBytes: 8 << 30}, {Name: "jetson", MemoryBytes: 8 << 30}},
		Processors: []ir.Processor{
			{Name: "pi", Device: 0, MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels, Kind: "cpu"},
			{
				Name: "jetson.gpu", Device: 1, MemoryBytes: 4 << 30, MaxSubmodels: ir.DefaultSubmodels, Launch: 60 * ir.Microsecond,
				Upload:   &ir.Copy{Latency: 10 * ir.Microsecond, BytesPerUs: 12000},
				Download: &ir.Copy{BytesPerUs: 6000},
				Kind:     "gpu", Provider: "CUDAExecutionProvider",
			},
			{Name: "jetson.cpu", Device: 1, MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels, Kind: "cpu"},
		},
		Links: []ir.Link{
			{From: 1, To: 0, Copy: ir.Copy{Latency: 200 * ir.Microsecond, BytesPerUs: 117.5}},
			{From: 0, To: 1, Copy: ir.Copy{Latency: 200 * ir.Microsecond, BytesPerUs: 117.5}},
		},
		Source: 0, Sink: ir.NoDevice,
	}
	if diff := cmp.Diff(want, f.Platform); diff != "" {
		t.Errorf("platform (-want +got)\n%s", diff)
	}
	gpu := f.Processors[1]
	if diff := cmp.Diff([]Peak{{ir.Float32, 1.28e12}, {ir.Int8, 20e12}, {ir.Float16, 2.56e12}}, gpu.Peaks); diff != "" {
		t.Errorf("peaks (-want +got)\n%s", diff)
	}
	if gpu.Name != "jetson.gpu" || gpu.Source != "measured" || gpu.OpOverhead != 8*ir.Microsecond || gpu.MemoryBytesPerSecond != 68e9 {
		t.Errorf("gpu is %+v", gpu)
	}
	if cpu := f.Processors[2]; cpu.Source != "data sheet" || cpu.MemoryBytesPerSecond != 68e9 {
		t.Errorf("cpu is %+v", cpu)
	}
	if diff := cmp.Diff([]string{"a.yaml", "b.yaml", "fleet.yaml"}, f.Files()); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
}

func TestDefaultLink(t *testing.T) {
	const fleet = `
schema: dnnsplit/fleet/v1
links:
  - {from: a, to: b, bandwidth: 1GB/s}
  - {from: b, to: c, bandwidth: 1GB/s}
default_link: {bandwidth: 8Mbit/s, latency: 1ms, medium: air}
`
	f := mustLoad(t, "a.yaml", device("a"), "b.yaml", device("b"), "c.yaml", device("c"), "d.yaml", device("d"), "fleet.yaml", fleet)
	type pair struct{ From, To ir.DeviceID }
	var got []pair
	for _, l := range f.Platform.Links[2:] {
		got = append(got, pair{l.From, l.To})
		if l.Medium != "air" || l.Latency != ir.Millisecond || l.BytesPerUs != 1 {
			t.Errorf("default link %+v", l)
		}
	}
	// a→c has a route over b, so it gets no default link.
	want := []pair{{0, 3}, {1, 0}, {1, 3}, {2, 0}, {2, 1}, {2, 3}, {3, 0}, {3, 1}, {3, 2}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("default links (-want +got)\n%s", diff)
	}
}

func TestParallelLinksNeedMedia(t *testing.T) {
	f := mustLoad(t, "a.yaml", device("a"), "b.yaml", device("b"), "fleet.yaml", `
schema: dnnsplit/fleet/v1
links:
  - {from: a, to: b, bandwidth: 1GB/s}
  - {from: a, to: b, bandwidth: 1MB/s, medium: wifi}
`)
	if n := len(f.Platform.Links); n != 2 {
		t.Errorf("%d links, want 2", n)
	}
}

// TestIdleCosts lists cost files that lie in the folder and that no processor names.
func TestIdleCosts(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml":        "schema: dnnsplit/device/v1\nname: a\nmemory: 1GiB\nprocessors:\n  - {name: cpu, kind: cpu, peak: {float32: 1GFLOP/s}, memory_bandwidth: 1GB/s, costs: [a.costs.json]}\n",
		"a.costs.json":  `{"schema": "dnnsplit/costs/v1", "processor": "a", "entries": []}`,
		"b.costs.json":  "not even JSON",
		"manifest.json": "{}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	fleet, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := fleet.IdleCosts(); !slices.Equal(got, []string{"b.costs.json"}) {
		t.Errorf("idle cost files: %q", got)
	}
}

func TestNoFleetFile(t *testing.T) {
	p := mustLoad(t, "a.yaml", device("a"), "b.yaml", device("b")).Platform
	if len(p.Links) != 0 || p.Source != ir.NoDevice || p.Sink != ir.NoDevice {
		t.Errorf("platform %+v", p)
	}
}

func TestAliases(t *testing.T) {
	f := mustLoad(t, "a.yaml", `
schema: dnnsplit/device/v1
name: a
memory: &mem 8GiB
processors:
  - &gpu
    name: gpu
    kind: gpu
    memory: *mem
    peak: &peak {float32: 1TFLOP/s}
    memory_bandwidth: 1GB/s
    unsupported: &ops [Loop, If]
  - name: gpu2
    kind: gpu
    peak: *peak
    memory_bandwidth: 1GB/s
    unsupported: *ops
`)
	if f.Platform.Processors[0].MemoryBytes != 8<<30 || f.Supports(1, "", "Loop") || len(f.Processors[1].Peaks) != 1 {
		t.Errorf("processors %+v", f.Processors)
	}
}

// TestOddAliases wants the reason why an alias is not followed.
func TestOddAliases(t *testing.T) {
	list, processors := "unsupported: &l ["+strings.Repeat("Loop,", 80000)+"]", ""
	for i := range 5 {
		processors += fmt.Sprintf("  - {name: p%d, kind: cpu, peak: {float32: 1GFLOP/s}, memory_bandwidth: 1GB/s, %s}\n", i, list)
		list = "unsupported: *l"
	}
	for want, text := range map[string]string{
		"aliases expand the file beyond the size of a profile": "schema: dnnsplit/device/v1\nname: a\nmemory: 1GiB\nprocessors:\n" + processors,
		"an alias that stands for nothing but aliases":         "schema: dnnsplit/device/v1\nname: &x\n  *x\n",
	} {
		if _, err := LoadFS(files("a.yaml", text), "."); err == nil || !strings.Contains(allErrors(err), want) {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestBounds(t *testing.T) {
	repeat := strings.Repeat
	keys := ""
	for i := range maxMappingKeys + 1 {
		keys += fmt.Sprintf("k%d: v\n", i)
	}
	for name, c := range map[string]struct{ text, want string }{
		"large file":      {"# " + repeat("x", maxYAMLBytes) + "\n", "the file is larger than 1048576 bytes, too large for a profile"},
		"many tokens":     {"[" + repeat("a,", maxYAMLTokens) + "]", "the file is too long for a profile"},
		"flow nesting":    {"a: " + repeat("[", 1000), "nested more than 16 deep, deeper than any profile"},
		"block nesting":   {repeat("- ", 1000) + "a", "nested more than 16 deep, deeper than any profile"},
		"many keys":       {keys, "a mapping with more than 256 keys is no part of a profile"},
		"one key":         {repeat("k: v\n", 1000), ""},
		"many anchors":    {"[" + repeat("&a x,", 1000) + "]", "more than 256 anchors are no part of a profile"},
		"many documents":  {repeat("a\n---\n", 100000), "too many document markers, expected one document a file"},
		"not text":        {"name: \xff\n", "the file is not UTF-8 text"},
		"zero byte":       {"name: \x00\n", "the file is not UTF-8 text"},
		"many processors": {"schema: dnnsplit/device/v1\nname: a\nmemory: 1GiB\nsource: x\nprocessors: [" + repeat("{name: p, kind: cpu}, ", maxProcessors+1) + "]\n", "processors: more than 64 on one device"},
		"alias bomb": {"schema: dnnsplit/device/v1\nname: a\nmemory: 1GiB\nsource: x\nprocessors:\n" +
			"  - &p\n    name: a\n    unsupported: &l [" + repeat("Loop,", 20000) + "]\n" + repeat("  - *p\n", 60), ""},
	} {
		_, err := LoadFS(files("a.yaml", c.text), ".")
		if err == nil {
			t.Errorf("%s: loads", name)
			continue
		}
		var d *diag.Error
		if !errors.As(err, &d) || d.File != "a.yaml" {
			t.Errorf("%s: error %v", name, err)
		}
		if !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %s", name, err, c.want)
		}
		if n := len(err.Error()); n > 20000 {
			t.Errorf("%s: the message has %d bytes", name, n)
		}
	}
}

func TestLoadFolder(t *testing.T) {
	dir := t.TempDir()
	text := func(_ *Fleet, err error) string {
		if err == nil {
			t.Fatal("loads")
		}
		return strings.ReplaceAll(err.Error(), dir, "DIR")
	}
	file := filepath.Join(dir, "a.yaml")
	for _, c := range []struct{ got, want string }{
		{text(Load(filepath.Join(dir, "none"))), "DIR/none: no such folder, expected one with device profiles (*.yaml)"},
		{text(Load(dir)), "DIR: no device profile, expected a file *.yaml for each device"},
		{text(Load("")), "no folder of device profiles is named"},
		{text(LoadFS(fstest.MapFS{}, "../x")), `../x: not a path inside the file system, expected one such as "." or "profiles"`},
		{text(LoadFS(fstest.MapFS{}, "x")), "x: no such folder, expected one with device profiles (*.yaml)"},
		{text(LoadFS(files("x", ""), "x")), "x: not a folder, expected one with device profiles (*.yaml)"},
	} {
		if got := filepath.ToSlash(c.got); got != c.want {
			t.Errorf("got %s\nwant %s", got, c.want)
		}
	}
	if err := os.WriteFile(file, []byte(device("a")), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err != nil {
		t.Error(err)
	}
	if got, want := text(Load(file)), "DIR/a.yaml: not a folder, expected one with device profiles (*.yaml)"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if err := os.Symlink(filepath.Join(dir, "none"), filepath.Join(dir, "b.yaml")); err != nil {
		t.Skip("no symbolic links:", err)
	}
	if got, want := text(Load(dir)), "DIR/b.yaml: cannot read the profile: no such file"; got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestIrregularFile(t *testing.T) {
	fsys := files("a.yaml", device("a"))
	fsys["fleet.yaml"] = &fstest.MapFile{Mode: fs.ModeNamedPipe}
	if _, err := LoadFS(fsys, "."); err == nil || err.Error() != "fleet.yaml: cannot read the links: not a regular file" {
		t.Errorf("error %v", err)
	}
	fsys = fstest.MapFS{"a.yaml": {Mode: fs.ModeNamedPipe}}
	_, err := LoadFS(fsys, ".")
	if err == nil || err.Error() != "a.yaml: cannot read the profile: not a regular file" {
		t.Errorf("error %v", err)
	}
}

func TestSampleFleet(t *testing.T) {
	f, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	p := f.Platform
	if len(p.Devices) < 4 || len(p.Processors) < 7 {
		t.Errorf("%d devices, %d processors", len(p.Devices), len(p.Processors))
	}
	if p.Source == ir.NoDevice || p.Sink == ir.NoDevice {
		t.Error("no source or sink")
	}
	reach := map[[2]ir.DeviceID]bool{}
	for _, l := range p.Links {
		reach[[2]ir.DeviceID{l.From, l.To}] = true
	}
	for a := range p.Devices {
		for b := range p.Devices {
			if a != b && !reach[[2]ir.DeviceID{ir.DeviceID(a), ir.DeviceID(b)}] {
				t.Errorf("no link from %s to %s", p.Devices[a].Name, p.Devices[b].Name)
			}
		}
	}
	kinds := map[string]bool{}
	for i, proc := range f.Processors {
		kinds[proc.Kind] = true
		if proc.Source == "" {
			t.Errorf("%s names no source", proc.Name)
		}
		if proc.Provider == "" {
			t.Errorf("%s names no provider", proc.Name)
		}
		conv := Op{Type: "Conv", Elem: ir.Float32, FLOPs: 1e9, Bytes: 1e6}
		if c, _ := f.Cost(ir.ProcID(i), conv); c <= 0 {
			t.Errorf("%s: a Conv costs %v", proc.Name, c)
		}
	}
	for _, k := range []string{"cpu", "gpu", "npu"} {
		if !kinds[k] {
			t.Errorf("no %s", k)
		}
	}
}

func TestLoadIsDeterministic(t *testing.T) {
	a, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	b, err := Load(".")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a, b, cmp.AllowUnexported(Fleet{}, Processor{}, pattern{}, patternSet{}, costTable{})); diff != "" {
		t.Error(diff)
	}
}
