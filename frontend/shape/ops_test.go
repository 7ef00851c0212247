package shape

import (
	"strings"
	"testing"
)

// Each case is a node, its inputs and the types of its outputs. An input is a
// type, or "type=contents" for a stored tensor; "_" is absent.
var opCases = []struct{ node, ins, want string }{
	// Elementwise
	{"Relu@14", "float32[N,3]", "float32[N,3]"},
	{"Add@14", "float32[N,1,5] float32[4,1]", "float32[N,4,5]"},
	{"Add@14", "float32[N,5] float32[1,5]", "float32[N,5]"},
	{"Add@14", "float32[N] float32[M]", "float32[?]"},
	{"Add@14", "float32[N] float32[7]", "float32[7]"},
	{"Add@6 broadcast=1 axis=1", "float32[2,3,4] float32[3]", "float32[2,3,4]"},
	{"Equal@13", "int64[2] int64[2]", "bool[2]"},
	{"Where@16", "bool[2,1] float32[3] float32[1]", "float32[2,3]"},
	{"Sum@13", "float32[2,1] float32[3] float32[1,1]", "float32[2,3]"},
	{"Max@8", "int64[]=4 int64[2]=1,9", "int64[2][4 9]"},
	{"Cast@13 to=7", "float32[3]=1.5,-2.7,8", "int64[3][1 -2 8]"},
	{"Clip@13", "float32[N,2] _ float32[]=6", "float32[N,2]"},
	{"Pow@15", "int64[2]=3,4 int64[]=2", "int64[2][9 16]"},
	{"Mod@13", "int64[2]=-7,7 int64[]=3", "int64[2][2 1]"},
	{"Mod@13 fmod=1", "int64[2]=-7,7 int64[]=3", "int64[2][-1 1]"},
	{"Div@14", "int64[2]=-7,7 int64[]=2", "int64[2][-3 3]"},
	{"Dropout@13", "float32[N,2]", "float32[N,2] bool[N,2]"},
	{"Dropout@7", "float32[N,2]", "float32[N,2] float32[N,2]"},
	{"IsNaN@13", "float32[N]", "bool[N]"},
	{"com.microsoft::BiasGelu@17", "float32[N,8] float32[8]", "float32[N,8]"},
	// Layout
	{"Reshape@14", "float32[2,3,4] int64[2]=-1,6", "float32[4,6]"},
	{"Reshape@14", "float32[N,3,4] int64[2]=0,-1", "float32[N,12]"},
	{"Reshape@14", "float32[N,S,128] int64[4]=0,0,4,-1", "float32[N,S,4,32]"},
	{"Reshape@14", "float32[N,4] int64[2]=-1,2", "float32[2*N,2]"},
	{"Reshape@14 allowzero=1", "float32[0,4] int64[2]=0,7", "float32[0,7]"},
	{"Reshape@14", "float32[N,4] int64[2]", "float32[?,?]"},
	{"Reshape@14", "float32[N,4] int64[K]", "float32[...]"},
	{"Reshape@1 shape=[2,-1]", "float32[4,4]", "float32[2,8]"},
	{"Flatten@13 axis=2", "float32[N,3,4,5]", "float32[3*N,20]"},
	{"Flatten@13 axis=0", "float32[N,3]", "float32[1,3*N]"},
	{"Transpose@13", "float32[N,3,4]", "float32[4,3,N]"},
	{"Transpose@13 perm=[0,2,1]", "float32[N,3,4]", "float32[N,4,3]"},
	{"Transpose@13", "int64[2,2]=1,2,3,4", "int64[2,2][1 3 2 4]"},
	{"Squeeze@13", "float32[1,3,1] int64[1]=-1", "float32[1,3]"},
	{"Squeeze@13", "float32[1,3,1]", "float32[3]"},
	{"Squeeze@13", "float32[N,3]", "float32[...]"},
	{"Squeeze@11 axes=[0]", "float32[1,N]", "float32[N]"},
	{"Unsqueeze@13", "float32[N] int64[2]=0,-1", "float32[1,N,1]"},
	{"Unsqueeze@11 axes=[1]", "float32[N,2]", "float32[N,1,2]"},
	{"Concat@13 axis=0", "float32[N,2] float32[3,2] float32[M,2]", "float32[M + N + 3,2]"},
	{"Concat@13 axis=0", "int64[1]=5 int64[2]=6,7", "int64[3][5 6 7]"},
	{"Split@13 axis=1", "float32[N,6] int64[2]=2,4", "float32[N,2] float32[N,4]"},
	{"Split@13 axis=0", "float32[N,6]", "float32[floor(N/2),6] float32[floor(N/2),6]"},
	{"Split@18 axis=0 num_outputs=2", "float32[7,6]", "float32[4,6] float32[3,6]"},
	{"Split@2 split=[1,5] axis=1", "float32[N,6]", "float32[N,1] float32[N,5]"},
	{"Expand@13", "float32[3,1] int64[3]=2,1,4", "float32[2,3,4]"},
	{"Tile@13", "float32[N,2] int64[2]=3,2", "float32[3*N,4]"},
	{"Pad@13", "float32[N,3,8,8] int64[8]=0,0,1,1,0,0,2,2", "float32[N,3,11,11]"},
	{"Pad@18", "float32[N,3,8,8] int64[2]=1,2 _ int64[1]=-1", "float32[N,3,8,11]"},
	{"Pad@2 pads=[0,0,1,1]", "float32[2,3]", "float32[3,4]"},
	{"Pad@13", "float32[N,3] int64[4]", "float32[?,?]"},
	{"DepthToSpace@13 blocksize=2", "float32[N,8,3,5]", "float32[N,2,6,10]"},
	{"SpaceToDepth@13 blocksize=2", "float32[N,2,6,H]", "float32[N,8,3,floor(H/2)]"},
	{"Shape@15", "float32[N,3]", "int64[2]"},
	{"Shape@15 start=1 end=-1", "float32[N,3,4]", "int64[1][3]"},
	{"Size@13", "float32[2,3]", "int64[][6]"},
	// Indices
	{"Gather@13 axis=1", "float32[N,10,4] int64[2,3]", "float32[N,2,3,4]"},
	{"Gather@13", "int64[4]=9,8,7,6 int64[]=-1", "int64[][6]"},
	{"GatherElements@13", "float32[3,3] int64[N,2]", "float32[N,2]"},
	{"GatherND@13", "float32[2,3,4] int64[5,2]", "float32[5,4]"},
	{"GatherND@13 batch_dims=1", "float32[2,3,4] int64[2,1]", "float32[2,4]"},
	{"Slice@13", "float32[N,10] int64[1]=2 int64[1]=-1 int64[1]=1", "float32[N,7]"},
	{"Slice@13", "float32[N,10] int64[1]=0 int64[1]=9223372036854775807 int64[1]=0", "float32[N,10]"},
	{"Slice@13", "float32[N,10] int64[1]=1 int64[1]=2147483647 int64[1]=0", "float32[max(0, N - 1),10]"},
	{"Slice@13", "float32[10] int64[1]=-1 int64[1]=-9223372036854775807 int64[1]=0 int64[1]=-1", "float32[10]"},
	{"Slice@13", "float32[10] int64[1]=0 int64[1]=10 int64[1]=0 int64[1]=3", "float32[4]"},
	{"Slice@13", "int64[4]=1,2,3,4 int64[1]=1 int64[1]=3", "int64[2][2 3]"},
	{"Slice@13", "float32[10] int64[1] int64[1]=3", "float32[?]"},
	{"Slice@13", "float32[N] int64[1]=-3 int64[1]=9223372036854775807 int64[1]=0", "float32[min(3, N)]"},
	{"Slice@13", "float32[N] int64[1]=0 int64[1]=-1 int64[1]=0", "float32[max(0, N - 1)]"},
	{"Slice@13", "float32[N] int64[1]=0 int64[1]=9223372036854775807 int64[1]=0 int64[1]=2", "float32[floor((N + 1)/2)]"},
	{"Slice@13", "float32[10] int64[1]=7 int64[1]=-20 int64[1]=0 int64[1]=-3", "float32[3]"},
	{"Slice@13", "float32[10] int64[1]=20 int64[1]=5 int64[1]=0 int64[1]=-1", "float32[4]"},
	{"Slice@13", "float32[10] int64[1]=-30 int64[1]=4 int64[1]=0", "float32[4]"},
	{"Slice@13", "float32[10] int64[1]=6 int64[1]=4 int64[1]=0", "float32[0]"},
	{"Slice@1 starts=[0,1] ends=[2,-1]", "float32[5,5]", "float32[2,3]"},
	{"ScatterND@16", "float32[N,3] int64[2,1] float32[2,3]", "float32[N,3]"},
	{"TopK@11 axis=1", "float32[N,10] int64[1]=3", "float32[N,3] int64[N,3]"},
	{"TopK@1 k=2", "float32[4,10]", "float32[4,2] int64[4,2]"},
	{"TopK@11", "float32[4,10] int64[1]", "float32[4,?] int64[4,?]"},
	{"NonZero@13", "float32[N,3]", "int64[2,?]"},
	{"Compress@11 axis=1", "float32[4,5] bool[5]=1,0,1,0,0", "float32[4,2]"},
	{"Unique@11", "float32[N]", "float32[?] int64[?] int64[N] int64[?]"},
	{"OneHot@11 axis=1", "int64[N,3] int64[]=7 float32[2]", "float32[N,7,3]"},
	{"ArgMax@13 axis=1 keepdims=0", "float32[N,3,4]", "int64[N,4]"},
	{"CumSum@14", "float32[N,4] int64[]=1", "float32[N,4]"},
	// Reductions and normalisation
	{"ReduceMean@13 axes=[1,-1]", "float32[N,3,4]", "float32[N,1,1]"},
	{"ReduceSum@13 keepdims=0", "float32[N,3,4] int64[1]=1", "float32[N,4]"},
	{"ReduceSum@13 noop_with_empty_axes=1", "float32[N,3] int64[0]", "float32[N,3]"},
	{"ReduceMax@18 keepdims=0", "float32[N,3]", "float32[]"},
	{"ReduceSum@13", "float32[N,3] int64[1]", "float32[?,?]"},
	{"ReduceProd@13 keepdims=0", "int64[3]=2,3,4", "int64[][24]"},
	{"Softmax@13 axis=-2", "float32[N,3]", "float32[N,3]"},
	{"BatchNormalization@15", "float32[N,3,8] float32[3] float32[3] float32[3] float32[3]", "float32[N,3,8]"},
	{"LayerNormalization@17 axis=1", "float32[N,3,4] float32[3,4]", "float32[N,3,4] float32[N,1,1] float32[N,1,1]"},
	{"com.microsoft::SkipLayerNormalization@17", "float16[N,S,8] float16[N,S,8] float16[8]", "float16[N,S,8] float32[N,S,1] float32[N,S,1] float16[N,S,8]"},
	// Convolution and pooling
	{"Conv@11 strides=[2,2] pads=[3,3,3,3]", "float32[N,3,224,224] float32[64,3,7,7]", "float32[N,64,112,112]"},
	{"Conv@11 auto_pad='SAME_UPPER' strides=[2,2]", "float32[1,3,H,9] float32[8,3,3,3]", "float32[1,8,floor((H + 1)/2),5]"},
	{"Conv@11 dilations=[2] group=4", "float32[1,4,20] float32[8,1,3]", "float32[1,8,16]"},
	{"Conv@11", "float32 float32[8,1,3]", "float32[?,8,?]"},
	{"ConvTranspose@11 strides=[2,2] pads=[1,1,1,1] output_padding=[1,1]", "float32[N,8,16,16] float32[8,4,3,3]", "float32[N,4,32,32]"},
	{"ConvTranspose@11 output_shape=[10]", "float32[1,8,5] float32[8,4,3]", "float32[1,4,10]"},
	{"MaxPool@12 kernel_shape=[3,3] strides=[2,2] ceil_mode=1", "float32[N,4,112,10]", "float32[N,4,56,5] int64[N,4,56,5]"},
	{"AveragePool@11 kernel_shape=[2] auto_pad='VALID'", "float32[N,4,9]", "float32[N,4,8]"},
	{"GlobalAveragePool@1", "float32[N,4,H,W]", "float32[N,4,1,1]"},
	{"MaxUnpool@11 kernel_shape=[2,2] strides=[2,2]", "float32[1,1,2,2] int64[1,1,2,2]", "float32[1,1,4,4]"},
	{"RoiAlign@16 output_height=5 output_width=6", "float32[N,4,9,9] float32[R,4] int64[R]", "float32[R,4,5,6]"},
	{"com.microsoft::NhwcConv@17", "float32[N,8,8,3] float32[16,3,3,3]", "float32[N,6,6,16]"},
	{"com.microsoft.nchwc::Conv@17", "float32[N,16,8,8] float32[32,16,3,3]", "float32[N,32,6,6]"},
	{"com.microsoft.nchwc::ReorderOutput@17 channels=3", "float32[N,16,8,8]", "float32[N,3,8,8]"},
	// Products
	{"MatMul@13", "float32[N,4,S,8] float32[8,5]", "float32[N,4,S,5]"},
	{"MatMul@13", "float32[8] float32[N,8,5]", "float32[N,5]"},
	{"MatMul@13", "float32[N,8] float32[8]", "float32[N]"},
	{"Gemm@13 transA=1 transB=1", "float32[4,N] float32[5,4]", "float32[N,5]"},
	{"Einsum@12 equation='bij,bjk->bik'", "float32[N,2,3] float32[N,3,4]", "float32[N,2,4]"},
	{"Einsum@12 equation='...i,...j'", "float32[2,3] float32[2,4]", "float32[2,3,4]"},
	{"Einsum@12 equation='ii->i'", "float32[3,3]", "float32[3]"},
	{"MatMulInteger@10", "uint8[N,3] int8[3,4]", "int32[N,4]"},
	{"com.microsoft::FusedMatMul@17 transB=1", "float32[N,3] float32[4,3]", "float32[N,4]"},
	{"com.microsoft::MatMulNBits@17 K=64 N=32 bits=4 block_size=32", "float16[N,S,64] uint8[32,2,16] float16[64]", "float16[N,S,32]"},
	{"com.microsoft::QGemm@17 transB=1", "uint8[N,4] float32[] uint8[] int8[5,4] float32[] int8[]", "float32[N,5]"},
	// Quantisation
	{"QuantizeLinear@13", "float32[N,3] float32[] int8[]", "int8[N,3]"},
	{"QuantizeLinear@13", "float32[N,3] float32[]", "uint8[N,3]"},
	{"QuantizeLinear@21 output_dtype=22", "float32[N,3] float32[]", "int4[N,3]"},
	{"DequantizeLinear@19", "int8[N,3] float16[]", "float16[N,3]"},
	{"DynamicQuantizeLinear@11", "float32[N,3]", "uint8[N,3] float32[] uint8[]"},
	{"QLinearConv@10", "uint8[N,3,8,8] float32[] uint8[] int8[4,3,3,3] float32[] int8[] float32[] uint8[]", "uint8[N,4,6,6]"},
	{"QLinearMatMul@10", "uint8[N,3] float32[] uint8[] uint8[3,4] float32[] uint8[] float32[] uint8[]", "uint8[N,4]"},
	// Recurrent
	{"LSTM@14 hidden_size=7 direction='bidirectional'", "float32[S,N,3] float32[2,28,3] float32[2,28,7]", "float32[S,2,N,7] float32[2,N,7] float32[2,N,7]"},
	{"GRU@14 layout=1", "float32[N,S,3] float32[1,21,3] float32[1,21,7]", "float32[N,S,1,7] float32[N,1,7]"},
	// Attention
	{"Attention@23 q_num_heads=4 kv_num_heads=2", "float32[N,S,32] float32[N,T,16] float32[N,T,16] _ float32[N,2,P,8] float32[N,2,P,8]", "float32[N,S,32] float32[N,2,P + T,8] float32[N,2,P + T,8] float32[N,4,S,P + T]"},
	{"Attention@23", "float32[N,4,S,8] float32[N,4,T,8] float32[N,4,T,6]", "float32[N,4,S,6]"},
	{"RotaryEmbedding@23", "float32[N,4,S,8] float32[S,4] float32[S,4]", "float32[N,4,S,8]"},
	{"com.microsoft::Attention@17 num_heads=4", "float32[N,S,8] float32[8,24] float32[24] _ float32[2,N,4,P,2]", "float32[N,S,8] float32[2,N,4,P + S,2]"},
	{"com.microsoft::MultiHeadAttention@17 num_heads=4", "float32[N,S,32] float32[N,T,32] float32[N,T,16]", "float32[N,S,16] float32[N,4,T,8] float32[N,4,T,4]"},
	{"com.microsoft::GroupQueryAttention@17 num_heads=4 kv_num_heads=2", "float16[N,S,64] _ _ float16[N,2,P,8] float16[N,2,P,8] int32[N] int32[]=9", "float16[N,S,32] float16[N,2,max(9, P),8] float16[N,2,max(9, P),8]"},
	{"com.microsoft::EmbedLayerNormalization@17", "int32[N,S] int32[N,S] float32[100,8] float32[50,8] float32[2,8] float32[8] float32[8]", "float32[N,S,8] int32[N]"},
	// Made from nothing
	{"ConstantOfShape@9", "int64[2]=3,4", "float32[3,4]"},
	{"ConstantOfShape@9", "int64[2]", "float32[?,?]"},
	{"Range@11", "int64[]=2 int64[]=11 int64[]=3", "int64[3][2 5 8]"},
	{"Range@11", "float32[]=0 float32[]=1 float32[]=0.25", "float32[4]"},
	{"EyeLike@9 dtype=7", "float32[N,3]", "int64[N,3]"},
	{"RandomNormal@1 shape=[2,3] dtype=10", "", "float16[2,3]"},
	{"HannWindow@17", "int64[]=16", "float32[16]"},
	{"MelWeightMatrix@17", "int64[]=8 int64[]=16 int64[]=8000 float32[]=0 float32[]=4000", "float32[9,8]"},
	// Images and signals
	{"Resize@13", "float32[N,3,8,8] _ float32[4]=1,1,2,1.5", "float32[N,3,16,12]"},
	{"Resize@13", "float32[N,3,H,8] _ float32[4]=1,1,2,0.5", "float32[N,3,2*H,4]"},
	{"Resize@13", "float32[N,3,8,8] _ _ int64[4]=1,3,20,30", "float32[1,3,20,30]"},
	{"Resize@18 axes=[2,3] keep_aspect_ratio_policy='not_larger'", "float32[1,1,2,4] _ _ int64[2]=7,8", "float32[1,1,4,8]"},
	{"Resize@10", "float32[N,3,8,8] float32[4]=1,1,2,2", "float32[N,3,16,16]"},
	{"Upsample@7 scales=[1.0,1.0,2.0,2.0]", "float32[N,3,8,8]", "float32[N,3,16,16]"},
	{"GridSample@16", "float32[N,3,8,8] float32[N,5,6,2]", "float32[N,3,5,6]"},
	{"AffineGrid@20", "float32[N,2,3] int64[4]=2,3,5,6", "float32[2,5,6,2]"},
	{"Col2Im@18", "float32[1,5,5] int64[2]=5,5 int64[2]=1,5", "float32[1,1,5,5]"},
	{"CenterCropPad@18 axes=[0]", "float32[10,7] int64[1]=3", "float32[3,7]"},
	{"NonMaxSuppression@11", "float32[1,10,4] float32[1,2,10]", "int64[?,3]"},
	{"DFT@17 axis=1 onesided=1", "float32[N,10,1]", "float32[N,6,2]"},
	{"STFT@17", "float32[N,128,1] int64[]=8 float32[16]", "float32[N,15,9,2]"},
	{"Det@11", "float32[N,3,3]", "float32[N]"},
	// Sequences and optionals
	{"SequenceConstruct@11", "float32[2,3] float32[2,3]", "sequence of 48 bytes"},
	{"SplitToSequence@11 axis=0", "float32[4,3] int64[]=2", "sequence of 48 bytes"},
	// Text and classical learning
	{"StringNormalizer@10", "string[5]", "string[?]"},
	{"TfIdfVectorizer@9 ngram_indexes=[0,3,2]", "int64[N,6]", "float32[N,4]"},
	{"ai.onnx.ml::TreeEnsembleClassifier@17 classlabels_int64s=[0,1,2]", "float32[N,4]", "int64[N] float32[N,3]"},
	{"ai.onnx.ml::LinearRegressor@17 targets=2", "float32[N,4]", "float32[N,2]"},
	{"ai.onnx.ml::OneHotEncoder@17 cats_int64s=[1,2,3]", "int64[N]", "float32[N,3]"},
	{"ai.onnx.ml::ArrayFeatureExtractor@17", "float32[N,4] int64[2]", "float32[N,2]"},
	// Losses
	{"SoftmaxCrossEntropyLoss@13 reduction='none'", "float32[N,5] int64[N]", "float32[N] float32[N,5]"},
	{"NegativeLogLikelihoodLoss@13", "float32[N,5] int64[N]", "float32[]"},
}

