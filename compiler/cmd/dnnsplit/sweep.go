package main

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend/report"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/spf13/cobra"
)

func newSweep(u *ui) *cobra.Command {
	o := compiler.SweepOptions{}
	f := splitFlags{}
	var vary varyFlag
	var output string
	scale := formatFlag{"auto", []string{"auto", "linear", "log"}}
	cmd := &cobra.Command{
		Use:   "sweep MODEL.onnx --devices DIR --vary PARAMETER=VALUES",
		Short: "show what a split would be with other links, memory or processors",
		Long: `Sweep places a model again and again on a fleet some of whose numbers vary. It reads the
model once and writes no sub-models.

A parameter is one of
  link:A-B.bandwidth, link:A-B.latency     between two devices, both ways; link:A->B for one
                                           way, a medium's name, or * for all links
  device:D.memory
  processor:P.memory, .launch, .op_overhead, .memory_bandwidth, .peak, .peak.int8,
  .upload.bandwidth, .upload.latency, .download.bandwidth, .download.latency
  processor:P.speed                        a factor on all its costs, measured ones too

Values are a range with units (10..1000Mbit/s), cut into --steps values, or a list
(1GiB,2GiB,4GiB). Several --vary give every combination.

--drop-device adds the same points for the fleet without a device. --pareto asks for
latency and for throughput, with one, two and any number of sub-models per processor, and
marks the plans that no other beats in both; the drawing then shows latency against
throughput.`,
		Example: `  dnnsplit sweep model.onnx --devices profiles/ --vary 'link:raspberry-pi-5-edge-server.bandwidth=10..1000Mbit/s'
  dnnsplit sweep model.onnx --devices profiles/ --vary 'device:phone.memory=1GiB,2GiB,8GiB' --format csv
  dnnsplit sweep model.onnx --devices profiles/ --drop-device edge-server --drop-device phone
  dnnsplit sweep model.onnx --devices profiles/ --pareto --format svg -o pareto.svg`,
		Args: usage(oneFile("an ONNX model")),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Model = args[0]
			f.apply(u, &o.Options)
			if o.Devices == "" {
				return usageError{cmd.CommandPath(), fmt.Errorf("--devices is missing: name the folder of device profiles")}
			}
			if o.Steps < 0 || o.Steps == 1 {
				return usageError{cmd.CommandPath(), fmt.Errorf("--steps %d: a range has at least two values", o.Steps)}
			}
			if len(vary)+len(o.Drop) == 0 && !o.Pareto {
				return usageError{cmd.CommandPath(), fmt.Errorf("nothing varies: give --vary, --drop-device or --pareto")}
			}
			if err := f.applyPlacement(cmd, &o.Options); err != nil {
				return err
			}
			o.Vary = vary
			for i := range o.Vary {
				o.Vary[i].Linear, o.Vary[i].Log = scale.value == "linear", scale.value == "log"
			}
			s, err := compiler.RunSweep(cmd.Context(), o)
			if err != nil {
				return err
			}
			return printSweep(u, s, f.format.value, output)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVar(&o.Devices, "devices", "", "`DIR` of device profiles (*.yaml)")
	fl.Var(&vary, "vary", "a number of the fleet and its values; repeatable")
	fl.IntVar(&o.Steps, "steps", 0, "how many values a range has (default 9)")
	fl.Var(&scale, "scale", "how a range is cut: by equal factors from a factor of ten on, else by equal differences")
	fl.StringArrayVar(&o.Drop, "drop-device", nil, "also without this `DEVICE`; repeatable")
	fl.BoolVar(&o.Pareto, "pareto", false, "weigh latency against throughput")
	f.model(fl)
	f.search(fl, &o.Options)
	fl.StringVar(&f.placement, "placement", "", "read pin, forbid, same and more from a placement `FILE` (YAML)")
	fl.StringVar(&o.Source, "source", "", "`DEVICE` where inputs appear (default: as fleet.yaml says)")
	fl.StringVar(&o.Sink, "sink", "", "`DEVICE` where outputs must arrive (default: as fleet.yaml says)")
	f.format = formatFlag{"text", []string{"text", "json", "csv", "svg"}}
	fl.Var(&f.format, "format", "of the result")
	fl.StringVarP(&output, "output", "o", "", "`FILE` to write; standard output if left out")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, quietUsage)
	return cmd
}

// varyFlag collects --vary PARAMETER=VALUES.
type varyFlag []compiler.Variation

func (f *varyFlag) String() string { return "" }
func (f *varyFlag) Type() string   { return "PARAMETER=VALUES" }

func (f *varyFlag) Set(text string) error {
	at := strings.LastIndex(text, "=")
	if at <= 0 || at == len(text)-1 {
		return fmt.Errorf("want PARAMETER=VALUES, for example link:pi-jetson.bandwidth=10..1000Mbit/s")
	}
	*f = append(*f, compiler.Variation{Parameter: text[:at], Values: text[at+1:]})
	return nil
}

