package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/spf13/pflag"
)

// The types below are pflag.Values: they refuse bad text while the command line
// is read, so that it is a usage error.

// shapeFlag collects --shape DIM=N and --shape INPUT=1,3,224,224.
type shapeFlag struct {
	dims   map[string]int64
	inputs map[string][]int64
}

func (f *shapeFlag) String() string { return "" }
func (f *shapeFlag) Type() string   { return "NAME=N[,N...]" }

func (f *shapeFlag) Set(text string) error {
	// Names may hold "=", extents cannot.
	at := strings.LastIndex(text, "=")
	if at <= 0 {
		return fmt.Errorf("want DIM=N or INPUT=N,N,..., for example batch=1 or x=1,3,224,224")
	}
	name := text[:at]
	parts := strings.Split(text[at+1:], ",")
	extents := make([]int64, len(parts))
	for i, p := range parts {
		n, err := strconv.ParseInt(strings.TrimSpace(p), 10, 64)
		if err != nil || n < 0 {
			return fmt.Errorf("%q is no extent, want whole numbers of at least 0", p)
		}
		extents[i] = n
	}
	if f.dims == nil {
		f.dims, f.inputs = map[string]int64{}, map[string][]int64{}
	}
	if len(extents) == 1 {
		f.dims[name] = extents[0]
	} else {
		f.inputs[name] = extents
	}
	return nil
}

// ruleFlag collects --pin and --forbid 'REGEX=PROCESSOR'.
type ruleFlag []compiler.Rule

func (f *ruleFlag) String() string { return "" }
func (f *ruleFlag) Type() string   { return "REGEX=PROCESSOR" }

func (f *ruleFlag) Set(text string) error {
	at := strings.LastIndex(text, "=")
	if at <= 0 || at == len(text)-1 {
		return fmt.Errorf("want REGEX=PROCESSOR, for example '^head/=jetson-orin-nano.gpu'")
	}
	*f = append(*f, compiler.Rule{Pattern: text[:at], Processor: text[at+1:]})
	return nil
}

// submodelsFlag is --submodels N|auto.
type submodelsFlag int

func (f *submodelsFlag) Type() string { return "N|auto" }

func (f *submodelsFlag) String() string {
	if *f == compiler.Auto {
		return "auto"
	}
	return strconv.Itoa(int(*f))
}

func (f *submodelsFlag) Set(text string) error {
	n, err := compiler.ParseSubmodels(text)
	if err != nil {
		return err
	}
	*f = submodelsFlag(n)
	return nil
}

// objectiveFlag is --objective latency|throughput.
type objectiveFlag ir.Objective

func (f *objectiveFlag) Type() string   { return "latency|throughput" }
func (f *objectiveFlag) String() string { return ir.Objective(*f).String() }

func (f *objectiveFlag) Set(text string) error {
	for _, o := range []ir.Objective{ir.Latency, ir.Throughput} {
		if text == o.String() {
			*f = objectiveFlag(o)
			return nil
		}
	}
	return fmt.Errorf("want latency or throughput")
}

// shareFlag is a number from 0 to 1 that may be left out.
type shareFlag struct{ value *float64 }

func (f *shareFlag) Type() string { return "SHARE" }

func (f *shareFlag) String() string {
	if f.value == nil {
		return ""
	}
	return strconv.FormatFloat(*f.value, 'g', -1, 64)
}

func (f *shareFlag) Set(text string) error {
	x, err := strconv.ParseFloat(text, 64)
	if err != nil || !(x >= 0 && x <= 1) {
		return fmt.Errorf("want a share from 0 to 1, for example 0.03")
	}
	f.value = &x
	return nil
}

// formatFlag is --format with its choices.
type formatFlag struct {
	value   string
	choices []string
}

func (f *formatFlag) Type() string   { return strings.Join(f.choices, "|") }
func (f *formatFlag) String() string { return f.value }

func (f *formatFlag) Set(text string) error {
	for _, c := range f.choices {
		if text == c {
			f.value = c
			return nil
		}
	}
	return fmt.Errorf("want %s", strings.Join(f.choices, " or "))
}

// inputFlag collects --input NAME=FILE.
type inputFlag map[string]string

func (f *inputFlag) String() string { return "" }
func (f *inputFlag) Type() string   { return "NAME=FILE" }

func (f *inputFlag) Set(text string) error {
	name, file, ok := strings.Cut(text, "=")
	if !ok || name == "" || file == "" {
		return fmt.Errorf("want NAME=FILE, for example image=cat.npy")
	}
	if *f == nil {
		*f = inputFlag{}
	}
	(*f)[name] = file
	return nil
}

// limitFlags bound what a model may cost to read.
type limitFlags struct {
	depth, nodes int
	structure    int64 // MiB
}

func (f *limitFlags) add(fl *pflag.FlagSet) {
	fl.IntVar(&f.depth, "max-depth", 0, "refuse models whose graphs are nested deeper (default 64)")
	fl.IntVar(&f.nodes, "max-nodes", 0, "refuse models of more nodes (default 10 million; a million after inlining)")
	fl.Int64Var(&f.structure, "max-structure", 0, "refuse models that take more memory without their weights, in `MiB` (default 2048)")
	group(fl, limitsGroup, "max-depth", "max-nodes", "max-structure")
}

func (f *limitFlags) options() onnxfile.Options {
	return onnxfile.Options{MaxDepth: max(f.depth, 0), MaxNodes: max(f.nodes, 0), MaxBytes: min(max(f.structure, 0), 1<<40) << 20}
}
