package backend

import (
	"container/heap"
	"context"
	"fmt"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// Field numbers of the messages that are taken apart here.
const (
	modelOpsetImport   protowire.Number = 8
	modelTrainingInfo  protowire.Number = 20
	modelFunctions     protowire.Number = 25
	modelConfiguration protowire.Number = 26

	graphNode        protowire.Number = 1
	graphName        protowire.Number = 2
	graphInitializer protowire.Number = 5
	graphDoc         protowire.Number = 10
	graphInput       protowire.Number = 11
	graphOutput      protowire.Number = 12
	graphValueInfo   protowire.Number = 13
	graphAnnotation  protowire.Number = 14
	graphSparse      protowire.Number = 15
	graphMetadata    protowire.Number = 16
)

// valueID numbers the top-level values of the model: initializers included,
// unlike ir.ValueID.
type valueID int32

// origin is what defines a value of the main graph.
type origin uint8

const (
	undefined  origin = iota
	fromInput         // a graph input that no initializer overrides
	fromDense         // an initializer
	fromSparse        // a sparse initializer
	fromNode          // a node's output
)

// index is the model with its names resolved to numbers. It is made once and
// read by the extraction of every sub-model, which then costs no more than the
// sub-model is large.
type index struct {
	m     *onnxfile.Model
	graph *onnxpb.GraphProto

	ids   map[string]valueID
	names []string

	// By valueID.
	kind       []origin
	at         []int32 // index of the node, initializer, sparse initializer or graph input; -1 if undefined
	slot       []int32 // of a node's output: its position among the node's outputs
	inputAt    []int32 // entry in the graph's inputs, also of initializers listed there; -1 if none
	outputAt   []int32 // first entry in the graph's outputs; -1 if none
	infoAt     []int32 // last entry in value_info (it wins in ONNX Runtime too); -1 if none
	annotation []int32 // entry in quantization_annotation; -1 if none

	// By node.
	reads  [][]valueID // distinct values that it depends on, captured ones included
	writes [][]valueID // outputs, empty ones left out
	rank   []int32     // position in a valid order; nil if the file's own order is one

	byField map[protowire.Number][]onnxfile.Field // of the graph message
	model   map[protowire.Number][]onnxfile.Field // of the model message
	unknown []onnxfile.Field                      // of the graph message, of numbers that the schema does not have
}

// newIndex resolves the names of a model. It fails where nodes read what nothing
// defines or depend on one another in a circle.
func newIndex(ctx context.Context, m *onnxfile.Model) (*index, error) {
	x := &index{
		m: m, graph: m.Proto.GetGraph(), ids: map[string]valueID{},
		byField: map[protowire.Number][]onnxfile.Field{}, model: map[protowire.Number][]onnxfile.Field{},
	}
	if x.graph == nil {
		return nil, &diag.Error{File: m.Path, Msg: "the model has no graph"}
	}
	x.collectFields()
	x.define()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := x.resolve(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return x, x.order()
}

// collectFields sorts the encoded fields by number. The schema's repeated fields
// are all length-delimited; an entry of another wire type is an unknown field.
func (x *index) collectFields() {
	for _, f := range x.m.GraphFields {
		switch {
		case f.Type != protowire.BytesType:
			x.unknown = append(x.unknown, f)
		case f.Num == graphNode, f.Num == graphName, f.Num == graphInitializer, f.Num == graphDoc, f.Num >= graphInput && f.Num <= graphMetadata:
			x.byField[f.Num] = append(x.byField[f.Num], f)
		default:
			x.unknown = append(x.unknown, f)
		}
	}
	for _, f := range x.m.Fields {
		if f.Type == protowire.BytesType {
			x.model[f.Num] = append(x.model[f.Num], f)
		}
	}
}

// value is the number of a name, given out when it is first seen.
func (x *index) value(name string) valueID {
	id, ok := x.ids[name]
	if !ok {
		id = valueID(len(x.names))
		x.ids[name] = id
		x.names = append(x.names, name)
		x.kind = append(x.kind, undefined)
		x.at = append(x.at, -1)
		x.slot = append(x.slot, -1)
		x.inputAt = append(x.inputAt, -1)
		x.outputAt = append(x.outputAt, -1)
		x.infoAt = append(x.infoAt, -1)
		x.annotation = append(x.annotation, -1)
	}
	return id
}

// define enters everything that gives a value a name.
func (x *index) define() {
	g := x.graph
	for i, v := range g.GetInput() {
		if v.GetName() == "" {
			continue
		}
		id := x.value(v.GetName())
		x.kind[id], x.at[id], x.inputAt[id] = fromInput, int32(i), int32(i)
	}
	// Of two initializers with one name the later one counts.
	for i, t := range g.GetInitializer() {
		if t.GetName() == "" {
			continue
		}
		id := x.value(t.GetName())
		x.kind[id], x.at[id] = fromDense, int32(i)
	}
	for i, t := range g.GetSparseInitializer() {
		if t.GetValues().GetName() == "" {
			continue
		}
		id := x.value(t.GetValues().GetName())
		x.kind[id], x.at[id] = fromSparse, int32(i)
	}
	x.writes = make([][]valueID, len(g.GetNode()))
	for i, n := range g.GetNode() {
		for k, name := range n.GetOutput() {
			if name == "" {
				continue
			}
			id := x.value(name)
			x.kind[id], x.at[id], x.slot[id] = fromNode, int32(i), int32(k)
			x.writes[i] = append(x.writes[i], id)
		}
	}
	for i, v := range g.GetValueInfo() {
		if id, ok := x.ids[v.GetName()]; ok {
			x.infoAt[id] = int32(i)
		}
	}
	for i, a := range g.GetQuantizationAnnotation() {
		if id, ok := x.ids[a.GetTensorName()]; ok && x.annotation[id] < 0 {
			x.annotation[id] = int32(i)
		}
	}
}

// resolve finds what every node reads.
func (x *index) resolve() error {
	g := x.graph
	x.reads = make([][]valueID, len(g.GetNode()))
	seen := make([]int32, len(x.names)) // by valueID: 1 + the last node that read it
	for i, n := range g.GetNode() {
		var err error
		read := func(name string) {
			id, ok := x.ids[name]
			switch {
			case !ok:
				if err == nil {
					err = &diag.Error{File: x.m.Path, Node: x.nodeLabel(int32(i)), Value: name, Msg: "the node reads it, but nothing defines it"}
				}
			case seen[id] != int32(i)+1:
				seen[id] = int32(i) + 1
				x.reads[i] = append(x.reads[i], id)
			}
		}
		for _, name := range n.GetInput() {
			if name != "" {
				read(name)
			}
		}
		for _, body := range bodies(n) {
			captured(body, nil, read)
		}
		if err != nil {
			return err
		}
	}
	for i, v := range g.GetOutput() {
		id, ok := x.ids[v.GetName()]
		if !ok {
			return &diag.Error{File: x.m.Path, Value: v.GetName(), Msg: "it is a graph output, but nothing defines it"}
		}
		if x.outputAt[id] < 0 {
			x.outputAt[id] = int32(i)
		}
	}
	return nil
}

// nodeLabel names a node for people.
func (x *index) nodeLabel(i int32) string {
	n := x.graph.GetNode()[i]
	if n.GetName() != "" {
		return n.GetName()
	}
	return fmt.Sprintf("%s#%d", n.GetOpType(), i)
}

// bodies are the graphs in a node's attributes.
func bodies(n *onnxpb.NodeProto) []*onnxpb.GraphProto {
	var out []*onnxpb.GraphProto
	for _, a := range n.GetAttribute() {
		if a.GetG() != nil {
			out = append(out, a.GetG())
		}
		out = append(out, a.GetGraphs()...)
	}
	return out
}

// names is a chain of the sets of names that nested graphs define, innermost first.
type names struct {
	local map[string]bool
	outer *names
}

func (s *names) has(name string) bool {
	for ; s != nil; s = s.outer {
		if s.local[name] {
			return true
		}
	}
	return false
}

// captured reports every name that graph g takes from outside, possibly more
// than once. A name that the graph or one around it defines anywhere (input,
// initializer, node output) hides an outer value. The reader bounds the nesting.
func captured(g *onnxpb.GraphProto, outer *names, read func(string)) {
	here := &names{local: map[string]bool{}, outer: outer}
	for _, v := range g.GetInput() {
		here.local[v.GetName()] = true
	}
	for _, t := range g.GetInitializer() {
		here.local[t.GetName()] = true
	}
	for _, t := range g.GetSparseInitializer() {
		here.local[t.GetValues().GetName()] = true
	}
	for _, n := range g.GetNode() {
		for _, name := range n.GetOutput() {
			here.local[name] = true
		}
	}
	use := func(name string) {
		if name != "" && !here.has(name) {
			read(name)
		}
	}
	for _, n := range g.GetNode() {
		for _, name := range n.GetInput() {
			use(name)
		}
		for _, body := range bodies(n) {
			captured(body, here, read)
		}
	}
	for _, v := range g.GetOutput() {
		use(v.GetName())
	}
}

// order finds a valid order of the nodes: the file's own if it is one, else
// always the ready node that stands first in the file.
func (x *index) order() error {
	sorted := true
	for i, reads := range x.reads {
		for _, v := range reads {
			sorted = sorted && (x.kind[v] != fromNode || int(x.at[v]) < i)
		}
	}
	if sorted {
		return nil
	}
	waits := make([]int32, len(x.reads))
	users := make([][]int32, len(x.reads))
	for i, reads := range x.reads {
		for _, v := range reads {
			if x.kind[v] == fromNode {
				users[x.at[v]] = append(users[x.at[v]], int32(i))
				waits[i]++
			}
		}
	}
	var ready nodeHeap
	for i, w := range waits {
		if w == 0 {
			ready = append(ready, int32(i))
		}
	}
	x.rank = make([]int32, len(waits))
	done := int32(0)
	for len(ready) > 0 {
		i := heap.Pop(&ready).(int32)
		x.rank[i] = done
		done++
		for _, u := range users[i] {
			if waits[u]--; waits[u] == 0 {
				heap.Push(&ready, u)
			}
		}
	}
	if int(done) == len(waits) {
		return nil
	}
	for i, w := range waits {
		if w > 0 {
			return &diag.Error{File: x.m.Path, Node: x.nodeLabel(int32(i)), Msg: "the node, or one that it depends on, depends on its own output"}
		}
	}
	return nil
}

// nodeHeap is a heap of nodes, the one that stands first in the file on top.
type nodeHeap []int32

func (h nodeHeap) Len() int           { return len(h) }
func (h nodeHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h nodeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *nodeHeap) Push(v any)        { *h = append(*h, v.(int32)) }
func (h *nodeHeap) Pop() any {
	old := *h
	v := old[len(old)-1]
	*h = old[:len(old)-1]
	return v
}