func printSweep(u *ui, s *compiler.Sweep, format, output string) error {
	var text bytes.Buffer
	switch format {
	case "text":
		if output == "" {
			sweepTable(u, s)
			return nil
		}
		plain := &ui{out: &text}
		sweepTable(plain, s)
	case "json":
		if err := printJSON(&ui{out: &text}, s); err != nil {
			return err
		}
	case "csv":
		if err := sweepCSV(&text, s); err != nil {
			return err
		}
	case "svg":
		text.Write(sweepChart(s).SVG())
	}
	if output == "" {
		u.printf("%s", text.Bytes())
		return nil
	}
	if err := writeWhole(output, func(w *bufio.Writer) error { _, err := w.Write(text.Bytes()); return err }); err != nil {
		return err
	}
	u.printf("wrote %s\n", output)
	return nil
}

// sweepColumns says which columns tell the points apart.
func sweepColumns(s *compiler.Sweep) (without, kinds bool) {
	for _, p := range s.Points {
		without = without || p.Without != ""
		kinds = kinds || p.Objective != s.Points[0].Objective || p.Submodels != s.Points[0].Submodels
	}
	return without, kinds
}

func sweepTable(u *ui, s *compiler.Sweep) {
	without, kinds := sweepColumns(s)
	header := slices.Clone(s.Parameters)
	if without {
		header = append(header, "without")
	}
	if kinds {
		header = append(header, "for", "sub-models")
	}
	header = append(header, "latency", "inferences/s", "speed-up", "on")
	if kinds {
		header = append(header, "pareto")
	}
	rows := make([][]string, 0, len(s.Points))
	var reasons []string
	for _, p := range s.Points {
		row := slices.Clone(p.Values)
		if without {
			row = append(row, p.Without)
		}
		if kinds {
			row = append(row, p.Objective, p.Submodels)
		}
		if p.Infeasible != "" {
			if !slices.Contains(reasons, p.Infeasible) {
				reasons = append(reasons, p.Infeasible)
			}
			row = append(row, "-", "-", "-", fmt.Sprintf("(none: %d)", slices.Index(reasons, p.Infeasible)+1))
		} else {
			row = append(row, usText(p.LatencyUs), fmt.Sprintf("%.4g", p.PerSecond), speedUp(p), strings.Join(p.Processors, ", "))
		}
		if kinds {
			mark := ""
			if p.Pareto {
				mark = "*"
			}
			row = append(row, mark)
		}
		rows = append(rows, row)
	}
	u.table(header, rows)
	u.printf("\nspeed-up is against the best single processor\n")
	for i, r := range reasons {
		u.printf("(none: %d) %s\n", i+1, printable(r))
	}
}

// speedUp is what the plan gains against the best single processor.
func speedUp(p compiler.SweepPoint) string {
	value := p.LatencyUs
	if p.Objective == "throughput" {
		value = p.BottleneckUs
	}
	if p.SingleUs == nil || value <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", *p.SingleUs/value)
}

