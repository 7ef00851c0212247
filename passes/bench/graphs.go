package main

import (
	"context"
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
	"github.com/dnnsplit/dnnsplit/passes"
)

// row is a line of BKS.tsv: a graph, options, and what is known. Unknown numbers are NaN.
type row struct {
	graph                              string
	submodels                          int
	objective                          ir.Objective
	single, heft, greedy, known, bound float64
}

func readRows(path string) ([]row, error) {
	text, err := os.ReadFile(path)
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
		r := row{graph: f[0], single: num(f[5]), heft: num(f[6]), greedy: num(f[7]), known: num(f[8]), bound: num(f[9])}
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

// graphs places every graph of DIR/BKS.tsv and prints our values beside the known ones; DIR/plan_check.py, if it is
// there, checks every plan.
func graphs(args []string) error {
	set := flag.NewFlagSet("graphs", flag.ExitOnError)
	limit := set.Duration("limit", 0, "time limit of a placement; 0: the default effort")
	only := set.String("only", "", "rows whose graph, q and objective match this expression alone")
	seed := set.Uint64("seed", 0, "seed of the search")
	workers := set.Int("workers", 0, "goroutines of the search; 0: one a core")
	check := set.Bool("check", true, "run plan_check.py on every plan")
	set.Parse(args)
	if set.NArg() != 1 {
		return fmt.Errorf("graphs takes one folder, with BKS.tsv in it")
	}
	dir := set.Arg(0)
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	rows, err := readRows(filepath.Join(dir, "BKS.tsv"))
	if err != nil {
		return err
	}
	checker := filepath.Join(dir, "plan_check.py")
	if _, err := os.Stat(checker); err != nil || !*check {
		checker = ""
	}
	fmt.Printf("%-31s %1s %-10s %12s %12s %8s %12s %12s %12s %12s %7s %12s %6s %6s %s\n", "graph", "q", "objective", "ours_us", "best_known", "ratio",
		"single", "heft", "greedy", "bound", "gap", "table_bound", "s", "cpu_s", "check")
	var below, same, above int
	var worst, logs float64
	for _, r := range rows {
		if !pattern.MatchString(fmt.Sprintf("%s %d %v", r.graph, r.submodels, r.objective)) {
			continue
		}
		p, err := load(filepath.Join(dir, "graphs", r.graph))
		if err != nil {
			return err
		}
		p.Submodels = r.submodels
		start, cpu := time.Now(), cpuTime()
		got, err := passes.Place(context.Background(), p, passes.Options{Objective: r.objective, TimeLimit: *limit, Seed: *seed, Workers: *workers})
		wall, used := time.Since(start), cpuTime()-cpu
		if err != nil {
			fmt.Printf("%-31s %d %-10v %v\n", r.graph, r.submodels, r.objective, err)
			above++
			continue
		}
		ours := got.Plan.Value().Us()
		ratio := ours / r.known
		switch {
		case ours > r.known+tableStep:
			above++
		case ours < r.known-tableStep:
			below++
		default:
			same++
		}
		worst = max(worst, ratio)
		logs += math.Log(ratio)
		verdict := "-"
		if checker != "" {
			verdict = runChecker(checker, filepath.Join(dir, "graphs", r.graph), p, got.Plan)
		}
		base := map[string]float64{"heft": math.NaN(), "greedy": math.NaN()}
		for _, b := range got.Baselines {
			if b.Feasible {
				base[b.Name] = value(r.objective, b.Latency, b.Bottleneck)
			}
		}
		single := math.NaN()
		for _, b := range got.Single {
			if b.Feasible && !(value(r.objective, b.Latency, b.Bottleneck) >= single) {
				single = value(r.objective, b.Latency, b.Bottleneck)
			}
		}
		bound := got.Plan.LowerBound.Us()
		gap := fmt.Sprintf("%.1f%%", 100*(ours-bound)/bound)
		if got.Plan.ProvenOptimal {
			gap = "proven"
		}
		fmt.Printf("%-31s %d %-10v %12.3f %12.3f %8.4f %12.3f %12.3f %12.3f %12.3f %7s %12.3f %6.2f %6.2f %s\n", r.graph, r.submodels, r.objective,
			ours, r.known, ratio, single, base["heft"], base["greedy"], bound, gap, r.bound, wall.Seconds(), used.Seconds(), verdict)
	}
	n := float64(below + same + above)
	fmt.Printf("%d rows below the best known value, %d equal, %d above; worst ratio %.4f, geometric mean %.4f\n", below, same, above, worst, math.Exp(logs/n))
	return nil
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
	defer f.Close()
	return ir.ReadProblem(f, path)
}

// runChecker is "ok", or what the checker says.
func runChecker(checker, graph string, p *ir.Problem, plan *ir.Plan) string {
	f, err := os.CreateTemp("", "plan*.json")
	if err != nil {
		return err.Error()
	}
	defer os.Remove(f.Name())
	defer f.Close()
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
