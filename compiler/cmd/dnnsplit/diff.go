package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/spf13/cobra"
)

func newDiff(u *ui) *cobra.Command {
	var f splitFlags
	var all, exitCode bool
	cmd := &cobra.Command{
		Use:   "diff BUNDLE BUNDLE",
		Short: "show what changed between two splits",
		Long: `Diff compares two bundles, given by their folders or by their manifests: latency,
bottleneck and memory before and after, nodes that moved to another processor, and
tensors that travel now and did not before, or the other way round.

Nodes are matched by name, so the bundles may be of two versions of a model.`,
		Example: `  dnnsplit diff old.split new.split
  dnnsplit diff old/manifest.json new/manifest.json --format json
  dnnsplit diff old.split new.split --exit-code       # 3 if the placements differ`,
		Args: usage(twoBundles),
		RunE: func(cmd *cobra.Command, args []string) error {
			d, err := compiler.Diff(args[0], args[1])
			if err != nil {
				return err
			}
			if f.format.value == "json" {
				err = printJSON(u, d)
			} else {
				printDifference(u, d, all)
			}
			if err == nil && exitCode && !d.Same() {
				err = errDifferent
			}
			return err
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVar(&all, "all", false, "list every node and tensor, not only the first ones")
	fl.BoolVar(&exitCode, "exit-code", false, "end with exit code 3 if the placements differ")
	f.format = formatFlag{"text", []string{"text", "json"}}
	fl.Var(&f.format, "format", "of the comparison")
	return cmd
}

// twoBundles wants exactly two arguments.
func twoBundles(_ *cobra.Command, args []string) error {
	if len(args) != 2 {
		return errors.New("give two bundles, the one before and the one after")
	}
	return nil
}

func printDifference(u *ui, d *compiler.Difference, all bool) {
	u.printf("%s → %s\n", printable(d.Before.Bundle), printable(d.After.Bundle))
	switch {
	case d.Before.Model != d.After.Model:
		u.printf("two models: %s and %s; nodes are matched by name\n", printable(d.Before.Model), printable(d.After.Model))
	case !d.SameModel:
		u.printf("two versions of %s; nodes are matched by name\n", printable(d.Before.Model))
	}
	for _, c := range d.Options {
		u.printf("option %s: %s → %s\n", c.Name, orNone(c.Before), orNone(c.After))
	}
	u.printf("\n")
	u.table([]string{"", "before", "after", "change"}, [][]string{
		timeChange("latency", d.Before.LatencyUs, d.After.LatencyUs),
		timeChange("bottleneck", d.Before.BottleneckUs, d.After.BottleneckUs),
		timeChange("lower bound", d.Before.LowerBoundUs, d.After.LowerBoundUs),
		countChange("sub-models", d.Before.Submodels, d.After.Submodels),
		countChange("tensors", d.Before.Edges, d.After.Edges),
		bytesChange("bytes", d.Before.EdgeBytes, d.After.EdgeBytes),
	})
	if len(d.Memory) > 0 {
		u.printf("\n")
		rows := make([][]string, 0, len(d.Memory))
		for _, m := range d.Memory {
			row := bytesChange(m.Name, m.Before, m.After)
			limit := "-"
			if m.Limit != nil {
				limit = bytesText(*m.Limit)
			}
			rows = append(rows, append(row, limit))
		}
		u.table([]string{"memory", "before", "after", "change", "limit"}, rows)
	}
	u.printf("\n")
	moved := 0
	for _, m := range d.Moved {
		moved += len(m.Nodes)
	}
	u.printf("%s, %s on the same processor as before\n", diag.Count(moved, "node moved", "nodes moved"), diag.Count(d.Kept, "is", "are"))
	rows := make([][]string, 0, len(d.Moved)+len(d.Gone)+len(d.New))
	for _, m := range d.Moved {
		rows = append(rows, []string{m.From, m.To, fmt.Sprint(len(m.Nodes)), someNames(m.Nodes, all)})
	}
	for _, p := range d.Gone {
		rows = append(rows, []string{p.Processor, "(gone)", fmt.Sprint(len(p.Nodes)), someNames(p.Nodes, all)})
	}
	for _, p := range d.New {
		rows = append(rows, []string{"(new)", p.Processor, fmt.Sprint(len(p.Nodes)), someNames(p.Nodes, all)})
	}
	if len(rows) > 0 {
		u.table([]string{"from", "to", "nodes", ""}, rows)
	}
	for _, r := range d.Replicas {
		u.printf("replicas on %s: %s\n", r.Processor, strings.Join(append(signed("-", r.Gone), signed("+", r.New)...), ", "))
	}
	printEdgeChanges(u, d.Edges, all)
}

func printEdgeChanges(u *ui, edges []compiler.EdgeChange, all bool) {
	if len(edges) == 0 {
		u.printf("no tensor travels otherwise\n")
		return
	}
	u.printf("\n")
	const shown = 20
	var rows [][]string
	for i, e := range edges {
		if i == shown && !all {
			break
		}
		for _, side := range []struct {
			sign string
			ends *compiler.EdgeEnds
		}{{"-", e.Before}, {"+", e.After}} {
			if side.ends != nil {
				rows = append(rows, []string{side.sign + " " + e.Tensor, bytesText(side.ends.Bytes), side.ends.From, strings.Join(side.ends.To, ", ")})
			}
		}
	}
	u.tableOf([]string{"tensor", "bytes", "from", "to"}, rows, func(row []string) string {
		if strings.HasPrefix(row[0], "-") {
			return red
		}
		return green
	})
	if more := len(edges) - shown; more > 0 && !all {
		u.printf("... and %d more with --all\n", more)
	}
}

func timeChange(what string, before, after float64) []string {
	change := "="
	if before != after && before > 0 {
		change = fmt.Sprintf("%+.1f%%", 100*(after/before-1))
	}
	return []string{what, ir.Micros(before).String(), ir.Micros(after).String(), change}
}

func countChange(what string, before, after int) []string {
	change := "="
	if before != after {
		change = fmt.Sprintf("%+d", after-before)
	}
	return []string{what, fmt.Sprint(before), fmt.Sprint(after), change}
}

func bytesChange(what string, before, after int64) []string {
	change := "="
	switch {
	case after > before:
		change = "+" + bytesText(after-before)
	case after < before:
		change = "-" + bytesText(before-after)
	}
	return []string{what, bytesText(before), bytesText(after), change}
}

// someNames lists names, the first few of many.
func someNames(names []string, all bool) string {
	const shown = 4
	if len(names) <= shown || all {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:shown], ", "), len(names)-shown)
}

func signed(sign string, names []string) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = sign + printable(n)
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "(none)"
	}
	return printable(s)
}
