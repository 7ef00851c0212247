package report

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// HTMLFile is the name of the report in a bundle.
const HTMLFile = "report.html"

//go:embed report.tmpl.html
var pageTemplate string

//go:embed report.css
var pageStyle string

//go:embed report.js
var pageScript string

// Options are what the report says beside the placement.
type Options struct {
	Command string // that makes the bundle again; "" if it is not known
}

// HTML is the report: one page without references to anything outside it. m is
// the manifest of a bundle of l and p.
func HTML(m *backend.Manifest, l *ir.Lowered, p *ir.Placement, o Options) ([]byte, error) {
	v := newView(m, l, p)
	data, err := json.Marshal(v.data())
	if err != nil {
		return nil, err
	}
	page := struct {
		Title    string
		Style    template.CSS
		Script   template.JS
		Data     template.JS // json.Marshal escapes what could end the element
		Command  string
		Head     headline
		Bars     []comparison
		Gantt    gantt
		Quotient quotient
		Subs     []submodelCard
		Memory   []memoryBar
		Cuts     []cutRow
		CutsLeft int
		OpTypes  []opType
		Notes    []string
		Sources  []sourceShare
		Legend   []legendEntry
	}{
		Title: m.Model.File, Style: template.CSS(pageStyle), Script: template.JS(pageScript), Data: template.JS(data),
		Command: o.Command, Head: v.headline(), Bars: v.comparisons(), Gantt: v.gantt(), Quotient: v.quotient(),
		Subs: v.submodels(), Memory: v.memory(), OpTypes: v.opTypes(), Notes: m.Notes, Sources: v.sources(), Legend: v.legend(),
	}
	page.Cuts, page.CutsLeft = v.cuts()
	t, err := template.New("report").Parse(pageTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, page); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// view is a placement with what several parts of the page need.
type view struct {
	m        *backend.Manifest
	l        *ir.Lowered
	p        *ir.Placement
	ids      []string
	inputs   [][]ir.ValueID // by sub-model
	maker    []int          // by ValueID
	hopsOf   map[ir.ValueID][]int
	critical criticalPath
	colors   map[ir.ProcID]int
}

func newView(m *backend.Manifest, l *ir.Lowered, p *ir.Placement) *view {
	v := &view{m: m, l: l, p: p, ids: backend.SubmodelIDs(l.Problem.Platform, p.Plan), hopsOf: map[ir.ValueID][]int{}, colors: map[ir.ProcID]int{}}
	v.inputs, v.maker = dataflow(l.Problem.Graph, p.Plan)
	for i, h := range p.Schedule.Hops {
		v.hopsOf[h.Value] = append(v.hopsOf[h.Value], i)
	}
	v.critical = findCriticalPath(l, p, v.inputs, v.maker)
	used := map[ir.ProcID]bool{}
	for _, s := range p.Plan.Submodels {
		used[s.Processor] = true
	}
	for q := range l.Problem.Platform.Processors {
		if used[ir.ProcID(q)] {
			v.colors[ir.ProcID(q)] = len(v.colors) % colorCount
		}
	}
	return v
}

// colorCount is how many colours the style sheet has for processors.
const colorCount = 8

func (v *view) color(p ir.ProcID) int { return v.colors[p] }

// pageData is what the page's script works on. Nodes are numbered over all
// sub-models, replicas included; fields of one length run in parallel.
type pageData struct {
	Names   []string  `json:"names"`
	Ops     []string  `json:"ops"` // distinct
	Op      []int     `json:"op"`  // index into Ops
	Sub     []int     `json:"sub"`
	Us      []float64 `json:"us"`
	Source  []int     `json:"source"` // 0 roofline, 1 fitted, 2 measured
	Replica []int     `json:"replica"`
	Subs    []pageSub `json:"subs"`
}

// pageSub is the graph of one sub-model. Its nodes are Names[First:First+Count].
type pageSub struct {
	ID        string   `json:"id"`
	Processor string   `json:"processor"`
	Color     int      `json:"color"`
	First     int      `json:"first"`
	Count     int      `json:"count"`
	Tree      any      `json:"tree"`
	Edges     [][3]int `json:"edges"` // from, to (counted from First), bytes
}

func (v *view) data() pageData {
	g := v.l.Problem.Graph
	d := pageData{Names: []string{}, Ops: []string{}, Op: []int{}, Sub: []int{}, Us: []float64{}, Source: []int{}, Replica: []int{}, Subs: []pageSub{}}
	ops := map[string]int{}
	local := make([]int, g.NumNodes()) // 1 + place in the sub-model at hand
	for i, s := range v.p.Plan.Submodels {
		sub := pageSub{
			ID: v.ids[i], Processor: v.l.Problem.Platform.Processors[s.Processor].Name, Color: v.color(s.Processor),
			First: len(d.Names), Edges: [][3]int{},
		}
		var names []string
		nodes := v.heldBy(i)
		for k, h := range nodes {
			local[h.node] = k + 1
			op, ok := ops[g.Op(h.node)]
			if !ok {
				op = len(d.Ops)
				ops[g.Op(h.node)] = op
				d.Ops = append(d.Ops, g.Op(h.node))
			}
			name := g.NodeName(h.node)
			names = append(names, name)
			d.Names = append(d.Names, shorten(name, 200))
			d.Op = append(d.Op, op)
			d.Sub = append(d.Sub, i)
			d.Us = append(d.Us, v.l.Problem.Costs.Of(h.node, s.Processor).Us())
			d.Source = append(d.Source, int(v.source(h.node, s.Processor)))
			replica := 0
			if h.replica {
				replica = 1
			}
			d.Replica = append(d.Replica, replica)
			for _, id := range g.Inputs(h.node) {
				if from := g.Producer(id); from != ir.NoNode && local[from] > 0 {
					sub.Edges = append(sub.Edges, [3]int{local[from] - 1, k, int(g.Bytes(id))})
				}
			}
		}
		for _, h := range nodes {
			local[h.node] = 0
		}
		sub.Count = len(nodes)
		sub.Tree = foldNames(names).flat()
		d.Subs = append(d.Subs, sub)
	}
	return d
}
