package machine

import (
	"bufio"
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// memory is how many bytes of memory there are for this process, 0 if that cannot
// be found out: the machine's, or less where a control group limits it.
func memory() int64 {
	switch runtime.GOOS {
	case "linux":
		total := int64(0)
		if data, err := os.ReadFile("/proc/meminfo"); err == nil {
			total = memTotal(data)
		}
		for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
			data, err := os.ReadFile(file)
			if err != nil {
				continue
			}
			if n, err := strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err == nil && n > 0 && (total == 0 || n < total) {
				total = n
			}
		}
		return total
	case "darwin":
		return number(ask("sysctl", "-n", "hw.memsize"))
	case "windows":
		return number(ask("powershell", "-NoProfile", "-Command", "(Get-CimInstance Win32_ComputerSystem).TotalPhysicalMemory"))
	}
	return 0
}

// memTotal reads the line "MemTotal: 16384 kB".
func memTotal(meminfo []byte) int64 {
	s := bufio.NewScanner(bytes.NewReader(meminfo))
	for s.Scan() {
		if f := strings.Fields(s.Text()); len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			return number(f[1]) << 10
		}
	}
	return 0
}

func number(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 53)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// cpuModel is what the processor calls itself.
func cpuModel() string {
	switch runtime.GOOS {
	case "linux":
		data, err := os.ReadFile("/proc/cpuinfo")
		if err != nil {
			return ""
		}
		if model := modelName(data); model != "" {
			return model
		}
		if tree, err := os.ReadFile("/proc/device-tree/model"); err == nil {
			return printable(strings.TrimRight(string(tree), "\x00\n"))
		}
	case "darwin":
		return printable(ask("sysctl", "-n", "machdep.cpu.brand_string"))
	case "windows":
		return printable(os.Getenv("PROCESSOR_IDENTIFIER"))
	}
	return ""
}

// modelName reads the first of the lines "model name : ..." and "Model : ...".
func modelName(cpuinfo []byte) string {
	s := bufio.NewScanner(bytes.NewReader(cpuinfo))
	for s.Scan() {
		key, value, ok := strings.Cut(s.Text(), ":")
		if k := strings.TrimSpace(key); ok && (k == "model name" || k == "Model") {
			return printable(value)
		}
	}
	return ""
}

// printable is text in one line, spaces joined.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	return strings.Join(strings.Fields(s), " ")
}

// ask runs a command and returns the first line that it prints, "" if it fails.
func ask(command string, args ...string) string {
	ctx, stop := context.WithTimeout(context.Background(), 5*time.Second)
	defer stop()
	out, err := exec.CommandContext(ctx, command, args...).Output()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return strings.TrimSpace(line)
}
