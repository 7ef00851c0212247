package shape

import (
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// product is the type of the matrix product of a and b, as numpy.matmul has it.
func (c *call) matmul(elem ir.ElemType, a, b *value) *value {
	if !a.ranked || !b.ranked {
		return unranked(elem)
	}
	if len(a.dims) == 0 || len(b.dims) == 0 {
		c.contradict("a scalar cannot be multiplied as a matrix")
		return unranked(elem)
	}
	x, y := a.dims, b.dims
	row, col := len(x) == 1, len(y) == 1
	if row {
		x = []*expr{c.num(1), x[0]}
	}
	if col {
		y = []*expr{y[0], c.num(1)}
	}
	k, l := x[len(x)-1], y[len(y)-2]
	if k.isConst() && l.isConst() && k != l {
		c.contradict("the inner extents %s and %s of the product differ", k.text, l.text)
	}
	dims := c.broadcast(x[:len(x)-2], y[:len(y)-2])
	if !row {
		dims = append(dims, x[len(x)-2])
	}
	if !col {
		dims = append(dims, y[len(y)-1])
	}
	return tensor(elem, dims...)
}

func matMul(c *call) { c.set(0, c.matmul(c.elem(0), c.input(0), c.input(1))) }

func matMulInteger(c *call) { c.set(0, c.matmul(ir.Int32, c.input(0), c.input(1))) }

// transposed is v with its last two axes exchanged if swap.
func transposed(v *value, swap bool) *value {
	if !swap || len(v.dims) < 2 {
		return v
	}
	w := *v
	w.public = nil
	w.dims = slices.Clone(v.dims)
	r := len(w.dims)
	w.dims[r-1], w.dims[r-2] = w.dims[r-2], w.dims[r-1]
	return &w
}

// gemm is the type of a general matrix product of inputs a and b.
func (c *call) gemm(elem ir.ElemType, a, b int) *value {
	c.require(a, 2)
	c.require(b, 2)
	x := transposed(c.input(a), c.attrInt("transA", 0) != 0)
	y := transposed(c.input(b), c.attrInt("transB", 0) != 0)
	m, n := c.fresh(nil), c.fresh(nil)
	for _, v := range []*value{x, y} {
		if v.ranked && len(v.dims) != 2 {
			c.contradict("the inputs of a general matrix product must have rank 2, one has %d", len(v.dims))
			return tensor(elem, m, n)
		}
	}
	if x.ranked {
		m = x.dims[0]
	}
	if y.ranked {
		n = y.dims[1]
	}
	if x.ranked && y.ranked {
		k, l := x.dims[1], y.dims[0]
		if k.isConst() && l.isConst() && k != l {
			c.contradict("the inner extents %s and %s of the product differ", k.text, l.text)
		}
	}
	return tensor(elem, m, n)
}

func gemm(c *call) { c.set(0, c.gemm(c.elem(0), 0, 1)) }

// einsum reads the equation; letters stand for axes, "..." for those that broadcast.
func einsum(c *call) {
	elem := c.elem(0)
	c.set(0, unranked(elem))
	eq := strings.ReplaceAll(c.attrString("equation", ""), " ", "")
	left, right, arrow := strings.Cut(eq, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.ins) {
		c.reject(c.inputName(0), "the equation %q has %d terms for %d inputs", eq, len(terms), len(c.ins))
		return
	}
	extents := map[byte]*expr{}
	count := map[byte]int{}
	var ellipsis [][]*expr
	for i, t := range terms {
		v := c.input(i)
		if !v.ranked {
			return
		}
		letters := strings.ReplaceAll(t, "...", "")
		rest := len(v.dims) - len(letters)
		if rest < 0 || rest > 0 && letters == t {
			c.reject(c.inputName(i), "the term %q of the equation does not fit a tensor of rank %d", t, len(v.dims))
			return
		}
		k := 0
		for j := 0; j < len(t); j++ {
			if t[j] == '.' {
				if j+2 >= len(t) || t[j+1] != '.' || t[j+2] != '.' {
					c.reject(c.inputName(i), "the equation %q cannot be read", eq)
					return
				}
				ellipsis = append(ellipsis, v.dims[k:k+rest])
				k += rest
				j += 2
				continue
			}
			if k >= len(v.dims) {
				c.reject(c.inputName(i), "the equation %q cannot be read", eq)
				return
			}
			d := v.dims[k]
			k++
			if old := extents[t[j]]; old != nil {
				e, ok := c.al.broadcast(old, d)
				if !ok {
					c.contradict("extents %s and %s of %q differ", old.text, d.text, string(t[j]))
				}
				d = e
			}
			extents[t[j]] = d
			count[t[j]]++
		}
	}
	if !arrow {
		// The implicit output: what broadcasts, then the letters that occur once.
		var once []byte
		for l, n := range count {
			if n == 1 {
				once = append(once, l)
			}
		}
		slices.Sort(once)
		right = string(once)
		if len(ellipsis) > 0 {
			right = "..." + right
		}
	}
	var dims []*expr
	for j := 0; j < len(right); j++ {
		if right[j] == '.' {
			dims = append(dims, c.broadcast(ellipsis...)...)
			j += 2
			continue
		}
		d := extents[right[j]]
		if d == nil {
			c.reject(c.inputName(0), "the equation %q makes %q from nothing", eq, string(right[j]))
			return
		}
		dims = append(dims, d)
	}
	c.set(0, tensor(elem, dims...))
}
