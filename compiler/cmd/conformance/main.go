// Command conformance cuts every model of a tree in three ways, as far apart as
// its nodes allow, into thirds, and at random with replicas, and compares the parts bit for bit with the
// whole in ONNX Runtime, on the model's own test inputs where it has some. It
// prints a table of outcomes and every refusal, and fails if any result is wrong.
package main

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// outcome says what came of one cut of one model.
type outcome string

const (
	equal   outcome = "equal"   // bit for bit
	idle    outcome = "idle"    // equal, but no output depends on the inputs: only told with -trials of 2 and more
	unrun   outcome = "no run"  // ONNX Runtime does not run the whole model; the parts were written
	refused outcome = "refused" // dnnsplit says why it does not cut it
	wrong   outcome = "WRONG"
	panics  outcome = "PANIC"
)

var outcomes = []outcome{equal, idle, unrun, refused, wrong, panics}

func run(ctx context.Context) error {
	root := flag.String("models", "/usr/share/libonnx-testdata/data", "folder that is searched for *.onnx")
	only := flag.String("only", "", "regular expression: only models whose path matches")
	seed := flag.Uint64("seed", 1, "of the random cut")
	trials := flag.Int("trials", 1, "sets of inputs to compare on, for models that bring none")
	verbose := flag.Bool("v", false, "print every outcome")
	hostileDir, one := hostileFlags()
	bigSize, as := bigFlags()
	flag.Parse()
	switch {
	case *one != "" && *as != "":
		return cutAs(ctx, *one, *as)
	case *bigSize != "":
		return big(ctx, *bigSize)
	case *one != "":
		return cutOne(ctx, *one)
	case *hostileDir != "":
		return hostile(ctx, *hostileDir, *verbose)
	}
	match, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	var models []string
	err = filepath.WalkDir(*root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".onnx") && !d.IsDir() && match.MatchString(path) {
			models = append(models, path)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(models) == 0 {
		return fmt.Errorf("%s holds no *.onnx", *root)
	}
	work, err := os.MkdirTemp("", "dnnsplit-conformance-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)

	cuts := []corpus.Cut{corpus.Shatter, corpus.Thirds, corpus.Scatter}
	counts := map[corpus.Cut]map[outcome]int{}
	parts := map[corpus.Cut]int{}
	reasons := map[string][]string{}
	for _, c := range cuts {
		counts[c] = map[outcome]int{}
	}
	for _, model := range models {
		name, _ := filepath.Rel(*root, model)
		name = strings.TrimSuffix(name, "/model.onnx")
		for _, c := range cuts {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			out, n, why := try(ctx, model, work, c, *seed, *trials)
			counts[c][out]++
			parts[c] += n
			if out != equal {
				key := fmt.Sprintf("%s (%s): %s", out, c, strings.ReplaceAll(strings.ReplaceAll(why, model, "MODEL"), "\n", "; "))
				reasons[key] = append(reasons[key], name)
			}
			if *verbose {
				fmt.Printf("%-8s %-8s %3d parts  %s %s\n", out, c, n, name, why)
			}
		}
	}
	fmt.Printf("%d models\n%-10s", len(models), "cut")
	for _, o := range outcomes {
		fmt.Printf("%9s", o)
	}
	fmt.Printf("%12s\n", "sub-models")
	bad := 0
	for _, c := range cuts {
		fmt.Printf("%-10s", c)
		for _, o := range outcomes {
			fmt.Printf("%9d", counts[c][o])
		}
		fmt.Printf("%12d\n", parts[c])
		bad += counts[c][wrong] + counts[c][panics]
	}
	var keys []string
	for k := range reasons {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range keys {
		list := reasons[k]
		fmt.Printf("\n%s\n  %d: %s\n", k, len(list), strings.Join(list, " "))
	}
	if bad > 0 {
		return fmt.Errorf("%d results are wrong", bad)
	}
	return nil
}

// try cuts one model in one way. It keeps a panic from ending the sweep.
func try(ctx context.Context, model, work string, c corpus.Cut, seed uint64, trials int) (out outcome, parts int, why string) {
	defer func() {
		if r := recover(); r != nil {
			out, why = panics, fmt.Sprintf("%v\n%s", r, debug.Stack())
		}
	}()
	inputs, err := corpus.TestInputs(ctx, model)
	if err != nil {
		inputs = nil // inputs of an unusual kind: generated ones serve
	}
	res, rep, err := corpus.VerifyCut(ctx, model, work, c, seed, verify.Options{Inputs: inputs, Trials: trials, Levels: []runtime.Level{}})
	if res != nil {
		parts = res.Submodels
	}
	switch {
	case err != nil && res != nil:
		return unrun, parts, err.Error()
	case err != nil:
		return refused, parts, err.Error()
	case !rep.Equal:
		return wrong, parts, fmt.Sprintf("%+v", *rep)
	}
	if trials > 1 && inputs == nil && !rep.Conclusive {
		return idle, parts, "no output depends on the inputs"
	}
	return equal, parts, ""
}
