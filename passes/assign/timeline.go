package assign

import (
	"cmp"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// timeline is when a processor is busy: spans in order of time, in chunks of which each knows its widest gap, so that a
// search for a gap passes over those where there is none. Searches and insertions take time in the size and in the number of
// chunks.
type timeline struct {
	chunks [][]span
	widest []ir.Time // by chunk: the longest time between a span of it and the span before
	ends   []ir.Time // by chunk: the end of its last span
}

// chunkSpans is the size at which a chunk is split.
const chunkSpans = 512

// gap is the earliest start not before ready at which cost fits.
func (t *timeline) gap(ready, cost ir.Time) ir.Time {
	// Gaps before the first span that ends after ready are too early.
	c, _ := slices.BinarySearch(t.ends, ready)
	at := ready
	if c == len(t.ends) {
		return at
	}
	row := t.chunks[c]
	i, _ := slices.BinarySearchFunc(row, ready, func(s span, at ir.Time) int { return cmp.Compare(s.end, at) })
	for {
		for ; i < len(row); i++ {
			if at+cost <= row[i].start {
				return at
			}
			at = max(at, row[i].end)
		}
		for c++; c < len(t.widest) && t.widest[c] < cost; c++ {
		}
		at = max(at, t.ends[c-1])
		if c == len(t.widest) {
			return at
		}
		row, i = t.chunks[c], 0
	}
}

// add puts a span where gap found room for it.
func (t *timeline) add(s span) {
	if len(t.chunks) == 0 {
		t.chunks, t.widest, t.ends = [][]span{{s}}, []ir.Time{s.start}, []ir.Time{s.end}
		return
	}
	// Behind all that starts earlier, and behind spans of no length at the same moment.
	c, _ := slices.BinarySearchFunc(t.chunks, s, func(row []span, s span) int { return row[len(row)-1].before(s) })
	c = min(c, len(t.chunks)-1)
	row := t.chunks[c]
	i, _ := slices.BinarySearchFunc(row, s, span.before)
	t.chunks[c] = slices.Insert(row, i, s)
	if row = t.chunks[c]; len(row) > chunkSpans {
		t.chunks = slices.Insert(t.chunks, c+1, slices.Clone(row[chunkSpans/2:]))
		t.chunks[c] = row[:chunkSpans/2]
		t.widest = slices.Insert(t.widest, c+1, 0)
		t.ends = slices.Insert(t.ends, c+1, 0)
		t.measure(c + 1)
	}
	t.measure(c)
	t.measure(c + 1)
}

// before orders spans by start, then by end.
func (s span) before(other span) int {
	return cmp.Or(cmp.Compare(s.start, other.start), cmp.Compare(s.end, other.end))
}

// measure works out the widest gap of a chunk.
func (t *timeline) measure(c int) {
	if c >= len(t.chunks) {
		return
	}
	var end ir.Time
	if c > 0 {
		end = t.ends[c-1]
	}
	t.widest[c] = 0
	for _, s := range t.chunks[c] {
		t.widest[c] = max(t.widest[c], s.start-end)
		end = max(end, s.end)
	}
	t.ends[c] = t.chunks[c][len(t.chunks[c])-1].end
}
