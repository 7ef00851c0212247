package profiles

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// measured makes entries of one op type whose times are those of the model.
func measured(works [][2]int64, model func(flops, bytes float64) float64) []CostEntry {
	var out []CostEntry
	for i, w := range works {
		out = append(out, CostEntry{
			Signature: fmt.Sprint("s", i), Op: "Conv", Elem: ir.Float32, FLOPs: w[0], Bytes: w[1],
			MedianUs: model(float64(w[0]), float64(w[1])), Runs: 1,
		})
	}
	return out
}

var works = [][2]int64{{1e6, 1e5}, {5e6, 1e4}, {2e7, 5e5}, {1e8, 2e5}, {4e8, 3e6}, {1e9, 1e6}, {3e5, 2e4}, {7e7, 9e5}, {2e8, 1e5}, {6e6, 6e6}}

func near(a, b, tolerance float64) bool { return math.Abs(a-b) <= tolerance*math.Abs(b) }

func TestFitRecoversTheModel(t *testing.T) {
	fit, ok := fitEntries(measured(works, func(f, b float64) float64 { return 12 + 3e-5*f + 2e-4*b }))
	if !ok || !near(fit.A, 12, 1e-4) || !near(fit.B, 3e-5, 1e-4) || !near(fit.C, 2e-4, 1e-4) || fit.Error > 1e-4 {
		t.Errorf("fit %+v, %v", fit, ok)
	}
	if fit.Entries != len(works) || fit.MaxFLOPs != 1e9 || fit.MaxBytes != 6e6 {
		t.Errorf("fit %+v", fit)
	}
}

func TestFitIgnoresOutliers(t *testing.T) {
	entries := measured(works, func(f, b float64) float64 { return 12 + 3e-5*f + 2e-4*b })
	entries[3].MedianUs *= 20
	fit, ok := fitEntries(entries)
	if !ok || !near(fit.A, 12, 0.02) || !near(fit.B, 3e-5, 0.02) || !near(fit.C, 2e-4, 0.02) {
		t.Errorf("fit %+v, %v", fit, ok)
	}
}

func TestFitOfCollinearWork(t *testing.T) {
	// An elementwise op: FLOPs = bytes/8. One column must do.
	var w [][2]int64
	for i := range int64(8) {
		w = append(w, [2]int64{1000 << i, 8000 << i})
	}
	fit, ok := fitEntries(measured(w, func(_, b float64) float64 { return 5 + 1e-4*b }))
	if !ok || (fit.B != 0) == (fit.C != 0) {
		t.Fatalf("fit %+v, %v", fit, ok)
	}
	if got, want := fit.Predict(50_000, 400_000), 45.0; !near(got, want, 1e-3) {
		t.Errorf("predicts %v, want %v", got, want)
	}
}

func TestFitIsNotNegative(t *testing.T) {
	// Times that fall with bytes: the unconstrained solution has c < 0.
	fit, ok := fitEntries(measured(works, func(f, b float64) float64 { return max(1, 100+1e-5*f-1e-5*b) }))
	if !ok || fit.A < 0 || fit.B < 0 || fit.C < 0 {
		t.Errorf("fit %+v, %v", fit, ok)
	}
}

func TestFitNeedsEnough(t *testing.T) {
	model := func(f, b float64) float64 { return 1 + f + b }
	if fit, ok := fitEntries(measured(works[:4], model)); ok {
		t.Errorf("four measurements make %+v", fit)
	}
	same := [][2]int64{{1, 1}, {1, 1}, {1, 1}, {2, 2}, {2, 2}, {2, 2}}
	if fit, ok := fitEntries(measured(same, model)); ok {
		t.Errorf("two amounts of work make %+v", fit)
	}
}

func TestFitOfZeroTimes(t *testing.T) {
	fit, ok := fitEntries(measured(works, func(_, _ float64) float64 { return 0 }))
	if !ok || fit.Predict(1e9, 1e9) != 0 {
		t.Errorf("fit %+v, %v", fit, ok)
	}
}

func TestFitReports(t *testing.T) {
	entries := measured(works, func(f, b float64) float64 { return 12 + 3e-5*f + 2e-4*b })
	// Noise of ±10 %, alternating.
	for i := range entries {
		entries[i].MedianUs *= 1 + 0.1*float64(1-2*(i%2))
	}
	reports := (&CostFile{Entries: entries}).Fits()
	if len(reports) != 1 {
		t.Fatalf("%d fits", len(reports))
	}
	if r := reports[0]; !(r.Error > 0.01 && r.Error < 0.2) || !(r.HeldOut > 0.01 && r.HeldOut < 0.4) || r.HeldOut < r.Error {
		t.Errorf("report %+v", r)
	}
	five := (&CostFile{Entries: entries[:5]}).Fits()
	if len(five) != 1 || !(five[0].HeldOut > 0.01 && five[0].HeldOut < 0.4) {
		t.Errorf("reports of five %+v", five)
	}
}

func TestFitDoesNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(5, 12).Draw(t, "n")
		var entries []CostEntry
		for i := range n {
			entries = append(entries, CostEntry{
				Signature: fmt.Sprint(i), Op: "Op", Elem: ir.Float32, Runs: 1,
				FLOPs:    rapid.Int64Range(0, 1<<50).Draw(t, "flops"),
				Bytes:    rapid.Int64Range(0, 1<<40).Draw(t, "bytes"),
				MedianUs: rapid.Float64Range(0, ir.MaxMicros).Draw(t, "us"),
			})
		}
		shuffled := rapid.Permutation(slices.Clone(entries)).Draw(t, "order")
		a, b := newCostTable(&CostFile{Entries: entries}), newCostTable(&CostFile{Entries: shuffled})
		if !slices.Equal(a.fits, b.fits) {
			t.Fatalf("%+v and %+v", a.fits, b.fits)
		}
		for _, f := range a.fits {
			if !(f.A >= 0 && f.B >= 0 && f.C >= 0) || !finite(f.Predict(1<<62, 1<<62)) {
				t.Fatalf("fit %+v", f)
			}
		}
	})
}
