// Command benchspeed measures what a split costs beside a copy of the same bytes,
// and how long the stages take for models of many nodes:
//
//	go run ./compiler/cmd/benchspeed -dnnsplit bin/dnnsplit [-sizes 100MB,1GB,4GB] [-nodes 1000,10000,50000]
//
// Models are made on the spot, in a temporary folder that is removed at the end.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

type bench struct {
	ctx                       context.Context
	program, devices, python  string
	folder                    string
	runs                      int
	pause                     time.Duration
	firstDevice, secondDevice string
}

func main() {
	b := &bench{}
	flag.StringVar(&b.program, "dnnsplit", "bin/dnnsplit", "the program to measure")
	flag.StringVar(&b.devices, "devices", "profiles", "folder of device profiles")
	flag.StringVar(&b.python, "python", "", "a Python with the package onnx, to cut the same models with onnx.utils.extract_model")
	flag.StringVar(&b.folder, "dir", "", "folder for models and bundles (default: a temporary one)")
	flag.IntVar(&b.runs, "runs", 3, "runs of each; the median is shown")
	flag.DurationVar(&b.pause, "pause", time.Second, "pause before each run")
	flag.StringVar(&b.firstDevice, "first", "edge-server.gpu", "processor of the first half")
	flag.StringVar(&b.secondDevice, "second", "jetson-orin-nano.gpu", "processor of the second half")
	sizes := flag.String("sizes", "100MB,1GB,4GB", "bytes of weights")
	nodes := flag.String("nodes", "1000,10000,50000", "numbers of nodes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	b.ctx = ctx
	err := b.run(*sizes, *nodes)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchspeed:", err)
		os.Exit(1)
	}
}

func (b *bench) run(sizes, nodes string) error {
	dir, err := os.MkdirTemp(b.folder, "benchspeed-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	b.folder = dir
	b.program, err = filepath.Abs(b.program)
	if err != nil {
		return err
	}
	if err := b.weights(sizes); err != nil {
		return err
	}
	return b.stages(nodes)
}

// parseBytes reads a number with MB or GB behind it.
func parseBytes(text string) (int64, error) {
	for unit, factor := range map[string]int64{"MB": 1e6, "GB": 1e9} {
		if number, ok := strings.CutSuffix(text, unit); ok {
			n, err := strconv.ParseFloat(number, 64)
			return int64(n * float64(factor)), err
		}
	}
	return 0, fmt.Errorf("%q is no size such as 100MB or 4GB", text)
}

// largestEmbedded leaves room for the structure below the 2 GiB of protobuf.
const largestEmbedded = 2_100_000_000

// weights prints the table of splits beside copies.
func (b *bench) weights(sizes string) error {
	fmt.Printf("%-8s %-9s %8s %12s %8s %7s %10s %12s\n", "weights", "stored", "cp s", "cp + sync s", "split s", "goal s", "memory MiB", "Python s")
	for _, text := range strings.Split(sizes, ",") {
		if text == "" {
			continue
		}
		size, err := parseBytes(text)
		if err != nil {
			return err
		}
		for _, stored := range []string{"embedded", "external"} {
			if stored == "embedded" && size > largestEmbedded {
				fmt.Printf("%-8s %-9s an ONNX file ends at 2 GiB\n", text, stored)
				continue
			}
			if err := b.weight(text, stored, size); err != nil {
				return err
			}
		}
	}
	fmt.Println("goal: 1.3 times the copy and one second. The split flushes its files to disk, cp alone does not.")
	return nil
}

func (b *bench) weight(text, stored string, size int64) error {
	dir := filepath.Join(b.folder, "model")
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	m := onnxtest.Weights(1, size)
	if stored == "external" {
		m.External(onnxtest.External{Location: "w.bin", MinBytes: 1024, Align: 4096})
	}
	model := filepath.Join(dir, "m.onnx")
	if err := m.WriteFile(model); err != nil {
		return err
	}
	names := []string{model}
	if stored == "external" {
		names = append(names, filepath.Join(dir, "w.bin"))
	}
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
		d, says, err := b.time(b.program, model, "--devices", b.devices, "-o", out, "--quiet", "--timings",
			"--pin", "^t0="+b.firstDevice, "--pin", "^t1="+b.secondDevice)
		if err != nil {
			return err
		}
		peak, err := peakMemory(says)
		if err != nil {
			return err
		}
		if err := os.RemoveAll(out); err != nil {
			return err
		}
		cp, synced, split, memory = append(cp, c), append(synced, c+s), append(split, d), append(memory, peak)
	}
	python := "-"
	if b.python != "" {
		if s, err := b.extract(model, dir); err != nil {
			python = "fails"
		} else {
			python = fmt.Sprintf("%.2f", s)
		}
	}
	fmt.Printf("%-8s %-9s %8.2f %12.2f %8.2f %7.2f %10.0f %12s\n", text, stored, median(cp), median(synced), median(split),
		1.3*median(cp)+1, median(memory), python)
	return nil
}

func median(list []float64) float64 {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

// extract cuts the model into its two towers with onnx.utils.extract_model.
func (b *bench) extract(model, dir string) (float64, error) {
	script := `import onnx, onnx.utils, sys
model, folder = sys.argv[1:]
names = [o for n in onnx.load(model, load_external_data=False).graph.node for o in n.output]
for t in ("t0.", "t1."):
    last = [o for o in names if o.startswith(t)][-1]
    onnx.utils.extract_model(model, folder + "/" + t + "onnx", ["x"], [last])
`
	s, _, err := b.time(b.python, "-c", script, model, dir)
	return s, err
}

// time runs a program after a pause and returns seconds and what it says on
// standard error.
func (b *bench) time(name string, args ...string) (seconds float64, says string, err error) {
	select {
	case <-b.ctx.Done():
		return 0, "", b.ctx.Err()
	case <-time.After(b.pause):
	}
	return b.timeNow(name, args...)
}

func (b *bench) timeNow(name string, args ...string) (seconds float64, says string, err error) {
	cmd := exec.CommandContext(b.ctx, name, args...)
	var stderr strings.Builder
	cmd.Stdout, cmd.Stderr = io.Discard, &stderr
	start := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, "", errors.Join(fmt.Errorf("%s: %w", name, err), errors.New(stderr.String()))
	}
	return time.Since(start).Seconds(), stderr.String(), nil
}

// peakMemory is the number of MiB in the last column of the total of --timings.
func peakMemory(timings string) (float64, error) {
	for _, line := range strings.Split(timings, "\n") {
		if f := strings.Fields(line); len(f) > 2 && f[0] == "total" && f[len(f)-1] == "MiB" {
			return strconv.ParseFloat(f[len(f)-2], 64)
		}
	}
	return 0, errors.New("the timings name no peak memory in MiB")
}

// stages prints what --timings says of models of many nodes.
func (b *bench) stages(nodes string) error {
	for _, text := range strings.Split(nodes, ",") {
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		model := filepath.Join(b.folder, "nodes.onnx")
		m, err := onnxtest.Named(fmt.Sprintf("random=%d", n), 1)
		if err != nil {
			return err
		}
		if err := m.WriteFile(model); err != nil {
			return err
		}
		out := filepath.Join(b.folder, "out")
		cmd := exec.CommandContext(b.ctx, b.program, model, "--devices", b.devices, "-o", out, "--quiet", "--timings")
		var says strings.Builder
		cmd.Stderr = &says
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("%d nodes: %w: %s", n, err, says.String())
		}
		fmt.Printf("\na random network of about %d nodes\n%s", n, says.String())
		if err := os.RemoveAll(out); err != nil {
			return err
		}
	}
	return nil
}
