package compiler

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/backend"
)

// Difference is what changed from one split to another.
type Difference struct {
	Before DiffSide `json:"before"`
	After  DiffSide `json:"after"`

	SameModel bool            `json:"same_model"` // the model files have the same contents
	Options   []OptionChange  `json:"options"`    // what was asked for differently, by name
	Moved     []Move          `json:"moved"`      // nodes on another processor, the largest group first
	Gone      []PlacedNodes   `json:"gone"`       // nodes that only the first split has, by processor
	New       []PlacedNodes   `json:"new"`        // nodes that only the second split has, by processor
	Kept      int             `json:"kept"`       // nodes of both that stay on their processor
	Replicas  []ReplicaChange `json:"replicas"`   // processors whose replicas differ
	Edges     []EdgeChange    `json:"edges"`      // tensors that travel differently, in the order of the splits
	Memory    []MemoryChange  `json:"memory"`     // of every processor and device that either split uses
}

// DiffSide is one of the two splits. Times are microseconds.
type DiffSide struct {
	Bundle       string  `json:"bundle"`
	Model        string  `json:"model"`
	Objective    string  `json:"objective"`
	LatencyUs    float64 `json:"latency_us"`
	BottleneckUs float64 `json:"bottleneck_us"`
	LowerBoundUs float64 `json:"lower_bound_us"`
	Gap          float64 `json:"gap"`
	Measured     float64 `json:"measured"` // share of the predicted compute time that rests on measurement
	Submodels    int     `json:"submodels"`
	Processors   int     `json:"processors"` // that have a sub-model
	Edges        int     `json:"edges"`
	EdgeBytes    int64   `json:"edge_bytes"` // of all edges, each counted once
}

// OptionChange is an option that the two splits do not share; "" where one has none.
type OptionChange struct {
	Name   string `json:"name"`
	Before string `json:"before"`
	After  string `json:"after"`
}

// Move is a set of nodes that went from one processor to another.
type Move struct {
	From  string   `json:"from"`
	To    string   `json:"to"`
	Nodes []string `json:"nodes"` // in the order of the first split
}

// PlacedNodes are nodes of one processor.
type PlacedNodes struct {
	Processor string   `json:"processor"`
	Nodes     []string `json:"nodes"`
}

// ReplicaChange is a processor with other replicas than before.
type ReplicaChange struct {
	Processor string   `json:"processor"`
	Gone      []string `json:"gone"`
	New       []string `json:"new"`
}

// EdgeChange is a tensor that travels in one split only, or otherwise in the other.
type EdgeChange struct {
	Tensor string    `json:"tensor"`
	Before *EdgeEnds `json:"before"` // nil: it does not travel in the first split
	After  *EdgeEnds `json:"after"`  // nil: it does not travel in the second split
}

// EdgeEnds is the way of a tensor: processors, and bytes of the tensor.
type EdgeEnds struct {
	From  string   `json:"from"`
	To    []string `json:"to"`
	Bytes int64    `json:"bytes"`
}

func (e *EdgeEnds) equal(f *EdgeEnds) bool {
	return e.From == f.From && e.Bytes == f.Bytes && slices.Equal(e.To, f.To)
}

// MemoryChange is the memory that the splits take on a processor or, where it has
// several processors, a device; in bytes.
type MemoryChange struct {
	Name   string `json:"name"`
	Before int64  `json:"before"`
	After  int64  `json:"after"`
	Limit  *int64 `json:"limit"` // of the second split, else of the first; nil: none
}

// Same says whether the two splits place the same nodes in the same way.
func (d *Difference) Same() bool {
	return len(d.Moved)+len(d.Gone)+len(d.New)+len(d.Replicas)+len(d.Edges) == 0 && d.Before.Submodels == d.After.Submodels
}

// ReadBundle reads and checks the manifest of a bundle, given by its folder or by
// the manifest itself.
func ReadBundle(path string) (*backend.Manifest, error) {
	if st, err := os.Stat(path); err == nil && !st.IsDir() {
		body, err := os.ReadFile(path)
		if err != nil {
			return nil, fileError(path, err)
		}
		return backend.ParseManifest(path, body)
	}
	return backend.ReadManifest(path)
}

