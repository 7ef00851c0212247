package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	ort "github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/compiler/rusage"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// bigBytes bounds the peak memory of a split, however large the weights.
const bigBytes = 300 << 20

// bigFlags adds the options of this file.
func bigFlags() (size, cut *string) {
	return flag.String("big", "", "make a model with this `size` of weights (as 3GiB) instead, cut it, verify it, and print peak memory"),
		flag.String("cut-as", "", "with -cut-one: the cut, and keep the result in the folder beside the file")
}

// big cuts a model of that many bytes of weights, half of them external and half
// in the file, in one piece and in thirds, and verifies both. The cut
// runs in a process of its own, whose peak memory is held against bigBytes.
func big(ctx context.Context, size string) error {
	work, err := os.MkdirTemp("", "dnnsplit-big-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	m, err := onnxtest.Named("mixed="+size, 1)
	if err != nil {
		return err
	}
	model := filepath.Join(work, "big.onnx")
	start := time.Now()
	if err := m.WriteFile(model); err != nil {
		return err
	}
	fmt.Printf("made a model with %s of weights in %v\n", size, time.Since(start).Round(time.Millisecond))
	bad := 0
	for _, cut := range []corpus.Cut{corpus.Whole, corpus.Thirds} {
		start = time.Now()
		peak, err := cutApart(ctx, model, cut)
		if err != nil {
			return fmt.Errorf("%s: %w", cut, err)
		}
		took := time.Since(start)
		dir := bundleOf(model)
		files, err := sizes(dir)
		if err != nil {
			return err
		}
		rep, err := verify.Run(ctx, verify.Options{Bundle: dir, Model: model, Levels: []ort.Level{}})
		if err != nil {
			return fmt.Errorf("%s: %w", cut, err)
		}
		verdict := "equal"
		switch {
		case !rep.Equal:
			verdict = "WRONG"
		case !rep.Conclusive:
			verdict = "INCONCLUSIVE"
		case peak > bigBytes:
			verdict = "FAT"
		}
		if verdict != "equal" {
			bad++
		}
		fmt.Printf("%-8s %-8s split in %v, peak memory %d MB; %s\n", cut, verdict, took.Round(time.Millisecond), peak>>20, files)
		if err := os.RemoveAll(dir); err != nil {
			return err
		}
	}
	if bad > 0 {
		return fmt.Errorf("%d cuts are not as they should be", bad)
	}
	return nil
}

func bundleOf(model string) string { return model + ".cut" }

// cutApart cuts a model in another process and returns its peak memory.
func cutApart(ctx context.Context, model string, cut corpus.Cut) (int64, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, self, "-cut-one", model, "-cut-as", string(cut))
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
}

// cutAs is what the other process does.
func cutAs(ctx context.Context, model, cut string) error {
	_, err := corpus.CutModel(ctx, model, bundleOf(model), corpus.Cut(cut), 1, frontend.Options{})
	fmt.Println(rusage.PeakMemory())
	return err
}

// sizes lists the files of a bundle that hold models and weights.
func sizes(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	var list []string
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return "", err
		}
		if ext := filepath.Ext(e.Name()); ext == ".onnx" || ext == ".data" {
			list = append(list, fmt.Sprintf("%s %d MB", e.Name(), info.Size()>>20))
		}
	}
	return strings.Join(list, ", "), nil
}
