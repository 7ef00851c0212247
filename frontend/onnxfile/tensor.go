package onnxfile

import (
	"errors"
	"fmt"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
)

// Fields of a TensorProto that hold contents, and external_data.
const (
	tensorFloats   = 4
	tensorInt32s   = 5
	tensorStrings  = 6
	tensorInt64s   = 7
	tensorRaw      = 9
	tensorDoubles  = 10
	tensorUint64s  = 11
	tensorExternal = 13
	tensorLocation = 14
)

// isContents says whether a field of a TensorProto holds elements.
func isContents(num protowire.Number) bool {
	switch num {
	case tensorFloats, tensorInt32s, tensorStrings, tensorInt64s, tensorRaw, tensorDoubles, tensorUint64s:
		return true
	}
	return false
}

var contentsName = map[protowire.Number]string{
	tensorFloats: "float_data", tensorInt32s: "int32_data", tensorStrings: "string_data", tensorInt64s: "int64_data",
	tensorRaw: "raw_data", tensorDoubles: "double_data", tensorUint64s: "uint64_data", tensorExternal: "external_data",
}

// extent is a part of the model file.
type extent struct{ pos, end int64 }

// pending is a tensor that has been read but not yet checked: it may occur again
// and merge.
type pending struct {
	p       *onnxpb.TensorProto
	node    *onnxpb.NodeProto // whose attribute it is; nil if none
	nodeAt  int
	first   extent   // its encoding
	more    []extent // where it occurs again
	tallies []tally
}

// tally sums up the occurrences of one contents field of a tensor.
type tally struct {
	num        protowire.Number
	fields     int64
	bytes      int64 // of the bodies; strings: of the fields
	entries    int64 // numbers or strings
	start, end int64 // from the first tag to the last end
	last       span
	loose      bool // not one packed or contiguous run
}

// add counts a field of n entries.
func (t *tally) add(f span, n int64) {
	if t.fields == 0 {
		t.start = f.start
	}
	switch t.num {
	case tensorStrings:
		t.bytes += f.end - f.start
		t.loose = t.loose || t.fields > 0 && f.start != t.end
	case tensorRaw:
		t.bytes = f.len()
	default:
		t.bytes += f.len()
		t.loose = t.loose || t.fields > 0 || f.typ != protowire.BytesType
	}
	t.fields++
	t.entries += n
	t.end, t.last = f.end, f
}

// tensor decodes one occurrence of a tensor.
func (d *decoder) tensor(pos, end int64, p *onnxpb.TensorProto) error {
	if err := d.charge(messageCost + tensorCost); err != nil {
		return err
	}
	if len(d.pending)%1024 == 1023 {
		if err := d.ctx.Err(); err != nil {
			return err
		}
	}
	i, again := d.index[p]
	if again {
		d.pending[i].more = append(d.pending[i].more, extent{pos, end})
	} else {
		i = len(d.pending)
		d.index[p] = i
		d.pending = append(d.pending, pending{p: p, node: d.node, nodeAt: d.nodeAt, first: extent{pos, end}})
	}
	t := &d.pending[i]
	base := len(d.rest)
	small := end-pos <= d.o.InlineBytes
	var contents int64
	err := d.fields(d.s.tensor, pos, end, func(f span) error {
		if !isContents(f.num) {
			return d.keep(d.s.tensor, f, base, p, false)
		}
		j := slices.IndexFunc(t.tallies, func(x tally) bool { return x.num == f.num })
		if j < 0 {
			j = len(t.tallies)
			t.tallies = append(t.tallies, tally{num: f.num})
		}
		n, err := d.entries(f)
		if err != nil {
			return err
		}
		t.tallies[j].add(f, n)
		contents += f.len()
		if small {
			return d.keep(d.s.tensor, f, base, p, false)
		}
		return nil
	})
	if err == nil && !small && contents <= d.o.InlineBytes {
		// Small contents in a large header.
		err = d.fields(d.s.tensor, pos, end, func(f span) error {
			if isContents(f.num) {
				return d.keep(d.s.tensor, f, base, p, false)
			}
			return nil
		})
	}
	if err == nil {
		err = d.flush(d.s.tensor, base, pos, p)
	}
	var l limit
	if err != nil && d.node == nil && !errors.As(err, &l) {
		return &diag.Error{Value: d.tensorName(pos, end), Err: err}
	}
	return err
}

