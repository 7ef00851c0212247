package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// stageTime is a line of --timings.
type stageTime struct {
	stage   string
	seconds float64
}

// parseTimings reads what --timings prints: the stages in order, the whole at the
// end, and the largest resident memory in MiB.
func parseTimings(says string) (list []stageTime, peakMiB float64, err error) {
	inside := false
	for _, line := range strings.Split(says, "\n") {
		f := strings.Fields(line)
		switch {
		case len(f) > 1 && f[0] == "stage" && f[1] == "time":
			inside = true
		case inside && len(f) > 3 && f[2] == "s":
			s, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				return nil, 0, fmt.Errorf("the timings have a line %q: %w", line, err)
			}
			list = append(list, stageTime{f[0], s})
			if f[0] != "total" {
				continue
			}
			if f[len(f)-1] != "MiB" {
				return nil, 0, fmt.Errorf("the timings name no memory in MiB: %q", line)
			}
			peakMiB, err = strconv.ParseFloat(f[len(f)-2], 64)
			return list, peakMiB, err
		}
	}
	return nil, 0, errors.New("there are no timings with a total")
}

// stages prints the median time of each stage for models of many nodes, a column each.
func (b *bench) stages(nodes string) error {
	var order, columns []string
	times := map[string]map[string]float64{} // by stage, by column
	memory := map[string]float64{}
	for _, text := range strings.Split(nodes, ",") {
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		model := filepath.Join(b.folder, "nodes.onnx")
		m, err := onnxtest.Named(fmt.Sprintf("random=%d", n), 1)
		if err != nil {
			return err
		}
		if err := m.WriteFile(model); err != nil {
			return err
		}
		columns = append(columns, text)
		samples := map[string][]float64{}
		var peaks []float64
		for range b.runs {
			out := filepath.Join(b.folder, "out")
			_, says, err := b.time(b.program, model, "--devices", b.devices, "-o", out, "--quiet", "--timings")
			if err != nil {
				return fmt.Errorf("%d nodes: %w", n, err)
			}
			list, peak, err := parseTimings(says)
			if err != nil {
				return err
			}
			for _, l := range list {
				if !slices.Contains(order, l.stage) {
					order = append(order, l.stage)
				}
				samples[l.stage] = append(samples[l.stage], l.seconds)
			}
			peaks = append(peaks, peak)
			if err := os.RemoveAll(out); err != nil {
				return err
			}
		}
		for _, stage := range slices.Sorted(maps.Keys(samples)) {
			if times[stage] == nil {
				times[stage] = map[string]float64{}
			}
			times[stage][text] = median(samples[stage])
		}
		memory[text] = median(peaks)
	}
	if len(columns) == 0 {
		return nil
	}
	fmt.Printf("\nseconds of each stage, random networks of about that many nodes\n%-10s", "stage")
	row := func(stage string, cell func(column string) string) {
		fmt.Printf("\n%-10s", stage)
		for _, c := range columns {
			fmt.Printf(" %10s", cell(c))
		}
	}
	for _, c := range columns {
		fmt.Printf(" %10s", c)
	}
	for _, stage := range order {
		row(stage, func(c string) string { return fmt.Sprintf("%.3f", times[stage][c]) })
	}
	row("memory MiB", func(c string) string { return fmt.Sprintf("%.0f", memory[c]) })
	fmt.Println()
	return nil
}
