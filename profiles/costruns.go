package profiles

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// In a file a run names its units by their places in the list of entries, sorted
// by signature: [[place, count], ...]. A model has many runs and signatures are long.

type runText struct {
	Units       [][2]int64 `json:"units"`
	Inputs      int64      `json:"inputs"`
	InputBytes  int64      `json:"input_bytes"`
	Outputs     int64      `json:"outputs"`
	OutputBytes int64      `json:"output_bytes"`
	MedianUs    float64    `json:"median_us"`
	SpreadUs    float64    `json:"spread_us"`
	FirstUs     float64    `json:"first_us,omitempty"`
	Runs        int64      `json:"runs"`
	Model       string     `json:"model,omitempty"`
	Whole       bool       `json:"whole,omitempty"`
	Shared      bool       `json:"shared,omitempty"`
}

var runKeys = [...]string{"units", "inputs", "input_bytes", "outputs", "output_bytes", "median_us", "runs", "spread_us", "first_us", "model", "whole", "shared"}

const requiredRunKeys = 7

// encodeRuns writes the runs, one a line; entries are sorted.
func (c *CostFile) encodeRuns(b *bytes.Buffer, entries []CostEntry) {
	if len(c.SubmodelRuns) == 0 {
		return
	}
	place := make(map[string]int64, len(entries))
	for i, e := range entries {
		place[e.Signature] = int64(i)
	}
	b.WriteString(",\n \"submodel_runs\": [")
	for i, r := range sortedRuns(c.SubmodelRuns) {
		if i > 0 {
			b.WriteByte(',')
		}
		t := runText{
			Units: [][2]int64{}, Inputs: r.Inputs, InputBytes: r.InputBytes, Outputs: r.Outputs, OutputBytes: r.OutputBytes,
			MedianUs: r.MedianUs, SpreadUs: r.SpreadUs, FirstUs: r.FirstUs, Runs: r.Runs, Model: r.Model, Whole: r.Whole, Shared: r.Shared,
		}
		for _, u := range r.Units {
			t.Units = append(t.Units, [2]int64{place[u.Signature], u.Count})
		}
		b.WriteString("\n  ")
		b.Write(encodeJSON(t))
	}
	b.WriteString("\n ]")
}

// sortedRuns is the runs ascending by key.
func sortedRuns(runs []SubmodelRun) []SubmodelRun {
	type keyed struct {
		key string
		run SubmodelRun
	}
	list := make([]keyed, len(runs))
	for i := range runs {
		list[i] = keyed{runs[i].Key(), runs[i]}
	}
	slices.SortStableFunc(list, func(a, b keyed) int { return cmp.Compare(a.key, b.key) })
	out := make([]SubmodelRun, len(list))
	for i := range list {
		out[i] = list[i].run
	}
	return out
}

// mergeRuns takes over newer runs: they replace those that hold the same.
func (c *CostFile) mergeRuns(newer []SubmodelRun) {
	if len(newer) == 0 {
		return
	}
	at := make(map[string]int, len(c.SubmodelRuns))
	for i := range c.SubmodelRuns {
		at[c.SubmodelRuns[i].Key()] = i
	}
	for _, r := range newer {
		k := r.Key()
		if i, ok := at[k]; ok {
			c.SubmodelRuns[i] = r
		} else {
			at[k] = len(c.SubmodelRuns)
			c.SubmodelRuns = append(c.SubmodelRuns, r)
		}
	}
	c.SubmodelRuns = sortedRuns(c.SubmodelRuns)
}

// checkRuns says what would not survive writing and reading; known are the
// signatures that have an entry.
func (c *CostFile) checkRuns(known map[string]bool) error {
	seen := make(map[string]bool, len(c.SubmodelRuns))
	for i := range c.SubmodelRuns {
		r := &c.SubmodelRuns[i]
		if err := r.check(); err != nil {
			return fmt.Errorf("sub-model run %d: %w", i+1, err)
		}
		for _, u := range r.Units {
			if !known[u.Signature] {
				return fmt.Errorf("sub-model run %d: %s has no entry", i+1, quoted(u.Signature))
			}
		}
		k := r.Key()
		if seen[k] {
			return fmt.Errorf("sub-model run %d is there twice", i+1)
		}
		seen[k] = true
	}
	return nil
}

