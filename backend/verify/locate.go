package verify

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dnnsplit/dnnsplit/backend/runtime"
)

// maxExposedBytes bounds the model files that are read into memory to look inside.
const maxExposedBytes = 1 << 30

// expose is the encoded model with further graph outputs. It appends to the
// encoding: fields of a message that stand there twice are merged, so that a
// second graph that has outputs only adds them to the first.
func expose(model []byte, names []string) []byte {
	var graph []byte
	for _, name := range names {
		info := protowire.AppendTag(nil, 1, protowire.BytesType) // ValueInfoProto.name
		info = protowire.AppendString(info, name)
		graph = protowire.AppendTag(graph, 12, protowire.BytesType) // GraphProto.output
		graph = protowire.AppendBytes(graph, info)
	}
	out := append(make([]byte, 0, len(model)+len(graph)+16), model...)
	out = protowire.AppendTag(out, 7, protowire.BytesType) // ModelProto.graph
	return protowire.AppendBytes(out, graph)
}

// locate finds the sub-models that differ: it computes every tensor that travels
// with the whole model, gives each sub-model the values that the model has
// there, and compares what it makes of them. why says what keeps it from that.
func (v *verification) locate(ctx context.Context, feed map[string]*runtime.Value) (culprit *Culprit, why string, err error) {
	st, err := os.Stat(v.model)
	if err != nil {
		return nil, "", err
	}
	if st.Size() > maxExposedBytes {
		return nil, fmt.Sprintf("the model has more than %d bytes", maxExposedBytes), nil
	}
	body, err := os.ReadFile(v.model)
	if err != nil {
		return nil, "", err
	}
	isOutput := map[string]bool{}
	for _, name := range v.outputs {
		isOutput[name] = true
	}
	var names []string
	for _, sub := range v.manifest.Submodels {
		for _, name := range sub.Outputs {
			if !isOutput[name] {
				isOutput[name] = true
				names = append(names, name)
			}
		}
	}
	if len(names) > 0 {
		body = expose(body, names)
	}
	s, err := v.eng.Load(runtime.Model{Path: v.model, Data: body, Folder: filepath.Dir(v.model)}, runtime.Options{})
	if err != nil {
		return nil, err.Error(), ctx.Err()
	}
	defer func() { _ = s.Close() }()
	got, err := s.Run(ctx, feed)
	if err != nil {
		return nil, err.Error(), ctx.Err()
	}
	truth := make(map[string]*runtime.Value, len(feed)+len(got))
	for name, value := range feed {
		truth[name] = value
	}
	for i, port := range s.Outputs() {
		truth[port.Name] = got[i]
	}
	_ = s.Close()

	parts := NewParts(v.eng, v.dir, v.manifest, runtime.Options{})
	for i := range v.manifest.Submodels {
		sub, err := parts.load(i)
		if err != nil {
			return culprit, err.Error(), ctx.Err()
		}
		made, err := parts.call(ctx, i, sub, truth)
		ports := sub.Outputs()
		_ = sub.Close()
		if err != nil {
			return culprit, err.Error(), ctx.Err()
		}
		for j, port := range ports {
			d := Compare(truth[port.Name], made[j])
			if d.Equal() {
				continue
			}
			if culprit == nil {
				culprit = &Culprit{Submodel: parts.label(i), Tensor: port.Name, Diff: *d, Others: []string{}}
			} else if culprit.Submodel != parts.label(i) {
				culprit.Others = append(culprit.Others, parts.label(i))
			}
			break
		}
	}
	if culprit == nil {
		why = "every sub-model by itself computes what the model does on the model's own values"
	}
	return culprit, why, nil
}
