package main

import (
	"bufio"
	"errors"
	"fmt"
	"time"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/export"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles/draw"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newRoot makes the command with all sub-commands. Splitting, the main job, is
// the command itself.
func newRoot(u *ui, dev *developer) *cobra.Command {
	o := compiler.Options{}
	var f splitFlags
	cmd := &cobra.Command{
		Use:   "dnnsplit MODEL.onnx --devices DIR [-o DIR]",
		Short: "cut an ONNX model into sub-models, one per processor, so that one inference finishes early",
		Long: `dnnsplit cuts an ONNX model into sub-models, one ONNX file per processor, so that
one inference finishes as early as possible on the processors at hand. It writes a
folder with the sub-models and manifest.json, which lists the tensors that travel
between them. "Do not split" is a possible answer.`,
		Example: `  dnnsplit model.onnx --devices profiles/            # writes model.split/
  dnnsplit model.onnx --devices profiles/ -o out/ --shape batch=1
  dnnsplit model.onnx --devices profiles/ --dry-run --submodels auto
  dnnsplit model.onnx --devices profiles/ --pin '^head/=edge-server.gpu'
  dnnsplit model.onnx --devices profiles/ --explain conv1
  dnnsplit model.onnx --devices profiles/ --placement placement.yaml
  dnnsplit verify model.split`,
		Args:              usage(modelOrCommand),
		PersistentPreRunE: func(*cobra.Command, []string) error { return dev.begin(u) },
		SilenceErrors:     true,
		SilenceUsage:      true,
		Version:           compiler.Version(),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Model = args[0]
			f.apply(u, &o)
			var err error
			if o.Weights, err = backend.ParseWeights(f.weights.value); err != nil {
				return usageError{cmd.CommandPath(), err}
			}
			if err := f.applyPlacement(cmd, &o); err != nil {
				return err
			}
			return split(cmd, u, o, &f)
		},
	}
	cmd.SetVersionTemplate("dnnsplit {{.Version}}" + commitText() + "\n")
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&o.Devices, "devices", "", "`DIR` of device profiles (*.yaml)")
	fl.StringVarP(&o.Output, "output", "o", "", "`DIR` to write (default MODEL.split/ beside the model)")
	f.weights = formatFlag{"auto", []string{"auto", "embedded", "external", "reference"}}
	fl.Var(&f.weights, "weights", "where sub-models keep weights: as the source does, in the .onnx file, in a .data file beside it, or in hard links to the source's own data files")
	fl.BoolVar(&o.Force, "force", false, "replace the output folder even if it is not a bundle")
	f.model(fl)
	f.search(fl, &o)
	fl.Var(&f.leastGain, "least-gain", "leave the model whole where a split is predicted to gain less than this `SHARE` (default: the error that measured costs state)")
	f.keepBest(fl, &o)
	f.inline = formatFlag{"auto", []string{"auto", "never"}}
	fl.Var(&f.inline, "inline", "replace calls of functions that hold much of the work by their bodies")
	fl.StringSliceVar(&o.Only, "only", nil, "use no processor but `NAME`, or those of device NAME; repeatable, or several with commas")
	fl.Var(&f.pins, "pin", "run the nodes whose name matches on this processor, or on this device; repeatable")
	fl.Var(&f.forbids, "forbid", "do not run the nodes whose name matches on this processor, or on this device; repeatable")
	fl.StringArrayVar(&o.Same, "same", nil, "keep the nodes whose name matches this `REGEX` on one processor; repeatable")
	fl.StringVar(&o.Reuse, "reuse", "", "keep the placement of an earlier bundle, given by its `MANIFEST`")
	fl.StringVar(&f.placement, "placement", "", "read only, pin, forbid, same, reuse, objective and more from a placement `FILE` (YAML); flags come before it")
	fl.StringVar(&f.savePlacement, "save-placement", "", "write the placement found, node by node, to `FILE` for --placement")
	fl.StringVar(&o.Source, "source", "", "`DEVICE` where inputs appear (default: as fleet.yaml says)")
	fl.StringVar(&o.Sink, "sink", "", "`DEVICE` where outputs must arrive (default: as fleet.yaml says)")
	fl.StringVar(&f.dot, "dot", "", "write drawings for Graphviz to `DIR` as well: all nodes by processor, and sub-models with what travels")
	fl.BoolVar(&f.dryRun, "dry-run", false, "report only, write nothing")
	fl.StringVar(&f.explain, "explain", "", "say why `NODE` is where it is; writes nothing")
	f.calibration.add(fl)
	fl.StringVar(&f.depfile, "depfile", "", "write the files read, as a rule for Make and Ninja, to `FILE`")
	f.output(fl)
	group(fl, searchGroup, "objective", "submodels", "least-gain", "time-limit", "seed", "keep-best", "inline")
	group(fl, steerGroup, "only", "pin", "forbid", "same", "reuse", "placement", "save-placement", "source", "sink")
	group(fl, outputGroup, "weights", "force", "dot", "depfile", "format")
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if errors.Is(err, pflag.ErrHelp) {
			return err
		}
		return usageError{c.CommandPath(), flagError(c, err)}
	})
	cmd.SetHelpFunc(func(c *cobra.Command, _ []string) { printHelp(u, c, c.OutOrStdout()) })
	dev.flags(cmd.PersistentFlags())
	cmd.AddCommand(
		newInspect(u), newPlace(u), newSweep(u),
		newVerify(u), newBench(u), newDiff(u),
		newExport(u), newImport(u),
	)
	cmd.AddCommand(newProfile(u), newDevices(u))
	cmd.AddCommand(newMan(u, cmd), newCompletion(u, cmd))
	if err := addCompletions(cmd); err != nil {
		panic(err)
	}
	cmd.InitDefaultVersionFlag()
	cmd.Flags().Lookup("version").Usage = "print the version, and the commit that it was built from"
	describeHelp(cmd)
	return cmd
}

