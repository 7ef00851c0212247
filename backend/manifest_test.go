package backend

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

func compileSchema(t testing.TB) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(ManifestJSONSchema))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("manifest.schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("manifest.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(s *jsonschema.Schema, body []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	return s.Validate(doc)
}

// manifestOf writes a bundle and returns its manifest's bytes.
func manifestOf(t testing.TB, b *Bundle) []byte {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	if err := b.Write(context.Background(), dir, WriteOptions{files: &serial{faulty: faulty{at: -1}}}); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(filepath.Join(dir, ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// bundles are cuts whose manifests have every field in every form.
func bundles(t *testing.T) map[string]*Bundle {
	out := map[string]*Bundle{"chain": chainBundle(t)}
	out["chain"].AddFile("report.html", []byte("<p>"))

	m := chain()
	m.Graph.Output = append(m.Graph.Output, info("x", "N", 4), info("w1", 4), info("y", "N", 4), info("a", "N", nil))
	m.Graph.ValueInfo = nil
	f := open(t, m)
	l := lowerPlain(t, f)
	l.Notes = []string{"size of \"b\" <assumed> & so on"}
	threeProcessors(l, "π/cpu", "con", "..")
	l.Sources = nil
	p := placementOf(t, l, sub(l, 0, "a"), sub(l, 1, "b", "(constants)"), sub(l, 2, "y"))
	p.Plan.Objective, p.Plan.LowerBound = ir.Throughput, p.Plan.Bottleneck/3
	p.Auto, p.Baselines = nil, nil
	out["odd outputs"] = build(t, f, l, p, Options{Recorded: json.RawMessage(`{"b": 1, "a": [2, "<"]}`)})

	m = chain()
	m.Graph.Node, m.Graph.Output = nil, m.Graph.Input
	f = open(t, m)
	l = lowerPlain(t, f)
	threeProcessors(l)
	out["empty"] = build(t, f, l, placementOf(t, l), Options{})
	return out
}

func TestManifestMeetsSchema(t *testing.T) {
	s := compileSchema(t)
	for name, b := range bundles(t) {
		body := manifestOf(t, b)
		if err := validate(s, body); err != nil {
			t.Errorf("%s: %v\n%s", name, err, body)
		}
		m, err := ParseManifest("m", body)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, body)
			continue
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(body), string(again)); diff != "" {
			t.Errorf("%s: read and written again (-first +second):\n%s", name, diff)
		}
	}
}

// edit changes a manifest by replacing text, which must be there.
func edit(t *testing.T, body []byte, old, new string) []byte {
	t.Helper()
	if !bytes.Contains(body, []byte(old)) {
		t.Fatalf("the manifest does not have %s:\n%s", old, body)
	}
	return bytes.Replace(body, []byte(old), []byte(new), 1)
}

func TestReadManifestRefuses(t *testing.T) {
	body := manifestOf(t, chainBundle(t))
	schema := compileSchema(t)
	tests := []struct {
		old, new, want string
		loose          bool // the schema cannot see it
	}{
		{`manifest/v1`, `manifest/v2`, `schema is "dnnsplit/manifest/v2"`, false},
		{`"tool":`, `"tools":`, `unknown field "tools"`, false},
		{`"schema": "dnnsplit/manifest/v1"`, `"schema": 1`, "no valid manifest", false},
		{`{`, `[`, "no valid manifest", false},
		{"\n}\n", "", "unexpected end", true},
		{`"bytes":1000`, `"bytes":"1000"`, "string", false},
		{`"bytes":1000`, `"bytes":-1`, "-1 bytes", false},
		{`"bytes":1000`, `"size":1000`, "unknown field", false},
		{`"dnnsplit","version"`, `"other","version"`, `written by "other"`, false},
		{`"options": {}`, `"options": []`, "options", false},
		{`"file":"pi.0.onnx"`, `"file":"../pi.0.onnx"`, "not in the bundle's folder", false},
		{`"file":"pi.0.onnx"`, `"file":"PI.1.onnx"`, "two things", true},
		{`"file":"pi.0.onnx","sha256":"`, `"file":"pi.0.onnx","sha256":"x`, "sha256", false},
		{`"id":"pi.0"`, `"id":"pi.1"`, "twice", true},
		{`"submodels":["pi.0","pi.1"]`, `"submodels":["pi.1","pi.0"]`, "run", true},
		{`"submodels":["pi.0","pi.1"]`, `"submodels":["pi.0"]`, "2 sub-models, 3 are listed", true},
		{`"submodels":["pi.0","pi.1"]`, `"submodels":["pi.0","pi.1","pi.2"]`, `"pi.2"`, true},
		{`"processor":"pi","order":0`, `"processor":"jetson.gpu","order":0`, "says it is run", true},
		{`"from":"pi.0","to":["jetson.gpu"]`, `"from":"pi.0","to":["pi.1"]`, "no such input", true},
		{`"from":"pi.0","to":["jetson.gpu"]`, `"from":"pi.0","to":[]`, "nowhere", false},
		{`"from":"pi.0","to":["jetson.gpu"]`, `"from":"pi.1","to":["jetson.gpu"]`, "no such output", true},
		{`"from":"pi.0","to":["jetson.gpu"]`, `"from":"pi.0","to":["jetson.gpu","jetson.gpu"]`, "twice", false},
		{`"tensor":"x","to":["pi.0"]`, `"tensor":"x","to":[]`, "comes from nowhere", true},
		{`"tensor":"x","to":["pi.0"]`, `"tensor":"z","to":["pi.0"]`, `the model has "x"`, true},
		{`"tensor":"y","from":"pi.1"`, `"tensor":"y","from":"pi.0"`, "no such output", true},
		{`"tensor":"y","from":"pi.1"`, `"tensor":"y","from":null`, "comes from nowhere", true},
		{`"tensor":"y","from":"pi.1"`, `"tensor":"y","from":"pi.1","kept":["odd"]`, "odd", false},
		{`"device":"jetson"`, `"device":"phone"`, "phone", true},
		{`"start_us":23`, `"start_us":-1`, "predicted from -1", false},
		{`"start_us":23`, `"start_us":1e300`, "predicted from", true},
		{`"objective":"latency"`, `"objective":"cost"`, "cost", false},
		{`["N",4]`, `["N",-4]`, "extent", false},
		{`["N",4]`, `["",4]`, "extent", false},
		{`["N",4]`, `[1.5,4]`, "extent", false},
		{`"single_processor_us":{`, `"single_processor_us":{"other":"x",`, "no valid manifest", false},
	}
	for _, c := range tests {
		changed := edit(t, body, c.old, c.new)
		_, err := ParseManifest("out/manifest.json", changed)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "out/manifest.json:") {
			t.Errorf("%s for %s: the error is %v, want %q", c.new, c.old, err, c.want)
		}
		if !c.loose && validate(schema, changed) == nil {
			t.Errorf("%s for %s: the schema takes it", c.new, c.old)
		}
	}
	_, err := ParseManifest("m", append(bytes.Clone(body), "{}"...))
	if err == nil {
		t.Error("text behind the manifest is taken")
	}
}

func TestReadManifestPaths(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{filepath.Join(dir, "none"): "no such folder", dir: "no bundle"} {
		if _, err := ReadManifest(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: the error is %v, want %q", path, err, want)
		}
	}
}

// A manifest that is read is consistent: whatever text gives one, it is encoded
// and read again as the same.
func FuzzReadManifest(f *testing.F) {
	f.Add(manifestOf(f, chainBundle(f)))
	f.Add([]byte(`{"schema":"dnnsplit/manifest/v1"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := ParseManifest("m", body)
		if err != nil {
			return
		}
		out, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseManifest("m", out)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if diff := cmp.Diff(m, again); diff != "" {
			t.Error(diff)
		}
	})
}
