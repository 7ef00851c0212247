package export

import (
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/dnnsplit/dnnsplit/backend"
	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// The annotated model is the source model with the placement written into it, in
// the three ways that tools read:
//
//   - ONNX IR version 11: a device configuration that lists the processors; of
//     each node its pipeline_stage, the sub-model's place in execution order, and
//     for each output a sharding specification without sharded axes, which says
//     on which device the tensor lives whole. Stages alone could not say that two
//     sub-models share a processor.
//   - ONNX Runtime: "layer_ann" in the metadata of each node, which the session
//     option session.layer_assignment_settings maps to devices. A sub-model has a
//     prefix of its own that is no prefix of another's.
//   - people: dnnsplit.* in the metadata of nodes and model, which Netron shows.
//
// All of that are hints: the model computes what it did before.

const (
	// annotatedIR is the IR version that has device configurations.
	annotatedIR = 11
	// constantIR is the version from which on an initializer that is listed as an
	// input is a default value; before it was constant.
	constantIR = 4
	// importIR is the version from which on models must import operator sets.
	importIR = 3
)

// Field numbers of ModelProto and NodeProto.
const (
	modelIR            = 1
	modelOpsetImport   = 8
	modelMetadata      = 14
	modelConfiguration = 26

	nodeMetadata       = 9
	nodeConfigurations = 10
)

// Keys of metadata.
const (
	layerKey      = "layer_ann"
	ownPrefix     = "dnnsplit."
	processorsKey = ownPrefix + "processors"
)

// SettingsKey is ONNX Runtime's session option that maps layers to devices.
const SettingsKey = "session.layer_assignment_settings"

func (j *job) annotated(ctx context.Context) error {
	path, err := backend.FindModel(j.Model, j.dir, j.m)
	if err != nil {
		return err
	}
	sum, err := backend.HashFile(ctx, path)
	if err != nil {
		return err
	}
	if !strings.EqualFold(sum, j.m.Model.SHA256) {
		return &diag.Error{File: path, Msg: "it is not the model that was split: its SHA-256 is " + sum + ", the manifest says " + j.m.Model.SHA256}
	}
	m, err := onnxfile.Open(ctx, path, j.Limits)
	if err != nil {
		return err
	}
	j.closers = append(j.closers, m)
	parts, err := j.nodes(ctx)
	if err != nil {
		return err
	}
	a, err := j.assemble(m, parts)
	if err != nil {
		return err
	}
	t := &annotation{job: j, m: m, list: a}
	t.nameConfiguration()
	d, err := t.draft()
	if err != nil {
		return &diag.Error{File: path, Msg: "it cannot be annotated", Err: err}
	}
	if n := d.Size(); n > onnxfile.MaxModelBytes {
		return &diag.Error{File: path, Msg: fmt.Sprintf("annotated it would have %d bytes, an ONNX file can have %d: move its weights to external data first", n, int64(onnxfile.MaxModelBytes))}
	}
	name := safe(j.Name) + ".onnx"
	j.files = append(j.files, fileOf(name, d))
	j.sources = append(j.sources, m.Files()...)
	if err := j.externalData(m, name); err != nil {
		return err
	}
	return t.describe()
}

// sharedDigest is the SHA-256 of a data file that the bundle shares with the source;
// "" if it shares none of that name.
func (j *job) sharedDigest(name string) string {
	for _, s := range j.m.Submodels {
		if slices.Contains(s.References, name) {
			for _, f := range j.m.Files {
				if f.File == name {
					return f.SHA256
				}
			}
		}
	}
	return ""
}

// externalData adds copies of the files with external data, where the model says
// that they are.
func (j *job) externalData(m *onnxfile.Model, model string) error {
	for _, file := range m.Files()[1:] {
		rel, err := filepath.Rel(filepath.Dir(m.Path), file)
		if err != nil || !filepath.IsLocal(rel) {
			diag.Bugf("%s was opened with external data %s, which is not below its folder", m.Path, file)
		}
		name := path.Clean(filepath.ToSlash(rel))
		var size int64
		if st, err := os.Stat(file); err == nil {
			size = st.Size()
		}
		if strings.EqualFold(name, model) || strings.EqualFold(name, ListFile) {
			return &diag.Error{File: file, Msg: "external data cannot have the name of another file of the export: choose another with --name"}
		}
		j.files = append(j.files, backend.FolderFile{Name: name, Bytes: size, SHA256: j.sharedDigest(name), Write: func(w io.Writer) error { return copyTo(w, file) }})
	}
	return nil
}

// annotation is the annotated model in the making.
type annotation struct {
	*job
	m             *onnxfile.Model
	list          *assembled
	configuration string // name of the device configuration
}

// nameConfiguration finds a name for the device configuration: one that the model
// does not have, unless it has it from an earlier export.
func (t *annotation) nameConfiguration() {
	t.configuration = "dnnsplit"
	again := slices.ContainsFunc(t.m.Proto.GetMetadataProps(), func(e *onnxpb.StringStringEntryProto) bool { return e.GetKey() == processorsKey })
	for !again && slices.ContainsFunc(t.m.Proto.GetConfiguration(), t.replaced) {
		t.configuration += "_"
	}
}

// replaced says whether a device configuration has the name of the new one.
func (t *annotation) replaced(c *onnxpb.DeviceConfigurationProto) bool {
	return c.GetName() == t.configuration
}

func (t *annotation) draft() (*onnxfile.Draft, error) {
	d := t.m.Draft()
	out := &onnxfile.Draft{}
	var err error
	if out.Graph, err = t.graph(d.Graph); err != nil {
		return nil, err
	}
	seen := map[protowire.Number]int{}
	haveIR := false
	for k, f := range d.Fields {
		if k == d.GraphAt {
			out.GraphAt = len(out.Fields)
		}
		i := seen[f.Num]
		seen[f.Num]++
		switch f.Num {
		case modelIR:
			haveIR = true
			f.Body = onnxfile.Bytes(protowire.AppendVarint(nil, uint64(max(t.m.Proto.GetIrVersion(), annotatedIR))))
		case modelMetadata:
			if strings.HasPrefix(t.m.Proto.GetMetadataProps()[i].GetKey(), ownPrefix) {
				continue
			}
		case modelConfiguration:
			if t.replaced(t.m.Proto.GetConfiguration()[i]) {
				continue
			}
		}
		out.Fields = append(out.Fields, f)
	}
	if d.GraphAt >= len(d.Fields) {
		out.GraphAt = len(out.Fields)
	}
	if !haveIR {
		ir := onnxfile.Field{Num: modelIR, Type: protowire.VarintType, Body: onnxfile.Bytes(protowire.AppendVarint(nil, annotatedIR))}
		out.Fields = append([]onnxfile.Field{ir}, out.Fields...)
		out.GraphAt++
	}
	opsets := t.list.opsets
	if t.m.Proto.GetIrVersion() < importIR && len(t.m.Proto.GetOpsetImport()) == 0 {
		opsets = append(opsets, &onnxpb.OperatorSetIdProto{Domain: proto.String(""), Version: proto.Int64(1)})
	}
	for _, o := range opsets {
		if err := add(&out.Fields, modelOpsetImport, o); err != nil {
			return nil, err
		}
	}
	for _, e := range t.modelMetadata() {
		if err := add(&out.Fields, modelMetadata, entry(e[0], e[1])); err != nil {
			return nil, err
		}
	}
	c := &onnxpb.DeviceConfigurationProto{Name: proto.String(t.configuration), NumDevices: proto.Int32(int32(len(t.source.m.Processors)))}
	for _, p := range t.source.m.Processors {
		c.Device = append(c.Device, p.Name)
	}
	return out, add(&out.Fields, modelConfiguration, c)
}

func add(to *[]onnxfile.Field, num protowire.Number, msg proto.Message) error {
	f, err := onnxfile.MessageField(num, msg)
	*to = append(*to, f)
	return err
}

func entry(key, value string) *onnxpb.StringStringEntryProto {
	return &onnxpb.StringStringEntryProto{Key: &key, Value: &value}
}

// graph is the graph with its nodes annotated.
func (t *annotation) graph(fields []onnxfile.Field) ([]onnxfile.Field, error) {
	var out []onnxfile.Field
	for _, p := range t.list.nodes {
		body, err := t.bare(p)
		if err != nil {
			return nil, err
		}
		if p.sub >= 0 {
			extra, err := t.node(p)
			if err != nil {
				return nil, err
			}
			body = onnxfile.Concat(body, onnxfile.Bytes(extra))
		}
		out = append(out, onnxfile.BytesField(graphNode, body))
	}
	g := t.m.Proto.GetGraph()
	stored := map[string]bool{}
	if v := t.m.Proto.GetIrVersion(); v < constantIR {
		for _, i := range g.GetInitializer() {
			stored[i.GetName()] = true
		}
	}
	input := 0
	for _, f := range fields {
		switch f.Num {
		case graphNode:
			continue
		case graphInput:
			input++
			if stored[g.GetInput()[input-1].GetName()] {
				continue // listed it would no longer be constant
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// node is what a node gets: encoded fields to put behind its own.
func (t *annotation) node(p *placed) ([]byte, error) {
	var fields []onnxfile.Field
	s, proc := &t.source.m.Submodels[p.sub], t.proc(p.sub)
	meta := [][2]string{
		{layerKey, layer(p.sub) + proc.Name},
		{"dnnsplit.device", proc.Device},
		{"dnnsplit.processor", proc.Name},
		{"dnnsplit.submodel", s.ID},
	}
	if p.cost >= 0 {
		meta = append(meta, [2]string{"dnnsplit.cost_us", micros(p.cost)})
	}
	if len(p.copies) > 0 {
		ids := make([]string, 0, len(p.copies))
		for _, i := range p.copies {
			ids = append(ids, t.source.m.Submodels[i].ID)
		}
		meta = append(meta, [2]string{"dnnsplit.copies", strings.Join(ids, ",")})
	}
	for _, e := range meta {
		if err := add(&fields, nodeMetadata, entry(e[0], e[1])); err != nil {
			return nil, err
		}
	}
	c := &onnxpb.NodeDeviceConfigurationProto{ConfigurationId: proto.String(t.configuration), PipelineStage: proto.Int32(int32(p.sub))}
	for _, name := range p.proto.GetOutput() {
		if name != "" {
			c.ShardingSpec = append(c.ShardingSpec, &onnxpb.ShardingSpecProto{TensorName: proto.String(name), Device: []int64{int64(t.procs[proc.Name])}})
		}
	}
	if err := add(&fields, nodeConfigurations, c); err != nil {
		return nil, err
	}
	var b []byte
	for _, f := range fields {
		body, err := f.Body.ReadAll(f.Body.Len())
		if err != nil {
			return nil, err
		}
		b = protowire.AppendTag(b, f.Num, f.Type)
		b = protowire.AppendBytes(b, body)
	}
	return b, nil
}

// bare is the encoded node without annotations of an earlier export.
func (t *annotation) bare(p *placed) (onnxfile.Chunk, error) {
	old := func(e *onnxpb.StringStringEntryProto) bool {
		return e.GetKey() == layerKey || strings.HasPrefix(e.GetKey(), ownPrefix)
	}
	oldPlace := func(c *onnxpb.NodeDeviceConfigurationProto) bool { return c.GetConfigurationId() == t.configuration }
	if !slices.ContainsFunc(p.proto.GetMetadataProps(), old) && !slices.ContainsFunc(p.proto.GetDeviceConfigurations(), oldPlace) {
		return p.body, nil
	}
	n := &onnxpb.NodeProto{}
	p.proto.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		n.ProtoReflect().Set(f, v)
		return true
	})
	n.ProtoReflect().SetUnknown(p.proto.ProtoReflect().GetUnknown())
	n.DeviceConfigurations = slices.DeleteFunc(slices.Clone(n.DeviceConfigurations), oldPlace)
	n.MetadataProps = nil
	for _, e := range p.proto.GetMetadataProps() {
		if !old(e) {
			n.MetadataProps = append(n.MetadataProps, e)
		}
	}
	if p.m != t.m {
		return p.m.Encode(n, embedded)
	}
	return t.m.Encode(n, nil)
}

// layer starts the layer_ann of a sub-model's nodes.
func layer(sub int) string { return fmt.Sprintf("dnnsplit.s%03d/", sub) }

// micros is a time in microseconds, exact to the picosecond.
func micros(us float64) string {
	return strconv.FormatFloat(us, 'f', -1, 64)
}
