package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	goruntime "runtime"
	"slices"
	"time"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/robust"
)

// Options say what to run and how. The zero value of a field is its default.
type Options struct {
	Bundle       string    // the bundle's folder
	Library      string    // ONNX Runtime's library; "": see runtime.OpenORT
	Map          []Mapping // cores of processors; the others get equal shares of what is left
	Optimization runtime.Level
	EmulateLinks bool
	Window       int // most inferences in the pipeline; 0: two more than there are sub-models, at most 16

	Time       time.Duration // most time to measure in; 0: 10 s
	Confidence float64       // half width of the 95 % interval of a median at which measuring may end; 0: 0.01
	Tolerance  float64       // of outputs; 0: 1e-3

	// Inputs says which model to run and on what: its fields that speak of inputs
	// and Model count.
	Inputs verify.Options

	// SkipParallel leaves out ONNX Runtime's own ways to use several cores,
	// SkipPipeline the throughput, of the split and of copies of the whole.
	SkipParallel, SkipPipeline bool

	// Progress, if not nil, is told what is being done and how much of it is.
	Progress func(what string, done float64)

	eng runtime.Engine // nil: ONNX Runtime; tests have another
}

// Measurement is a report with what a trace needs.
type Measurement struct {
	Report   *Report
	Manifest *backend.Manifest
	traced   *batch // latency runs; nil if there were none
	places   []place
}

// minRounds is how many turns medians are taken over at least.
const minRounds = 8

// turnTime is how long one contestant runs in a round.
const turnTime = 60 * time.Millisecond

// contestant is something that is measured in turns with others.
type contestant struct {
	name    string
	run     func(n int) ([]float64, error) // microseconds of n inferences
	kept    func()                         // called after each turn that counts; may be nil
	us      float64                        // of one inference, about
	samples []float64
	turns   []float64 // median of each turn
}

// bench is one call of Run.
type bench struct {
	Options
	ctx      context.Context
	m        *backend.Manifest
	model    string
	places   []place
	shared   bool
	workers  []*runtime.Thread // by place
	all      *runtime.Thread   // on the cores of all places
	eng      runtime.Engine
	program  *program
	report   *Report
	feed     map[string]*runtime.Value
	closers  []func()
	list     []*contestant
	copies   []*replica // by place
	traced   *batch
	runTimes [][]float64 // by sub-model
	busyRuns [][]float64 // by sub-model, in the pipeline
}

// Run measures a bundle. Errors are sentences: files that cannot be read, a model
// that does not run on the inputs. That outputs differ is no error: Report.Agree tells.
func Run(ctx context.Context, o Options) (*Measurement, error) {
	b, err := prepare(ctx, o)
	if b != nil {
		defer b.close()
	}
	if err != nil {
		return nil, err
	}
	if err := b.checkFiles(); err != nil {
		return nil, err
	}
	// Workers never wait for one of Go's processors; what else runs in this
	// program gets those that are over.
	defer goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(goruntime.GOMAXPROCS(0) + len(b.workers) + 2))
	if err := b.load(); err != nil {
		return nil, err
	}
	if err := b.compare(); err != nil {
		return nil, err
	}
	if err := b.rounds(); err != nil {
		return nil, err
	}
	b.summarize()
	return &Measurement{b.report, b.m, b.traced, b.places}, nil
}

