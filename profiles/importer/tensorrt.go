package importer

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// trtexec writes --exportProfile as an array: {"count": N} first, then for each
// layer its name and times in milliseconds. --exportLayerInfo tells what layers are
// made of: with --profilingVerbosity=detailed an object each, whose Metadata lists
// the ONNX nodes, else only the names, which are made of those of the nodes.
// Sources: samples/common/sampleReporting.cpp of TensorRT; its developer guide,
// "Engine inspector" and "Understanding the formats printed in layer information".

// trtLayer is what the layer information says of a layer.
type trtLayer struct {
	kind     string   // LayerType
	nodes    []string // from Metadata
	outputs  []string // names of values
	detailed bool
}

// trtLayers are the layers by name; several of one name in order.
type trtLayers map[string][]trtLayer

// readTRTLayers adds the layers of a file.
func readTRTLayers(file string, s *scanner, into trtLayers) error {
	found, count, size := false, 0, 0
	err := s.object(func(key string) error {
		if key != "Layers" {
			return s.skip()
		}
		found = true
		return s.array(func() error {
			if count++; count > maxLayers {
				return fmt.Errorf("it has more than %d layers", maxLayers)
			}
			kind, err := s.peek()
			if err != nil {
				return err
			}
			if kind != '{' {
				name, ok, err := s.scalar()
				if err == nil && ok {
					into[name] = append(into[name], trtLayer{})
					size += len(name)
				}
				return cmp.Or(err, tooManyNames(size))
			}
			name, l, err := trtLayerObject(s)
			if err == nil && name != "" {
				into[name] = append(into[name], l)
				size += len(name)
				for _, n := range l.nodes {
					size += len(n)
				}
			}
			return cmp.Or(err, tooManyNames(size))
		})
	})
	if err != nil {
		return fileError(file, s.line, "%v", err)
	}
	if !found {
		diag.Bugf("%s was taken for layer information without the key Layers", file)
	}
	return nil
}

func tooManyNames(size int) error {
	if size > maxNameBytes {
		return fmt.Errorf("the names in it take more than %d bytes", maxNameBytes)
	}
	return nil
}

func trtLayerObject(s *scanner) (name string, l trtLayer, err error) {
	l.detailed = true
	err = s.object(func(key string) (err error) {
		switch key {
		case "Name":
			name, _, err = s.scalar()
		case "LayerType":
			l.kind, _, err = s.scalar()
		case "Metadata":
			var text string
			if text, _, err = s.scalar(); err == nil {
				l.nodes = onnxLayers(text)
			}
		case "Outputs":
			if ok, err := s.opens('['); !ok {
				return err
			}
			err = s.array(func() error {
				if ok, err := s.opens('{'); !ok {
					return err
				}
				return s.object(func(key string) error {
					if key != "Name" {
						return s.skip()
					}
					text, ok, err := s.scalar()
					if ok && len(l.outputs) < 64 {
						l.outputs = append(l.outputs, text)
					}
					return err
				})
			})
		default:
			err = s.skip()
		}
		return err
	})
	return name, l, err
}

// onnxLayers takes the node names from metadata: "[ONNX Layer: name | more]", several
// behind one another, with or without control characters between them.
func onnxLayers(text string) []string {
	const open = "[ONNX Layer: "
	var names []string
	for {
		_, rest, ok := strings.Cut(text, open)
		if !ok {
			return names
		}
		// Names can hold brackets; the next entry or the end of the text bounds this one.
		entry := rest
		if next := strings.Index(rest, open); next >= 0 {
			entry = rest[:next]
		}
		text = rest[len(entry):]
		if at := strings.IndexAny(entry, "\x1e\x1f"); at >= 0 {
			entry = entry[:at]
		}
		if at := strings.LastIndexByte(entry, ']'); at >= 0 {
			entry = entry[:at]
		}
		if at := strings.Index(entry, " | "); at >= 0 {
			entry = entry[:at]
		}
		if entry = strings.TrimSpace(entry); entry != "" {
			names = append(names, entry)
		}
	}
}

