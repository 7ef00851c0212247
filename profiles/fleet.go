package profiles

import (
	"strconv"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

const (
	fleetSchema   = "dnnsplit/fleet/v1"
	fleetFileName = "fleet.yaml"
)

// fleetFile is what fleet.yaml says.
type fleetFile struct {
	file         *yamlFile
	source, sink *element
	links        []linkEntry
	defaultLink  *linkEntry // without ends
}

// linkEntry is one entry of links.
type linkEntry struct {
	from, to element
	both     bool // both directions
	way      ir.Copy
	medium   string
}

func readFleet(file *yamlFile, data []byte) *fleetFile {
	f := &fleetFile{file: file}
	root := file.parse(data)
	if root == nil {
		return f
	}
	m := file.mapping(root, "a fleet", "schema", "source", "sink", "links", "default_link")
	if m == nil {
		return f
	}
	if !checkSchema(m, fleetSchema) {
		return f
	}
	f.source = readDeviceName(m, "source")
	f.sink = readDeviceName(m, "sink")
	if fd := m.get("links"); fd != nil {
		if items, ok := m.list(fd, "links"); ok {
			for _, item := range items {
				if l := readLink(file, item); l != nil {
					f.links = append(f.links, *l)
				}
			}
		}
	}
	if fd := m.get("default_link"); fd != nil {
		if d := file.mapping(fd.value, "a default_link", "bandwidth", "latency", "medium"); d != nil {
			f.defaultLink = readWay(d)
		}
	}
	return f
}

func readDeviceName(m *mapping, key string) *element {
	fd := m.get(key)
	if fd == nil {
		return nil
	}
	name, ok := m.text(fd)
	if !ok {
		return nil
	}
	return &element{name, fd.value.GetToken()}
}

// readWay reads bandwidth, latency and medium; nil where they are wrong.
func readWay(m *mapping) *linkEntry {
	var l linkEntry
	way := readLatencyAndBandwidth(m)
	if fd := m.get("medium"); fd != nil {
		l.medium, _ = m.text(fd)
	}
	if way == nil {
		return nil
	}
	l.way = *way
	return &l
}

func readLink(file *yamlFile, item ast.Node) *linkEntry {
	m := file.mapping(item, "a link", "between", "from", "to", "bandwidth", "latency", "medium")
	if m == nil {
		return nil
	}
	l := readWay(m)
	between, fromTo := m.has("between"), m.has("from") || m.has("to")
	switch {
	case between && fromTo:
		file.failAt(m.start, "a link has either between or from and to, not both")
		return nil
	case !between && !fromTo:
		file.failAt(m.start, "a link needs its ends, for example %s", strconv.Quote("between: [raspberry-pi-5, edge-server]"))
		return nil
	case between:
		fd := m.get("between")
		if fd == nil {
			return nil
		}
		ends := m.texts(fd)
		if s, ok := fd.value.(*ast.SequenceNode); ok && len(s.Values) != 2 {
			file.failAt(fd.value.GetToken(), "between: expected the names of two devices, found %d", len(s.Values))
			return nil
		}
		if len(ends) != 2 || l == nil {
			return nil
		}
		l.from, l.to, l.both = ends[0], ends[1], true
		return l
	}
	m.need("from", "raspberry-pi-5")
	m.need("to", "edge-server")
	a, b := readDeviceName(m, "from"), readDeviceName(m, "to")
	if a == nil || b == nil || l == nil {
		return nil
	}
	l.from, l.to = *a, *b
	return l
}

// applyFleet puts links, source and sink into the platform. complete says that
// every device's name is known, so that an unknown one is an error here.
//
// The default link stands between every ordered pair of devices that the
// explicit links neither join nor lead to one another over other devices.
func applyFleet(p *ir.Platform, f *fleetFile, complete bool) {
	byName := map[string]ir.DeviceID{}
	names := make([]string, len(p.Devices))
	for i, d := range p.Devices {
		byName[d.Name] = ir.DeviceID(i)
		names[i] = d.Name
	}
	find := func(what string, e element) (ir.DeviceID, bool) {
		d, ok := byName[e.text]
		if !ok && complete {
			hint := DidYouMean(e.text, names)
			if hint == "" {
				hint = "; there are " + enumerate(names)
			}
			f.file.failAt(e.tok, "%s: no device is called %s%s", what, quoted(e.text), hint)
		}
		return d, ok
	}
	if f.source != nil {
		if d, ok := find("source", *f.source); ok {
			p.Source = d
		}
	}
	if f.sink != nil {
		if d, ok := find("sink", *f.sink); ok {
			p.Sink = d
		}
	}

	type ends struct {
		from, to ir.DeviceID
		medium   string
	}
	seen := map[ends]*token.Token{}
	add := func(from, to ir.DeviceID, l *linkEntry) {
		key := ends{from, to, l.medium}
		if first, dup := seen[key]; dup {
			f.file.failAt(l.from.tok, "a second link from %s to %s, the first is in line %d; two real ones need a medium each",
				p.Devices[from].Name, p.Devices[to].Name, first.Position.Line)
			return
		}
		seen[key] = l.from.tok
		p.Links = append(p.Links, ir.Link{From: from, To: to, Copy: l.way, Medium: l.medium})
	}
	for i := range f.links {
		l := &f.links[i]
		what := [2]string{"from", "to"}
		if l.both {
			what = [2]string{"between", "between"}
		}
		from, ok1 := find(what[0], l.from)
		to, ok2 := find(what[1], l.to)
		switch {
		case !ok1 || !ok2:
			continue
		case from == to:
			f.file.failAt(l.to.tok, "%s: a link joins two devices, found %s twice", what[1], quoted(l.to.text))
			continue
		}
		add(from, to, l)
		if l.both {
			add(to, from, l)
		}
	}
	if f.defaultLink != nil {
		addDefaultLinks(p, f.defaultLink)
	}
}

// addDefaultLinks joins the ordered pairs without a route, by device indices.
func addDefaultLinks(p *ir.Platform, l *linkEntry) {
	out := make([][]ir.DeviceID, len(p.Devices))
	for _, link := range p.Links {
		out[link.From] = append(out[link.From], link.To)
	}
	reached := make([]bool, len(p.Devices))
	var queue []ir.DeviceID
	for from := range p.Devices {
		clear(reached)
		reached[from] = true
		queue = append(queue[:0], ir.DeviceID(from))
		for len(queue) > 0 {
			d := queue[len(queue)-1]
			queue = queue[:len(queue)-1]
			for _, next := range out[d] {
				if !reached[next] {
					reached[next] = true
					queue = append(queue, next)
				}
			}
		}
		for to, ok := range reached {
			if !ok {
				p.Links = append(p.Links, ir.Link{From: ir.DeviceID(from), To: ir.DeviceID(to), Copy: l.way, Medium: l.medium})
			}
		}
	}
}
