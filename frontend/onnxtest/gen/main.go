// Command gen writes a model of package onnxtest to a file:
//
//	go run ./frontend/onnxtest/gen -o FILE [options] NAME
//	go run ./frontend/onnxtest/gen -list
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

func main() {
	fs := flag.NewFlagSet("gen", flag.ContinueOnError)
	out := fs.String("o", "", "`file` to write (default NAME.onnx)")
	seed := fs.Uint64("seed", 1, "seed of the weights")
	list := fs.Bool("list", false, "list the names of all models, their tags and what they are")
	external := fs.String("external", "", "write weights of 1 KiB and more to this `file` beside the model")
	typed := fs.Bool("typed", false, "store weights in typed fields instead of raw_data")
	constants := fs.Bool("constants", false, "store weights as Constant nodes")
	fs.Usage = func() {
		fmt.Fprint(fs.Output(), "usage: gen [options] NAME\n\nwrites the model NAME; names like chain=1000 take a number (see -list)\n\n")
		fs.PrintDefaults()
	}
	if err := fs.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	if *list {
		for _, c := range onnxtest.Catalog() {
			fmt.Printf("%-34s %-20s %s\n", c.Name, c.Tags, c.What)
		}
		for _, c := range onnxtest.Sized() {
			fmt.Printf("%-34s %-20s %s\n", c.Name+"=N", "", c.What)
		}
		return
	}
	if fs.NArg() != 1 {
		fs.Usage()
		os.Exit(2)
	}
	m, err := onnxtest.Named(fs.Arg(0), *seed)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(2)
	}
	if *typed {
		m.TypedWeights()
	}
	if *constants {
		m.WeightsAsConstants()
	}
	if *external != "" {
		m.External(onnxtest.External{Location: *external, MinBytes: 1024, Align: 4096})
	}
	if *out == "" {
		*out = fs.Arg(0) + ".onnx"
	}
	if err := m.WriteFile(*out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}
