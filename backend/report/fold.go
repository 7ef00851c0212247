package report

import (
	"slices"
	"strings"
)

// maxFold is the most parts that a group shows when it is unfolded.
const maxFold = 24

// maxFoldDepth bounds how deep names are taken apart.
const maxFoldDepth = 16

// fold is a tree over a sub-model's nodes: groups of nodes whose names begin alike.
// Leaves are nodes.
type fold struct {
	label string
	node  int // of a leaf: index into the sub-model's nodes; else -1
	parts []*fold
	first int // least index in it
	count int
}

// foldNames builds the tree for names in topological order. Names are split at
// slashes, or at dots where none has a slash. A group of too many parts is cut
// into runs of neighbours, since a graph of hundreds of boxes shows nothing.
func foldNames(names []string) *fold {
	separator := "."
	for _, n := range names {
		if strings.Contains(n, "/") {
			separator = "/"
			break
		}
	}
	root := &fold{node: -1}
	children := map[*fold]map[string]*fold{root: {}}
	for i, n := range names {
		at := root
		path := strings.SplitN(strings.Trim(n, separator), separator, maxFoldDepth)
		for _, segment := range path[:len(path)-1] {
			next := children[at][segment]
			if next == nil {
				next = &fold{label: segment, node: -1, first: i}
				children[at][segment] = next
				children[next] = map[string]*fold{}
				at.parts = append(at.parts, next)
			}
			at = next
		}
		at.parts = append(at.parts, &fold{label: path[len(path)-1], node: i, first: i})
	}
	root.tidy(separator)
	return root
}

// tidy counts, joins groups of one part with it, and cuts wide groups.
func (f *fold) tidy(separator string) {
	if f.node >= 0 {
		f.count = 1
		return
	}
	for i, p := range f.parts {
		p.tidy(separator)
		if p.node < 0 && len(p.parts) == 1 {
			only := p.parts[0]
			only.label = p.label + separator + only.label
			f.parts[i] = only
		}
		f.count += f.parts[i].count
	}
	slices.SortStableFunc(f.parts, func(a, b *fold) int { return a.first - b.first })
	for len(f.parts) > maxFold {
		f.parts = runsOf(f.parts)
	}
}

// runsOf joins neighbours to at most maxFold groups of equal length, or of maxFold
// parts where there are many.
func runsOf(parts []*fold) []*fold {
	size := min(maxFold, (len(parts)+maxFold/2-1)/(maxFold/2))
	var out []*fold
	for run := range slices.Chunk(parts, size) {
		if len(run) == 1 {
			out = append(out, run[0])
			continue
		}
		g := &fold{label: rangeLabel(run), node: -1, first: run[0].first, parts: run}
		for _, p := range run {
			g.count += p.count
		}
		out = append(out, g)
	}
	return out
}

// rangeLabel names a run of parts by its ends. A part that is a run itself lends
// the end that counts.
func rangeLabel(run []*fold) string {
	from, _, _ := strings.Cut(run[0].label, rangeMark)
	_, to, ok := strings.Cut(run[len(run)-1].label, rangeMark)
	if !ok {
		to = run[len(run)-1].label
	}
	return from + rangeMark + to
}

const rangeMark = " … "

// flat is the tree as the page's script reads it: of a leaf the node's index, of
// a group its label and parts.
func (f *fold) flat() any {
	if f.node >= 0 {
		return f.node
	}
	list := []any{f.label}
	for _, p := range f.parts {
		list = append(list, p.flat())
	}
	return list
}
