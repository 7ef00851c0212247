package main

import (
	"bufio"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend"
	"github.com/spf13/cobra"
)

func newInspect(u *ui) *cobra.Command {
	o := compiler.Options{}
	f := splitFlags{}
	var graph, sortBy string
	var byOp bool
	cmd := &cobra.Command{
		Use:   "inspect MODEL.onnx [--devices DIR]",
		Short: "show nodes, shapes, FLOPs, bytes and the cost of each node",
		Long: `Inspect lists the nodes that run, with the shape of their first output, floating-point
operations (a multiply-add counts two), bytes read, written and held as weights. With
--devices it adds the cost of each node on each processor, and where the cost comes from:
m measured, f fitted to measurements, r roofline of the data sheet; "-" is unsupported.
Nodes that runtimes fuse are one group, which is never cut: its cost stands at the node
that does the most, and its other nodes name that node in the column "group".`,
		Example: `  dnnsplit inspect model.onnx
  dnnsplit inspect model.onnx --shape batch=8 --sort flops
  dnnsplit inspect model.onnx --by-op
  dnnsplit inspect model.onnx --devices profiles/ --format csv > costs.csv
  dnnsplit inspect model.onnx --devices profiles/ --graph graph.json`,
		Args: usage(oneFile("an ONNX model")),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Model = args[0]
			f.apply(u, &o)
			if graph != "" && o.Devices == "" {
				return usageError{cmd.CommandPath(), errors.New("--graph needs --devices: a graph holds the cost of each node on each processor")}
			}
			if sortBy != "" && !slices.Contains(sortColumns, sortBy) {
				return usageError{cmd.CommandPath(), fmt.Errorf("--sort %s: there is no such column; want one of %s", sortBy, strings.Join(sortColumns, ", "))}
			}
			in, err := compiler.Inspect(cmd.Context(), o)
			if err != nil {
				return err
			}
			for _, n := range in.Notes {
				u.notef("%s", n)
			}
			if graph != "" {
				return writeGraph(u, graph, in.Lowered.Problem)
			}
			rows := inspectRows(in)
			sortRows(rows, sortBy)
			if byOp {
				return printByOp(u, rows, f.format.value)
			}
			return printInspection(u, in, rows, f.format.value)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&o.Devices, "devices", "", "`DIR` of device profiles (*.yaml)")
	f.model(fl)
	fl.StringVar(&sortBy, "sort", "", "sort by this `COLUMN`, largest first: "+strings.Join(sortColumns, ", "))
	fl.BoolVar(&byOp, "by-op", false, "totals by operator instead of nodes")
	fl.StringVar(&graph, "graph", "", "write the execution graph to `FILE` (\"-\": standard output) instead")
	f.format = formatFlag{"text", []string{"text", "json", "csv"}}
	fl.Var(&f.format, "format", "of the table")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no notes and no progress on standard error")
	return cmd
}

var sortColumns = []string{"name", "op", "flops", "read", "write", "weights", "cost"}

func writeGraph(u *ui, path string, p *ir.Problem) error {
	if path == "-" {
		w := bufio.NewWriter(u.out)
		if err := ir.WriteProblem(w, p); err != nil {
			return err
		}
		return w.Flush()
	}
	return writeWhole(path, func(w *bufio.Writer) error { return ir.WriteProblem(w, p) })
}

// inspectRow is one node as inspect shows it.
type inspectRow struct {
	Index   int        `json:"index"`
	Name    string     `json:"name"`
	Op      string     `json:"op"`
	Output  string     `json:"output"`
	FLOPs   int64      `json:"flops"`
	Read    int64      `json:"read_bytes"`
	Write   int64      `json:"write_bytes"`
	Weights int64      `json:"weight_bytes"`
	Known   bool       `json:"work_known"`
	Group   string     `json:"group,omitempty"` // the node at which the costs of its group stand
	Kind    string     `json:"kind,omitempty"`  // of the group
	Costs   []costCell `json:"costs,omitempty"`
}

type costCell struct {
	Processor string   `json:"processor"`
	Us        *float64 `json:"us"` // null: unsupported
	Source    string   `json:"source,omitempty"`

	time ir.Time
}

