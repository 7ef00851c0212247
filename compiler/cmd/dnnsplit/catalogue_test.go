package main

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/race"
)

// catalogueEntry is a message of compiler/docs/errors.md, with "…" for what is filled in.
type catalogueEntry struct {
	text    string
	pattern *regexp.Regexp // unanchored
	letters int            // without the holes
}

var (
	codeSpan = regexp.MustCompile("`` (.+?) ``|`([^`]+)`")
	hasHole  = regexp.MustCompile(` ?(?:` + hole + `)+ ?`)
)

// newEntry is a message with its pattern. Around what is filled in a space may be lost.
func newEntry(text string) catalogueEntry {
	parts := hasHole.Split(text, -1)
	for i, p := range parts {
		parts[i] = regexp.QuoteMeta(p)
	}
	return catalogueEntry{text, regexp.MustCompile(strings.Join(parts, `.*`)), letters(text)}
}

func letters(text string) int {
	n := 0
	for _, r := range text {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			n++
		}
	}
	return n
}

// covers says whether the entry is about a text of the program: it matches all of
// it, and most words of it are the entry's own.
func (e *catalogueEntry) covers(text string) bool {
	text = strings.TrimSpace(text)
	at := e.pattern.FindStringIndex(text)
	return at != nil && at[0] == 0 && at[1] == len(text) && 10*e.letters >= 6*letters(text)
}

// catalogue reads the messages of compiler/docs/errors.md: what is set as code in
// the first column of its tables and in its lists.
func catalogue(t *testing.T, root string) []catalogueEntry {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(root, "compiler", "docs", "errors.md"))
	if err != nil {
		t.Fatal(err)
	}
	var list []catalogueEntry
	for _, line := range strings.Split(string(page), "\n") {
		cell := ""
		switch {
		case strings.HasPrefix(line, "| `"):
			cell, _, _ = strings.Cut(line[2:], " | ")
		case strings.HasPrefix(line, "- `"):
			cell = line[2:]
		}
		for _, m := range codeSpan.FindAllStringSubmatch(cell, -1) {
			list = append(list, newEntry(strings.ReplaceAll(m[1]+m[2], `\|`, "|")))
		}
	}
	if len(list) < 500 {
		t.Fatalf("only %d messages were found", len(list))
	}
	return list
}

// TestErrorsPage keeps the page of errors whole and true: every sentence that the
// program can say about what is wrong is on it, and what is on it can be said.
func TestErrorsPage(t *testing.T) {
	if race.Enabled {
		t.Skip("the source is read in one goroutine, which takes long with the race detector")
	}
	root := filepath.Join("..", "..", "..")
	sentences, entries := findSentences(t, root), catalogue(t, root)
	used := make([]bool, len(entries))
	for _, s := range sentences {
		covered := false
		for i := range entries {
			if entries[i].covers(s.text) {
				covered, used[i] = true, true
			}
		}
		if !covered {
			t.Errorf("%s: compiler/docs/errors.md does not have %q", s.at, s.text)
		}
	}
	for i, e := range entries {
		if !used[i] {
			t.Errorf("compiler/docs/errors.md has %q, which the program never says", e.text)
		}
	}
	t.Logf("%d sentences in the program, %d messages on the page", len(sentences), len(entries))
}

// seenVariable names the folder where the command leaves what it printed.
const seenVariable = "DNNSPLIT_TEST_SEEN"

// recorded is main that leaves a copy of what it prints in the folder of seenVariable.
func recorded() {
	dir := os.Getenv(seenVariable)
	if dir == "" {
		main()
		return
	}
	var copies [2]bytes.Buffer
	var done [2]chan struct{}
	var writers [2]*os.File
	for i, to := range []**os.File{&os.Stdout, &os.Stderr} {
		r, w, err := os.Pipe()
		if err != nil {
			panic(err)
		}
		out := *to
		*to, writers[i], done[i] = w, w, make(chan struct{})
		go func() {
			defer close(done[i])
			_, _ = io.Copy(io.MultiWriter(&copies[i], out), r)
		}()
	}
	code := run()
	for i := range writers {
		_ = writers[i].Close()
		<-done[i]
	}
	if f, err := os.CreateTemp(dir, "seen-*"); err == nil {
		_, _ = f.Write(append(copies[0].Bytes(), copies[1].Bytes()...))
		_ = f.Close()
	}
	os.Exit(code)
}

