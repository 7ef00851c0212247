package backend

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxfile"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Field numbers of TensorProto that hold contents.
const (
	tensorFloat    protowire.Number = 4
	tensorInt32    protowire.Number = 5
	tensorInt64    protowire.Number = 7
	tensorRaw      protowire.Number = 9
	tensorDouble   protowire.Number = 10
	tensorUint64   protowire.Number = 11
	tensorExternal protowire.Number = 13
)

// dataAlignment is where tensors start in a data file: ONNX asks for multiples of
// a page, so that runtimes can map them.
const dataAlignment = 4096

// minExternalBytes is the least size of a tensor that is moved out of a model.
// Smaller ones stay: shape inference of Reshape, Slice and the like reads them.
const minExternalBytes = 1 << 10

// moving says which tensors of a sub-model change places.
type moving uint8

const (
	moveNothing moving = iota // embedded tensors stay embedded, external ones go to the sub-model's data file
	moveWeights               // embedded initializers go to the data file too
	moveAll                   // and tensors in attributes and functions
	embedAll                  // external tensors come into the model
	referAll                  // everything stays; external tensors refer to the source's data files
)

// store decides where the contents of a sub-model's tensors go and keeps the
// ranges of its data file.
type store struct {
	m        *onnxfile.Model
	move     moving
	location string // name of the data file
	ranges   []dataRange
	placed   map[rangeKey]int // index in ranges
	end      int64
	refers   []string // locations of the source's data files that tensors refer to, sorted
}

// refer notes that a tensor refers to a data file of the source.
func (s *store) refer(location string) {
	if i, known := slices.BinarySearch(s.refers, location); !known {
		s.refers = slices.Insert(s.refers, i, location)
	}
}

// dataRange is one tensor's contents in a data file.
type dataRange struct {
	offset int64
	bytes  int64
	data   onnxfile.Chunk
	unpack unpacking // how data becomes those bytes
	from   string    // external file of the source; "" if embedded
}

// rangeKey identifies contents, so that what is shared in the source is stored once.
type rangeKey struct {
	location string
	offset   int64
	bytes    int64
	tensor   *onnxpb.TensorProto // of embedded contents
}

// message is the encoded form of msg, which stands in the source as raw: the
// same bytes unless a tensor in it, at any depth, has to refer to another place.
func (s *store) message(msg proto.Message, raw onnxfile.Chunk) (onnxfile.Chunk, error) {
	if t, ok := msg.(*onnxpb.TensorProto); ok {
		if s.moves(t, true) {
			return s.tensor(t)
		}
		return raw, nil
	}
	if !s.touches(msg) {
		return raw, nil
	}
	return s.rebuild(msg.ProtoReflect())
}

// moves says whether the contents of a tensor change places.
func (s *store) moves(t *onnxpb.TensorProto, initializer bool) bool {
	held := s.m.Tensor(t)
	if held == nil {
		return false
	}
	if s.move == referAll {
		if held.DataField == tensorExternal {
			s.refer(held.External)
		}
		return false
	}
	if t.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
		return true
	}
	switch held.DataField {
	case tensorExternal:
		return true
	case tensorRaw, tensorFloat, tensorInt32, tensorInt64, tensorDouble, tensorUint64:
		return (s.move == moveAll || s.move == moveWeights && initializer) && held.Data.Len() >= minExternalBytes
	}
	return false
}

// touches says whether a tensor within msg, a node, function, graph or sparse
// tensor, changes places.
func (s *store) touches(msg proto.Message) bool {
	switch msg := msg.(type) {
	case *onnxpb.NodeProto:
		return slices.ContainsFunc(msg.GetAttribute(), s.touchesAttribute)
	case *onnxpb.FunctionProto:
		return slices.ContainsFunc(msg.GetNode(), func(n *onnxpb.NodeProto) bool { return s.touches(n) }) ||
			slices.ContainsFunc(msg.GetAttributeProto(), s.touchesAttribute)
	case *onnxpb.GraphProto:
		return slices.ContainsFunc(msg.GetNode(), func(n *onnxpb.NodeProto) bool { return s.touches(n) }) ||
			slices.ContainsFunc(msg.GetInitializer(), s.movesNested) ||
			slices.ContainsFunc(msg.GetSparseInitializer(), s.touchesSparse)
	case *onnxpb.SparseTensorProto:
		return s.touchesSparse(msg)
	}
	return false
}

func (s *store) touchesAttribute(a *onnxpb.AttributeProto) bool {
	return s.movesNested(a.GetT()) || slices.ContainsFunc(a.GetTensors(), s.movesNested) ||
		s.touchesSparse(a.GetSparseTensor()) || slices.ContainsFunc(a.GetSparseTensors(), s.touchesSparse) ||
		a.GetG() != nil && s.touches(a.GetG()) ||
		slices.ContainsFunc(a.GetGraphs(), func(g *onnxpb.GraphProto) bool { return s.touches(g) })
}

func (s *store) touchesSparse(t *onnxpb.SparseTensorProto) bool {
	return s.movesNested(t.GetValues()) || s.movesNested(t.GetIndices())
}

func (s *store) movesNested(t *onnxpb.TensorProto) bool { return t != nil && s.moves(t, false) }

// messagesOf are the messages of a field that holds one or a list. ONNX has no maps.
func messagesOf(f protoreflect.FieldDescriptor, v protoreflect.Value) []protoreflect.Message {
	if !f.IsList() {
		return []protoreflect.Message{v.Message()}
	}
	out := make([]protoreflect.Message, v.List().Len())
	for i := range out {
		out[i] = v.List().Get(i).Message()
	}
	return out
}

