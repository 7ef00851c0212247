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
	var v onnxtest.Config
	fs.StringVar(&v.Batch, "batch", "", "image networks: `name` of a symbolic batch dimension")
	fs.Float64Var(&v.Width, "width", 1, "image networks: multiplier of channel counts")
	fs.IntVar(&v.Resolution, "resolution", 0, "image networks: height and width of the image (default as published)")
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
	v.Seed = *seed
	m, err := build(fs.Arg(0), v)
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

// build makes the model of that name, in the variant that v asks for.
func build(name string, v onnxtest.Config) (*onnxtest.Model, error) {
	if v == (onnxtest.Config{Seed: v.Seed, Width: 1}) {
		return onnxtest.Named(name, v.Seed)
	}
	for _, a := range onnxtest.Architectures() {
		if a.Name == name && a.Variant != nil {
			return a.Variant(v), nil
		}
	}
	return nil, fmt.Errorf("%q is no image network, it has no -batch, -width or -resolution", name)
}
