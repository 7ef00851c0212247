package shape

import (
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Expressions over the symbols of a model.
//
// An expr is an integer (or, in the contents of float tensors, a real number)
// that depends on the model's inputs. Integer expressions are kept in the normal
// form of polynomials over atoms: symbols, and applications of what a polynomial
// cannot express (floor division, minimum, broadcast of two extents, …). Nodes
// are interned, so that equal normal forms are equal pointers; equal pointers
// mean equal numbers in every run, the reverse does not hold.
//
// Every expr carries what evaluation with bindings and assumptions gives, an
// interval that no run leaves, and its text, all three computed when it is made.
// Nothing here recurses, so that chains of any length are safe.

// expr is immutable.
type expr struct {
	id    int32
	op    op
	real  bool    // a real number: fval counts instead of val
	terms []term  // of opPoly, sorted
	args  []*expr // of applications
	num   int64   // of opConst: the number; of opRatio: the denominator

	lo, hi  int64   // bounds of an integer, noLo and noHi if there are none
	val     int64   // with bindings and assumptions
	fval    float64 // the same of a real number
	assumed bool    // val rests on an assumption
	level   uint8   // how tightly text binds: levelSum, levelProduct, levelAtom
	text    string  // canonical; "" if part of it has no name or it is too long
}

type op uint8

const (
	opConst op = iota
	opSymbol
	opPoly     // sum of terms
	opFloorDiv // args[0] div args[1], rounding down
	opMin
	opMax
	opBroadcast // the extent that args broadcast to: the one that is not 1
	opSelect    // args[0] ≠ 0 ? args[1] : args[2]
	opEqual     // 1 if args are equal, else 0
	opLess      // 1 if args[0] < args[1], else 0
	opMul       // product too large for the normal form
	opAdd       // sum too large for the normal form
	opRealConst
	opRatio  // args[0] / num, exact
	opRealFn // a function of reals; its name distinguishes it
	opTrunc  // real to integer, towards zero
)

// term is coef × the product of atoms, which are sorted by id and may repeat.
type term struct {
	coef  int64
	atoms []*expr
}

const (
	noLo = math.MinInt64
	noHi = math.MaxInt64
	// maxExtent bounds the extents of inputs: axes of 2³¹ elements and more do not
	// occur, and exporters write "to the end" as 2³¹-1.
	maxExtent = math.MaxInt32

	maxTerms  = 16  // of a normal form
	maxDegree = 6   // of a term
	maxText   = 120 // bytes of a printed expression
)

const (
	levelAtom uint8 = iota
	levelProduct
	levelSum
)

// algebra makes and interns expressions.
type algebra struct {
	consts map[int64]*expr
	nodes  map[string]*expr
	next   int32
	key    []byte // scratch
}

func newAlgebra() *algebra {
	return &algebra{consts: map[int64]*expr{}, nodes: map[string]*expr{}}
}

func (a *algebra) id() int32 { a.next++; return a.next }

// n is the integer constant n.
func (a *algebra) n(n int64) *expr {
	if e := a.consts[n]; e != nil {
		return e
	}
	e := &expr{id: a.id(), op: opConst, num: n, lo: n, hi: n, val: n, text: strconv.FormatInt(n, 10)}
	if n < 0 {
		e.level = levelSum
	}
	a.consts[n] = e
	return e
}

// symbol is a new symbol, different from every other, in [lo, hi]; name may be "".
func (a *algebra) symbol(name string, lo, hi, val int64, assumed bool) *expr {
	return &expr{id: a.id(), op: opSymbol, lo: lo, hi: hi, val: val, assumed: assumed, text: symbolText(name)}
}

// symbolText is name as it stands in expressions: quoted by parentheses if it
// could be read as one.
func symbolText(name string) string {
	if len(name) > maxText {
		return ""
	}
	return name
}

func (e *expr) isConst() bool { return e.op == opConst }

// is says whether e is the integer n in every run.
func (e *expr) is(n int64) bool { return e != nil && e.op == opConst && e.num == n }

// constant is the number that e is in every run.
func (e *expr) constant() (int64, bool) {
	if e == nil || e.op != opConst {
		return 0, false
	}
	return e.num, true
}

// ---- polynomials

// asTerms is the normal form of e; the result must not be changed.
func asTerms(e *expr) []term {
	switch e.op {
	case opConst:
		if e.num == 0 {
			return nil
		}
		return []term{{coef: e.num}}
	case opPoly:
		return e.terms
	}
	return []term{{coef: 1, atoms: []*expr{e}}}
}

func compareAtoms(x, y []*expr) int {
	// Higher degrees first, so that the constant stands last.
	if len(x) != len(y) {
		return len(y) - len(x)
	}
	for i := range x {
		if d := x[i].id - y[i].id; d != 0 {
			return int(d)
		}
	}
	return 0
}

// poly interns the sum of terms, which it may reorder and merge. ok is false if
// the sum overflows or is too large.
func (a *algebra) poly(terms []term) (e *expr, ok bool) {
	slices.SortFunc(terms, func(x, y term) int { return compareAtoms(x.atoms, y.atoms) })
	out := terms[:0]
	for _, t := range terms {
		if n := len(out); n > 0 && compareAtoms(out[n-1].atoms, t.atoms) == 0 {
			c, fits := addInt(out[n-1].coef, t.coef)
			if !fits {
				return nil, false
			}
			out[n-1].coef = c
			continue
		}
		out = append(out, t)
	}
	out = slices.DeleteFunc(out, func(t term) bool { return t.coef == 0 })
	switch {
	case len(out) == 0:
		return a.n(0), true
	case len(out) == 1 && len(out[0].atoms) == 0:
		return a.n(out[0].coef), true
	case len(out) == 1 && out[0].coef == 1 && len(out[0].atoms) == 1:
		return out[0].atoms[0], true
	case len(out) > maxTerms:
		return nil, false
	}
	a.key = append(a.key[:0], byte(opPoly))
	for _, t := range out {
		if len(t.atoms) > maxDegree {
			return nil, false
		}
		a.key = appendInt(append(a.key, byte(len(t.atoms))), t.coef)
		for _, x := range t.atoms {
			a.key = appendInt(a.key, int64(x.id))
		}
	}
	if e := a.nodes[string(a.key)]; e != nil {
		return e, true
	}
	e = &expr{op: opPoly, terms: slices.Clone(out)}
	e.lo, e.hi = 0, 0
	for _, t := range out {
		lo, hi, v := t.coef, t.coef, t.coef
		for _, x := range t.atoms {
			lo, hi = mulRange(lo, hi, x.lo, x.hi)
			v = mulSat(v, x.val)
			e.assumed = e.assumed || x.assumed
		}
		e.lo, e.hi = addBound(e.lo, lo, noLo), addBound(e.hi, hi, noHi)
		e.val = addSat(e.val, v)
	}
	e.text, e.level = polyText(out)
	e.id = a.id()
	a.nodes[string(a.key)] = e
	return e, true
}

func appendInt(b []byte, n int64) []byte {
	for u := uint64(n<<1) ^ uint64(n>>63); ; u >>= 7 {
		if u < 0x80 {
			return append(b, byte(u))
		}
		b = append(b, byte(u)|0x80)
	}
}

// polyText prints terms alphabetically, positive ones first, the constant last.
func polyText(terms []term) (string, uint8) {
	type part struct {
		text     string
		negative bool
		constant bool
	}
	parts := make([]part, 0, len(terms))
	for _, t := range terms {
		var factors []string
		for _, x := range t.atoms {
			if x.text == "" {
				return "", levelSum
			}
			s := x.text
			if x.level > levelAtom || strings.ContainsAny(s, " +-*/") && x.op == opSymbol {
				s = "(" + s + ")"
			}
			factors = append(factors, s)
		}
		sort.Strings(factors)
		c := t.coef
		if c < 0 {
			c = -c
		}
		if c != 1 || len(factors) == 0 {
			factors = append([]string{strconv.FormatInt(c, 10)}, factors...)
		}
		parts = append(parts, part{strings.Join(factors, "*"), t.coef < 0, len(t.atoms) == 0})
	}
	sort.SliceStable(parts, func(i, j int) bool {
		x, y := parts[i], parts[j]
		switch {
		case x.constant != y.constant:
			return y.constant
		case x.negative != y.negative:
			return y.negative
		}
		return x.text < y.text
	})
	var b strings.Builder
	for i, p := range parts {
		switch {
		case i == 0 && p.negative:
			b.WriteString("-")
		case i > 0 && p.negative:
			b.WriteString(" - ")
		case i > 0:
			b.WriteString(" + ")
		}
		b.WriteString(p.text)
	}
	if b.Len() > maxText {
		return "", levelSum
	}
	if len(parts) == 1 && !parts[0].negative {
		return b.String(), levelProduct
	}
	return b.String(), levelSum
}

func (a *algebra) add(x, y *expr) *expr {
	if x.op == opConst && y.op == opConst {
		if s, ok := addInt(x.num, y.num); ok {
			return a.n(s)
		}
	}
	tx, ty := asTerms(x), asTerms(y)
	if len(tx)+len(ty) <= 2*maxTerms {
		sum := make([]term, 0, len(tx)+len(ty))
		sum = append(append(sum, tx...), ty...)
		if e, ok := a.poly(sum); ok {
			return e
		}
	}
	lo, hi := addBound(x.lo, y.lo, noLo), addBound(x.hi, y.hi, noHi)
	return a.apply(opAdd, 0, "", lo, hi, addSat(x.val, y.val), x, y)
}

func (a *algebra) sub(x, y *expr) *expr { return a.add(x, a.mul(a.n(-1), y)) }

func (a *algebra) mul(x, y *expr) *expr {
	if x.op == opConst && y.op == opConst {
		if p, ok := mulInt(x.num, y.num); ok {
			return a.n(p)
		}
	}
	tx, ty := asTerms(x), asTerms(y)
	if len(tx)*len(ty) <= 4*maxTerms {
		product := make([]term, 0, len(tx)*len(ty))
		fits := true
	all:
		for _, s := range tx {
			for _, t := range ty {
				c, ok := mulInt(s.coef, t.coef)
				if fits = ok && len(s.atoms)+len(t.atoms) <= maxDegree; !fits {
					break all
				}
				atoms := slices.Concat(s.atoms, t.atoms)
				slices.SortFunc(atoms, func(x, y *expr) int { return int(x.id - y.id) })
				product = append(product, term{c, atoms})
			}
		}
		if fits {
			if e, ok := a.poly(product); ok {
				return e
			}
		}
	}
	lo, hi := mulRange(x.lo, x.hi, y.lo, y.hi)
	return a.apply(opMul, 0, "", lo, hi, mulSat(x.val, y.val), x, y)
}

// product of no factors is 1.
func (a *algebra) product(factors []*expr) *expr {
	p := a.n(1)
	for _, f := range factors {
		p = a.mul(p, f)
	}
	return p
}

// divExact is q with q·y = x as polynomials; ok is false if there is none.
// It presumes y ≠ 0.
func (a *algebra) divExact(x, y *expr) (q *expr, ok bool) {
	if x == y {
		return a.n(1), true
	}
	ty := asTerms(y)
	if len(ty) != 1 {
		if len(ty) == 0 {
			return nil, false
		}
		// A common case: (k·p)/p for a sum p.
		tx := asTerms(x)
		if len(tx) != len(ty) || tx[0].coef%ty[0].coef != 0 || compareAtoms(tx[0].atoms, ty[0].atoms) != 0 {
			return nil, false
		}
		q := a.n(tx[0].coef / ty[0].coef)
		return q, a.mul(q, y) == x
	}
	var quotient []term
	for _, t := range asTerms(x) {
		if t.coef%ty[0].coef != 0 {
			return nil, false
		}
		rest, ok := removeAtoms(t.atoms, ty[0].atoms)
		if !ok {
			return nil, false
		}
		quotient = append(quotient, term{t.coef / ty[0].coef, rest})
	}
	return a.poly(quotient)
}

// removeAtoms is the sorted list all without the sorted list drop.
func removeAtoms(all, drop []*expr) ([]*expr, bool) {
	if len(drop) == 0 {
		return all, true
	}
	var rest []*expr
	j := 0
	for _, x := range all {
		if j < len(drop) && drop[j] == x {
			j++
			continue
		}
		rest = append(rest, x)
	}
	return rest, j == len(drop)
}

// ---- arithmetic of int64

func addInt(x, y int64) (int64, bool) {
	s := x + y
	return s, (s > x) == (y > 0)
}

func addSat(x, y int64) int64 {
	if s, ok := addInt(x, y); ok {
		return s
	}
	if x > 0 {
		return math.MaxInt64
	}
	return math.MinInt64
}

func mulInt(x, y int64) (int64, bool) {
	if x == 0 || y == 0 {
		return 0, true
	}
	p := x * y
	if p/y != x || x == -1 && y == math.MinInt64 || y == -1 && x == math.MinInt64 {
		return 0, false
	}
	return p, true
}

func mulSat(x, y int64) int64 {
	if p, ok := mulInt(x, y); ok {
		return p
	}
	if (x > 0) == (y > 0) {
		return math.MaxInt64
	}
	return math.MinInt64
}

// floorDivInt presumes y ≠ 0.
func floorDivInt(x, y int64) int64 {
	if y == -1 {
		return mulSat(x, -1)
	}
	q := x / y
	if x%y != 0 && (x < 0) != (y < 0) {
		q--
	}
	return q
}

// addBound adds two bounds of one side; none stands for an absent one.
func addBound(x, y, none int64) int64 {
	if x == none || y == none {
		return none
	}
	if s, ok := addInt(x, y); ok {
		return s
	}
	return none
}

// mulRange is the interval of products of two intervals.
func mulRange(xlo, xhi, ylo, yhi int64) (lo, hi int64) {
	lo, hi = noHi, noLo
	for _, x := range [2]int64{xlo, xhi} {
		for _, y := range [2]int64{ylo, yhi} {
			p := mulSat(x, y)
			lo, hi = min(lo, p), max(hi, p)
		}
	}
	return lo, hi
}
