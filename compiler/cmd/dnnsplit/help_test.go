package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// newTestRoot is the command without a terminal, and what it prints.
func newTestRoot() (*cobra.Command, *bytes.Buffer) {
	out := &bytes.Buffer{}
	root := newRoot(&ui{out: out, err: io.Discard}, &developer{})
	root.InitDefaultHelpCmd()
	root.SetOut(out)
	root.SetErr(io.Discard)
	return root, out
}

// TestGoldenHelp holds the help of every command against testdata/golden/help.
func TestGoldenHelp(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "testdata", "golden", "help")
	root, _ := newTestRoot()
	expected := map[string]bool{}
	for _, c := range append([]*cobra.Command{root}, described(root)...) {
		name := strings.ReplaceAll(c.CommandPath(), " ", "-") + ".txt"
		expected[name] = true
		fresh, out := newTestRoot()
		fresh.SetArgs(append(strings.Fields(c.CommandPath())[1:], "--help"))
		if err := fresh.Execute(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, name)
		if *update {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Errorf("%v; go test -run GoldenHelp -update writes it", err)
			continue
		}
		if diff := cmp.Diff(string(want), out.String()); diff != "" {
			t.Errorf("help of %s changed (-golden +now); go test -run GoldenHelp -update takes it over\n%s", c.CommandPath(), diff)
		}
	}
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !expected[f.Name()] {
			t.Errorf("%s is the help of no command", f.Name())
		}
	}
}

// TestHelpLines keeps help readable: an example for every command that does
// something, and lines that fit a narrow terminal.
func TestHelpLines(t *testing.T) {
	root, _ := newTestRoot()
	for _, c := range append([]*cobra.Command{root}, described(root)...) {
		if c.Name() == "completion" || c.HasParent() && c.Parent().Name() == "completion" {
			continue // cobra's own texts
		}
		if c.Example == "" && !c.HasAvailableSubCommands() {
			t.Errorf("%s has no example", c.CommandPath())
		}
		for _, line := range strings.Split(c.Long, "\n") {
			if len(line) > 94 {
				t.Errorf("%s: a line of its help has %d characters: %s", c.CommandPath(), len(line), line)
			}
		}
		for _, line := range strings.Split(c.Example, "\n") {
			if line != "" && !strings.HasPrefix(line, "  ") {
				t.Errorf("%s: an example is not indented: %s", c.CommandPath(), line)
			}
		}
	}
}

// TestScriptsUseEveryFlag walks all commands and their flags, and wants each in a
// script of testdata/script.
func TestScriptsUseEveryFlag(t *testing.T) {
	root, _ := newTestRoot()
	used := map[string]map[string]bool{} // command path → flags
	paths, err := filepath.Glob(filepath.Join("..", "..", "..", "testdata", "script", "*.txt"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			noteUse(root, used, strings.Fields(line))
		}
	}
	for _, c := range append([]*cobra.Command{root}, described(root)...) {
		if c.HasParent() && c.Parent().Name() == "completion" {
			continue
		}
		flags, ran := used[c.CommandPath()]
		if !ran {
			t.Errorf("no script runs %s", c.CommandPath())
			continue
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !f.Hidden && !flags[f.Name] {
				t.Errorf("no script uses %s --%s", c.CommandPath(), f.Name)
			}
		})
	}
}

// noteUse notes the command and the flags of a line of a script.
func noteUse(root *cobra.Command, used map[string]map[string]bool, words []string) {
	for len(words) > 0 && words[0] != "dnnsplit" {
		words = words[1:]
	}
	if len(words) == 0 {
		return
	}
	c := root
	words = words[1:]
	for len(words) > 0 {
		next := (*cobra.Command)(nil)
		for _, sub := range c.Commands() {
			if sub.Name() == words[0] {
				next = sub
			}
		}
		if next == nil {
			break
		}
		c, words = next, words[1:]
	}
	flags := used[c.CommandPath()]
	if flags == nil {
		flags = map[string]bool{}
		used[c.CommandPath()] = flags
	}
	for _, w := range words {
		name, isLong := strings.CutPrefix(strings.Trim(w, `'"`), "--")
		name, _, _ = strings.Cut(name, "=")
		if isLong {
			flags[name] = true
		} else if f := strings.TrimPrefix(w, "-"); len(f) == 1 && f != w {
			if flag := c.Flags().ShorthandLookup(f); flag != nil {
				flags[flag.Name] = true
			}
		}
	}
}
