package shape

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// evaluate computes e from scratch for other values of its symbols.
func evaluate(e *expr, env map[*expr]int64) int64 {
	arg := func(i int) int64 { return evaluate(e.args[i], env) }
	switch e.op {
	case opConst:
		return e.num
	case opSymbol:
		return env[e]
	case opPoly:
		sum := int64(0)
		for _, t := range e.terms {
			p := t.coef
			for _, x := range t.atoms {
				p *= evaluate(x, env)
			}
			sum += p
		}
		return sum
	case opFloorDiv:
		if arg(1) == 0 {
			return 0
		}
		return floorDivInt(arg(0), arg(1))
	case opMin:
		return min(arg(0), arg(1))
	case opMax:
		return max(arg(0), arg(1))
	case opSelect:
		if arg(0) != 0 {
			return arg(1)
		}
		return arg(2)
	case opEqual:
		return boolInt(arg(0) == arg(1))
	case opLess:
		return boolInt(arg(0) < arg(1))
	case opMul:
		return arg(0) * arg(1)
	case opAdd:
		return arg(0) + arg(1)
	case opTrunc:
		if len(e.args) == 2 && arg(1) != 0 {
			return arg(0) / arg(1)
		}
		return 0
	case opBroadcast:
		if arg(0) == 1 {
			return arg(1)
		}
		return arg(0)
	}
	panic(fmt.Sprint("no evaluation of ", e.op))
}

// Normal forms mean what was built, for every value of the symbols, stay within
// their bounds, and are evaluated like that when they are made.
func TestExpressionsKeepTheirMeaning(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		al := newAlgebra()
		type pair struct {
			e *expr
			f func(env map[*expr]int64) int64
		}
		var pool []pair
		var symbols []*expr
		for i := range 3 {
			s := al.symbol(string(rune('a'+i)), 0, maxExtent, rapid.Int64Range(0, 9).Draw(t, "val"), false)
			symbols = append(symbols, s)
			pool = append(pool, pair{s, func(env map[*expr]int64) int64 { return env[s] }})
		}
		for range rapid.IntRange(1, 12).Draw(t, "steps") {
			x := rapid.SampledFrom(pool).Draw(t, "x")
			y := rapid.SampledFrom(pool).Draw(t, "y")
			z := rapid.SampledFrom(pool).Draw(t, "z")
			n := rapid.Int64Range(-6, 6).Draw(t, "n")
			d := rapid.Int64Range(1, 6).Draw(t, "d")
			var p pair
			switch rapid.IntRange(0, 10).Draw(t, "op") {
			case 0:
				p = pair{al.add(x.e, y.e), func(v map[*expr]int64) int64 { return x.f(v) + y.f(v) }}
			case 1:
				p = pair{al.sub(x.e, y.e), func(v map[*expr]int64) int64 { return x.f(v) - y.f(v) }}
			case 2:
				p = pair{al.mul(x.e, al.n(n)), func(v map[*expr]int64) int64 { return x.f(v) * n }}
			case 3:
				if p = (pair{al.mul(x.e, y.e), func(v map[*expr]int64) int64 { return x.f(v) * y.f(v) }}); len(p.e.text) > 40 || p.e.text == "" {
					continue // grows beyond what int64 holds
				}
			case 4:
				p = pair{al.floorDiv(x.e, al.n(d)), func(v map[*expr]int64) int64 { return floorDivInt(x.f(v), d) }}
			case 5:
				p = pair{al.ceilDiv(x.e, al.n(d)), func(v map[*expr]int64) int64 { return -floorDivInt(-x.f(v), d) }}
			case 6:
				p = pair{al.min(x.e, y.e), func(v map[*expr]int64) int64 { return min(x.f(v), y.f(v)) }}
			case 7:
				p = pair{al.max(x.e, y.e), func(v map[*expr]int64) int64 { return max(x.f(v), y.f(v)) }}
			case 8:
				p = pair{al.add(x.e, al.n(n)), func(v map[*expr]int64) int64 { return x.f(v) + n }}
			case 9:
				p = pair{al.selectOf(al.less(x.e, y.e), y.e, z.e), func(v map[*expr]int64) int64 {
					if x.f(v) < y.f(v) {
						return y.f(v)
					}
					return z.f(v)
				}}
			case 10:
				p = pair{al.equal(x.e, y.e), func(v map[*expr]int64) int64 { return boolInt(x.f(v) == y.f(v)) }}
			}
			pool = append(pool, p)
		}
		own := map[*expr]int64{}
		for _, s := range symbols {
			own[s] = s.val
		}
		for _, p := range pool {
			if want := p.f(own); p.e.val != want {
				t.Fatalf("%q was evaluated to %d, is %d", p.e.text, p.e.val, want)
			}
		}
		for range 4 {
			env := map[*expr]int64{}
			for _, s := range symbols {
				env[s] = rapid.Int64Range(0, 40).Draw(t, "env")
			}
			for _, p := range pool {
				want := p.f(env)
				if got := evaluate(p.e, env); got != want {
					t.Fatalf("%q is %d with %v, want %d", p.e.text, got, env, want)
				}
				if p.e.lo > want || p.e.hi < want {
					t.Fatalf("%q is %d, outside of [%d,%d]", p.e.text, want, p.e.lo, p.e.hi)
				}
			}
		}
	})
}