// describeHelp says the same of --help for a command and all below it.
func describeHelp(cmd *cobra.Command) {
	cmd.InitDefaultHelpFlag()
	cmd.Flags().Lookup("help").Usage = "print this help"
	for _, c := range cmd.Commands() {
		describeHelp(c)
	}
}

// commitText is the commit that the program was built from, in brackets; "" if the
// build does not say.
func commitText() string {
	commit, changed := compiler.Commit()
	switch {
	case commit == "":
		return ""
	case changed:
		return " (commit " + commit + ", changed)"
	}
	return " (commit " + commit + ")"
}

// oneFile wants exactly one argument.
func oneFile(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return fmt.Errorf("which file? give %s", what)
		case len(args) > 1:
			return fmt.Errorf("give one file, not %d: %q comes after %q", len(args), args[1], args[0])
		}
		return nil
	}
}

// splitFlags are the flags that several commands share, before they are resolved.
type splitFlags struct {
	shapes    shapeFlag
	pins      ruleFlag
	forbids   ruleFlag
	submodels submodelsFlag
	objective objectiveFlag
	format    formatFlag
	inline    formatFlag
	weights   formatFlag
	timeLimit time.Duration
	leastGain shareFlag
	quiet     bool
	dryRun    bool
	explain   string
	depfile   string
	dot       string

	placement, savePlacement string

	calibration calibrateFlags

	limits limitFlags
}

func (f *splitFlags) model(fl *pflag.FlagSet) {
	fl.Var(&f.shapes, "shape", "extent of a symbolic dimension, or shape of an input, for costs only; repeatable")
	f.limits.add(fl)
}

func (f *splitFlags) search(fl *pflag.FlagSet, o *compiler.Options) {
	f.submodels = 1
	fl.Var(&f.objective, "objective", "what to minimise: the latency of one inference, or the bottleneck of many")
	fl.Var(&f.submodels, "submodels", "most sub-models per processor")
	fl.DurationVar(&f.timeLimit, "time-limit", 0, "stop the search after this time, for example 10s; results then depend on the machine")
	fl.Uint64Var(&o.Seed, "seed", 0, "seed of the search")
}

