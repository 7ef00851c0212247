package verify

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"github.com/dnnsplit/dnnsplit/frontend/onnxtest"
)

// bundle is a model on disk with a bundle beside it, cut by hand.
type bundle struct {
	dir      string
	model    string
	manifest *backend.Manifest
}

// cut writes m and a bundle of it: parts lists the nodes of each sub-model. The
// types of the values that travel must stand in the model's value infos. tweak,
// if not nil, may change a sub-model before it is written.
func cut(t *testing.T, m *onnxtest.Model, parts [][]int, tweak func(i int, sub *onnxpb.ModelProto)) *bundle {
	t.Helper()
	root := t.TempDir()
	b := &bundle{dir: filepath.Join(root, "model.split"), model: filepath.Join(root, "model.onnx")}
	if err := m.WriteFile(b.model); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	whole := m.Proto()
	g := whole.GetGraph()

	types := map[string]*onnxpb.ValueInfoProto{}
	isInput, isInit, maker := map[string]bool{}, map[string]*onnxpb.TensorProto{}, map[string]int{}
	for _, list := range [][]*onnxpb.ValueInfoProto{g.Input, g.Output, g.ValueInfo} {
		for _, info := range list {
			types[info.GetName()] = info
		}
	}
	for _, init := range g.Initializer {
		isInit[init.GetName()] = init
	}
	for _, in := range g.Input {
		isInput[in.GetName()] = isInit[in.GetName()] == nil
	}
	for i, nodes := range parts {
		for _, n := range nodes {
			for _, out := range g.Node[n].Output {
				maker[out] = i
			}
		}
	}
	man := &backend.Manifest{
		Schema: backend.ManifestSchema, Tool: backend.Tool{Name: "dnnsplit", Version: "test"},
		Model:   backend.Model{File: "model.onnx", SHA256: fileSHA(t, b.model)},
		Options: json.RawMessage("{}"), Devices: []backend.Device{{Name: "d"}}, Files: []backend.File{}, Notes: []string{},
		Edges: []backend.Edge{}, Inputs: []backend.Input{}, Outputs: []backend.Output{}, Processors: []backend.Processor{},
		Prediction: backend.Prediction{Objective: "latency"},
	}

	readers := map[string][]int{} // by value: the parts that read it
	for i, nodes := range parts {
		for _, n := range nodes {
			for _, in := range reads(g.Node[n]) {
				if !slices.Contains(readers[in], i) {
					readers[in] = append(readers[in], i)
				}
			}
		}
	}
	isOutput := map[string]bool{}
	for _, out := range g.Output {
		isOutput[out.GetName()] = true
	}
	id := func(i int) string { return "p" + strconv.Itoa(i) }
	for i, nodes := range parts {
		sub := proto.Clone(whole).(*onnxpb.ModelProto)
		sg := sub.Graph
		sg.Node, sg.Input, sg.Output, sg.Initializer, sg.ValueInfo = nil, nil, nil, nil, nil
		s := backend.Submodel{ID: id(i), File: id(i) + ".onnx", Processor: id(i), Nodes: len(nodes), Inputs: []string{}, Outputs: []string{}, NodeNames: []string{}, ReplicaNames: []string{}}
		seen := map[string]bool{}
		for _, n := range nodes {
			sg.Node = append(sg.Node, g.Node[n])
			for _, in := range reads(g.Node[n]) {
				if seen[in] {
					continue
				}
				seen[in] = true
				at, made := maker[in]
				switch {
				case isInit[in] != nil:
					sg.Initializer = append(sg.Initializer, isInit[in])
				case isInput[in] || (made && at != i):
					sg.Input = append(sg.Input, types[in])
					s.Inputs = append(s.Inputs, in)
				}
			}
			for _, out := range g.Node[n].Output {
				if isOutput[out] || slices.ContainsFunc(readers[out], func(r int) bool { return r != i }) {
					if types[out] == nil {
						t.Fatalf("no type for %s", out)
					}
					sg.Output = append(sg.Output, types[out])
					s.Outputs = append(s.Outputs, out)
				}
			}
		}
		if tweak != nil {
			tweak(i, sub)
		}
		body, err := proto.Marshal(sub)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(b.dir, s.File), body, 0o666); err != nil {
			t.Fatal(err)
		}
		s.SHA256, s.Bytes = fileSHA(t, filepath.Join(b.dir, s.File)), int64(len(body))
		man.Submodels = append(man.Submodels, s)
		man.Processors = append(man.Processors, backend.Processor{Name: id(i), Device: "d", Submodels: []string{id(i)}})
		for _, out := range s.Outputs {
			e := backend.Edge{Tensor: out, Dtype: "x", From: id(i), To: []string{}, Transfers: []backend.Transfer{}}
			for _, r := range readers[out] {
				if r != i {
					e.To = append(e.To, id(r))
				}
			}
			if len(e.To) > 0 {
				man.Edges = append(man.Edges, e)
			}
		}
	}
	for _, in := range g.Input {
		if !isInput[in.GetName()] {
			continue
		}
		e := backend.Input{Tensor: in.GetName(), To: []string{}, Transfers: []backend.Transfer{}}
		for _, r := range readers[in.GetName()] {
			e.To = append(e.To, id(r))
		}
		man.Inputs = append(man.Inputs, e)
		man.Model.Inputs = append(man.Model.Inputs, backend.Tensor{Name: in.GetName(), Dtype: "x"})
	}
	for _, out := range g.Output {
		e := backend.Output{Tensor: out.GetName(), Transfers: []backend.Transfer{}}
		if i, ok := maker[out.GetName()]; ok {
			from := id(i)
			e.From = &from
		}
		man.Outputs = append(man.Outputs, e)
		man.Model.Outputs = append(man.Model.Outputs, backend.Tensor{Name: out.GetName(), Dtype: "x"})
	}
	b.manifest = man
	b.writeManifest(t)
	return b
}

// reads are a node's inputs, those of its nested graphs that come from outside included.
func reads(n *onnxpb.NodeProto) []string {
	var names []string
	for _, in := range n.Input {
		if in != "" {
			names = append(names, in)
		}
	}
	for _, a := range n.Attribute {
		g := a.G
		if g == nil {
			continue
		}
		inside := map[string]bool{}
		for _, in := range g.Input {
			inside[in.GetName()] = true
		}
		for _, init := range g.Initializer {
			inside[init.GetName()] = true
		}
		for _, m := range g.Node {
			for _, in := range reads(m) {
				if !inside[in] {
					names = append(names, in)
				}
			}
			for _, out := range m.Output {
				inside[out] = true
			}
		}
	}
	return names
}

func (b *bundle) writeManifest(t *testing.T) {
	t.Helper()
	body, err := b.manifest.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b.dir, backend.ManifestFile), body, 0o666); err != nil {
		t.Fatal(err)
	}
}

// resum brings the manifest's sums up to date with the files.
func (b *bundle) resum(t *testing.T) {
	t.Helper()
	for i := range b.manifest.Submodels {
		s := &b.manifest.Submodels[i]
		s.SHA256 = fileSHA(t, filepath.Join(b.dir, s.File))
	}
	b.writeManifest(t)
}

func fileSHA(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
