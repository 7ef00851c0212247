package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "rewrite golden parts of scripts from what the command does now")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"dnnsplit": recorded})
}

// TestScript runs testdata/script: each file is a session at a shell with the
// files that it needs. $REPO is the root of the repository.
func TestScript(t *testing.T) {
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	p := scriptParams(t, root, filepath.Join(root, "testdata", "script"))
	seen := t.TempDir()
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		e.Setenv(seenVariable, seen)
		return setup(e)
	}
	haveORT, err := p.Condition("ort")
	if err != nil {
		t.Fatal(err)
	}
	if race.Enabled {
		// Sessions with what runs at the same time: a placement, the writing of files and
		// the workers of bench among them. The others are about what is asked and answered.
		p.Dir = ""
		for _, name := range []string{"bench", "export", "inspect", "output", "profile", "sweep", "terminal", "verify"} {
			p.Files = append(p.Files, filepath.Join(root, "testdata", "script", name+".txt"))
		}
	}
	t.Run("session", func(t *testing.T) { testscript.Run(t, p) })
	if some := flag.Lookup("test.run").Value.String(); haveORT && !race.Enabled && !strings.Contains(some, "/") {
		checkExercised(t, root, seen)
	}
}

// scriptParams are those of the scripts in a folder.
func scriptParams(t *testing.T, root, dir string) testscript.Params {
	t.Helper()
	lib := os.Getenv("ONNXRUNTIME_LIB")
	if lib == "" {
		lib = filepath.Join(root, ".ort", "libonnxruntime.so.1")
	}
	_, err := os.Stat(lib)
	haveORT := err == nil
	if !haveORT && runtimetest.Required() {
		t.Fatalf("ONNX Runtime is required, but there is no %s: run make ort", lib)
	}
	return testscript.Params{
		Dir:           dir,
		UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("REPO", root)
			e.Setenv("ONNXRUNTIME_LIB", lib)
			e.Setenv("ORT", lib)
			e.Setenv("MODEL", filepath.Join(root, "testdata", "models", "squeezenet1_1.onnx"))
			e.Setenv("DEVICES", filepath.Join(root, "profiles"))
			return nil
		},
		Condition: func(cond string) (bool, error) { return cond == "ort" && haveORT, nil },
		Cmds:      map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "head": head, "flip": flip, "model": model, "odd": odd, "each": each, "npy": npy, "npz": npz, "pb": pb},
	}
}

// exits runs a command and wants this exit code: exits 2 dnnsplit ...
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE command...")
	}
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		code = strconv.Itoa(exit.ExitCode())
	case err != nil:
		ts.Fatalf("%v", err)
	}
	if code != args[0] {
		ts.Fatalf("exit code %s, want %s", code, args[0])
	}
}

// head copies the first bytes of a file: head -c N FROM TO.
func head(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 || args[0] != "-c" {
		ts.Fatalf("usage: head -c N FROM TO")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	data, err := os.ReadFile(ts.MkAbs(args[2]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), data[:min(n, len(data))], 0o644))
}

// flip turns over two bits in the middle of a file that is mostly weights: flip FILE.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: flip FILE")
	}
	data, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	data[len(data)/2] ^= 0x20
	data[len(data)/2+1] ^= 0x20
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), data, 0o644))
}

// model writes a network that is built here: model NAME FILE.
func model(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: model NAME FILE")
	}
	m, err := onnxtest.Named(args[0], 1)
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[1])), 0o755))
	ts.Check(m.WriteFile(ts.MkAbs(args[1])))
}
