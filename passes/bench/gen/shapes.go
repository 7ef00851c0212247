package gen

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Shapes are the names that Make knows.
func Shapes() []string {
	return []string{"chain", "layered", "series", "inception", "transformer", "towers"}
}

// Make builds a problem of about nodes nodes in one of Shapes, on procs unequal
// processors: several devices with links of different speed, some over one
// medium, accelerators with copies, operators that suit some processors better
// than others. With tight, memory is such that at least three processors are needed.
func Make(shape string, nodes, procs int, seed uint64, tight bool) (*ir.Problem, error) {
	r := Rand(seed)
	b := &maker{r: r, b: ir.NewBuilder(fmt.Sprintf("%s-%d-%d", shape, nodes, seed)), procs: procs}
	b.platform()
	x := b.input()
	switch shape {
	case "chain":
		for b.n < nodes {
			x = b.op(r.IntN(kinds), x)
		}
	case "layered":
		x = b.layered(nodes, x)
	case "series":
		for b.n < nodes {
			x = b.series(x, 3)
		}
	case "inception":
		for b.n < nodes {
			x = b.inception(x)
		}
	case "transformer":
		for b.n < nodes {
			x = b.transformer(x)
		}
	case "towers":
		x = b.towers(nodes, x)
	default:
		return nil, fmt.Errorf("unknown shape %q", shape)
	}
	return b.problem(x, tight), nil
}

// kinds of operators; each processor has its own speed for each.
const kinds = 4

type maker struct {
	r      *rand.Rand
	b      *ir.Builder
	pf     *ir.Platform
	procs  int
	speed  [][]float64 // by processor, then kind of operator: work per us
	cost   [][]ir.Time // by node
	n      int
	values int
	holds  int64 // bytes of all weights
	size   []int64
}

func (b *maker) platform() {
	r := b.r
	pf := &ir.Platform{Source: 0, Sink: 0}
	devices := max(1, b.procs*2/3)
	for d := range devices {
		pf.Devices = append(pf.Devices, ir.Device{Name: fmt.Sprintf("d%d", d), MemoryBytes: ir.UnlimitedBytes})
	}
	for q := range b.procs {
		d := q
		if q >= devices {
			d = r.IntN(devices)
		}
		e := ir.Processor{
			Name: fmt.Sprintf("p%d", q), Device: ir.DeviceID(d), MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels,
			Launch: ir.Micros(5 + 75*r.Float64()),
		}
		base := 0.5 + 3*r.Float64()
		if q >= devices || chance(r, 0.4) {
			e.Upload = &ir.Copy{Latency: ir.Micros(2 + 15*r.Float64()), BytesPerUs: 3000 + 12000*r.Float64()}
			e.Download = &ir.Copy{Latency: e.Upload.Latency, BytesPerUs: e.Upload.BytesPerUs}
			base *= 3
		}
		speed := make([]float64, kinds)
		for k := range speed {
			speed[k] = base * (0.3 + 1.4*r.Float64())
		}
		b.speed = append(b.speed, speed)
		pf.Processors = append(pf.Processors, e)
	}
	for from := range devices {
		for to := range devices {
			if from == to || devices > 3 && chance(r, 0.15) && to != (from+1)%devices {
				continue
			}
			l := ir.Link{From: ir.DeviceID(from), To: ir.DeviceID(to), Copy: ir.Copy{Latency: ir.Micros(20 + 300*r.Float64()), BytesPerUs: 50 + 1200*r.Float64()}}
			if chance(r, 0.2) {
				l.Medium = "air"
			}
			pf.Links = append(pf.Links, l)
		}
	}
	b.pf = pf
}

func (b *maker) value(size int64, input bool) ir.ValueID {
	b.size = append(b.size, size)
	b.values++
	return b.b.Value(ir.Value{Name: fmt.Sprintf("v%d", b.values), Bytes: size, ResidentBytes: size, Input: input})
}

func (b *maker) input() ir.ValueID { return b.value(600_000, true) }