// entries counts the numbers in a contents field. Packed lists of varints have
// to be read for that: they are rare and could hide anything.
func (d *decoder) entries(f span) (int64, error) {
	width := fixedWidth(f.num)
	switch {
	case f.typ != protowire.BytesType || f.num == tensorStrings || f.num == tensorRaw:
		return 1, nil
	case width == 0:
		return d.countVarints(f)
	case f.len()%width != 0:
		return 0, damaged(f.start, "a list of %d-byte numbers takes %d bytes", width, f.len())
	}
	return f.len() / width, nil
}

// countVarints counts and checks the numbers of a packed list.
func (d *decoder) countVarints(f span) (int64, error) {
	var count int64
	run := 0 // bytes of the current number
	for pos := f.body; pos < f.end; {
		if err := d.ctx.Err(); err != nil {
			return 0, err
		}
		b, err := d.w.at(pos, int(min(f.end-pos, windowMax)))
		if err != nil {
			return 0, err
		}
		for i, c := range b {
			if run++; run > varintMax || run == varintMax && c > 1 {
				return 0, damaged(pos+int64(i), "a number in a list is too long")
			}
			if c < 0x80 {
				count++
				run = 0
			}
		}
		pos += int64(len(b))
	}
	if run > 0 {
		return 0, damaged(f.end, "the last number of a list is cut off")
	}
	return count, nil
}

// varintMax is the most bytes that a number takes.
const varintMax = 10

// tensorCost is what is kept of a tensor beside its message, in bytes.
const tensorCost = 512

// tensorName finds the name of a tensor of which not everything can be read.
func (d *decoder) tensorName(pos, end int64) string {
	for pos < end {
		f, err := d.w.next(pos, end)
		if err != nil {
			break
		}
		if f.num == 8 && f.typ == protowire.BytesType && f.len() < windowMin {
			b, err := d.w.at(f.body, int(f.len()))
			if err != nil {
				break
			}
			return string(b)
		}
		pos = f.end
	}
	return ""
}

// maxFaults bounds how many faulty tensors one run reports.
const maxFaults = 50

// settle checks all tensors and says where their contents are.
func (d *decoder) settle() error {
	d.m.tensors = make(map[*onnxpb.TensorProto]*Tensor, len(d.pending))
	slab := make([]Tensor, len(d.pending))
	var faults diag.List
	for i := range d.pending {
		if i%256 == 0 {
			if err := d.ctx.Err(); err != nil {
				return err
			}
		}
		q, t := &d.pending[i], &slab[i]
		t.Proto = q.p
		d.m.tensors[q.p] = t
		if err := d.place(q, t); err != nil {
			e := &diag.Error{Value: q.p.GetName(), Err: err}
			if q.node != nil {
				e.Node = label(q.node, q.nodeAt)
			}
			if faults = append(faults, e); len(faults) == maxFaults {
				break
			}
		}
	}
	return faults.Err()
}