// Whatever is multiplied and then divided by the same comes back.
func TestDivisionUndoesMultiplication(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		al := newAlgebra()
		a, b := al.symbol("a", 0, maxExtent, 3, false), al.symbol("b", 0, maxExtent, 5, false)
		x := al.add(al.mul(a, al.n(rapid.Int64Range(-4, 4).Draw(t, "i"))), al.n(rapid.Int64Range(-4, 4).Draw(t, "j")))
		k := al.mul(al.n(rapid.Int64Range(1, 9).Draw(t, "k")), b)
		if q := al.floorDiv(al.mul(x, k), k); q != x {
			t.Fatalf("(%s)·(%s)/(%s) = %s", x.text, k.text, k.text, q.text)
		}
	})
}

func TestExpressionText(t *testing.T) {
	al := newAlgebra()
	s := func(name string) *expr { return al.symbol(name, 0, maxExtent, 1, true) }
	seq, past, n, h, anon := s("seq"), s("past"), s("N"), s("a + b"), s("")
	for _, c := range []struct {
		e    *expr
		want string
	}{
		{al.add(seq, past), "past + seq"},
		{al.mul(al.n(2), n), "2*N"},
		{al.mul(n, al.add(past, al.n(-1))), "N*past - N"},
		{al.sub(al.n(3), n), "-N + 3"},
		{al.floorDiv(al.add(n, al.n(1)), al.n(2)), "floor((N + 1)/2)"},
		{al.floorDiv(al.floorDiv(n, al.n(2)), al.n(3)), "floor(N/6)"},
		{al.floorDiv(al.add(al.floorDiv(n, al.n(2)), al.n(1)), al.n(2)), "floor((N + 2)/4)"},
		{al.floorDiv(al.mul(al.n(6), n), al.n(3)), "2*N"},
		{al.floorDiv(n, seq), "floor(N/seq)"},
		{al.floorDiv(al.mul(n, seq), seq), "N"},
		{al.mod(al.mul(al.n(4), n), al.n(2)), "0"},
		{al.mul(al.n(3), h), "3*(a + b)"},
		{al.max(al.n(0), al.sub(n, al.n(1))), "max(0, N - 1)"},
		{al.max(al.n(0), n), "N"},
		{al.min(n, al.add(n, al.n(2))), "N"},
		{al.add(anon, n), ""},
		{al.equal(n, al.n(-1)), "0"},
		{al.selectOf(al.equal(n, al.n(-1)), al.n(1), n), "N"},
		{al.trunc(al.realFloor(al.realMul(al.toReal(n), al.realConst(0.5)))), "floor(N/2)"},
		{al.trunc(al.realCeil(al.realDiv(al.toReal(n), al.realConst(3)))), "floor((N + 2)/3)"},
		{al.trunc(al.realMul(al.toReal(n), al.realConst(0.3))), ""},
	} {
		if c.e.text != c.want {
			t.Errorf("got %q, want %q", c.e.text, c.want)
		}
	}
}

// Interning makes equal sums one expression, however they were built.
func TestNormalForm(t *testing.T) {
	al := newAlgebra()
	a, b := al.symbol("a", 0, maxExtent, 1, false), al.symbol("b", 0, maxExtent, 1, false)
	x := al.mul(al.add(a, b), al.add(a, b))
	y := al.add(al.add(al.mul(a, a), al.mul(al.n(2), al.mul(b, a))), al.mul(b, b))
	if x != y {
		t.Errorf("%s and %s are not one", x.text, y.text)
	}
	if al.sub(x, y) != al.n(0) {
		t.Error("a difference of equals is not 0")
	}
}

func TestOverflow(t *testing.T) {
	al := newAlgebra()
	huge := al.n(math.MaxInt64)
	a := al.symbol("a", 0, maxExtent, 7, false)
	for _, e := range []*expr{
		al.add(huge, huge), al.mul(huge, huge), al.mul(al.mul(a, huge), huge), al.sub(al.mul(huge, al.n(-1)), huge),
		al.floorDiv(al.n(math.MinInt64), al.n(-1)), al.ceilDiv(huge, al.n(2)), al.add(al.mul(a, huge), al.mul(a, huge)),
	} {
		if e == nil {
			t.Fatal("no expression")
		}
	}
	if got := al.mul(huge, huge).val; got != math.MaxInt64 {
		t.Errorf("the product saturates at %d", got)
	}
	// Sums and products of many terms give up their normal form, not their value.
	sum, product := al.n(0), al.n(1)
	want := int64(0)
	for i := range 100 {
		s := al.symbol(fmt.Sprint("s", i), 0, maxExtent, int64(i), false)
		sum, product = al.add(sum, s), al.mul(product, al.add(s, al.n(1)))
		want += int64(i)
	}
	if sum.val != want || sum.text != "" || product.text != "" {
		t.Errorf("sum %d %q, product %q", sum.val, sum.text, product.text)
	}
}

// Broadcasting is commutative in what it evaluates to, and 1 is neutral.
func TestBroadcast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		al := newAlgebra()
		draw := func(label string) *expr {
			n := rapid.Int64Range(1, 4).Draw(t, label)
			if rapid.Bool().Draw(t, label+" symbolic") {
				return al.symbol(label, 0, maxExtent, n, false)
			}
			return al.n(n)
		}
		x, y := draw("x"), draw("y")
		if x.val != y.val && x.val != 1 && y.val != 1 {
			return // no run succeeds
		}
		xy, ok := al.broadcast(x, y)
		yx, _ := al.broadcast(y, x)
		if !ok || xy.val != max(x.val, y.val) || yx.val != xy.val {
			t.Fatalf("%d with %d gives %d and %d", x.val, y.val, xy.val, yx.val)
		}
		if one, _ := al.broadcast(x, al.n(1)); one != x {
			t.Fatal("1 is not neutral")
		}
		if again, _ := al.broadcast(xy, y); again != xy {
			t.Fatal("broadcasting again changes the extent")
		}
	})
}
