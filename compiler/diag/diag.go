// Package diag carries what the compiler has to say about bad input, and stops
// on broken invariants of its own.
package diag

import (
	"fmt"
	"strings"
)

// Error is bad input: where it stands and what is wrong with it.
type Error struct {
	File  string // "" if it concerns no file
	Line  int    // 1-based; 0 if unknown
	Col   int    // 1-based; 0 if unknown
	Node  string // "" if it concerns no node
	Value string // "" if it concerns no value
	Msg   string // what is wrong, and what to do; lower case, no full stop
	Err   error  // cause; may be nil
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File)
		if e.Line > 0 {
			fmt.Fprintf(&b, ":%d", e.Line)
			if e.Col > 0 {
				fmt.Fprintf(&b, ":%d", e.Col)
			}
		}
		b.WriteString(": ")
	}
	if e.Node != "" {
		fmt.Fprintf(&b, "node %q: ", e.Node)
	}
	if e.Value != "" {
		fmt.Fprintf(&b, "value %q: ", e.Value)
	}
	b.WriteString(e.Msg)
	if e.Err != nil {
		if e.Msg != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// List is several problems found in one run, in the order in which they stand in the input.
type List []error

func (l List) Error() string {
	lines := make([]string, 0, len(l))
	for i, e := range l {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("and %d more", len(l)-maxShown))
			break
		}
		lines = append(lines, e.Error())
	}
	return strings.Join(lines, "\n")
}

const maxShown = 20

func (l List) Unwrap() []error { return l }

// Err is nil for an empty list, the one error of a list of one, else the list.
func (l List) Err() error {
	switch len(l) {
	case 0:
		return nil
	case 1:
		return l[0]
	}
	return l
}

// Bug is a broken invariant: a fault of this program, not of its input.
type Bug struct{ Msg string }

func (b *Bug) Error() string { return b.Msg }

// Bugf panics with a Bug. Only package compiler recovers it.
func Bugf(format string, args ...any) { panic(&Bug{fmt.Sprintf(format, args...)}) }
