package export

import (
	"context"
	"fmt"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// dot draws the bundle at two levels: every node, coloured by processor and boxed
// by sub-model, and the sub-models with the tensors between them.
func (j *job) dot(ctx context.Context) error {
	nodes, err := j.nodes(ctx)
	if err != nil {
		return err
	}
	j.addText("submodels.dot", j.drawSubmodels())
	j.addText("nodes.dot", j.drawNodes(nodes))
	const many = 5000
	if len(nodes) > many {
		j.notef("nodes.dot has %d nodes: Graphviz's dot takes long for more than %d, its sfdp does not", len(nodes), many)
	}
	fmt.Fprintf(&j.text, "dot -Tsvg -O %s %s\n", shellQuoted(j.Output+"/submodels.dot"), shellQuoted(j.Output+"/nodes.dot"))
	return nil
}

// drawing is a graph in Graphviz's language.
type drawing struct{ b strings.Builder }

func (d *drawing) linef(format string, args ...any) { fmt.Fprintf(&d.b, format+"\n", args...) }

// dotText is a quoted string; "\n" in it breaks the line.
func dotText(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", " ").Replace(strings.ReplaceAll(s, "\x00", ""))
	return `"` + strings.ReplaceAll(s, "\n", `\n`) + `"`
}

// clip shortens a label in the middle, where long names differ least.
func clip(s string) string {
	const most = 40
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most/2]) + "…" + string(r[len(r)-most/2+1:])
}

// ends are the ports of the whole model: boxes that inputs come from and outputs go to.
func (d *drawing) ends(s *source) {
	seen := map[string]bool{}
	for _, in := range s.m.Inputs {
		d.linef("  %s [shape=ellipse, label=%s];", dotText("in "+in.Tensor), dotText(clip(in.Tensor)+"\n"+typeText(s.tensors[in.Tensor])))
	}
	for _, out := range s.m.Outputs {
		if !seen[out.Tensor] {
			d.linef("  %s [shape=ellipse, label=%s];", dotText("out "+out.Tensor), dotText(clip(out.Tensor)+"\n"+typeText(s.tensors[out.Tensor])))
		}
		seen[out.Tensor] = true
	}
}

// typeText is a tensor's type: "float32[1,3,?]".
func typeText(t backend.Tensor) string {
	if t.Shape == nil {
		return t.Dtype
	}
	dims := make([]string, len(t.Shape))
	for i, d := range t.Shape {
		switch {
		case d.N >= 0:
			dims[i] = fmt.Sprint(d.N)
		case d.Sym != "":
			dims[i] = d.Sym
		default:
			dims[i] = "?"
		}
	}
	return t.Dtype + "[" + strings.Join(dims, ",") + "]"
}

// drawSubmodels draws the quotient graph, a box for each device around it.
func (j *job) drawSubmodels() string {
	d := &drawing{}
	d.linef("digraph submodels {")
	d.linef("  rankdir=LR; compound=true; fontname=\"sans-serif\";")
	d.linef("  node [shape=box, style=\"filled,rounded\", fillcolor=white, fontname=\"sans-serif\"];")
	d.linef("  edge [fontname=\"sans-serif\", fontsize=10];")
	d.ends(j.source)
	for k, dev := range j.m.Devices {
		first := true
		for i, s := range j.m.Submodels {
			p := j.proc(i)
			if p.Device != dev.Name {
				continue
			}
			if first {
				d.linef("  subgraph cluster_%d {", k)
				d.linef("    label=%s; style=dashed;", dotText(dev.Name))
				first = false
			}
			label := fmt.Sprintf("%s\n%s (%s)\n%s, %s\n%s to %s", clip(s.ID), p.Name, p.Kind, diag.Count(s.Nodes+s.Replicas, "node", "nodes"), bytesText(s.WeightBytes),
				timeText(s.Predicted.StartUs), timeText(s.Predicted.EndUs))
			d.linef("    %s [fillcolor=%q, label=%s];", dotText("sub "+s.ID), j.color(i), dotText(label))
		}
		if !first {
			d.linef("  }")
		}
	}
	for _, in := range j.m.Inputs {
		for _, to := range in.To {
			d.linef("  %s -> %s [label=%s];", dotText("in "+in.Tensor), dotText("sub "+to), dotText(sentText(in.Transfers, j.device(to))))
		}
	}
	for _, e := range j.m.Edges {
		for _, to := range e.To {
			label := clip(e.Tensor) + "\n" + bytesText(e.Bytes)
			if t := sentText(e.Transfers, j.device(to)); t != "" {
				label += ", " + t
			}
			d.linef("  %s -> %s [label=%s];", dotText("sub "+e.From), dotText("sub "+to), dotText(label))
		}
	}
	for _, out := range j.m.Outputs {
		from := "in " + out.Tensor
		if out.From != nil {
			from = "sub " + *out.From
		}
		d.linef("  %s -> %s;", dotText(from), dotText("out "+out.Tensor))
	}
	d.linef("}")
	return d.b.String()
}

