package shape

import (
	"strconv"
	"strings"
)

// Exporters name extents by expressions of other extents: "past + seq",
// "sequence_length//2". The grammar read here is
//
//	sum     = product { (" + " | " - ") product }
//	product = factor { ("*" | "//") factor }
//	factor  = number | name | "(" sum ")" | ("floor" | "min" | "max") "(" …)
//
// without the functions, which no exporter writes into inputs. A text counts as
// an expression only if every name in it is a symbol that some input declares on
// its own.

// isPlainName says whether an extent's name cannot be an expression.
func isPlainName(s string) bool { return !strings.ContainsAny(s, "+*/( ") }

type extentParser struct {
	in   *inferrer
	rest string
	deep int
}

// parseExtent is the expression that text stands for, nil if it is none.
func (in *inferrer) parseExtent(text string) *expr {
	if len(text) > maxText {
		return nil
	}
	p := &extentParser{in: in, rest: text}
	e := p.sum()
	if e == nil || strings.TrimSpace(p.rest) != "" {
		return nil
	}
	return e
}

func (p *extentParser) take(prefix string) bool {
	s := strings.TrimLeft(p.rest, " ")
	if strings.HasPrefix(s, prefix) {
		p.rest = s[len(prefix):]
		return true
	}
	return false
}

func (p *extentParser) sum() *expr {
	e := p.product()
	for e != nil {
		var sign int64
		switch {
		case p.take("+"):
			sign = 1
		case p.take("- "):
			sign = -1
		default:
			return e
		}
		t := p.product()
		if t == nil {
			return nil
		}
		e = p.in.al.add(e, p.in.al.mul(p.in.al.n(sign), t))
	}
	return nil
}

func (p *extentParser) product() *expr {
	e := p.factor()
	for e != nil {
		switch {
		case p.take("*"):
			f := p.factor()
			if f == nil {
				return nil
			}
			e = p.in.al.mul(e, f)
		case p.take("//"):
			f := p.factor()
			if n, ok := f.constant(); !ok || n <= 0 {
				return nil
			}
			e = p.in.al.floorDiv(e, f)
		default:
			return e
		}
	}
	return nil
}

func (p *extentParser) factor() *expr {
	if p.take("(") {
		if p.deep++; p.deep > 20 {
			return nil
		}
		e := p.sum()
		if e == nil || !p.take(")") {
			return nil
		}
		return e
	}
	s := strings.TrimLeft(p.rest, " ")
	end := strings.IndexAny(s, "+*/() ")
	if end < 0 {
		end = len(s)
	}
	word := s[:end]
	p.rest = s[end:]
	if n, err := strconv.ParseInt(word, 10, 32); err == nil {
		return p.in.al.n(n)
	}
	return p.in.symbols[word]
}
