package main

import (
	"bufio"
	"cmp"
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
	var byOp, reverse bool
	cmd := &cobra.Command{
		Use:   "inspect MODEL.onnx [--devices DIR]",
		Short: "show nodes, shapes, FLOPs, bytes and the cost of each node",
		Long: `Inspect lists the nodes that run, with the shape of their first output, floating-point
operations (a multiply-add counts two), bytes read, written and held as weights, and the
bytes of activations that are live while the node runs, if the whole model is one
sub-model. With --devices it adds the cost of each node on each processor, and where the
cost comes from: m measured, f fitted to measurements, r roofline of the data sheet; "-"
is unsupported.

Nodes that runtimes fuse are one group, which is never cut: its cost stands at the node
that does the most, and its other nodes name that node in the column "group". What is
live inside a group is not counted.

--sort takes any column, or the name of a processor: the largest first, texts by alphabet.`,
		Example: `  dnnsplit inspect model.onnx
  dnnsplit inspect model.onnx --shape batch=8 --sort flops
  dnnsplit inspect model.onnx --by-op
  dnnsplit inspect model.onnx --devices profiles/ --sort edge-server.gpu
  dnnsplit inspect model.onnx --devices profiles/ --format csv > costs.csv
  dnnsplit inspect model.onnx --devices profiles/ --graph graph.json`,
		Args: usage(oneFile("an ONNX model")),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Model = args[0]
			f.apply(u, &o)
			if graph != "" && o.Devices == "" {
				return usageError{cmd.CommandPath(), errors.New("--graph needs --devices: a graph holds the cost of each node on each processor")}
			}
			if o.Devices == "" && sortBy != "" && !slices.Contains(sortColumns, sortBy) {
				return usageError{cmd.CommandPath(), noColumn(sortBy, sortColumns)}
			}
			in, err := compiler.Inspect(cmd.Context(), o)
			if err != nil {
				return err
			}
			u.notes(in.Notes)
			if graph != "" {
				return writeGraph(u, graph, in.Lowered.Problem)
			}
			columns := sortColumns
			if in.Fleet != nil {
				columns = slices.Concat(columns, processorNames(in))
			}
			if sortBy != "" && !slices.Contains(columns, sortBy) {
				return usageError{cmd.CommandPath(), noColumn(sortBy, columns)}
			}
			rows := inspectRows(in)
			if byOp {
				totals := totalsByOp(rows)
				sortTotals(totals, sortBy, reverse)
				return printByOp(u, in, modelTotals(in, rows), totals, f.format.value)
			}
			sortRows(rows, sortBy, reverse)
			return printInspection(u, in, rows, f.format.value)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&o.Devices, "devices", "", "`DIR` of device profiles (*.yaml)")
	f.model(fl)
	fl.StringVar(&sortBy, "sort", "", "sort by this `COLUMN`: "+strings.Join(sortColumns, ", ")+", or a processor")
	fl.BoolVar(&reverse, "reverse", false, "sort the other way round")
	fl.BoolVar(&byOp, "by-op", false, "totals by operator instead of nodes")
	fl.StringVar(&graph, "graph", "", "write the execution graph to `FILE` (\"-\": standard output) instead")
	f.format = formatFlag{"text", []string{"text", "json", "csv"}}
	fl.Var(&f.format, "format", "of the table")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, quietUsage)
	return cmd
}

// sortColumns are the columns that need no fleet; "cost" is that of the processor
// on which a node is cheapest.
var sortColumns = []string{"index", "node", "op", "output", "flops", "read", "written", "weights", "live", "group", "cost"}

func noColumn(name string, columns []string) error {
	return fmt.Errorf("--sort %s: there is no such column; want one of %s", name, strings.Join(columns, ", "))
}

