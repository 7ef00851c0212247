//go:build cgo && (linux || darwin)

package runtime

import (
	"os"
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
