package measure

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing/fstest"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler"
	"github.com/dnnsplit/dnnsplit/compiler/robust"
	"github.com/dnnsplit/dnnsplit/profiles"
)

// Options say what to measure and how. The zero value of a field is its default.
type Options struct {
	Models    []string
	Processor string             // name of the processor, for the file
	Base      *profiles.CostFile // earlier measurements: they are kept, and not repeated; nil: none
	// Save is called after every batch of measurements with all that is known.
	Save func(*profiles.CostFile) error

	Provider     string // execution provider; "" is the CPU's
	Threads      int    // 0: as many as there are cores in CPUs, or one
	CPUs         []int  // cores to run on; nil: any
	Beside       []int  // cores of other processors of the device: what their work adds is measured; nil: it is not
	Optimization runtime.Level
	Confidence   float64 // half width of the 95 % interval of a median; 0: 0.01
	Library      string  // of ONNX Runtime; "": see runtime.OpenORT

	// AllSignatures measures every node by itself too, not only the groups that run
	// as one, so that models that group them in other ways find their costs.
	AllSignatures bool
	// Probes measures common operators at several sizes, for models whose operators
	// are in none that was measured.
	Probes bool
	Again  bool // measure anew what Base has

	Compile compiler.Options // shapes of inputs and limits count
	Inputs  verify.Options   // inputs to run on: its fields that speak of inputs count

	Progress func(what string, done float64)

	eng runtime.Engine // nil: ONNX Runtime
}

func (o *Options) threads() int {
	if o.Threads > 0 {
		return o.Threads
	}
	return max(1, len(o.CPUs))
}

// Report says what was measured.
type Report struct {
	Models     []ModelReport `json:"models"`
	Signatures int           `json:"signatures"` // in the file
	Measured   int           `json:"measured"`   // runs of sub-models that were timed now
	Kept       int           `json:"kept"`       // that the file had before
	Disturbed  []Disturbed   `json:"disturbed"`  // whose timings have many outliers
	Notes      []string      `json:"notes"`

	File      *profiles.CostFile `json:"-"`
	Agreement Agreement          `json:"-"`
}

// ModelReport is a whole model beside what the file predicts for it.
type ModelReport struct {
	Model       string  `json:"model"`
	Units       int     `json:"units"`
	Signatures  int     `json:"signatures"`
	MeasuredUs  float64 `json:"measured_us"`
	PredictedUs float64 `json:"predicted_us"`
	AloneUs     float64 `json:"alone_us"` // sum of what its operations take one by one
	Error       float64 `json:"error"`    // (predicted - measured) / measured
}

// Disturbed is a timing that other things on the machine got in the way of.
type Disturbed struct {
	What     string  `json:"what"`
	Outliers int     `json:"outliers"`
	Samples  int     `json:"samples"`
	MedianUs float64 `json:"median_us"`
	MaxUs    float64 `json:"max_us"`
}

// disturbedShare is the share of outliers above which a timing is named.
const disturbedShare = 0.1

// session is one call of Run.
type session struct {
	Options
	ctx    context.Context
	eng    runtime.Engine
	on     *runtime.Thread
	file   *profiles.CostFile
	known  map[string]bool // keys of runs that need not be timed
	at     map[string]int  // key of a run → index into file.SubmodelRuns
	report *Report
	fleet  *profiles.Fleet
	entry  map[string]int // signature → index into file.Entries

	negate      *piece // the negation of one number
	closeNegate func()
}

// Run measures models. Errors are sentences that name a file. When it fails or is
// cancelled, what Save got last is all that was measured before.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Confidence <= 0 {
		o.Confidence = 0.01
	}
	if o.Progress == nil {
		o.Progress = func(string, float64) {}
	}
	if o.Save == nil {
		o.Save = func(*profiles.CostFile) error { return nil }
	}
	s := &session{Options: o, ctx: ctx, eng: o.eng, known: map[string]bool{}, at: map[string]int{}, entry: map[string]int{}, report: &Report{Notes: []string{}, Disturbed: []Disturbed{}}}
	var err error
	if s.eng == nil {
		if s.eng, err = runtime.OpenORT(o.Library); err != nil {
			return nil, err
		}
	}
	if s.fleet, err = oneProcessor(); err != nil {
		return nil, err
	}
	if err := s.openFile(); err != nil {
		return nil, err
	}
	s.on = runtime.StartThread(o.CPUs)
	defer s.on.Stop()
	if s.on.Err != nil {
		return nil, s.on.Err
	}
	if err := s.launch(); err != nil {
		return nil, err
	}
	defer s.closeNegate()
	if s.Probes {
		s.Progress("probes", 0)
		if err := s.probes(); err != nil {
			return nil, err
		}
	}
	for i, path := range o.Models {
		if err := s.model(path, float64(i)/float64(len(o.Models)), 1/float64(len(o.Models))); err != nil {
			return nil, err
		}
	}
	s.finish()
	return s.report, s.Save(s.file)
}

