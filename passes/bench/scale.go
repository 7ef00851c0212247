package main

import (
	"context"
	"flag"
	"fmt"
	"math"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/compiler/rusage"
	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
)

// wanted is how long a placement on eight processors may take on two cores, by nodes, and the memory that it may take.
func wanted(nodes int) (limit time.Duration, mebibytes uint64) {
	switch {
	case nodes <= 1000:
		return time.Second, 0
	case nodes <= 10_000:
		return 1500 * time.Millisecond, 0
	case nodes <= 100_000:
		return 2 * time.Second, 0
	case nodes <= 1_000_000:
		return 15 * time.Second, 1 << 30 >> 20
	}
	return 0, 0
}

// scale places synthetic graphs of growing size.
func scale(args []string) error {
	set := flag.NewFlagSet("scale", flag.ExitOnError)
	sizes := set.String("nodes", "1000,10000,100000,1000000", "numbers of nodes, with commas")
	shapes := set.String("shapes", strings.Join(gen.Shapes(), ","), "shapes of the graphs, with commas")
	seed := set.Uint64("seed", 1, "seed of the graphs")
	procs := set.Int("procs", 8, "processors")
	tight := set.Bool("tight", false, "limit memory so that no processor holds the model")
	objective := set.String("objective", "latency", "latency or throughput")
	_ = set.Parse(args) // it exits
	var o passes.Options
	switch *objective {
	case "latency":
	case "throughput":
		o.Objective = ir.Throughput
	default:
		return fmt.Errorf("-objective %q: latency or throughput", *objective)
	}
	fmt.Printf("%-12s %9s %12s %12s %12s %12s %12s %12s %7s %12s %9s %7s %7s %7s %8s %s\n", "shape", "nodes", "ours_us", "single", "heft", "peft", "greedy", "min-cut", "ratio", "bound", "gap", "s", "cpu_s", "us/node", "MiB", "limits")
	for _, size := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil || n < 1 {
			return fmt.Errorf("-nodes %q: give numbers of nodes", size)
		}
		for _, shape := range strings.Split(*shapes, ",") {
			p, err := gen.Make(shape, n, *procs, *seed, *tight)
			if err != nil {
				return err
			}
			scaleRow(shape, n, p, o)
		}
	}
	return nil
}

func scaleRow(shape string, nominal int, p *ir.Problem, o passes.Options) {
	n := p.Graph.NumNodes()
	runtime.GC()
	watch := watchMemory()
	start, cpu := time.Now(), rusage.CPUTime()
	got, err := passes.Place(context.Background(), p, o)
	wall, used := time.Since(start), rusage.CPUTime()-cpu
	peak := watch() >> 20
	if err != nil {
		fmt.Printf("%-12s %9d %v\n", shape, n, err)
		return
	}
	base := map[string]float64{"single": math.NaN(), "heft": math.NaN(), "peft": math.NaN(), "greedy": math.NaN(), "min-cut": math.NaN()}
	best := math.NaN()
	consider := func(name string, b ir.Baseline) {
		if v := value(o.Objective, b.Latency, b.Bottleneck); b.Feasible {
			if !(v >= base[name]) {
				base[name] = v
			}
			if !(v >= best) {
				best = v
			}
		}
	}
	for _, b := range got.Single {
		consider("single", b)
	}
	for _, b := range got.Baselines {
		consider(b.Name, b)
	}
	verdict := "kept"
	if limit, mib := wanted(nominal); limit > 0 && wall > limit {
		verdict = fmt.Sprintf("over %v", limit)
	} else if mib > 0 && peak > mib {
		verdict = fmt.Sprintf("over %d MiB", mib)
	}
	if s := verify(p, got.Plan); s != "ok" {
		verdict = s
	}
	ours := got.Plan.Value().Us()
	fmt.Printf("%-12s %9d %12.1f %12s %12s %12s %12s %12s %7s %12.1f %8.1f%% %7.2f %7.2f %7.2f %8d %s\n", shape, n, ours, tenth(base["single"]), tenth(base["heft"]), tenth(base["peft"]),
		tenth(base["greedy"]), tenth(base["min-cut"]), ratio(ours/best), got.Plan.LowerBound.Us(), 100*(ours-got.Plan.LowerBound.Us())/ours,
		wall.Seconds(), used.Seconds(), used.Seconds()*1e6/float64(n), peak, verdict)
}

func tenth(x float64) string {
	if math.IsNaN(x) {
		return "-"
	}
	return fmt.Sprintf("%.1f", x)
}

// watchMemory starts to look at the memory that the process holds; the result ends that and says the most seen.
func watchMemory() func() uint64 {
	var most atomic.Uint64
	stop := make(chan struct{})
	done := make(chan struct{})
	look := func() {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		most.Store(max(most.Load(), m.Sys-m.HeapReleased))
	}
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				look()
			}
		}
	}()
	return func() uint64 {
		close(stop)
		<-done
		look()
		return most.Load()
	}
}
