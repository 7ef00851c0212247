package profiles

import (
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

const deviceSchema = "dnnsplit/device/v1"

const maxProcessors = 64 // of a device

// deviceFile is what a device's YAML file says.
type deviceFile struct {
	file        *yamlFile
	name        string // "" if it is missing or wrong
	nameAt      *token.Token
	memoryBytes int64
	source      string
	processors  []processorEntry
}

// processorEntry is one entry of processors.
type processorEntry struct {
	name      string
	hardware  ir.Processor // without Name and Device
	processor Processor    // without Name
	costFiles []element
}

// readDevice reads a device. What is wrong is in file.errs; the result then
// holds what could be read.
func readDevice(file *yamlFile, data []byte) *deviceFile {
	d := &deviceFile{file: file, memoryBytes: ir.UnlimitedBytes}
	root := file.parse(data)
	if root == nil {
		return d
	}
	m := file.mapping(root, "a device", "schema", "name", "memory", "processors", "source")
	if m == nil || !checkSchema(m, deviceSchema) {
		return d
	}
	if fd := m.need("name", "raspberry-pi-5"); fd != nil {
		d.name = readName(m, fd)
		d.nameAt = fd.value.GetToken()
	}
	if bytes, ok := quantity(m, m.need("memory", "8GiB"), ParseBytes); ok {
		d.memoryBytes = bytes
	}
	if fd := m.get("source"); fd != nil {
		d.source, _ = m.text(fd)
	}
	fd := m.need("processors", "[{name: cpu, kind: cpu, ...}]")
	if fd == nil {
		return d
	}
	items, ok := m.list(fd, "processors")
	switch {
	case !ok:
		return d
	case len(items) == 0:
		file.failAt(fd.value.GetToken(), "processors: the list is empty, a device has at least one")
	case len(items) > maxProcessors:
		file.failAt(items[maxProcessors].GetToken(), "processors: more than %d on one device", maxProcessors)
		return d
	}
	for _, item := range items {
		if p, ok := d.readProcessor(item); ok {
			d.processors = append(d.processors, p)
		}
	}
	return d
}

// checkSchema reports a missing or foreign schema. With a foreign one, which it
// returns false for, nothing else that is wrong with the file matters.
func checkSchema(m *mapping, want string) bool {
	fd := m.need("schema", want)
	if fd == nil {
		return true
	}
	got, ok := m.text(fd)
	if !ok || got == want {
		return true
	}
	hint := ""
	switch {
	case want == deviceSchema && got == fleetSchema:
		hint = "; a fleet's file is named " + fleetFileName
	case want == fleetSchema && got == deviceSchema:
		hint = "; a device's file has another name than " + fleetFileName
	}
	m.file.errs = m.file.errs[:0]
	m.file.failAt(fd.value.GetToken(), "schema: found %s, expected %s%s", quoted(got), want, hint)
	return false
}

// readName reads the name of a device or processor; names become file names and
// are joined with dots, which bounds their characters.
func readName(m *mapping, fd *field) string {
	name, ok := m.text(fd)
	if !ok {
		return ""
	}
	const longest = 63
	if len(name) > longest {
		m.file.failAt(fd.value.GetToken(), "%s: %s is longer than %d characters", fd.key, quoted(name), longest)
		return ""
	}
	for i, c := range name {
		switch {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9':
		case i > 0 && (c == '-' || c == '_'):
		default:
			m.file.failAt(fd.value.GetToken(), "%s: %s has the character %q, a name is made of letters, digits, - and _, a letter or digit first", fd.key, quoted(name), c)
			return ""
		}
	}
	return name
}

// kinds lists what a processor can be.
var kinds = [...]string{"cpu", "gpu", "npu", "dsp", "tpu"}

func (d *deviceFile) readProcessor(item ast.Node) (processorEntry, bool) {
	f := d.file
	e := processorEntry{hardware: ir.Processor{MemoryBytes: ir.UnlimitedBytes, MaxSubmodels: ir.DefaultSubmodels}}
	m := f.mapping(item, "a processor", "name", "kind", "provider", "memory", "peak", "memory_bandwidth",
		"op_overhead", "launch", "upload", "download", "supported", "unsupported", "costs", "source")
	if m == nil {
		return e, false
	}
	if fd := m.need("name", "gpu"); fd != nil {
		e.name = readName(m, fd)
		for _, other := range d.processors {
			if e.name != "" && strings.EqualFold(other.name, e.name) {
				f.failAt(fd.value.GetToken(), "name: the device has a processor %s already", quoted(other.name))
			}
		}
	}
	if fd := m.need("kind", "gpu"); fd != nil {
		if s, ok := m.text(fd); ok {
			if !slices.Contains(kinds[:], s) {
				f.failAt(fd.value.GetToken(), "kind: found %s, expected one of %s", quoted(s), strings.Join(kinds[:], ", "))
			}
			e.hardware.Kind = s
		}
	}
	if fd := m.get("provider"); fd != nil {
		e.hardware.Provider, _ = m.text(fd)
	}
	if bytes, ok := quantity(m, m.get("memory"), ParseBytes); ok {
		e.hardware.MemoryBytes = bytes
	}
	e.hardware.Launch, _ = quantity(m, m.get("launch"), ParseTime)
	e.hardware.Upload = readCopy(m, "upload")
	e.hardware.Download = readCopy(m, "download")

	p := &e.processor
	p.Kind, p.Provider, p.Source = e.hardware.Kind, e.hardware.Provider, d.source
	if fd := m.get("source"); fd != nil {
		p.Source, _ = m.text(fd)
	}
	if fd := m.need("peak", "{float32: 100GFLOP/s}"); fd != nil {
		p.Peaks = readPeaks(f, fd)
	}
	p.MemoryBytesPerSecond, _ = quantity(m, m.need("memory_bandwidth", "17GB/s"), ParseDataRate)
	p.OpOverhead, _ = quantity(m, m.get("op_overhead"), ParseTime)

	supported, unsupported := m.get("supported"), m.get("unsupported")
	if supported != nil && unsupported != nil {
		later := supported
		if unsupported.tok.Position.Offset > supported.tok.Position.Offset {
			later = unsupported
		}
		f.failAt(later.tok, "a processor has either supported or unsupported, not both")
	}
	if supported != nil {
		p.supported = readPatterns(m, supported)
		if s, ok := supported.value.(*ast.SequenceNode); ok && len(s.Values) == 0 {
			f.failAt(supported.value.GetToken(), "supported: the list is empty, so nothing could run on the processor")
		}
	}
	if unsupported != nil {
		p.unsupported = readPatterns(m, unsupported)
	}
	if fd := m.get("costs"); fd != nil {
		e.costFiles = m.texts(fd)
	}
	return e, true
}

// readPatterns reads supported or unsupported; the result is not nil.
func readPatterns(m *mapping, fd *field) *patternSet {
	patterns := &patternSet{}
	for _, el := range m.texts(fd) {
		p, err := parsePattern(el.text)
		if err != nil {
			m.file.failAt(el.tok, "%s: %v", fd.key, err)
			continue
		}
		patterns.add(p)
	}
	return patterns
}

// readCopy reads upload or download; nil where it is absent or wrong.
func readCopy(m *mapping, key string) *ir.Copy {
	fd := m.get(key)
	if fd == nil {
		return nil
	}
	c := m.file.mapping(fd.value, "an "+key, "latency", "bandwidth")
	if c == nil {
		return nil
	}
	return readLatencyAndBandwidth(c)
}

// readLatencyAndBandwidth reads these two keys of m; nil where they are wrong.
func readLatencyAndBandwidth(m *mapping) *ir.Copy {
	var way ir.Copy
	way.Latency, _ = quantity(m, m.get("latency"), ParseTime)
	rate, ok := quantity(m, m.need("bandwidth", "940Mbit/s"), ParseDataRate)
	if !ok {
		return nil
	}
	way.BytesPerUs = rate / 1e6
	return &way
}

// readPeaks reads peak: element types to rates.
func readPeaks(f *yamlFile, fd *field) []Peak {
	m := f.openMapping(fd.value, "a peak", func(key string, tok *token.Token) bool {
		if _, ok := ir.ParseElemType(key); ok {
			return true
		}
		hint := DidYouMean(key, elemNames())
		if hint == "" {
			hint = ", expected one such as float32, float16 or int8"
		}
		f.failAt(tok, "peak: %s is no element type%s", quoted(key), hint)
		return false
	})
	if m == nil {
		return nil
	}
	var peaks []Peak
	for i := range m.fields {
		fd := &m.fields[i]
		if fd.value == nil {
			continue
		}
		elem, _ := ir.ParseElemType(fd.key)
		parse := ParseOPRate
		switch {
		case elem == ir.String || elem == ir.Bool:
			f.failAt(fd.tok, "peak: %s has no arithmetic, leave it out", fd.key)
			continue
		case isFloat(elem):
			parse = ParseFLOPRate
		}
		if rate, ok := quantity(m, fd, parse); ok {
			peaks = append(peaks, Peak{elem, rate})
		}
	}
	if len(m.fields) == 0 {
		f.failAt(m.start, "peak: no element type is given, expected one such as {float32: 100GFLOP/s}")
	}
	slices.SortFunc(peaks, func(a, b Peak) int { return int(a.Elem) - int(b.Elem) })
	return peaks
}

func elemNames() []string {
	var names []string
	for e := ir.UndefinedElem + 1; e.Known(); e++ {
		names = append(names, e.String())
	}
	return names
}

// isFloat says whether arithmetic on t counts as floating-point operations.
func isFloat(t ir.ElemType) bool {
	switch t {
	case ir.Float16, ir.BFloat16, ir.Float32, ir.Float64, ir.Complex64, ir.Complex128,
		ir.Float8E4M3FN, ir.Float8E4M3FNUZ, ir.Float8E5M2, ir.Float8E5M2FNUZ, ir.Float8E8M0, ir.Float4E2M1:
		return true
	}
	return false
}
