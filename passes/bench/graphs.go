package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/rusage"
	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/passes/bench/reference"
)

// row is a line of BKS.tsv: a graph, options, and what is known. Unknown numbers are NaN.
type row struct {
	graph        string
	submodels    int
	objective    ir.Objective
	known, bound float64
}

// readRows reads DIR/BKS.tsv. Where there is none, every graph under DIR stands for four rows without known values.
func readRows(dir string) ([]row, error) {
	path := filepath.Join(dir, "BKS.tsv")
	text, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return allRows(dir)
	}
	if err != nil {
		return nil, err
	}
	var rows []row
	for i, line := range strings.Split(strings.TrimSpace(string(text)), "\n") {
		f := strings.Split(line, "\t")
		if i == 0 {
			continue
		}
		if len(f) < 10 {
			return nil, fmt.Errorf("%s:%d: %d columns, 10 are needed", path, i+1, len(f))
		}
		num := func(s string) float64 {
			x, err := strconv.ParseFloat(s, 64)
			if err != nil {
				return math.NaN()
			}
			return x
		}
		r := row{graph: filepath.Join("graphs", f[0]), known: num(f[8]), bound: num(f[9])}
		if r.submodels, err = strconv.Atoi(f[3]); err != nil {
			return nil, fmt.Errorf("%s:%d: q: %w", path, i+1, err)
		}
		if f[4] == "throughput" {
			r.objective = ir.Throughput
		}
		rows = append(rows, r)
	}
	return rows, nil
}

func allRows(dir string) ([]row, error) {
	var rows []row
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(path) != ".json" {
			return err
		}
		name, err := filepath.Rel(dir, path)
		for _, o := range []ir.Objective{ir.Latency, ir.Throughput} {
			for _, q := range []int{1, 3} {
				rows = append(rows, row{name, q, o, math.NaN(), math.NaN()})
			}
		}
		return err
	})
	if err == nil && len(rows) == 0 {
		err = fmt.Errorf("there is neither BKS.tsv nor any graph (*.json) in %s", dir)
	}
	return rows, err
}

// graphs places every graph of a folder and prints our values, at a short and a long time limit, beside the known ones,
// the baselines and the bounds; DIR/plan_check.py, if it is there, checks every plan.
func graphs(args []string) error {
	set := flag.NewFlagSet("graphs", flag.ExitOnError)
	short := set.Duration("short", time.Second, "short time limit of a placement; 0: none")
	full := set.Duration("full", 5*time.Second, "full time limit of a placement; 0: the default effort")
	only := set.String("only", "", "rows whose graph, q and objective match this expression alone")
	seed := set.Uint64("seed", 0, "seed of the search")
	workers := set.Int("workers", 0, "goroutines of the search; 0: one a core")
	check := set.Bool("check", true, "run plan_check.py on every plan")
	_ = set.Parse(args) // it exits
	if set.NArg() != 1 {
		return fmt.Errorf("graphs takes one folder, with BKS.tsv in it or graphs alone")
	}
	dir := set.Arg(0)
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	rows, err := readRows(dir)
	if err != nil {
		return err
	}
	checker := filepath.Join(dir, "plan_check.py")
	if _, err := os.Stat(checker); err != nil || !*check {
		checker = ""
	} else if _, err := exec.LookPath("python3"); err != nil {
		checker = ""
	}
	if !reference.HasMETIS() {
		fmt.Fprintln(os.Stderr, "bench: gpmetis is not installed (Debian: metis), its column stays empty")
	}
	fmt.Printf("%-31s %1s %-10s %12s %7s %12s %7s %12s", "graph", "q", "objective", fmt.Sprintf("us in %v", *short), "ratio", fmt.Sprintf("us in %v", *full), "ratio", "best_known")
	for _, name := range reference.Names() {
		fmt.Printf(" %12s", name)
	}
	fmt.Printf(" %12s %7s %12s %6s %6s %s\n", "bound", "gap", "table_bound", "s", "cpu_s", "check")
	t := table{short: *short, full: *full}
	for _, r := range rows {
		if !pattern.MatchString(fmt.Sprintf("%s %d %v", r.graph, r.submodels, r.objective)) {
			continue
		}
		file := filepath.Join(dir, r.graph)
		p, err := load(file)
		if err != nil {
			return err
		}
		p.Submodels = r.submodels
		o := passes.Options{Objective: r.objective, Seed: *seed, Workers: *workers}
		if err := t.row(r, p, o, file, checker); err != nil {
			return err
		}
	}
	t.summary()
	return nil
}

// table prints rows and counts.
type table struct {
	short, full time.Duration

	shortCount, fullCount counts
	beaten                int // rows where a baseline beats us
	bounds                [3]int
	failed                int
}

// counts hold our values against known ones.
type counts struct {
	below, same, above, percent int
	worst, logs                 float64
}

func (c *counts) add(ours, known float64) {
	switch {
	case ours > known+tableStep:
		c.above++
	case ours < known-tableStep:
		c.below++
	default:
		c.same++
	}
	if ours > 1.01*known {
		c.percent++
	}
	c.worst = max(c.worst, ours/known)
	c.logs += math.Log(ours / known)
}

