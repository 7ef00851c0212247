package shape

import "slices"

// microsoftOps are the operators of domain com.microsoft, all of version 1:
// docs/ContribOperators.md of github.com/microsoft/onnxruntime.
func microsoftOps() []opEntry {
	v1 := since(1)
	return []opEntry{
		{"Attention", v1, msAttention},
		{"AttnLSTM", v1, sequenceNet},
		{"BeamSearch", v1, beamSearch},
		{"BiasAdd", v1, sameAsFirst},
		{"BiasDropout", v1, biasDropout},
		{"BiasGelu", v1, sameAsFirst},
		{"BiasSoftmax", v1, sameAsFirst},
		{"BiasSplitGelu", v1, biasSplitGelu},
		{"BitmaskBiasDropout", v1, sameAsFirst},
		{"BitmaskDropout", v1, sameAsFirst},
		{"CDist", v1, cDist},
		{"CausalConvWithState", v1, causalConvWithState},
		{"ComplexMul", v1, pairwise(nil)},
		{"ComplexMulConj", v1, pairwise(nil)},
		{"ConvTransposeWithDynamicPads", v1, convTransposeDynamic},
		{"CropAndResize", v1, cropAndResize},
		{"DecoderAttention", v1, decoderAttention},
		{"DecoderMaskedMultiHeadAttention", v1, decoderMasked(5)},
		{"DecoderMaskedSelfAttention", v1, decoderMaskedSelf},
		{"DequantizeLinear", v1, dequantizeLinear},
		{"DynamicQuantizeLSTM", v1, dynamicQuantizeLSTM},
		{"DynamicQuantizeMatMul", v1, matMul},
		{"EmbedLayerNormalization", v1, embedLayerNorm},
		{"ExpandDims", v1, expandDims},
		{"FastGelu", v1, sameAsFirst},
		{"FusedConv", v1, conv},
		{"FusedGemm", v1, gemm},
		{"FusedMatMul", v1, fusedMatMul},
		{"FusedMatMulActivation", v1, fusedMatMul},
		{"GatedRelativePositionBias", v1, gatedRelativePositionBias},
		{"GatherBlockQuantized", v1, gatherBlockQuantized},
		{"GatherND", v1, gatherND},
		{"Gelu", v1, sameAsFirst},
		{"GemmFastGelu", v1, matMul},
		{"GemmFloat8", v1, gemmFloat8},
		{"GemmaRotaryEmbedding", v1, gemmaRotary},
		{"GreedySearch", v1, greedySearch},
		{"GridSample", v1, gridSample},
		{"GroupNorm", v1, sameAsFirst},
		{"GroupQueryAttention", v1, groupQueryAttention},
		{"Inverse", v1, sameAsFirst},
		{"Irfft", v1, irfft},
		{"IsAllFinite", v1, isAllFinite},
		{"LinearAttention", v1, linearAttention},
		{"LongformerAttention", v1, sameAsFirst},
		{"MatMulBnb4", v1, matMulNBits},
		{"MatMulFpQ4", v1, matMulNBits},
		{"MatMulInteger16", v1, matMulInteger},
		{"MatMulIntegerToFloat", v1, matMulIntegerToFloat},
		{"MatMulNBits", v1, matMulNBits},
		{"MaxpoolWithMask", v1, pool},
		{"MoE", v1, sameAsFirst},
		{"MulInteger", v1, mulInteger},
		{"MultiHeadAttention", v1, multiHeadAttention},
		{"MurmurHash3", v1, murmurHash},
		{"NGramRepeatBlock", v1, sameAs(1)},
		{"NhwcConv", v1, channelsLast(conv)},
		{"NhwcFusedConv", v1, channelsLast(conv)},
		{"NhwcMaxPool", v1, channelsLast(pool)},
		{"PackedAttention", v1, packedAttention},
		{"PackedMultiHeadAttention", v1, packedMultiHeadAttention},
		{"Pad", v1, pad},
		{"PagedAttention", v1, pagedAttention},
		{"QAttention", v1, qAttention},
		{"QEmbedLayerNormalization", v1, embedLayerNorm},
		{"QGemm", v1, qGemm},
		{"QLinearAdd", v1, qLinearPairwise},
		{"QLinearAveragePool", v1, maybeChannelsLast(pool)},
		{"QLinearConcat", v1, qLinearConcat},
		{"QLinearConv", v1, maybeChannelsLast(qLinearConv)},
		{"QLinearGlobalAveragePool", v1, maybeChannelsLast(globalPool)},
		{"QLinearLeakyRelu", v1, sameAsFirst},
		{"QLinearMul", v1, qLinearPairwise},
		{"QLinearReduceMean", v1, reduction(2, nil)},
		{"QLinearSigmoid", v1, sameAsFirst},
		{"QLinearSoftmax", v1, sameAsFirst},
		{"QLinearWhere", v1, qLinearWhere},
		{"QMoE", v1, sameAsFirst},
		{"QuantizeLinear", v1, quantizeLinear},
		{"QuickGelu", v1, sameAsFirst},
		{"Range", v1, rangeOf},
		{"ReduceSumInteger", v1, reduceSumInteger},
		{"RelativePositionBias", v1, relativePositionBias},
		{"RemovePadding", v1, removePadding},
		{"RestorePadding", v1, restorePadding},
		{"Rfft", v1, rfft},
		{"RotaryEmbedding", v1, sameAsFirst},
		{"SampleOp", v1, sameAsFirst},
		{"Sampling", v1, greedySearch},
		{"SimplifiedLayerNormalization", v1, simplifiedLayerNorm},
		{"SkipGroupNorm", v1, skipGroupNorm},
		{"SkipLayerNormalization", v1, skipLayerNorm},
		{"SkipSimplifiedLayerNormalization", v1, skipLayerNorm},
		{"SparseAttention", v1, sparseAttention},
		{"Tokenizer", v1, tokenizer},
		{"TorchEmbedding", v1, torchEmbedding},
		{"TransposeMatMul", v1, fusedMatMul},
		{"Trilu", v1, sameAsFirst},
		{"UnfoldTensor", v1, unfoldTensor},
		{"Unique", v1, msUnique},
		{"WhisperBeamSearch", v1, beamSearch},
		{"WordConvEmbedding", v1, wordConvEmbedding},
	}
}

