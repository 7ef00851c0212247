package profiles

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// addSeeds adds the files of the golden error tests and of the sample fleet
// whose names match.
func addSeeds(f *testing.F, match func(name string) bool) {
	archives, _ := filepath.Glob("testdata/errors/*.txtar")
	for _, path := range archives {
		archive, err := txtar.ParseFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range archive.Files {
			if match(file.Name) {
				f.Add(file.Data)
			}
		}
	}
	samples, _ := filepath.Glob("*.yaml")
	for _, path := range samples {
		if match(path) {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
}

// checkResult holds for whatever was loaded: errors are short and say where,
// fleets keep their promises.
func checkResult(t *testing.T, fleet *Fleet, err error) {
	t.Helper()
	if err != nil {
		var list diag.List
		if !errors.As(err, &list) {
			list = diag.List{err}
		}
		for _, e := range list {
			if d := (*diag.Error)(nil); !errors.As(e, &d) || d.File == "" || d.Msg == "" || d.Line < 0 || d.Col < 0 {
				t.Fatalf("error %#v", e)
			}
			if s := e.Error(); strings.Contains(s, "\n") || len(s) > 2000 {
				t.Fatalf("error text %q", s)
			}
		}
		return
	}
	p := fleet.Platform
	if len(p.Processors) == 0 || len(p.Processors) != len(fleet.Processors) {
		t.Fatalf("%d processors", len(p.Processors))
	}
	names := map[string]bool{}
	for i, q := range p.Processors {
		if names[strings.ToLower(q.Name)] || q.Name == "" || q.MemoryBytes <= 0 || q.Launch < 0 {
			t.Fatalf("processor %+v", q)
		}
		names[strings.ToLower(q.Name)] = true
		for _, way := range []*ir.Copy{q.Upload, q.Download} {
			if way != nil && (way.Latency < 0 || !(way.BytesPerUs > 0)) {
				t.Fatalf("processor %+v", q)
			}
		}
		for elem := ir.ElemType(-1); elem <= ir.Int2+1; elem++ {
			c, _ := fleet.Cost(ir.ProcID(i), Op{Type: "Conv", Signature: "s1", Elem: elem, FLOPs: 1 << 40, Bytes: 1 << 40})
			if c < ir.Unsupported || c > ir.Micros(ir.MaxMicros) {
				t.Fatalf("cost %d", c)
			}
		}
	}
	for _, l := range p.Links {
		if l.From == l.To || l.From < 0 || l.To < 0 || int(max(l.From, l.To)) >= len(p.Devices) || l.Latency < 0 || !(l.BytesPerUs > 0) {
			t.Fatalf("link %+v", l)
		}
	}
}

func FuzzDevice(f *testing.F) {
	addSeeds(f, func(name string) bool { return strings.HasSuffix(name, ".yaml") && name != fleetFileName })
	f.Fuzz(func(t *testing.T, data []byte) {
		fleet, err := LoadFS(fstest.MapFS{"a.yaml": {Data: data}}, ".")
		checkResult(t, fleet, err)
	})
}

func FuzzFleet(f *testing.F) {
	addSeeds(f, func(name string) bool { return name == fleetFileName })
	fsys := files("a.yaml", device("raspberry-pi-5"), "b.yaml", device("jetson-orin-nano"), "c.yaml", device("edge-server"), "d.yaml", device("phone"))
	f.Fuzz(func(t *testing.T, data []byte) {
		fsys := fstest.MapFS{"a.yaml": fsys["a.yaml"], "b.yaml": fsys["b.yaml"], "c.yaml": fsys["c.yaml"], "d.yaml": fsys["d.yaml"], fleetFileName: {Data: data}}
		fleet, err := LoadFS(fsys, ".")
		checkResult(t, fleet, err)
	})
}

func FuzzCosts(f *testing.F) {
	addSeeds(f, func(name string) bool { return strings.HasSuffix(name, ".json") })
	f.Add([]byte(costs(`, "machine": {"cpu": "x"}, "parameters": {"launch_us": 1, "scale": 2, "download": {"latency_us": 1, "bytes_per_us": 5}}`,
		entry("s1", "Conv", 1e6, 1e3, 5), entry("s2", "Conv", 1e7, 1e4, 50), entry("s3", "Conv", 1e8, 1e5, 500), entry("s4", "Conv", 2e8, 1e4, 800), entry("s5", "Conv", 1e3, 1e4, 3))))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ReadCosts("a.costs.json", data)
		if err == nil {
			text := encode(t, c)
			back, err := ReadCosts("again", text)
			if err != nil || !bytes.Equal(text, encode(t, back)) {
				t.Fatalf("what was written does not read back: %v\n%s", err, text)
			}
		}
		fleet, err := LoadFS(fstest.MapFS{"a.yaml": {Data: []byte(device("a", "    costs: [a.costs.json]\n"))}, "a.costs.json": {Data: data}}, ".")
		checkResult(t, fleet, err)
	})
}
