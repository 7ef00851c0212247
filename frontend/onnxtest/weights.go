package onnxtest

import (
	"encoding/binary"
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
	"google.golang.org/protobuf/proto"
)

// Fill says which elements a weight has: uniform in [lo, hi), by a generator of
// its own that is seeded by the model's seed and the weight's name. The zero
// Fill is all zeros. Integers are uniform in lo..hi, both included.
type Fill struct {
	lo, hi float64
	key    string
}

// Uniform draws from [lo, hi).
func Uniform(lo, hi float64) Fill { return Fill{lo: lo, hi: hi} }

// Same gives every element the value v.
func Same(v float64) Fill { return Fill{lo: v, hi: v} }

// Scaled draws from a symmetric interval of variance gain/fanIn. Gain 2 keeps the
// variance through a layer that follows a ReLU (K. He et al., Delving Deep into
// Rectifiers, ICCV 2015, equation 10), gain 1 through one that follows none
// (X. Glorot, Y. Bengio, AISTATS 2010).
func Scaled(gain float64, fanIn int64) Fill {
	if fanIn < 1 {
		fanIn = 1
	}
	a := math.Sqrt(3 * gain / float64(fanIn))
	return Uniform(-a, a)
}

// As makes the weight equal to any other of the same key, type and size.
func (f Fill) As(key string) Fill { f.key = key; return f }

// content generates the bytes of a tensor, any range that starts at a multiple of chunkAlign.
type content struct {
	size int64
	read func(off int64, p []byte)
	key  string // equal for tensors of equal contents
}

// smallBytes is the size up to which contents are generated at once: a million
// small weights are cheaper to hold than to remember.
const smallBytes = 512

// chunkAlign is a multiple of every element size, and of the pairs of elements
// that come from one random number.
const chunkAlign = 16

// Weight adds an initializer of generated contents that counts as parameters.
func (g *Graph) Weight(name string, t DType, f Fill, dims ...int64) string {
	g.m.params += count(dims)
	return g.Buffer(name, t, f, dims...)
}

// Buffer adds an initializer of generated contents that does not count as
// parameters, as the running statistics of a BatchNormalization.
func (g *Graph) Buffer(name string, t DType, f Fill, dims ...int64) string {
	return g.Store(g.Generated(name, t, f, dims...))
}

// Generated is a tensor of generated contents, to be stored anywhere in the model.
func (g *Graph) Generated(name string, t DType, f Fill, dims ...int64) *onnxpb.TensorProto {
	p := &onnxpb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(t)), Dims: dims}
	key := f.key
	if key == "" {
		key = g.path + name
	}
	n := count(dims)
	if n == 0 {
		return p
	}
	gen := f.generator(t, hashKey(g.m.seed, key))
	if gen == nil {
		diag.Bugf("weight %s: no contents are generated for type %v", name, t)
	}
	size := elemBytes(t, n)
	if size <= smallBytes {
		p.RawData = make([]byte, size)
		gen(0, p.RawData)
		return p
	}
	g.m.content[p] = content{size: size, read: gen, key: key}
	return p
}

// hashKey is FNV-1a over the seed and the key.
func hashKey(seed uint64, key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range 8 {
		h = (h ^ (seed >> (8 * i) & 255)) * 1099511628211
	}
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return h
}

// random is the i-th output of SplitMix64 started at state s (G. Steele, D. Lea,
// C. Flood, Fast Splittable Pseudorandom Number Generators, OOPSLA 2014): any
// element can be computed without those before it.
func random(s, i uint64) uint64 {
	z := s + (i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// unit maps 32 random bits to [-1, 1) on a grid of 2^-23.
func unit(r uint32) float32 { return float32(int32(r)>>8) * (1.0 / (1 << 23)) }

func (f Fill) generator(t DType, s uint64) func(off int64, p []byte) {
	mid, half := float32((f.lo+f.hi)/2), float32((f.hi-f.lo)/2)
	// The inner conversion forbids a fused multiply-add, which would round
	// differently on some machines.
	value := func(r uint32) float32 { return mid + float32(half*unit(r)) }
	le := binary.LittleEndian
	switch t {
	case Float:
		return func(off int64, p []byte) {
			i := uint64(off) / 8
			for ; len(p) >= 8; i, p = i+1, p[8:] {
				r := random(s, i)
				le.PutUint64(p, uint64(math.Float32bits(value(uint32(r))))|uint64(math.Float32bits(value(uint32(r>>32))))<<32)
			}
			if len(p) >= 4 {
				le.PutUint32(p, math.Float32bits(value(uint32(random(s, i)))))
			}
		}
	case Double:
		return each(8, s, func(p []byte, r uint64) { le.PutUint64(p, math.Float64bits(float64(value(uint32(r))))) })
	case Float16:
		return each(2, s, func(p []byte, r uint64) { le.PutUint16(p, float16(value(uint32(r)))) })
	case BFloat16:
		return each(2, s, func(p []byte, r uint64) { le.PutUint16(p, bfloat16(value(uint32(r)))) })
	}
	lo := int64(f.lo)
	span := uint64(int64(f.hi)-lo) + 1
	switch t {
	case Int8, UInt8, Bool:
		return each(1, s, func(p []byte, r uint64) { p[0] = byte(lo + int64(r%span)) })
	case Int16, UInt16:
		return each(2, s, func(p []byte, r uint64) { le.PutUint16(p, uint16(lo+int64(r%span))) })
	case Int32, UInt32:
		return each(4, s, func(p []byte, r uint64) { le.PutUint32(p, uint32(lo+int64(r%span))) })
	case Int64, UInt64:
		return each(8, s, func(p []byte, r uint64) { le.PutUint64(p, uint64(lo+int64(r%span))) })
	case Int4, UInt4:
		return each(1, s, func(p []byte, r uint64) {
			p[0] = byte(lo+int64(r>>32%span))&15 | byte(lo+int64(r&0xffffffff%span))<<4
		})
	}
	return nil
}

// each generates elements of size bytes, one random number each.
func each(size int, s uint64, put func(p []byte, r uint64)) func(off int64, p []byte) {
	return func(off int64, p []byte) {
		for i := uint64(off) / uint64(size); len(p) >= size; i, p = i+1, p[size:] {
			put(p, random(s, i))
		}
	}
}

// float16 rounds to IEEE half precision, ties to even. Values beyond its range
// become infinite, those below its normal range subnormal.
func float16(f float32) uint16 {
	b := math.Float32bits(f)
	sign := uint16(b >> 16 & 0x8000)
	exp := int(b>>23&255) - 127
	frac := b&0x7fffff | 0x800000
	shift := 13
	switch {
	case exp > 15:
		return sign | 0x7c00
	case exp < -14:
		shift += -14 - exp
		if shift > 24 {
			return sign
		}
		exp = -15
	}
	v := frac >> shift
	rest, half := frac&(1<<shift-1), uint32(1)<<(shift-1)
	if rest > half || rest == half && v&1 == 1 {
		v++
	}
	if exp == -15 {
		return sign | uint16(v)
	}
	return sign | uint16(uint32(exp+14)<<10+v)
}

// bfloat16 rounds a finite number to bfloat16, ties to even.
func bfloat16(f float32) uint16 {
	b := math.Float32bits(f)
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
