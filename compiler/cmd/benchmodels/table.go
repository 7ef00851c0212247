package main

import (
	"bytes"
	"fmt"
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/reference"
)

func printHead(o ir.Objective) {
	fmt.Printf("%-22s %5s %5s %12s %5s", "network", "nodes", "procs", o.String()+"_ms", "parts")
	for _, name := range reference.Names() {
		fmt.Printf(" %11s", name)
	}
	fmt.Printf(" %9s %11s %7s %6s\n", "gain", "bound", "gap", "s")
}

func printPoint(line *series, p *point) {
	fmt.Printf("%-22s %5d %5d %12s %5d", line.name, line.nodes, p.procs, ms(p.ours), p.submodels)
	for _, name := range reference.Names() {
		fmt.Printf(" %11s", ms(p.base[name]))
	}
	gain, gap := "-", "-"
	if best := p.best(); !math.IsNaN(best) {
		gain = fmt.Sprintf("%.2fx", best/p.ours)
	}
	if !math.IsNaN(p.bound) {
		gap = fmt.Sprintf("%.1f%%", 100*(p.ours-p.bound)/p.ours)
	}
	fmt.Printf(" %9s %11s %7s %6.2f\n", gain, ms(p.bound), gap, p.seconds)
}

// ms prints microseconds as milliseconds.
func ms(us float64) string {
	if math.IsNaN(us) {
		return "-"
	}
	return fmt.Sprintf("%.3f", us/1000)
}

// printSummary says how much less than each baseline our plans take: geometric means over all points where both exist.
func printSummary(all []series) {
	points, never := 0, 0
	for _, line := range all {
		for i := range line.points {
			if p := &line.points[i]; !math.IsNaN(p.ours) {
				points++
				if best := p.best(); best < p.ours*(1-1e-12) {
					never++
				}
			}
		}
	}
	fmt.Printf("\n%d placements; a baseline is better on %d. Geometric mean of baseline over ours:", points, never)
	for _, name := range reference.Names() {
		logs, n := 0.0, 0
		for _, line := range all {
			for _, p := range line.points {
				if x := p.base[name] / p.ours; !math.IsNaN(x) {
					logs += math.Log(x)
					n++
				}
			}
		}
		if n > 0 {
			fmt.Printf(" %s %.2f (%d)", name, math.Exp(logs/float64(n)), n)
		}
	}
	fmt.Println()
}

// tsv is the table for other programs: times in microseconds, empty where there is no plan.
func tsv(all []series, o ir.Objective) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "network\tnodes\tprocessors\tobjective\tours_us\tlower_bound_us\tsubmodels\tseconds")
	for _, name := range reference.Names() {
		fmt.Fprintf(&b, "\t%s_us", name)
	}
	fmt.Fprintln(&b)
	num := func(x float64) string {
		if math.IsNaN(x) {
			return ""
		}
		return fmt.Sprintf("%.6f", x)
	}
	for _, line := range all {
		for _, p := range line.points {
			fmt.Fprintf(&b, "%s\t%d\t%d\t%v\t%s\t%s\t%d\t%.3f", line.name, line.nodes, p.procs, o, num(p.ours), num(p.bound), p.submodels, p.seconds)
			for _, name := range reference.Names() {
				fmt.Fprintf(&b, "\t%s", num(p.base[name]))
			}
			fmt.Fprintln(&b)
		}
	}
	return b.Bytes()
}