// prepare reads the manifest, maps processors to cores and starts the workers.
func prepare(ctx context.Context, o Options) (*bench, error) {
	if o.Time <= 0 {
		o.Time = 10 * time.Second
	}
	if o.Confidence <= 0 {
		o.Confidence = 0.01
	}
	if o.Tolerance <= 0 {
		o.Tolerance = 1e-3
	}
	if o.Progress == nil {
		o.Progress = func(string, float64) {}
	}
	m, err := backend.ReadManifest(o.Bundle)
	if err != nil {
		return nil, err
	}
	if len(m.Submodels) == 0 {
		return nil, &diag.Error{File: o.Bundle, Msg: "the bundle has no sub-models to run"}
	}
	b := &bench{Options: o, ctx: ctx, m: m}
	if b.model, err = backend.FindModel(o.Inputs.Model, o.Bundle, m); err != nil {
		return nil, err
	}
	if b.eng = o.eng; b.eng == nil {
		if b.eng, err = runtime.OpenORT(o.Library); err != nil {
			return nil, err
		}
	}
	available, err := runtime.BoundCPUs()
	if err != nil {
		return nil, err
	}
	if b.places, b.shared, err = places(m, o.Map, available); err != nil {
		return nil, err
	}
	b.report = &Report{
		Bundle: o.Bundle, Model: b.model, Engine: b.eng.Name(), Optimization: o.Optimization.String(),
		EmulateLinks: o.EmulateLinks, Tolerance: o.Tolerance, Whole: []Result{}, Parallel: []Result{}, Notes: []string{},
	}
	for _, p := range b.places {
		w := runtime.StartThread(p.CPUs)
		b.workers = append(b.workers, w)
		if w.Err != nil {
			b.note("%v; times are those of free threads", w.Err)
		}
		b.report.Processors = append(b.report.Processors, b.processor(p))
	}
	b.all = runtime.StartThread(cores(b.places))
	if b.shared {
		b.note("cores stand for several processors each: what the split takes here is more than it would on processors of their own")
	}
	b.noteTransfers()
	return b, nil
}

func (b *bench) processor(p place) Processor {
	r := Processor{Name: p.Processor, CPUs: runtime.FormatCPUs(p.CPUs), Threads: len(p.CPUs), Provider: p.Provider}
	for _, q := range b.m.Processors {
		if q.Name == p.Processor {
			r.Submodels = len(q.Submodels)
			if p.Provider == "" && q.Provider != "" && q.Provider != "CPUExecutionProvider" {
				b.note("processor %s has %s in its profile; here it is the CPU, unless --map gives a provider", q.Name, q.Provider)
			}
		}
	}
	if r.Provider == "" {
		r.Provider = "CPUExecutionProvider"
	}
	return r
}

// checkFiles notes which files are not those of the manifest: what runs is then not
// what the prediction is for.
func (b *bench) checkFiles() error {
	b.Progress("checking files", -1)
	changed, err := verify.CheckFiles(b.ctx, b.Bundle, b.m, b.model)
	for _, c := range changed {
		b.note("%s", c)
	}
	return err
}

// noteCosts says why prediction and measurement may be far apart, or a measurement of
// little worth.
func (b *bench) noteCosts() {
	if measured := b.m.Prediction.CostSources.Measured; measured < 0.5 {
		b.note("the prediction is for the processors of the fleet and rests on measurements for %.0f%% only: costs of this machine, from dnnsplit profile, make it comparable", 100*measured)
	}
	const noisy = 0.1
	if r := b.report.Latency; r.MADUs > noisy*r.MedianUs {
		b.note("times of one inference stand %.0f%% apart: other programs run on these cores; measure again while they rest", 100*r.MADUs/r.MedianUs)
	}
}

// noteTransfers says that a prediction counts what is not measured.
func (b *bench) noteTransfers() {
	n := 0
	for _, e := range b.m.Edges {
		n += len(e.Transfers)
	}
	for _, in := range b.m.Inputs {
		n += len(in.Transfers)
	}
	for _, out := range b.m.Outputs {
		n += len(out.Transfers)
	}
	if n > 0 && !b.EmulateLinks {
		b.note("the prediction counts %d transfers over links, which cost nothing here: --emulate-links makes them cost what the fleet says", n)
	}
}

func (b *bench) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(b.report.Notes, text) {
		b.report.Notes = append(b.report.Notes, text)
	}
}

// close frees everything, sessions before threads.
func (b *bench) close() {
	for _, f := range slices.Backward(b.closers) {
		f()
	}
	for _, w := range b.workers {
		w.Stop()
	}
	if b.all != nil {
		b.all.Stop()
	}
}

// options are those of a session on a processor's cores.
func (b *bench) options(p place) runtime.Options {
	return runtime.Options{Optimization: b.Optimization, IntraOpThreads: len(p.CPUs), Provider: p.Provider}
}