// nchwcOps work on tensors whose channels are rounded up to the block that the
// machine's vectors hold; their extents are written as [N, C, …] all the same.
func nchwcOps() []opEntry {
	v1 := since(1)
	return []opEntry{
		{"AveragePool", v1, pool},
		{"Conv", v1, blockedConv},
		{"GlobalAveragePool", v1, globalPool},
		{"GlobalMaxPool", v1, globalPool},
		{"MaxPool", v1, pool},
		{"ReorderInput", v1, reorderInput},
		{"ReorderOutput", v1, reorderOutput},
		{"Upsample", v1, blockedUpsample},
	}
}

// nhwcOps are what ONNX Runtime's layout transformation makes of standard operators.
func nhwcOps() []opEntry {
	var out []opEntry
	for _, name := range []string{
		"AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool",
		"GridSample", "InstanceNormalization", "LRN", "LpPool", "MaxPool", "QLinearAveragePool", "QLinearConv", "QLinearGlobalAveragePool",
		"Resize", "SpaceToDepth", "Upsample",
	} {
		for _, e := range slices.Concat(onnxOps(), microsoftOps()) {
			if e.name == name {
				out = append(out, opEntry{name, e.since, channelsLast(e.infer)})
				break
			}
		}
	}
	return out
}

// mlOps are the operators of domain ai.onnx.ml.
func mlOps() []opEntry {
	v1 := since(1)
	return []opEntry{
		{"ArrayFeatureExtractor", v1, arrayFeatureExtractor},
		{"Binarizer", v1, sameAsFirst},
		{"CastMap", v1, castMap},
		{"CategoryMapper", v1, categoryMapper},
		{"DictVectorizer", v1, dictVectorizer},
		{"FeatureVectorizer", v1, featureVectorizer},
		{"Imputer", v1, sameAsFirst},
		{"LabelEncoder", since(1, 2, 4), labelEncoder},
		{"LinearClassifier", v1, classifier},
		{"LinearRegressor", v1, regressor("targets")},
		{"Normalizer", v1, floatOfSameShape},
		{"OneHotEncoder", v1, oneHotEncoder},
		{"SVMClassifier", v1, svmClassifier},
		{"SVMRegressor", v1, regressor("")},
		{"Scaler", v1, floatOfSameShape},
		{"TreeEnsemble", since(5), treeEnsemble},
		{"TreeEnsembleClassifier", since(1, 3, 5), classifier},
		{"TreeEnsembleRegressor", since(1, 3, 5), regressor("n_targets")},
		{"ZipMap", v1, zipMap},
	}
}
