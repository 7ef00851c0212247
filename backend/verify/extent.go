package verify

import (
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// binder gives numbers to symbolic dimensions, the same number to the same
// symbol everywhere.
type binder struct {
	bound map[string]int64
}

// learn binds the symbols of a shape whose extents are known.
func (b *binder) learn(dims []ir.Dim, extents []int64) {
	if len(dims) != len(extents) {
		return
	}
	for i, d := range dims {
		if d.N >= 0 || d.Sym == "" {
			continue
		}
		if _, ok := b.bound[d.Sym]; !ok {
			b.bound[d.Sym] = extents[i]
		}
	}
}

// ofType is a shape for t. One element is the least that can work where not even the rank is known.
func (b *binder) ofType(t ir.Type) []int64 {
	if t.Rank < 0 {
		return []int64{1}
	}
	return b.shape(t.Shape)
}

// shape gives every dimension an extent.
func (b *binder) shape(dims []ir.Dim) []int64 {
	out := make([]int64, len(dims))
	for i, d := range dims {
		out[i] = b.extent(d, i, len(dims))
	}
	return out
}

// What extents of unnamed and unbound dimensions are likely to work.
var (
	isBatch = regexp.MustCompile(`(?i)batch|^N$|^B$`)
	isPast  = regexp.MustCompile(`(?i)past`)
	isTime  = regexp.MustCompile(`(?i)seq|len|time|^T$`)
	isImage = regexp.MustCompile(`(?i)height|width|^H$|^W$`)
)

const (
	guessBatch  = 1
	guessPast   = 4 // cached tokens
	guessTime   = 16
	guessImage  = 224 // pixels
	guessColour = 3
	guessOther  = 16
)

// extent is the number of dimension d, the i-th of rank.
func (b *binder) extent(d ir.Dim, i, rank int) int64 {
	if d.N >= 0 {
		return d.N
	}
	if n, ok := b.bound[d.Sym]; ok && d.Sym != "" {
		return n
	}
	n := b.guess(d.Sym, i, rank)
	if d.Sym != "" {
		b.bound[d.Sym] = n
	}
	return n
}

func (b *binder) guess(sym string, i, rank int) int64 {
	if n, ok := b.evaluate(sym, i, rank); ok {
		return n
	}
	switch {
	case isBatch.MatchString(sym):
		return guessBatch
	case isPast.MatchString(sym):
		return guessPast
	case isTime.MatchString(sym):
		return guessTime
	case isImage.MatchString(sym):
		return guessImage
	case rank == 4 && i >= 2:
		return guessImage
	case rank == 4 && i == 1:
		return guessColour
	case i == 0:
		return guessBatch
	}
	return guessOther
}

// evaluate computes an expression of symbols, such as "past + seq" or
// "2*(n - 1)". It fails on plain symbols, whatever their spelling, and on what
// is no expression.
func (b *binder) evaluate(sym string, i, rank int) (int64, bool) {
	if !strings.ContainsAny(sym, "+-*/") {
		return 0, false
	}
	p := &expression{text: sym, symbol: func(name string) int64 {
		return b.extent(ir.Symbol(name), i, rank)
	}}
	n, ok := p.sum(0)
	if !ok || p.peek() != 0 || n < 0 || n > maxExtent {
		return 0, false
	}
	return n, true
}

// maxExtent bounds guessed and computed extents.
const maxExtent = 1 << 31

// expression is a recursive-descent reader of sums and products.
type expression struct {
	text   string
	symbol func(name string) int64
}

const maxParens = 32

func (p *expression) peek() byte {
	p.text = strings.TrimLeft(p.text, " ")
	if p.text == "" {
		return 0
	}
	return p.text[0]
}

func (p *expression) sum(depth int) (int64, bool) {
	n, ok := p.product(depth)
	for ok {
		op := p.peek()
		if op != '+' && op != '-' {
			break
		}
		p.text = p.text[1:]
		var m int64
		if m, ok = p.product(depth); !ok {
			break
		}
		if op == '-' {
			m = -m
		}
		n += m
		ok = n >= -maxExtent && n <= maxExtent
	}
	return n, ok
}

func (p *expression) product(depth int) (int64, bool) {
	n, ok := p.atom(depth)
	for ok {
		op := p.peek()
		if op != '*' && op != '/' {
			break
		}
		p.text = strings.TrimLeft(p.text[1:], "/") // both / and // divide whole numbers
		var m int64
		if m, ok = p.atom(depth); !ok {
			break
		}
		switch {
		case op == '*':
			n *= m
		case m == 0:
			return 0, false
		default:
			n /= m
		}
		ok = n >= -maxExtent && n <= maxExtent
	}
	return n, ok
}

func (p *expression) atom(depth int) (int64, bool) {
	if p.peek() == '(' {
		if depth == maxParens {
			return 0, false
		}
		p.text = p.text[1:]
		n, ok := p.sum(depth + 1)
		if !ok || p.peek() != ')' {
			return 0, false
		}
		p.text = p.text[1:]
		return n, true
	}
	end := strings.IndexFunc(p.text, func(r rune) bool {
		return r != '_' && r != '.' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	if end < 0 {
		end = len(p.text)
	}
	word := p.text[:end]
	p.text = p.text[end:]
	if word == "" {
		return 0, false
	}
	if n, err := strconv.ParseInt(word, 10, 64); err == nil {
		return n, n <= maxExtent
	}
	if unicode.IsDigit(rune(word[0])) {
		return 0, false
	}
	return p.symbol(word), true
}
