package main

import (
	"bytes"
	"strings"
	"testing"
)

// TestTableFits prints tables on terminals of several widths: no line is wider, and
// nothing is lost where standard output is no terminal.
func TestTableFits(t *testing.T) {
	header := []string{"node", "op", "output", "cost us"}
	rows := [][]string{
		{"features/stage1/block3/expand/convolution", "Conv", "float32[1,64,55,55]", "12.5"},
		{"層二", "com.microsoft::FusedConv", "float32[1,64,55,55]", "-"},
		{"x", "", "", ""},
	}
	for _, width := range []int{0, 20, 40, 60, 80, 200} {
		var out bytes.Buffer
		u := &ui{out: &out, outWidth: width}
		u.table(header, rows)
		for _, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
			if n := textWidth(line); width > 0 && n > width {
				t.Errorf("a line takes %d columns on a terminal of %d:\n%s", n, width, line)
			}
		}
		if width == 0 || width >= 200 {
			for _, want := range []string{rows[0][0], rows[1][1], "層二 "} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("at width %d %q is missing:\n%s", width, want, out.String())
				}
			}
		}
		if lines := strings.Count(out.String(), "\n"); width == 20 && lines <= 4 {
			t.Errorf("at width 20 rows are no paragraphs:\n%s", out.String())
		}
	}
}

// TestColour wants escape sequences on terminals that show colours only, and none
// that come from names.
func TestColour(t *testing.T) {
	for _, colour := range []bool{false, true} {
		var out bytes.Buffer
		u := &ui{out: &out, outWidth: 80, colour: colour}
		u.tableOf([]string{"a", "b"}, [][]string{{"x\x1b[31m", "1"}}, func([]string) string { return red })
		if got := strings.Count(out.String(), "\x1b["); (got == 4) != colour || !colour && got != 0 {
			t.Errorf("colour %v: %q", colour, out.String())
		}
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		text  string
		width int
		want  string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"層二三", 6, "層二三"}, {"層二三", 5, "層二…"}, {"層二三", 4, "層…"}, {"ab", 0, "…"}} {
		if got := clip(c.text, c.width); got != c.want {
			t.Errorf("clip(%q, %d) = %q, want %q", c.text, c.width, got, c.want)
		}
	}
}