func processorNames(in *compiler.Inspection) []string {
	names := make([]string, len(in.Fleet.Platform.Processors))
	for i, p := range in.Fleet.Platform.Processors {
		names[i] = p.Name
	}
	return names
}

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
	Live    int64      `json:"live_bytes"` // of activations while the node, or its group, runs
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
	g := in.Lowered.Problem.Graph
	for i := range in.Analysis.Nodes {
		n := &in.Analysis.Nodes[i]
		unit := unitOf[n.Index]
		row := inspectRow{
			Index: int(n.Index), Name: n.Name, Op: n.Op, Output: firstOutput(in.Analysis, n),
			FLOPs: n.Work.FLOPs, Read: n.Work.ReadBytes, Write: n.Work.WriteBytes, Weights: n.Work.WeightBytes,
			Live: in.LiveBytes[unit], Known: n.Work.Known,
		}
		if len(in.Lowered.Members[unit]) > 1 {
			row.Group, row.Kind = g.NodeName(unit), g.Op(unit)
		}
		if in.Fleet != nil {
			row.price(in, unit)
		}
		rows = append(rows, row)
	}
	return rows
}

// price fills the costs, which stand at one node of a group.
func (r *inspectRow) price(in *compiler.Inspection, unit ir.NodeID) {
	procs := in.Fleet.Platform.Processors
	for p, proc := range procs {
		cell := costCell{Processor: proc.Name}
		if r.ownsCost() {
			cell.time = in.Lowered.Problem.Costs.Of(unit, ir.ProcID(p))
			if cell.time != ir.Unsupported {
				us := cell.time.Us()
				cell.Us, cell.Source = &us, in.Lowered.Sources[int(unit)*len(procs)+p].String()
			}
		}
		r.Costs = append(r.Costs, cell)
	}
}

// unitsOf maps the model's nodes to the nodes of the graph that stand for them.
func unitsOf(l *ir.Lowered) map[int32]ir.NodeID {
	of := map[int32]ir.NodeID{}
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
	return valueType(a, outputs[0])
}

// valueType is the type of a value, and where its extents are bound or assumed what it
// counts as; "?" if nothing is known.
func valueType(a *frontend.Analysis, name string) string {
	v, ok := a.Shapes.Of(name)
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

// ownsCost says whether the costs of the node's group stand at the node.
func (r *inspectRow) ownsCost() bool { return r.Group == "" || r.Group == r.Name }

// sortRows sorts by a column; rows that are equal there keep the order in which
// the nodes run.
func sortRows(rows []inspectRow, by string, reverse bool) {
	key := map[string]func(a, b *inspectRow) int{
		"index":   func(a, b *inspectRow) int { return cmp.Compare(a.Index, b.Index) },
		"node":    func(a, b *inspectRow) int { return cmp.Compare(a.Name, b.Name) },
		"op":      func(a, b *inspectRow) int { return cmp.Compare(a.Op, b.Op) },
		"output":  func(a, b *inspectRow) int { return cmp.Compare(a.Output, b.Output) },
		"flops":   func(a, b *inspectRow) int { return cmp.Compare(b.FLOPs, a.FLOPs) },
		"read":    func(a, b *inspectRow) int { return cmp.Compare(b.Read, a.Read) },
		"written": func(a, b *inspectRow) int { return cmp.Compare(b.Write, a.Write) },
		"weights": func(a, b *inspectRow) int { return cmp.Compare(b.Weights, a.Weights) },
		"live":    func(a, b *inspectRow) int { return cmp.Compare(b.Live, a.Live) },
		"group":   func(a, b *inspectRow) int { return cmp.Compare(a.Group, b.Group) },
		"cost":    func(a, b *inspectRow) int { return cmp.Compare(leastCost(b.Costs), leastCost(a.Costs)) },
	}[by]
	if key == nil && by != "" {
		key = func(a, b *inspectRow) int { return cmp.Compare(costOn(b.Costs, by), costOn(a.Costs, by)) }
	}
	sortBy(rows, key, reverse)
}

func sortBy[T any](rows []T, key func(a, b *T) int, reverse bool) {
	switch {
	case key != nil && reverse:
		slices.SortStableFunc(rows, func(a, b T) int { return key(&b, &a) })
	case key != nil:
		slices.SortStableFunc(rows, func(a, b T) int { return key(&a, &b) })
	case reverse:
		slices.Reverse(rows)
	}
}

// costOn is the cost on a processor; Unsupported, the least, where there is none.
func costOn(costs []costCell, processor string) ir.Time {
	for _, c := range costs {
		if c.Processor == processor && c.Us != nil {
			return c.time
		}
	}
	return ir.Unsupported
}

// leastCost is the cost where it is lowest.
func leastCost(costs []costCell) ir.Time {
	least := ir.Unsupported
	for _, c := range costs {
		if c.Us != nil && (least == ir.Unsupported || c.time < least) {
			least = c.time
		}
	}
	return least
}

// opTotal is what the nodes of one operator add up to.
type opTotal struct {
	Op      string     `json:"op"`
	Nodes   int        `json:"nodes"`
	FLOPs   int64      `json:"flops"`
	Read    int64      `json:"read_bytes"`
	Write   int64      `json:"write_bytes"`
	Weights int64      `json:"weight_bytes"`
	Live    int64      `json:"live_bytes"` // the most while one of them runs
	Costs   []costCell `json:"costs,omitempty"`
}

// totalsByOp adds rows up. The cost of a group counts for the operator of the node
// at which it stands; a processor that does not support one of the nodes has none.
func totalsByOp(rows []inspectRow) []opTotal {
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
		t.Live = max(t.Live, r.Live)
		addCosts(t.Costs, r.Costs)
	}
	for i := range totals {
		finishCosts(totals[i].Costs)
	}
	return totals
}

