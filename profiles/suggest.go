package profiles

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// suggest is the candidate that a misspelt name most likely stands for, or "".
// Case does not count; ties go to the earlier candidate.
func suggest(name string, candidates []string) string {
	const longest = 64 // the names of profiles are shorter; bounds the work for hostile ones
	if len(name) > longest {
		return ""
	}
	runes := utf8.RuneCountInString(name)
	best, bestDistance := "", min(runes, 1+max(1, runes/3)) // something of the name must be right
	for _, c := range candidates {
		if len(c) > longest {
			continue
		}
		if d := editDistance(strings.ToLower(name), strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// DidYouMean is the tail of a sentence about a name that is not among the candidates:
// `, did you mean "cpu"?` with the one that it most likely stands for, or "".
func DidYouMean(name string, candidates []string) string {
	if s := suggest(name, candidates); s != "" {
		return ", did you mean " + strconv.Quote(s) + "?"
	}
	return ""
}

// editDistance counts insertions, deletions, substitutions and swaps of
// neighbours that turn a into b (optimal string alignment).
func editDistance(a, b string) int {
	s, t := []rune(a), []rune(b)
	width := len(t) + 1
	d := make([]int, (len(s)+1)*width)
	for i := range len(s) + 1 {
		d[i*width] = i
	}
	for j := range width {
		d[j] = j
	}
	for i := 1; i <= len(s); i++ {
		for j := 1; j <= len(t); j++ {
			substitution := 1
			if s[i-1] == t[j-1] {
				substitution = 0
			}
			best := min(d[(i-1)*width+j]+1, d[i*width+j-1]+1, d[(i-1)*width+j-1]+substitution)
			if i > 1 && j > 1 && s[i-1] == t[j-2] && s[i-2] == t[j-1] {
				best = min(best, d[(i-2)*width+j-2]+1)
			}
			d[i*width+j] = best
		}
	}
	return d[len(d)-1]
}

// quoted is a text of the input for a message: in quotes, and cut if it is long.
func quoted(s string) string {
	const longest = 60
	if len(s) > longest {
		cut := longest
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "…"
	}
	return strconv.Quote(s)
}
