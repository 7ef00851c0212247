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
	from  int32 // expressions with a greater id were made in the body
}

// callFunction infers the node as a call of f.
func (c *call) callFunction(f *onnxpb.FunctionProto) {
	in := c.in
	if in.calling[f] {
		c.fail("", fmt.Sprintf("function %s calls itself, directly or through others", f.GetName()))
		return
	}
	key := c.callKey(f)
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
		in.memo[key] = done
	}
	c.s.calls[c.n] = done.scope
	renamed := map[*expr]*expr{}
	for i, v := range done.outs {
		if again && v != nil {
			v = in.escape(v, done.from, renamed)
		}
		c.set(i, v)
	}
}

// affordable says whether another nested graph may be inferred, and notes it if not.
func (in *inferrer) affordable(c *call) bool {
	if in.runs > 0 && in.depth < maxDepth {
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
	s := in.newScope(nil, opsets)
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
	from := in.al.next
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
	done := &calledFunction{scope: s, from: from}
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

// callKey is the same for calls that infer alike.
func (c *call) callKey(f *onnxpb.FunctionProto) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%p %v", f, c.s.dead)
	for _, v := range c.ins {
		b.WriteByte('|')
		c.in.valueKey(&b, v)
	}
	for _, at := range c.n.Attribute {
		v := c.s.Attr(c.n, at.GetName())
		if v == nil {
			continue
		}
		fmt.Fprintf(&b, "|%s=", at.GetName())
		switch v.GetType() {
		case onnxpb.AttributeProto_INT:
			fmt.Fprintf(&b, "i%d", v.GetI())
		case onnxpb.AttributeProto_FLOAT:
			fmt.Fprintf(&b, "f%x", v.GetF())
		case onnxpb.AttributeProto_STRING:
			fmt.Fprintf(&b, "s%q", v.GetS())
		case onnxpb.AttributeProto_INTS:
			fmt.Fprintf(&b, "is%v", v.Ints)
		default:
			fmt.Fprintf(&b, "%p", v)
		}
	}
	return b.String()
}

// valueKey writes what tells v from values that infer differently.
func (in *inferrer) valueKey(b *strings.Builder, v *value) {
	if v == nil {
		b.WriteByte('-')
		return
	}
	fmt.Fprintf(b, "%d %d %v %v", v.kind, v.elem, v.ranked, v.open)
	for _, d := range v.dims {
		b.WriteByte(' ')
		b.WriteString(strconv.Itoa(int(d.id)))
	}
	if v.count != nil {
		fmt.Fprintf(b, " n%d", v.count.id)
	}
	for _, d := range in.contentsOf(v) {
		if d == nil {
			b.WriteString(" ?")
		} else {
			fmt.Fprintf(b, " %d", d.id)
		}
	}
	if v.item != nil {
		b.WriteByte('(')
		in.valueKey(b, v.item)
		b.WriteByte(')')
	}
}

// escape is v for use outside of the graph that made it, which may run again:
// extents that nobody can name and that were made after from get new symbols,
// since another run of the graph may make others. renamed keeps equal ones equal.
func (in *inferrer) escape(v *value, from int32, renamed map[*expr]*expr) *value {
	private := func(e *expr) bool { return e != nil && !e.isConst() && e.text == "" && e.id > from }
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
			case !d.real:
				w.data[i] = rename(d)
			}
		}
	}
	if v.item != nil {
		w.item = in.escape(v.item, from, renamed)
	}
	return &w
}