func inspectRows(in *compiler.Inspection) []inspectRow {
	rows := make([]inspectRow, 0, len(in.Analysis.Nodes))
	unitOf := unitsOf(in.Lowered)
	for i := range in.Analysis.Nodes {
		n := &in.Analysis.Nodes[i]
		row := inspectRow{
			Index: int(n.Index), Name: n.Name, Op: n.Op, Output: firstOutput(in.Analysis, n),
			FLOPs: n.Work.FLOPs, Read: n.Work.ReadBytes, Write: n.Work.WriteBytes, Weights: n.Work.WeightBytes, Known: n.Work.Known,
		}
		if in.Lowered != nil {
			unit := unitOf[n.Index]
			g := in.Lowered.Problem.Graph
			if len(in.Lowered.Members[unit]) > 1 {
				row.Group, row.Kind = g.NodeName(unit), g.Op(unit)
			}
			for p, proc := range in.Fleet.Platform.Processors {
				cell := costCell{Processor: proc.Name}
				if row.ownsCost() {
					cell.time = in.Lowered.Problem.Costs.Of(unit, ir.ProcID(p))
					if cell.time != ir.Unsupported {
						us := cell.time.Us()
						cell.Us, cell.Source = &us, in.Lowered.Sources[int(unit)*len(in.Fleet.Platform.Processors)+p].String()
					}
				}
				row.Costs = append(row.Costs, cell)
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// unitsOf maps the model's nodes to the nodes of the graph that stand for them.
func unitsOf(l *ir.Lowered) map[int32]ir.NodeID {
	of := map[int32]ir.NodeID{}
	if l == nil {
		return of
	}
	for u, members := range l.Members {
		for _, i := range members {
			of[i] = ir.NodeID(u)
		}
	}
	return of
}

// firstOutput prints the type of the node's first output, concrete extents beside symbolic ones.
func firstOutput(a *frontend.Analysis, n *frontend.NodeInfo) string {
	outputs := n.Outputs()
	if len(outputs) == 0 {
		return ""
	}
	v, ok := a.Shapes.Of(outputs[0])
	if !ok {
		return "?"
	}
	text := v.Type.String()
	if v.Type.Kind == ir.Tensor && v.Dims != nil {
		dims := make([]string, len(v.Dims))
		for i, d := range v.Dims {
			dims[i] = fmt.Sprint(d)
		}
		if bound := v.Type.Elem.String() + "[" + strings.Join(dims, ",") + "]"; bound != text {
			text += " = " + bound
		}
	}
	return text
}

func sortRows(rows []inspectRow, by string) {
	key := map[string]func(a, b *inspectRow) int{
		"name":    func(a, b *inspectRow) int { return cmp.Compare(a.Name, b.Name) },
		"op":      func(a, b *inspectRow) int { return cmp.Compare(a.Op, b.Op) },
		"flops":   func(a, b *inspectRow) int { return cmp.Compare(b.FLOPs, a.FLOPs) },
		"read":    func(a, b *inspectRow) int { return cmp.Compare(b.Read, a.Read) },
		"write":   func(a, b *inspectRow) int { return cmp.Compare(b.Write, a.Write) },
		"weights": func(a, b *inspectRow) int { return cmp.Compare(b.Weights, a.Weights) },
		"cost":    func(a, b *inspectRow) int { return cmp.Compare(leastCost(b), leastCost(a)) },
	}[by]
	if key != nil {
		slices.SortStableFunc(rows, func(a, b inspectRow) int { return key(&a, &b) })
	}
}

// ownsCost says whether the costs of the node's group stand at the node.
func (r *inspectRow) ownsCost() bool { return r.Group == "" || r.Group == r.Name }

// leastCost is what the node costs where it is cheapest.
func leastCost(r *inspectRow) ir.Time {
	least := ir.Unsupported
	for _, c := range r.Costs {
		if c.time != ir.Unsupported && (least == ir.Unsupported || c.time < least) {
			least = c.time
		}
	}
	return least
}

func printInspection(u *ui, in *compiler.Inspection, rows []inspectRow, format string) error {
	switch format {
	case "json":
		return printJSON(u, struct {
			Model string       `json:"model"`
			Nodes []inspectRow `json:"nodes"`
			Notes []string     `json:"notes"`
		}{in.Analysis.File, rows, append([]string{}, in.Notes...)})
	case "csv":
		w := csv.NewWriter(u.out)
		header := []string{"index", "name", "op", "output", "flops", "read_bytes", "write_bytes", "weight_bytes"}
		if in.Fleet != nil {
			header = append(header, "group", "kind")
			for _, p := range in.Fleet.Platform.Processors {
				header = append(header, p.Name+"_us", p.Name+"_source")
			}
		}
		if err := w.Write(header); err != nil {
			return err
		}
		for _, r := range rows {
			cells := []string{fmt.Sprint(r.Index), r.Name, r.Op, r.Output, fmt.Sprint(r.FLOPs), fmt.Sprint(r.Read), fmt.Sprint(r.Write), fmt.Sprint(r.Weights)}
			if in.Fleet != nil {
				cells = append(cells, r.Group, r.Kind)
			}
			for _, c := range r.Costs {
				if c.Us == nil {
					cells = append(cells, "", "")
				} else {
					cells = append(cells, fmt.Sprintf("%.6f", *c.Us), c.Source)
				}
			}
			if err := w.Write(cells); err != nil {
				return err
			}
		}
		w.Flush()
		return w.Error()
	}
	header := []string{"node", "op", "output", "FLOPs", "read", "written", "weights"}
	if in.Fleet != nil {
		header = append(header, "group")
		for _, p := range in.Fleet.Platform.Processors {
			header = append(header, p.Name+" us")
		}
	}
	var table [][]string
	var flops, weights int64
	for _, r := range rows {
		cells := []string{r.Name, r.Op, r.Output, countText(r.FLOPs), bytesText(r.Read), bytesText(r.Write), bytesText(r.Weights)}
		if in.Fleet != nil {
			cells = append(cells, r.Group)
		}
		for _, c := range r.Costs {
			switch {
			case c.Us == nil && !r.ownsCost():
				cells = append(cells, "")
			case c.Us == nil:
				cells = append(cells, "-")
			default:
				cells = append(cells, fmt.Sprintf("%.1f %s", *c.Us, c.Source[:1]))
			}
		}
		table = append(table, cells)
		flops += r.FLOPs
		weights += r.Weights
	}
	u.table(header, table)
	u.printf("\n%s run, %d constant, %d unused; %sFLOP, weights %s\n", count(len(rows), "node", "nodes"), in.Analysis.Constant, in.Analysis.Dead, countText(flops), bytesText(weights))
	return nil
}

// opTotal is what the nodes of one operator add up to.
type opTotal struct {
	Op      string     `json:"op"`
	Nodes   int        `json:"nodes"`
	FLOPs   int64      `json:"flops"`
	Read    int64      `json:"read_bytes"`
	Write   int64      `json:"write_bytes"`
	Weights int64      `json:"weight_bytes"`
	Costs   []costCell `json:"costs,omitempty"`
}

func printByOp(u *ui, rows []inspectRow, format string) error {
	at := map[string]int{}
	var totals []opTotal
	for _, r := range rows {
		i, ok := at[r.Op]
		if !ok {
			i = len(totals)
			at[r.Op] = i
			totals = append(totals, opTotal{Op: r.Op})
			for _, c := range r.Costs {
				totals[i].Costs = append(totals[i].Costs, costCell{Processor: c.Processor})
			}
		}
		t := &totals[i]
		t.Nodes++
		t.FLOPs += r.FLOPs
		t.Read += r.Read
		t.Write += r.Write
		t.Weights += r.Weights
		for k, c := range r.Costs {
			switch {
			case c.time == ir.Unsupported:
				t.Costs[k].time = ir.Unsupported
			case t.Costs[k].time != ir.Unsupported:
				t.Costs[k].time += c.time
			}
		}
	}
	for i := range totals {
		for k := range totals[i].Costs {
			if c := &totals[i].Costs[k]; c.time != ir.Unsupported {
				us := c.time.Us()
				c.Us = &us
			}
		}
	}
	slices.SortStableFunc(totals, func(a, b opTotal) int {
		return cmp.Or(cmp.Compare(b.FLOPs, a.FLOPs), cmp.Compare(a.Op, b.Op))
	})
	header := []string{"op", "nodes", "FLOPs", "read", "written", "weights"}
	if len(totals) > 0 {
		for _, c := range totals[0].Costs {
			header = append(header, c.Processor+" us")
		}
	}
	switch format {
	case "json":
		return printJSON(u, totals)
	case "csv":
		w := csv.NewWriter(u.out)
		if err := w.Write(header); err != nil {
			return err
		}
		for _, t := range totals {
			if err := w.Write(t.cells(func(n int64) string { return fmt.Sprint(n) }, func(n int64) string { return fmt.Sprint(n) })); err != nil {
				return err
			}
		}
		w.Flush()
		return w.Error()
	}
	var table [][]string
	for _, t := range totals {
		table = append(table, t.cells(countText, bytesText))
	}
	u.table(header, table)
	return nil
}

func (t *opTotal) cells(count, bytes func(int64) string) []string {
	cells := []string{t.Op, fmt.Sprint(t.Nodes), count(t.FLOPs), bytes(t.Read), bytes(t.Write), bytes(t.Weights)}
	for _, c := range t.Costs {
		if c.Us == nil {
			cells = append(cells, "-")
		} else {
			cells = append(cells, fmt.Sprintf("%.1f", *c.Us))
		}
	}
	return cells
}

func printJSON(u *ui, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	u.printf("%s\n", text)
	return nil
}