// place finds the contents of a tensor and checks them against its dims and type.
func (d *decoder) place(q *pending, t *Tensor) error {
	p := q.p
	t.Raw = d.f.chunk(q.first.pos, q.first.end-q.first.pos)
	if q.more != nil {
		d.merged(q, t)
	}
	n, err := elementCount(p.Dims)
	if err != nil {
		return err
	}
	e := elemOf(p.GetDataType())
	t.elems, t.stored = n, -1
	if e.bits > 0 {
		var ok bool
		if t.stored, ok = storedBytes(e, n); !ok {
			return fmt.Errorf("its dims %v are too large: its size does not fit into 63 bits", p.Dims)
		}
	}
	if p.GetDataLocation() == onnxpb.TensorProto_EXTERNAL {
		if p.GetDataType() == int32(onnxpb.TensorProto_STRING) {
			return fmt.Errorf("strings cannot be stored outside the model")
		}
		return d.external(t)
	}
	c, err := chooseContents(q.tallies, p.GetDataType(), e)
	if err != nil {
		return err
	}
	if c == nil {
		if n > 0 && (e.bits > 0 || e.field != 0) {
			return fmt.Errorf("it has no data, but its dims %v need %s", p.Dims, e.amount(n, t.stored))
		}
		return nil
	}
	t.DataField = c.num
	t.Data = d.contents(q, c)
	if c.num == tensorRaw && int64(len(p.RawData)) == c.bytes && q.more == nil {
		t.Data = Bytes(p.RawData) // it has been decoded: no need to read it again
	}
	return t.agree(e, c)
}

// merged completes a tensor that occurs several times.
func (d *decoder) merged(q *pending, t *Tensor) {
	chunks := append(make([]Chunk, 0, 1+len(q.more)), t.Raw)
	for _, x := range q.more {
		chunks = append(chunks, d.f.chunk(x.pos, x.end-x.pos))
	}
	t.Raw = Concat(chunks...)
	var total int64
	for _, c := range q.tallies {
		total += c.bytes
	}
	if total > d.o.InlineBytes {
		p := q.p
		p.FloatData, p.Int32Data, p.StringData, p.Int64Data = nil, nil, nil, nil
		p.RawData, p.DoubleData, p.Uint64Data = nil, nil, nil
	}
}

// chooseContents says which field holds the elements: raw_data if there is one,
// else the one made for the element type; nil if there is none.
func chooseContents(tallies []tally, dataType int32, e elem) (*tally, error) {
	var raw, own, other *tally
	for i := range tallies {
		c := &tallies[i]
		switch {
		case c.num == tensorRaw:
			raw = c
		case c.num == e.field:
			own = c
		case c.bytes > 0 && other == nil:
			other = c
		}
	}
	switch {
	case raw != nil && dataType == int32(onnxpb.TensorProto_STRING):
		return nil, fmt.Errorf("its strings are in raw_data, which cannot hold strings")
	case raw != nil && (raw.bytes > 0 || own == nil && other == nil):
		return raw, nil
	case own != nil:
		return own, nil
	case other != nil && e.field != 0:
		return nil, fmt.Errorf("its elements are in %s, which cannot hold %s: they belong into %s",
			contentsName[other.num], e.name, contentsName[e.field])
	}
	return other, nil
}

// contents is the chunk of the chosen field.
func (d *decoder) contents(q *pending, c *tally) Chunk {
	switch {
	case c.num == tensorRaw || !c.loose && c.num != tensorStrings:
		return d.f.chunk(c.last.body, c.last.len())
	case !c.loose:
		return d.f.chunk(c.start, c.end-c.start)
	case c.bytes == 0:
		return Chunk{}
	}
	return Chunk{src: &scattered{f: d.f, in: append([]extent{q.first}, q.more...), num: c.num}, n: c.bytes}
}

// agree checks the contents of a tensor against its dims and type.
func (t *Tensor) agree(e elem, c *tally) error {
	p := t.Proto
	if p.GetDataType() == int32(onnxpb.TensorProto_STRING) {
		if c.entries != t.elems {
			return fmt.Errorf("it holds %d strings, but its dims %v need %d", c.entries, p.Dims, t.elems)
		}
		return nil
	}
	if e.bits == 0 {
		return nil // an element type of a later standard
	}
	if c.num == tensorRaw {
		if c.bytes != t.stored {
			return fmt.Errorf("it holds %d bytes, but its dims %v need %s", c.bytes, p.Dims, e.amount(t.elems, t.stored))
		}
		return nil
	}
	if want := t.stored / e.entry; c.entries != want {
		return fmt.Errorf("it holds %d numbers in %s, but its dims %v need %d", c.entries, contentsName[c.num], p.Dims, want)
	}
	return nil
}
