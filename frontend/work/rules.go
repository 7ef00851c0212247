package work

import (
	"sync"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Formulas count the operations of the definition in the ONNX standard
// (docs/Operators.md of github.com/onnx/onnx), a multiply-add as two, a compare,
// a select or a conversion as one. Where a definition calls a transcendental
// function, that counts as transcendental operations.
//
// For convolutions and matrix products this is what the literature calls
// FLOPs = 2 × multiply-adds (for instance Canziani, Paszke, Culurciello,
// "An Analysis of Deep Neural Network Models for Practical Applications", 2016).

// transcendental is what exp, log, tanh, erf and the like count: an argument
// reduction and a polynomial of some seven terms, as Cephes and its vectorised
// descendants compute expf (two operations a term).
const transcendental = 16

// rule completes the work of a node, whose bytes are counted already.
type rule func(x *node, w *Work)

type ruleIndex struct {
	byName map[string]map[string]rule
}

func (r *ruleIndex) find(domain, name string) (rule, bool) {
	if domain == "ai.onnx" {
		domain = ""
	}
	f, ok := r.byName[domain][name]
	return f, ok
}

var rules = sync.OnceValue(func() *ruleIndex {
	return &ruleIndex{byName: map[string]map[string]rule{
		"":                         onnxRules(),
		"ai.onnx.ml":               mlRules(),
		"ai.onnx.preview":          onnxRules(),
		"ai.onnx.preview.training": trainingRules(),
		"ai.onnx.training":         trainingRules(),
		"com.microsoft":            microsoftRules(),
		"com.microsoft.nchwc":      blockedRules(),
		"com.ms.internal.nhwc":     blockedRules(),
	}}
})

// perOutput: k operations an output element.
func perOutput(k int64) rule {
	return func(x *node, w *Work) { w.FLOPs = mul(k, x.outElements()) }
}

// perInput: k operations an element of the first input.
func perInput(k int64) rule {
	return func(x *node, w *Work) { w.FLOPs = mul(k, x.in(0).Elements()) }
}

// variadic: one operation an output element and input beyond the first.
func variadic(x *node, w *Work) {
	w.FLOPs = mul(int64(len(x.ins)-1), x.outElements())
}

// nothing is computed: data are moved.
func nothing(*node, *Work) {}

// view: nothing is computed or moved.
func view(_ *node, w *Work) { w.ReadBytes, w.WriteBytes = 0, 0 }

// metadata: the output tells of the input's shape; its contents are not read.
func metadata(_ *node, w *Work) { w.ReadBytes = 0 }

// picks: the first input is read as far as it is picked, the others whole.
func picks(x *node, w *Work) {
	whole := x.in(0).Bytes
	if w.ReadBytes < whole {
		return
	}
	w.ReadBytes = add(w.ReadBytes-whole, min(whole, w.WriteBytes))
}

// inElem: as f, done in elements of type e.
func inElem(e ir.ElemType, f rule) rule {
	return func(x *node, w *Work) {
		f(x, w)
		w.Elem = e
	}
}

func onnxRules() map[string]rule {
	const t = transcendental
	m := map[string]rule{
		"If": ifRule, "Loop": loopRule, "Scan": loopRule, "SequenceMap": loopRule,

		"Conv": conv(1), "ConvInteger": inElem(ir.Int8, conv(1)), "QLinearConv": inElem(ir.Int8, conv(3)),
		"ConvTranspose": convTranspose, "DeformConv": deformConv, "CausalConvWithState": conv(1),
		"FusedConv": conv(1),
		"MatMul":    matMul, "MatMulInteger": inElem(ir.Int8, matMul), "QLinearMatMul": inElem(ir.Int8, matMul),
		"Gemm": gemm(2), "FusedGemm": gemm(2), "Einsum": einsum,
		"Attention": attention, "FlexAttention": attention, "LinearAttention": linearAttention,
		"RNN": recurrent(1, 1+t), "GRU": recurrent(3, 3*t+10), "LSTM": recurrent(4, 5*t+8),

		"AveragePool": pool, "MaxPool": pool, "LpPool": pool,
		"GlobalAveragePool": perInput(1), "GlobalMaxPool": perInput(1), "GlobalLpPool": perInput(2),
		"MaxUnpool": nothing, "MaxRoiPool": perInput(1), "RoiAlign": roiAlign,

		// Folded to a scale and a shift where it does not train.
		"BatchNormalization": perOutput(2),
		// Mean 1, variance 3 (subtract, square, add), normalise 1, scale and shift 2.
		"LayerNormalization": perInput(7), "InstanceNormalization": perInput(7), "GroupNormalization": perInput(7),
		"MeanVarianceNormalization": perInput(5), "LpNormalization": perInput(3),
		// Square and add 2, normalise 1, scale 1.
		"RMSNormalization": perInput(4), "SimplifiedLayerNormalization": perInput(4),
		"LRN": lrn,
		// Maximum 1, subtract 1, exponential, sum 1, divide 1.
		"Softmax": perOutput(4 + t), "LogSoftmax": perOutput(4 + t), "Hardmax": perOutput(2),

		"ReduceSum": perInput(1), "ReduceMean": perInput(1), "ReduceMax": perInput(1), "ReduceMin": perInput(1),
		"ReduceProd": perInput(1), "ReduceL1": perInput(2), "ReduceL2": perInput(2), "ReduceSumSquare": perInput(2),
		"ReduceLogSum": perInput(1), "ReduceLogSumExp": perInput(2 + t),
		"ArgMax": perInput(1), "ArgMin": perInput(1), "CumSum": perInput(1), "CumProd": perInput(1),
		"TopK": topK, "Unique": sortRule, "NonMaxSuppression": nonMaxSuppression, "NonZero": perInput(1),

		"Sum": variadic, "Mean": variadic, "Max": variadic, "Min": variadic,

		"Resize": resize, "Upsample": resize, "GridSample": gridSample, "AffineGrid": affineGrid,
		"CenterCropPad": nothing, "ImageDecoder": perOutput(10),

		// Scale 1, round 1, shift 1, clamp 2.
		"QuantizeLinear": perOutput(5), "DequantizeLinear": quantTarget(2), "DynamicQuantizeLinear": perInput(7),

		"DFT": dft, "STFT": stft, "MelWeightMatrix": perOutput(t), "Det": det,
		"HannWindow": perOutput(t + 2), "HammingWindow": perOutput(t + 2), "BlackmanWindow": perOutput(2*t + 4),

		"Identity": view, "Reshape": view, "Flatten": view, "Squeeze": view, "Unsqueeze": view, "Dropout": view,
		"Optional": view, "OptionalGetElement": view, "SequenceConstruct": view, "SequenceAt": view,
		"SequenceInsert": view, "SequenceErase": view, "Constant": view, "BitCast": view,
		"Shape": metadata, "Size": metadata, "SequenceLength": metadata, "SequenceEmpty": metadata,
		"OptionalHasElement": metadata, "EyeLike": metadata, "RandomNormalLike": randomLike, "RandomUniformLike": randomLike,
		"Gather": picks, "GatherElements": picks, "GatherND": picks, "Slice": picks, "DynamicSlice": picks, "Compress": picks,
		"RandomNormal": perOutput(2 * t), "RandomUniform": perOutput(4), "Multinomial": perInput(t + 4), "Bernoulli": perOutput(5),

		"RotaryEmbedding": perOutput(3), // two products and a sum an element
		"SwiGLU":          perOutput(t + 4), "TensorScatter": nothing,
		"NegativeLogLikelihoodLoss": perInput(1), "SoftmaxCrossEntropyLoss": perInput(5 + t),
		"StringNormalizer": perInput(10), "StringSplit": perInput(10), "StringConcat": perOutput(10),
		"RegexFullMatch": perInput(50), "TfIdfVectorizer": perInput(10),
		"BitShift": perOutput(1),
	}
	for _, name := range []string{
		"Transpose", "Concat", "Split", "Expand", "Tile", "Pad", "DepthToSpace", "SpaceToDepth", "ConstantOfShape", "Range",
		"OneHot", "Scatter", "ScatterElements", "ScatterND", "ReverseSequence", "Trilu", "Col2Im", "Crop", "GivenTensorFill",
		"SplitToSequence", "ConcatFromSequence",
	} {
		m[name] = nothing
	}
	for _, name := range []string{
		"Abs", "Add", "And", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Cast", "CastLike", "Ceil", "Div", "Equal",
		"Floor", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Mod", "Mul", "Neg", "Not", "Or",
		"Reciprocal", "Relu", "Round", "Sign", "Sub", "Where", "Xor", "Sqrt",
	} {
		m[name] = perOutput(1)
	}
	for _, name := range []string{"Clip", "LeakyRelu", "PRelu", "Shrink", "ThresholdedRelu", "ImageScaler", "Affine", "Scale"} {
		m[name] = perOutput(2)
	}
	for _, name := range []string{"HardSigmoid", "HardSwish"} {
		m[name] = perOutput(4)
	}
	for _, name := range []string{"Exp", "Log", "Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh", "Tanh", "Erf", "Pow"} {
		m[name] = perOutput(t)
	}
	for _, name := range []string{"Sigmoid", "Elu", "Selu", "Celu", "Softplus", "Softsign", "Gelu", "Mish", "Swish", "ParametricSoftplus", "ScaledTanh"} {
		m[name] = perOutput(t + 4)
	}
	m["Softsign"] = perOutput(3)
	return m
}

// quantTarget: k operations an output element, done in the output's type.
func quantTarget(k int64) rule {
	return func(x *node, w *Work) {
		w.FLOPs = mul(k, x.outElements())
		w.Elem = x.out(0).Type.Elem
	}
}

func randomLike(x *node, w *Work) {
	w.ReadBytes = 0
	w.FLOPs = mul(2*transcendental, x.outElements())
	w.Elem = x.out(0).Type.Elem
}
