package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler"
	"golang.org/x/term"
)

// Output rules. What a command was asked for goes to stdout and nothing else
// does. Errors, warnings and progress go to stderr, a line each, starting with
// the program's name. Progress is drawn on a terminal only, and only for what
// takes over a second; it leaves no trace. --quiet drops everything on stderr
// but errors.
type ui struct {
	out, err io.Writer
	quiet    bool
	width    int // of the terminal at stderr; 0 if it is none

	mu      sync.Mutex
	started time.Time // first progress of the command
	drawn   bool      // a progress line stands on the terminal
	last    time.Time
	stage   string
}

func newUI(out, err *os.File) *ui {
	u := &ui{out: out, err: err}
	if fd := int(err.Fd()); term.IsTerminal(fd) && os.Getenv("TERM") != "dumb" {
		u.width = 80
		if w, _, e := term.GetSize(fd); e == nil && w > 0 {
			u.width = w
		}
	}
	return u
}

func (u *ui) printf(format string, args ...any) {
	u.endProgress()
	fmt.Fprintf(u.out, format, args...)
}

func (u *ui) errorf(format string, args ...any) { u.line(fmt.Sprintf(format, args...)) }

func (u *ui) notef(format string, args ...any) {
	if !u.quiet {
		u.line("note: " + fmt.Sprintf(format, args...))
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

// progress draws a line like "place   12 s  62%  best 1.234 ms" over itself.
func (u *ui) progress(p compiler.Progress) {
	if u.width == 0 || u.quiet {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	now := time.Now()
	if u.started.IsZero() {
		u.started = now
	}
	if now.Sub(u.started) < time.Second || (p.Stage == u.stage && now.Sub(u.last) < 100*time.Millisecond) {
		return
	}
	u.last, u.stage, u.drawn = now, p.Stage, true
	text := fmt.Sprintf("%-8s %4.0f s", p.Stage, now.Sub(u.started).Seconds())
	if p.Done >= 0 {
		text += fmt.Sprintf("  %3.0f%%", 100*p.Done)
	}
	if p.Note != "" {
		text += "  " + p.Note
	}
	fmt.Fprintf(u.err, "\r\x1b[K%s", clip(printable(text), u.width-1))
}

func (u *ui) endProgress() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.drawn {
		fmt.Fprint(u.err, "\r\x1b[K")
		u.drawn = false
	}
}

func clip(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	return string(r[:max(width-1, 0)]) + "…"
}

// table prints rows in aligned columns, two spaces apart; columns whose cells
// all look like numbers are aligned to the right.
func (u *ui) table(header []string, rows [][]string) {
	width := make([]int, len(header))
	right := make([]bool, len(header))
	for c, h := range header {
		width[c] = len([]rune(h))
		right[c] = len(rows) > 0
		for _, r := range rows {
			width[c] = max(width[c], len([]rune(printable(r[c]))))
			right[c] = right[c] && (r[c] == "" || r[c] == "-" || strings.ContainsRune("0123456789+-", rune(r[c][0])))
		}
	}
	line := func(cells []string) {
		var b strings.Builder
		for c, cell := range cells {
			cell = printable(cell)
			pad := strings.Repeat(" ", width[c]-len([]rune(cell)))
			if right[c] {
				b.WriteString(pad + cell)
			} else {
				b.WriteString(cell + pad)
			}
			b.WriteString("  ")
		}
		u.printf("%s\n", strings.TrimRight(b.String(), " "))
	}
	line(header)
	for _, r := range rows {
		line(r)
	}
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