// readTRTProfile reads the times of layers.
func readTRTProfile(file string, s *scanner, info trtLayers) (*trace, error) {
	t := &trace{file: file, format: TRTProfile}
	count, size, unreadable := 0.0, 0, 0
	used := map[string]int{}
	if err := s.expect('['); err != nil {
		return nil, fileError(file, s.line, "%v", err)
	}
	for !t.truncated {
		kind, err := s.peek()
		if err == nil && kind == ']' {
			break
		}
		if err == nil && kind == ',' {
			s.kind = 0
			continue
		}
		line := s.line
		var l layer
		if err == nil {
			l, err = trtTimes(s, &count)
		}
		switch {
		case errors.Is(err, errEnd):
			t.truncated = true
			t.notes = append(t.notes, file+": the file ends before its array does; what is whole was read")
			continue
		case errors.Is(err, errSyntax):
			if unreadable++; unreadable > maxUnreadable {
				return nil, fileError(file, line, "more than %d lines cannot be read: %v", maxUnreadable, err)
			}
			t.notes = append(t.notes, fmt.Sprintf("%s:%d: left out: %v", file, line, err))
			t.truncated = !s.skipLine()
			continue
		case err != nil:
			return nil, fileError(file, line, "%v", err)
		}
		if l.name == "" {
			continue
		}
		if size += len(l.name); len(t.layers) == maxLayers || size > maxNameBytes {
			return nil, fileError(file, line, "it has more than %d layers, or their names take more than %d bytes", maxLayers, maxNameBytes)
		}
		l.index, l.order = -1, len(t.layers)
		var known trtLayer
		if same := info[l.name]; len(same) > 0 {
			known = same[min(used[l.name], len(same)-1)]
			used[l.name]++
		}
		l.describe(known)
		t.layers = append(t.layers, l)
	}
	if len(t.layers) == 0 {
		return nil, fileError(file, 0, "it holds no layer, expected what trtexec --exportProfile writes")
	}
	t.runs = int(min(max(count, 1), 1e9))
	for i := range t.layers {
		l := &t.layers[i]
		l.runs, l.events = int64(t.runs), 1
		l.totalUs = l.us
		t.runUs += l.us
	}
	return t, nil
}

// trtTimes reads an element: the count of runs, or a layer.
func trtTimes(s *scanner, count *float64) (layer, error) {
	var l layer
	var total, average, median float64
	var hasTotal, hasAverage, hasMedian bool
	err := s.object(func(key string) (err error) {
		switch key {
		case "count":
			*count, _, err = s.number()
		case "name":
			l.name, _, err = s.scalar()
		case "timeMs":
			total, hasTotal, err = s.number()
		case "averageMs":
			average, hasAverage, err = s.number()
		case "medianMs":
			median, hasMedian, err = s.number()
		default:
			err = s.skip()
		}
		return err
	})
	if err != nil || l.name == "" {
		return l, err
	}
	switch {
	case hasMedian: // since TensorRT 8.4
		l.us = 1e3 * median
		if hasAverage {
			l.spreadUs = 1e3 * max(average-median, median-average)
		}
	case hasAverage:
		l.us = 1e3 * average
	case hasTotal:
		l.us = 1e3 * total / max(*count, 1)
	default:
		return l, fmt.Errorf("%w: layer %.60q has no time", errSyntax, l.name)
	}
	if !(l.us >= 0 && l.us <= 1e15) {
		return l, fmt.Errorf("%w: layer %.60q has the time %g ms", errSyntax, l.name, l.us/1e3)
	}
	return l, nil
}

