package profiles

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/mat"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// The fit is t = a + b·FLOPs + c·bytes with a, b, c ≥ 0, over the measurements
// of one op type, or kind of kernel, and element type on one processor. Signatures range over many
// orders of magnitude and what counts is the relative error, so each equation is
// weighted by 1/t. Outliers are damped by iteratively reweighted least squares
// with Huber's weights (P. J. Huber, "Robust Estimation of a Location
// Parameter", Annals of Mathematical Statistics 35, 1964; the scale is the
// median absolute deviation). With three unknowns the non-negative solution is
// the best non-negative one among the least-squares solutions of all subsets of
// the columns, which also settles collinear columns (FLOPs of an elementwise op
// are proportional to its bytes): the smallest subset that is as good wins.
//
// Linear algebra sums in different orders on different machines. Coefficients
// are therefore rounded to six significant digits, and plain arithmetic without
// fused operations does the rest, so that predictions are the same everywhere.
const (
	minFitEntries   = 5     // measurements that a fit needs ...
	minFitPoints    = 3     // ... and distinct amounts of work among them
	coveredFactor   = 10    // a fit is used up to this many times the largest work measured
	huberTuning     = 1.345 // 95 % efficiency for normal errors
	huberIterations = 12
	maxCondition    = 1e8   // of a subset's equations, columns scaled to 1
	subsetTolerance = 1e-6  // relative gain in squared error that a larger subset must bring
	exactError      = 1e-16 // squared relative error of a row below which it is met exactly
	fitDigits       = 6
	minFitMicros    = 1e-3 // shorter times are weighted as this
	maxFolds        = 64
)

// Fit predicts the cost of an op type on a processor from its work.
type Fit struct {
	Domain, Op string // Op: an op type, or a kernel as in CostEntry
	Elem       ir.ElemType
	A          float64 // microseconds
	B          float64 // microseconds per FLOP
	C          float64 // microseconds per byte
	Entries    int     // measurements that it rests on
	MaxFLOPs   int64   // largest among them
	MaxBytes   int64   // largest among them

	// Error is the median of |predicted - measured| / measured over the
	// measurements it rests on.
	Error float64
}

// Predict is the time in microseconds; it is not negative.
func (f *Fit) Predict(flops, bytes int64) float64 {
	t := f.A
	t += float64(f.B * float64(flops)) // the conversion forbids a fused multiply-add
	t += float64(f.C * float64(bytes))
	return t
}

// covers says whether the work is within reach of what was measured.
func (f *Fit) covers(flops, bytes int64) bool {
	return float64(flops) <= coveredFactor*float64(f.MaxFLOPs) && float64(bytes) <= coveredFactor*float64(f.MaxBytes)
}

func (f *Fit) key() fitKey { return fitKey{f.Op, f.Domain, f.Elem} }

// fitKey is what the measurements of one fit have in common.
type fitKey struct {
	op, domain string
	elem       ir.ElemType
}

func (k fitKey) compare(o fitKey) int {
	return cmp.Or(cmp.Compare(k.op, o.op), cmp.Compare(k.domain, o.domain), cmp.Compare(k.elem, o.elem))
}

// fitNames are the fits that can predict an operation, the best one first: that of
// its kernel, of which there are fewest kinds, that of the op type which the kernel
// belongs to, whatever is fused with it, and that of its own op type. Names that
// would repeat another one are "".
func fitNames(op, kernel string) (names [3]string) {
	if kernel != op {
		names[0] = kernel
	}
	if lead, _, ok := strings.Cut(kernel, " "); ok && lead != op {
		names[1] = lead
	}
	names[2] = op
	return names
}

// fitGroup is the measurements that a fit is made from.
type fitGroup struct {
	key     fitKey
	entries []CostEntry
}

