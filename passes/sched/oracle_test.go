package sched_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
	"github.com/dnnsplit/dnnsplit/passes/sched"
)

// The driver checks pairs of files in one process and prints a line of JSON for each.
const driver = `
import json, sys
sys.path.insert(0, sys.argv[1])
import plan_check as pc
i = 0
for line in sys.stdin:
    g, p, q = line.split()
    try:
        r = pc.check(pc.read_json(g), pc.read_json(p), None, int(q))
        r["kinds"] = sorted({x.split(":")[0] for x in r["problems"]} - {"stated"})
        out = {k: r[k] for k in ("kinds", "memory_bytes", "latency_us", "bottleneck_us", "runs", "transfers", "consistent") if k in r}
    except pc.BadInput as e:
        out = {"bad": str(e)}
    print(json.dumps(out), flush=True)
`

type verdict struct {
	Bad        string
	Kinds      []string
	Consistent bool
	Memory     map[string]int64 `json:"memory_bytes"`
	Latency    *float64         `json:"latency_us"`
	Bottleneck *float64         `json:"bottleneck_us"`
	Runs       []struct {
		Start float64 `json:"start_us"`
		End   float64 `json:"end_us"`
	}
	Transfers []struct {
		Value  string
		Start  float64 `json:"start_us"`
		Free   float64 `json:"free_us"`
		Arrive float64 `json:"arrive_us"`
	}
}

// TestAgainstChecker compares the model with an independent implementation: set
// PLAN_CHECK to the path of plan_check.py, and PLAN_CHECK_COUNT to the number of
// random problems (default 2000).
func TestAgainstChecker(t *testing.T) {
	checker := os.Getenv("PLAN_CHECK")
	if checker == "" {
		t.Skip("PLAN_CHECK does not name the checker")
	}
	count := 2000
	if s := os.Getenv("PLAN_CHECK_COUNT"); s != "" {
		count, _ = strconv.Atoi(s)
	}
	dir := t.TempDir()
	cmd := exec.Command("python3", "-c", driver, filepath.Dir(checker))
	cmd.Stderr = os.Stderr
	in, _ := cmd.StdinPipe()
	out, _ := cmd.StdoutPipe()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = in.Close(), cmd.Wait() }()
	lines := bufio.NewReader(out)
	timed, feasible := 0, 0
	for seed := range count {
		r := gen.Rand(uint64(seed))
		p := gen.Small(r, []int{4, 8, 14}[r.IntN(3)])
		plan := gen.Plan(r, p)
		if r.IntN(4) == 0 {
			gen.Damage(r, p, plan)
		}
		s, timeErr := sched.Rate(p, plan)
		gf, pf := filepath.Join(dir, "g.json"), filepath.Join(dir, "p.json")
		write(t, gf, func(f *os.File) error { return ir.WriteProblem(f, p) })
		write(t, pf, func(f *os.File) error { return ir.WritePlan(f, p, plan) })
		if _, err := fmt.Fprintln(in, gf, pf, p.Submodels); err != nil {
			t.Fatal(err)
		}
		line, err := lines.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var v verdict
		if err := json.Unmarshal(line, &v); err != nil || v.Bad != "" {
			t.Fatalf("seed %d: %v %s", seed, err, v.Bad)
		}
		kinds := rules(ir.CheckPlan(p, plan))
		v.Kinds = slices.DeleteFunc(v.Kinds, func(k string) bool { return k == "replica-outside" })
		if !slices.Equal(kinds, v.Kinds) {
			t.Fatalf("seed %d: CheckPlan says %v, the checker %v", seed, kinds, v.Kinds)
		}
		if len(kinds) == 0 {
			feasible++
		}
		if v.Latency == nil {
			continue
		}
		if timeErr != nil {
			t.Fatalf("seed %d: %v", seed, timeErr)
		}
		timed++
		same := func(what string, got ir.Time, want float64) {
			if ir.Micros(want) != got {
				t.Fatalf("seed %d: %s is %d ps, the checker says %d", seed, what, got, ir.Micros(want))
			}
		}
		same("latency", s.Latency, *v.Latency)
		same("bottleneck", s.Bottleneck, *v.Bottleneck)
		for q, e := range p.Platform.Processors {
			if s.ProcBytes[q] != v.Memory[e.Name] {
				t.Fatalf("seed %d: %s needs %d bytes, the checker says %d", seed, e.Name, s.ProcBytes[q], v.Memory[e.Name])
			}
		}
		for i, run := range v.Runs {
			same(fmt.Sprintf("start of %d", i), s.Runs[i].Start, run.Start)
			same(fmt.Sprintf("end of %d", i), s.Runs[i].End, run.End)
		}
		if len(v.Transfers) != len(s.Hops) {
			t.Fatalf("seed %d: %d hops, the checker says %d", seed, len(s.Hops), len(v.Transfers))
		}
		for i, h := range v.Transfers {
			if p.Graph.ValueName(s.Hops[i].Value) != h.Value {
				t.Fatalf("seed %d: hop %d is of another value", seed, i)
			}
			same("start of a hop", s.Hops[i].Start, h.Start)
			same("end of a hop", s.Hops[i].Arrive, h.Arrive)
		}
	}
	t.Logf("%d problems, %d plans feasible, %d timed", count, feasible, timed)
}

func rules(err error) []string {
	var list diag.List
	if !errors.As(err, &list) {
		if err == nil {
			return nil
		}
		list = diag.List{err}
	}
	var out []string
	for _, e := range list {
		if v := (*ir.Violation)(nil); errors.As(e, &v) {
			out = append(out, string(v.Rule))
		} else {
			out = append(out, "no violation: "+e.Error())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func write(t *testing.T, path string, body func(*os.File) error) {
	t.Helper()
	f, err := os.Create(path)
	if err == nil {
		err = errors.Join(body(f), f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