// describe finds what a layer is made of: from its metadata, else from its name.
func (l *layer) describe(known trtLayer) {
	l.op = known.kind
	l.readTRTName(l.name, 0)
	if l.own {
		return
	}
	if len(known.nodes) > 0 && !l.copies {
		l.claims = l.claims[:0]
		for _, n := range known.nodes {
			l.claims = append(l.claims, claim{from: n})
		}
	}
	if len(known.outputs) > 0 && !l.copies && known.kind != "Reformat" && len(known.nodes) == 0 {
		for _, v := range known.outputs {
			l.claims = append(l.claims, claim{from: v})
		}
	}
	if strings.EqualFold(known.kind, "Reformat") || strings.EqualFold(known.kind, "NoOp") {
		l.copies = true
	}
	if len(l.claims) == 0 && !l.copies {
		l.claims = append(l.claims, claim{from: l.name})
	}
}

// readTRTName adds the nodes that a name of TensorRT speaks of. Parts are joined by
// " + ", pointwise parts are inside PWN(...), and what TensorRT adds by itself has
// names that no node has.
func (l *layer) readTRTName(name string, depth int) {
	if depth > 8 || len(l.claims) > 4096 {
		return
	}
	name = strings.TrimSpace(name)
	if strings.HasPrefix(name, "[trainStation") {
		l.own = true // a point where streams wait for one another
		return
	}
	if rest, ok := strings.CutPrefix(name, "Reformatting CopyNode for "); ok {
		l.copies = true
		if _, target, ok := strings.Cut(rest, " to "); ok {
			l.readTRTName(target, depth+1)
		}
		return
	}
	if inside, ok := strings.CutPrefix(name, "{ForeignNode["); ok {
		inside, _, _ = strings.Cut(inside, "]}")
		inside = strings.TrimSuffix(inside, "]")
		if from, to, ok := strings.Cut(inside, "..."); ok {
			l.claims = append(l.claims, claim{lastPart(from), firstPart(to)})
			return
		}
		l.readTRTName(inside, depth+1)
		return
	}
	if inside, ok := strings.CutPrefix(name, "PWN("); ok && balanced(inside) {
		inside = strings.TrimSuffix(inside, ")")
		for _, part := range splitTop(inside, ", ") {
			l.readTRTName(part, depth+1)
		}
		return
	}
	for _, join := range []string{" + ", " || "} {
		if parts := splitTop(name, join); len(parts) > 1 {
			for _, part := range parts {
				l.readTRTName(part, depth+1)
			}
			return
		}
	}
	for _, tail := range []string{" copy", " [HostToDeviceCopy]", " [DeviceToHostCopy]", " [ShapeHostToDeviceCopy]", "[ShapeHostToDeviceCopy]"} {
		if rest, ok := strings.CutSuffix(name, tail); ok {
			name = rest
			l.copies = l.copies || depth == 0
		}
	}
	for _, head := range []string{"copied_squeeze_after_", "squeeze_after_", "unsqueeze_node_after_", "reshape_before_", "reshape_after_", "transpose_before_"} {
		if rest, ok := strings.CutPrefix(name, head); ok {
			name = rest
		}
	}
	if name == "" || strings.HasPrefix(name, "(Unnamed Layer*") || strings.HasPrefix(name, "ONNXTRT_") || strings.HasPrefix(name, "__my") {
		return
	}
	l.claims = append(l.claims, claim{from: name})
}

// A range of a ForeignNode can begin and end with a fused name: "a + b...c + d".
func firstPart(s string) string {
	s, _, _ = strings.Cut(s, " + ")
	return strings.TrimSpace(s)
}

func lastPart(s string) string {
	if at := strings.LastIndex(s, " + "); at >= 0 {
		s = s[at+3:]
	}
	return strings.TrimSpace(s)
}

// balanced says whether s, the rest behind an opening parenthesis, ends where that
// one closes.
func balanced(s string) bool {
	depth := 1
	for i := range len(s) {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i == len(s)-1
			}
		}
	}
	return false
}

// splitTop splits s at the separators that stand in no parentheses.
func splitTop(s, by string) []string {
	var parts []string
	depth, from := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '(', '{':
			depth++
		case ')', '}':
			depth = max(depth-1, 0)
		}
		if depth == 0 && strings.HasPrefix(s[i:], by) {
			parts = append(parts, s[from:i])
			i += len(by) - 1
			from = i + 1
		}
	}
	return append(parts, s[from:])
}