// groupEntries sorts entries into groups of one fitKey, ascending, each entry into
// all that its names call for; within a group by work and signature, so that the
// input order does not count.
func groupEntries(entries []CostEntry) []fitGroup {
	at := map[fitKey]int{}
	var groups []fitGroup
	for _, e := range entries {
		for _, name := range fitNames(e.Op, e.Kernel) {
			if name == "" {
				continue
			}
			key := fitKey{name, e.Domain, e.Elem}
			i, ok := at[key]
			if !ok {
				i = len(groups)
				at[key] = i
				groups = append(groups, fitGroup{key: key})
			}
			groups[i].entries = append(groups[i].entries, e)
		}
	}
	for _, g := range groups {
		slices.SortFunc(g.entries, func(a, b CostEntry) int {
			return cmp.Or(cmp.Compare(a.FLOPs, b.FLOPs), cmp.Compare(a.Bytes, b.Bytes), cmp.Compare(a.Signature, b.Signature))
		})
	}
	slices.SortFunc(groups, func(a, b fitGroup) int { return a.key.compare(b.key) })
	return groups
}

// fit fits the group, or says that it does not suffice.
func (g *fitGroup) fit() (Fit, bool) {
	f, ok := fitEntries(g.entries)
	f.Op, f.Domain, f.Elem = g.key.op, g.key.domain, g.key.elem
	return f, ok
}

// fitEntries fits measurements, or says that it does not suffice.
func fitEntries(group []CostEntry) (Fit, bool) {
	f, ok := solveFit(group, minFitEntries)
	if !ok {
		return Fit{}, false
	}
	f.Entries = len(group)
	errs := make([]float64, 0, len(group))
	for i := range group {
		errs = append(errs, relativeError(&f, &group[i]))
	}
	f.Error = median(errs)
	return f, true
}

// FitReport is a fit with what to expect of it for new signatures.
type FitReport struct {
	Fit
	// HeldOut is the median of |predicted - measured| / measured with each
	// measurement predicted by the fit of the others; of more than 64, by fits
	// that leave out every 64th. It is +Inf where the others do not make a fit.
	HeldOut float64
}

// Fits fits the measurements of the file and cross-validates each fit; ascending
// by op type, domain and element type. Op types with too few measurements have none.
func (c *CostFile) Fits() []FitReport {
	var out []FitReport
	for _, group := range groupEntries(c.Entries) {
		if fit, ok := group.fit(); ok {
			out = append(out, FitReport{fit, heldOut(group.entries)})
		}
	}
	return out
}

// heldOut cross-validates: leave one out, or every maxFolds-th of more entries.
func heldOut(group []CostEntry) float64 {
	folds := min(len(group), maxFolds)
	errs := make([]float64, 0, len(group))
	rest := make([]CostEntry, 0, len(group))
	for fold := range folds {
		rest = rest[:0]
		for i, e := range group {
			if i%folds != fold {
				rest = append(rest, e)
			}
		}
		f, ok := solveFit(rest, minFitEntries-1) // the smallest group too can do without one
		for i := fold; i < len(group); i += folds {
			if ok {
				errs = append(errs, relativeError(&f, &group[i]))
			} else {
				errs = append(errs, math.Inf(1))
			}
		}
	}
	return median(errs)
}

func relativeError(f *Fit, e *CostEntry) float64 {
	return math.Abs(f.Predict(e.FLOPs, e.Bytes)-e.MedianUs) / max(e.MedianUs, minFitMicros)
}

// median of values, which it sorts; the mean of the two middle ones.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n%2 == 1 {
		return values[n/2]
	}
	return (values[n/2-1] + values[n/2]) / 2
}

// subsets of the columns 1, FLOPs, bytes; smaller ones first.
var subsets = [...][]int{{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}, {0, 1, 2}}

