package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/passes/bench/reference"
)

// The figure is well-formed XML whatever is missing, draws every baseline, and stays inside its frame.
func TestFigure(t *testing.T) {
	full := map[string]float64{}
	empty := map[string]float64{}
	for i, name := range reference.Names() {
		full[name] = 1000 * float64(i+2)
		empty[name] = math.NaN()
	}
	nan := math.NaN()
	all := []series{
		{"a <b> & c", 10, []point{{2, 900, 800, full, 2, 0.1}, {3, nan, nan, empty, 0, 0.1}, {4, 500, 100, full, 3, 0.1}}},
		{"none", 1, []point{{2, nan, nan, empty, 0, 0}}},
		{"one point, far off", 1, []point{{2, 1, 0, map[string]float64{"heft": 1e9}, 1, 0}}},
	}
	text := figure(all, ir.Latency)
	dec := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := dec.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
	}
	for _, bad := range []string{"NaN", "Inf"} {
		if strings.Contains(string(text), bad) {
			t.Errorf("the figure has %s in it", bad)
		}
	}
	for _, name := range reference.Names() {
		known := false
		for _, s := range styles() {
			known = known || s.key == name
		}
		if !known {
			t.Errorf("baseline %s is not drawn", name)
		}
	}
}

func TestTicks(t *testing.T) {
	for _, r := range [][2]float64{{1, 2}, {0.3, 7}, {5, 900}, {1e-3, 1e6}, {99, 101}} {
		for _, v := range ticks(r[0], r[1]) {
			if v < r[0] || v > r[1] {
				t.Errorf("tick %v is outside %v", v, r)
			}
		}
		if r[1] > 2.5*r[0] && len(ticks(r[0], r[1])) < 2 {
			t.Errorf("%v has ticks %v", r, ticks(r[0], r[1]))
		}
	}
}
