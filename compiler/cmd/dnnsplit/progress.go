package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/dnnsplit/dnnsplit/compiler"
)

// progressLine is the line at the bottom of a terminal that says what is being
// done. It is drawn again a few times a second, so that it moves while a stage
// says nothing.
type progressLine struct {
	to    io.Writer
	width func() int // of the terminal now; nil: it is none, and nothing is drawn

	mu      sync.Mutex
	started time.Time          // first progress of the command
	now     *compiler.Progress // nil: no line
	drawn   bool               // it stands on the terminal
	stop    chan struct{}      // ends what draws; nil: nothing does
}

// Times of a progress line: nothing is shown of what takes less than firstDrawn.
const (
	firstDrawn = time.Second
	drawEvery  = 200 * time.Millisecond
)

// show says what is being done from now on.
func (l *progressLine) show(p compiler.Progress) {
	if l.width == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.started.IsZero() {
		l.started = time.Now()
	}
	another := l.now == nil || l.now.Stage != p.Stage
	l.now = &p
	if l.stop == nil {
		l.stop = make(chan struct{})
		go l.keepDrawing(l.stop)
	}
	if another {
		l.draw()
	}
}

func (l *progressLine) keepDrawing(stop chan struct{}) {
	tick := time.NewTicker(drawEvery)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			l.mu.Lock()
			if l.stop == stop {
				l.draw()
			}
			l.mu.Unlock()
		}
	}
}

// draw draws the line; the lock is held.
func (l *progressLine) draw() {
	passed := time.Since(l.started)
	if l.now == nil || passed < firstDrawn {
		return
	}
	l.drawn = true
	fmt.Fprintf(l.to, "\r\x1b[K%s", progressText(*l.now, passed, l.width()-1))
}

// end takes the line off the terminal until there is more progress.
func (l *progressLine) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drawn {
		fmt.Fprint(l.to, "\r\x1b[K")
	}
	l.drawn, l.now = false, nil
	if l.stop != nil {
		close(l.stop)
		l.stop = nil
	}
}

// progressText is a line such as
//
//	place      12 s  search: best 1.234 ms, gap 3.2%, 45.6 k plans/s
//
// of at most width columns: where that is too few the step goes first, then what
// stands last in the note.
func progressText(p compiler.Progress, passed time.Duration, width int) string {
	share := ""
	if p.Done >= 0 {
		share = fmt.Sprintf("  %3.0f%%", 100*p.Done)
	}
	wide := fmt.Sprintf("%-8s %4.0f s", p.Stage, passed.Seconds()) + share
	narrow := fmt.Sprintf("%s %.0f s", p.Stage, passed.Seconds()) + share
	note := printable(p.Note)
	full := note
	if step := printable(p.Step); step != "" && note != "" {
		full = step + ": " + note
	} else if step != "" {
		full, note = step, step
	}
	if full == "" {
		return clip(wide, width)
	}
	for _, text := range []string{wide + "  " + full, narrow + "  " + full, narrow + "  " + note} {
		if textWidth(text) <= width {
			return text
		}
	}
	parts := strings.Split(note, ", ")
	for len(parts) > 1 {
		parts = parts[:len(parts)-1]
		if text := narrow + "  " + strings.Join(parts, ", "); textWidth(text) <= width {
			return text
		}
	}
	return clip(narrow+"  "+note, width)
}

// progress says what the command is doing, to the terminal and the stopwatch.
func (u *ui) progress(p compiler.Progress) {
	if u.watch != nil {
		u.watch.enter(p.Stage)
	}
	if !u.quiet {
		u.status.show(p)
	}
}

func (u *ui) endProgress() { u.status.end() }
