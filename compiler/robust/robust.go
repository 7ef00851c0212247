// Package robust describes samples that a few disturbed values must not spoil, as
// timings are: medians, their spread and how far they can be trusted.
package robust

import (
	"math"
	"slices"
)

// Summary describes a sample. All but the counts are in the unit of the sample.
type Summary struct {
	Median float64
	// MAD is the median of the absolute distances from the median. Of a normal
	// distribution it is 0.674 standard deviations.
	MAD float64
	// Low and High bound the median of what was sampled with a confidence of 95 %,
	// whatever its distribution: they are order statistics, at ranks that the
	// binomial distribution gives (W. J. Conover, Practical Nonparametric
	// Statistics, 3rd edition, section 3.2; normal approximation). Of fewer than six
	// values no such bounds exist: they are the least and the largest then.
	Low, High float64
	Min, Max  float64
	N         int
	Outliers  int // values that Outlier names
}

// outlierSpreads is how many standard deviations away from the median a value is
// an outlier; of a normal distribution one in 1.7 million is.
const outlierSpreads = 5

// madToSigma makes the standard deviation of a normal distribution from its MAD.
const madToSigma = 1.4826

// Median is the middle value, or the mean of the two middle ones; NaN of none.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	s := slices.Sorted(slices.Values(values))
	if n%2 == 1 {
		return s[n/2]
	}
	return (s[n/2-1] + s[n/2]) / 2
}

// Summarize describes values; all of it is NaN of none.
func Summarize(values []float64) Summary {
	n := len(values)
	if n == 0 {
		nan := math.NaN()
		return Summary{Median: nan, MAD: nan, Low: nan, High: nan, Min: nan, Max: nan}
	}
	s := slices.Sorted(slices.Values(values))
	m := Summary{Median: Median(s), N: n, Min: s[0], Max: s[n-1], Low: s[0], High: s[n-1]}
	far := make([]float64, n)
	for i, v := range s {
		far[i] = math.Abs(v - m.Median)
	}
	m.MAD = Median(far)
	if n >= 6 {
		half := 1.96 * math.Sqrt(float64(n)) / 2
		m.Low = s[max(0, int(math.Floor(float64(n)/2-half))-1)]
		m.High = s[min(n-1, int(math.Ceil(float64(n)/2+half)))]
	}
	for _, v := range s {
		if m.Outlier(v) {
			m.Outliers++
		}
	}
	return m
}

// Outlier says whether v stands further from the median than chance puts it. A
// tenth of a per cent is never far: a sample of equal values has a spread of 0.
func (m Summary) Outlier(v float64) bool {
	return math.Abs(v-m.Median) > max(outlierSpreads*madToSigma*m.MAD, 1e-3*math.Abs(m.Median))
}

// Uncertainty is half the width of the confidence interval as a share of the
// median; infinite where that says nothing yet.
func (m Summary) Uncertainty() float64 {
	if m.N < 6 || m.Median <= 0 {
		return math.Inf(1)
	}
	return (m.High - m.Low) / 2 / m.Median
}