// keepBest adds the flag of commands that write the plan which they search.
func (f *splitFlags) keepBest(fl *pflag.FlagSet, o *compiler.Options) {
	fl.BoolVar(&o.KeepBest, "keep-best", false, "on Ctrl-C, end the search and go on with the best plan so far; again to stop")
}

func (f *splitFlags) output(fl *pflag.FlagSet) {
	f.format = formatFlag{"text", []string{"text", "json"}}
	fl.Var(&f.format, "format", "of the report on standard output")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, quietUsage)
}

func (f *splitFlags) apply(u *ui, o *compiler.Options) {
	u.quiet = f.quiet
	o.Dims, o.Inputs = f.shapes.dims, f.shapes.inputs
	o.Pins, o.Forbids = f.pins, f.forbids
	o.Submodels = int(f.submodels)
	o.Objective = ir.Objective(f.objective)
	o.TimeLimit, o.LeastGain = f.timeLimit, f.leastGain.value
	l := f.limits.options()
	o.MaxDepth, o.MaxNodes, o.MaxStructureBytes = l.MaxDepth, l.MaxNodes, l.MaxBytes
	o.KeepFunctions = f.inline.value == "never"
	o.Progress = u.progress
}

// applyPlacement reads --placement; what the command line says stays.
func (f *splitFlags) applyPlacement(cmd *cobra.Command, o *compiler.Options) error {
	if f.placement == "" {
		return nil
	}
	p, err := compiler.ReadPlacement(f.placement)
	if err != nil {
		return err
	}
	p.Apply(o, cmd.Flags().Changed)
	return nil
}

func split(cmd *cobra.Command, u *ui, o compiler.Options, f *splitFlags) error {
	if o.Devices == "" {
		return usageError{cmd.CommandPath(), errors.New("--devices is missing: name the folder of device profiles")}
	}
	if f.dot != "" && (f.dryRun || f.explain != "") {
		return usageError{cmd.CommandPath(), errors.New("--dot draws a bundle that is written: leave --dry-run and --explain out")}
	}
	ctx := cmd.Context()
	o.NoWrite = f.dryRun || f.explain != ""
	r, err := f.calibration.compile(cmd, u, o)
	if err != nil {
		return err
	}
	defer r.Close()
	u.notes(r.Notes)
	for _, name := range r.Fleet.IdleCosts() {
		u.notef("%s", draw.Idle(name))
	}
	if f.explain != "" {
		e, err := r.Explain(ctx, f.explain)
		if err != nil {
			return err
		}
		return printExplanation(u, e, f.format.value)
	}
	if !f.dryRun {
		if err := r.Write(ctx); err != nil {
			return err
		}
	}
	if f.savePlacement != "" {
		text := compiler.PlacementOf(r.Bundle.Manifest).Encode("where the nodes of " + r.Bundle.Manifest.Model.File + " are, for dnnsplit --placement")
		if err := writeWhole(f.savePlacement, func(w *bufio.Writer) error { _, err := w.Write(text); return err }); err != nil {
			return err
		}
	}
	if f.dot != "" {
		if _, err := export.Run(ctx, export.Options{Bundle: r.Options.Output, To: "dot", Output: f.dot, Limits: f.limits.options()}); err != nil {
			return err
		}
	}
	if !f.dryRun {
		if f.depfile != "" {
			if err := r.WriteDepfile(f.depfile); err != nil {
				return err
			}
		}
	}
	if f.format.value == "json" {
		text, err := r.Bundle.Manifest.Encode()
		if err != nil {
			return err
		}
		u.printf("%s", text)
		return nil
	}
	printSplit(u, r)
	if !f.dryRun {
		u.printf("\nwrote %s\n", r.Options.Output)
	}
	return nil
}
