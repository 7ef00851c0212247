package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/gen"
)

// makeGraph writes a synthetic problem as an execution graph to standard output.
func makeGraph(args []string) error {
	set := flag.NewFlagSet("make", flag.ExitOnError)
	shape := set.String("shape", "inception", "shape of the graph: "+strings.Join(gen.Shapes(), ", "))
	nodes := set.Int("nodes", 60, "about how many nodes")
	procs := set.Int("procs", 4, "processors")
	seed := set.Uint64("seed", 1, "seed of the graph")
	tight := set.Bool("tight", false, "limit memory so that no processor holds the model")
	_ = set.Parse(args) // it exits
	if *nodes < 1 || *procs < 1 || set.NArg() > 0 {
		return fmt.Errorf("make takes options only; -nodes and -procs are at least 1")
	}
	p, err := gen.Make(*shape, *nodes, *procs, *seed, *tight)
	if err != nil {
		return err
	}
	return ir.WriteProblem(os.Stdout, p)
}
