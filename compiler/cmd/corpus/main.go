// Command corpus splits and verifies every model of a folder: over a fleet, with
// several sub-models per processor, and over fleets whose memory forces two,
// three and five processors. It prints one row a split and fails if any split
// fails or computes something else than the whole model.
package main

import (
	"context"
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
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "corpus:", err)
		os.Exit(1)
	}
}

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
		for _, t := range corpus.Trials() {
			out, err := corpus.Split(ctx, model, *devices, work, t)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			text := ""
			if err == nil {
				text, err = row(out)
			}
			done++
			if err != nil {
				failed++
				text = "-\t-\t-\t-\t-\t-\tFAILED: " + strings.ReplaceAll(err.Error(), "\n", "; ")
			}
			fmt.Fprintf(w, "%s\t%s\t%s\n", name, t.Name, text)
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

// row is what the table says of a trial; an error if the split is wrong.
func row(out *corpus.Outcome) (string, error) {
	verdict := "bit-equal"
	switch {
	case !out.Report.Equal:
		return "", errors.New("the split computes something else: " + difference(out.Report))
	case !out.Report.Conclusive:
		verdict = "bit-equal, but no output depends on the inputs"
	}
	best := "-"
	if out.BestSingle > 0 {
		best = fmt.Sprintf("%.3f", out.BestSingle.Us()/1000)
	}
	return fmt.Sprintf("%d\t%d\t%d\t%d\t%.3f\t%s\t%s", out.Nodes, out.Processors, out.Submodels, out.Edges, out.Latency.Us()/1000, best, verdict), nil
}

// difference says in a line what a report found.
func difference(r *verify.Report) string {
	var parts []string
	parts = append(parts, r.Problems...)
	for _, l := range r.Levels[:1] {
		for _, o := range l.Outputs {
			if !o.BitEqual {
				parts = append(parts, fmt.Sprintf("output %q: %d elements differ, by %.3g at most", o.Tensor, o.Diff.Differing, o.Diff.MaxAbs))
			}
		}
	}
	if c := r.FirstDifference; c != nil {
		parts = append(parts, "first in sub-model "+c.Submodel+", tensor "+c.Tensor)
	}
	return strings.Join(parts, "; ")
}
