package work

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/shape"
	"google.golang.org/protobuf/proto"
)

// Signature is a canonical text of everything that the cost of n depends on:
// domain, operator, its version where that changes what it computes, element
// types and concrete shapes of inputs and outputs, attributes other than
// defaults, and contents of the small constant inputs that steer it. Nodes of equal signature cost the same on
// the same processor. For a node with nested graphs or a call of a function it
// ends with a hash over the signatures of what runs inside.
//
//	Conv(float32[1,3,224,224],const float32[64,3,7,7])->float32[1,64,112,112]{pads=3,3,3,3 strides=2,2}
//
// An absent input is "_", and an input that is the same in every run says const:
// runtimes arrange weights beforehand.
func Signature(s *shape.Scope, n *onnxpb.NodeProto) string {
	return (&signer{bodies: map[*shape.Scope]string{}}).node(s, n)
}

// UnitSignature is a canonical text of everything that the cost of nodes depends
// on which run as one: their kind, types of what comes from outside and of what
// they make together, and a hash over their signatures and who reads whose result.
// The nodes stand in the order in which they run.
//
//	Conv+Relu(float32[1,3,224,224],const float32[64,3,7,7])->float32[1,64,112,112]#0123456789abcdef
func UnitSignature(s *shape.Scope, kind string, nodes []*onnxpb.NodeProto) string {
	g := &signer{bodies: map[*shape.Scope]string{}}
	number := map[string]int{} // of a value: operands from outside and results in order of appearance
	read := map[string]bool{}
	made := map[string]bool{}
	for _, n := range nodes {
		for _, out := range n.Output {
			made[out] = true
		}
	}
	var b strings.Builder
	b.WriteString(kind)
	b.WriteByte('(')
	operands := runs{b: &b}
	h := sha256.New()
	wire := func(name string) {
		if _, ok := number[name]; !ok {
			number[name] = len(number)
		}
		h.Write(strconv.AppendInt([]byte{' '}, int64(number[name]), 10))
	}
	for _, n := range nodes {
		h.Write([]byte(g.node(s, n)))
		for i, in := range n.Input {
			if _, seen := number[in]; in != "" && !made[in] && !seen {
				operands.add(input(s, n, i, in))
			}
			wire(in)
			read[in] = true
		}
		for _, out := range n.Output {
			wire(out)
		}
		h.Write([]byte{'\n'})
	}
	operands.flush()
	b.WriteString(")->")
	results := runs{b: &b}
	for _, n := range nodes {
		for _, out := range n.Output {
			if out != "" && !read[out] {
				results.add(output(s, out))
			}
		}
	}
	results.flush()
	b.WriteByte('#')
	b.WriteString(hex.EncodeToString(h.Sum(nil)[:8]))
	return b.String()
}

type signer struct {
	bodies map[*shape.Scope]string // hashes
}

func (g *signer) node(s *shape.Scope, n *onnxpb.NodeProto) string {
	var b strings.Builder
	if d := n.GetDomain(); d != "" && d != "ai.onnx" {
		b.WriteString(d)
		b.WriteString("::")
	}
	b.WriteString(n.GetOpType())
	b.WriteString(meaning(n.GetOpType(), s.Since(n)))
	b.WriteByte('(')
	items := runs{b: &b}
	last := len(n.Input)
	for last > 0 && n.Input[last-1] == "" {
		last-- // trailing absent inputs are as good as none
	}
	for i, name := range n.Input[:last] {
		items.add(input(s, n, i, name))
	}
	items.flush()
	b.WriteString(")->")
	for _, name := range n.Output {
		items.add(output(s, name))
	}
	items.flush()
	g.attributes(&b, s, n)
	if body := s.Call(n); body != nil {
		b.WriteByte('#')
		b.WriteString(g.body(body))
	}
	return b.String()
}

// meaning tells apart versions of an operator that compute something else of
// equal operands; most versions only admit more types or move attributes to inputs.
func meaning(op string, since int64) string {
	switch op {
	case "Softmax", "LogSoftmax", "Hardmax": // over one axis since 13, over all from axis on before
		if since > 0 && since < 13 {
			return "-1"
		}
	case "Resize": // coordinates
		if since == 10 {
			return "-10"
		}
	case "Scan": // with a batch axis
		if since == 8 {
			return "-8"
		}
	}
	return ""
}

