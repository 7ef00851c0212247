package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// storage is where weights are: in the source, and in the sub-models. The two
// sub-models have about half of the weights each.
type storage struct {
	source, submodels string // "embedded" or "external"
}

// largestEmbedded leaves room for the structure below the 2 GiB of protobuf.
const largestEmbedded = 2_100_000_000

// can says whether files below 2 GiB hold that many bytes of weights.
func (s storage) can(bytes int64) bool {
	return (s.source == "external" || bytes <= largestEmbedded) && (s.submodels == "external" || bytes/2 <= largestEmbedded)
}

// parseBytes reads a number with MB or GB behind it.
func parseBytes(text string) (int64, error) {
	for _, u := range []struct {
		name   string
		factor float64
	}{{"MB", 1e6}, {"GB", 1e9}} {
		if number, ok := strings.CutSuffix(text, u.name); ok {
			n, err := strconv.ParseFloat(number, 64)
			return int64(n * u.factor), err
		}
	}
	return 0, fmt.Errorf("%q is no size such as 100MB or 4GB", text)
}

// weights prints the table of splits beside copies.
func (b *bench) weights(sizes string) error {
	fmt.Printf("%-8s %-9s %-10s %7s %10s %8s %7s %6s %11s %14s\n",
		"weights", "in source", "sub-models", "cp s", "cp+sync s", "split s", "goal s", "", "memory MiB", "extract_model")
	for _, text := range strings.Split(sizes, ",") {
		if text == "" {
			continue
		}
		size, err := parseBytes(text)
		if err != nil {
			return err
		}
		for _, source := range []string{"embedded", "external"} {
			kinds := []storage{{source, "embedded"}, {source, "external"}}
			if !slices.ContainsFunc(kinds, func(s storage) bool { return s.can(size) }) {
				fmt.Printf("%-8s %-9s one ONNX file ends at 2 GiB; with external data each sub-model can still be one file below\n", text, source)
				continue
			}
			if err := b.model(text, size, source, kinds); err != nil {
				return err
			}
		}
	}
	fmt.Println("goal: 1.3 times cp and one second. The split flushes its files to disk and hashes what it reads and writes, cp does neither.")
	fmt.Println("memory is the largest resident memory of the split. extract_model: time and memory of Python's onnx.utils for the same two")
	fmt.Println("sub-models; it is not tried where the model exceeds the 2 GiB of one protobuf message.")
	return nil
}

// model makes a model and splits it into sub-models of each kind that there can be.
func (b *bench) model(text string, size int64, source string, kinds []storage) error {
	dir := filepath.Join(b.folder, "model")
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := onnxtest.Weights(1, size)
	names := []string{filepath.Join(dir, "m.onnx")}
	if source == "external" {
		m.External(onnxtest.External{Location: "w.bin", MinBytes: 1024, Align: 4096})
		names = append(names, filepath.Join(dir, "w.bin"))
	}
	if err := m.WriteFile(names[0]); err != nil {
		return err
	}
	python := "-"
	switch {
	case b.python != "" && size > largestEmbedded:
		python = "not tried" // it holds several copies of the model in memory and in one message of protobuf
	case b.python != "":
		python = b.extract(names[0], dir)
	}
	for _, kind := range kinds {
		if !kind.can(size) {
			continue
		}
		if err := b.compare(text, kind, names, python); err != nil {
			return err
		}
		python = "" // the same for the other kind
	}
	return nil
}

// compare prints one row: medians of runs that take turns.
func (b *bench) compare(text string, kind storage, names []string, python string) error {
	var cp, synced, split, memory []float64
	for range b.runs {
		copied := filepath.Join(b.folder, "copy")
		if err := os.Mkdir(copied, 0o777); err != nil {
			return err
		}
		c, _, err := b.time("cp", append(slices.Clone(names), copied)...)
		if err != nil {
			return err
		}
		s, _, err := b.timeNow("sync", copied, filepath.Join(copied, filepath.Base(names[len(names)-1])))
		if err != nil {
			return err
		}
		if err := os.RemoveAll(copied); err != nil {
			return err
		}
		out := filepath.Join(b.folder, "out")
		d, says, err := b.time(b.program, names[0], "--devices", b.devices, "-o", out, "--quiet", "--timings", "--weights", kind.submodels,
			"--pin", "^t0="+b.firstDevice, "--pin", "^t1="+b.secondDevice)
		if err != nil {
			return err
		}
		_, peak, err := parseTimings(says)
		if err != nil {
			return err
		}
		if err := os.RemoveAll(out); err != nil {
			return err
		}
		cp, synced, split, memory = append(cp, c), append(synced, c+s), append(split, d), append(memory, peak)
	}
	goal, verdict := 1.3*median(cp)+1, "met"
	if median(split) > goal {
		verdict = "missed"
	}
	fmt.Printf("%-8s %-9s %-10s %7.2f %10.2f %8.2f %7.2f %6s %11.0f %14s\n", text, kind.source, kind.submodels, median(cp), median(synced), median(split),
		goal, verdict, median(memory), python)
	return nil
}

func median(list []float64) float64 {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// extract cuts the model into its two towers with onnx.utils.extract_model, and
// says how long that takes and how much memory.
func (b *bench) extract(model, dir string) string {
	script := `import onnx, onnx.utils, resource, sys
model, folder = sys.argv[1:]
names = [o for n in onnx.load(model, load_external_data=False).graph.node for o in n.output]
for t in ("t0.", "t1."):
    last = [o for o in names if o.startswith(t)][-1]
    onnx.utils.extract_model(model, folder + "/" + t + "onnx", ["x"], [last])
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
`
	s, says, err := b.time(b.python, "-c", script, model, dir)
	for _, t := range []string{"t0.onnx", "t1.onnx"} {
		err = errors.Join(err, ignoreMissing(os.Remove(filepath.Join(dir, t))))
	}
	if err != nil {
		if strings.Contains(err.Error(), "No module named 'onnx'") {
			return "not installed"
		}
		lines := strings.Split(strings.TrimSpace(err.Error()), "\n")
		fmt.Fprintln(os.Stderr, "extract_model fails:", lines[len(lines)-1])
		return "fails"
	}
	text := fmt.Sprintf("%.2f s", s)
	for _, line := range strings.Split(says, "\n") {
		if kib, ok := strings.CutPrefix(line, "peak "); ok {
			if n, err := strconv.ParseFloat(kib, 64); err == nil {
				text += fmt.Sprintf(" %.0f MiB", n/1024)
			}
		}
	}
	return text
}

func ignoreMissing(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
