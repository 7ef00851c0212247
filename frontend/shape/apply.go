package shape

import (
	"math"
	"slices"
	"strings"
)

// apply interns an application of op to args. name tells functions of one op apart.
func (a *algebra) apply(o op, num int64, name string, lo, hi, val int64, args ...*expr) *expr {
	a.key = appendInt(append(a.key[:0], byte(o)), num)
	a.key = append(append(a.key, name...), 0)
	for _, x := range args {
		a.key = appendInt(a.key, int64(x.id))
	}
	if e := a.nodes[string(a.key)]; e != nil {
		return e
	}
	e := &expr{op: o, args: args, num: num, lo: lo, hi: hi, val: val}
	for _, x := range args {
		e.assumed = e.assumed || x.assumed
	}
	e.text = applyText(e)
	e.id = a.id()
	a.nodes[string(a.key)] = e
	return e
}

func applyText(e *expr) string {
	var open, sep string
	switch e.op {
	case opFloorDiv:
		open, sep = "floor(", "/"
	case opMin:
		open, sep = "min(", ", "
	case opMax:
		open, sep = "max(", ", "
	default:
		return "" // decided by contents, or too large to be read
	}
	args := make([]string, len(e.args))
	for i, x := range e.args {
		if x.text == "" {
			return ""
		}
		args[i] = x.text
		if e.op == opFloorDiv && (x.level == levelSum || i > 0 && x.level > levelAtom) {
			args[i] = "(" + x.text + ")"
		}
	}
	if e.op != opFloorDiv {
		slices.Sort(args)
	}
	text := open + strings.Join(args, sep) + ")"
	if len(text) > maxText {
		return ""
	}
	return text
}

// floorDiv is x div y, rounding down. A divisor that may be 0 is the business of
// the run: the quotient then evaluates to 0.
func (a *algebra) floorDiv(x, y *expr) *expr {
	if y.is(1) {
		return x
	}
	if x.is(0) {
		return x
	}
	if y.op == opConst && y.num != 0 {
		if x.op == opConst {
			return a.n(floorDivInt(x.num, y.num))
		}
		if y.num > 0 {
			return a.floorDivConst(x, y.num)
		}
	}
	if !y.is(0) {
		if q, ok := a.divExact(x, y); ok {
			return q
		}
	}
	val := int64(0)
	if y.val != 0 {
		val = floorDivInt(x.val, y.val)
	}
	lo, hi := int64(noLo), int64(noHi)
	if x.lo >= 0 && y.lo >= 1 {
		lo, hi = 0, x.hi
	}
	return a.apply(opFloorDiv, 0, "", lo, hi, val, x, y)
}

// floorDivConst divides by d > 0: whole multiples leave the division, and nested
// divisions merge, since ⌊⌊x/a⌋/b⌋ = ⌊x/(ab)⌋.
func (a *algebra) floorDivConst(x *expr, d int64) *expr {
	var whole, rest []term
	for _, t := range asTerms(x) {
		q := floorDivInt(t.coef, d)
		if len(t.atoms) > 0 && t.coef%d != 0 {
			q = 0 // keep the coefficients of what stays readable
		}
		if q != 0 {
			whole = append(whole, term{q, t.atoms})
		}
		if r := t.coef - q*d; r != 0 {
			rest = append(rest, term{r, t.atoms})
		}
	}
	w, ok1 := a.poly(whole)
	r, ok2 := a.poly(rest)
	if !ok1 || !ok2 {
		w, r = a.n(0), x
	}
	if r.op == opConst {
		return a.add(w, a.n(floorDivInt(r.num, d)))
	}
	if r.op == opFloorDiv && r.args[1].op == opConst && r.args[1].num > 0 {
		if dd, ok := mulInt(d, r.args[1].num); ok {
			return a.add(w, a.floorDivConst(r.args[0], dd))
		}
	}
	// ⌊(⌊x/a⌋ + c)/b⌋ = ⌊(x + ac)/(ab)⌋
	if len(r.terms) == 2 && len(r.terms[1].atoms) == 0 && r.terms[0].coef == 1 && len(r.terms[0].atoms) == 1 {
		if q := r.terms[0].atoms[0]; q.op == opFloorDiv && q.args[1].op == opConst && q.args[1].num > 0 {
			dd, ok1 := mulInt(d, q.args[1].num)
			ac, ok2 := mulInt(r.terms[1].coef, q.args[1].num)
			if ok1 && ok2 {
				return a.add(w, a.floorDivConst(a.add(q.args[0], a.n(ac)), dd))
			}
		}
	}
	lo, hi := int64(noLo), int64(noHi)
	if r.lo != noLo {
		lo = floorDivInt(r.lo, d)
	}
	if r.hi != noHi {
		hi = floorDivInt(r.hi, d)
	}
	if lo == hi {
		return a.add(w, a.n(lo))
	}
	return a.add(w, a.apply(opFloorDiv, 0, "", lo, hi, floorDivInt(r.val, d), r, a.n(d)))
}

