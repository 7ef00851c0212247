package main

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler"
)

// TestProgressText fits lines to terminals: whole facts go before any is cut.
func TestProgressText(t *testing.T) {
	search := compiler.Progress{Stage: "place", Step: "search", Done: -1, Note: "best 1.234 ms, gap 3.2%, 45.6 k plans/s"}
	write := compiler.Progress{Stage: "write", Done: 0.5, Note: "500 of 1000 MB, 900 MB/s"}
	for _, c := range []struct {
		p     compiler.Progress
		width int
		want  string
	}{
		{search, 79, "place      12 s  search: best 1.234 ms, gap 3.2%, 45.6 k plans/s"},
		{search, 62, "place 12 s  search: best 1.234 ms, gap 3.2%, 45.6 k plans/s"},
		{search, 52, "place 12 s  best 1.234 ms, gap 3.2%, 45.6 k plans/s"},
		{search, 39, "place 12 s  best 1.234 ms, gap 3.2%"},
		{search, 30, "place 12 s  best 1.234 ms"},
		{search, 20, "place 12 s  best 1.…"},
		{write, 79, "write      12 s   50%  500 of 1000 MB, 900 MB/s"},
		{write, 39, "write 12 s   50%  500 of 1000 MB"},
		{compiler.Progress{Stage: "place", Step: "bounds", Done: -1}, 39, "place      12 s  bounds"},
		{compiler.Progress{Stage: "shapes", Done: -1}, 79, "shapes     12 s"},
		{compiler.Progress{Stage: "verify", Done: -1, Note: "running a\x1b[2J"}, 79, "verify     12 s  running a�[2J"},
	} {
		if got := progressText(c.p, 12*time.Second, c.width); got != c.want {
			t.Errorf("at %d columns %q, want %q", c.width, got, c.want)
		}
	}
}

// lockedText is a terminal that several goroutines write to.
type lockedText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// TestProgressLine draws nothing of what is short or not on a terminal, moves on
// while a stage says nothing, and leaves no trace.
func TestProgressLine(t *testing.T) {
	var to lockedText
	l := progressLine{to: &to, width: func() int { return 80 }}
	l.show(compiler.Progress{Stage: "read", Done: -1})
	l.show(compiler.Progress{Stage: "lower", Done: -1})
	l.end()
	if s := to.String(); s != "" {
		t.Errorf("something short is shown: %q", s)
	}
	l.started = time.Now().Add(-time.Hour)
	l.show(compiler.Progress{Stage: "read", Done: -1})
	for wait := time.Millisecond; strings.Count(to.String(), "read") < 3; wait *= 2 {
		if wait > 10*time.Second {
			t.Fatalf("the line is not drawn again: %q", to.String())
		}
		time.Sleep(wait)
	}
	l.end()
	s := to.String()
	if !strings.HasSuffix(s, "\r\x1b[K") || strings.Contains(s, "\n") {
		t.Errorf("the line is left on the terminal: %q", s)
	}
	time.Sleep(2 * drawEvery)
	if more := to.String(); more != s {
		t.Errorf("it is drawn after its end: %q", more[len(s):])
	}
	plain := progressLine{to: &to}
	plain.started = time.Now().Add(-time.Hour)
	plain.show(compiler.Progress{Stage: "read", Done: -1})
	plain.end()
	if to.String() != s {
		t.Error("progress is drawn where there is no terminal")
	}
}
