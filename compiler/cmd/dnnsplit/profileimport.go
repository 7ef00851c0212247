package main

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/dnnsplit/dnnsplit/profiles/importer"
	"github.com/spf13/cobra"
)

func newProfileImport(u *ui) *cobra.Command {
	o := compiler.Options{}
	p := compiler.ImportOptions{WarmUp: 1}
	f := splitFlags{}
	var output string
	var all bool
	cmd := &cobra.Command{
		Use:   "import FILE... --model MODEL.onnx --processor NAME [-o FILE.costs.json]",
		Short: "read measured costs from profiles of ONNX Runtime, TensorRT or OpenVINO",
		Long: `Import reads what a runtime recorded while it ran a model, ties it to the nodes of that
model, and writes measured costs. Formats are told by their contents:

  ONNX Runtime  the JSON file of a session with profiling on
  TensorRT      trtexec --exportProfile=FILE, with the file of --exportLayerInfo beside it
                (--profilingVerbosity=detailed names the nodes of each layer)
  OpenVINO      benchmark_app -report_type detailed_counters or average_counters, CSV or JSON

Runtimes fuse and rename nodes. What a kernel takes that does the work of several nodes
becomes the cost of the group that dnnsplit never cuts, or is divided by predicted work
where that may be cut. The report says what became of every event and which nodes have no
time. Without -o nothing is written. An existing file keeps its other entries.

Name the file under "costs" of the processor in its device profile.`,
		Example: `  dnnsplit profile import onnxruntime_profile.json --model model.onnx --processor pi -o profiles/pi.costs.json
  dnnsplit profile import profile.json layers.json --model model.onnx --devices profiles/ \
      --processor jetson-orin-nano.gpu -o profiles/jetson-gpu.costs.json
  dnnsplit profile import benchmark_detailed_counters_report.csv --model model.onnx --processor npu
  dnnsplit profile import p.json --model model.onnx --processor pi --whole 12.5ms --format json`,
		Args: usage(func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return errors.New("which file? give the profile that a runtime wrote")
			}
			return nil
		}),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.apply(u, &o)
			wrong := func(format string, args ...any) error {
				return usageError{cmd.CommandPath(), fmt.Errorf(format, args...)}
			}
			switch {
			case o.Model == "":
				return wrong("--model is missing: name the ONNX model that was profiled")
			case p.Processor == "":
				return wrong("--processor is missing: name the processor that ran the model")
			case p.WarmUp < 0:
				return wrong("--warm-up: %d runs cannot be left out", p.WarmUp)
			case p.Whole < 0:
				return wrong("--whole: %s is no time that a run takes", p.Whole)
			}
			p.Profiles = args
			r, err := compiler.ImportProfiles(cmd.Context(), o, p)
			if err != nil {
				return err
			}
			for _, n := range r.Coverage.Notes {
				u.notef("%s", n)
			}
			file := &profiles.CostFile{
				Processor: p.Processor, Machine: r.Machine, Source: importSource(r), Entries: r.Entries,
			}
			c := importReport{Result: r, Processor: p.Processor, New: len(r.Entries)}
			if output != "" {
				if file, err = mergeInto(output, file, &c); err != nil {
					return err
				}
				err = writeWhole(output, func(w *bufio.Writer) error { return file.Encode(w) })
				if err != nil {
					return fmt.Errorf("%s: %w", output, err)
				}
				c.Output = output
			}
			c.Total = len(file.Entries)
			c.Fits = fitReports(file)
			if f.format.value == "json" {
				return printJSON(u, c.json())
			}
			c.print(u, all)
			return nil
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&o.Model, "model", "", "the ONNX `FILE` that was profiled")
	fl.StringVar(&p.Processor, "processor", "", "`NAME` of the processor that ran it, as device profiles call it")
	fl.StringVarP(&output, "output", "o", "", "cost `FILE` to write, or to add to if it exists")
	fl.StringVar(&o.Devices, "devices", "", "`DIR` of device profiles: the processor is checked, and fused kernels are divided by its data sheet")
	fl.StringVar(&p.Provider, "provider", "", "ONNX Runtime: the execution `PROVIDER` whose kernels count (default: the processor's, else the only one)")
	fl.IntVar(&p.WarmUp, "warm-up", p.WarmUp, "ONNX Runtime: first runs to leave out")
	fl.DurationVar(&p.Whole, "whole", 0, "how long a run takes without profiling, for example 12.5ms: times are scaled to it")
	f.model(fl)
	fl.BoolVar(&all, "all", false, "list every fused kernel and every node without time")
	f.output(fl)
	return cmd
}

func importSource(r *importer.Result) string {
	var names []string
	for _, f := range r.Coverage.Files {
		names = append(names, strings.ToValidUTF8(filepath.Base(f.File), "?"))
	}
	const most = 5
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return fmt.Sprintf("imported from %s %s", r.Coverage.Files[0].Format, strings.Join(names, ", "))
}

