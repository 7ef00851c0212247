package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// TestHelpGroups wants every flag that is not hidden in exactly one group.
func TestHelpGroups(t *testing.T) {
	root, _ := newTestRoot()
	for _, c := range append([]*cobra.Command{root}, described(root)...) {
		seen := map[string]int{}
		for _, g := range flagGroups(c) {
			for _, f := range g.flags {
				seen[f.Name]++
			}
		}
		all := func(f *pflag.Flag) {
			if want := 1; !f.Hidden && seen[f.Name] != want {
				t.Errorf("%s: --%s stands %d times in the help", c.CommandPath(), f.Name, seen[f.Name])
			}
		}
		c.LocalFlags().VisitAll(all)
		c.InheritedFlags().VisitAll(all)
	}
}

// TestHelpFits wants what flags do within the terminal, also on a narrow one.
func TestHelpFits(t *testing.T) {
	for _, width := range []int{44, 80, 200} {
		u := &ui{out: io.Discard, err: io.Discard, outWidth: width}
		var out bytes.Buffer
		root := newRoot(u, &developer{})
		printHelp(u, root, &out)
		_, flags, found := strings.Cut(out.String(), "\nOptions:\n")
		if !found || !strings.Contains(flags, "--max-structure") {
			t.Fatalf("at %d columns the flags are missing:\n%s", width, out.String())
		}
		flags, _, _ = strings.Cut(flags, "\n\"dnnsplit COMMAND")
		for _, line := range strings.Split(flags, "\n") {
			if most := min(width, helpWidth); textWidth(line) > most && !strings.Contains(line, "--") {
				t.Errorf("at %d columns a line has %d: %s", width, textWidth(line), line)
			}
		}
	}
}
