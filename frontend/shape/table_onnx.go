package shape

import (
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// onnxOps are the operators of the standard domain. Versions are those of
// docs/Operators.md of github.com/onnx/onnx.
func onnxOps() []opEntry {
	realFn := func(name string, f func(float64) float64) func(*call) { return unary(realElement(name, f)) }
	return []opEntry{
		{"Abs", since(1, 6, 13), unary(absElement)},
		{"Acos", since(7, 22), sameAsFirst},
		{"Acosh", since(9, 22), sameAsFirst},
		{"Add", since(1, 6, 7, 13, 14), pairwise(addElements)},
		{"AffineGrid", since(20), affineGrid},
		{"And", since(1, 7), predicate(andElements)},
		{"ArgMax", since(1, 11, 12, 13), argReduce},
		{"ArgMin", since(1, 11, 12, 13), argReduce},
		{"Asin", since(7, 22), sameAsFirst},
		{"Asinh", since(9, 22), sameAsFirst},
		{"Atan", since(7, 22), sameAsFirst},
		{"Atanh", since(9, 22), sameAsFirst},
		{"Attention", since(23, 24, 25), attention},
		{"AveragePool", since(1, 7, 10, 11, 19, 22), pool},
		{"BatchNormalization", since(1, 6, 7, 9, 14, 15), batchNorm},
		{"Bernoulli", since(15, 22), randomLike},
		{"BitCast", since(26), bitCast},
		{"BitShift", since(11), pairwise(nil)},
		{"BitwiseAnd", since(18), pairwise(nil)},
		{"BitwiseNot", since(18), sameAsFirst},
		{"BitwiseOr", since(18), pairwise(nil)},
		{"BitwiseXor", since(18), pairwise(nil)},
		{"BlackmanWindow", since(17), signalWindow},
		{"Cast", since(1, 6, 9, 13, 19, 21, 23, 24, 25), cast},
		{"CastLike", since(15, 19, 21, 23, 24, 25), castLike},
		{"CausalConvWithState", since(27), causalConvWithState},
		{"Ceil", since(1, 6, 13), unary(ceilElement)},
		{"Celu", since(12, 28), sameAsFirst},
		{"CenterCropPad", since(18), centerCropPad},
		{"Clip", since(1, 6, 11, 12, 13), clip},
		{"Col2Im", since(18), col2Im},
		{"Compress", since(9, 11), compress},
		{"Concat", since(1, 4, 11, 13), concat},
		{"ConcatFromSequence", since(11), concatFromSequence},
		{"Constant", since(1, 9, 11, 12, 13, 19, 21, 23, 24, 25), constant},
		{"ConstantOfShape", since(9, 20, 21, 23, 24, 25), constantOfShape},
		{"Conv", since(1, 11, 22), conv},
		{"ConvInteger", since(10), convInteger},
		{"ConvTranspose", since(1, 11, 22), convTranspose},
		{"Cos", since(7, 22), sameAsFirst},
		{"Cosh", since(9, 22), sameAsFirst},
		{"CumProd", since(26), sameAsFirst},
		{"CumSum", since(11, 14), sameAsFirst},
		{"DFT", since(17, 20), dft},
		{"DeformConv", since(19, 22), deformConv},
		{"DepthToSpace", since(1, 11, 13), depthToSpace},
		{"DequantizeLinear", since(10, 13, 19, 21, 23, 24, 25), dequantizeLinear},
		{"Det", since(11, 22), det},
		{"Div", since(1, 6, 7, 13, 14), pairwise(divElements)},
		{"Dropout", since(1, 6, 7, 10, 12, 13, 22), dropout},
		{"DynamicQuantizeLinear", since(11), dynamicQuantizeLinear},
		{"Einsum", since(12), einsum},
		{"Elu", since(1, 6, 22), sameAsFirst},
		{"Equal", since(1, 7, 11, 13, 19), predicate(equalElements)},
		{"Erf", since(9, 13), sameAsFirst},
		{"Exp", since(1, 6, 13), realFn("exp", math.Exp)},
		{"Expand", since(8, 13), expand},
		{"EyeLike", since(9, 22), eyeLike},
		{"Flatten", since(1, 9, 11, 13, 21, 23, 24, 25), flatten},
		{"Floor", since(1, 6, 13), unary(floorElement)},
		{"GRU", since(1, 3, 7, 14, 22), sequenceNet},
		{"Gather", since(1, 11, 13), gather},
		{"GatherElements", since(11, 13), likeIndices},
		{"GatherND", since(11, 12, 13), gatherND},
		{"Gelu", since(20), sameAsFirst},
		{"Gemm", since(1, 6, 7, 9, 11, 13), gemm},
		{"GlobalAveragePool", since(1, 22), globalPool},
		{"GlobalLpPool", since(1, 2, 22), globalPool},
		{"GlobalMaxPool", since(1, 22), globalPool},
		{"Greater", since(1, 7, 9, 13), predicate(greaterElements)},
		{"GreaterOrEqual", since(12, 16), predicate(greaterOrEqualElements)},
		{"GridSample", since(16, 20, 22), gridSample},
		{"GroupNormalization", since(18, 21), sameAsFirst},
		{"HammingWindow", since(17), signalWindow},
		{"HannWindow", since(17), signalWindow},
		{"HardSigmoid", since(1, 6, 22), sameAsFirst},
		{"HardSwish", since(14, 22), sameAsFirst},
		{"Hardmax", since(1, 11, 13), axisChecked(-1)},
		{"Identity", since(1, 13, 14, 16, 19, 21, 23, 24, 25), identity},
		{"If", since(1, 11, 13, 16, 19, 21, 23, 24, 25), inferIf},
		{"ImageDecoder", since(20), imageDecoder},
		{"InstanceNormalization", since(1, 6, 22), sameAsFirst},
		{"IsInf", since(10, 20), toBool(nil)},
		{"IsNaN", since(9, 13, 20), toBool(nil)},
		{"LRN", since(1, 13), sameAsFirst},
		{"LSTM", since(1, 7, 14, 22), sequenceNet},
		{"LayerNormalization", since(17), layerNorm},
		{"LeakyRelu", since(1, 6, 16), sameAsFirst},
		{"Less", since(1, 7, 9, 13), predicate(lessElements)},
		{"LessOrEqual", since(12, 16), predicate(lessOrEqualElements)},
		{"LinearAttention", since(27), linearAttention},
		{"Log", since(1, 6, 13), realFn("log", math.Log)},
		{"LogSoftmax", since(1, 11, 13), axisChecked(-1)},
		{"Loop", since(1, 11, 13, 16, 19, 21, 23, 24, 25), inferLoop},
		{"LpNormalization", since(1, 22), sameAsFirst},
		{"LpPool", since(1, 2, 11, 18, 22), pool},
		{"MatMul", since(1, 9, 13), matMul},
		{"MatMulInteger", since(10), matMulInteger},
		{"Max", since(1, 6, 8, 12, 13), variadic(maxElements)},
		{"MaxPool", since(1, 8, 10, 11, 12, 22), pool},
		{"MaxRoiPool", since(1, 22), maxRoiPool},
		{"MaxUnpool", since(9, 11, 22), maxUnpool},
		{"Mean", since(1, 6, 8, 13), variadic(nil)},
		{"MeanVarianceNormalization", since(9, 13), sameAsFirst},
		{"MelWeightMatrix", since(17), melWeightMatrix},
		{"Min", since(1, 6, 8, 12, 13), variadic(minElements)},
		{"Mish", since(18, 22), sameAsFirst},
		{"Mod", since(10, 13), pairwise(modElements)},
		{"Mul", since(1, 6, 7, 13, 14), pairwise(mulElements)},
		{"Multinomial", since(7, 22), multinomial},
		{"Neg", since(1, 6, 13), unary(negElement)},
		{"NegativeLogLikelihoodLoss", since(12, 13, 22), negativeLogLikelihood},
		{"NonMaxSuppression", since(10, 11), nonMaxSuppression},
		{"NonZero", since(9, 13), nonZero},
		{"Not", since(1), toBool(notElement)},
		{"OneHot", since(9, 11), oneHot},
		{"Optional", since(15), optionalOf},
		{"OptionalGetElement", since(15, 18), optionalGetElement},
		{"OptionalHasElement", since(15, 18), optionalHasElement},
		{"Or", since(1, 7), predicate(orElements)},
		{"PRelu", since(1, 6, 7, 9, 16), sameAsFirst},
		{"Pad", since(1, 2, 11, 13, 18, 19, 21, 23, 24, 25), pad},
		{"Pow", since(1, 7, 12, 13, 15), pairwise(powElements)},
		{"QLinearConv", since(10), qLinearConv},
		{"QLinearMatMul", since(10, 21), qLinearMatMul},
		{"QuantizeLinear", since(10, 13, 19, 21, 23, 24, 25), quantizeLinear},
		{"RMSNormalization", since(23), sameAsFirst},
		{"RNN", since(1, 7, 14, 22), sequenceNet},
		{"RandomNormal", since(1, 22), random},
		{"RandomNormalLike", since(1, 22), randomLike},
		{"RandomUniform", since(1, 22), random},
		{"RandomUniformLike", since(1, 22), randomLike},
		{"Range", since(11, 27), rangeOf},
		{"Reciprocal", since(1, 6, 13), realFn("1/", func(x float64) float64 { return 1 / x })},
		{"ReduceL1", since(1, 11, 13, 18), reduction(18, nil)},
		{"ReduceL2", since(1, 11, 13, 18), reduction(18, nil)},
		{"ReduceLogSum", since(1, 11, 13, 18), reduction(18, nil)},
		{"ReduceLogSumExp", since(1, 11, 13, 18), reduction(18, nil)},
		{"ReduceMax", since(1, 11, 12, 13, 18, 20), reduction(18, maxElements)},
		{"ReduceMean", since(1, 11, 13, 18), reduction(18, nil)},
		{"ReduceMin", since(1, 11, 12, 13, 18, 20), reduction(18, minElements)},
		{"ReduceProd", since(1, 11, 13, 18), reduction(18, mulElements)},
		{"ReduceSum", since(1, 11, 13), reduction(13, addElements)},
		{"ReduceSumSquare", since(1, 11, 13, 18), reduction(18, nil)},
		{"RegexFullMatch", since(20), toBool(nil)},
		{"Relu", since(1, 6, 13, 14), unary(func(c *call, x []*expr) *expr {
			if x[0].real {
				return c.al.realFn("relu", math.Max(0, x[0].fval), x[0])
			}
			return c.al.max(x[0], c.num(0))
		})},
		{"Reshape", since(1, 5, 13, 14, 19, 21, 23, 24, 25), reshape},
		{"Resize", since(10, 11, 13, 18, 19), resize},
		{"ReverseSequence", since(10), sameAsFirst},
		{"RoiAlign", since(10, 16, 22), roiAlign},
		{"RotaryEmbedding", since(23), sameAsFirst},
		{"Round", since(11, 22), unary(roundElement)},
		{"STFT", since(17), stft},
		{"Scan", since(8, 9, 11, 16, 19, 21, 23, 24, 25), inferScan},
		{"Scatter", since(9, 11), sameAsFirst},
		{"ScatterElements", since(11, 13, 16, 18), sameAsFirst},
		{"ScatterND", since(11, 13, 16, 18), sameAsFirst},
		{"Selu", since(1, 6, 22), sameAsFirst},
		{"SequenceAt", since(11), sequenceAt},
		{"SequenceConstruct", since(11), sequenceConstruct},
		{"SequenceEmpty", since(11), sequenceEmpty},
		{"SequenceErase", since(11), sequenceErase},
		{"SequenceInsert", since(11), sequenceInsert},
		{"SequenceLength", since(11), sequenceLength},
		{"SequenceMap", since(17), inferSequenceMap},
		{"Shape", since(1, 13, 15, 19, 21, 23, 24, 25), shapeOf},
		{"Shrink", since(9), sameAsFirst},
		{"Sigmoid", since(1, 6, 13), sameAsFirst},
		{"Sign", since(9, 13), unary(signElement)},
		{"Sin", since(7, 22), sameAsFirst},
		{"Sinh", since(9, 22), sameAsFirst},
		{"Size", since(1, 13, 19, 21, 23, 24, 25), sizeOf},
		{"Slice", since(1, 10, 11, 13), slice},
		{"Softmax", since(1, 11, 13), axisChecked(-1)},
		{"SoftmaxCrossEntropyLoss", since(12, 13), crossEntropy},
		{"Softplus", since(1, 22), sameAsFirst},
		{"Softsign", since(1, 22), sameAsFirst},
		{"SpaceToDepth", since(1, 13), spaceToDepth},
		{"Split", since(1, 2, 11, 13, 18), split},
		{"SplitToSequence", since(11, 24), splitToSequence},
		{"Sqrt", since(1, 6, 13), realFn("sqrt", math.Sqrt)},
		{"Squeeze", since(1, 11, 13, 21, 23, 24, 25), squeeze},
		{"StringConcat", since(20), pairwise(nil)},
		{"StringNormalizer", since(10), stringNormalizer},
		{"StringSplit", since(20), stringSplit},
		{"Sub", since(1, 6, 7, 13, 14), pairwise(subElements)},
		{"Sum", since(1, 6, 8, 13), variadic(sumElements)},
		{"SwiGLU", since(28), swiGLU},
		{"Swish", since(24), sameAsFirst},
		{"Tan", since(7, 22), sameAsFirst},
		{"Tanh", since(1, 6, 13), sameAsFirst},
		{"TensorScatter", since(24), sameAsFirst},
		{"TfIdfVectorizer", since(9), tfIdfVectorizer},
		{"ThresholdedRelu", since(1, 10, 22), sameAsFirst},
		{"Tile", since(1, 6, 13), tile},
		{"TopK", since(1, 10, 11, 24), topK},
		{"Transpose", since(1, 13, 21, 23, 24, 25), transpose},
		{"Trilu", since(14), sameAsFirst},
		{"Unique", since(11), unique},
		{"Unsqueeze", since(1, 11, 13, 21, 23, 24, 25), unsqueeze},
		{"Upsample", since(1, 7, 9, 10), upsample},
		{"Where", since(9, 16), where},
		{"Xor", since(1, 7), predicate(xorElements)},

		// Experimental operators of version 1, gone since, that old exporters wrote.
		{"Affine", since(1), sameAsFirst},
		{"Crop", since(1), crop},
		{"GivenTensorFill", since(1), random},
		{"ImageScaler", since(1), sameAsFirst},
		{"ParametricSoftplus", since(1), sameAsFirst},
		{"Scale", since(1), sameAsFirst},
		{"ScaledTanh", since(1), sameAsFirst},

		// ONNX Runtime registers these in the standard domain too.
		{"SimplifiedLayerNormalization", since(1), simplifiedLayerNorm},
		{"FusedConv", since(1), conv},
		{"FusedGemm", since(1), gemm},
		{"DynamicSlice", since(1), slice},
	}
}

func trainingOps() []opEntry {
	return []opEntry{
		{"Adagrad", since(1), optimizerStep(2)},
		{"Adam", since(1), optimizerStep(3)},
		{"Momentum", since(1), optimizerStep(2)},
		{"Gradient", since(1), gradient},
	}
}

func previewOps() []opEntry {
	return []opEntry{{"FlexAttention", since(1), flexAttention}}
}

// optimizerStep updates tensors and their states: behind the learning rate and
// the step count, the inputs are n kinds of tensors with a gradient among them.
func optimizerStep(n int) func(*call) {
	return func(c *call) {
		// Inputs: R, T, then all X, all G, then the states; outputs: new X, new states.
		count := (len(c.ins) - 2) / (n + 1)
		for i := range c.outs {
			from := 2 + i
			if i >= count {
				from += count // behind the gradients
			}
			c.set(i, c.input(from).withoutData().asTensor())
		}
	}
}

// gradient: the derivative by each of xs has the shape of that input.
func gradient(c *call) {
	if at := c.attr("xs"); at != nil {
		for i := range c.outs {
			if i < len(at.Strings) {
				if v := c.s.lookup(string(at.Strings[i])); v != nil {
					c.set(i, v.withoutData())
				}
			}
		}
	}
}

func det(c *call) {
	v := c.input(0)
	if !v.ranked || len(v.dims) < 2 {
		c.set(0, unranked(v.elem))
		return
	}
	c.set(0, tensor(v.elem, v.dims[:len(v.dims)-2]...))
}

func negativeLogLikelihood(c *call) {
	if c.attrString("reduction", "mean") == "none" {
		c.set(0, shaped(c.elem(0), c.input(1).dims, c.input(1).ranked))
		return
	}
	c.set(0, tensor(c.elem(0)))
}

func crop(c *call) {
	v := c.input(0)
	border, _ := c.attrInts("border")
	if v.rank() != 4 || len(border) != 4 {
		c.set(0, unranked(v.elem))
		return
	}
	if scale, ok := c.attrInts("scale"); ok && len(scale) == 2 {
		c.set(0, tensor(v.elem, v.dims[0], v.dims[1], c.num(scale[0]), c.num(scale[1])))
		return
	}
	c.set(0, tensor(v.elem, v.dims[0], v.dims[1],
		c.extent(c.al.sub(v.dims[2], c.num(addSat(border[1], border[3]))), 2),
		c.extent(c.al.sub(v.dims[3], c.num(addSat(border[0], border[2]))), 3)))
}

// stringNormalizer drops stop words: how many remain depends on the strings.
func stringNormalizer(c *call) {
	v := c.input(0)
	if !v.ranked || len(v.dims) == 0 {
		c.set(0, unranked(ir.String))
		return
	}
	last := len(v.dims) - 1
	dims := append([]*expr(nil), v.dims...)
	dims[last] = c.dataDependent(0, last, v.dims[last], "the strings")
	c.set(0, tensor(ir.String, dims...))
}

func stringSplit(c *call) {
	v := c.input(0)
	if v.ranked {
		c.set(0, tensor(ir.String, append(append([]*expr(nil), v.dims...), c.dataDependent(0, len(v.dims), nil, "the strings"))...))
	} else {
		c.set(0, unranked(ir.String))
	}
	c.set(1, v.withElem(ir.Int64))
}

func tfIdfVectorizer(c *call) {
	v := c.input(0)
	at := c.attr("ngram_indexes")
	if !v.ranked || at == nil {
		c.set(0, unranked(ir.Float32))
		return
	}
	most := int64(-1)
	for _, i := range at.Ints {
		most = max(most, i)
	}
	width := c.num(addSat(most, 1))
	if len(v.dims) < 2 {
		c.set(0, tensor(ir.Float32, width))
		return
	}
	c.set(0, tensor(ir.Float32, v.dims[0], width))
}
