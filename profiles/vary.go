package profiles

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// Parameter is a number of a fleet that a what-if question varies. Its values are
// in base units: bytes, bytes or operations per second, picoseconds, or no unit.
type Parameter struct {
	Name string // as it was given
	// Reprices says that the costs of nodes depend on it, not only the platform.
	Reprices bool

	dim     dimension
	bare    bool // no unit: a factor
	current float64
	set     func(f *Fleet, v float64) // changes a copy made by With
}

// ParameterForms lists what Fleet.Parameter understands.
const ParameterForms = "link:A-B.bandwidth, link:A-B.latency (A->B for one direction, a medium's name, * for all links), " +
	"device:D.memory, processor:P.memory, processor:P.launch, processor:P.speed, processor:P.peak, processor:P.peak.TYPE, " +
	"processor:P.memory_bandwidth, processor:P.op_overhead, processor:P.upload.bandwidth, processor:P.download.latency, ..."

// Parameter finds the number that a text names; ParameterForms lists the forms.
func (f *Fleet) Parameter(text string) (*Parameter, error) {
	kind, rest, ok := strings.Cut(text, ":")
	if !ok {
		return nil, fmt.Errorf("%s names no number of a fleet; want one of %s", quoted(text), ParameterForms)
	}
	p := &Parameter{Name: text}
	var err error
	switch kind {
	case "link":
		err = f.linkParameter(p, rest)
	case "device":
		err = f.deviceParameter(p, rest)
	case "processor":
		err = f.processorParameter(p, rest)
	default:
		err = fmt.Errorf("%s is neither link, device nor processor; want one of %s", quoted(kind), ParameterForms)
	}
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Current is the value that the fleet has; of several links that of the first.
func (p *Parameter) Current() float64 { return p.current }

// Parse reads a value with its unit.
func (p *Parameter) Parse(text string) (float64, error) {
	switch {
	case p.bare:
		v, rest, err := scanNumber(text)
		f := 0.0
		if err == nil {
			f, _ = v.Float64()
		}
		if err != nil || rest != "" || f <= 0 || f > 1e6 {
			return 0, fmt.Errorf("%s is no factor, expected a number such as 0.5 or 2", quoted(text))
		}
		return f, nil
	case p.dim == sizeDim:
		n, err := ParseBytes(text)
		return float64(n), err
	case p.dim == timeDim:
		t, err := ParseTime(text)
		return float64(t), err
	}
	return parseRate(text, p.dim)
}

// Unit is the unit at the end of a value, "" if there is none.
func (p *Parameter) Unit(text string) string {
	_, rest, err := scanNumber(text)
	if err != nil {
		return ""
	}
	return rest
}

// Format prints a value that Parse reads back.
func (p *Parameter) Format(v float64) string {
	switch {
	case p.bare:
		r, _ := new(big.Rat).SetString(fmt.Sprint(v))
		if r != nil && r.IsInt() {
			return r.Num().String()
		}
		return fmt.Sprint(v)
	case p.dim == sizeDim:
		return FormatBytes(int64(v))
	case p.dim == timeDim:
		return FormatTime(ir.Time(v))
	case p.dim == dataRateDim && strings.HasPrefix(p.Name, "link:"):
		return FormatBitRate(v)
	}
	return formatRate(v, p.dim)
}

// With is the fleet with another value of a parameter. The fleet itself does not
// change. A factor on the speed of a processor is not in the fleet's costs: see
// Fleet.Speed.
func (f *Fleet) With(p *Parameter, v float64) *Fleet {
	pf := *f.Platform
	pf.Devices, pf.Processors, pf.Links = slices.Clone(pf.Devices), slices.Clone(pf.Processors), slices.Clone(pf.Links)
	g := &Fleet{Platform: &pf, Processors: slices.Clone(f.Processors), files: f.files}
	p.set(g, v)
	return g
}

func (f *Fleet) linkParameter(p *Parameter, text string) error {
	ends, key, ok := cutLast(text, ".")
	if !ok || key != "bandwidth" && key != "latency" {
		return fmt.Errorf("%s: a link has bandwidth and latency, for example link:%s.bandwidth", quoted(p.Name), quoted(text))
	}
	links := f.linksNamed(ends)
	if len(links) == 0 {
		return fmt.Errorf("no link is called %s; there are %s", quoted(ends), enumerate(f.linkNames()))
	}
	first := f.Platform.Links[links[0]]
	if key == "bandwidth" {
		p.dim, p.current = dataRateDim, first.BytesPerUs*1e6
		p.set = func(f *Fleet, v float64) {
			for _, i := range links {
				f.Platform.Links[i].BytesPerUs = v / 1e6
			}
		}
		return nil
	}
	p.dim, p.current = timeDim, float64(first.Latency)
	p.set = func(f *Fleet, v float64) {
		for _, i := range links {
			f.Platform.Links[i].Latency = ir.Time(v)
		}
	}
	return nil
}

// linksNamed are the indices of the links A-B (both ways), A->B, of a medium, or all ("*").
func (f *Fleet) linksNamed(name string) []int {
	var found []int
	d := f.Platform.Devices
	for i, l := range f.Platform.Links {
		a, b := d[l.From].Name, d[l.To].Name
		if name == "*" || name == a+"-"+b || name == b+"-"+a || name == a+"->"+b || l.Medium != "" && name == l.Medium {
			found = append(found, i)
		}
	}
	return found
}

// linkNames names each pair of linked devices once.
func (f *Fleet) linkNames() []string {
	var names []string
	for _, l := range f.Platform.Links {
		a, b := f.Platform.Devices[l.From].Name, f.Platform.Devices[l.To].Name
		if !slices.Contains(names, a+"-"+b) && !slices.Contains(names, b+"-"+a) {
			names = append(names, a+"-"+b)
		}
	}
	return names
}

func (f *Fleet) deviceParameter(p *Parameter, text string) error {
	name, key, ok := cutLast(text, ".")
	if !ok || key != "memory" {
		return fmt.Errorf("%s: a device has memory, for example device:%s.memory", quoted(p.Name), f.Platform.Devices[0].Name)
	}
	d, err := f.Device(name)
	if err != nil {
		return err
	}
	p.dim, p.current = sizeDim, float64(f.Platform.Devices[d].MemoryBytes)
	p.set = func(f *Fleet, v float64) { f.Platform.Devices[d].MemoryBytes = int64(v) }
	return nil
}

// processorKeys are the numbers of a processor; peak.TYPE is one more.
var processorKeys = []string{
	"memory", "launch", "speed", "peak", "memory_bandwidth", "op_overhead",
	"upload.bandwidth", "upload.latency", "download.bandwidth", "download.latency",
}

func (f *Fleet) processorParameter(p *Parameter, text string) error {
	// Names hold dots, keys too: the longest name of a processor that fits counts.
	id, key := ir.NoProc, ""
	for i, q := range f.Processors {
		if rest, ok := strings.CutPrefix(text, q.Name+"."); ok && (id == ir.NoProc || len(q.Name) > len(f.Processors[id].Name)) {
			id, key = ir.ProcID(i), rest
		}
	}
	if id == ir.NoProc {
		name, _, _ := cutLast(text, ".")
		_, err := f.Processor(name)
		if err == nil {
			err = fmt.Errorf("%s names no number of a processor; want one of %s", quoted(p.Name), strings.Join(processorKeys, ", "))
		}
		return err
	}
	hw, pr := &f.Platform.Processors[id], &f.Processors[id]
	number := func(dim dimension, current float64, set func(*Fleet, float64)) {
		p.dim, p.current, p.set = dim, current, set
	}
	if way, end, ok := strings.Cut(key, "."); ok && (way == "upload" || way == "download") {
		return f.copyParameter(p, id, way, end)
	}
	switch {
	case key == "memory":
		number(sizeDim, float64(hw.MemoryBytes), func(f *Fleet, v float64) { f.Platform.Processors[id].MemoryBytes = int64(v) })
	case key == "launch":
		number(timeDim, float64(hw.Launch), func(f *Fleet, v float64) { f.Platform.Processors[id].Launch = ir.Time(v) })
	case key == "speed":
		number(0, 1, func(f *Fleet, v float64) { f.Processors[id].speed = v })
		p.bare, p.Reprices = true, true
	case key == "memory_bandwidth":
		number(dataRateDim, pr.MemoryBytesPerSecond, func(f *Fleet, v float64) { f.Processors[id].MemoryBytesPerSecond = v })
		p.Reprices = true
	case key == "op_overhead":
		number(timeDim, float64(pr.OpOverhead), func(f *Fleet, v float64) { f.Processors[id].OpOverhead = ir.Time(v) })
		p.Reprices = true
	case key == "peak" || strings.HasPrefix(key, "peak."):
		return f.peakParameter(p, id, strings.TrimPrefix(strings.TrimPrefix(key, "peak"), "."))
	default:
		hint := DidYouMean(key, processorKeys)
		if hint == "" {
			hint = "; want one of " + strings.Join(processorKeys, ", ") + ", peak.TYPE"
		}
		return fmt.Errorf("processor %s has no number %s%s", f.Processors[id].Name, quoted(key), hint)
	}
	return nil
}

// Speed is the factor by which processor p runs faster than its costs say; 1 but
// for fleets made by With.
func (f *Fleet) Speed(p ir.ProcID) float64 {
	if s := f.Processors[p].speed; s > 0 {
		return s
	}
	return 1
}

// peakParameter varies one peak; without a type the first one, and the others in
// proportion.
func (f *Fleet) peakParameter(p *Parameter, id ir.ProcID, elem string) error {
	peaks := f.Processors[id].Peaks
	at := 0
	for i, k := range peaks {
		if k.Elem == ir.Float32 {
			at = i
		}
	}
	if elem != "" {
		at = slices.IndexFunc(peaks, func(k Peak) bool { return k.Elem.String() == elem })
		if at < 0 {
			have := make([]string, len(peaks))
			for i, k := range peaks {
				have[i] = k.Elem.String()
			}
			return fmt.Errorf("processor %s has no peak for %s; it has peaks for %s", f.Processors[id].Name, quoted(elem), strings.Join(have, ", "))
		}
	}
	p.dim, p.current, p.Reprices = intRateDim, peaks[at].OpsPerSecond, true
	if isFloat(peaks[at].Elem) {
		p.dim = floatRateDim
	}
	p.set = func(f *Fleet, v float64) {
		mine := slices.Clone(f.Processors[id].Peaks)
		factor := v / mine[at].OpsPerSecond
		for i := range mine {
			if i == at {
				mine[i].OpsPerSecond = v
			} else if elem == "" {
				mine[i].OpsPerSecond = min(mine[i].OpsPerSecond*factor, maxRate)
			}
		}
		f.Processors[id].Peaks = mine
	}
	return nil
}

func (f *Fleet) copyParameter(p *Parameter, id ir.ProcID, way, key string) error {
	field := func(f *Fleet) **ir.Copy {
		if way == "upload" {
			return &f.Platform.Processors[id].Upload
		}
		return &f.Platform.Processors[id].Download
	}
	c := *field(f)
	switch {
	case c == nil:
		return fmt.Errorf("processor %s works in host memory and has no %s", f.Processors[id].Name, way)
	case key == "bandwidth":
		p.dim, p.current = dataRateDim, c.BytesPerUs*1e6
		p.set = func(f *Fleet, v float64) { *field(f) = &ir.Copy{Latency: (*field(f)).Latency, BytesPerUs: v / 1e6} }
	case key == "latency":
		p.dim, p.current = timeDim, float64(c.Latency)
		p.set = func(f *Fleet, v float64) {
			*field(f) = &ir.Copy{Latency: ir.Time(math.Round(v)), BytesPerUs: (*field(f)).BytesPerUs}
		}
	default:
		return fmt.Errorf("processor %s: %s has bandwidth and latency, not %s", f.Processors[id].Name, way, quoted(key))
	}
	return nil
}

// WithoutDevice is the fleet without a device, its processors and its links. It is
// an error to take the source or the sink away, or the last device.
func (f *Fleet) WithoutDevice(name string) (*Fleet, error) {
	gone, err := f.Device(name)
	if err != nil {
		return nil, err
	}
	pf := f.Platform
	switch {
	case pf.Source == gone:
		return nil, fmt.Errorf("inputs appear on %s (source)", name)
	case pf.Sink == gone:
		return nil, fmt.Errorf("outputs must arrive on %s (sink)", name)
	case len(pf.Devices) == 1:
		return nil, fmt.Errorf("%s is the only device", name)
	}
	moved := func(d ir.DeviceID) ir.DeviceID {
		if d > gone {
			return d - 1
		}
		return d
	}
	g := &Fleet{Platform: &ir.Platform{Source: moved(pf.Source), Sink: moved(pf.Sink)}, files: f.files}
	for d, dev := range pf.Devices {
		if ir.DeviceID(d) != gone {
			g.Platform.Devices = append(g.Platform.Devices, dev)
		}
	}
	for i, q := range pf.Processors {
		if q.Device != gone {
			q.Device = moved(q.Device)
			g.Platform.Processors = append(g.Platform.Processors, q)
			g.Processors = append(g.Processors, f.Processors[i])
		}
	}
	for _, l := range pf.Links {
		if l.From != gone && l.To != gone {
			l.From, l.To = moved(l.From), moved(l.To)
			g.Platform.Links = append(g.Platform.Links, l)
		}
	}
	return g, nil
}

// cutLast is strings.Cut at the last place of sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// Parameters lists the parameters that the fleet has, links between two devices once.
func (f *Fleet) Parameters() []string {
	var names []string
	for _, l := range f.linkNames() {
		names = append(names, "link:"+l+".bandwidth", "link:"+l+".latency")
	}
	for _, d := range f.Platform.Devices {
		names = append(names, "device:"+d.Name+".memory")
	}
	for _, p := range f.Processors {
		for _, key := range processorKeys {
			name := "processor:" + p.Name + "." + key
			if _, err := f.Parameter(name); err == nil {
				names = append(names, name)
			}
		}
	}
	return names
}