// mergeInto adds what was imported to the file at path, if there is one.
func mergeInto(path string, imported *profiles.CostFile, c *importReport) (*profiles.CostFile, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return imported, nil
	}
	if err != nil {
		return nil, err
	}
	old, err := profiles.ReadCosts(path, data)
	if err != nil {
		return nil, err
	}
	if old.Processor != "" && old.Processor != imported.Processor {
		return nil, fmt.Errorf("%s: it holds costs of processor %s, not %s; write to another file", path, printable(old.Processor), printable(imported.Processor))
	}
	before := len(old.Entries)
	if err := old.Merge(imported); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	c.New = len(old.Entries) - before
	c.Replaced = len(imported.Entries) - c.New
	return old, nil
}

// importReport is what the command says.
type importReport struct {
	*importer.Result
	Processor string
	Output    string
	New       int // entries
	Replaced  int
	Total     int // in the file
	Fits      []fitReport
}

func (c *importReport) json() any {
	return struct {
		Processor string            `json:"processor"`
		Output    string            `json:"output,omitempty"`
		New       int               `json:"entries_new"`
		Replaced  int               `json:"entries_replaced"`
		Total     int               `json:"entries_total"`
		Coverage  importer.Coverage `json:"coverage"`
		Fits      []fitReport       `json:"fits"`
	}{c.Processor, c.Output, c.New, c.Replaced, c.Total, c.Coverage, append([]fitReport{}, c.Fits...)}
}

func (c *importReport) print(u *ui, all bool) {
	v := &c.Coverage
	for _, f := range v.Files {
		text := fmt.Sprintf("%s: %s, %s", printable(f.File), f.Format, diag.Count(f.Runs, "run", "runs"))
		if f.WarmUp > 0 {
			text += fmt.Sprintf(", %d left out as warm-up", f.WarmUp)
		}
		if f.RunUs > 0 {
			text += fmt.Sprintf("; a run took %.1f us, its kernels %.1f us", f.RunUs, f.KernelsUs)
		}
		if f.Scale != 1 {
			text += fmt.Sprintf("; scaled by %.3f to the time without profiling", f.Scale)
		}
		u.printf("%s\n", text)
	}
	u.printf("\n%d of %s attributed to nodes: %.1f us a run", v.Attributed.Events, diag.Count(int(v.Events), "event", "events"), v.Attributed.RunUs)
	if v.Us > 0 {
		u.printf(", %s of the recorded time", share(v.Attributed.Us/v.Us))
	}
	u.printf("\n")
	var rows [][]string
	for _, w := range v.Ways {
		rows = append(rows, []string{w.How, diag.Count(w.Kernels, "kernel", "kernels"), fmt.Sprintf("%.1f us a run", w.RunUs)})
	}
	u.table([]string{"", "", ""}, rows)

	for _, aside := range []bool{true, false} {
		rows = rows[:0]
		for _, o := range v.LeftOut {
			if o.Aside == aside {
				rows = append(rows, []string{o.Reason, diag.Count(int(o.Events), "event", "events"), fmt.Sprintf("%.1f us in all", o.Us), strings.Join(o.Examples, ", ")})
			}
		}
		if len(rows) == 0 {
			continue
		}
		u.printf("\n%s\n", map[bool]string{true: "set aside", false: "not attributed"}[aside])
		u.table([]string{"", "", "", ""}, rows)
	}
	u.printf("\n%d of %s have a time", v.Timed, diag.Count(v.Nodes, "node", "nodes"))
	if shared := v.Timed - v.Own; shared > 0 {
		u.printf(", %d of them as part of another node's kernel", shared)
	}
	u.printf("\n")
	list := func(what string, names []string) {
		if len(names) == 0 {
			return
		}
		shown := names
		const most = 4
		if !all && len(names) > most {
			shown = append(append([]string{}, names[:most]...), fmt.Sprintf("%d more (--all lists them)", len(names)-most))
		}
		u.printf("%s: %s\n", what, printable(strings.Join(shown, ", ")))
	}
	list(diag.Count(len(v.Dropped), "node costs", "nodes cost")+" nothing, the runtime runs the model without", v.Dropped)
	for _, w := range v.WithoutUs {
		list(fmt.Sprintf("%s no time, %s", diag.Count(len(w.Nodes), "node has", "nodes have"), w.Reason), w.Nodes)
	}
	if len(v.Fused) > 0 {
		u.printf("\n")
		rows = rows[:0]
		shown := v.Fused
		const most = 10
		if !all && len(shown) > most {
			shown = shown[:most]
		}
		for _, k := range shown {
			rows = append(rows, []string{k.Kernel, fmt.Sprintf("%.1f", k.RunUs), fmt.Sprint(k.Units), strings.Join(k.Nodes, " + ")})
		}
		u.table([]string{"fused kernel", "us a run", "units", "nodes"}, rows)
		if len(shown) < len(v.Fused) {
			u.printf("and %d more (--all lists them)\n", len(v.Fused)-len(shown))
		}
	}
	printFits(u, c.Fits)
	if c.Output == "" {
		u.printf("\n%s for %s; nothing is written without -o\n", diag.Count(c.New, "entry", "entries"), printable(c.Processor))
		return
	}
	u.printf("\nwrote %s: %d new and %d replaced of %s for %s\n", printable(c.Output), c.New, c.Replaced, diag.Count(c.Total, "entry", "entries"), printable(c.Processor))
}
