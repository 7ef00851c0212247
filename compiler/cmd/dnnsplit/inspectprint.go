package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// inspectTotals are those of the whole model.
type inspectTotals struct {
	Nodes       int        `json:"nodes"`
	Constant    int        `json:"constant_nodes"`
	Dead        int        `json:"unused_nodes"`
	FLOPs       int64      `json:"flops"`
	WeightBytes int64      `json:"weight_bytes"` // of distinct weights
	PeakBytes   int64      `json:"peak_activation_bytes"`
	Costs       []costCell `json:"costs,omitempty"` // of all nodes on one processor, without launch and copies
}

func modelTotals(in *compiler.Inspection, rows []inspectRow) inspectTotals {
	t := inspectTotals{
		Nodes: len(rows), Constant: in.Analysis.Constant, Dead: in.Analysis.Dead,
		WeightBytes: in.WeightBytes(), PeakBytes: in.PeakActivationBytes(),
	}
	if in.Fleet != nil {
		for _, p := range in.Fleet.Platform.Processors {
			t.Costs = append(t.Costs, costCell{Processor: p.Name})
		}
	}
	for _, r := range rows {
		t.FLOPs += r.FLOPs
		addCosts(t.Costs, r.Costs)
	}
	finishCosts(t.Costs)
	return t
}

func printInspection(u *ui, in *compiler.Inspection, rows []inspectRow, format string) error {
	totals := modelTotals(in, rows)
	switch format {
	case "json":
		return printJSON(u, struct {
			Model   string        `json:"model"`
			Inputs  []inspectPort `json:"inputs"`
			Outputs []inspectPort `json:"outputs"`
			Totals  inspectTotals `json:"totals"`
			Nodes   []inspectRow  `json:"nodes"`
			Notes   []string      `json:"notes"`
		}{in.Analysis.File, ports(in, in.Analysis.GraphInputs()), ports(in, in.Analysis.GraphOutputs()), totals, rows, append([]string{}, in.Notes...)})
	case "csv":
		header := append([]string{"index", "name", "op", "output", "flops", "read_bytes", "write_bytes", "weight_bytes", "live_bytes", "group", "kind"}, costHeader(in)...)
		table := make([][]string, len(rows))
		for i, r := range rows {
			table[i] = append([]string{
				fmt.Sprint(r.Index), r.Name, r.Op, r.Output, fmt.Sprint(r.FLOPs), fmt.Sprint(r.Read),
				fmt.Sprint(r.Write), fmt.Sprint(r.Weights), fmt.Sprint(r.Live), r.Group, r.Kind,
			}, costFields(r.Costs)...)
		}
		return printCSV(u, header, table)
	}
	header := []string{"node", "op", "output", "FLOPs", "read", "written", "weights", "live"}
	if in.Fleet != nil {
		for _, p := range in.Fleet.Platform.Processors {
			header = append(header, p.Name+" us")
		}
	}
	header = append(header, "group")
	table := make([][]string, len(rows))
	for i, r := range rows {
		cells := []string{r.Name, r.Op, r.Output, countText(r.FLOPs), bytesText(r.Read), bytesText(r.Write), bytesText(r.Weights), bytesText(r.Live)}
		for _, c := range r.Costs {
			if c.Us == nil && !r.ownsCost() {
				cells = append(cells, "")
			} else {
				cells = append(cells, costText(c))
			}
		}
		table[i] = append(cells, r.Group)
	}
	u.table(header, table)
	printPorts(u, in)
	printTotals(u, totals)
	return nil
}

// inspectPort is an input or output of the model.
type inspectPort struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

func ports(in *compiler.Inspection, names []string) []inspectPort {
	list := make([]inspectPort, len(names))
	for i, name := range names {
		list[i] = inspectPort{name, valueType(in.Analysis, name)}
	}
	return list
}