// addCosts adds the costs of a node to a total, with the sources that it rests on.
func addCosts(total, costs []costCell) {
	for k, c := range costs {
		switch {
		case c.time == ir.Unsupported:
			total[k].time = ir.Unsupported
		case total[k].time != ir.Unsupported:
			total[k].time += c.time
			if c.Source != "" && !strings.Contains(total[k].Source, c.Source) {
				total[k].Source = joinSources(total[k].Source, c.Source)
			}
		}
	}
}

// joinSources lists sources from the best to the weakest.
func joinSources(a, b string) string {
	var list []string
	for _, s := range []ir.CostSource{ir.Measured, ir.Fitted, ir.Roofline} {
		if strings.Contains(a, s.String()) || b == s.String() {
			list = append(list, s.String())
		}
	}
	return strings.Join(list, "+")
}

func finishCosts(total []costCell) {
	for k := range total {
		if c := &total[k]; c.time != ir.Unsupported {
			us := c.time.Us()
			c.Us = &us
		} else {
			c.Source = ""
		}
	}
}

func sortTotals(totals []opTotal, by string, reverse bool) {
	byFLOPs := func(a, b *opTotal) int { return cmp.Or(cmp.Compare(b.FLOPs, a.FLOPs), cmp.Compare(a.Op, b.Op)) }
	key := map[string]func(a, b *opTotal) int{
		"": byFLOPs, "flops": byFLOPs,
		"op":      func(a, b *opTotal) int { return cmp.Compare(a.Op, b.Op) },
		"index":   func(a, b *opTotal) int { return cmp.Compare(b.Nodes, a.Nodes) },
		"read":    func(a, b *opTotal) int { return cmp.Compare(b.Read, a.Read) },
		"written": func(a, b *opTotal) int { return cmp.Compare(b.Write, a.Write) },
		"weights": func(a, b *opTotal) int { return cmp.Compare(b.Weights, a.Weights) },
		"live":    func(a, b *opTotal) int { return cmp.Compare(b.Live, a.Live) },
		"cost":    func(a, b *opTotal) int { return cmp.Compare(leastCost(b.Costs), leastCost(a.Costs)) },
		"node":    func(a, b *opTotal) int { return cmp.Compare(b.Nodes, a.Nodes) },
		"output":  func(a, b *opTotal) int { return cmp.Compare(a.Op, b.Op) },
		"group":   func(a, b *opTotal) int { return cmp.Compare(a.Op, b.Op) },
	}[by]
	if key == nil {
		key = func(a, b *opTotal) int { return cmp.Compare(costOn(b.Costs, by), costOn(a.Costs, by)) }
	}
	sortBy(totals, key, reverse)
}
