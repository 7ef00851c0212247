package shape

import (
	"slices"
	"sync"
)

// opEntry is what this package knows of one operator.
type opEntry struct {
	name  string
	since []int64 // versions in which its meaning changed, ascending
	infer func(*call)
}

// sinceAt is the version of the meaning that opset has; 0 if the operator is younger.
func (e *opEntry) sinceAt(opset int64) int64 {
	since := int64(0)
	for _, v := range e.since {
		if v <= opset {
			since = v
		}
	}
	return since
}

// opIndex finds entries by domain and name.
type opIndex struct {
	byName map[string]map[string]*opEntry
}

func (x *opIndex) find(domain, name string) *opEntry {
	return x.byName[canonicalDomain(domain)][name]
}

// standardOps is the index of all operators that are known.
var standardOps = sync.OnceValue(func() *opIndex {
	x := &opIndex{byName: map[string]map[string]*opEntry{}}
	for _, d := range []struct {
		name    string
		entries []opEntry
	}{
		{"", onnxOps()},
		{"ai.onnx.ml", mlOps()},
		{"ai.onnx.preview.training", trainingOps()},
		{"ai.onnx.training", trainingOps()},
		{"ai.onnx.preview", previewOps()},
		{"com.microsoft", microsoftOps()},
		{"com.microsoft.nchwc", nchwcOps()},
		{"com.ms.internal.nhwc", nhwcOps()},
	} {
		byName := make(map[string]*opEntry, len(d.entries))
		for i := range d.entries {
			byName[d.entries[i].name] = &d.entries[i]
		}
		x.byName[d.name] = byName
	}
	return x
})

func since(versions ...int64) []int64 { return versions }

// Operators are the names of all operators that are known, "domain::Type" outside
// the standard domain, sorted.
func Operators() []string {
	var out []string
	for domain, byName := range standardOps().byName {
		for name := range byName {
			if domain != "" {
				name = domain + "::" + name
			}
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}