// solveFit finds the coefficients for entries, which must be at least as many as
// least says and have enough distinct work.
func solveFit(entries []CostEntry, least int) (Fit, bool) {
	type work struct{ flops, bytes int64 }
	distinct := map[work]bool{}
	var f Fit
	for _, e := range entries {
		distinct[work{e.FLOPs, e.Bytes}] = true
		f.MaxFLOPs = max(f.MaxFLOPs, e.FLOPs)
		f.MaxBytes = max(f.MaxBytes, e.Bytes)
	}
	if len(entries) < least || len(distinct) < minFitPoints {
		return Fit{}, false
	}
	// Rows are divided by their time, columns by their largest entry.
	scale := [3]float64{1, float64(max(f.MaxFLOPs, 1)), float64(max(f.MaxBytes, 1))}
	rows := make([][3]float64, len(entries))
	target := make([]float64, len(entries))
	for i, e := range entries {
		t := max(e.MedianUs, minFitMicros)
		rows[i] = [3]float64{1 / t, float64(e.FLOPs) / scale[1] / t, float64(e.Bytes) / scale[2] / t}
		target[i] = e.MedianUs / t
	}
	weights := make([]float64, len(entries))
	for i := range weights {
		weights[i] = 1
	}
	var x [3]float64
	residuals := make([]float64, len(entries))
	for range huberIterations {
		var ok bool
		if x, ok = solveNonNegative(rows, target, weights); !ok {
			return Fit{}, false
		}
		for i, r := range rows {
			residuals[i] = math.Abs(residual(r, x, target[i]))
		}
		spread := 1.4826 * median(slices.Clone(residuals)) // of a normal distribution
		if spread < 1e-9 {
			break
		}
		for i, r := range residuals {
			weights[i] = min(1, huberTuning*spread/r) // +Inf for r = 0
		}
	}
	f.A = roundDigits(x[0], fitDigits)
	f.B = roundDigits(x[1]/scale[1], fitDigits)
	f.C = roundDigits(x[2]/scale[2], fitDigits)
	return f, finite(f.A) && finite(f.B) && finite(f.C)
}

func residual(row, x [3]float64, target float64) float64 {
	r := -target
	for j := range row {
		r += float64(row[j] * x[j])
	}
	return r
}

// solveNonNegative minimises Σ weight·(row·x - target)² over x ≥ 0.
func solveNonNegative(rows [][3]float64, target, weights []float64) (best [3]float64, found bool) {
	var bestError float64
	for _, columns := range subsets {
		x, ok := solveSubset(rows, target, weights, columns)
		if !ok {
			continue
		}
		var sum float64
		for i, r := range rows {
			d := residual(r, x, target[i])
			sum += float64(weights[i] * float64(d*d))
		}
		if !found || sum < bestError-max(subsetTolerance*bestError, exactError*float64(len(rows))) {
			best, bestError, found = x, sum, true
		}
	}
	return best, found
}

// solveSubset is the least-squares solution with the other columns left out; ok
// is false if it is ill-conditioned or not non-negative.
func solveSubset(rows [][3]float64, target, weights []float64, columns []int) (x [3]float64, ok bool) {
	a := mat.NewDense(len(rows), len(columns), nil)
	b := mat.NewVecDense(len(rows), nil)
	for i, r := range rows {
		w := math.Sqrt(weights[i])
		for j, c := range columns {
			a.Set(i, j, w*r[c])
		}
		b.SetVec(i, w*target[i])
	}
	// Columns of length 1, so that the condition number tells of collinearity only.
	norms := make([]float64, len(columns))
	for j := range columns {
		col := a.ColView(j)
		norms[j] = mat.Norm(col, 2)
		if norms[j] == 0 || !finite(norms[j]) {
			return x, false
		}
		for i := range rows {
			a.Set(i, j, a.At(i, j)/norms[j])
		}
	}
	var qr mat.QR
	qr.Factorize(a)
	if cond := qr.Cond(); !(cond <= maxCondition) {
		return x, false
	}
	var solution mat.VecDense
	if err := qr.SolveVecTo(&solution, false, b); err != nil {
		return x, false
	}
	for j, c := range columns {
		v := solution.AtVec(j) / norms[j]
		if !(v >= 0) || !finite(v) {
			return x, false
		}
		x[c] = v
	}
	return x, true
}

// roundDigits rounds v to n significant decimal digits.
func roundDigits(v float64, n int) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'e', n-1, 64), 64)
	if err != nil {
		return v
	}
	return r
}