// Diff compares two splits, each given by its bundle's folder or its manifest.
func Diff(before, after string) (d *Difference, err error) {
	defer catch(&err)
	a, err := ReadBundle(before)
	if err != nil {
		return nil, err
	}
	b, err := ReadBundle(after)
	if err != nil {
		return nil, err
	}
	d = DiffManifests(a, b)
	d.Before.Bundle, d.After.Bundle = filepath.Clean(before), filepath.Clean(after)
	return d, nil
}

// DiffManifests compares two splits by their manifests.
func DiffManifests(a, b *backend.Manifest) *Difference {
	d := &Difference{
		Before: diffSide(a), After: diffSide(b), SameModel: a.Model.SHA256 == b.Model.SHA256,
		Options: optionChanges(a.Options, b.Options),
		Moved:   []Move{}, Gone: []PlacedNodes{}, New: []PlacedNodes{},
	}
	d.nodes(a, b)
	d.Replicas = replicaChanges(a, b)
	d.Edges = edgeChanges(a, b)
	d.Memory = memoryChanges(a, b)
	return d
}

func diffSide(m *backend.Manifest) DiffSide {
	s := DiffSide{
		Model: m.Model.File, Objective: m.Prediction.Objective, LatencyUs: m.Prediction.LatencyUs,
		BottleneckUs: m.Prediction.BottleneckUs, LowerBoundUs: m.Prediction.LowerBoundUs, Gap: m.Prediction.Gap,
		Measured: m.Prediction.CostSources.Measured, Submodels: len(m.Submodels), Edges: len(m.Edges),
	}
	for _, p := range m.Processors {
		if len(p.Submodels) > 0 {
			s.Processors++
		}
	}
	for _, e := range m.Edges {
		s.EdgeBytes += e.Bytes
	}
	return s
}

func optionChanges(a, b json.RawMessage) []OptionChange {
	read := func(raw json.RawMessage) map[string]json.RawMessage {
		m := map[string]json.RawMessage{}
		_ = json.Unmarshal(raw, &m) // a manifest that was read has an object here
		return m
	}
	x, y := read(a), read(b)
	all := map[string]bool{}
	for k := range x {
		all[k] = true
	}
	for k := range y {
		all[k] = true
	}
	changes := []OptionChange{}
	for _, k := range sortedKeys(all) {
		if u, v := compactJSON(x[k]), compactJSON(y[k]); u != v {
			changes = append(changes, OptionChange{k, u, v})
		}
	}
	return changes
}

// compactJSON is a value on one line; texts stand without their quotes.
func compactJSON(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return string(raw)
	}
	return b.String()
}

// owners lists the nodes of a split in its order, and the processor of each.
func owners(m *backend.Manifest) (names []string, on map[string]string) {
	on = map[string]string{}
	for _, s := range m.Submodels {
		for _, n := range s.NodeNames {
			names = append(names, n)
			on[n] = s.Processor
		}
	}
	return names, on
}

func (d *Difference) nodes(a, b *backend.Manifest) {
	namesA, onA := owners(a)
	namesB, onB := owners(b)
	type way struct{ from, to string }
	moves := map[way]int{}
	placed := func(list *[]PlacedNodes, processor, node string) {
		for i := range *list {
			if (*list)[i].Processor == processor {
				(*list)[i].Nodes = append((*list)[i].Nodes, node)
				return
			}
		}
		*list = append(*list, PlacedNodes{processor, []string{node}})
	}
	for _, n := range namesA {
		to, ok := onB[n]
		switch {
		case !ok:
			placed(&d.Gone, onA[n], n)
		case to == onA[n]:
			d.Kept++
		default:
			w := way{onA[n], to}
			i, seen := moves[w]
			if !seen {
				i = len(d.Moved)
				moves[w] = i
				d.Moved = append(d.Moved, Move{From: w.from, To: w.to})
			}
			d.Moved[i].Nodes = append(d.Moved[i].Nodes, n)
		}
	}
	for _, n := range namesB {
		if _, ok := onA[n]; !ok {
			placed(&d.New, onB[n], n)
		}
	}
	slices.SortStableFunc(d.Moved, func(x, y Move) int { return cmp.Compare(len(y.Nodes), len(x.Nodes)) })
}

