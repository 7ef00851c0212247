package draw

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// Concerns are sentences about what a valid fleet most likely does not mean.
func Concerns(f *profiles.Fleet) []string {
	p := f.Platform
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	linked := make([]bool, len(p.Devices))
	for _, l := range p.Links {
		linked[l.From], linked[l.To] = true, true
	}
	if len(p.Devices) > 1 {
		for d, ok := range linked {
			if !ok {
				add("%s has no link: it can only run a whole model, and only if inputs and outputs may be there", p.Devices[d].Name)
			}
		}
	}
	for _, l := range Lines(f) {
		if !l.Both && !anyWay(p, l.B, l.A) {
			add("there is a way from %s to %s, but none back", p.Devices[l.A].Name, p.Devices[l.B].Name)
		}
	}
	for i := range p.Processors {
		hard, soft := &p.Processors[i], &f.Processors[i]
		dev := &p.Devices[hard.Device]
		if hard.MemoryBytes != ir.UnlimitedBytes && dev.MemoryBytes != ir.UnlimitedBytes && hard.MemoryBytes > dev.MemoryBytes {
			add("%s has %s of memory, its device only %s", hard.Name, profiles.FormatBytes(hard.MemoryBytes), profiles.FormatBytes(dev.MemoryBytes))
		}
		if soft.OpOverhead == 0 && f.Costs(ir.ProcID(i)) == nil {
			add("%s has no op_overhead and no measured costs: small operations cost it nothing", hard.Name)
		}
		if hard.Launch == 0 {
			add("%s has no launch: a run of a sub-model costs nothing but its operations", hard.Name)
		}
		if hard.Kind != "cpu" && hard.Upload == nil && hard.Download == nil && soft.Provider == "CUDAExecutionProvider" {
			add("%s has no upload and download: it is taken to work in host memory", hard.Name)
		}
		for _, k := range soft.Peaks {
			if soft.MemoryBytesPerSecond > 0 && k.OpsPerSecond/soft.MemoryBytesPerSecond > 1e4 {
				add("%s: %s in %s for %s is more than 10,000 operations a byte; check the units", hard.Name, profiles.FormatOPRate(round(k.OpsPerSecond)), k.Elem, profiles.FormatDataRate(round(soft.MemoryBytesPerSecond)))
			}
		}
		if soft.Source == "" {
			add("%s does not say where its numbers come from (source)", dev.Name)
		}
	}
	for _, name := range f.IdleCosts() {
		notes = append(notes, Idle(name))
	}
	return unique(notes)
}

// Idle says what a cost file lacks that lies beside the profiles and is not used.
func Idle(name string) string {
	return fmt.Sprintf("%s is not used: no processor names it, as in costs: [%s]", name, name)
}

func unique(list []string) []string {
	seen := map[string]bool{}
	out := list[:0]
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// anyWay says whether links lead from one device to another, over others too.
func anyWay(p *ir.Platform, from, to ir.DeviceID) bool {
	next := make([][]ir.DeviceID, len(p.Devices))
	for _, l := range p.Links {
		next[l.From] = append(next[l.From], l.To)
	}
	seen := make([]bool, len(p.Devices))
	seen[from] = true
	for todo := []ir.DeviceID{from}; len(todo) > 0; {
		d := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if d == to {
			return true
		}
		for _, n := range next[d] {
			if !seen[n] {
				seen[n] = true
				todo = append(todo, n)
			}
		}
	}
	return false
}

// Bandwidth prints bytes per second.
func Bandwidth(bytesPerSecond float64) string { return profiles.FormatDataRate(round(bytesPerSecond)) }

// round keeps four significant digits, as many as data sheets have.
func round(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', 3, 64), 64)
	if err != nil || math.IsInf(r, 0) {
		return v
	}
	return r
}

// Peaks lists what a processor computes: "float32 83GFLOP/s, int8 189GOP/s".
func Peaks(p *profiles.Processor) string {
	parts := make([]string, len(p.Peaks))
	for i, k := range p.Peaks {
		rate := profiles.FormatFLOPRate(round(k.OpsPerSecond))
		switch k.Elem {
		case ir.Int2, ir.Uint2, ir.Int4, ir.Uint4, ir.Int8, ir.Uint8, ir.Int16, ir.Uint16, ir.Int32, ir.Uint32, ir.Int64, ir.Uint64, ir.Bool:
			rate = profiles.FormatOPRate(round(k.OpsPerSecond))
		}
		parts[i] = k.Elem.String() + " " + rate
	}
	return strings.Join(parts, ", ")
}