func TestOps(t *testing.T) {
	for _, c := range opCases {
		t.Run(c.node+" "+c.ins, func(t *testing.T) {
			if got := inferNode(t, c.node, c.ins, strings.Count(stripBrackets(c.want), " ")+1); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// stripBrackets removes what stands in brackets, so that blanks separate types.
func stripBrackets(s string) string {
	if strings.HasPrefix(s, "sequence of") {
		return ""
	}
	var b strings.Builder
	deep := 0
	for _, r := range s {
		switch r {
		case '[':
			deep++
		case ']':
			deep--
		default:
			if deep == 0 {
				b.WriteRune(r)
			}
		}
	}
	return b.String()
}

func inferNode(t *testing.T, node, ins string, outs int) string {
	t.Helper()
	text, op, attrs := nodeText(node, ins, outs)
	r, err := inferText(t, text+op+" "+attrs, Options{})
	if err != nil {
		return err.Error()
	}
	var names []string
	for i := range outs {
		names = append(names, outName(i))
	}
	return typesOf(r, names...)
}

func outName(i int) string { return "y" + string(rune('0'+i)) }

// nodeText writes the model of one node.
func nodeText(node, ins string, outs int) (decls, line, tail string) {
	var args, results []string
	for i, in := range strings.Fields(ins) {
		name := "x" + string(rune('a'+i))
		if in == "_" {
			args = append(args, "_")
			continue
		}
		args = append(args, name)
		if typ, contents, stored := strings.Cut(in, "="); stored {
			decls += "let " + name + " " + typ + " " + strings.ReplaceAll(contents, ",", " ") + "\n"
		} else if strings.HasSuffix(typ, "[0]") {
			decls += "let " + name + " " + typ + "\n"
		} else {
			decls += "in " + name + " " + typ + "\n"
		}
	}
	for i := range outs {
		results = append(results, outName(i))
	}
	op, attrs, _ := strings.Cut(node, " ")
	return decls, strings.Join(results, ",") + " = " + op, attrs + " (" + strings.Join(args, ",") + ")"
}