// load loads the whole model in all its ways, makes the inputs, and loads the sub-models.
func (b *bench) load() error {
	b.Progress("loading "+b.model, -1)
	outputs, err := b.loadWhole()
	if err != nil {
		return err
	}
	options := make([]runtime.Options, len(b.places))
	for i, p := range b.places {
		options[i] = b.options(p)
		// Threads that look for work after a run would take the cores from the processor's next sub-model.
		options[i].RestAfterRun = p.submodels > 1 || b.shared
	}
	b.Progress("loading the sub-models", -1)
	b.program, err = newProgram(b.ctx, b.eng, b.Bundle, b.m, b.places, b.workers, options, b.feed, outputs, b.EmulateLinks)
	if err != nil {
		return err
	}
	b.closers = append(b.closers, b.program.close)
	b.runTimes = make([][]float64, len(b.program.steps))
	b.busyRuns = make([][]float64, len(b.program.steps))
	b.contestants()
	return nil
}

// contestants adds the split's own.
func (b *bench) contestants() {
	split := &contestant{name: "split", run: func(n int) ([]float64, error) {
		batch := b.program.newBatch(b.ctx, n, 1, b.shared, true)
		if err := batch.run(b.workers); err != nil {
			return nil, err
		}
		b.traced = batch
		batch.addRuns(b.runTimes)
		return batch.latencies(), nil
	}}
	b.list = append([]*contestant{split}, b.list...)
	if b.SkipPipeline {
		return
	}
	if b.report.Window = b.Window; b.Window <= 0 {
		b.report.Window = min(16, len(b.program.steps)+2)
	}
	window := b.report.Window
	b.list = append(b.list, &contestant{name: "pipeline", run: func(n int) ([]float64, error) {
		batch := b.program.newBatch(b.ctx, max(n, 4*window), window, b.shared, true)
		if err := batch.run(b.workers); err != nil {
			return nil, err
		}
		batch.addRuns(b.busyRuns)
		return []float64{batch.interval()}, nil
	}})
}

// rounds lets all contestants run in turns.
func (b *bench) rounds() error {
	for _, c := range b.list {
		b.Progress("warming up "+c.name, -1)
		if err := c.warm(); err != nil {
			return err
		}
	}
	for i := range b.runTimes {
		b.runTimes[i], b.busyRuns[i] = nil, nil
	}
	start := time.Now()
	for round := 0; ; round++ {
		spent := time.Since(start)
		if round >= minRounds && (spent >= b.Time || b.certain()) {
			b.report.Rounds = round
			return nil
		}
		if spent >= 3*b.Time && round > 0 { // very slow models: what there is must do
			b.report.Rounds = round
			b.note("there was time for %d rounds only, %d make medians that can be trusted", round, minRounds)
			return nil
		}
		b.Progress(fmt.Sprintf("round %d", round+1), min(float64(spent)/float64(b.Time), 1))
		for _, c := range b.list {
			settle(b.ctx)
			if err := c.turn(); err != nil {
				return err
			}
		}
	}
}

// warm runs a contestant until its time is known and caches are filled.
func (c *contestant) warm() error {
	start := time.Now()
	n := 0
	for n < 3 || (time.Since(start) < turnTime && n < 100) {
		if _, err := c.run(1); err != nil {
			return err
		}
		n++
		c.us = inMicros(time.Since(start)) / float64(n)
	}
	return nil
}

// turn measures one turn: the first inferences, which find the caches full of
// what ran before, do not count.
func (c *contestant) turn() error {
	n := int(max(3, min(inMicros(turnTime)/c.us, 500)))
	if _, err := c.run(max(1, n/10)); err != nil {
		return err
	}
	got, err := c.run(n)
	if err != nil {
		return err
	}
	c.samples = append(c.samples, got...)
	m := robust.Median(got)
	c.turns = append(c.turns, m)
	if c.kept != nil {
		c.kept()
	}
	if m > 0 {
		c.us = m
	}
	return nil
}

// certain says whether all medians are known well enough.
func (b *bench) certain() bool {
	for _, c := range b.list {
		if !(robust.Summarize(c.turns).Uncertainty() <= b.Confidence) {
			return false
		}
	}
	return true
}

