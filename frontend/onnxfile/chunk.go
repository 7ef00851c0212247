package onnxfile

import "io"

// Chunk is a run of bytes, in memory or in a file. The zero Chunk is empty.
type Chunk struct {
	mem  []byte
	file io.ReaderAt
	off  int64
	n    int64
}

// Bytes is a chunk in memory; b must not change any more.
func Bytes(b []byte) Chunk { return Chunk{mem: b, n: int64(len(b))} }

// Len is the number of bytes.
func (c Chunk) Len() int64 { return c.n }

// Reader reads the chunk from its start.
func (c Chunk) Reader() io.Reader { panic("skeleton") }