// printPorts prints what goes in and out, by the names that --shape and --input take.
func printPorts(u *ui, in *compiler.Inspection) {
	ins, outs := ports(in, in.Analysis.GraphInputs()), ports(in, in.Analysis.GraphOutputs())
	rows := make([][]string, 0, len(ins)+len(outs))
	for _, p := range ins {
		rows = append(rows, []string{"input", p.Name, p.Type})
	}
	for _, p := range outs {
		rows = append(rows, []string{"output", p.Name, p.Type})
	}
	u.printf("\n")
	u.table([]string{"", "value", "type"}, rows)
	u.printf("\n")
}

// costText is a cost with the first letters of its sources; nothing where all of
// it stands at other nodes.
func costText(c costCell) string {
	switch {
	case c.Us == nil:
		return "-"
	case c.Source == "":
		return ""
	}
	text := fmt.Sprintf("%.1f ", *c.Us)
	for _, s := range []ir.CostSource{ir.Measured, ir.Fitted, ir.Roofline} {
		if strings.Contains(c.Source, s.String()) {
			text += s.String()[:1]
		}
	}
	return text
}

func costHeader(in *compiler.Inspection) []string {
	var header []string
	if in.Fleet != nil {
		for _, p := range in.Fleet.Platform.Processors {
			header = append(header, p.Name+"_us", p.Name+"_source")
		}
	}
	return header
}

func costFields(costs []costCell) []string {
	var fields []string
	for _, c := range costs {
		if c.Us == nil {
			fields = append(fields, "", "")
		} else {
			fields = append(fields, fmt.Sprintf("%.6f", *c.Us), c.Source)
		}
	}
	return fields
}

func printTotals(u *ui, t inspectTotals) {
	u.printf("%s run, %d constant, %d unused; %sFLOP, weights %s, peak activations %s\n",
		diag.Count(t.Nodes, "node", "nodes"), t.Constant, t.Dead, countText(t.FLOPs), bytesText(t.WeightBytes), bytesText(t.PeakBytes))
	if len(t.Costs) == 0 {
		return
	}
	u.printf("\n")
	var rows [][]string
	for _, c := range t.Costs {
		total, from := "-", "does not support every node"
		if c.Us != nil {
			total, from = fmt.Sprintf("%.1f", *c.Us), c.Source
		}
		rows = append(rows, []string{c.Processor, total, from})
	}
	u.table([]string{"all nodes on", "us", "from"}, rows)
}

func printByOp(u *ui, in *compiler.Inspection, whole inspectTotals, totals []opTotal, format string) error {
	switch format {
	case "json":
		return printJSON(u, totals)
	case "csv":
		header := append([]string{"op", "nodes", "flops", "read_bytes", "write_bytes", "weight_bytes", "live_bytes"}, costHeader(in)...)
		table := make([][]string, 0, len(totals))
		for _, t := range totals {
			table = append(table, append([]string{
				t.Op, fmt.Sprint(t.Nodes), fmt.Sprint(t.FLOPs), fmt.Sprint(t.Read), fmt.Sprint(t.Write), fmt.Sprint(t.Weights), fmt.Sprint(t.Live),
			}, costFields(t.Costs)...))
		}
		return printCSV(u, header, table)
	}
	header := []string{"op", "nodes", "FLOPs", "read", "written", "weights", "live"}
	if in.Fleet != nil {
		for _, p := range in.Fleet.Platform.Processors {
			header = append(header, p.Name+" us")
		}
	}
	var table [][]string
	for _, t := range totals {
		cells := []string{t.Op, fmt.Sprint(t.Nodes), countText(t.FLOPs), bytesText(t.Read), bytesText(t.Write), bytesText(t.Weights), bytesText(t.Live)}
		for _, c := range t.Costs {
			cells = append(cells, costText(c))
		}
		table = append(table, cells)
	}
	u.table(header, table)
	printPorts(u, in)
	printTotals(u, whole)
	return nil
}

func printCSV(u *ui, header []string, rows [][]string) error {
	w := csv.NewWriter(u.out)
	if err := w.Write(header); err != nil {
		return err
	}
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	return w.Error()
}

func printJSON(u *ui, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	u.printf("%s\n", text)
	return nil
}
