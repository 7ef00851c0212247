package profiles

import (
	"errors"
	"fmt"
	"strings"
)

// pattern matches operation types: "NonMaxSuppression" (default domain),
// "com.microsoft::*", "ai.onnx.ml::Tree*", "*" (every operation of every domain).
// A * stands for any run of characters.
type pattern struct{ domain, op string }

// canonicalDomain folds the two spellings of the default domain into "".
func canonicalDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// parsePattern reads a pattern.
func parsePattern(s string) (pattern, error) {
	const want = `expected an op type such as NonMaxSuppression, "com.microsoft::*" or "*"`
	if s == "*" {
		return pattern{"*", "*"}, nil
	}
	domain, op, found := strings.Cut(s, "::")
	if !found {
		domain, op = "", s
	} else if domain == "" {
		return pattern{}, fmt.Errorf("%s has nothing in front of ::, %s", quoted(s), want)
	}
	if op == "" {
		return pattern{}, fmt.Errorf("%s names no op type, %s", quoted(s), want)
	}
	for _, part := range []string{domain, op} {
		for _, c := range part {
			if !isPatternRune(c) {
				return pattern{}, fmt.Errorf("%s has the character %q, %s", quoted(s), c, want)
			}
		}
	}
	if strings.Count(s, "*") > 8 {
		return pattern{}, errors.New(quoted(s) + " has more than 8 stars, " + want)
	}
	return pattern{canonicalDomain(domain), op}, nil
}

func isPatternRune(c rune) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("_.-*", c)
}

func (p pattern) matches(domain, op string) bool {
	return glob(p.domain, domain) && glob(p.op, op)
}

// glob matches * as any run of bytes, greedily with one point of return, in
// time linear in len(pattern) × len(s).
func glob(pattern, s string) bool {
	star, resume := -1, 0
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, resume = i, j
			i++
		case i < len(pattern) && pattern[i] == s[j]:
			i++
			j++
		case star >= 0:
			resume++
			i, j = star+1, resume
		default:
			return false
		}
	}
	for i < len(pattern) && pattern[i] == '*' {
		i++
	}
	return i == len(pattern)
}

// patternSet is a list of patterns that answers fast for long lists of names.
type patternSet struct {
	exact map[pattern]bool // without a *
	globs []pattern
}

func (s *patternSet) add(p pattern) {
	if strings.Contains(p.domain, "*") || strings.Contains(p.op, "*") {
		s.globs = append(s.globs, p)
		return
	}
	if s.exact == nil {
		s.exact = map[pattern]bool{}
	}
	s.exact[p] = true
}

func (s *patternSet) matches(domain, op string) bool {
	if s.exact[pattern{domain, op}] {
		return true
	}
	for _, p := range s.globs {
		if p.matches(domain, op) {
			return true
		}
	}
	return false
}

// supports decides by the lists of the profile; domain is canonical.
func (p *Processor) supports(domain, op string) bool {
	if p.supported != nil {
		return p.supported.matches(domain, op)
	}
	return p.unsupported == nil || !p.unsupported.matches(domain, op)
}
