package main

import (
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/term"
)

// Output rules. What a command was asked for goes to stdout and nothing else
// does. Errors, warnings and progress go to stderr, a line each, starting with
// the program's name. Progress is drawn on a terminal only, and only for what
// takes over a second; it leaves no trace. --quiet drops everything on stderr
// but errors. Colour is for terminals that show it and where CLICOLOR_FORCE asks
// for it, never where NO_COLOR is set (no-color.org); tables are fitted to the
// terminal's width.
type ui struct {
	out, err io.Writer
	quiet    bool
	outWidth int        // of the terminal at stdout; 0 if it is none
	colour   bool       // what goes to stdout is coloured
	watch    *stopwatch // nil: nobody asks for timings
	outErr   error      // the first failure to write to out

	status progressLine
}

func newUI(out, err *os.File) *ui {
	u := &ui{out: out, err: err, outWidth: terminalWidth(out)}
	u.status.to = err
	dumb := os.Getenv("TERM") == "dumb"
	if !dumb && terminalWidth(err) > 0 {
		u.status.width = func() int { return terminalWidth(err) }
	}
	u.colour = colours(u.outWidth > 0 && !dumb && showsColours(), os.Getenv)
	return u
}

// colours says whether output is coloured: on terminals that show it, and elsewhere
// where CLICOLOR_FORCE is set to anything but 0; never where NO_COLOR is set.
func colours(shown bool, env func(string) string) bool {
	force := env("CLICOLOR_FORCE")
	return env("NO_COLOR") == "" && (shown || force != "" && force != "0")
}

// terminalWidth is that of the terminal at f, 0 if it is none.
func terminalWidth(f *os.File) int {
	fd := int(f.Fd())
	if !term.IsTerminal(fd) {
		return 0
	}
	if w, _, err := term.GetSize(fd); err == nil && w > 0 {
		return w
	}
	return 80
}

// showsColours says whether terminals here read escape sequences. Old consoles of
// Windows print them; the newer ones announce themselves.
func showsColours() bool {
	return runtime.GOOS != "windows" || os.Getenv("WT_SESSION") != "" || os.Getenv("TERM") != "" || os.Getenv("ANSICON") != ""
}

// quietUsage describes --quiet.
const quietUsage = "no notes and no progress; standard output stays as it is"

// Styles of text: parameters of the escape sequence Select Graphic Rendition (ECMA-48).
const (
	bold  = "1"
	red   = "31"
	green = "32"
)

// styled is text in a style where that can be seen.
func (u *ui) styled(style, text string) string {
	if !u.colour || style == "" || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

func (u *ui) printf(format string, args ...any) {
	u.endProgress()
	if _, err := fmt.Fprintf(u.out, format, args...); u.outErr == nil {
		u.outErr = err
	}
}

func (u *ui) errorf(format string, args ...any) { u.line(fmt.Sprintf(format, args...)) }

func (u *ui) notef(format string, args ...any) {
	if !u.quiet {
		u.line("note: " + fmt.Sprintf(format, args...))
	}
}

// noteKind is how notes begin of which a model can have many.
var noteKind = regexp.MustCompile(`^[a-z]+(-[a-z]+)+: `)

// notes prints notes on a model, a few of each kind.
func (u *ui) notes(list []string) {
	const most = 4
	seen := map[string]int{}
	for _, n := range list {
		if seen[noteKind.FindString(n)]++; seen[noteKind.FindString(n)] <= most || noteKind.FindString(n) == "" {
			u.notef("%s", n)
		}
	}
	var kinds []string
	for kind, n := range seen {
		if kind != "" && n > most {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	for _, kind := range kinds {
		u.notef("%s%d more like these; --format json has them all", kind, seen[kind]-most)
	}
}

func (u *ui) line(text string) {
	u.endProgress()
	for _, l := range strings.Split(text, "\n") {
		fmt.Fprintf(u.err, "dnnsplit: %s\n", printable(l))
	}
}

// printable keeps hostile names from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' && r != '\t' || r == 0x7f || (r >= 0x80 && r < 0xa0) || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return '�'
		}
		return r
	}, s)
}

// bytesText prints a size in binary units: "12.3 MiB".
func bytesText(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for f >= unit && i < 4 {
		f /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[i])
}

// countText prints a count in SI units: "3.58 G".
func countText(n int64) string {
	if n < 1000 {
		return fmt.Sprintf("%d", n)
	}
	f, i := float64(n)/1000, 0
	for f >= 1000 && i < 4 {
		f /= 1000
		i++
	}
	return fmt.Sprintf("%.2f %c", f, "kMGTP"[i])
}
