package robust

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{[]float64{3, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}, {[]float64{7}, 7}} {
		if got := Median(c.in); got != c.want {
			t.Errorf("Median(%v) = %v, want %v", c.in, got, c.want)
		}
	}
	if !math.IsNaN(Median(nil)) || !math.IsNaN(Summarize(nil).Median) {
		t.Error("the median of nothing must not be a number")
	}
}

func TestSummarizeNamesOutliers(t *testing.T) {
	values := []float64{10, 10.1, 9.9, 10.05, 9.95, 10, 10.02, 25, 9.98, 10.01}
	s := Summarize(values)
	if s.Outliers != 1 || !s.Outlier(25) || s.Outlier(10.1) {
		t.Errorf("outliers: %+v", s)
	}
	if math.Abs(s.Median-10.005) > 1e-9 || s.Min != 9.9 || s.Max != 25 {
		t.Errorf("%+v", s)
	}
	if equal := Summarize([]float64{5, 5, 5, 5.001, 5, 5, 5}); equal.Outliers != 0 {
		t.Errorf("a sample without spread has outliers: %+v", equal)
	}
}

// The confidence interval holds the true median about as often as it says.
func TestConfidence(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{6, 11, 40, 101} {
		const trials = 2000
		held := 0
		for range trials {
			values := make([]float64, n)
			for i := range values {
				values[i] = 1 + math.Exp(rng.NormFloat64()) // skewed; median 2
			}
			if s := Summarize(values); s.Low <= 2 && 2 <= s.High {
				held++
			}
		}
		if share := float64(held) / trials; share < 0.935 {
			t.Errorf("of %d values the interval holds the median in %.1f%% of cases, it says 95%%", n, 100*share)
		}
	}
}

func TestUncertaintyFallsWithSize(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var values []float64
	last := Summarize(values).Uncertainty()
	if !math.IsInf(last, 1) {
		t.Error("nothing is certain")
	}
	for _, n := range []int{10, 100, 1000} {
		for len(values) < n {
			values = append(values, 100+rng.NormFloat64())
		}
		u := Summarize(values).Uncertainty()
		if u >= last {
			t.Errorf("%d values are no more certain than fewer: %v after %v", n, u, last)
		}
		last = u
	}
	if last > 0.002 {
		t.Errorf("1000 values with a spread of 1%% leave %v", last)
	}
}