// runs writes a list of texts, equal neighbours once with their number.
type runs struct {
	b     *strings.Builder
	last  string
	count int
	more  bool
}

func (r *runs) add(text string) {
	if r.count > 0 && text == r.last {
		r.count++
		return
	}
	r.write()
	r.last, r.count = text, 1
}

func (r *runs) write() {
	if r.count == 0 {
		return
	}
	if r.more {
		r.b.WriteByte(',')
	}
	r.more = true
	r.b.WriteString(r.last)
	if r.count > 1 {
		r.b.WriteByte('*')
		r.b.WriteString(strconv.Itoa(r.count))
	}
}

func (r *runs) flush() {
	r.write()
	*r = runs{b: r.b}
}

func input(s *shape.Scope, n *onnxpb.NodeProto, i int, name string) string {
	if name == "" {
		return "_"
	}
	var b strings.Builder
	v, _ := s.Of(name)
	if s.Stored(name) {
		b.WriteString("const ")
	}
	writeType(&b, v)
	if v.Ints != nil && len(v.Ints) <= maxSteering && steers(n, i) {
		b.WriteByte('=')
		writeInts(&b, v.Ints)
	}
	return b.String()
}

func output(s *shape.Scope, name string) string {
	if name == "" {
		return "_"
	}
	var b strings.Builder
	v, _ := s.Of(name)
	writeType(&b, v)
	return b.String()
}

// maxSteering is how many elements an input has that steers: two for each of
// the axes of a tensor of rank 8.
const maxSteering = 16

// steers says whether the contents of input i tell what an operator does rather
// than what it works on: axes, pads, shapes, sizes, counts.
func steers(n *onnxpb.NodeProto, i int) bool {
	if d := n.GetDomain(); d != "" && d != "ai.onnx" && d != "com.microsoft" {
		return false
	}
	switch op := n.GetOpType(); op {
	case "Slice", "DynamicSlice":
		return i >= 1
	case "Pad", "DFT", "STFT", "Col2Im":
		return i >= 1
	case "Resize":
		return i == 3
	case "NonMaxSuppression", "MaxUnpool":
		return i == 2
	case "ConstantOfShape":
		return i == 0
	case "Range":
		return true
	case "Loop":
		return i <= 1
	case "Reshape", "Expand", "Tile", "Squeeze", "Unsqueeze", "Split", "TopK", "CumSum", "OneHot", "CenterCropPad", "AffineGrid", "Trilu", "SplitToSequence":
		return i == 1
	default:
		return i == 1 && strings.HasPrefix(op, "Reduce")
	}
}

func writeType(b *strings.Builder, v shape.Value) {
	if v.Dims == nil {
		b.WriteString(v.Type.Kind.String())
		b.WriteByte(' ')
		b.WriteString(strconv.FormatInt(v.Bytes, 10))
		return
	}
	if v.Type.Kind == ir.SparseTensor {
		b.WriteString("sparse ")
	}
	b.WriteString(v.Type.Elem.String())
	b.WriteByte('[')
	writeInts(b, v.Dims)
	b.WriteByte(']')
}

func writeInts(b *strings.Builder, ns []int64) {
	for i, n := range ns {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.FormatInt(n, 10))
	}
}

// attributes writes those that are not defaults, sorted by name.
func (g *signer) attributes(b *strings.Builder, s *shape.Scope, n *onnxpb.NodeProto) {
	type pair struct{ name, value string }
	var pairs []pair
	for _, at := range n.Attribute {
		name := at.GetName()
		if freeAttribute(n, name) {
			continue
		}
		v := s.Attr(n, name)
		if v == nil {
			continue
		}
		text := g.attribute(s, n, v)
		if name == "axis" && v.I != nil {
			text = axisText(s, n, v.GetI())
			if text == "-1" && meaning(n.GetOpType(), 13) != meaning(n.GetOpType(), s.Since(n)) {
				pairs = append(pairs, pair{name, text}) // the default was another axis once
				continue
			}
		}
		if !isDefault(n.GetOpType(), name, text) {
			pairs = append(pairs, pair{name, text})
		}
	}
	if len(pairs) == 0 {
		return
	}
	slices.SortStableFunc(pairs, func(x, y pair) int { return cmp.Compare(x.name, y.name) })
	b.WriteByte('{')
	for i, p := range pairs {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(p.name)
		b.WriteByte('=')
		b.WriteString(p.value)
	}
	b.WriteByte('}')
}

