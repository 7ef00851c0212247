package verify

// Report is what a verification found.
type Report struct {
	Bundle string `json:"bundle"` // folder
	Model  string `json:"model"`  // file
	Engine string `json:"engine"` // name and version
	Seed   uint64 `json:"seed"`
	Trials int    `json:"trials"`

	// Equal is the verdict: with optimisation off every output of every trial is
	// bit-equal (or within Tolerance, where one was asked for), and the files are
	// those that the manifest describes.
	Equal     bool    `json:"equal"`
	Tolerance float64 `json:"tolerance"` // 0: bit for bit

	// Conclusive says whether the outputs depend on the inputs: whether any output
	// changed between trials. Equal constants prove little.
	Conclusive bool `json:"conclusive"`

	Inputs []InputReport `json:"inputs"`
	// Levels has optimisation off first, then those that were asked for.
	Levels []LevelReport `json:"levels"`
	// FirstDifference is the first sub-model that computes something else than the
	// model does when it is given the model's own values; nil if there is no
	// difference or it could not be found out (a warning says why).
	FirstDifference *Culprit `json:"first_difference,omitempty"`

	Problems []string `json:"problems"` // what is wrong beside the values; Equal is false then
	Warnings []string `json:"warnings"` // what weakens the verdict
}

// InputReport says what an input was given.
type InputReport struct {
	Name   string  `json:"name"`
	Dtype  string  `json:"dtype"`  // or the kind of a value that is no tensor
	Shape  []int64 `json:"shape"`  // null for other kinds
	Source string  `json:"source"` // "generated", "hint" or "given"
}

// LevelReport compares whole and split at one level of graph optimisation.
type LevelReport struct {
	Level    string         `json:"level"`
	BitEqual bool           `json:"bit_equal"`
	Outputs  []OutputReport `json:"outputs"` // in model order
	// Rounded are the float16 tensors that the model had to round as the split does
	// to be comparable: see the package comment. Empty if it was run as it stands.
	Rounded []string `json:"rounded"`
	// Unrounded is, where there are any, how far the split is from the model as it stands.
	Unrounded *Difference `json:"unrounded,omitempty"`
}

// OutputReport compares one graph output, over all trials.
type OutputReport struct {
	Tensor   string     `json:"tensor"`
	From     string     `json:"from"`  // the sub-model that makes it; "" if it is a graph input
	Dtype    string     `json:"dtype"` // or the kind of a value that is no tensor
	Shape    []int64    `json:"shape"` // of the first trial; null for other kinds
	BitEqual bool       `json:"bit_equal"`
	Varies   bool       `json:"varies"` // it differs between trials; false if there was one trial only
	Random   bool       `json:"random"` // the model itself does not repeat it on equal inputs: it does not count for the verdict
	Diff     Difference `json:"difference"`
}

// Culprit is a sub-model that computes something else than the model.
type Culprit struct {
	Submodel string     `json:"submodel"`
	Tensor   string     `json:"tensor"` // its first output that differs
	Diff     Difference `json:"difference"`
	Others   []string   `json:"others"` // further sub-models that differ on the model's own values
}

// Worst is the largest difference at a level, over its outputs.
func (l *LevelReport) Worst() Difference {
	worst := Difference{First: -1}
	for i := range l.Outputs {
		worst.merge(&l.Outputs[i].Diff)
	}
	return worst
}
