// Command corpus splits and verifies every model of a folder: over a fleet, with
// several sub-models per processor, and over fleets whose memory forces two,
// three and five processors. It prints one row a split and fails if any split
// fails or computes something else than the whole model.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"

	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(1)
	}
}

// trial is one way to split a model.
type trial struct {
	name      string
	force     int // processors that memory shall force; 0: the fleet as it is
	submodels int
}

var trials = []trial{{"fleet", 0, 1}, {"memory 2", 2, 1}, {"memory 3", 3, 1}, {"memory 5", 5, 1}, {"submodels 3", 0, 3}}

func run(ctx context.Context) error {
	models := flag.String("models", "testdata/models", "folder of ONNX models")
	devices := flag.String("devices", "profiles", "folder of device profiles")
	only := flag.String("only", "", "regular expression: only models whose file name matches")
	flag.Parse()
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "dnnsplit-corpus-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	files, err := filepath.Glob(filepath.Join(*models, "*.onnx"))
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s holds no *.onnx", *models)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "model\ttrial\tnodes\tprocessors\tsub-models\tedges\tlatency ms\tbest single ms\tverified")
	done, failed := 0, 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".onnx")
		if !match.MatchString(name) {
			continue
		}
		model, err := fill(ctx, file, work)
		if err != nil {
			return err
		}
		for _, t := range trials {
			row, err := split(ctx, model, *devices, work, t)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			done++
			if err != nil {
				failed++
				row = "-\t-\t-\t-\t-\t-\tFAILED: " + strings.ReplaceAll(err.Error(), "\n", "; ")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", name, t.name, row)
		}
		w.Flush()
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d splits failed", failed, done)
	}
	fmt.Printf("%d splits, all equal to the whole model bit for bit\n", done)
	return nil
}

// fill gives models whose weights are all equal seeded random ones, by the
// script fill_light.py of the models' folder: such a model's output would not
// depend on its input.
func fill(ctx context.Context, file, work string) (string, error) {
	script := filepath.Join(filepath.Dir(file), "fill_light.py")
	if _, err := os.Stat(script); err != nil || !strings.HasPrefix(filepath.Base(file), "light_") {
		return file, nil
	}
	out := filepath.Join(work, filepath.Base(file))
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", script, file, out)
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", script, err, text)
	}
	return out, nil
}

// split compiles, writes and verifies one trial; the row says what came of it.
func split(ctx context.Context, model, devices, work string, t trial) (string, error) {
	o := compiler.Options{Model: model, Devices: devices, Output: filepath.Join(work, "out"), Submodels: t.submodels, SkipAuto: true, Force: true}
	shapes, err := hints(model)
	if err != nil {
		return "", err
	}
	o.Inputs = shapes
	if t.force > 0 {
		dir, err := tightFleet(ctx, o, work, t.force)
		if err != nil {
			return "", err
		}
		o.Devices = dir
	}
	r, err := compiler.Compile(ctx, o)
	if err != nil {
		return "", err
	}
	defer r.Close()
	if err := r.Write(ctx); err != nil {
		return "", err
	}
	defer os.RemoveAll(o.Output)
	used := map[ir.ProcID]bool{}
	for _, s := range r.Placement.Plan.Submodels {
		used[s.Processor] = true
	}
	best := "-"
	if t := bestOf(r.Placement.Single); t > 0 {
		best = fmt.Sprintf("%.3f", t.Us()/1000)
	}
	rep, err := verify.Run(ctx, verify.Options{Bundle: o.Output, Model: model})
	if err != nil {
		return "", err
	}
	verdict := "bit-equal"
	switch {
	case !rep.Equal:
		return "", errors.New("the split computes something else: " + rep.Text())
	case !rep.DependsOnInputs:
		verdict = "bit-equal, but no output depends on the inputs"
	}
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%.3f\t%s\t%s", len(r.Analysis.Nodes), len(used), len(r.Placement.Plan.Submodels),
		len(r.Bundle.Manifest.Edges), r.Placement.Plan.Latency.Us()/1000, best, verdict), nil
}

// bestOf is the least feasible latency; 0 if there is none.
func bestOf(list []ir.Baseline) ir.Time {
	best := ir.Time(0)
	for _, b := range list {
		if b.Feasible && (best == 0 || b.Latency < best) {
			best = b.Latency
		}
	}
	return best
}

// hints reads MODEL.hints.json: the input shapes that a model needs.
func hints(model string) (map[string][]int64, error) {
	text, err := os.ReadFile(model + ".hints.json")
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var h struct {
		Shapes map[string][]int64 `json:"shapes"`
	}
	return h.Shapes, json.Unmarshal(text, &h)
}