// ceilDiv is x div y, rounding up; it presumes y ≠ 0.
func (a *algebra) ceilDiv(x, y *expr) *expr {
	if d, ok := y.constant(); ok && d > 0 && x.op != opConst {
		return a.floorDiv(a.add(x, a.n(d-1)), y)
	}
	return a.mul(a.n(-1), a.floorDiv(a.mul(a.n(-1), x), y))
}

// mod is x - y⌊x/y⌋: its sign is that of y.
func (a *algebra) mod(x, y *expr) *expr { return a.sub(x, a.mul(y, a.floorDiv(x, y))) }

// truncDiv is x / y rounding towards zero, as integer Div does; nil if signs are
// not known.
func (a *algebra) truncDiv(x, y *expr) *expr {
	switch {
	case x.op == opConst && y.op == opConst && y.num != 0:
		if x.num == math.MinInt64 && y.num == -1 {
			return nil
		}
		return a.n(x.num / y.num)
	case x.lo >= 0 && y.lo >= 0:
		return a.floorDiv(x, y)
	}
	if q, ok := a.divExact(x, y); ok && !y.is(0) {
		return q
	}
	if y.is(0) {
		return nil
	}
	val := int64(0)
	if y.val != 0 && (x.val != math.MinInt64 || y.val != -1) {
		val = x.val / y.val
	}
	return a.apply(opTrunc, 0, "/", noLo, noHi, val, x, y)
}

func (a *algebra) min(x, y *expr) *expr {
	if x == y || x.hi <= y.lo || a.sub(x, y).hi <= 0 {
		return x
	}
	if y.hi <= x.lo || a.sub(y, x).hi <= 0 {
		return y
	}
	x, y = ordered(x, y)
	return a.apply(opMin, 0, "", min(x.lo, y.lo), min(x.hi, y.hi), min(x.val, y.val), x, y)
}

func (a *algebra) max(x, y *expr) *expr {
	if x == y || x.lo >= y.hi || a.sub(x, y).lo >= 0 {
		return x
	}
	if y.lo >= x.hi || a.sub(y, x).lo >= 0 {
		return y
	}
	x, y = ordered(x, y)
	return a.apply(opMax, 0, "", max(x.lo, y.lo), max(x.hi, y.hi), max(x.val, y.val), x, y)
}

func ordered(x, y *expr) (*expr, *expr) {
	if y.id < x.id {
		return y, x
	}
	return x, y
}

// broadcast is the extent that x and y broadcast to in a run that succeeds, and
// whether there can be one: two different numbers other than 1 cannot.
func (a *algebra) broadcast(x, y *expr) (*expr, bool) {
	switch {
	case x == y, y.is(1):
		return x, true
	case x.is(1):
		return y, true
	case x.op == opConst && y.op == opConst:
		return x, false
	case x.op == opConst:
		return x, true // y is x or 1
	case y.op == opConst:
		return y, true
	case x.lo > 1 && y.lo > 1:
		return x, true // they are equal
	}
	// Absorption: broadcasting again with what is in there already changes nothing.
	if x.op == opBroadcast && (x.args[0] == y || x.args[1] == y) {
		return x, true
	}
	if y.op == opBroadcast && (y.args[0] == x || y.args[1] == x) {
		return y, true
	}
	x, y = ordered(x, y)
	val := x.val
	if x.val == 1 {
		val = y.val
	}
	return a.apply(opBroadcast, 0, "", min(x.lo, y.lo), max(x.hi, y.hi), val, x, y), true
}

// selectOf is x where cond ≠ 0, else y.
func (a *algebra) selectOf(cond, x, y *expr) *expr {
	switch {
	case x == y:
		return x
	case cond.op == opConst && cond.num != 0, cond.lo > 0, cond.hi < 0:
		return x
	case cond.is(0):
		return y
	}
	val := x.val
	if cond.val == 0 {
		val = y.val
	}
	return a.apply(opSelect, 0, "", min(x.lo, y.lo), max(x.hi, y.hi), val, cond, x, y)
}

// equal is 1 where x = y, else 0.
func (a *algebra) equal(x, y *expr) *expr {
	d := a.sub(x, y)
	switch {
	case d.is(0):
		return a.n(1)
	case d.lo > 0 || d.hi < 0:
		return a.n(0)
	}
	x, y = ordered(x, y)
	return a.apply(opEqual, 0, "", 0, 1, boolInt(x.val == y.val), x, y)
}

// less is 1 where x < y, else 0.
func (a *algebra) less(x, y *expr) *expr {
	d := a.sub(x, y)
	switch {
	case d.hi < 0:
		return a.n(1)
	case d.lo >= 0:
		return a.n(0)
	}
	return a.apply(opLess, 0, "", 0, 1, boolInt(x.val < y.val), x, y)
}

// not is 1 where x = 0, else 0.
func (a *algebra) not(x *expr) *expr { return a.equal(x, a.n(0)) }

