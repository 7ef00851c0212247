package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/spf13/cobra"
)

func newImport(u *ui) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import bundle|autodice|pipeedge",
		Short: "make placements and profiles from bundles and from other tools' files",
		Long: `Import turns what an earlier split or another tool knows into files that dnnsplit
reads: a placement file for --placement, a folder of device profiles for --devices, or
an execution graph for "dnnsplit place".`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{cmd.CommandPath(), fmt.Errorf("%q cannot be imported; want bundle, autodice or pipeedge", args[0])}
			}
			return usageError{cmd.CommandPath(), errors.New("what is to be imported? name bundle, autodice or pipeedge")}
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	cmd.AddCommand(newImportBundle(u), newImportAutoDiCE(u), newImportPipeEdge(u))
	return cmd
}

func newImportBundle(u *ui) *cobra.Command {
	output := ""
	cmd := &cobra.Command{
		Use:   "bundle BUNDLE [-o placement.yaml]",
		Short: "write the placement file of a bundle",
		Long: `The placement file holds what the bundle was asked for, and the processor of every
node. Edit it and split again with --placement.`,
		Example: `  dnnsplit import bundle model.split -o placement.yaml
  dnnsplit model.onnx --devices profiles/ --placement placement.yaml`,
		Args: usage(oneFile("the folder of a bundle")),
		RunE: func(_ *cobra.Command, args []string) error {
			m, err := compiler.ReadBundle(args[0])
			if err != nil {
				return err
			}
			return writePlacement(u, output, compiler.PlacementOf(m), "where the nodes of "+m.Model.File+" are, for dnnsplit --placement")
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "", "`FILE` to write; standard output if left out")
	return cmd
}

func newImportAutoDiCE(u *ui) *cobra.Command {
	output, devices := "", ""
	as := pairFlag{want: "RESOURCE=PROCESSOR"}
	cmd := &cobra.Command{
		Use:   "autodice MAPPING.json [--devices DIR] [-o placement.yaml]",
		Short: "make a placement file from a mapping of AutoDiCE",
		Long: `Reads mapping.json of AutoDiCE for vertical partitions: {"host_cpu0": ["layer", ...]},
resources to the layers that they run, a layer called as the first output of its node.
A resource is the processor of that name, or the only processor of the device "host", or
its only one of the kind (cpu, gpu); --as names it where that is not so.`,
		Example: `  dnnsplit import autodice mapping.json --devices profiles/ -o placement.yaml
  dnnsplit import autodice mapping.json --as lenovo_cpu0=pi --as lenovo_cpu1=server.cpu`,
		Args: usage(oneFile("a mapping of AutoDiCE")),
		RunE: func(_ *cobra.Command, args []string) error {
			var fleet *profiles.Fleet
			if devices != "" {
				var err error
				if fleet, err = profiles.Load(devices); err != nil {
					return err
				}
			}
			p, err := compiler.ImportAutoDiCE(args[0], fleet, as.values)
			if err != nil {
				return err
			}
			return writePlacement(u, output, p, "from AutoDiCE's "+filepath.Base(args[0]))
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&devices, "devices", "", "`DIR` of device profiles (*.yaml) to find the processors in")
	fl.Var(&as, "as", "the processor that a resource is; repeatable")
	fl.StringVarP(&output, "output", "o", "", "`FILE` to write; standard output if left out")
	return cmd
}

func newImportPipeEdge(u *ui) *cobra.Command {
	var o compiler.PipeEdgeOptions
	var f splitFlags
	var output, graph, onnx string
	cmd := &cobra.Command{
		Use:   "pipeedge DIR --graph GRAPH.json | --onnx MODEL.onnx -o PROFILES",
		Short: "make an execution graph or device profiles from PipeEdge's YAML files",
		Long: `Reads device_types.yml (mem_MB, bw_Mbps, model_profiles with dtype, batch_size and
time_s), devices.yml (hosts by type) and models.yml (layers, mem_MB, parameters_in,
parameters_out) of a folder, as PipeEdge's scheduler does: a megabyte is 2^20 bytes, and
a link is as fast as the slower of its ends.

--graph writes its scheduling problem, a chain of layers with the measured times, as an
execution graph. --onnx writes a folder of device profiles instead: their rates are those
with which the given model, the ONNX form of the one that was measured, takes the time
that was measured.`,
		Example: `  dnnsplit import pipeedge pipeedge/ --model google/vit-base-patch16-224 --graph vit.json
  dnnsplit place vit.json --objective throughput
  dnnsplit import pipeedge pipeedge/ --onnx vit.onnx --shape batch=8 -o profiles/`,
		Args: usage(oneFile("the folder of PipeEdge's files")),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case graph == "" && onnx == "":
				return usageError{cmd.CommandPath(), errors.New("name --graph FILE for an execution graph, or --onnx MODEL.onnx and -o DIR for device profiles")}
			case graph != "" && onnx != "":
				return usageError{cmd.CommandPath(), errors.New("give --graph or --onnx, not both")}
			case onnx != "" && output == "":
				return usageError{cmd.CommandPath(), errors.New("-o is missing: name the folder for the device profiles")}
			case o.Batch < 0:
				return usageError{cmd.CommandPath(), fmt.Errorf("--batch: %d is no batch size", o.Batch)}
			}
			p, err := compiler.ReadPipeEdge(args[0])
			if err != nil {
				return err
			}
			if graph != "" {
				problem, err := p.Graph(o)
				if err != nil {
					return err
				}
				return writeGraph(u, graph, problem)
			}
			var inspect compiler.Options
			f.apply(u, &inspect)
			inspect.Model = onnx
			names, files, err := p.Fleet(cmd.Context(), o, inspect)
			if err != nil {
				return err
			}
			return writeNew(u, output, names, files)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&o.Model, "model", "", "`NAME` of the model in PipeEdge's files (default: the only one)")
	fl.StringVar(&o.Dtype, "dtype", "", "`DTYPE` of the profile (default torch.float32)")
	fl.IntVar(&o.Batch, "batch", 0, "batch size of the profile (default: the only one)")
	fl.StringVar(&graph, "graph", "", "write an execution graph to `FILE` (\"-\": standard output)")
	fl.StringVar(&onnx, "onnx", "", "the measured model as `MODEL.onnx`")
	fl.Var(&f.shapes, "shape", "extent of a symbolic dimension of the ONNX model, or shape of an input; repeatable")
	fl.StringVarP(&output, "output", "o", "", "`DIR` for the device profiles")
	return cmd
}

// writePlacement writes a placement file, or prints it.
func writePlacement(u *ui, path string, p *compiler.Placement, comment string) error {
	text := p.Encode(comment)
	if path == "" {
		u.printf("%s", text)
		return nil
	}
	if err := writeWhole(path, func(w *bufio.Writer) error { _, err := w.Write(text); return err }); err != nil {
		return err
	}
	u.printf("wrote %s\n", path)
	return nil
}

// writeNew writes files into a folder, which it makes, and replaces none.
func writeNew(u *ui, dir string, names []string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	for _, name := range names {
		if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
			return fmt.Errorf("%s is there already; name another folder with -o", filepath.Join(dir, name))
		}
	}
	for _, name := range names {
		if err := writeWhole(filepath.Join(dir, name), func(w *bufio.Writer) error { _, err := w.Write(files[name]); return err }); err != nil {
			return err
		}
	}
	u.printf("wrote %s to %s\n", diag.Count(len(names), "file", "files"), dir)
	return nil
}
