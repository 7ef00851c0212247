package draw_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/dnnsplit/dnnsplit/profiles"
	"github.com/dnnsplit/dnnsplit/profiles/draw"
	"github.com/google/go-cmp/cmp"
)

// fleet makes a fleet of one-processor devices with the names, and fleet.yaml.
func fleet(t *testing.T, links string, names ...string) *profiles.Fleet {
	t.Helper()
	files := fstest.MapFS{"fleet.yaml": {Data: []byte("schema: dnnsplit/fleet/v1\n" + links)}}
	for _, n := range names {
		files[n+".yaml"] = &fstest.MapFile{Data: []byte("schema: dnnsplit/device/v1\nname: " + n + "\nmemory: 1GiB\nprocessors:\n" +
			"  - {name: cpu, kind: cpu, peak: {float32: 1GFLOP/s, int8: 2GOP/s}, memory_bandwidth: 1GB/s, launch: 1us, op_overhead: 1us}\n" +
			"source: \"a & b\"\n")}
	}
	f, err := profiles.LoadFS(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

const mesh = `source: a
links:
  - {between: [a, b], bandwidth: 8Mbit/s, latency: 1ms}
  - {between: [c, a], bandwidth: 941Mbit/s, latency: 2ms, medium: air}
  - {from: b, to: c, bandwidth: 8Mbit/s, latency: 0us}
  - {between: [b, d], bandwidth: 8Mbit/s, latency: 1ms}
`

func TestText(t *testing.T) {
	want := `a (source) ─────────b─┐
           ─a─┐       │
  · cpu       │       │
b          ─a─┘       │
           ───────────┼─d─┐
           ─────c─┐   │   │
  · cpu           │   │   │
c          ◄────c─┘   │   │
           ─────────b─┘   │
  · cpu                   │
d          ─────────────d─┘
  · cpu
`
	if diff := cmp.Diff(want, draw.Text(fleet(t, mesh, "a", "b", "c", "d"))); diff != "" {
		t.Error(diff)
	}
	if got := draw.Text(fleet(t, "", "a")); got != "a\n  · cpu\n" {
		t.Errorf("one device: %q", got)
	}
}

// More links than can be drawn side by side are left to pictures.
func TestTooMany(t *testing.T) {
	names := strings.Split("abcdefghij", "")
	f := fleet(t, "default_link: {bandwidth: 1Gbit/s, latency: 1ms}\n", names...)
	if got := len(draw.Lines(f)); got != 45 {
		t.Errorf("%d lines join 10 devices", got)
	}
	if got := draw.Text(f); got != "" {
		t.Errorf("drawn: %s", got)
	}
	if a, b := draw.Name(25), draw.Name(26); a != "z" || b != "a1" {
		t.Errorf("lines 25 and 26 are called %s and %s", a, b)
	}
	wellFormed(t, draw.SVG(f))
}

func wellFormed(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%v in %s", err, text)
		}
	}
}

func TestSVG(t *testing.T) {
	text := draw.SVG(fleet(t, mesh, "a", "b", "c", "d"))
	wellFormed(t, text)
	for _, want := range []string{"a (source)", "941Mbit/s, 2ms, medium air", "float32 1GFLOP/s, int8 2GOP/s", "marker-end"} {
		if !strings.Contains(text, want) {
			t.Errorf("the picture lacks %q", want)
		}
	}
	if n := strings.Count(text, "marker-end"); n != 1 {
		t.Errorf("%d arrows for one link in one direction", n)
	}
	wellFormed(t, draw.SVG(fleet(t, "", "a")))
}

func TestDOT(t *testing.T) {
	text := draw.DOT(fleet(t, mesh, "a", "b", "c", "d"))
	for _, want := range []string{"subgraph cluster_3", `label="8Mbit/s, 1ms", dir=both`, `label="8Mbit/s, 0ps"]`, `label="a (source)\n1GiB"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the graph lacks %q:\n%s", want, text)
		}
	}
}

func TestConcerns(t *testing.T) {
	got := strings.Join(draw.Concerns(fleet(t, "links:\n  - {from: a, to: b, bandwidth: 1Gbit/s, latency: 1ms}\n", "a", "b", "lonely")), "\n")
	for _, want := range []string{"lonely has no link", "a way from a to b, but none back"} {
		if !strings.Contains(got, want) {
			t.Errorf("no word of %q in:\n%s", want, got)
		}
	}
	if got := draw.Concerns(fleet(t, mesh, "a", "b", "c", "d")); len(got) > 0 {
		t.Errorf("a fleet without fault: %q", got)
	}
	if got, want := draw.Idle("b.costs.json"), "b.costs.json is not used: no processor names it, as in costs: [b.costs.json]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	odd := fstest.MapFS{"x.yaml": {Data: []byte("schema: dnnsplit/device/v1\nname: x\nmemory: 1GiB\nprocessors:\n  - {name: cpu, kind: cpu, memory: 2GiB, peak: {float32: 100TFLOP/s}, memory_bandwidth: 1GB/s}\n")}}
	f, err := profiles.LoadFS(odd, ".")
	if err != nil {
		t.Skip(fmt.Sprint("the loader refuses it: ", err))
	}
	got = strings.Join(draw.Concerns(f), "\n")
	for _, want := range []string{"op_overhead", "launch", "operations a byte", "where its numbers come from"} {
		if !strings.Contains(got, want) {
			t.Errorf("no word of %q in:\n%s", want, got)
		}
	}
}
