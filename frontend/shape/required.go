package shape

// requiredInputs are the numbers of leading inputs that operators of the standard
// domain cannot do without, in the version that needs the fewest: 1 for those that
// are not listed. Source: docs/Operators.md and docs/Changelog.md of
// github.com/onnx/onnx, ranges of inputs and the inputs marked optional.
var requiredInputs = map[string]int{
	"Constant": 0, "ConstantFill": 0, "Loop": 0, "Optional": 0, "OptionalHasElement": 0,
	"RandomNormal": 0, "RandomUniform": 0, "Scan": 0, "SequenceEmpty": 0,

	"Add": 2, "And": 2, "BitShift": 2, "CastLike": 2, "Compress": 2, "Conv": 2, "ConvInteger": 2,
	"ConvTranspose": 2, "CumSum": 2, "DequantizeLinear": 2, "Div": 2, "Equal": 2, "Expand": 2,
	"Gather": 2, "GatherElements": 2, "GatherND": 2, "Gemm": 2, "Greater": 2, "GreaterOrEqual": 2,
	"GridSample": 2, "LayerNormalization": 2, "Less": 2, "LessOrEqual": 2, "MatMul": 2,
	"MatMulInteger": 2, "MaxRoiPool": 2, "MaxUnpool": 2, "Mod": 2, "Mul": 2,
	"NegativeLogLikelihoodLoss": 2, "NonMaxSuppression": 2, "Or": 2, "PRelu": 2, "Pow": 2,
	"QuantizeLinear": 2, "ReverseSequence": 2, "STFT": 2, "SequenceAt": 2, "SequenceInsert": 2,
	"SoftmaxCrossEntropyLoss": 2, "Sub": 2, "Tile": 2, "Xor": 2,

	"GRU": 3, "InstanceNormalization": 3, "LSTM": 3, "OneHot": 3, "RNN": 3, "Range": 3,
	"RoiAlign": 3, "Scatter": 3, "ScatterElements": 3, "ScatterND": 3, "Where": 3,

	"BatchNormalization": 5, "MelWeightMatrix": 5, "QLinearConv": 8, "QLinearMatMul": 8,
}

// checkRequired rejects a node of the standard domain that leaves out an input
// which its operator needs. Inputs that a function's caller left out are the
// caller's business: runtimes decide on them when they inline the function.
func (c *call) checkRequired() {
	if canonicalDomain(c.n.GetDomain()) != "" {
		return
	}
	need, listed := requiredInputs[c.n.GetOpType()]
	if !listed {
		need = 1
	}
	for i := range need {
		if c.inputName(i) == "" {
			c.reject("", "input %d of %s is left out, but the operator needs it", i, opName(c.n))
			return
		}
	}
}