// op adds an operator of a kind; the last kind is light and may be replicated.
func (b *maker) op(kind int, ins ...ir.ValueID) ir.ValueID {
	r := b.r
	work := 20 + 400*r.Float64()*r.Float64()
	size := b.size[ins[0]]
	switch kind {
	case 0: // heavy, often smaller afterwards
		work *= 3
		if chance(r, 0.3) {
			size = size * 2 / 3
		}
	case 1:
		if chance(r, 0.2) && size < 4_000_000 {
			size = size * 5 / 4
		}
	case kinds - 1:
		work /= 10
	}
	out := b.value(max(size, 20_000), false)
	node := ir.Node{Name: fmt.Sprintf("n%d", b.n), Op: fmt.Sprintf("Op%d", kind), Inputs: ins, Outputs: []ir.ValueID{out}, Replicable: kind == kinds-1}
	if kind < 2 {
		bytes := int64(10_000 + r.IntN(500_000))
		node.Weights = []ir.WeightID{b.b.Weight(fmt.Sprintf("w%d", b.n), bytes)}
		b.holds += bytes
	}
	b.b.Node(node)
	row := make([]ir.Time, b.procs)
	for q := range row {
		row[q] = ir.Micros(work / b.speed[q][kind])
		if q > 0 && kind == 2 && q%3 == 2 {
			row[q] = ir.Unsupported
		}
	}
	b.cost = append(b.cost, row)
	b.n++
	return out
}

func (b *maker) any() int { return b.r.IntN(kinds) }

func (b *maker) layered(nodes int, x ir.ValueID) ir.ValueID {
	width := max(4, min(64, nodes/50))
	last := []ir.ValueID{x}
	for b.n < nodes-1 {
		var next []ir.ValueID
		for range 1 + b.r.IntN(width) {
			ins := []ir.ValueID{last[b.r.IntN(len(last))]}
			for len(ins) < 3 && chance(b.r, 0.4) {
				ins = append(ins, last[b.r.IntN(len(last))])
			}
			next = append(next, b.op(b.any(), ins...))
		}
		last = next
	}
	return b.op(kinds-1, last...)
}

// series is a series-parallel piece of some depth.
func (b *maker) series(x ir.ValueID, depth int) ir.ValueID {
	if depth == 0 || chance(b.r, 0.3) {
		return b.op(b.any(), x)
	}
	if chance(b.r, 0.5) {
		return b.series(b.series(x, depth-1), depth-1)
	}
	fork := b.op(b.any(), x)
	var ends []ir.ValueID
	for range 2 + b.r.IntN(2) {
		ends = append(ends, b.series(fork, depth-1))
	}
	return b.op(kinds-1, ends...)
}

func (b *maker) inception(x ir.ValueID) ir.ValueID {
	var ends []ir.ValueID
	for i := range 4 {
		y := x
		for range 1 + i + b.r.IntN(2) {
			y = b.op(0, y)
			y = b.op(kinds-1, y)
		}
		ends = append(ends, y)
	}
	return b.op(kinds-1, ends...)
}

func (b *maker) transformer(x ir.ValueID) ir.ValueID {
	y := b.op(2, x)
	var heads []ir.ValueID
	for range 4 {
		q, k, v := b.op(1, y), b.op(1, y), b.op(1, y)
		heads = append(heads, b.op(1, b.op(2, b.op(1, q, k)), v))
	}
	z := b.op(kinds-1, b.op(0, heads...), x)
	return b.op(kinds-1, b.op(0, b.op(2, b.op(0, b.op(2, z)))), z)
}

func (b *maker) towers(nodes int, x ir.ValueID) ir.ValueID {
	var ends []ir.ValueID
	for range 5 {
		y := b.op(kinds-1, x)
		for range nodes / 5 {
			y = b.op(b.any(), y)
		}
		ends = append(ends, y)
	}
	return b.op(0, ends...)
}

func (b *maker) problem(y ir.ValueID, tight bool) *ir.Problem {
	out := b.b.Value(ir.Value{Name: "result", Bytes: 4000, ResidentBytes: 4000, Output: true})
	b.b.Node(ir.Node{Name: "last", Inputs: []ir.ValueID{y}, Outputs: []ir.ValueID{out}})
	b.cost = append(b.cost, make([]ir.Time, b.procs))
	g := must(b.b.Build())
	costs := ir.NewCosts(g.NumNodes(), b.procs)
	for n, row := range b.cost {
		for q, t := range row {
			costs.Set(ir.NodeID(n), ir.ProcID(q), t)
		}
	}
	if tight {
		for q := range b.pf.Processors {
			b.pf.Processors[q].MemoryBytes = b.holds*2/5 + min(20_000_000, 6*slices.Max(b.size))
		}
	}
	return &ir.Problem{Graph: g, Platform: b.pf, Costs: costs, Submodels: 1}
}
