package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dnnsplit/dnnsplit/compiler/race"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestDocs runs every command of the documentation. A page is one session: its
// fenced blocks with a file name behind the language are files, those in sh are
// run, in order, in a folder that has testdata/ and profiles/ of the repository. A
// block of text right behind one in sh is what its last command prints, to the letter.
// Commands of make are wanted in the Makefile of the repository unless the page has
// one of its own; go install is not run.
func TestDocs(t *testing.T) {
	if race.Enabled {
		t.Skip("pages ask for nothing that scripts do not; with the race detector they take long")
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("there is no sh")
	}
	root, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(root, "compiler", "docs", "*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	dir := t.TempDir()
	for _, page := range append(pages, filepath.Join(root, "README.md"), filepath.Join(root, "profiles", "README.md")) {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		script, err := pageScript(string(text), filepath.Join(root, "Makefile"))
		if err != nil {
			t.Errorf("%s: %v", page, err)
			continue
		}
		if script == "" {
			continue
		}
		name := strings.ToLower(strings.TrimSuffix(filepath.Base(page), ".md"))
		if strings.Contains(page, "profiles"+string(filepath.Separator)) {
			name = "profiles-folder"
		}
		if err := os.WriteFile(filepath.Join(dir, name+".txt"), []byte(script), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := scriptParams(t, root, dir)
	setup := p.Setup
	p.Setup = func(e *testscript.Env) error {
		for _, name := range []string{"testdata", "profiles"} {
			if err := os.Symlink(filepath.Join(root, name), filepath.Join(e.WorkDir, name)); err != nil {
				return err
			}
		}
		return setup(e)
	}
	testscript.Run(t, p)
}

var fence = regexp.MustCompile("(?ms)^```([a-z]*)(?: ([^\n]+))?\n(.*?)^```$")

// pageScript is a page as a script with its files; "" if it has no command.
func pageScript(text, makefile string) (string, error) {
	var shell, files strings.Builder
	ownMakefile := false
	shown, end := 0, -1 // blocks of output; where the last block in sh ends
	for _, at := range fence.FindAllStringSubmatchIndex(text, -1) {
		part := func(i int) string {
			if at[2*i] < 0 {
				return ""
			}
			return text[at[2*i]:at[2*i+1]]
		}
		language, file, body := part(1), part(2), part(3)
		switch {
		case file == "" && language == "text" && end >= 0 && strings.TrimSpace(text[end:at[0]]) == "":
			shown++
			commands := strings.TrimSuffix(shell.String(), "\n")
			shell.Reset()
			fmt.Fprintf(&shell, "%s > shown-%d.txt 2>&1\ndiff -u printed-%d.txt shown-%d.txt\n", commands, shown, shown, shown)
			fmt.Fprintf(&files, "-- printed-%d.txt --\n%s", shown, body)
		case file != "":
			fmt.Fprintf(&files, "-- %s --\n%s", file, body)
			ownMakefile = ownMakefile || file == "Makefile"
		case language == "sh":
			shell.WriteString(body)
		}
		if end = -1; file == "" && language == "sh" {
			end = at[1]
		}
	}
	if shell.Len() == 0 {
		return "", nil
	}
	rules, err := os.ReadFile(makefile)
	if err != nil {
		return "", err
	}
	lines := strings.Split(shell.String(), "\n")
	for i, l := range lines {
		switch words := strings.Fields(l); {
		case len(words) > 1 && words[0] == "make" && !ownMakefile:
			if !strings.Contains(string(rules), "\n"+words[1]+":") {
				return "", fmt.Errorf("%q: the Makefile has no such target", l)
			}
			lines[i] = ":"
		case strings.HasPrefix(l, "go install "):
			lines[i] = ":"
		default:
			lines[i] = strings.ReplaceAll(l, "go run ./compiler/cmd/dnnsplit", "dnnsplit")
		}
	}
	return "exec sh -e commands.sh\n" + files.String() + "-- commands.sh --\n" + strings.Join(lines, "\n"), nil
}
