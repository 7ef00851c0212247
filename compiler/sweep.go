package compiler

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// SweepOptions ask what a split would be if numbers of the fleet were others.
type SweepOptions struct {
	Options
	Vary  []Variation
	Drop  []string // devices; for each, all points again without it
	Steps int      // values of a range; 0: 9
	// Pareto asks for latency and for throughput, with one sub-model per processor,
	// with two and with any number, and marks the plans that no other beats in both.
	Pareto bool
}

// Variation is a number of the fleet and the values that it takes: "10..1000Mbit/s"
// or "1GiB,2GiB,4GiB". A range of a factor of ten or more is cut evenly by
// factors, a smaller one evenly by differences; Linear and Log say otherwise.
type Variation struct {
	Parameter   string
	Values      string
	Linear, Log bool
}

// maxSweepPoints bounds the placements of one sweep.
const maxSweepPoints = 10_000

// Sweep is what a fleet with other numbers would give.
type Sweep struct {
	Model      string       `json:"model"`
	Objective  string       `json:"objective"`
	Parameters []string     `json:"parameters"`
	Points     []SweepPoint `json:"points"` // by dropped device, then by values, the last parameter fastest
}

// SweepPoint is one plan. Times are microseconds.
type SweepPoint struct {
	Values     []string  `json:"values"` // of the parameters, with units
	Numbers    []float64 `json:"numbers"`
	Without    string    `json:"without,omitempty"` // the dropped device
	Objective  string    `json:"objective"`
	Submodels  string    `json:"submodels"` // most per processor, or auto
	Infeasible string    `json:"infeasible,omitempty"`

	LatencyUs    float64  `json:"latency_us"`
	BottleneckUs float64  `json:"bottleneck_us"`
	PerSecond    float64  `json:"inferences_per_second"`
	LowerBoundUs float64  `json:"lower_bound_us"`
	SingleUs     *float64 `json:"single_processor_us"` // the objective on the best single processor; null: none can run it
	Processors   []string `json:"processors"`          // that have sub-models
	Runs         int      `json:"runs"`                // sub-models
	Pareto       bool     `json:"pareto"`              // no other plan of these values is better in latency and throughput
}

// RunSweep reads and analyses the model once and places it for every combination of
// values. A combination without a feasible plan is a point that says why.
func RunSweep(ctx context.Context, o SweepOptions) (s *Sweep, err error) {
	defer catch(&err)
	fleet, err := loadFleet(&o.Options)
	if err != nil {
		return nil, err
	}
	w := &sweeper{o: o, sweep: &Sweep{Model: o.Model, Objective: o.Objective.String(), Parameters: []string{}}}
	if err := w.prepare(fleet); err != nil {
		return nil, err
	}
	a, err := load(ctx, &o.Options, false)
	if err != nil {
		return nil, err
	}
	defer a.Model.Close()
	// What is wrong with the model or the rules is wrong with every point.
	first, err := lowerOn(ctx, o.Options, a, fleet)
	if err != nil {
		return nil, err
	}
	for _, v := range w.variants {
		base := first
		if v.name != "" && v.why == "" {
			if base, err = lowerOn(ctx, o.Options, a, v.fleet); err != nil {
				if ctx.Err() != nil {
					return nil, err
				}
				v.why = err.Error()
			}
		}
		if err := w.walk(ctx, v, base, nil); err != nil {
			return nil, err
		}
	}
	w.mark()
	return w.sweep, nil
}

// sweeper is a sweep under way.
type sweeper struct {
	o        SweepOptions
	axes     []axis
	variants []variant
	total    int // points to place
	sweep    *Sweep
}

// axis is a parameter with its values.
type axis struct {
	text   string
	values []float64
}

// variant is the fleet, whole or without a device.
type variant struct {
	name  string // the dropped device; "": none
	fleet *profiles.Fleet
	why   string // the reason that there is no such fleet
}

