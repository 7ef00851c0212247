package main

import (
	"fmt"
	"math"

	"github.com/dnnsplit/dnnsplit/profiles"
)

// fitReport is a model fitted to measurements, as commands print it: the time is
// a + b·FLOPs + c·bytes.
type fitReport struct {
	Op      string   `json:"op"`
	Domain  string   `json:"domain,omitempty"`
	Elem    string   `json:"elem"`
	Entries int      `json:"entries"`
	AUs     float64  `json:"a_us"`
	BUs     float64  `json:"b_us_per_flop"`
	CUs     float64  `json:"c_us_per_byte"`
	Error   float64  `json:"error"`
	HeldOut *float64 `json:"leave_one_out_error"` // null: the others make no fit
}

// fitReports fits the measurements of a file and cross-validates the fits.
func fitReports(c *profiles.CostFile) []fitReport {
	fits := c.Fits()
	out := make([]fitReport, 0, len(fits))
	for _, f := range fits {
		r := fitReport{
			Op: f.Op, Domain: f.Domain, Elem: f.Elem.String(), Entries: f.Entries,
			AUs: f.A, BUs: f.B, CUs: f.C, Error: f.Error,
		}
		if !math.IsInf(f.HeldOut, 0) {
			r.HeldOut = &f.HeldOut
		}
		out = append(out, r)
	}
	return out
}

// printFits shows which operators have a fit and how good it is.
func printFits(u *ui, fits []fitReport) {
	if len(fits) == 0 {
		return
	}
	u.printf("\n")
	var rows [][]string
	for _, f := range fits {
		op, held := f.Op, "-"
		if f.Domain != "" {
			op = f.Domain + "::" + op
		}
		if f.HeldOut != nil {
			held = share(*f.HeldOut)
		}
		rate := func(usPer, unit float64) string {
			if usPer <= 0 {
				return "-"
			}
			return fmt.Sprintf("%.3g", 1e6/usPer/unit)
		}
		rows = append(rows, []string{
			op, f.Elem, fmt.Sprint(f.Entries), fmt.Sprintf("%.3g", f.AUs), rate(f.BUs, 1e9), rate(f.CUs, 1e9), share(f.Error), held,
		})
	}
	u.table([]string{"fit", "type", "entries", "us", "GFLOP/s", "GB/s", "error", "leave-one-out"}, rows)
}

// share prints a part of a whole; nearly all is not all.
func share(x float64) string {
	if x >= 0.9995 && x < 1 {
		return fmt.Sprintf("%.2f%%", math.Floor(1e4*x)/100)
	}
	return fmt.Sprintf("%.1f%%", 100*x)
}