// axisText writes an axis of the first input counted from the end, so that both
// ways to name one agree.
func axisText(s *shape.Scope, n *onnxpb.NodeProto, axis int64) string {
	switch n.GetOpType() {
	case "OneHot", "ConcatFromSequence", "SplitToSequence", "SequenceConstruct", "Flatten":
		return strconv.FormatInt(axis, 10)
	}
	if v, ok := s.Of(firstInput(n)); ok && axis >= 0 && v.Dims != nil {
		axis -= int64(len(v.Dims))
	}
	return strconv.FormatInt(axis, 10)
}

func firstInput(n *onnxpb.NodeProto) string {
	if len(n.Input) > 0 {
		return n.Input[0]
	}
	return ""
}

// freeAttribute says whether an attribute never changes the cost.
func freeAttribute(n *onnxpb.NodeProto, name string) bool {
	switch name {
	case "doc_string", "epsilon", "alpha", "beta", "gamma", "seed", "momentum", "bias", "lambd", "consumed_inputs",
		"scale_value", "mask_filter_value", "mean", "low", "high", "extrapolation_value", "cubic_coeff_a":
		return n.GetDomain() == "" || n.GetDomain() == "ai.onnx" || name == "epsilon" || name == "alpha"
	}
	if name == "kernel_shape" && strings.Contains(n.GetOpType(), "Conv") {
		return true // the weights say it
	}
	if n.GetOpType() == "Constant" || n.GetOpType() == "ConstantOfShape" {
		return true // the contents of what they make
	}
	return false
}

func (g *signer) attribute(s *shape.Scope, n *onnxpb.NodeProto, at *onnxpb.AttributeProto) string {
	var b strings.Builder
	switch {
	case at.G != nil:
		if body := s.Body(n, at.GetName()); body != nil {
			return "#" + g.body(body)
		}
		return "#"
	case at.I != nil:
		return strconv.FormatInt(at.GetI(), 10)
	case at.F != nil:
		return strconv.FormatFloat(float64(at.GetF()), 'g', -1, 32)
	case at.S != nil:
		if plain(at.S) {
			return string(at.S)
		}
		return strconv.Quote(string(at.S))
	case len(at.Ints) > 0:
		if len(at.Ints) > 4*maxSteering {
			return digest(at)
		}
		writeInts(&b, at.Ints)
		return b.String()
	case at.T == nil && len(at.Floats) == 0 && len(at.Strings) == 0 && len(at.Graphs) == 0 && at.Tp == nil && at.SparseTensor == nil:
		return ""
	}
	return digest(at)
}

// plain says whether a string attribute can stand without quotes.
func plain(s []byte) bool {
	for _, c := range s {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"\{}=#`, c) >= 0 {
			return false
		}
	}
	return len(s) > 0
}

// digest stands for an attribute too large to be written.
func digest(at *onnxpb.AttributeProto) string {
	b, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(at)
	if err != nil {
		return "#"
	}
	sum := sha256.Sum256(b)
	return "#" + hex.EncodeToString(sum[:8])
}

// body is a hash over the signatures of the nodes of a graph.
func (g *signer) body(s *shape.Scope) string {
	if h, ok := g.bodies[s]; ok {
		return h
	}
	h := sha256.New()
	for _, n := range s.Nodes() {
		h.Write([]byte(g.node(s, n)))
		h.Write([]byte{'\n'})
	}
	sum := hex.EncodeToString(h.Sum(nil)[:8])
	g.bodies[s] = sum
	return sum
}
