package export_test

import (
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/backend/export"
	"github.com/dnnsplit/dnnsplit/compiler/corpus"
)

func TestDot(t *testing.T) {
	for _, c := range []struct {
		name string
		cut  corpus.Cut
	}{{"small/googlenet", corpus.Thirds}, {"small/gpt2", corpus.Shatter}, {"odd/names-json", corpus.Shatter}, {"odd/names-controls", corpus.Shatter}} {
		t.Run(c.name, func(t *testing.T) {
			f := bundleOf(t, c.name, c.cut)
			r := f.export(t, "dot", nil)
			nodes, subs := read(t, r.Output, "nodes.dot"), read(t, r.Output, "submodels.dot")
			want := map[string]bool{}
			for _, s := range f.manifest.Submodels {
				for _, n := range open(t, f.bundle+"/"+s.File).Proto.GetGraph().GetNode() {
					want[n.GetOutput()[0]] = true
				}
			}
			defined := regexp.MustCompile(`(?m)^    "node .*" \[fillcolor=`).FindAllString(nodes, -1)
			if len(defined) != len(want) {
				t.Errorf("%d nodes are drawn, there are %d", len(defined), len(want))
			}
			edges := 0
			for _, e := range f.manifest.Edges {
				edges += len(e.To)
			}
			if got := strings.Count(subs, `"sub `) - len(f.manifest.Submodels); got < 2*edges {
				t.Errorf("%d ends of arrows for %d edges", got, edges)
			}
			if exe, err := exec.LookPath("dot"); err == nil {
				for _, text := range []string{nodes, subs} {
					cmd := exec.Command(exe, "-Tcanon")
					cmd.Stdin = strings.NewReader(text)
					if out, err := cmd.CombinedOutput(); err != nil {
						t.Errorf("dot: %v\n%s", err, out)
					}
				}
			}
		})
	}
}

func TestOptions(t *testing.T) {
	f := bundleOf(t, "small/squeezenet1_1", corpus.Thirds)
	_, err := f.try("paper", nil)
	wantError(t, err, `"paper"`, "triton", "runner")
	_, err = f.try("triton", func(o *export.Options) { o.Bundle += "x" })
	wantError(t, err, "no such folder")
	_, err = f.try("runner", func(o *export.Options) { o.Output = f.bundle })
	wantError(t, err, "would replace")
	r := f.export(t, "runner", nil)
	if _, err := f.try("triton", func(o *export.Options) { o.Output = r.Output }); err != nil {
		t.Errorf("an export is not replaced by another: %v", err)
	}
	if len(export.Targets()) != 5 {
		t.Errorf("targets: %v", export.Targets())
	}
}