// rebuild encodes a message in which a tensor moves: its plain fields and the
// unknown ones first, then the messages in it. Tensors that stay are taken from
// the source, since the decoded form lacks large contents.
func (s *store) rebuild(msg protoreflect.Message) (onnxfile.Chunk, error) {
	if t, ok := msg.Interface().(*onnxpb.TensorProto); ok {
		if s.moves(t, false) {
			return s.tensor(t)
		}
		if held := s.m.Tensor(t); held != nil {
			return held.Raw, nil
		}
	}
	plain := msg.New()
	plain.SetUnknown(msg.GetUnknown())
	var nested []protoreflect.FieldDescriptor
	msg.Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		if f.Message() != nil {
			nested = append(nested, f)
		} else {
			plain.Set(f, v)
		}
		return true
	})
	head, err := marshal(plain.Interface())
	if err != nil {
		return onnxfile.Chunk{}, err
	}
	chunks := []onnxfile.Chunk{onnxfile.Bytes(head)}
	slices.SortFunc(nested, func(a, b protoreflect.FieldDescriptor) int { return int(a.Number()) - int(b.Number()) })
	for _, f := range nested {
		for _, m := range messagesOf(f, msg.Get(f)) {
			body, err := s.rebuild(m)
			if err != nil {
				return onnxfile.Chunk{}, err
			}
			chunks = append(chunks, onnxfile.Bytes(lengthPrefix(f.Number(), body.Len())), body)
		}
	}
	return onnxfile.Concat(chunks...), nil
}

func lengthPrefix(num protowire.Number, n int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, num, protowire.BytesType), uint64(n))
}

// tensor encodes a tensor whose contents change places: into the model (nothing
// too: no runtime minds), or into the data file. All else about it stays.
func (s *store) tensor(t *onnxpb.TensorProto) (onnxfile.Chunk, error) {
	held := s.m.Tensor(t)
	head := proto.Clone(t).(*onnxpb.TensorProto)
	head.RawData, head.FloatData, head.Int32Data, head.Int64Data, head.DoubleData, head.Uint64Data = nil, nil, nil, nil, nil, nil
	head.ExternalData, head.DataLocation = nil, nil
	if s.move == embedAll || held.Data.Len() == 0 {
		b, err := marshal(head)
		if err != nil {
			return onnxfile.Chunk{}, err
		}
		return onnxfile.Concat(onnxfile.Bytes(b), onnxfile.Bytes(lengthPrefix(tensorRaw, held.Data.Len())), held.Data), nil
	}
	r, err := s.place(t, held)
	if err != nil {
		return onnxfile.Chunk{}, err
	}
	entry := func(key, value string) {
		head.ExternalData = append(head.ExternalData, &onnxpb.StringStringEntryProto{Key: proto.String(key), Value: proto.String(value)})
	}
	entry("location", s.location)
	entry("offset", strconv.FormatInt(r.offset, 10))
	entry("length", strconv.FormatInt(r.bytes, 10))
	for _, e := range t.GetExternalData() {
		switch e.GetKey() {
		case "location", "offset", "length", "checksum": // the checksum is of the whole source file
		default:
			head.ExternalData = append(head.ExternalData, e)
		}
	}
	head.DataLocation = onnxpb.TensorProto_EXTERNAL.Enum()
	b, err := marshal(head)
	if err != nil {
		return onnxfile.Chunk{}, err
	}
	return onnxfile.Bytes(b), nil
}

// place finds a range for a tensor's contents in the data file.
func (s *store) place(t *onnxpb.TensorProto, held *onnxfile.Tensor) (dataRange, error) {
	key := rangeKey{tensor: t}
	if held.DataField == tensorExternal {
		key = rangeKey{location: path.Clean(held.External), bytes: held.Data.Len()}
		for _, e := range t.GetExternalData() {
			if e.GetKey() == "offset" {
				n, err := strconv.ParseInt(e.GetValue(), 10, 64)
				if err != nil {
					return dataRange{}, fmt.Errorf("its offset %q in %s is not a number", e.GetValue(), held.External)
				}
				key.offset = n
			}
		}
	}
	if i, ok := s.placed[key]; ok {
		return s.ranges[i], nil
	}
	r := dataRange{offset: s.end, bytes: held.Data.Len(), data: held.Data, from: held.External}
	if rest := r.offset % dataAlignment; rest != 0 {
		r.offset += dataAlignment - rest
	}
	if held.DataField == tensorInt32 || held.DataField == tensorInt64 || held.DataField == tensorUint64 {
		elem := ir.ElemType(t.GetDataType())
		n, ok := ir.Elements(t.GetDims())
		if ok {
			r.bytes, ok = ir.StoredBytes(elem, n)
		}
		if !ok || elem.Bits() == 0 {
			return dataRange{}, errors.New("its element type and dims do not say how large it is")
		}
		r.unpack = unpacking{width: (elem.Bits() + 7) / 8, truth: elem == ir.Bool}
	}
	if s.placed == nil {
		s.placed = map[rangeKey]int{}
	}
	s.placed[key] = len(s.ranges)
	s.ranges = append(s.ranges, r)
	s.end = r.offset + r.bytes
	return r, nil
}

func (x *index) errorAt(node int32, err error) error {
	return &diag.Error{File: x.m.Path, Node: x.nodeLabel(node), Msg: "a tensor in it cannot be written", Err: err}
}

func (x *index) errorIn(value string, err error) error {
	return &diag.Error{File: x.m.Path, Value: value, Msg: "its contents cannot be written", Err: err}
}