// prepare resolves parameters, values and devices.
func (w *sweeper) prepare(fleet *profiles.Fleet) error {
	if len(w.o.Vary)+len(w.o.Drop) == 0 && !w.o.Pareto {
		return fmt.Errorf("nothing varies: give --vary, --drop-device or --pareto")
	}
	w.total = 1
	for i, v := range w.o.Vary {
		p, err := fleet.Parameter(v.Parameter)
		if err != nil {
			return fmt.Errorf("--vary: %w", err)
		}
		if slices.ContainsFunc(w.axes, func(a axis) bool { return a.text == p.Name }) {
			return fmt.Errorf("--vary: %s varies twice", p.Name)
		}
		values, err := v.values(p, w.o.Steps)
		if err != nil {
			return fmt.Errorf("--vary %s: %w", v.Parameter, err)
		}
		w.axes = append(w.axes, axis{w.o.Vary[i].Parameter, values})
		w.sweep.Parameters = append(w.sweep.Parameters, p.Name)
		w.total *= len(values)
		if w.total > maxSweepPoints {
			break
		}
	}
	w.variants = []variant{{fleet: fleet}}
	for _, name := range w.o.Drop {
		v := variant{name: name}
		if _, err := fleet.Device(name); err != nil {
			return fmt.Errorf("--drop-device: %w", err)
		}
		var err error
		if v.fleet, err = fleet.WithoutDevice(name); err != nil {
			v.why = err.Error()
		}
		w.variants = append(w.variants, v)
	}
	w.total *= len(w.variants) * len(w.kinds())
	if w.total > maxSweepPoints {
		return fmt.Errorf("that makes more than %d plans; take fewer values with --steps", maxSweepPoints)
	}
	return nil
}

