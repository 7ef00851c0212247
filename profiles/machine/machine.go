// Package machine finds out what this machine is and how fast: memory, cores, and
// by short measurements the rates that a device profile needs.
package machine

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	rt "github.com/dnnsplit/dnnsplit/backend/runtime"
)

// Machine is what was found out. Rates are per second.
type Machine struct {
	Name        string // of the host, as device profiles may call it
	CPU         string // its model; "" if unknown
	OS, Arch    string
	Cores       int   // that this process may use
	MemoryBytes int64 // 0 if unknown

	MemoryBytesPerSecond float64 // copying between large buffers, read and written
	Engine               string  // what operations were measured with
	Peaks                []Peak
	OpOverhead           time.Duration
	Launch               time.Duration
	Vector               bool // the engine uses vector instructions, as runtimes do
}

// Peak is the rate that a matrix product achieves on an element type.
type Peak struct {
	Elem         string
	OpsPerSecond float64
	How          string
}

// Options steer a measurement.
type Options struct {
	Library  string        // ONNX Runtime's; "": where it is usually found
	Budget   time.Duration // for each of the rates; 0: 300 ms
	Progress func(what string)
}

// Measure finds out about this machine. Where ONNX Runtime cannot be loaded, rates
// are those of products in Go, and note says so and why.
func Measure(ctx context.Context, o Options) (m *Machine, note string, err error) {
	if o.Budget <= 0 {
		o.Budget = 300 * time.Millisecond
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	m = &Machine{
		Name: name(), CPU: cpuModel(), OS: runtime.GOOS, Arch: runtime.GOARCH,
		Cores: runtime.GOMAXPROCS(0), MemoryBytes: memory(),
	}
	o.Progress("memory")
	m.MemoryBytesPerSecond = copyRate(m.Cores, o.Budget)
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	engine, err := rt.OpenORT(o.Library)
	if err == nil {
		err = m.withEngine(ctx, engine, o)
		if err == nil {
			return m, "", nil
		}
		if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
	}
	o.Progress("arithmetic")
	m.Engine, m.Vector = "gonum in Go", false
	m.Peaks = []Peak{{"float32", productRate(o.Budget), "a product of square matrices with gonum"}}
	m.OpOverhead, m.Launch = 5*time.Microsecond, 50*time.Microsecond
	return m, fmt.Sprintf("ONNX Runtime was not used (%v): arithmetic is that of Go code, which is slower than runtimes are; op_overhead and launch are guesses", err), ctx.Err()
}

// name is the host's name without its domain, in the characters that names of
// devices may have.
func name() string {
	host, err := os.Hostname()
	if err != nil {
		return "this-machine"
	}
	return clean(host)
}

func clean(host string) string {
	host, _, _ = strings.Cut(host, ".")
	var b strings.Builder
	for _, c := range strings.ToLower(host) {
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			b.WriteRune(c)
		case b.Len() > 0 && (c == '-' || c == '_' || c == ' '):
			b.WriteByte('-')
		}
	}
	text := b.String()
	text = strings.TrimRight(text[:min(len(text), 63)], "-")
	switch _, err := strconv.ParseFloat(text, 64); {
	case text == "":
		return "this-machine"
	case err == nil || text == "true" || text == "false" || text == "null" || text == "yes" || text == "no" || text == "on" || text == "off":
		return "host-" + text // YAML would read it as something else
	}
	return text
}