func boolInt(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// ---- real numbers: contents of float tensors

// maxRatio bounds numerators and denominators of factors that count as exact:
// the products of extents with them fit the 24 bits of a float32.
const maxRatio = 1 << 10

// realConst is the real constant f.
func (a *algebra) realConst(f float64) *expr {
	e := a.apply(opRealConst, int64(math.Float64bits(f)), "", 0, 0, 0)
	e.real, e.fval = true, f
	return e
}

// toReal is the integer x as a real number.
func (a *algebra) toReal(x *expr) *expr {
	if x.op == opConst {
		return a.realConst(float64(x.num))
	}
	return a.ratio(x, 1)
}

func (a *algebra) ratio(x *expr, den int64) *expr {
	if x.op == opConst {
		return a.realConst(float64(x.num) / float64(den))
	}
	e := a.apply(opRatio, den, "", noLo, noHi, 0, x)
	e.real, e.fval = true, float64(x.val)/float64(den)
	return e
}

// realFn is the function called name of reals; val is what it evaluates to.
func (a *algebra) realFn(name string, val float64, args ...*expr) *expr {
	for _, x := range args {
		if x.op != opRealConst {
			e := a.apply(opRealFn, 0, name, noLo, noHi, 0, args...)
			e.real, e.fval = true, val
			return e
		}
	}
	return a.realConst(val)
}

// asRatio is e as an exact fraction num/den with a small denominator.
func (a *algebra) asRatio(e *expr) (num *expr, den int64, ok bool) {
	switch e.op {
	case opRatio:
		return e.args[0], e.num, true
	case opRealConst:
		for den := int64(1); den <= maxRatio; den *= 2 {
			if n := e.fval * float64(den); n == math.Trunc(n) && math.Abs(n) < 1<<53 {
				return a.n(int64(n)), den, true
			}
		}
	}
	return nil, 0, false
}

func (a *algebra) realMul(x, y *expr) *expr {
	if xn, xd, ok := a.asRatio(x); ok && (x.op != opRealConst || y.op != opRealConst) {
		if yn, yd, ok := a.asRatio(y); ok && xd*yd <= maxRatio {
			return a.reduced(a.mul(xn, yn), xd*yd)
		}
	}
	return a.realFn("*", x.fval*y.fval, x, y)
}

func (a *algebra) realAdd(x, y *expr, sign int64) *expr {
	if xn, xd, ok := a.asRatio(x); ok && (x.op != opRealConst || y.op != opRealConst) {
		if yn, yd, ok := a.asRatio(y); ok && xd*yd <= maxRatio {
			return a.reduced(a.add(a.mul(xn, a.n(yd)), a.mul(yn, a.n(sign*xd))), xd*yd)
		}
	}
	if sign < 0 {
		return a.realFn("-", x.fval-y.fval, x, y)
	}
	return a.realFn("+", x.fval+y.fval, x, y)
}

// realDiv divides. Rounding of a float32 quotient of integers below 2²² by one
// below 2¹⁰ never reaches the next integer, so that its floor is exact.
func (a *algebra) realDiv(x, y *expr) *expr {
	if x.op != opRealConst || y.op != opRealConst {
		xn, xd, ok1 := a.asRatio(x)
		yn, yd, ok2 := a.asRatio(y)
		if ok1 && ok2 {
			if c, ok := yn.constant(); ok && c > 0 && c <= maxRatio && xd*c <= maxRatio {
				return a.reduced(a.mul(xn, a.n(yd)), xd*c)
			}
			if q, ok := a.divExact(xn, yn); ok && !yn.is(0) && xd == yd {
				return a.toReal(q)
			}
		}
	}
	return a.realFn("/", x.fval/y.fval, x, y)
}

// reduced is num/den, den > 0, in lowest terms as far as they show.
func (a *algebra) reduced(num *expr, den int64) *expr {
	for den > 1 && den%2 == 0 {
		half, ok := a.divExact(num, a.n(2))
		if !ok {
			break
		}
		num, den = half, den/2
	}
	if q, ok := a.divExact(num, a.n(den)); ok {
		num, den = q, 1
	}
	return a.ratio(num, den)
}

func (a *algebra) realFloor(x *expr) *expr {
	if x.op == opRatio {
		return a.toReal(a.floorDiv(x.args[0], a.n(x.num)))
	}
	return a.realFn("floor", math.Floor(x.fval), x)
}

func (a *algebra) realCeil(x *expr) *expr {
	if x.op == opRatio {
		return a.toReal(a.ceilDiv(x.args[0], a.n(x.num)))
	}
	return a.realFn("ceil", math.Ceil(x.fval), x)
}

// trunc is the real x as an integer, rounding towards zero; nil for what no
// integer holds.
func (a *algebra) trunc(x *expr) *expr {
	switch {
	case x.op == opRealConst:
		if math.IsNaN(x.fval) || math.Abs(x.fval) >= 1<<62 {
			return nil
		}
		return a.n(int64(x.fval))
	case x.op == opRatio && x.num == 1:
		return x.args[0]
	case x.op == opRatio && x.args[0].lo >= 0:
		return a.floorDiv(x.args[0], a.n(x.num))
	}
	val := int64(0)
	if !math.IsNaN(x.fval) {
		val = int64(math.Max(-1<<62, math.Min(1<<62, x.fval)))
	}
	return a.apply(opTrunc, 0, "", noLo, noHi, val, x)
}
