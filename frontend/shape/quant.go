package shape

import "github.com/dnnsplit/dnnsplit/compiler/ir"

// quantizeLinear makes the type of its zero point, or of attribute output_dtype.
func quantizeLinear(c *call) {
	v := c.input(0)
	elem := c.attrElem("output_dtype", ir.UndefinedElem)
	if elem == ir.UndefinedElem {
		if elem = ir.Uint8; c.has(2) {
			elem = c.elem(2)
		}
	}
	c.set(0, v.withElem(elem))
}

// dequantizeLinear makes the type of its scale.
func dequantizeLinear(c *call) {
	v := c.input(0)
	elem := c.attrElem("output_dtype", ir.UndefinedElem)
	if elem == ir.UndefinedElem {
		elem = c.elem(1)
	}
	c.set(0, v.withElem(elem))
}

func dynamicQuantizeLinear(c *call) {
	c.set(0, c.input(0).withElem(ir.Uint8))
	c.set(1, tensor(ir.Float32))
	c.set(2, tensor(ir.Uint8))
}

func qLinearConv(c *call) {
	elem := c.elem(7)
	if !c.has(7) || elem == ir.UndefinedElem {
		elem = c.elem(0)
	}
	c.conv(elem, 3)
}

func qLinearMatMul(c *call) {
	elem := c.elem(7)
	if elem == ir.UndefinedElem {
		elem = c.elem(0)
	}
	c.set(0, c.matmul(elem, c.input(0), c.input(3)))
}

// qGemm: A, its scale and zero point, B, its, C, and the output's scale and zero
// point; without the latter the output is float.
func qGemm(c *call) {
	elem := ir.Float32
	if c.has(8) {
		elem = c.elem(8)
	}
	c.set(0, c.gemm(elem, 0, 3))
}

// qLinearPairwise broadcasts A (input 0) and B (input 3).
func qLinearPairwise(c *call) {
	dims, ok := c.broadcastInputs(0, 3)
	c.set(0, shaped(c.elem(0), dims, ok))
}
