package bench

import (
	"github.com/dnnsplit/dnnsplit/backend/verify"
	"github.com/dnnsplit/dnnsplit/compiler/robust"
)

// Report is what a bundle took on this machine. Times are microseconds.
type Report struct {
	Bundle       string `json:"bundle"`
	Model        string `json:"model"`
	Engine       string `json:"engine"`
	Optimization string `json:"optimization"`
	EmulateLinks bool   `json:"emulate_links"`
	Rounds       int    `json:"rounds"` // turns of everything that is compared

	Processors []Processor `json:"processors"` // as mapped
	Latency    Result      `json:"latency"`    // of the split: one inference at a time
	Interval   Result      `json:"interval"`   // of the split: between inferences in a full pipeline; prediction: the bottleneck
	Window     int         `json:"window"`     // most inferences under way in the pipeline
	Whole      []Result    `json:"whole"`      // the whole model on each mapped processor
	Parallel   []Result    `json:"parallel"`   // the whole model on all cores, in ONNX Runtime's own ways
	// Copies is the time between inferences where every mapped processor runs the
	// whole model, none waiting for another; Speedup is their throughput over that of
	// BestWhole alone. Null where fewer than two have cores of their own.
	Copies    *Result    `json:"copies"`
	Submodels []Submodel `json:"submodels"`

	// BestWhole names the fastest of Whole; "" if there is none.
	BestWhole string `json:"best_whole"`

	Outputs []Output `json:"outputs"`
	// Agree says that all outputs that repeat are within Tolerance of the whole model's.
	Agree     bool     `json:"agree"`
	Tolerance float64  `json:"tolerance"`
	Notes     []string `json:"notes"`
}

// Processor is a processor of the bundle on this machine.
type Processor struct {
	Name      string `json:"name"`
	CPUs      string `json:"cpus"`
	Threads   int    `json:"threads"`
	Provider  string `json:"provider"`
	Submodels int    `json:"submodels"`
}

// Result is a measured time beside its prediction.
type Result struct {
	Name        string   `json:"name"`
	CPUs        string   `json:"cpus,omitempty"`
	PredictedUs *float64 `json:"predicted_us"` // null: nothing predicts it
	MedianUs    float64  `json:"median_us"`
	MADUs       float64  `json:"mad_us"` // median absolute distance from the median
	LowUs       float64  `json:"low_us"` // the median is in between with a confidence of 95 %
	HighUs      float64  `json:"high_us"`
	MinUs       float64  `json:"min_us"`
	Samples     int      `json:"samples"`
	Outliers    int      `json:"outliers"`
	Error       *float64 `json:"error"` // (predicted - measured) / measured
	// Speedup is how many times as fast the split is (its latency; in Interval its
	// throughput, against Whole): the median over rounds of the quotients within a round.
	Speedup *float64 `json:"speedup"`
	// Beside, in Whole, is how many times as long the whole model takes while the
	// other processors run it, too.
	Beside *float64 `json:"beside,omitempty"`
}

// Submodel is a sub-model's run: from the moment in which it starts to that in
// which its outputs are there.
type Submodel struct {
	ID          string   `json:"id"`
	Processor   string   `json:"processor"`
	PredictedUs float64  `json:"predicted_us"`
	MedianUs    float64  `json:"median_us"`
	MADUs       float64  `json:"mad_us"`
	Samples     int      `json:"samples"`
	Error       *float64 `json:"error"`
	// PipelineUs is the median in the pipeline, of PipelineSamples runs; 0 if there is none.
	PipelineUs      float64 `json:"pipeline_us"`
	PipelineSamples int     `json:"pipeline_samples"`
}

// Output compares an output of the split with the whole model's, both at the
// level of optimisation that was measured.
type Output struct {
	Tensor string            `json:"tensor"`
	Random bool              `json:"random"` // the model does not repeat it itself
	Diff   verify.Difference `json:"difference"`
}

// result describes samples.
func result(name, cpus string, samples []float64, predicted *float64) Result {
	s := robust.Summarize(samples)
	r := Result{
		Name: name, CPUs: cpus, PredictedUs: predicted, MedianUs: s.Median, MADUs: s.MAD,
		LowUs: s.Low, HighUs: s.High, MinUs: s.Min, Samples: s.N, Outliers: s.Outliers,
	}
	if predicted != nil {
		r.Error = relative(*predicted, s.Median)
	}
	return r
}

func relative(predicted, measured float64) *float64 {
	if measured <= 0 {
		return nil
	}
	e := (predicted - measured) / measured
	return &e
}
