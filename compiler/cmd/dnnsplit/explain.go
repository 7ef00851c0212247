package main

import (
	"fmt"

	"github.com/dnnsplit/dnnsplit/compiler"
)

func printExplanation(u *ui, e *compiler.Explanation, format string) error {
	if format == "json" {
		return printJSON(u, e)
	}
	u.printf("%s (%s) is on %s, in sub-model %s\n\n", printable(e.Node), e.Op, e.Processor, e.Submodel)
	var best float64
	for _, c := range e.Choices {
		if c.Chosen {
			best = c.PlanUs
		}
	}
	var rows [][]string
	for _, c := range e.Choices {
		row := []string{c.Processor, "-", "", "-", "no plan"}
		if c.Supported {
			row[1], row[2] = fmt.Sprintf("%.1f", c.CostUs), c.Source
		}
		switch {
		case c.Chosen:
			row[3], row[4] = fmt.Sprintf("%.1f", c.PlanUs), "chosen"
		case c.PlanUs > 0:
			row[3], row[4] = fmt.Sprintf("%.1f", c.PlanUs), fmt.Sprintf("%+.1f%%", 100*(c.PlanUs/best-1))
		}
		rows = append(rows, row)
	}
	u.table([]string{"processor", "node us", "from", "best plan us", ""}, rows)
	for _, c := range e.Choices {
		if len(c.Binds) == 0 {
			continue
		}
		head := "not on"
		if c.PlanUs > 0 {
			head = "slower on"
		}
		u.printf("\n%s %s:\n", head, printable(c.Processor))
		for _, b := range c.Binds {
			u.printf("  %s\n", printable(b.Text))
		}
	}
	return nil
}