func replicaChanges(a, b *backend.Manifest) []ReplicaChange {
	has := func(m *backend.Manifest) map[string][]string {
		by := map[string][]string{}
		for _, s := range m.Submodels {
			by[s.Processor] = append(by[s.Processor], s.ReplicaNames...)
		}
		return by
	}
	x, y := has(a), has(b)
	all := map[string]bool{}
	for k := range x {
		all[k] = true
	}
	for k := range y {
		all[k] = true
	}
	changes := []ReplicaChange{}
	for _, p := range sortedKeys(all) {
		if c := (ReplicaChange{p, without(x[p], y[p]), without(y[p], x[p])}); len(c.Gone)+len(c.New) > 0 {
			changes = append(changes, c)
		}
	}
	return changes
}

// without is the names of a that are not in b, each as often as it is more in a.
func without(a, b []string) []string {
	left := map[string]int{}
	for _, n := range b {
		left[n]++
	}
	out := []string{}
	for _, n := range a {
		if left[n] > 0 {
			left[n]--
			continue
		}
		out = append(out, n)
	}
	return out
}

func edgeChanges(a, b *backend.Manifest) []EdgeChange {
	ends := func(m *backend.Manifest) (names []string, by map[string]*EdgeEnds) {
		on := map[string]string{}
		for _, s := range m.Submodels {
			on[s.ID] = s.Processor
		}
		by = map[string]*EdgeEnds{}
		for _, e := range m.Edges {
			w := &EdgeEnds{From: on[e.From], Bytes: e.Bytes}
			for _, to := range e.To {
				w.To = append(w.To, on[to])
			}
			slices.Sort(w.To)
			w.To = slices.Compact(w.To)
			names = append(names, e.Tensor)
			by[e.Tensor] = w
		}
		return names, by
	}
	namesA, x := ends(a)
	namesB, y := ends(b)
	changes := []EdgeChange{}
	for _, t := range namesA {
		if y[t] == nil || !x[t].equal(y[t]) {
			changes = append(changes, EdgeChange{t, x[t], y[t]})
		}
	}
	for _, t := range namesB {
		if x[t] == nil {
			changes = append(changes, EdgeChange{t, nil, y[t]})
		}
	}
	return changes
}

func memoryChanges(a, b *backend.Manifest) []MemoryChange {
	changes := []MemoryChange{}
	note := func(name string, bytes int64, limit *int64, after bool) {
		i := slices.IndexFunc(changes, func(c MemoryChange) bool { return c.Name == name })
		if i < 0 {
			i = len(changes)
			changes = append(changes, MemoryChange{Name: name})
		}
		c := &changes[i]
		if after {
			c.After, c.Limit = bytes, limit
		} else {
			c.Before, c.Limit = bytes, limit
		}
	}
	for _, m := range []*backend.Manifest{a, b} {
		for _, p := range m.Processors {
			note(p.Name, p.MemoryBytes, p.MemoryLimitBytes, m == b)
		}
		for _, dev := range m.Devices {
			several := 0
			for _, p := range m.Processors {
				if p.Device == dev.Name {
					several++
				}
			}
			if several > 1 {
				note(dev.Name, dev.MemoryBytes, dev.MemoryLimitBytes, m == b)
			} else if i := slices.IndexFunc(changes, func(c MemoryChange) bool { return c.Name == dev.Name }); i >= 0 && changes[i].Limit == nil {
				changes[i].Limit = dev.MemoryLimitBytes
			}
		}
	}
	changes = slices.DeleteFunc(changes, func(c MemoryChange) bool { return c.Before == 0 && c.After == 0 })
	slices.SortStableFunc(changes, func(x, y MemoryChange) int { return strings.Compare(x.Name, y.Name) })
	return changes
}
