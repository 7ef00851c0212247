package compiler

import (
	"cmp"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// command is the command line that repeats a compilation. Paths are without their
// folders, so that bundles made in different places are the same.
func (o *Options) command() string {
	args := []string{"dnnsplit", filepath.Base(o.Model), "--devices", filepath.Base(filepath.Clean(o.Devices)) + "/"}
	add := func(flag, value string) { args = append(args, "--"+flag, value) }
	if o.Objective.String() != "latency" {
		add("objective", o.Objective.String())
	}
	if n := o.submodels(); n == 0 {
		add("submodels", "auto")
	} else if n > 1 {
		add("submodels", strconv.Itoa(n))
	}
	for _, name := range sortedKeys(o.Dims) {
		add("shape", fmt.Sprintf("%s=%d", name, o.Dims[name]))
	}
	for _, name := range sortedKeys(o.Inputs) {
		add("shape", name+"="+strings.Join(strings.Fields(strings.Trim(fmt.Sprint(o.Inputs[name]), "[]")), ","))
	}
	if o.Source != "" {
		add("source", o.Source)
	}
	if o.Sink != "" {
		add("sink", o.Sink)
	}
	for _, name := range o.Only {
		add("only", name)
	}
	for _, r := range o.Pins {
		add("pin", r.Pattern+"="+r.Processor)
	}
	for _, r := range o.Forbids {
		add("forbid", r.Pattern+"="+r.Processor)
	}
	for _, s := range o.Same {
		add("same", s)
	}
	if o.Reuse != "" {
		add("reuse", filepath.Base(o.Reuse))
	}
	if len(o.Place) > 0 {
		add("placement", filepath.Base(o.PlacementFile))
	}
	if o.KeepFunctions {
		add("inline", "never")
	}
	if w := weightsText(o.Weights); w != "" {
		add("weights", w)
	}
	if o.Seed != 0 {
		add("seed", strconv.FormatUint(o.Seed, 10))
	}
	if o.TimeLimit != 0 {
		add("time-limit", o.TimeLimit.String())
	}
	for i, a := range args {
		args[i] = shellQuote(a)
	}
	return strings.Join(args, " ")
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// shellQuote quotes an argument for a POSIX shell where it must be.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./=,:@%+", r)
	}
	if s != "" && strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