// openFile starts with what was measured before.
func (s *session) openFile() error {
	s.file = &profiles.CostFile{Processor: s.Processor, Machine: machine(s.eng, &s.Options), Source: "measured by dnnsplit profile"}
	if s.Base != nil {
		base := *s.Base
		if base.Processor != s.Processor && base.Processor != "" && s.Processor != "" {
			return fmt.Errorf("the file holds costs of processor %s, not of %s: write to another file", base.Processor, s.Processor)
		}
		if err := base.Merge(s.file); err != nil {
			return err
		}
		s.file = &base
	}
	for i, e := range s.file.Entries {
		s.entry[e.Signature] = i
	}
	for i := range s.file.SubmodelRuns {
		k := s.file.SubmodelRuns[i].Key()
		s.at[k] = i
		s.known[k] = !s.Again
	}
	if !s.Again {
		s.report.Kept = len(s.file.SubmodelRuns)
	}
	return nil
}

// oneProcessor is a fleet to lower models on: costs do not matter.
func oneProcessor() (*profiles.Fleet, error) {
	return profiles.LoadFS(fstest.MapFS{"host.yaml": {Data: []byte(`schema: dnnsplit/device/v1
name: host
memory: 1024TiB
processors:
  - name: cpu
    kind: cpu
    peak: {float32: 100GFLOP/s}
    memory_bandwidth: 20GB/s
source: for lowering only
`)}}, ".")
}

// add puts an operation into the file, and the run that measured it.
func (s *session) add(run profiles.SubmodelRun, ops map[string]profiles.Op) {
	for _, u := range run.Units {
		if _, ok := s.entry[u.Signature]; ok {
			continue
		}
		op := ops[u.Signature]
		s.entry[u.Signature] = len(s.file.Entries)
		s.file.Entries = append(s.file.Entries, profiles.CostEntry{
			Signature: u.Signature, Op: op.Type, Domain: op.Domain, Kernel: op.Kernel, Elem: op.Elem, FLOPs: max(op.FLOPs, 0), Bytes: max(op.Bytes, 0),
			MedianUs: run.MedianUs / float64(len(run.Units)), SpreadUs: run.SpreadUs, Runs: run.Runs,
		})
	}
	if len(run.Units) == 1 && run.Units[0].Count == 1 {
		e := &s.file.Entries[s.entry[run.Units[0].Signature]]
		e.SpreadUs, e.Runs = run.SpreadUs, run.Runs
	}
	k := run.Key()
	s.known[k] = true
	if i, ok := s.at[k]; ok {
		s.file.SubmodelRuns[i] = run
		return
	}
	s.at[k] = len(s.file.SubmodelRuns)
	s.file.SubmodelRuns = append(s.file.SubmodelRuns, run)
}

// took fills in what the timing of a piece found, and notes one with many outliers.
func (s *session) took(run *profiles.SubmodelRun, p *piece, what string) {
	median, spread := p.result()
	sum := robust.Summarize(p.us)
	run.MedianUs, run.SpreadUs, run.Runs = round(median), round(spread), int64(sum.N)
	if !run.Whole {
		run.FirstUs = round(p.cold())
	}
	s.report.Measured++
	if float64(sum.Outliers) > disturbedShare*float64(sum.N) {
		s.report.Disturbed = append(s.report.Disturbed, Disturbed{what, sum.Outliers, sum.N, sum.Median, sum.Max})
	}
}

// finish calibrates and fills the report.
func (s *session) finish() {
	slices.SortFunc(s.file.Entries, func(a, b profiles.CostEntry) int { return cmp.Compare(a.Signature, b.Signature) })
	Calibrate(s.file)
	s.report.File, s.report.Signatures = s.file, len(s.file.Entries)
	s.report.Agreement = Explain(s.file)
	for i := range s.report.Models {
		m := &s.report.Models[i]
		if e, ok := s.report.Agreement.Whole[filepath.Base(m.Model)]; ok {
			m.Error = e
			m.PredictedUs = m.MeasuredUs * (1 + e)
		}
	}
}
