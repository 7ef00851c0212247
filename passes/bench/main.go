// Command bench measures placement: on execution graphs with known values, on
// graphs of real networks, and on synthetic ones of any size.
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes"
)

func main() {
	for _, f := range os.Args[1:] {
		r, err := os.Open(f)
		if err != nil {
			panic(err)
		}
		p, err := ir.ReadProblem(r, f)
		if err != nil {
			fmt.Println(err)
			continue
		}
		for _, q := range []int{1, 3} {
			for _, o := range []ir.Objective{ir.Latency, ir.Throughput} {
				p.Submodels = q
				t := time.Now()
				pl, err := passes.Place(context.Background(), p, passes.Options{Objective: o})
				if err != nil {
					fmt.Println(f, q, o, err)
					continue
				}
				fmt.Printf("%s %d %s %.3f bound %.3f heft %v greedy %v %.2fs\n", f, q, o, pl.Plan.Value().Us(), pl.Plan.LowerBound.Us(), pl.Baselines[0].Latency.Us(), pl.Baselines[1].Latency.Us(), time.Since(t).Seconds())
			}
		}
	}
}
