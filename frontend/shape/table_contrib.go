package shape

func mlOps() []opEntry    { return nil }
func nchwcOps() []opEntry { return nil }
func nhwcOps() []opEntry  { return nil }

// microsoftOps are the operators of domain com.microsoft, all of version 1:
// docs/ContribOperators.md of github.com/microsoft/onnxruntime.
func microsoftOps() []opEntry {
	return []opEntry{
		{"QGemm", since(1), qGemm},
		{"QLinearAdd", since(1), qLinearPairwise},
		{"QLinearMul", since(1), qLinearPairwise},
		{"QLinearGlobalAveragePool", since(1), qLinearGlobalPool},
	}
}