func sweepCSV(w *bytes.Buffer, s *compiler.Sweep) error {
	c := csv.NewWriter(w)
	header := append(slices.Clone(s.Parameters), "without", "objective", "submodels", "latency_us", "bottleneck_us",
		"inferences_per_second", "lower_bound_us", "single_processor_us", "processors", "pareto", "infeasible")
	if err := c.Write(header); err != nil {
		return err
	}
	number := func(v float64) string { return fmt.Sprintf("%.6f", v) }
	for _, p := range s.Points {
		row := append(slices.Clone(p.Values), p.Without, p.Objective, p.Submodels)
		if p.Infeasible != "" {
			row = append(row, "", "", "", "", "", "", "", p.Infeasible)
		} else {
			single := ""
			if p.SingleUs != nil {
				single = number(*p.SingleUs)
			}
			row = append(row, number(p.LatencyUs), number(p.BottleneckUs), number(p.PerSecond), number(p.LowerBoundUs),
				single, strings.Join(p.Processors, " "), fmt.Sprint(p.Pareto), "")
		}
		if err := c.Write(row); err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// sweepChart draws latency and throughput over the parameter with the most values,
// a line for each combination of the others; and, where both objectives were asked
// for or nothing varies, latency against throughput with a line along the plans
// that no other beats.
func sweepChart(s *compiler.Sweep) *report.Chart {
	_, kinds := sweepColumns(s)
	main := mainParameter(s)
	c := &report.Chart{Title: "what-if: " + filepath.Base(s.Model)}
	rates := report.Axis{Label: "inferences/s", Zero: true}
	times := report.Axis{Label: "latency", Zero: true, Tick: usText}
	colours := map[string]int{}
	colour := func(name string) (i int, isNew bool) {
		i, ok := colours[name]
		if !ok {
			i = len(c.Legend)
			colours[name] = i
			c.Legend = append(c.Legend, name)
		}
		return i, !ok
	}
	if main >= 0 && !kinds {
		x, of := parameterAxis(s, main)
		over := []report.Panel{{X: x, Y: times}, {X: x, Y: rates}}
		for _, p := range s.Points {
			if p.Infeasible != "" {
				continue
			}
			i, isNew := colour(seriesName(s, p, main))
			for k, y := range []float64{p.LatencyUs, p.PerSecond} {
				if isNew {
					over[k].Series = append(over[k].Series, report.Series{Colour: i, Line: true})
				}
				over[k].Series[i].Points = append(over[k].Series[i].Points, report.Point{X: of(p.Numbers[main]), Y: y, Title: pointTitle(p)})
			}
		}
		c.Panels = over
		return c
	}
	against := report.Panel{X: report.Axis{Label: "latency", Tick: usText}, Y: rates}
	for _, p := range s.Points {
		if p.Infeasible != "" {
			continue
		}
		i, isNew := colour(seriesName(s, p, -1))
		if isNew { // two series: all plans as points, the best ones with a line
			against.Series = append(against.Series, report.Series{Colour: i}, report.Series{Colour: i, Line: true})
		}
		at := report.Point{X: p.LatencyUs, Y: p.PerSecond, Title: pointTitle(p), Large: p.Pareto}
		against.Series[2*i].Points = append(against.Series[2*i].Points, at)
		if p.Pareto {
			against.Series[2*i+1].Points = append(against.Series[2*i+1].Points, at)
		}
	}
	for _, line := range against.Series {
		slices.SortStableFunc(line.Points, func(a, b report.Point) int { return cmp.Compare(a.X, b.X) })
	}
	c.Panels = []report.Panel{against}
	return c
}

func pointTitle(p compiler.SweepPoint) string {
	return fmt.Sprintf("%s for %s, %s per processor: %s, %.4g inferences/s on %s", strings.Join(p.Values, " "),
		p.Objective, p.Submodels, usText(p.LatencyUs), p.PerSecond, strings.Join(p.Processors, ", "))
}

// mainParameter is the parameter with the most values, -1 if none has two.
func mainParameter(s *compiler.Sweep) int {
	best, most := -1, 1
	for i := range s.Parameters {
		values := map[float64]bool{}
		for _, p := range s.Points {
			values[p.Numbers[i]] = true
		}
		if len(values) > most {
			best, most = i, len(values)
		}
	}
	return best
}

// logSpaced says whether a parameter covers a factor of ten or more.
func logSpaced(s *compiler.Sweep, i int) bool {
	low, high := s.Points[0].Numbers[i], s.Points[0].Numbers[i]
	for _, p := range s.Points {
		low, high = min(low, p.Numbers[i]), max(high, p.Numbers[i])
	}
	return low > 0 && high/low >= 10
}

// parameterAxis is the axis of a parameter, and what stands on it for a value:
// rates of links in bits.
func parameterAxis(s *compiler.Sweep, i int) (a report.Axis, of func(float64) float64) {
	name := s.Parameters[i]
	a = report.Axis{Label: name, Log: logSpaced(s, i)}
	same := func(v float64) float64 { return v }
	switch {
	case strings.HasSuffix(name, ".speed"):
	case strings.HasSuffix(name, "memory"):
		a.Tick = func(v float64) string { return bytesText(int64(v)) }
	case strings.HasSuffix(name, "latency"), strings.HasSuffix(name, ".launch"), strings.HasSuffix(name, "overhead"):
		a.Tick = func(v float64) string { return usText(v / 1e6) }
	case strings.HasPrefix(name, "link:"):
		a.Tick = func(v float64) string { return profiles.FormatBitRate(v / 8) }
		return a, func(v float64) float64 { return v * 8 }
	case strings.HasSuffix(name, "bandwidth"):
		a.Tick = profiles.FormatDataRate
	default:
		a.Tick = profiles.FormatFLOPRate
	}
	return a, same
}

// seriesName is what tells a point from those of other lines, the values of
// parameter main aside.
func seriesName(s *compiler.Sweep, p compiler.SweepPoint, main int) string {
	var parts []string
	if p.Without != "" {
		parts = append(parts, "without "+p.Without)
	}
	for i, v := range p.Values {
		if i != main {
			name := s.Parameters[i]
			parts = append(parts, name[strings.LastIndex(name, ".")+1:]+" "+v)
		}
	}
	if len(parts) == 0 {
		return "the fleet"
	}
	return strings.Join(parts, ", ")
}

// usText prints microseconds with a unit that suits their size.
func usText(us float64) string {
	switch {
	case us >= 1e6:
		return fmt.Sprintf("%.4g s", us/1e6)
	case us >= 1e3:
		return fmt.Sprintf("%.4g ms", us/1e3)
	}
	return fmt.Sprintf("%.4g us", us)
}
