//go:build cgo && (linux || darwin)

package runtime

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Files that are no ONNX Runtime are refused in a sentence; nothing crashes or lingers.
func TestProbeRefuses(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage.so")
	if err := os.WriteFile(garbage, []byte("no library"), 0o666); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		garbage:                       "cannot be loaded: ",
		filepath.Join(dir, "none.so"): "cannot be loaded: ",
		"libm.so.6":                   "is not ONNX Runtime",
	} {
		if _, err := probe(path); err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// fakeORT is the source of a library that says it is ONNX Runtime. Its calls work,
// and do nothing, until FAKE_WORKS of them were made; then all of them fail.
const fakeORT = `
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
static int calls;
static const char *call(void) { return calls++ < atoi(getenv("FAKE_WORKS")) ? NULL : "broken"; }
typedef const char *(*entry)(void);
static entry table[1000];
static const void *api(uint32_t version) {
	if (version > NEWEST) return NULL;
	for (int i = 0; i < 1000; i++) table[i] = call;
	return table;
}
static const char *version(void) { return VERSION; }
static const struct { const void *(*api)(uint32_t); const char *(*version)(void); } base = { api, version };
const void *OrtGetApiBase(void) { return &base; }
`

// fake builds fakeORT with a version, and the newest interface that it offers.
func fake(t *testing.T, version string, newest int) string {
	t.Helper()
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("there is no C compiler")
	}
	dir := t.TempDir()
	source, library := filepath.Join(dir, "fake.c"), filepath.Join(dir, "fake.so")
	if err := os.WriteFile(source, []byte(fakeORT), 0o666); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(cc, "-shared", "-fPIC", "-o", library, fmt.Sprintf("-DVERSION=%q", version), fmt.Sprint("-DNEWEST=", newest), source).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return library
}

// Releases of ONNX Runtime that cannot be used are refused by what they say of themselves.
func TestProbeVersions(t *testing.T) {
	old, short := fake(t, "1.16.3", 16), fake(t, "1.40.0", 16)
	for path, want := range map[string]string{
		old:   fmt.Sprintf("%s is ONNX Runtime 1.16.3, which is too old: 1.%d or newer is needed", old, apiVersion),
		short: fmt.Sprintf("%s is ONNX Runtime 1.40.0, but does not offer version %d of its interface", short, apiVersion),
	} {
		if _, err := probe(path); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

// fakeVariable names the library that a process of TestStartFails starts.
const fakeVariable = "DNNSPLIT_TEST_FAKE_ORT"

// A library that fails while it starts is refused, whichever of its calls fails
// first. Each is tried in a process of its own: one can have one library only.
func TestStartFails(t *testing.T) {
	if path := os.Getenv(fakeVariable); path != "" {
		e, err := probe(path)
		if err == nil {
			err = e.start(path)
		}
		fmt.Println("start:", err)
		return
	}
	library := fake(t, "1.40.0", 40)
	var said strings.Builder
	for works := range 5 {
		c := exec.Command(os.Args[0], "-test.run=^TestStartFails$")
		c.Env = append(os.Environ(), fakeVariable+"="+library, fmt.Sprint("FAKE_WORKS=", works))
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("after %d calls: %v: %s", works, err, out)
		}
		line, _, _ := strings.Cut(string(out), "\n")
		said.WriteString(line + "\n")
	}
	for _, want := range []string{
		"start: " + library + ": ONNX Runtime does not start: ",
		"start: " + library + ": ONNX Runtime's telemetry cannot be switched off: ",
	} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("%q is not in\n%s", want, said.String())
		}
	}
}

func TestMinor(t *testing.T) {
	for version, want := range map[string]int{"1.30.0": 30, "1.9.1": 9, "2.0.0": apiVersion, "1.24.0-dev": 24} {
		if got, ok := minor(version); !ok || got != want {
			t.Errorf("minor(%q) = %d, %v, want %d", version, got, ok, want)
		}
	}
	for _, version := range []string{"", "1", "x.y", "0.5.0"} {
		if _, ok := minor(version); ok {
			t.Errorf("minor(%q) is ok", version)
		}
	}
}

func TestOpenTwice(t *testing.T) {
	first := openORT(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			again, err := OpenORT("")
			if err != nil || again.Name() != first.Name() {
				t.Errorf("opened again: %v, %v", again, err)
			}
		})
	}
	wg.Wait()
	other := filepath.Join(t.TempDir(), "libonnxruntime.so.1")
	if err := os.WriteFile(other, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenORT(other); err == nil || !strings.Contains(err.Error(), "another ONNX Runtime is in use already") {
		t.Errorf("another library: %v", err)
	}
}
