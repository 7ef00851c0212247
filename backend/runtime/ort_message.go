package runtime

import (
	"regexp"
	"strings"
)

// Places in ONNX Runtime's sources and the signatures of its functions, as its
// messages carry them: "/onnxruntime_src/.../graph.cc:1418 void onnxruntime::Graph::X(int) const ".
var (
	sourcePlace = regexp.MustCompile(`[^\s:]*/[^\s:]+\.(?:cc|cpp|h|hpp|cu|cuh):\d+ `)
	signature   = regexp.MustCompile(`^[^()"']*\b(?:onnxruntime|OrtApis|std|Ort)[\w:<>~*& ,]*(?:\(\S.*?\)|\(\)) ?(?:const)?(?: ?\[with .*?\])? ?`)
)

// tidy makes one line of an ONNX Runtime message and drops what only its
// developers can use: source places, signatures, the closing full stop.
func tidy(msg string) string {
	msg = strings.Join(strings.Fields(msg), " ")
	for {
		at := sourcePlace.FindStringIndex(msg)
		if at == nil {
			break
		}
		rest := msg[at[1]:]
		if sig := signature.FindStringIndex(rest); sig != nil {
			rest = rest[sig[1]:]
		}
		for _, left := range []string{"::<lambda()> ", "operator() "} { // of functions that have no name
			rest = strings.TrimPrefix(rest, left)
		}
		head := strings.TrimRight(msg[:at[0]], " ")
		if strings.HasSuffix(head, ":") {
			head += " "
		} else if head != "" {
			head += ": "
		}
		msg = head + strings.TrimLeft(rest, " ")
	}
	return strings.TrimRight(msg, ". ")
}
