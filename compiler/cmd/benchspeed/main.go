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
	"strings"
	"time"
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
