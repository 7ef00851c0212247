package compiler

import (
	"encoding/json"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/dnnsplit/dnnsplit/"

// layers lists the packages by layer: a package imports only packages of lower
// layers, and of its own layer only what stands before it in the list.
var layers = [][]string{
	{"frontend/onnxpb", "compiler/diag", "compiler/dense", "compiler/robust", "compiler/rusage"},
	{"compiler/ir", "frontend/onnxfile"},
	{
		"profiles", "profiles/importer", "profiles/draw",
		"frontend/shape", "frontend/work",
		"passes/sched", "passes/bound", "passes/partition", "passes/assign", "passes",
	},
	{"frontend", "backend", "backend/report", "backend/export", "backend/runtime"},
	{"compiler", "backend/verify", "backend/bench", "profiles/machine", "profiles/measure"},
	{"compiler/cmd/dnnsplit"},
}

// outside are packages for tests and tools: they may import what they like, and
// only tests and other tools may import them.
var outside = []string{"compiler/race", "frontend/onnxtest", "backend/runtime/runtimetest", "frontend/shape/shapecheck", "passes/bench", "compiler/corpus", "compiler/cmd/corpus", "compiler/cmd/conformance", "compiler/cmd/benchmodels", "compiler/cmd/benchreal", "compiler/cmd/benchspeed"}

// apart are the three sides of the compiler, which never import one another.
var apart = []string{"frontend", "passes", "backend"}

// forbidden are imports that a subtree must never have, whatever its layer.
var forbidden = map[string][]string{
	"compiler/ir":    {"google.golang.org/protobuf", module + "frontend/"},
	"compiler/diag":  {module},
	"compiler/dense": {module},
	"passes":         {"google.golang.org/protobuf", module + "frontend/", module + "profiles"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	dec := json.NewDecoder(strings.NewReader(string(out)))
	for {
		var p listed
		if err := dec.Decode(&p); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func within(path, tree string) bool { return path == tree || strings.HasPrefix(path, tree+"/") }

func isOutside(path string) bool {
	for _, o := range outside {
		if within(path, o) {
			return true
		}
	}
	return false
}

// side is frontend, passes or backend; "" for the rest.
func side(path string) string {
	for _, s := range apart {
		if within(path, s) {
			return s
		}
	}
	return ""
}

func TestLayers(t *testing.T) {
	layer, place := map[string]int{}, map[string]int{}
	for i, l := range layers {
		for _, p := range l {
			layer[p] = i
			place[p] = len(place)
		}
	}
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		if isOutside(path) {
			continue
		}
		if _, ok := layer[path]; !ok {
			t.Errorf("package %s is in no layer: add it to the list in this test and to ARCHITECTURE.md", path)
			continue
		}
		for _, imp := range p.Imports {
			for tree, bans := range forbidden {
				for _, ban := range bans {
					if within(path, tree) && strings.HasPrefix(imp, ban) {
						t.Errorf("%s must not import %s", path, imp)
					}
				}
			}
			dep, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			switch {
			case isOutside(dep):
				t.Errorf("%s imports %s, which is for tests and tools", path, dep)
			case place[dep] >= place[path]:
				t.Errorf("%s (layer %d) must not import %s (layer %d)", path, layer[path], dep, layer[dep])
			case layer[path] < 4 && side(path) != "" && side(dep) != "" && side(path) != side(dep) && dep != "frontend/onnxpb" && dep != "frontend/onnxfile":
				t.Errorf("%s must not import %s: frontend, passes and backend know only ir and the file reader in common", path, dep)
			}
		}
	}
}
