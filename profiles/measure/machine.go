package measure

import (
	"bytes"
	"os"
	goruntime "runtime"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
)

// machine describes what is measured with: measurements of different machines or
// settings do not mix in a file.
func machine(eng runtime.Engine, o *Options) map[string]string {
	provider := o.Provider
	if provider == "" {
		provider = "CPUExecutionProvider"
	}
	m := map[string]string{
		"runtime":      eng.Name(),
		"provider":     provider,
		"threads":      strconv.Itoa(o.threads()),
		"optimization": o.Optimization.String(),
		"system":       goruntime.GOOS + "/" + goruntime.GOARCH,
	}
	if cpu := cpuModel(); cpu != "" {
		m["cpu"] = cpu
	}
	return m
}

// cpuModel is the name of the CPU as Linux knows it; "" where it does not.
func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(text) {
		key, value, ok := strings.Cut(string(line), ":")
		if ok && strings.TrimSpace(key) == "model name" {
			return strings.ToValidUTF8(strings.TrimSpace(value), "?")
		}
	}
	return ""
}
