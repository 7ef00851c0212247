package measure

import (
	"math"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/robust"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// A run of a sub-model takes
//
//	launch + inputs·a + inputBytes·b + outputs·c + outputBytes·d + Σ count·cost
//
// and all runs together are a system of linear equations with unknowns that are
// not negative and a small error in every row. It is solved by the iteration of
// W. H. Richardson (Journal of the Optical Society of America 62, 1972) and L. B.
// Lucy (Astronomical Journal 79, 1974), the maximum-likelihood expectation
// maximisation of emission tomography (L. A. Shepp, Y. Vardi, IEEE Transactions on
// Medical Imaging 1, 1982): each unknown is multiplied by the mean of
// measured/predicted over the rows that hold it. Unknowns stay positive, rows need
// not determine all of them, and what they do not determine keeps the proportions
// that it started with: the times of the operations alone.
//
// A launch that was measured by itself is no unknown. Rows are weighted by 1/time, so that relative errors count, and by what they
// are worth: an operation alone says little about the operation in a model where
// longer stretches hold it.
const (
	iterations = 400

	weightWhole   = 8
	weightStretch = 1
	weightAlone   = 0.02
	weightShared  = 12 // the sub-models of a real split, run as they would be

	// Where to start: what a value costs that crosses an edge.
	startValueUs = 0.2
	startByteUs  = 5e-5 // 20 GB/s

	// The least that an operation takes inside a model, as a share of its time
	// alone. Copies at the edges explain all that an operation on memory alone
	// takes, and where no longer run holds it nothing else speaks for it: without
	// this such operations cost nothing, and neither does what is fitted to them.
	leastAlone = 0.2

	// How far whole models can be from the sum of their pieces.
	leastScale, mostScale = 0.5, 2

	// What is smaller is nothing: the copy costs left out of the parameters.
	leastValueUs = 0.02
	leastByteUs  = 1e-7
)

// The unknowns before the signatures.
const (
	launchColumn = iota
	inputColumn
	inputByteColumn
	outputColumn
	outputByteColumn
	firstSignature
)

// term is an unknown in a row.
type term struct {
	column int
	count  float64
}

// row is a run.
type row struct {
	terms  []term
	us     float64
	weight float64
	large  bool // it tells of the conditions in a whole model
}

// system is the equations of a cost file.
type system struct {
	rows    []row
	x       []float64
	least   []float64      // lower bounds of x
	columns map[string]int // by signature
	launch  bool           // what a launch takes is known
	cold    float64        // what it takes more after a run of another sub-model
	names   []string       // signatures, by column less firstSignature
}

// Calibrate sets the costs of the entries that the file's sub-model runs hold,
// and the copy costs of the processor, to those that explain all runs together
// best, and the scale so that whole models take what was measured: what grows with
// the size of a model, as the misses of its caches, is in no piece of it. Other
// entries stay. Without runs nothing changes.
func Calibrate(c *profiles.CostFile) {
	if len(c.SubmodelRuns) == 0 {
		return
	}
	setLaunch(c)
	s := newSystem(c)
	s.solve()
	for i := range c.Entries {
		if k, ok := s.columns[c.Entries[i].Signature]; ok {
			c.Entries[i].MedianUs = round(s.x[k])
		}
	}
	p := &c.Parameters
	warm, scale := round(s.x[launchColumn]), s.scale()
	p.WarmLaunchUs, p.Scale = &warm, &scale
	if p.LaunchUs == nil {
		p.LaunchUs = &warm
	}
	p.Busy = busy(c.SubmodelRuns)
	c.Parameters.Upload = copyCost(s.x[inputColumn], s.x[inputByteColumn])
	c.Parameters.Download = copyCost(s.x[outputColumn], s.x[outputByteColumn])
	p.Error = nil
	if a := Explain(c); a.Stretches > 0 {
		e := min(roundShare(a.StretchMedian), 1)
		p.Error = &e
	}
}

// roundShare keeps four decimals.
func roundShare(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// round keeps six digits: more were never measured.
func round(us float64) float64 {
	if us == 0 {
		return 0
	}
	scale := math.Pow(10, 5-math.Floor(math.Log10(math.Abs(us))))
	return math.Round(us*scale) / scale
}

func copyCost(value, perByte float64) *profiles.CopyCost {
	if value < leastValueUs && perByte < leastByteUs {
		return nil
	}
	if value < leastValueUs {
		value = 0
	}
	return &profiles.CopyCost{LatencyUs: round(value), BytesPerUs: round(1 / max(perByte, leastByteUs))}
}

func newSystem(c *profiles.CostFile) *system {
	s := &system{columns: map[string]int{}, x: make([]float64, firstSignature)}
	if cold, warm := c.Parameters.LaunchUs, warmLaunch(&c.Parameters); cold != nil {
		s.cold = max(*cold-*warm, 0)
	}
	for i := range c.SubmodelRuns {
		if r := &c.SubmodelRuns[i]; !r.Whole || !r.Shared {
			s.rows = append(s.rows, s.row(r))
		}
	}
	s.start(c)
	return s
}

// warmLaunch is the launch of runs that are timed over and over; nil if unknown.
func warmLaunch(p *profiles.Parameters) *float64 {
	if p.WarmLaunchUs != nil {
		return p.WarmLaunchUs
	}
	return p.LaunchUs
}

// row makes the equation of a run.
func (s *system) row(r *profiles.SubmodelRun) row {
	out := row{us: max(r.MedianUs, 1e-3)}
	add := func(column int, count int64) {
		if count > 0 {
			out.terms = append(out.terms, term{column, float64(count)})
		}
	}
	add(launchColumn, 1)
	add(inputColumn, r.Inputs)
	add(inputByteColumn, r.InputBytes)
	add(outputColumn, r.Outputs)
	add(outputByteColumn, r.OutputBytes)
	var count int64
	for _, u := range r.Units {
		k, ok := s.columns[u.Signature]
		if !ok {
			k = len(s.x)
			s.columns[u.Signature] = k
			s.names = append(s.names, u.Signature)
			s.x = append(s.x, 0)
		}
		add(k, u.Count)
		count += u.Count
	}
	switch {
	case r.Shared:
		out.weight = weightShared
		out.us = max(out.us-s.cold, out.us/10)
	case r.Whole:
		out.weight, out.large = weightWhole, true
	case count > 1:
		out.weight = weightStretch
	default:
		out.weight = weightAlone
	}
	out.weight /= out.us
	return out
}

// start chooses where the iteration starts: an operation at what it took alone,
// or else at what its entry says, or else at its share of the shortest run that
// holds it.
func (s *system) start(c *profiles.CostFile) {
	launch := math.Inf(1)
	for _, r := range s.rows {
		launch = min(launch, r.us/2)
	}
	if known := warmLaunch(&c.Parameters); known != nil {
		s.launch = true
		launch = min(2*launch, *known)
	}
	s.x[launchColumn] = max(launch, 1e-3)
	s.x[inputColumn], s.x[outputColumn] = startValueUs, startValueUs
	s.x[inputByteColumn], s.x[outputByteColumn] = startByteUs, startByteUs
	for k := firstSignature; k < len(s.x); k++ {
		s.x[k] = math.Inf(1)
	}
	for _, r := range s.rows {
		var edges, units float64
		for _, t := range r.terms {
			if t.column < firstSignature {
				edges += t.count * s.x[t.column]
			} else {
				units += t.count
			}
		}
		share := max(r.us-edges, 0.05*r.us) / units
		for _, t := range r.terms {
			if t.column >= firstSignature {
				s.x[t.column] = min(s.x[t.column], share)
			}
		}
	}
	s.least = make([]float64, len(s.x))
	// What was known before counts more than a share, and alone more than that.
	for i := range c.Entries {
		if k, ok := s.columns[c.Entries[i].Signature]; ok && c.Entries[i].MedianUs > 0 {
			s.x[k] = c.Entries[i].MedianUs
		}
	}
	for _, r := range s.rows {
		last := r.terms[len(r.terms)-1]
		if last.column < firstSignature || last.count > 1 || len(r.terms) > 1 && r.terms[len(r.terms)-2].column >= firstSignature {
			continue
		}
		edges := 0.0
		for _, t := range r.terms[:len(r.terms)-1] {
			edges += t.count * s.x[t.column]
		}
		s.x[last.column] = max(r.us-edges, 0.05*r.us)
		s.least[last.column] = max(s.least[last.column], leastAlone*(r.us-s.x[launchColumn]))
	}
}

// predict is the time of a row.
func (s *system) predict(r *row) float64 {
	var us float64
	for _, t := range r.terms {
		us += float64(t.count * s.x[t.column])
	}
	return us
}

// solve iterates.
func (s *system) solve() {
	sum := make([]float64, len(s.x))  // Σ weight·count
	gain := make([]float64, len(s.x)) // Σ weight·count·measured/predicted
	for _, r := range s.rows {
		for _, t := range r.terms {
			sum[t.column] += float64(r.weight * t.count)
		}
	}
	for range iterations {
		clear(gain)
		for i := range s.rows {
			r := &s.rows[i]
			q := r.weight * r.us / max(s.predict(r), 1e-9)
			for _, t := range r.terms {
				gain[t.column] += float64(q * t.count)
			}
		}
		for k := range s.x {
			if sum[k] > 0 && (k != launchColumn || !s.launch) {
				s.x[k] = max(s.x[k]*gain[k]/sum[k], s.least[k])
			}
		}
	}
}

// scale is the factor at which whole models take what was measured: the median
// over them, and 1 where there are none.
func (s *system) scale() float64 {
	var factors []float64
	for i := range s.rows {
		r := &s.rows[i]
		if !r.large {
			continue
		}
		var edges float64
		for _, t := range r.terms {
			if t.column < firstSignature {
				edges += float64(t.count * s.x[t.column])
			}
		}
		units := s.predict(r) - edges
		edges += s.cold // predictions count it
		if units > 0 && r.us > edges {
			factors = append(factors, (r.us-edges)/units)
		}
	}
	if len(factors) == 0 {
		return 1
	}
	return min(max(round(robust.Median(factors)), leastScale), mostScale)
}

// setLaunch sets the launch to what stretches of several operations take longer
// the first time, after other sub-models have run, than repeated at once: the median
// over them. Where none is known it is what a run that computes nothing takes.
func setLaunch(c *profiles.CostFile) {
	warm := warmLaunch(&c.Parameters)
	if warm == nil {
		return
	}
	var more []float64
	for i := range c.SubmodelRuns {
		r := &c.SubmodelRuns[i]
		var units int64
		for _, u := range r.Units {
			units += u.Count
		}
		if units > 1 && !r.Whole && !r.Shared && r.FirstUs > 0 {
			more = append(more, max(r.FirstUs-r.MedianUs, 0))
		}
	}
	if len(more) == 0 {
		return
	}
	sum := robust.Summarize(more)
	launch, spread := round(*warm+sum.Median), round(sum.MAD)
	c.Parameters.LaunchUs, c.Parameters.LaunchSpreadUs = &launch, &spread
}

// busy is how many times as long whole models take beside copies of them: the
// median over those that were measured so; nil where none was.
func busy(runs []profiles.SubmodelRun) *float64 {
	var times []float64
	for i := range runs {
		r := &runs[i]
		if !r.Whole || !r.Shared {
			continue
		}
		alone := *r
		alone.Shared = false
		key := alone.Key()
		if k := slices.IndexFunc(runs, func(q profiles.SubmodelRun) bool { return q.Whole && !q.Shared && q.Key() == key }); k >= 0 && runs[k].MedianUs > 0 {
			times = append(times, r.MedianUs/runs[k].MedianUs)
		}
	}
	if len(times) == 0 {
		return nil
	}
	f := min(max(round(robust.Median(times)), 1), mostScale*mostScale)
	return &f
}

// Agreement is how well a cost file explains the runs that it holds: relative
// errors, predicted less measured.
type Agreement struct {
	Whole         map[string]float64 // by model
	StretchMedian float64            // of the absolute errors of stretches of several operations
	StretchWorst  float64
	Stretches     int
}

// Explain compares the runs of a file with what its entries and parameters predict.
func Explain(c *profiles.CostFile) Agreement {
	a := Agreement{Whole: map[string]float64{}}
	cost := map[string]float64{}
	for _, e := range c.Entries {
		cost[e.Signature] = e.MedianUs
	}
	scale := 1.0
	if c.Parameters.Scale != nil {
		scale = *c.Parameters.Scale
	}
	var errs []float64
	for i := range c.SubmodelRuns {
		r := &c.SubmodelRuns[i]
		if r.Whole && r.Shared {
			continue
		}
		var us float64
		launch := c.Parameters.LaunchUs
		if !r.Whole && !r.Shared {
			launch = warmLaunch(&c.Parameters)
		}
		if launch != nil {
			us = *launch
		}
		us += copies(c.Parameters.Upload, r.Inputs, r.InputBytes) + copies(c.Parameters.Download, r.Outputs, r.OutputBytes)
		var count int64
		for _, u := range r.Units {
			us += float64(u.Count) * cost[u.Signature] * scale
			count += u.Count
		}
		e := (us - r.MedianUs) / max(r.MedianUs, 1e-3)
		switch {
		case r.Whole:
			a.Whole[r.Model] = e
		case count > 1:
			errs = append(errs, math.Abs(e))
		}
	}
	if a.Stretches = len(errs); len(errs) > 0 {
		slices.Sort(errs)
		a.StretchMedian, a.StretchWorst = errs[len(errs)/2], errs[len(errs)-1]
	}
	return a
}

func copies(c *profiles.CopyCost, values, size int64) float64 {
	if c == nil {
		return 0
	}
	return float64(values)*c.LatencyUs + float64(size)/c.BytesPerUs
}
