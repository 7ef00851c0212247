package shape

import (
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// listLen is the number of entries of a list attribute; 0 if it is absent.
func (c *call) listLen(name string) int {
	at := c.attr(name)
	if at == nil {
		return 0
	}
	if at.T != nil {
		return int(max(0, c.in.storedTensor(at.T).elements()))
	}
	return max(len(at.Ints), len(at.Floats), len(at.Strings))
}

func floatOfSameShape(c *call) { c.set(0, c.input(0).withElem(ir.Float32)) }

func arrayFeatureExtractor(c *call) {
	v, ix := c.input(0), c.input(1)
	if !v.ranked || !ix.ranked || len(v.dims) == 0 {
		c.set(0, unranked(v.elem))
		return
	}
	count := c.al.product(ix.dims)
	if len(v.dims) == 1 {
		c.set(0, tensor(v.elem, c.num(1), count))
		return
	}
	dims := slices.Clone(v.dims)
	dims[len(dims)-1] = count
	c.set(0, tensor(v.elem, dims...))
}

func castMap(c *call) {
	elem := ir.Float32
	switch c.attrString("cast_to", "TO_FLOAT") {
	case "TO_INT64":
		elem = ir.Int64
	case "TO_STRING":
		elem = ir.String
	}
	width := c.num(c.attrInt("max_map", 1))
	if c.attrString("map_form", "DENSE") == "DENSE" {
		width = c.dataDependent(0, 1, nil, "the number of keys")
	}
	c.set(0, tensor(elem, c.num(1), width))
}

// categoryMapper makes integers of strings and strings of integers.
func categoryMapper(c *call) {
	elem := ir.UndefinedElem
	switch c.elem(0) {
	case ir.String:
		elem = ir.Int64
	case ir.Int64:
		elem = ir.String
	}
	c.set(0, c.input(0).withElem(elem))
}

func dictVectorizer(c *call) {
	n := max(c.listLen("string_vocabulary"), c.listLen("int64_vocabulary"))
	elem := ir.UndefinedElem
	if item := c.input(0).item; c.input(0).kind == ir.Map && item != nil {
		elem = item.elem
	}
	c.set(0, tensor(elem, c.num(1), c.num(int64(n))))
}

func featureVectorizer(c *call) {
	widths, given := c.attrInts("inputdimensions")
	batch := c.num(1)
	if v := c.input(0); v.rank() == 2 {
		batch = v.dims[0]
	}
	total := c.num(0)
	for i := range c.ins {
		switch v := c.input(i); {
		case given && i < len(widths):
			total = c.al.add(total, c.num(max(0, widths[i])))
		case v.rank() > 0:
			total = c.al.add(total, v.dims[len(v.dims)-1])
		default:
			total = c.al.add(total, c.fresh(nil))
		}
	}
	c.set(0, tensor(ir.Float32, batch, total))
}

func labelEncoder(c *call) {
	elem := ir.UndefinedElem
	if c.since < 2 { // classes_strings maps between strings and integers
		categoryMapper(c)
		return
	}
	switch {
	case c.attr("values_strings") != nil:
		elem = ir.String
	case c.attr("values_int64s") != nil:
		elem = ir.Int64
	case c.attr("values_floats") != nil:
		elem = ir.Float32
	case c.attr("values_tensor") != nil && c.attr("values_tensor").T != nil:
		elem = ir.ElemType(c.attr("values_tensor").T.GetDataType())
	}
	c.set(0, c.input(0).withElem(elem))
}

// samples is the number of rows that a classifier or regressor sees.
func (c *call) samples() *expr {
	switch v := c.input(0); v.rank() {
	case 1:
		return c.num(1)
	case -1, 0:
		return c.fresh(nil)
	default:
		return v.dims[0]
	}
}

// labels are the element type and number of the classes.
func (c *call) labels() (ir.ElemType, int) {
	for _, name := range []string{"classlabels_strings", "classlabels_strings_tensor"} {
		if n := c.listLen(name); n > 0 {
			return ir.String, n
		}
	}
	return ir.Int64, max(c.listLen("classlabels_ints"), c.listLen("classlabels_int64s"))
}

func classifier(c *call) {
	elem, n := c.labels()
	rows := c.samples()
	c.set(0, tensor(elem, rows))
	width := c.num(int64(n))
	if n == 0 {
		width = c.dataDependent(1, 1, nil, "the number of classes")
	}
	c.set(1, tensor(ir.Float32, rows, width))
}

// svmClassifier has a score for each class, or for each pair of classes.
func svmClassifier(c *call) {
	elem, n := c.labels()
	rows := c.samples()
	c.set(0, tensor(elem, rows))
	c.set(1, tensor(ir.Float32, rows, c.dataDependent(1, 1, c.num(int64(max(1, n))), "the number of classes or pairs of them")))
}

func regressor(targets string) func(*call) {
	return func(c *call) {
		n := int64(1)
		if targets != "" {
			n = c.attrInt(targets, 1)
		}
		c.set(0, tensor(ir.Float32, c.samples(), c.num(max(0, n))))
	}
}

func treeEnsemble(c *call) {
	c.set(0, tensor(c.elem(0), c.samples(), c.num(max(0, c.attrInt("n_targets", 1)))))
}

func oneHotEncoder(c *call) {
	v := c.input(0)
	n := max(c.listLen("cats_int64s"), c.listLen("cats_strings"))
	if !v.ranked {
		c.set(0, unranked(ir.Float32))
		return
	}
	c.set(0, tensor(ir.Float32, append(slices.Clone(v.dims), c.num(int64(n)))...))
}

// zipMap makes a map of each row.
func zipMap(c *call) {
	n := int64(max(c.listLen("classlabels_int64s"), c.listLen("classlabels_strings")))
	var count *expr
	if v := c.input(0); v.rank() == 1 {
		count = c.num(1)
	} else if v.rank() == 2 {
		count = v.dims[0]
	}
	item := &value{kind: ir.Map, item: tensor(ir.Float32, c.num(n))}
	c.set(0, sequence(item, count))
}