// compare runs the split once and compares its outputs with the whole model's.
func (b *bench) compare() error {
	want, again, err := b.twice()
	if err != nil {
		return err
	}
	batch := b.program.newBatch(b.ctx, 1, 1, b.shared, false)
	batch.keep = true
	if err := batch.run(b.workers); err != nil {
		return err
	}
	b.report.Agree = true
	var names []string
	for _, out := range b.m.Outputs {
		if out.From == nil || slices.Contains(names, out.Tensor) {
			continue // a graph input, or listed before
		}
		names = append(names, out.Tensor)
		w := want[out.Tensor]
		if w == nil {
			return errors.New("the whole model has no output " + out.Tensor + ", which the manifest lists")
		}
		o := Output{Tensor: out.Tensor, Diff: *verify.Compare(w, batch.outputs[out.Tensor])}
		repeats := verify.Compare(w, again[out.Tensor])
		if o.Random = !repeats.Equal(); o.Random {
			b.note("the model does not repeat its own output %s on equal inputs: it is not compared", out.Tensor)
		} else if !o.Diff.Within(b.Tolerance) {
			b.report.Agree = false
		}
		b.report.Outputs = append(b.report.Outputs, o)
	}
	return nil
}

// find is a contestant by its name, nil if it does not take part.
func (b *bench) find(name string) *contestant {
	for _, c := range b.list {
		if c.name == name {
			return c
		}
	}
	return nil
}

// quotient is the median over rounds of how many times as long slow took as fast.
func quotient(slow, fast *contestant) *float64 {
	if slow == nil || fast == nil {
		return nil
	}
	var q []float64
	for i := range min(len(slow.turns), len(fast.turns)) {
		if fast.turns[i] > 0 {
			q = append(q, slow.turns[i]/fast.turns[i])
		}
	}
	m := robust.Median(q)
	if math.IsNaN(m) {
		return nil
	}
	return &m
}

// summarize fills the report.
func (b *bench) summarize() {
	r, p := b.report, b.m.Prediction
	split := b.find("split")
	r.Latency = result("split", runtime.FormatCPUs(union(b.places)), split.samples, &p.LatencyUs)
	b.noteCosts()
	for _, pl := range b.places {
		c := b.find(wholeName(pl.Processor))
		if c == nil {
			continue
		}
		var predicted *float64
		if p.Objective == "latency" || !b.EmulateLinks { // else it is a bottleneck
			predicted = p.SingleProcessorUs.Of(pl.Processor)
		}
		w := result(pl.Processor, runtime.FormatCPUs(pl.CPUs), c.samples, predicted)
		w.Speedup = quotient(c, split)
		r.Whole = append(r.Whole, w)
		if r.BestWhole == "" || w.MedianUs < b.wholeOf(r.BestWhole).MedianUs {
			r.BestWhole = pl.Processor
		}
	}
	b.summarizeCopies()
	r.Latency.Speedup = quotient(b.find(wholeName(r.BestWhole)), split)
	if c := b.find("pipeline"); c != nil {
		r.Interval = result("pipeline", r.Latency.CPUs, c.samples, &p.BottleneckUs)
		r.Interval.Speedup = quotient(b.find(wholeName(r.BestWhole)), c)
	}
	for _, name := range []string{interName, intraName} {
		if c := b.find(name); c != nil {
			w := result(name, runtime.FormatCPUs(cores(b.places)), c.samples, nil)
			w.Speedup = quotient(c, split)
			r.Parallel = append(r.Parallel, w)
		}
	}
	for i, s := range b.m.Submodels {
		sum := robust.Summarize(b.runTimes[i])
		predicted := s.Predicted.EndUs - s.Predicted.StartUs
		row := Submodel{
			ID: s.ID, Processor: s.Processor, PredictedUs: predicted, MedianUs: sum.Median, MADUs: sum.MAD, Samples: sum.N,
			Error: relative(predicted, sum.Median), PipelineSamples: len(b.busyRuns[i]),
		}
		if row.PipelineSamples > 0 {
			row.PipelineUs = robust.Median(b.busyRuns[i])
		}
		r.Submodels = append(r.Submodels, row)
	}
}

// wholeOf is the whole model on a processor, as reported.
func (b *bench) wholeOf(processor string) *Result {
	for i := range b.report.Whole {
		if b.report.Whole[i].Name == processor {
			return &b.report.Whole[i]
		}
	}
	return nil
}