// device is where a sub-model runs.
func (s *source) device(id string) string { return s.proc(s.subs[id]).Device }

// sentText says how long a tensor is on its way to a device; "" if it is there already.
func sentText(hops []backend.Transfer, device string) string {
	start, end, found := 0.0, 0.0, false
	for _, h := range hops {
		if h.For != device {
			continue
		}
		if !found || h.Predicted.StartUs < start {
			start = h.Predicted.StartUs
		}
		found, end = true, max(end, h.Predicted.EndUs)
	}
	if !found {
		return ""
	}
	return timeText(end - start)
}

// timeText is a time for people.
func timeText(us float64) string {
	switch {
	case us >= 1e6:
		return fmt.Sprintf("%.3g s", us/1e6)
	case us >= 1e3:
		return fmt.Sprintf("%.3g ms", us/1e3)
	}
	return fmt.Sprintf("%.3g us", us)
}

// bytesText is a size for people, in binary units.
func bytesText(n int64) string {
	switch f := float64(n); {
	case f >= 1000<<20:
		return fmt.Sprintf("%.3g GiB", f/(1<<30))
	case f >= 1000<<10:
		return fmt.Sprintf("%.3g MiB", f/(1<<20))
	case f >= 1000:
		return fmt.Sprintf("%.3g KiB", f/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

// drawNodes draws every node. Replicas and constants are drawn once, in the
// sub-model that owns them, with dashed arrows to the users of a copy.
func (j *job) drawNodes(nodes []*placed) string {
	d := &drawing{}
	d.linef("digraph nodes {")
	d.linef("  fontname=\"sans-serif\";")
	d.linef("  node [shape=box, style=filled, fillcolor=white, fontname=\"sans-serif\", fontsize=10];")
	d.linef("  edge [fontname=\"sans-serif\", fontsize=9];")
	d.ends(j.source)
	maker := map[string]*placed{}
	id := func(p *placed) string { return dotText("node " + key(p.proto)) }
	bySub := make([][]*placed, len(j.m.Submodels))
	for _, p := range nodes {
		bySub[p.sub] = append(bySub[p.sub], p)
		for _, out := range p.proto.GetOutput() {
			if out != "" {
				maker[out] = p
			}
		}
	}
	for i, s := range j.m.Submodels {
		d.linef("  subgraph cluster_%d {", i)
		d.linef("    label=%s; color=%q;", dotText(s.ID+"\n"+j.proc(i).Name), "#888888")
		for _, p := range bySub[i] {
			label := p.proto.GetOpType()
			if p.proto.GetName() != "" {
				label += "\n" + clip(p.proto.GetName())
			}
			if p.cost > 0 {
				label += "\n" + timeText(p.cost)
			}
			d.linef("    %s [fillcolor=%q, label=%s];", id(p), j.color(i), dotText(label))
		}
		d.linef("  }")
	}
	inputs := map[string]bool{}
	for _, in := range j.m.Inputs {
		inputs[in.Tensor] = true
	}
	for _, p := range nodes {
		seen := map[string]bool{}
		for _, name := range reads(p.proto) {
			from := maker[name]
			switch {
			case seen[name]:
			case from != nil && from != p:
				style := ""
				switch {
				case from.sub == p.sub:
				case holds(from, p.sub):
					style = " [style=dashed]"
				default:
					style = fmt.Sprintf(" [penwidth=2, color=%q, label=%s]", "#d7301f", dotText(typeText(j.tensors[name])))
				}
				d.linef("  %s -> %s%s;", id(from), id(p), style)
			case from == nil && inputs[name]:
				d.linef("  %s -> %s;", dotText("in "+name), id(p))
			}
			seen[name] = true
		}
	}
	done := map[string]bool{}
	for _, out := range j.m.Outputs {
		if p := maker[out.Tensor]; p != nil && !done[out.Tensor] {
			d.linef("  %s -> %s;", id(p), dotText("out "+out.Tensor))
		}
		done[out.Tensor] = true
	}
	d.linef("}")
	return d.b.String()
}

// holds says whether a sub-model has a copy of a node.
func holds(p *placed, sub int) bool {
	for _, i := range p.copies {
		if i == sub {
			return true
		}
	}
	return false
}