// kinds are the plans of each point: objective and most sub-models per processor.
func (w *sweeper) kinds() []Options {
	if !w.o.Pareto {
		return []Options{w.o.Options}
	}
	var kinds []Options
	for _, objective := range []ir.Objective{ir.Latency, ir.Throughput} {
		for _, most := range []int{1, 2, Auto} {
			k := w.o.Options
			k.Objective, k.Submodels = objective, most
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// values reads the values that a number takes.
func (v Variation) values(p *profiles.Parameter, steps int) ([]float64, error) {
	low, high, isRange := strings.Cut(v.Values, "..")
	if !isRange {
		var values []float64
		for _, text := range strings.Split(v.Values, ",") {
			n, err := p.Parse(strings.TrimSpace(text))
			if err != nil {
				return nil, err
			}
			values = append(values, n)
		}
		return values, nil
	}
	if p.Unit(low) == "" {
		low += p.Unit(high)
	}
	a, err := p.Parse(low)
	if err != nil {
		return nil, err
	}
	b, err := p.Parse(high)
	if err != nil {
		return nil, err
	}
	if steps == 0 {
		steps = 9
	}
	if a == b {
		return []float64{a}, nil
	}
	log := min(a, b) > 0 && max(a, b)/min(a, b) >= 10
	switch {
	case v.Linear:
		log = false
	case v.Log && min(a, b) <= 0:
		return nil, fmt.Errorf("a range that starts at zero cannot be cut by factors")
	case v.Log:
		log = true
	}
	var values []float64
	for i := range steps {
		t := float64(i) / float64(max(steps-1, 1))
		n := a + t*(b-a)
		if log {
			n = a * math.Pow(b/a, t)
		}
		if i > 0 && i < steps-1 {
			n = rounded(n)
		} else if i > 0 {
			n = b
		}
		if len(values) == 0 || values[len(values)-1] != n {
			values = append(values, n)
		}
	}
	return values, nil
}

// rounded is a number with three significant digits, whole where it is large.
func rounded(v float64) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', 3, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// walk places the model for all values of the axes behind those that are chosen.
func (w *sweeper) walk(ctx context.Context, v variant, base *Result, chosen []float64) error {
	if len(chosen) < len(w.axes) {
		for _, n := range w.axes[len(chosen)].values {
			if err := w.walk(ctx, v, base, append(slices.Clip(chosen), n)); err != nil {
				return err
			}
		}
		return nil
	}
	problem, why := (*ir.Problem)(nil), v.why
	values := []string{}
	if why == "" {
		var err error
		problem, err = w.problem(ctx, base, chosen)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			why = err.Error()
		}
	}
	for i, n := range chosen {
		if p, err := w.variants[0].fleet.Parameter(w.axes[i].text); err == nil {
			values = append(values, p.Format(n))
		}
	}
	for _, kind := range w.kinds() {
		pt := SweepPoint{
			Values: values, Numbers: slices.Clone(chosen), Without: v.name, Objective: kind.Objective.String(),
			Submodels: "auto", Infeasible: why, Processors: []string{},
		}
		if n := kind.submodels(); n > 0 {
			pt.Submodels = strconv.Itoa(n)
		}
		if why == "" {
			if err := w.place(ctx, problem, kind, &pt); err != nil {
				return err
			}
		}
		w.sweep.Points = append(w.sweep.Points, pt)
		w.o.progress("sweep", float64(len(w.sweep.Points))/float64(w.total), strings.Join(values, " "))
	}
	share(w.sweep.Points[len(w.sweep.Points)-len(w.kinds()):], w.kinds())
	return nil
}

// share gives each point the best plan for its objective among those that were found for
// the same fleet with as many sub-models per processor or fewer: searches that are cut
// short find more for one objective than for the other. points[i] is of kinds[i].
func share(points []SweepPoint, kinds []Options) {
	found := slices.Clone(points)
	for i := range points {
		p, most := &points[i], kinds[i].submodels()
		for k := range found {
			q, n := &found[k], kinds[k].submodels()
			if q.Infeasible != "" || most > 0 && (n == 0 || n > most) || p.Infeasible == "" && !better(q, p) {
				continue
			}
			p.Infeasible, p.LatencyUs, p.BottleneckUs, p.PerSecond = "", q.LatencyUs, q.BottleneckUs, q.PerSecond
			p.Runs, p.Processors = q.Runs, q.Processors
			if p.Objective == q.Objective && p.SingleUs == nil {
				p.SingleUs = q.SingleUs
			}
		}
	}
}

// better compares the plan of q with that of p by p's objective, then by the other.
func better(q, p *SweepPoint) bool {
	latency, load := cmp.Compare(q.LatencyUs, p.LatencyUs), cmp.Compare(q.BottleneckUs, p.BottleneckUs)
	if p.Objective == ir.Throughput.String() {
		latency, load = load, latency
	}
	return latency < 0 || latency == 0 && load < 0
}

// problem is the placement problem for some values. Only costs that depend on
// them are worked out anew.
func (w *sweeper) problem(ctx context.Context, base *Result, chosen []float64) (*ir.Problem, error) {
	fleet, reprice := base.Fleet, false
	for i, n := range chosen {
		p, err := fleet.Parameter(w.axes[i].text)
		if err != nil {
			continue // a number of the device that is left out does not matter
		}
		fleet = fleet.With(p, n)
		reprice = reprice || p.Reprices
	}
	if reprice {
		r, err := lowerOn(ctx, base.Options, base.Analysis, fleet)
		if err != nil {
			return nil, err
		}
		base = r
	}
	problem := *base.Lowered.Problem
	problem.Platform = fleet.Platform
	problem.Costs = problem.Costs.Clone()
	for q := range fleet.Platform.Processors {
		id := ir.ProcID(q)
		speed := fleet.Speed(id)
		if speed == 1 {
			continue
		}
		for n := range problem.Graph.NumNodes() {
			if t := problem.Costs.Of(ir.NodeID(n), id); t != ir.Unsupported {
				problem.Costs.Set(ir.NodeID(n), id, ir.Micros(min(t.Us()/speed, ir.MaxMicros)))
			}
		}
	}
	if err := problem.Validate(); err != nil {
		return nil, err
	}
	return &problem, nil
}

// place fills a point.
func (w *sweeper) place(ctx context.Context, base *ir.Problem, kind Options, pt *SweepPoint) error {
	problem := *base
	problem.Submodels = kind.submodels()
	po := kind.passes()
	po.Auto, po.Progress = false, nil
	p, err := passes.Place(ctx, &problem, po)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		pt.Infeasible = err.Error()
		return nil
	}
	pt.LatencyUs, pt.BottleneckUs, pt.LowerBoundUs = p.Plan.Latency.Us(), p.Plan.Bottleneck.Us(), p.Plan.LowerBound.Us()
	pt.PerSecond = 1e6 / max(pt.BottleneckUs, 1e-6)
	pt.Runs = len(p.Plan.Submodels)
	for _, b := range p.Single {
		if !b.Feasible {
			continue
		}
		us := b.Latency.Us()
		if kind.Objective == ir.Throughput {
			us = b.Bottleneck.Us()
		}
		if pt.SingleUs == nil || us < *pt.SingleUs {
			pt.SingleUs = &us
		}
	}
	for q, proc := range problem.Platform.Processors {
		if slices.ContainsFunc(p.Plan.Submodels, func(s ir.Submodel) bool { return s.Processor == ir.ProcID(q) }) {
			pt.Processors = append(pt.Processors, proc.Name)
		}
	}
	return nil
}

// mark finds, among the points of equal values, those that no other beats in both
// latency and throughput; of equal plans the first.
func (w *sweeper) mark() {
	pts := w.sweep.Points
	for i := range pts {
		p := &pts[i]
		p.Pareto = p.Infeasible == ""
		for k := range pts {
			q := &pts[k]
			if k == i || q.Infeasible != "" || q.Without != p.Without || !slices.Equal(q.Numbers, p.Numbers) {
				continue
			}
			c := cmp.Compare(q.LatencyUs, p.LatencyUs)
			d := cmp.Compare(q.BottleneckUs, p.BottleneckUs)
			if c <= 0 && d <= 0 && (c < 0 || d < 0 || k < i) {
				p.Pareto = false
				break
			}
		}
	}
}
