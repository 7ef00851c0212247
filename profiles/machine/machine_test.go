package machine

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/dnnsplit/dnnsplit/backend/runtime/runtimetest"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles"
)

func TestClean(t *testing.T) {
	for host, want := range map[string]string{
		"pi.local": "pi", "My_Laptop 2": "my-laptop-2", "": "this-machine", "--": "this-machine", "42": "host-42", "1e3": "host-1e3",
		"On": "host-on", "ÄÖ": "this-machine", strings.Repeat("x", 100): strings.Repeat("x", 63),
	} {
		if got := clean(host); got != want {
			t.Errorf("host %q becomes %q, want %q", host, got, want)
		}
	}
}

func TestFacts(t *testing.T) {
	if got := memTotal([]byte("MemFree:  1 kB\nMemTotal:       8048576 kB\n")); got != 8048576<<10 {
		t.Errorf("memory %d", got)
	}
	if got := memTotal([]byte("MemTotal: lots\n")); got != 0 {
		t.Errorf("memory %d", got)
	}
	if got := modelName([]byte("processor\t: 0\nmodel name\t: ACME\x1b[31m  9000\n")); got != "ACME [31m 9000" {
		t.Errorf("model %q", got)
	}
}

// What is measured makes a profile that loads, with and without ONNX Runtime.
func TestProfile(t *testing.T) {
	for _, library := range []string{"", "/nowhere"} {
		m, note, err := Measure(context.Background(), Options{Library: library, Budget: 5 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		if library != "" && (note == "" || m.Vector) {
			t.Errorf("without ONNX Runtime: note %q, %+v", note, m)
		}
		if library == "" && runtimetest.Required() && (note != "" || len(m.Peaks) != 2) {
			t.Errorf("with ONNX Runtime: note %q, %+v", note, m)
		}
		if m.MemoryBytes < 1<<20 {
			m.MemoryBytes = 1 << 30
		}
		text := m.Profile("here", time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC))
		f, err := profiles.LoadFS(fstest.MapFS{"here.yaml": {Data: []byte(text)}}, ".")
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		p := &f.Processors[0]
		if rate, ok := p.PeakFor(ir.Float32); !ok || rate <= 0 || p.MemoryBytesPerSecond <= 0 || f.Platform.Processors[0].Launch <= 0 {
			t.Errorf("profile %+v", p)
		}
		if !strings.Contains(p.Source, "2026-01-02") || !strings.Contains(p.Source, m.Engine) {
			t.Errorf("source: %s", p.Source)
		}
	}
}

func TestCancel(t *testing.T) {
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if _, _, err := Measure(ctx, Options{Budget: time.Millisecond}); err == nil {
		t.Error("a measurement goes on after it was called off")
	}
}
