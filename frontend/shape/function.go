package shape

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

type functionKey struct{ domain, name, overload string }

// calledFunction is the body of a function inferred for certain inputs and
// attributes. Calls that agree in those share it, so that functions which call
// one another many times over cost no more than their text.
type calledFunction struct {
	scope *Scope
	outs  []*value
	open  []*expr // what the inputs hold without a name, in order
}

// callFunction infers the node as a call of f.
func (c *call) callFunction(f *onnxpb.FunctionProto) {
	in := c.in
	if in.calling[f] {
		c.fail("", fmt.Sprintf("function %s calls itself, directly or through others", f.GetName()))
		return
	}
	key, open := c.callKey(f)
	done := in.memo[key]
	again := done != nil
	if !again {
		if !in.affordable(c) {
			return
		}
		done = in.inferFunction(c, f)
		if done == nil {
			return
		}
		done.open = open
		in.memo[key] = done
	}
	c.s.calls[c.n] = done.scope
	// What the first call got without a name, this one got too; what its body
	// made of it without a name, another run of the body makes anew.
	renamed := map[*expr]*expr{}
	for i, e := range done.open {
		renamed[e] = open[i]
	}
	for i, v := range done.outs {
		if again && v != nil {
			v = in.escape(v, 0, renamed)
		}
		c.set(i, v)
	}
}

// affordable says whether another nested graph may be inferred, and notes it if not.
func (in *inferrer) affordable(c *call) bool {
	if in.runs > 0 && (in.repeated == 0 || in.reruns > 0) && in.depth < maxDepth {
		return true
	}
	in.note(Truncated, c.n, "", "functions and loops nest too deeply or too often to be followed: the shapes that this node makes count as unknown")
	return false
}

func (in *inferrer) inferFunction(c *call, f *onnxpb.FunctionProto) *calledFunction {
	in.calling[f] = true
	in.depth++
	defer func() { in.depth--; delete(in.calling, f) }()

	opsets := opsetsOf(f.OpsetImport)
	for domain, version := range in.opsets {
		if _, ok := opsets[domain]; !ok {
			opsets[domain] = version
		}
	}
	s := in.newScope(nil, opsets, 0)
	s.dead = c.s.dead
	s.attrs = map[string]*onnxpb.AttributeProto{}
	for _, at := range f.AttributeProto {
		s.attrs[at.GetName()] = at
	}
	for _, at := range c.n.Attribute {
		if v := c.s.Attr(c.n, at.GetName()); v != nil {
			s.attrs[at.GetName()] = v
		}
	}
	for i, name := range f.Input {
		if i < len(c.ins) && c.ins[i] != nil {
			s.values[name] = c.ins[i]
		}
		// An absent optional input stays undefined: nodes of the body see it as absent.
	}
	declared := make(map[string]*onnxpb.TypeProto, len(f.ValueInfo))
	for _, v := range f.ValueInfo {
		declared[v.GetName()] = v.Type
	}
	s.outputs = f.Output
	s.absent = absentInputs(f, c.ins)
	if err := in.runNodes(s, f.Node, declared, false); err != nil {
		in.halt(err)
		return nil
	}
	done := &calledFunction{scope: s}
	for _, name := range f.Output {
		done.outs = append(done.outs, s.lookup(name))
	}
	return done
}

// absentInputs are the parameters of f that the caller leaves out.
func absentInputs(f *onnxpb.FunctionProto, ins []*value) map[string]bool {
	var absent map[string]bool
	for i, name := range f.Input {
		if i >= len(ins) || ins[i] == nil {
			if absent == nil {
				absent = map[string]bool{}
			}
			absent[name] = true
		}
	}
	return absent
}

// halt ends the inference: nothing that follows would be right.
func (in *inferrer) halt(err error) {
	if in.stop == nil {
		in.stop = err
	}
}

