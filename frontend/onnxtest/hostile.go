package onnxtest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Answer is what a reader may say to a bad file.
type Answer int

const (
	// Either: it may take the file or refuse it, in bounded time and memory.
	Either Answer = iota
	// Refuse: an error is the only right answer.
	Refuse
	// Accept: the file is odd, but right.
	Accept
)

func (a Answer) String() string { return [...]string{"either", "refuse", "accept"}[a] }

// BadFile is a file that is broken, made to exhaust a reader, or looks so.
type BadFile struct {
	Name   string
	Answer Answer
	Says   string // part of the error; "" for any
	Bytes  []byte

	// Beside are files in the model's folder, Outside in the folder around it,
	// Links symbolic links in the model's folder; by name.
	Beside, Outside map[string][]byte
	Links           map[string]string
}

// BadFiles lists bad files of every kind. They are the same in every run.
func BadFiles() []BadFile {
	return slices.Concat(badBytes(), badGraphs(), badShapes(), badNames(), badExternal(), badBodies(), badFunctions(), largeGraphs())
}

// badModel is a bad file that the usual builder can make: three layers, then
// whatever is wrong.
func badModel(name string, a Answer, says string, build func(m *Model, g *Graph)) BadFile {
	m := New(Header{Name: name, Seed: 1})
	build(m, m.Graph())
	return BadFile{Name: name, Answer: a, Says: says, Bytes: m.Bytes()}
}

func threeLayers(g *Graph) { g.y(g.layer("c", g.layer("b", g.layer("a", g.x())))) }

// badBytes: what is no ONNX file, or was damaged on its way.
func badBytes() []BadFile {
	raw := badModel("base", Accept, "", func(_ *Model, g *Graph) { threeLayers(g) }).Bytes
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(random(3, uint64(i)))
	}
	l := []BadFile{
		{Name: "base", Answer: Accept, Bytes: raw},
		{Name: "empty", Answer: Refuse, Says: "empty", Bytes: nil},
		{Name: "text", Answer: Refuse, Bytes: []byte("This is not a model.\nIt is a text.\n")},
		{Name: "lfs-pointer", Answer: Refuse, Says: "Git LFS", Bytes: []byte("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 123456789\n")},
		{Name: "html", Answer: Refuse, Bytes: []byte("<!DOCTYPE html><html><body>404: Not Found</body></html>")},
		{Name: "gzip", Answer: Refuse, Bytes: append([]byte("\x1f\x8b\x08\x00"), noise[:400]...)},
		{Name: "zip", Answer: Refuse, Bytes: append([]byte("PK\x03\x04"), noise[:400]...)},
		{Name: "noise", Answer: Refuse, Bytes: noise},
		{Name: "zeros", Answer: Refuse, Bytes: make([]byte, 4096)},
		{Name: "one-byte-short", Answer: Refuse, Bytes: raw[:len(raw)-1]},
		{Name: "graph-of-4-gib", Answer: Refuse, Bytes: append([]byte("\x08\x07\x3a\xff\xff\xff\xff\x0f"), raw[:64]...)},
		{Name: "graph-of-2^63", Answer: Refuse, Bytes: append([]byte("\x08\x07\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"), raw[:64]...)},
		{Name: "open-groups", Answer: Refuse, Bytes: bytes.Repeat([]byte{0x0b}, 5000)},
		{Name: "garbage-at-the-end", Answer: Refuse, Bytes: append(slices.Clone(raw), 0xff, 0xff, 0xff)},
		{Name: "two-models", Answer: Either, Bytes: append(slices.Clone(raw), raw...)},
		{Name: "unknown-fields", Answer: Accept, Bytes: append(slices.Clone(raw), "\xfa\x3e\x05hello\xf8\x7d\x01"...)},
		{Name: "no-graph", Answer: Refuse, Says: "graph", Bytes: []byte("\x08\x07\x42\x02\x10\x0d")},
	}
	for _, percent := range []int{10, 50, 90, 99} {
		l = append(l, BadFile{Name: fmt.Sprintf("cut-at-%d%%", percent), Answer: Refuse, Bytes: raw[:len(raw)*percent/100]})
	}
	for i := range 40 {
		b := slices.Clone(raw)
		for k := range 1 + i%4 {
			at := random(5, uint64(8*i+k))
			b[at%uint64(len(b))] ^= 1 << (at >> 32 % 8)
		}
		l = append(l, BadFile{Name: fmt.Sprintf("flipped-bits-%d", i), Bytes: b})
	}
	for i := range 16 {
		b := slices.Clone(raw)
		at := 8 + random(6, uint64(i))%uint64(len(b)-16)
		copy(b[at:], "\xff\xff\xff\xff\xff\xff\xff\xff")
		l = append(l, BadFile{Name: fmt.Sprintf("run-of-ff-%d", i), Bytes: b})
	}
	return l
}

// nestedIfs is a model by hand of graphs in graphs, without the builder's
// recursion: graph{node{attribute{graph}}}. What stands before and after the
// innermost graph is gathered from the inside out.
func nestedIfs(depth int) []byte {
	inner := protowire.AppendString(protowire.AppendTag(nil, 2, protowire.BytesType), "leaf")
	const after = "\xa0\x01\x05" // AttributeProto.type = GRAPH
	var before [][]byte
	size := uint64(len(inner))
	// open begins a message of what was gathered so far.
	open := func(prefix []byte, num protowire.Number) {
		head := protowire.AppendVarint(protowire.AppendTag(prefix, num, protowire.BytesType), size)
		before = append(before, head)
		size += uint64(len(head))
	}
	for range depth {
		open([]byte("\x0a\x0bthen_branch"), 6) // attribute{name, graph
		size += uint64(len(after))
		open([]byte("\x22\x02If"), 5) // node{op_type, attribute
		open(nil, 1)                  // graph{node
	}
	open([]byte("\x08\x07"), 7) // model{ir_version, graph
	slices.Reverse(before)
	return slices.Concat(slices.Concat(before...), inner, bytes.Repeat([]byte(after), depth), []byte("\x42\x02\x10\x0d"))
}
