package work

import (
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// microsoftRules follow docs/ContribOperators.md of github.com/microsoft/onnxruntime.
func microsoftRules() map[string]rule {
	const t = transcendental
	m := map[string]rule{
		"FusedConv": conv(1), "NhwcConv": conv(1), "NhwcFusedConv": conv(1), "CausalConvWithState": conv(1),
		"ConvTransposeWithDynamicPads": convTranspose, "QLinearConv": inElem(ir.Int8, conv(3)),
		"NhwcMaxPool": pool, "MaxpoolWithMask": pool, "QLinearAveragePool": inElem(ir.Int8, pool),
		"QLinearGlobalAveragePool": inElem(ir.Int8, perInput(1)),
		"FusedGemm":                gemm(2), "FusedMatMul": fusedMatMul, "TransposeMatMul": fusedMatMul, "FusedMatMulActivation": fusedMatMul,
		"GemmFastGelu": matMul, "GemmFloat8": inElem(ir.Float8E4M3FN, gemm(2)),
		"QGemm": inElem(ir.Int8, gemm(6)), "MatMulInteger16": inElem(ir.Int16, matMul),
		"MatMulIntegerToFloat": inElem(ir.Int8, matMul), "DynamicQuantizeMatMul": inElem(ir.Int8, matMul),
		// The weights are unpacked to the type of the activations first: 2 operations each.
		"MatMulNBits": packedMatMul, "MatMulBnb4": packedMatMul, "MatMulFpQ4": packedMatMul,
		"MoE": expertMix, "QMoE": expertMix,
		"Attention": projectedAttention, "QAttention": inElem(ir.Int8, projectedAttention), "PackedAttention": projectedAttention,
		"DecoderMaskedSelfAttention": projectedAttention, "LongformerAttention": projectedAttention,
		"MultiHeadAttention": headedAttention, "DecoderMaskedMultiHeadAttention": headedAttention,
		"GroupQueryAttention": headedAttention, "SparseAttention": headedAttention, "PagedAttention": headedAttention,
		"PackedMultiHeadAttention": headedAttention, "DecoderAttention": headedAttention, "LinearAttention": linearAttention,
		"DynamicQuantizeLSTM": inElem(ir.Int8, dynamicQuantizeLSTM), "AttnLSTM": recurrent(4, 5*t+8),
		"RotaryEmbedding": perOutput(3), "GemmaRotaryEmbedding": perOutput(6),
		// The sum with the skip and the bias, then LayerNormalization.
		"SkipLayerNormalization": perInput(9), "SkipSimplifiedLayerNormalization": perInput(6), "SimplifiedLayerNormalization": perInput(4),
		// Sums of three embeddings and their normalisation; tables are read by row.
		"EmbedLayerNormalization": embed, "QEmbedLayerNormalization": embed,
		"GroupNorm": perInput(8), "SkipGroupNorm": perInput(10),
		"BiasGelu": perOutput(t + 5), "FastGelu": perOutput(t + 8), "Gelu": perOutput(t + 4), "QuickGelu": perOutput(t + 3),
		"BiasSplitGelu": perOutput(t + 7), "BiasAdd": perOutput(2), "BiasSoftmax": perOutput(5 + t), "BiasDropout": perOutput(2),
		"BitmaskBiasDropout": perOutput(2), "BitmaskDropout": perOutput(1),
		// Dequantize both, operate, quantize.
		"QLinearAdd": inElem(ir.Int8, perOutput(5)), "QLinearMul": inElem(ir.Int8, perOutput(5)), "QLinearLeakyRelu": inElem(ir.Int8, perOutput(4)),
		"QLinearSigmoid": inElem(ir.Int8, perOutput(2)), "QLinearSoftmax": inElem(ir.Int8, perOutput(6)), "QLinearWhere": inElem(ir.Int8, perOutput(4)),
		"QLinearConcat": inElem(ir.Int8, perOutput(2)), "QLinearReduceMean": inElem(ir.Int8, perInput(1)), "ReduceSumInteger": inElem(ir.Int8, perInput(1)),
		"MulInteger": inElem(ir.Int8, perOutput(1)), "QuantizeLinear": perOutput(5), "DequantizeLinear": quantTarget(2),
		"GatherBlockQuantized": quantizedPicks, "GatherND": picks, "TorchEmbedding": embedRows,
		"CDist": cDist, "Inverse": inverse, "ComplexMul": perOutput(3), "ComplexMulConj": perOutput(3), "Rfft": dft, "Irfft": dft,
		"GridSample": gridSample, "CropAndResize": perOutput(9), "Unique": sortRule, "IsAllFinite": perInput(1), "MurmurHash3": perInput(20),
		"NGramRepeatBlock": perInput(2), "Tokenizer": perInput(50), "WordConvEmbedding": nothing,
		"RelativePositionBias": nothing, "GatedRelativePositionBias": perOutput(10), "SampleOp": nothing,
	}
	for _, name := range []string{"ExpandDims"} {
		m[name] = view
	}
	for _, name := range []string{"Pad", "Range", "RemovePadding", "RestorePadding", "Trilu", "UnfoldTensor"} {
		m[name] = nothing
	}
	return m
}

// blockedRules serve layouts that ONNX Runtime makes while it optimises; extents
// are those of the standard operators, or channels stand last.
func blockedRules() map[string]rule {
	m := map[string]rule{"ReorderInput": nothing, "ReorderOutput": nothing}
	all := onnxRules()
	for _, name := range []string{
		"AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "DepthToSpace", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool",
		"GridSample", "InstanceNormalization", "LRN", "LpPool", "MaxPool", "QLinearConv", "Resize", "SpaceToDepth", "Upsample",
	} {
		m[name] = all[name]
	}
	contrib := microsoftRules()
	for _, name := range []string{"QLinearAveragePool", "QLinearGlobalAveragePool"} {
		m[name] = contrib[name]
	}
	return m
}

// trainingRules count the operations of the definitions, an element and step.
func trainingRules() map[string]rule {
	return map[string]rule{"Adagrad": perOutput(8), "Adam": perOutput(14), "Momentum": perOutput(6)}
}

func mlRules() map[string]rule {
	return map[string]rule{
		"ArrayFeatureExtractor": picks, "Binarizer": perOutput(1), "CastMap": perOutput(1), "CategoryMapper": perOutput(20),
		"DictVectorizer": perOutput(20), "FeatureVectorizer": nothing, "Imputer": perOutput(1), "LabelEncoder": perOutput(20),
		"LinearClassifier": linearModel, "LinearRegressor": linearModel, "SVMClassifier": supportVectors, "SVMRegressor": supportVectors,
		"Normalizer": perInput(3), "OneHotEncoder": perOutput(1), "Scaler": perOutput(2), "ZipMap": nothing,
		"TreeEnsemble": trees, "TreeEnsembleClassifier": trees, "TreeEnsembleRegressor": trees,
	}
}

// fusedMatMul: the inner extent depends on which axes are exchanged.
func fusedMatMul(x *node, w *Work) {
	k := -1
	switch {
	case x.attrInt("transA", 0) != 0 && x.attrInt("transBatchA", 0) != 0:
		k = 0
	case x.attrInt("transA", 0) != 0:
		k = -2
	}
	w.FLOPs = mul(2, x.outElements(), dim(x.in(0), k))
}

func packedMatMul(x *node, w *Work) {
	k := dim(x.in(0), -1)
	w.FLOPs = add(mul(2, x.outElements(), k), mul(2, k, dim(x.out(0), -1)))
}

// expertMix: each token passes k experts of two layers; expert weights are
// [experts, rows, columns], packed where quantized.
func expertMix(x *node, w *Work) {
	tokens := product(x.in(0).Dims) / max(1, dim(x.in(0), -1))
	hidden := dim(x.in(0), -1)
	k := x.attrInt("k", 1)
	inner := mul(4, hidden)
	if fc1 := x.in(2); len(fc1.Dims) == 3 && hidden > 0 {
		inner = max(fc1.Dims[1], fc1.Dims[2])
	}
	w.FLOPs = mul(4, tokens, k, hidden, inner)
}

// projectedAttention computes its own queries, keys and values: a product with
// the merged weights, then the scores.
func projectedAttention(x *node, w *Work) {
	in, weights := x.in(0), x.in(1)
	rows := product(in.Dims) / max(1, dim(in, -1))
	w.FLOPs = mul(2, rows, dim(in, -1), dim(weights, -1))
	heads := max(1, x.attrInt("num_heads", 1))
	batch, seq := dim(in, 0), dim(in, 1)
	if len(in.Dims) == 2 { // packed: one list of tokens
		batch, seq = 1, dim(in, 0)
	}
	size := dim(x.out(0), -1) / heads
	total := seq
	if present := x.out(1); len(present.Dims) == 5 {
		total = max(total, present.Dims[3])
	}
	w.FLOPs = add(w.FLOPs, scores(batch, heads, seq, total, size, size))
}

// headedAttention takes queries, keys and values; the keys' length is that of the
// state it makes, of the keys if it makes none.
func headedAttention(x *node, w *Work) {
	heads := max(1, x.attrInt("num_heads", 1))
	out := x.out(0)
	batch, seq := dim(out, 0), dim(out, 1)
	if len(out.Dims) == 2 {
		batch, seq = 1, dim(out, 0)
	}
	size := dim(out, -1) / heads
	total := seq
	switch k := x.in(1); len(k.Dims) {
	case 3:
		total = k.Dims[1]
	case 4:
		total = k.Dims[2]
	case 5:
		total = k.Dims[1]
	}
	for _, v := range x.outs[min(1, len(x.outs)):] {
		if len(v.Dims) == 4 {
			total = max(total, v.Dims[2])
			break
		}
	}
	w.FLOPs = scores(batch, heads, seq, total, size, size)
	w.Elem = x.in(0).Type.Elem
}

// dynamicQuantizeLSTM has its weights as [directions, input, 4·hidden].
func dynamicQuantizeLSTM(x *node, w *Work) {
	in, weights, rec := x.in(0), x.in(1), x.in(2)
	steps := mul(dim(in, 0), dim(in, 1))
	hidden := dim(rec, 1)
	each := add(mul(8, hidden, add(dim(weights, 1), hidden)), mul(hidden, 16+5*transcendental))
	w.FLOPs = mul(dim(weights, 0), steps, each)
}

// embed reads a row of each table for each token.
func embed(x *node, w *Work) {
	out := x.outElements()
	w.FLOPs = mul(9, out)
	w.Elem = x.out(0).Type.Elem
	for i := 2; i <= 4; i++ {
		if table := x.in(i).Bytes; x.has(i) && w.ReadBytes >= table {
			w.ReadBytes = add(w.ReadBytes-table, min(table, x.out(0).Bytes))
		}
	}
}

func embedRows(x *node, w *Work) {
	picks(x, w)
}

// quantizedPicks dequantizes the rows that it picks.
func quantizedPicks(x *node, w *Work) {
	table := x.in(0).Bytes
	if w.ReadBytes >= table {
		w.ReadBytes = add(w.ReadBytes-table, min(table, w.WriteBytes))
	}
	w.FLOPs = mul(2, x.outElements())
	w.Elem = x.out(0).Type.Elem
}

// cDist: a difference, a square and a sum for each coordinate of each pair.
func cDist(x *node, w *Work) { w.FLOPs = mul(3, x.outElements(), dim(x.in(0), -1)) }

// inverse: 2n³ operations a matrix.
func inverse(x *node, w *Work) { w.FLOPs = mul(2, x.in(0).Elements(), dim(x.in(0), -1)) }

// linearModel: a dot product with the coefficients of each class or target.
func linearModel(x *node, w *Work) {
	n := int64(1)
	if at := x.s.Attr(x.n, "coefficients"); at != nil {
		n = int64(len(at.Floats)) / max(1, dim(x.in(0), -1))
	}
	w.FLOPs = mul(2, x.in(0).Elements(), max(1, n))
	w.Elem = ir.Float32
}

// supportVectors: a kernel with each support vector.
func supportVectors(x *node, w *Work) {
	n := int64(1)
	if at := x.s.Attr(x.n, "support_vectors"); at != nil && len(at.Floats) > 0 {
		n = int64(len(at.Floats)) / max(1, dim(x.in(0), -1))
	} else if at := x.s.Attr(x.n, "coefficients"); at != nil {
		n = int64(len(at.Floats)) / max(1, dim(x.in(0), -1))
	}
	rows := x.in(0).Elements() / max(1, dim(x.in(0), -1))
	w.FLOPs = add(mul(3, x.in(0).Elements(), max(1, n)), mul(rows, max(1, n), transcendental))
	w.Elem = ir.Float32
}

// trees: each row descends each tree, one comparison and a lookup a level; trees
// count as balanced.
func trees(x *node, w *Work) {
	nodes, count := int64(1), int64(1)
	if at := x.s.Attr(x.n, "nodes_treeids"); at != nil && len(at.Ints) > 0 {
		nodes = int64(len(at.Ints))
		count = int64(distinct(at.Ints))
	} else if at := x.s.Attr(x.n, "tree_roots"); at != nil && len(at.Ints) > 0 {
		count = int64(len(at.Ints))
		nodes = count
		if f := x.s.Attr(x.n, "nodes_featureids"); f != nil {
			nodes = max(count, 2*int64(len(f.Ints)))
		}
	}
	rows := dim(x.in(0), 0)
	if len(x.in(0).Dims) < 2 {
		rows = 1
	}
	w.FLOPs = mul(2, rows, count, 1+log2(nodes/max(1, count)))
	w.Elem = ir.Float32
}

func distinct(ns []int64) int {
	seen := make(map[int64]bool, 16)
	for _, n := range ns {
		seen[n] = true
	}
	return len(seen)
}
