package export

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// placed is a node and where it is.
type placed struct {
	proto  *onnxpb.NodeProto
	m      *onnxfile.Model // that it was read from
	body   onnxfile.Chunk  // encoded
	sub    int             // the sub-model that owns it
	copies []int           // others that hold it: replicas, and constants, which every user has
	label  string          // its name in the execution graph, if it has one there
	cost   float64         // predicted for label, us; negative: it stands for no node of the execution graph, or that is not known
}

// key identifies a node among those of a graph: its first output. "" if it has none.
func key(n *onnxpb.NodeProto) string {
	for _, out := range n.GetOutput() {
		if out != "" {
			return out
		}
	}
	return ""
}

// nodes reads the nodes of all sub-models, each once, in topological order: by
// the first sub-model that holds it, in execution order.
func (j *job) nodes(ctx context.Context) ([]*placed, error) {
	var all []*placed
	at := map[string]*placed{}
	for i := range j.m.Submodels {
		m, err := j.open(ctx, i)
		if err != nil {
			return nil, err
		}
		g := m.Proto.GetGraph()
		k := 0
		for _, f := range m.GraphFields {
			if f.Num != graphNode {
				continue
			}
			n := g.GetNode()[k]
			k++
			if p := at[key(n)]; p != nil {
				p.copies = append(p.copies, i)
				continue
			}
			p := &placed{proto: n, m: m, body: f.Body, sub: i, cost: -1}
			at[key(n)] = p
			all = append(all, p)
		}
	}
	j.own(all)
	return all, nil
}

// own finds out which of the sub-models that hold a node owns it, and what the
// execution graph calls it.
func (j *job) own(all []*placed) {
	costs := j.nodeCosts()
	outputs, owned, copied := make([]map[string]bool, len(j.m.Submodels)), make([]map[string]bool, len(j.m.Submodels)), make([]map[string]bool, len(j.m.Submodels))
	for i, s := range j.m.Submodels {
		outputs[i], owned[i], copied[i] = setOf(s.Outputs), setOf(s.NodeNames), setOf(s.ReplicaNames)
	}
	seen := map[string]int{}
	for k, p := range all {
		holders := append([]int{p.sub}, p.copies...)
		names := labels(p.proto, k, seen)
		inside := func(sets []map[string]bool, i int) bool {
			return slices.ContainsFunc(names, func(n string) bool { return sets[i][n] })
		}
		owner := -1
		if len(holders) == 1 {
			owner = p.sub
		}
		for _, rule := range []func(i int) bool{
			func(i int) bool {
				return slices.ContainsFunc(p.proto.GetOutput(), func(o string) bool { return outputs[i][o] })
			},
			func(i int) bool { return inside(owned, i) },
			func(i int) bool { return !inside(copied, i) }, // a constant: whoever comes first
			func(int) bool { return true },
		} {
			if x := slices.IndexFunc(holders, rule); owner < 0 && x >= 0 {
				owner = holders[x]
			}
		}
		p.sub = owner
		p.copies = slices.DeleteFunc(holders, func(i int) bool { return i == owner })
		for _, n := range names {
			if owned[owner][n] && p.label == "" {
				p.label = n
			}
		}
		if p.label != "" && costs != nil {
			p.cost = costs[owner][p.label]
		}
	}
}

// labels are the names that the execution graph may have for a node: its own,
// with a number if it is not the first of that name, or its operator and place.
func labels(n *onnxpb.NodeProto, place int, seen map[string]int) []string {
	name := n.GetName()
	if name == "" {
		return []string{fmt.Sprintf("%s#%d", n.GetOpType(), place)}
	}
	seen[name]++
	if k := seen[name]; k > 1 {
		return []string{name + "~" + strconv.Itoa(k)}
	}
	return []string{name}
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}

// reads are the values that a node takes, those that graphs inside it take from
// outside included. Names that such a graph defines itself may be among them.
func reads(n *onnxpb.NodeProto) []string {
	var names []string
	add := func(list []string) {
		for _, s := range list {
			if s != "" {
				names = append(names, s)
			}
		}
	}
	var inside func(n *onnxpb.NodeProto)
	inside = func(n *onnxpb.NodeProto) {
		add(n.GetInput())
		for _, a := range n.GetAttribute() {
			graphs := a.GetGraphs()
			if a.G != nil {
				graphs = append([]*onnxpb.GraphProto{a.G}, graphs...)
			}
			for _, g := range graphs {
				for _, m := range g.GetNode() {
					inside(m)
				}
				for _, out := range g.GetOutput() {
					add([]string{out.GetName()})
				}
			}
		}
	}
	inside(n)
	return names
}

// colors are the background colours of processors, light enough for black text.
// They differ in hue first, since neighbours in the list run side by side.
var colors = [...]string{
	"#a6cee3", "#fdbf6f", "#b2df8a", "#fb9a99", "#cab2d6", "#ffff99",
	"#80cdc1", "#f4cae4", "#d9d9d9", "#e6c29b", "#9ecae1", "#c7e9c0",
}

// color is the colour of a sub-model's processor.
func (s *source) color(sub int) string {
	return colors[s.procs[s.m.Submodels[sub].Processor]%len(colors)]
}
