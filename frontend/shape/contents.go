package shape

import (
	"encoding/binary"
	"math"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
	"github.com/dnnsplit/dnnsplit/frontend/onnxpb"
)

// storedTensor is the value of a stored tensor; its contents are decoded when
// they are asked for.
func (in *inferrer) storedTensor(t *onnxpb.TensorProto) *value {
	v := tensor(ir.ElemType(t.GetDataType()))
	v.dims = make([]*expr, len(t.Dims))
	for i, d := range t.Dims {
		v.dims[i] = in.al.n(max(d, 0))
	}
	if isIntegral(v.elem) || isFloat(v.elem) {
		if n := v.elements(); n >= 0 && n <= maxContents {
			v.tensor = t
		}
	}
	return v
}

// contentsOf are the contents of v as far as they are known, nil if nothing is.
func (in *inferrer) contentsOf(v *value) []*expr {
	if v == nil {
		return nil
	}
	if v.data == nil && v.tensor != nil {
		v.data = in.decode(v.tensor, v.elem, int(v.elements()))
		v.tensor = nil
	}
	return v.data
}

// decode reads the contents of a small stored tensor of n elements.
func (in *inferrer) decode(t *onnxpb.TensorProto, e ir.ElemType, n int) []*expr {
	in.contents -= n
	if in.contents < 0 {
		return nil
	}
	raw, err := in.m.Values(t, maxContents*8)
	if err != nil {
		return nil
	}
	out := make([]*expr, n)
	bits := e.Bits()
	if bits < 8 {
		if len(raw)*8 < n*bits {
			return nil
		}
		mask := byte(1<<bits - 1)
		for i := range out {
			at := i * bits
			x := raw[at/8] >> (at % 8) & mask
			v := int64(x)
			if (e == ir.Int4 || e == ir.Int2) && x>>(bits-1) == 1 {
				v -= 1 << bits
			}
			out[i] = in.al.n(v)
		}
		return out
	}
	size := bits / 8
	if len(raw) < n*size {
		return nil
	}
	for i := range out {
		out[i] = in.element(raw[i*size:(i+1)*size], e)
	}
	return out
}

// element decodes one element of a whole number of bytes.
func (in *inferrer) element(b []byte, e ir.ElemType) *expr {
	switch e {
	case ir.Bool:
		return in.al.n(boolInt(b[0] != 0))
	case ir.Uint8:
		return in.al.n(int64(b[0]))
	case ir.Int8:
		return in.al.n(int64(int8(b[0])))
	case ir.Uint16:
		return in.al.n(int64(binary.LittleEndian.Uint16(b)))
	case ir.Int16:
		return in.al.n(int64(int16(binary.LittleEndian.Uint16(b))))
	case ir.Int32:
		return in.al.n(int64(int32(binary.LittleEndian.Uint32(b))))
	case ir.Uint32:
		return in.al.n(int64(binary.LittleEndian.Uint32(b)))
	case ir.Int64:
		return in.al.n(int64(binary.LittleEndian.Uint64(b)))
	case ir.Uint64:
		if u := binary.LittleEndian.Uint64(b); u <= math.MaxInt64 {
			return in.al.n(int64(u))
		}
	case ir.Float32:
		return in.al.realConst(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
	case ir.Float64:
		return in.al.realConst(math.Float64frombits(binary.LittleEndian.Uint64(b)))
	case ir.BFloat16:
		return in.al.realConst(float64(math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)))
	case ir.Float16:
		return in.al.realConst(halfToFloat(binary.LittleEndian.Uint16(b)))
	}
	return nil
}

// halfToFloat converts IEEE 754 binary16.
func halfToFloat(h uint16) float64 {
	sign := 1.0
	if h&0x8000 != 0 {
		sign = -1
	}
	exp, frac := int(h>>10&31), float64(h&1023)
	switch exp {
	case 0:
		return sign * math.Ldexp(frac, -24)
	case 31:
		if frac != 0 {
			return math.NaN()
		}
		return math.Inf(int(sign))
	}
	return sign * math.Ldexp(1024+frac, exp-25)
}
