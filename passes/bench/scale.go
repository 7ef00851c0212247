package main

import (
	"context"
	"flag"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
)

// scale places synthetic graphs of growing size on eight processors.
func scale(args []string) error {
	set := flag.NewFlagSet("scale", flag.ExitOnError)
	sizes := set.String("nodes", "1000,10000,100000", "numbers of nodes, with commas")
	shapes := set.String("shapes", strings.Join(gen.Shapes(), ","), "shapes of the graphs, with commas")
	seed := set.Uint64("seed", 1, "seed of the graphs")
	procs := set.Int("procs", 8, "processors")
	tight := set.Bool("tight", false, "limit memory so that no processor holds the model")
	set.Parse(args)
	fmt.Printf("%-12s %9s %12s %12s %12s %12s %9s %7s %7s %8s\n", "shape", "nodes", "ours_us", "single", "heft", "greedy", "gap", "s", "cpu_s", "MiB")
	for _, size := range strings.Split(*sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil {
			return err
		}
		for _, shape := range strings.Split(*shapes, ",") {
			p, err := gen.Make(shape, n, *procs, *seed, *tight)
			if err != nil {
				return err
			}
			runtime.GC()
			start, cpu := time.Now(), cpuTime()
			got, err := passes.Place(context.Background(), p, passes.Options{})
			wall, used := time.Since(start), cpuTime()-cpu
			if err != nil {
				fmt.Printf("%-12s %9d %v\n", shape, p.Graph.NumNodes(), err)
				continue
			}
			var mem runtime.MemStats
			runtime.ReadMemStats(&mem)
			single := ir.MaxTime
			for _, b := range got.Single {
				if b.Feasible {
					single = min(single, b.Latency)
				}
			}
			base := func(name string) string {
				for _, b := range got.Baselines {
					if b.Name == name && b.Feasible {
						return fmt.Sprintf("%.1f", b.Latency.Us())
					}
				}
				return "-"
			}
			alone := "-"
			if single < ir.MaxTime {
				alone = fmt.Sprintf("%.1f", single.Us())
			}
			fmt.Printf("%-12s %9d %12.1f %12s %12s %12s %8.1f%% %7.2f %7.2f %8d\n", shape, p.Graph.NumNodes(), got.Plan.Latency.Us(), alone, base("heft"), base("greedy"),
				100*float64(got.Plan.Latency-got.Plan.LowerBound)/float64(got.Plan.LowerBound), wall.Seconds(), used.Seconds(), mem.Sys>>20)
		}
	}
	return nil
}