func (r *SubmodelRun) check() error {
	switch {
	case len(r.Units) == 0:
		return fmt.Errorf("it has no units")
	case r.Inputs < 0 || r.InputBytes < 0 || r.Outputs < 0 || r.OutputBytes < 0:
		return fmt.Errorf("numbers and sizes of inputs and outputs must be at least 0")
	case r.Runs < 1:
		return fmt.Errorf("runs is %d, expected at least 1", r.Runs)
	case !utf8.ValidString(r.Model):
		return fmt.Errorf("the text %s is not UTF-8", quoted(r.Model))
	}
	for i, u := range r.Units {
		if u.Count < 1 {
			return fmt.Errorf("a unit is there %d times, expected at least once", u.Count)
		}
		if i > 0 && u.Signature <= r.Units[i-1].Signature {
			return fmt.Errorf("its units must ascend")
		}
	}
	if err := checkMicros("median_us", r.MedianUs); err != nil {
		return err
	}
	if err := checkMicros("first_us", r.FirstUs); err != nil {
		return err
	}
	return checkMicros("spread_us", r.SpreadUs)
}

// readRun is a run as it stands in the file.
type readRun struct {
	SubmodelRun
	places [][2]int64
	start  int64
}

func (r *costReader) runs(v value) []readRun {
	if v.tok != json.Delim('[') {
		r.wrong(v, "submodel_runs", "a list")
		return nil
	}
	var out []readRun
	for {
		v := r.value()
		if r.broken || v.tok == json.Delim(']') {
			return out
		}
		before := len(r.errs)
		run := readRun{start: v.start}
		if ok := r.object(v, "a sub-model run", requiredRunKeys, runKeys[:], func(key string, v value) { r.runField(&run, key, v) }); ok && len(r.errs) == before {
			out = append(out, run)
		}
	}
}

func (r *costReader) runField(run *readRun, key string, v value) {
	switch key {
	case "units":
		run.places = r.places(v)
	case "inputs":
		run.Inputs = r.whole(v, key)
	case "input_bytes":
		run.InputBytes = r.whole(v, key)
	case "outputs":
		run.Outputs = r.whole(v, key)
	case "output_bytes":
		run.OutputBytes = r.whole(v, key)
	case "median_us":
		run.MedianUs = r.number(v, key)
	case "spread_us":
		run.SpreadUs = r.number(v, key)
	case "first_us":
		run.FirstUs = r.number(v, key)
	case "runs":
		run.Runs = r.whole(v, key)
	case "model":
		run.Model = r.text(v, key)
	case "whole":
		run.Whole = r.truth(v, key)
	case "shared":
		run.Shared = r.truth(v, key)
	}
}

func (r *costReader) truth(v value, what string) bool {
	b, ok := v.tok.(bool)
	if !ok {
		r.wrong(v, what, "true or false")
	}
	return b
}

// places reads [[place, count], ...].
func (r *costReader) places(v value) [][2]int64 {
	if v.tok != json.Delim('[') {
		r.wrong(v, "units", "a list of [entry, count]")
		return nil
	}
	var out [][2]int64
	for {
		v := r.value()
		if r.broken || v.tok == json.Delim(']') {
			return out
		}
		if v.tok != json.Delim('[') {
			r.wrong(v, "units", "[entry, count]")
			continue
		}
		var pair []int64
		for {
			n := r.value()
			if r.broken || n.tok == json.Delim(']') {
				break
			}
			pair = append(pair, r.whole(n, "units"))
		}
		if len(pair) != 2 {
			r.failAt(v.start, "units: expected [entry, count], found %d numbers", len(pair))
			continue
		}
		out = append(out, [2]int64{pair[0], pair[1]})
	}
}

// resolveRuns turns places into signatures, once all entries are known.
func (r *costReader) resolveRuns(c *CostFile, runs []readRun) {
	if len(runs) == 0 || len(r.errs) > 0 {
		return
	}
	slices.SortFunc(c.Entries, func(a, b CostEntry) int { return cmp.Compare(a.Signature, b.Signature) })
	seen := map[string]bool{}
	for _, run := range runs {
		bad := false
		for _, p := range run.places {
			if bad = p[0] < 0 || p[0] >= int64(len(c.Entries)); bad {
				r.failAt(run.start, "a sub-model run names entry %d, there are %d", p[0], len(c.Entries))
				break
			}
			run.Units = append(run.Units, UnitCount{c.Entries[p[0]].Signature, p[1]})
		}
		if bad {
			continue
		}
		if err := run.check(); err != nil {
			r.failAt(run.start, "a sub-model run: %v", err)
			continue
		}
		k := run.Key()
		if seen[k] {
			r.failAt(run.start, "this sub-model run is there twice")
			continue
		}
		seen[k] = true
		c.SubmodelRuns = append(c.SubmodelRuns, run.SubmodelRun)
	}
	c.SubmodelRuns = sortedRuns(c.SubmodelRuns)
}