// callKey is the same for calls that infer alike. open lists the expressions in
// the inputs that have no name: they count by where they recur, not by identity.
func (c *call) callKey(f *onnxpb.FunctionProto) (key string, open []*expr) {
	k := &keyWriter{in: c.in, index: map[*expr]int{}}
	fmt.Fprintf(&k.b, "%p %v", f, c.s.dead)
	for _, v := range c.ins {
		k.b.WriteByte('|')
		k.value(v)
	}
	for _, at := range c.n.Attribute {
		v := c.s.Attr(c.n, at.GetName())
		if v == nil {
			continue
		}
		fmt.Fprintf(&k.b, "|%s=", at.GetName())
		switch v.GetType() {
		case onnxpb.AttributeProto_INT:
			fmt.Fprintf(&k.b, "i%d", v.GetI())
		case onnxpb.AttributeProto_FLOAT:
			fmt.Fprintf(&k.b, "f%x", v.GetF())
		case onnxpb.AttributeProto_STRING:
			fmt.Fprintf(&k.b, "s%q", v.GetS())
		case onnxpb.AttributeProto_INTS:
			fmt.Fprintf(&k.b, "is%v", v.Ints)
		default:
			fmt.Fprintf(&k.b, "%p", v)
		}
	}
	return k.b.String(), k.open
}

// keyWriter writes what tells values from values that infer differently.
type keyWriter struct {
	in    *inferrer
	b     strings.Builder
	open  []*expr
	index map[*expr]int // in open
}

func (k *keyWriter) value(v *value) {
	if v == nil {
		k.b.WriteByte('-')
		return
	}
	fmt.Fprintf(&k.b, "%d %d %v %v %v", v.kind, v.elem, v.ranked, v.open, v.assumed)
	for _, d := range v.dims {
		k.expr(d)
	}
	if v.count != nil {
		k.b.WriteString(" n")
		k.expr(v.count)
	}
	if data := k.in.contentsOf(v); data != nil {
		k.b.WriteString(" =")
		for _, d := range data {
			k.expr(d)
		}
	}
	if v.item != nil {
		k.b.WriteByte('(')
		k.value(v.item)
		k.b.WriteByte(')')
	}
}

func (k *keyWriter) expr(e *expr) {
	k.b.WriteByte(' ')
	switch {
	case e == nil:
		k.b.WriteByte('?')
	case e.isConst() || e.text != "" || e.op == opRealConst:
		k.b.WriteString(strconv.Itoa(int(e.id)))
	default:
		i, ok := k.index[e]
		if !ok {
			i = len(k.open)
			k.index[e] = i
			k.open = append(k.open, e)
		}
		fmt.Fprintf(&k.b, "#%d:%d:%d:%d:%x:%v", i, e.lo, e.hi, e.val, e.fval, e.assumed)
	}
}

// escape is v for use outside of the graph that made it, which may run again:
// extents that nobody can name and that were made after from get new symbols,
// since another run of the graph may make others. renamed keeps equal ones equal.
func (in *inferrer) escape(v *value, from int32, renamed map[*expr]*expr) *value {
	private := func(e *expr) bool {
		return e != nil && !e.isConst() && e.op != opRealConst && e.text == "" && e.id > from
	}
	dirty := v.item != nil || private(v.count)
	for _, d := range v.dims {
		dirty = dirty || private(d)
	}
	for _, d := range v.data {
		dirty = dirty || private(d)
	}
	if !dirty {
		return v
	}
	rename := func(e *expr) *expr {
		if !private(e) {
			return e
		}
		if renamed[e] == nil {
			renamed[e] = in.al.symbol("", e.lo, e.hi, e.val, e.assumed)
		}
		return renamed[e]
	}
	w := *v
	w.public = nil
	w.dims = nil
	for _, d := range v.dims {
		w.dims = append(w.dims, rename(d))
	}
	w.count = rename(v.count)
	if v.data != nil {
		w.data = make([]*expr, len(v.data))
		for i, d := range v.data {
			switch {
			case !private(d):
				w.data[i] = d
			case renamed[d] != nil || !d.real:
				w.data[i] = rename(d)
			}
		}
	}
	if v.item != nil {
		w.item = in.escape(v.item, from, renamed)
	}
	return &w
}
