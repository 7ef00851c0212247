package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestNotesOfAKind wants a few notes of each kind, a count of the others, and every note
// that is of no kind.
func TestNotesOfAKind(t *testing.T) {
	var list []string
	for i := range 9 {
		list = append(list, fmt.Sprintf("data-dependent: node %d", i), fmt.Sprintf("node %d: it is large", i))
	}
	list = append(list, "assumed-symbol: batch")
	var out bytes.Buffer
	u := &ui{err: &out}
	u.notes(list)
	text := out.String()
	for part, want := range map[string]int{": data-dependent: node ": 4, "is large": 9, "assumed-symbol: batch": 1, "data-dependent: 5 more like these; --format json has them all": 1, "more like": 1} {
		if got := strings.Count(text, part); got != want {
			t.Errorf("%q stands %d times, want %d:\n%s", part, got, want, text)
		}
	}
}
