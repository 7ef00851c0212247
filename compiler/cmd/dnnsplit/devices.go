package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/dnnsplit/dnnsplit/profiles/draw"
	"github.com/spf13/cobra"
)

func newDevices(u *ui) *cobra.Command {
	var svg string
	var dot bool
	format := formatFlag{"text", []string{"text", "json"}}
	cmd := &cobra.Command{
		Use:   "devices DIR",
		Short: "check a fleet of device profiles, list it and draw it",
		Long: `Devices reads the profiles in a folder as a split does, and says what is wrong with them.
Of a fleet that is valid it lists devices, processors and links, draws which device is
linked with which, and notes what is likely to be a mistake.

"dnnsplit devices init" writes a profile of this machine.`,
		Example: `  dnnsplit devices profiles/
  dnnsplit devices profiles/ --svg fleet.svg
  dnnsplit devices profiles/ --dot | dot -Tpdf > fleet.pdf
  dnnsplit devices profiles/ --format json
  dnnsplit devices init -o profiles/this.yaml`,
		Args: usage(oneFile("the folder of device profiles")),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := profiles.Load(args[0])
			if err != nil {
				return err
			}
			for _, c := range draw.Concerns(f) {
				u.notef("%s", c)
			}
			if svg != "" {
				text := draw.SVG(f)
				if err := writeWhole(svg, func(w *bufio.Writer) error { _, err := w.WriteString(text); return err }); err != nil {
					return err
				}
			}
			switch {
			case dot:
				u.printf("%s", draw.DOT(f))
			case format.value == "json":
				return printJSON(u, fleetJSON(f))
			default:
				printFleet(u, f)
				if svg != "" {
					u.printf("\nwrote %s\n", printable(svg))
				}
			}
			return nil
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVar(&dot, "dot", false, "print a drawing for Graphviz instead of tables")
	fl.StringVar(&svg, "svg", "", "write a picture to `FILE` too")
	fl.Var(&format, "format", "of what is printed")
	fl.BoolVarP(&u.quiet, "quiet", "q", false, quietUsage)
	cmd.AddCommand(newDevicesInit(u))
	return cmd
}

func printFleet(u *ui, f *profiles.Fleet) {
	p := f.Platform
	memory := func(n int64) string {
		if n == ir.UnlimitedBytes {
			return "-"
		}
		return bytesText(n)
	}
	at := func(d ir.DeviceID) string {
		if d == ir.NoDevice {
			return "anywhere"
		}
		return p.Devices[d].Name
	}
	lines := draw.Lines(f)
	u.printf("%s, %s, %s; inputs are %s, outputs go %s\n\n", diag.Count(len(p.Devices), "device", "devices"), diag.Count(len(p.Processors), "processor", "processors"), diag.Count(len(lines), "link", "links"), atDevice(at(p.Source)), toDevice(at(p.Sink)))
	var rows [][]string
	for i := range p.Processors {
		hard, soft := &p.Processors[i], &f.Processors[i]
		limit := memory(p.Devices[hard.Device].MemoryBytes)
		if hard.MemoryBytes != ir.UnlimitedBytes {
			limit = memory(hard.MemoryBytes) + " of " + limit
		}
		costs := "-"
		if c := f.Costs(ir.ProcID(i)); c != nil {
			costs = fmt.Sprint(len(c.Entries))
		}
		rows = append(rows, []string{
			hard.Name, hard.Kind, hard.Provider, limit, draw.Peaks(soft), draw.Bandwidth(soft.MemoryBytesPerSecond),
			span(soft.OpOverhead), span(hard.Launch), way(hard.Upload), way(hard.Download), costs,
		})
	}
	u.table([]string{"processor", "kind", "provider", "memory", "peak", "bandwidth", "per op", "launch", "upload", "download", "measured"}, rows)
	if len(lines) == 0 {
		return
	}
	u.printf("\n")
	rows = rows[:0]
	for i, l := range lines {
		arrow := "→"
		if l.Both {
			arrow = "↔"
		}
		rows = append(rows, []string{draw.Name(i), p.Devices[l.A].Name, arrow, p.Devices[l.B].Name, l.Rate(), span(l.Way.Latency), l.Medium})
	}
	u.table([]string{"link", "from", "", "to", "bandwidth", "latency", "medium"}, rows)
	if text := draw.Text(f); text != "" {
		u.printf("\n%s", text)
	} else {
		u.printf("\ntoo many links to draw with text; --svg FILE and --dot draw them\n")
	}
}

func atDevice(name string) string {
	if name == "anywhere" {
		return "on every device"
	}
	return "on " + printable(name)
}

func toDevice(name string) string {
	if name == "anywhere" {
		return "nowhere in particular"
	}
	return "to " + printable(name)
}

// span prints a time.
func span(t ir.Time) string {
	if t == 0 {
		return "0"
	}
	return profiles.FormatTime(t)
}

func way(c *ir.Copy) string {
	if c == nil {
		return "-"
	}
	return span(c.Latency) + " + " + draw.Bandwidth(c.BytesPerUs*1e6)
}

type (
	jsonFleet struct {
		Source     string          `json:"source,omitempty"`
		Sink       string          `json:"sink,omitempty"`
		Devices    []jsonDevice    `json:"devices"`
		Processors []jsonProcessor `json:"processors"`
		Links      []jsonLink      `json:"links"`
		Concerns   []string        `json:"concerns"`
		Files      []string        `json:"files"`
	}
	jsonDevice struct {
		Name   string `json:"name"`
		Memory *int64 `json:"memory_bytes"`
	}
	jsonProcessor struct {
		Name       string             `json:"name"`
		Device     string             `json:"device"`
		Kind       string             `json:"kind"`
		Provider   string             `json:"provider,omitempty"`
		Memory     *int64             `json:"memory_bytes"`
		Peaks      map[string]float64 `json:"peak_per_s"`
		Bandwidth  float64            `json:"memory_bytes_per_s"`
		OpOverhead float64            `json:"op_overhead_us"`
		Launch     float64            `json:"launch_us"`
		Upload     *jsonCopy          `json:"upload"`
		Download   *jsonCopy          `json:"download"`
		Measured   int                `json:"measured"`
		Source     string             `json:"source,omitempty"`
	}
	jsonCopy struct {
		LatencyUs  float64 `json:"latency_us"`
		BytesPerUs float64 `json:"bytes_per_us"`
	}
	jsonLink struct {
		From string `json:"from"`
		To   string `json:"to"`
		Both bool   `json:"both_ways"`
		jsonCopy
		Medium string `json:"medium,omitempty"`
	}
)

func fleetJSON(f *profiles.Fleet) any {
	p := f.Platform
	limit := func(n int64) *int64 {
		if n == ir.UnlimitedBytes {
			return nil
		}
		return &n
	}
	copyOf := func(c *ir.Copy) *jsonCopy {
		if c == nil {
			return nil
		}
		return &jsonCopy{c.Latency.Us(), c.BytesPerUs}
	}
	out := jsonFleet{Links: []jsonLink{}, Concerns: append([]string{}, draw.Concerns(f)...), Files: f.Files()}
	if p.Source != ir.NoDevice {
		out.Source = p.Devices[p.Source].Name
	}
	if p.Sink != ir.NoDevice {
		out.Sink = p.Devices[p.Sink].Name
	}
	for _, d := range p.Devices {
		out.Devices = append(out.Devices, jsonDevice{d.Name, limit(d.MemoryBytes)})
	}
	for i := range p.Processors {
		hard, soft := &p.Processors[i], &f.Processors[i]
		j := jsonProcessor{
			Name: hard.Name, Device: p.Devices[hard.Device].Name, Kind: hard.Kind, Provider: hard.Provider, Memory: limit(hard.MemoryBytes),
			Peaks: map[string]float64{}, Bandwidth: soft.MemoryBytesPerSecond, OpOverhead: soft.OpOverhead.Us(), Launch: hard.Launch.Us(),
			Upload: copyOf(hard.Upload), Download: copyOf(hard.Download), Source: soft.Source,
		}
		for _, k := range soft.Peaks {
			j.Peaks[k.Elem.String()] = k.OpsPerSecond
		}
		if c := f.Costs(ir.ProcID(i)); c != nil {
			j.Measured = len(c.Entries)
		}
		out.Processors = append(out.Processors, j)
	}
	for _, l := range draw.Lines(f) {
		out.Links = append(out.Links, jsonLink{p.Devices[l.A].Name, p.Devices[l.B].Name, l.Both, *copyOf(&l.Way), strings.ToValidUTF8(l.Medium, "?")})
	}
	return out
}