// checkExercised wants every message of the page of errors among what scripts made
// the command print, or among what a Go test expects, or in the list of those that
// neither is known to see. Messages that depend on time are in the list, too.
func checkExercised(t *testing.T, root, seen string) {
	t.Helper()
	var outputs, expected []string
	files, err := os.ReadDir(seen)
	if err != nil || len(files) == 0 {
		t.Fatalf("nothing was seen: %v", err)
	}
	printed := map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(filepath.Join(seen, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(string(text), "\n") {
			if !printed[line] {
				printed[line] = true
				outputs = append(outputs, line)
			}
		}
	}
	expected = expectations(t, root)
	text, err := os.ReadFile(filepath.Join(root, "testdata", "errors-unseen.txt"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, line := range strings.Split(string(text), "\n") {
		if line != "" && !strings.HasPrefix(line, "#") {
			known[line] = true
		}
	}
	byScript, byTest, unseen := 0, 0, 0
	for _, e := range catalogue(t, root) {
		listed := known[e.text]
		delete(known, e.text)
		switch {
		case e.among(outputs):
			byScript++
		case e.among(expected) || e.quoted(expected):
			byTest++
		default:
			if unseen++; !listed {
				t.Errorf("no script and no test sees %q, and testdata/errors-unseen.txt does not list it", e.text)
			}
			continue
		}
		if listed {
			t.Logf("testdata/errors-unseen.txt lists %q, which is seen", e.text)
		}
	}
	for _, text := range slices.Sorted(maps.Keys(known)) {
		t.Errorf("testdata/errors-unseen.txt lists %q, which compiler/docs/errors.md does not have", text)
	}
	t.Logf("%d messages are seen by scripts, %d more are expected by tests, %d by neither", byScript, byTest, unseen)
	if byScript < 100 {
		t.Errorf("only %d messages were seen by scripts", byScript)
	}
}

func (e *catalogueEntry) among(lines []string) bool {
	for _, l := range lines {
		if e.pattern.MatchString(l) {
			return true
		}
	}
	return false
}

// quoted says whether a test expects a good part of the message.
func (e *catalogueEntry) quoted(expected []string) bool {
	for _, segment := range strings.Split(e.text, hole) {
		segment = strings.TrimSpace(segment)
		for _, x := range expected {
			if 10*letters(x) >= 4*e.letters && len(x) >= 9 && strings.Contains(segment, x) {
				return true
			}
			if 10*letters(segment) >= 6*e.letters && len(segment) >= 8 && strings.Contains(x, segment) {
				return true
			}
		}
	}
	return false
}

// wanted is a line of a script that holds output against a pattern.
var wanted = regexp.MustCompile(`(?m)^(?:\[[^\]]*\] )?std(?:err|out) '(.*)'$`)

// expectations are the texts in Go tests, and the lines of their data.
func expectations(t *testing.T, root string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != root:
			return filepath.SkipDir
		case strings.HasSuffix(path, ".txtar"):
			text, err := os.ReadFile(path)
			list = append(list, strings.Split(string(text), "\n")...)
			return err
		case strings.Contains(filepath.ToSlash(path), "testdata/script/"):
			text, err := os.ReadFile(path)
			for _, m := range wanted.FindAllStringSubmatch(string(text), -1) {
				list = append(list, strings.ReplaceAll(m[1], `\`, ""))
			}
			return err
		case !strings.HasSuffix(path, "_test.go") && !strings.Contains(filepath.ToSlash(path), "onnxtest/hostile"): // what those say is tested
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil && strings.Contains(text, " ") {
					list = append(list, text)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}