func (c *counts) print(limit string) {
	if n := c.below + c.same + c.above; n > 0 {
		fmt.Printf("%s: %d rows below the best known value, %d equal, %d above (%d by more than 1 %%); worst ratio %.4f, geometric mean %.4f\n",
			limit, c.below, c.same, c.above, c.percent, c.worst, math.Exp(c.logs/float64(n)))
	}
}

func (t *table) row(r row, p *ir.Problem, o passes.Options, file, checker string) error {
	head := fmt.Sprintf("%-31s %d %-10v", strings.TrimPrefix(r.graph, "graphs"+string(filepath.Separator)), r.submodels, r.objective)
	var quick *ir.Placement
	var err error
	if t.short > 0 {
		o.TimeLimit = t.short
		if quick, err = passes.Place(context.Background(), p, o); err != nil {
			fmt.Printf("%s %v\n", head, err)
			t.failed++
			return nil
		}
	}
	o.TimeLimit = t.full
	start, cpu := time.Now(), rusage.CPUTime()
	got, err := passes.Place(context.Background(), p, o)
	wall, used := time.Since(start), rusage.CPUTime()-cpu
	if err != nil {
		fmt.Printf("%s %v\n", head, err)
		t.failed++
		return nil
	}
	ours := got.Plan.Value().Us()
	first := math.NaN()
	if quick != nil {
		first = quick.Plan.Value().Us()
	}
	if !math.IsNaN(r.known) {
		t.fullCount.add(ours, r.known)
		if quick != nil {
			t.shortCount.add(first, r.known)
		}
	}
	base, err := reference.Values(p, r.objective, o.Seed, got)
	if err != nil {
		return err
	}
	verdict := verify(p, got.Plan)
	if quick != nil && verdict == "ok" {
		verdict = verify(p, quick.Plan)
	}
	if checker != "" && verdict == "ok" {
		if verdict = runChecker(checker, file, p, got.Plan); verdict == "ok" && quick != nil {
			verdict = runChecker(checker, file, p, quick.Plan)
		}
	}
	if verdict != "ok" {
		t.failed++
	}
	bound := got.Plan.LowerBound.Us()
	gap := fmt.Sprintf("%.1f%%", 100*(ours-bound)/ours)
	if got.Plan.ProvenOptimal {
		gap = "proven"
	}
	fmt.Printf("%s %12s %7s %12s %7s %12s", head, us(first), ratio(first/r.known), us(ours), ratio(ours/r.known), us(r.known))
	beaten := false
	for _, name := range reference.Names() {
		fmt.Printf(" %12s", us(base[name]))
		beaten = beaten || base[name] < ours-tableStep || base[name] < first-tableStep
	}
	if beaten {
		t.beaten++
	}
	if !math.IsNaN(r.bound) {
		t.bounds[1+cmp.Compare(math.Round(bound*1000), math.Round(r.bound*1000))]++
	}
	fmt.Printf(" %12s %7s %12s %6.2f %6.2f %s\n", us(bound), gap, us(r.bound), wall.Seconds(), used.Seconds(), verdict)
	return nil
}

func (t *table) summary() {
	t.shortCount.print(fmt.Sprintf("in %v", t.short))
	t.fullCount.print(fmt.Sprintf("in %v", t.full))
	fmt.Printf("a baseline is better on %d rows; ", t.beaten)
	if n := t.bounds[0] + t.bounds[1] + t.bounds[2]; n > 0 {
		fmt.Printf("the lower bound is above the table's on %d rows, equal on %d, below on %d; ", t.bounds[2], t.bounds[1], t.bounds[0])
	}
	fmt.Printf("%d rows failed\n", t.failed)
}

func us(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.3f", x)
}

func ratio(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.4f", x)
}

// tableStep is how much values that the table rounds to three decimals may differ by, in us.
const tableStep = 0.00051

func value(o ir.Objective, latency, bottleneck ir.Time) float64 {
	if o == ir.Throughput {
		return bottleneck.Us()
	}
	return latency.Us()
}

func load(path string) (*ir.Problem, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return ir.ReadProblem(f, path)
}

// verify is "ok", or which rule a plan breaks.
func verify(p *ir.Problem, plan *ir.Plan) string {
	if err := ir.CheckPlan(p, plan); err != nil {
		return err.Error()
	}
	return "ok"
}

// runChecker is "ok", or what the checker says.
func runChecker(checker, graph string, p *ir.Problem, plan *ir.Plan) string {
	f, err := os.CreateTemp("", "plan*.json")
	if err != nil {
		return err.Error()
	}
	defer func() { _ = errors.Join(f.Close(), os.Remove(f.Name())) }()
	if err := ir.WritePlan(f, p, plan); err != nil {
		return err.Error()
	}
	out, err := exec.Command("python3", checker, graph, f.Name(), "--submodels", strconv.Itoa(p.Submodels)).CombinedOutput()
	if err != nil {
		return strings.ReplaceAll(strings.TrimSpace(string(out)), "\n", "; ")
	}
	// The checker compares with a tolerance; hold its numbers to the picosecond.
	want := fmt.Sprintf("FEASIBLE latency_us %.6f bottleneck_us %.6f ", plan.Latency.Us(), plan.Bottleneck.Us())
	if !strings.HasPrefix(string(out), want) {
		return "differs: " + strings.TrimSpace(string(out))
	}
	return "ok"
}
