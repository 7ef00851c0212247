package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/corpus"
	"github.com/dnnsplit/dnnsplit/compiler/rusage"
	"github.com/dnnsplit/dnnsplit/frontend"
)

// Bounds that every hostile file is held to.
const (
	hostileTime  = 20 * time.Second
	hostileBytes = 512 << 20 // of memory, at the peak
)

// expectation is an entry of EXPECTED.json: "reject", "accept" or "either".
type expectation struct {
	Expect string `json:"expect"`
	Why    string `json:"why"`
}

// hostile cuts every file that EXPECTED.json in dir lists, each in a process of
// its own, and holds what happens against it, time and memory included. It fails
// if anything differs.
func hostile(ctx context.Context, dir string, verbose bool) error {
	text, err := os.ReadFile(filepath.Join(dir, "EXPECTED.json"))
	if errors.Is(err, os.ErrNotExist) {
		text, err = os.ReadFile(filepath.Join(dir, "MANIFEST.json"))
	}
	if err != nil {
		return err
	}
	want := map[string]expectation{}
	if err := json.Unmarshal(text, &want); err != nil {
		return fmt.Errorf("what is expected of the files: %w", err)
	}
	var names []string
	for name := range want {
		names = append(names, name)
	}
	slices.Sort(names)
	counts := map[string]int{}
	var slowest time.Duration
	var largest int64
	bad := 0
	for _, name := range names {
		r := child(ctx, filepath.Join(dir, name))
		if ctx.Err() != nil {
			return ctx.Err()
		}
		fault := r.against(want[name])
		if fault != "" {
			bad++
		}
		counts[want[name].Expect+" "+r.outcome]++
		slowest, largest = max(slowest, r.took), max(largest, r.bytes)
		if verbose || fault != "" {
			fmt.Printf("%-5s %-7s want %-7s %6d ms %5d MB  %s  %s\n", fault, r.outcome, want[name].Expect, r.took.Milliseconds(), r.bytes>>20, name, r.said)
		}
	}
	fmt.Printf("%d files; slowest %v, largest %d MB\n", len(names), slowest.Round(time.Millisecond), largest>>20)
	var keys []string
	for k := range counts {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		expect, outcome, _ := strings.Cut(k, " ")
		fmt.Printf("  expected %-7s %-8s %4d\n", expect, outcome, counts[k])
	}
	if bad > 0 {
		return fmt.Errorf("%d files are not treated as they should be", bad)
	}
	return nil
}

// result is what came of one file.
type result struct {
	outcome string // "accept", "reject", "hang" or "panic"
	said    string // the message
	took    time.Duration
	bytes   int64
}

// against is "" if the result is as expected, else what kind of fault it is.
func (r result) against(e expectation) string {
	switch {
	case r.outcome == "panic" || r.outcome == "hang":
		return strings.ToUpper(r.outcome)
	case r.took > hostileTime:
		return "SLOW"
	case r.bytes > hostileBytes:
		return "FAT"
	case r.outcome == "reject" && strings.Contains(r.said, "internal error"):
		return "BUG"
	case r.outcome == "reject" && (r.said == "" || strings.Contains(strings.TrimSpace(r.said), "\ngoroutine ")):
		return "MUTE"
	case e.Expect != "either" && e.Expect != r.outcome:
		return "DIFF"
	}
	return ""
}

// child cuts one file in another process.
func child(ctx context.Context, file string) result {
	self, err := os.Executable()
	if err != nil {
		return result{outcome: "panic", said: err.Error()}
	}
	ctx, cancel := context.WithTimeout(ctx, 2*hostileTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "-cut-one", file)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	start := time.Now()
	err = cmd.Run()
	r := result{took: time.Since(start), said: strings.TrimSpace(strings.ReplaceAll(said.String(), file, "MODEL"))}
	r.bytes, _ = strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
	var exit *exec.ExitError
	switch {
	case err == nil:
		r.outcome = "accept"
	case ctx.Err() != nil:
		r.outcome = "hang"
	case errors.As(err, &exit) && exit.ExitCode() == 1 && r.bytes > 0:
		r.outcome = "reject"
	default:
		r.outcome = "panic"
	}
	return r
}

// cutOne is what the other process does: it cuts the file and prints the memory
// that this took.
func cutOne(ctx context.Context, file string) error {
	dir, err := os.MkdirTemp("", "dnnsplit-hostile-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	_, err = corpus.CutModel(ctx, file, filepath.Join(dir, "out"), corpus.Shatter, 1, frontend.Options{})
	fmt.Println(rusage.PeakMemory())
	return err
}

// hostileFlags adds the options of this file.
func hostileFlags() (dir, one *string) {
	return flag.String("hostile", "", "cut the bad files of this `folder` instead, and compare with its EXPECTED.json"),
		flag.String("cut-one", "", "cut this `file` and print the memory that it took; what -hostile runs")
}
