package machine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// Profile is a commented device profile (dnnsplit/device/v1) of the machine, with
// one processor for its cores. The machine's memory must be known.
func (m *Machine) Profile(name string, now time.Time) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	cpu := m.CPU
	if cpu == "" {
		cpu = m.Arch
	}
	line("# %s: %s, %d %s, %s.", name, cpu, m.Cores, word(m.Cores, "core", "cores"), m.OS)
	line("# Rates are what was achieved here, which is what predictions need, not peaks of a data")
	line("# sheet. Measured costs of a model's own operations are better still: see")
	line("# `dnnsplit profile --help`, and name the file under costs.")
	line("schema: dnnsplit/device/v1")
	line("name: %s  # how --pin, --source and fleet.yaml call it", name)
	line("memory: %s  # of this machine; leave less if other programs need some", profiles.FormatBytes(m.MemoryBytes>>20<<20))
	line("processors:")
	line("  - name: cpu")
	line("    kind: cpu")
	line("    provider: CPUExecutionProvider   # of ONNX Runtime, for the manifest")
	line("    peak:")
	for _, p := range m.Peaks {
		rate := profiles.FormatFLOPRate(digits(p.OpsPerSecond))
		if p.Elem == "int8" {
			rate = profiles.FormatOPRate(digits(p.OpsPerSecond))
		}
		line("      %s: %s  # %s, %d %s", p.Elem, rate, p.How, m.Cores, word(m.Cores, "thread", "threads"))
	}
	line("    memory_bandwidth: %s  # copying between large buffers on all cores, bytes read and written", profiles.FormatDataRate(digits(m.MemoryBytesPerSecond)))
	over, launch := "one more node of one element in a model", "a run of a model of one such node"
	if !m.Vector {
		over, launch = "a guess", "a guess"
	}
	line("    op_overhead: %s  # %s", profiles.FormatTime(span(m.OpOverhead)), over)
	line("    launch: %s  # %s", profiles.FormatTime(span(m.Launch)), launch)
	line("    # upload and download are left out: the processor works in host memory.")
	line("    # unsupported: [\"com.microsoft::*\"]")
	line("    # costs: [%s.costs.json]", name)
	line("  # - name: gpu              # another processor of this machine, for example")
	line("  #   kind: gpu")
	line("  #   provider: CUDAExecutionProvider")
	line("  #   memory: 8GiB           # its own")
	line("  #   peak: {float32: 10TFLOP/s, float16: 20TFLOP/s}")
	line("  #   memory_bandwidth: 400GB/s")
	line("  #   op_overhead: 10us")
	line("  #   launch: 30us")
	line("  #   upload: {latency: 10us, bandwidth: 12GB/s}")
	line("  #   download: {latency: 10us, bandwidth: 12GB/s}")
	line("source: %s", strconv.Quote(fmt.Sprintf("measured by dnnsplit devices init on %s: arithmetic with %s, memory by copying in Go", now.Format(time.DateOnly), m.Engine)))
	return b.String()
}

func word(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// digits keeps three significant digits; a repetition differs in the second.
func digits(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 2, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// span is a time in tenths of a microsecond.
func span(d time.Duration) ir.Time {
	return ir.Micros(float64(d.Round(100*time.Nanosecond)) / float64(time.Microsecond))
}
