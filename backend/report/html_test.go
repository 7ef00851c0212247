package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

var keep = flag.String("keep", "", "write the report that the tests make to this file")

func page(t testing.TB, n, depth int) []byte {
	t.Helper()
	l, p := towers(t, n, depth)
	body, err := HTML(manifestOf(t, l, p), l, p, Options{Command: "dnnsplit 'my model.onnx' --devices profiles/ -o out"})
	if err != nil {
		t.Fatal(err)
	}
	if *keep != "" {
		if err := os.WriteFile(*keep, body, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return body
}

// dataOf is the data that the page's script reads.
func dataOf(t *testing.T, body []byte) pageData {
	t.Helper()
	m := regexp.MustCompile(`(?s)<script id="data" type="application/json">(.*?)</script>`).FindSubmatch(body)
	if m == nil {
		t.Fatal("the page has no data")
	}
	var d pageData
	if err := json.Unmarshal(m[1], &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestHTML(t *testing.T) {
	body := page(t, 7, 12)
	if !bytes.Equal(body, page(t, 7, 12)) {
		t.Error("a second report differs")
	}
	text := string(body)
	for _, want := range []string{
		`<svg id="gantt"`, `<svg id="quotient"`, "2.00×", "faster than the best single processor, pi", "on the critical path",
		"&#39;my model.onnx&#39;", "2 nodes are dead &lt;and gone&gt;", "measured", "shared medium wifi-1",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	// Nothing is loaded from anywhere: the only address is the name of SVG.
	outside := strings.ReplaceAll(text, "http://www.w3.org/2000/svg", "")
	for _, bad := range []string{"http:", "https:", " src=", "@import", "ZgotmplZ", "<no value>", "NaN", "%!"} {
		if strings.Contains(outside, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	_, p := towers(t, 7, 12)
	d := dataOf(t, body)
	nodes := 0
	for i, s := range p.Plan.Submodels {
		nodes += len(s.Nodes) + len(s.Replicas)
		if d.Subs[i].Count != len(s.Nodes)+len(s.Replicas) || d.Subs[i].First+d.Subs[i].Count != nodes {
			t.Errorf("sub-model %d has nodes %d to %d, want %d", i, d.Subs[i].First, d.Subs[i].First+d.Subs[i].Count, nodes)
		}
	}
	if len(d.Names) != nodes || len(d.Op) != nodes || len(d.Us) != nodes || len(d.Source) != nodes || len(d.Replica) != nodes || len(d.Ops) != 4 {
		t.Errorf("the data has %d names of %d nodes, %d kinds of op", len(d.Names), nodes, len(d.Ops))
	}
	if chain := d.Subs[3].Edges; len(chain) != 2*11 {
		t.Errorf("two chains of 12 nodes have %d edges: %v", len(chain), chain)
	}
}

// Names are the user's: whatever they hold, they stay text.
func TestHTMLHostileNames(t *testing.T) {
	l, p := towers(t, 2, 3)
	m := manifestOf(t, l, p)
	plain, err := HTML(m, l, p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	bad := `</script><script>alert(1)</script>"'><img onerror=x>`
	l.Notes = []string{bad}
	m.Notes = l.Notes
	m.Model.File = bad
	m.Edges[0].Tensor = l.Problem.Graph.ValueName(1)
	l.Problem.Platform.Processors[0].Name = bad
	l.Problem.Platform.Links[0].Medium = bad
	body, err := HTML(m, l, p, Options{Command: bad})
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"<script", "</script", "<img", "alert(1)<"} {
		if got, want := bytes.Count(body, []byte(tag)), bytes.Count(plain, []byte(tag)); got != want {
			t.Errorf("%q stands %d times, want %d", tag, got, want)
		}
	}
}

// Odd placements give a page, too.
func TestHTMLOddPlacements(t *testing.T) {
	one, p := towers(t, 1, 2)
	all := ir.Submodel{Processor: 3}
	for n := range one.Problem.Graph.NumNodes() {
		all.Nodes = append(all.Nodes, ir.NodeID(n))
	}
	single := placed(t, one, p, all)
	single.Plan.ProvenOptimal, single.Plan.LowerBound = true, single.Plan.Latency
	single.Auto = nil
	single.Single[3].Latency = single.Plan.Latency
	body, err := HTML(manifestOf(t, one, single), one, single, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"best not to split", "optimal", "No tensor travels"} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}

	// A sub-model for every node: more than are drawn one by one.
	many, p := towers(t, 5, 20)
	var subs []ir.Submodel
	for n := range many.Problem.Graph.NumNodes() {
		subs = append(subs, ir.Submodel{Processor: ir.ProcID(n % 4), Nodes: []ir.NodeID{ir.NodeID(n)}})
	}
	split := placed(t, many, p, subs...)
	split.Plan.Objective = ir.Throughput
	body, err = HTML(manifestOf(t, many, split), many, split, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"each box is a processor", "predicted time between two inferences"} {
		if !bytes.Contains(body, []byte(want)) {
			t.Errorf("the page does not say %q", want)
		}
	}
}

// browser finds a Chromium; tests that need one are skipped without.
func browser(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("CHROME"), "chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	t.Skip("no Chromium on this machine; set CHROME to one")
	return ""
}

// probe runs in the page and leaves what it found in the document's title.
const probe = `<script>
window.addEventListener("load", () => {
  const found = [], say = (name, ok) => found.push(name + "=" + (ok ? "ok" : "FAILED"));
  const visible = (s) => { const b = document.querySelector(s)?.getBoundingClientRect(); return b && b.width > 300 && b.height > 60; };
  say("ready", document.documentElement.dataset.ready === "1");
  say("gantt", visible("#gantt") && document.querySelectorAll("#gantt .run").length > 3 && document.querySelectorAll("#gantt .transfer").length > 3);
  say("quotient", visible("#quotient") && document.querySelectorAll("#quotient .edge path").length > 3);
  say("ops", visible("#ops-graph"));
  const rows = () => [...document.querySelectorAll("#ops-table tbody tr")].map((r) => r.cells[0].textContent);
  const first = rows();
  say("rows", first.length > 0);
  const click = (e) => e.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  const nameHead = document.querySelector("#ops-table th[data-k=name] button");
  click(nameHead);
  const up = rows();
  say("sort up", up.every((n, i) => i === 0 || up[i - 1].localeCompare(n, "en", { numeric: true }) <= 0) && up.join() !== first.join());
  click(nameHead);
  say("sort down", rows()[0].localeCompare(up[0], "en", { numeric: true }) > 0);
  const filter = document.getElementById("ops-filter");
  filter.value = "head/concat";
  filter.dispatchEvent(new Event("input"));
  say("filter", rows().length === 1);
  const table = document.querySelector("#cuts table"), size = table.querySelectorAll("th button")[2];
  click(size);
  const sizes = [...table.tBodies[0].rows].map((r) => Number(r.cells[2].dataset.v));
  say("static sort", sizes.every((n, i) => i === 0 || sizes[i - 1] >= n));
  click(document.querySelectorAll(".picker button")[2]);
  const boxes = () => document.querySelectorAll("#ops-graph .op").length;
  const folded = boxes();
  document.querySelector("#ops-graph .group").dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  const open = boxes();
  say("unfold", open > folded);
  click(document.querySelector("#crumbs button"));
  say("fold", boxes() < open);
  click(document.querySelector("#quotient [data-sub]"));
  say("select", document.querySelector(".picker [aria-selected=true]") !== null);
  document.title = "probe: " + found.join(", ");
});
</script></body>`

// TestHTMLInChromium opens the page and uses it.
func TestHTMLInChromium(t *testing.T) {
	chrome := browser(t)
	for _, c := range []struct {
		name     string
		n, depth int
	}{{"small", 7, 12}, {"50,000 nodes", 200, 250}} {
		t.Run(c.name, func(t *testing.T) {
			body := bytes.Replace(page(t, c.n, c.depth), []byte("</body>"), []byte(probe), 1)
			dir := t.TempDir()
			path := filepath.Join(dir, "report.html")
			if err := os.WriteFile(path, body, 0o666); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(chrome, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0",
				"--user-data-dir="+filepath.Join(dir, "profile"), "--virtual-time-budget=20000", "--dump-dom", "file://"+path)
			var out, log bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &log
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			timer := time.AfterFunc(2*time.Minute, func() { _ = cmd.Process.Kill() })
			defer timer.Stop()
			if err := cmd.Wait(); err != nil {
				t.Fatalf("%v\n%s", err, log.String())
			}
			for _, line := range strings.Split(log.String(), "\n") {
				if strings.Contains(line, "CONSOLE") {
					t.Errorf("the console says %s", line)
				}
			}
			m := regexp.MustCompile(`<title>probe: (.*?)</title>`).FindStringSubmatch(out.String())
			if m == nil {
				t.Fatalf("the probe did not end; the log is\n%s", log.String())
			}
			if strings.Contains(m[1], "FAILED") {
				t.Error(m[1])
			}
		})
	}
}
