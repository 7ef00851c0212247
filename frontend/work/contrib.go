package work

import "github.com/dnnsplit/dnnsplit/compiler/ir"

func mlRules() map[string]rule       { return map[string]rule{} }
func trainingRules() map[string]rule { return map[string]rule{} }
func blockedRules() map[string]rule  { return map[string]rule{} }

func microsoftRules() map[string]rule {
	return map[string]rule{
		"QGemm":                    inElem(ir.Int8, gemm(0, 6)),
		"QLinearAdd":               inElem(ir.Int8, perOutput(5)),
		"QLinearMul":               inElem(ir.Int8, perOutput(5)),
		"QLinearGlobalAveragePool": inElem(ir.Int8, perInput(1)),
	}
}
