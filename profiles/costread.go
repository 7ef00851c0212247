package profiles

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/dnnsplit/dnnsplit/compiler/ir"
)

// maxCostBytes bounds a cost file: some 200,000 signatures.
const maxCostBytes = 64 << 20

const maxCostDepth = 100 // of values that are skipped

// ReadCosts reads a cost file; name is how errors call it. Keys that the schema
// does not have, missing keys and entries that make no sense are errors.
func ReadCosts(name string, data []byte) (*CostFile, error) {
	r := costReader{name: name, data: data}
	if len(data) > maxCostBytes {
		return nil, &diag.Error{File: name, Msg: fmt.Sprintf("the file is larger than %d bytes, too large for a cost file", maxCostBytes)}
	}
	if i := invalidText(data); i >= 0 {
		r.failAt(int64(i), "the file is not UTF-8 text")
		return nil, r.errs.Err()
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return nil, &diag.Error{File: name, Msg: "the file is empty"}
	}
	r.dec = json.NewDecoder(bytes.NewReader(data))
	r.dec.UseNumber()
	c := r.file()
	if end := r.dec.InputOffset(); !r.broken && len(bytes.TrimSpace(data[end:])) > 0 {
		r.failAt(end+int64(bytes.IndexFunc(data[end:], func(c rune) bool { return !unicode.IsSpace(c) })), "expected the end of the file")
	}
	sortErrors(r.errs)
	if err := r.errs.Err(); err != nil {
		return nil, err
	}
	slices.SortFunc(c.Entries, func(a, b CostEntry) int { return strings.Compare(a.Signature, b.Signature) })
	return c, nil
}

// costReader reads JSON token by token, so that errors know where they are.
type costReader struct {
	name   string
	data   []byte
	dec    *json.Decoder
	errs   diag.List
	broken bool // the syntax is; nothing more can be read
}

func (r *costReader) failAt(offset int64, format string, args ...any) {
	if len(r.errs) == maxFileErrors {
		return
	}
	before := r.data[:min(offset, int64(len(r.data)))]
	r.errs = append(r.errs, &diag.Error{
		File: r.name,
		Line: 1 + bytes.Count(before, []byte("\n")),
		Col:  len(before) - bytes.LastIndexByte(before, '\n'),
		Msg:  fmt.Sprintf(format, args...),
	})
}

// next reads a token and says where it starts. After the end of the file or a
// syntax error, which it reports, it is nil and r.broken holds.
func (r *costReader) next() (json.Token, int64) {
	start := r.dec.InputOffset()
	for start < int64(len(r.data)) && strings.IndexByte(" \t\r\n:,", r.data[start]) >= 0 {
		start++
	}
	if r.broken {
		return nil, start
	}
	tok, err := r.dec.Token()
	if err != nil {
		r.broken = true
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			r.failAt(int64(len(r.data)), "the file ends too early")
		} else {
			r.failAt(start, "not valid JSON: %v", err)
		}
		return nil, start
	}
	return tok, start
}

// value is a JSON value: a scalar token or the delimiter that opens a composite.
type value struct {
	tok   json.Token
	start int64
}

func (r *costReader) value() value {
	tok, start := r.next()
	return value{tok, start}
}

// skip reads on to the end of the composite that v opens.
func (r *costReader) skip(v value) {
	depth := 0
	for tok := v.tok; ; tok, _ = r.next() {
		switch tok {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if r.broken || depth == 0 {
			return
		}
		if depth > maxCostDepth {
			r.failAt(v.start, "nested more than %d deep, deeper than any cost file", maxCostDepth)
			r.broken = true
			return
		}
	}
}

// object reads the object that v opens and gives each known key to field; what
// field has no use for it reports and skips. It reports unknown, repeated and
// missing keys; required come first in keys. Its result is whether v was an
// object that has what it needs.
func (r *costReader) object(v value, what string, required int, keys []string, field func(key string, v value)) bool {
	if v.tok != json.Delim('{') {
		r.wrong(v, what, "an object")
		return false
	}
	seen := make([]bool, len(keys)) // or misspelt
	for {
		tok, start := r.next()
		if r.broken {
			return false
		}
		key, ok := tok.(string)
		if !ok {
			break // the closing brace
		}
		val := r.value()
		if r.broken {
			return false
		}
		i := slices.Index(keys, key)
		switch {
		case i < 0:
			if s := suggest(key, keys); s != "" {
				seen[slices.Index(keys, s)] = true
				r.failAt(start, "%s has no key %s, did you mean %s?", what, quoted(key), quoted(s))
			} else {
				r.failAt(start, "%s has no key %s; its keys are %s", what, quoted(key), strings.Join(keys, ", "))
			}
			r.skip(val)
		case seen[i]:
			r.failAt(start, "the key %s is here twice", quoted(key))
			r.skip(val)
		default:
			seen[i] = true
			field(key, val)
		}
	}
	missing := slices.Index(seen[:required], false)
	if missing >= 0 {
		r.failAt(v.start, "%s needs the key %s", what, quoted(keys[missing]))
	}
	return missing < 0
}

// wrong reports a value of the wrong type and skips it.
func (r *costReader) wrong(v value, what, want string) {
	if r.broken {
		return
	}
	found := "null"
	switch t := v.tok.(type) {
	case json.Delim:
		found = "an object"
		if t == '[' {
			found = "a list"
		}
	case string:
		found = "the text " + quoted(t)
	case json.Number:
		found = quoted(t.String())
	case bool:
		found = strconv.FormatBool(t)
	}
	r.failAt(v.start, "%s: expected %s, found %s", what, want, found)
	r.skip(v)
}

func (r *costReader) text(v value, what string) string {
	s, ok := v.tok.(string)
	if !ok {
		r.wrong(v, what, "a text")
	}
	return s
}

func (r *costReader) number(v value, what string) float64 {
	if n, ok := v.tok.(json.Number); ok {
		if f, err := n.Float64(); err == nil && finite(f) {
			return f
		}
	}
	r.wrong(v, what, "a number")
	return 0
}

// whole reads a whole number; 1e9 is one.
func (r *costReader) whole(v value, what string) int64 {
	if n, ok := v.tok.(json.Number); ok {
		if i, err := n.Int64(); err == nil {
			return i
		}
		if f, err := n.Float64(); err == nil && f == math.Trunc(f) && math.Abs(f) <= 1<<53 {
			return int64(f)
		}
	}
	r.wrong(v, what, "a whole number")
	return 0
}

func (r *costReader) file() *CostFile {
	c := &CostFile{}
	keys := []string{"schema", "processor", "entries", "machine", "source", "parameters", "submodel_runs"}
	var runs []readRun
	r.object(r.value(), "a cost file", 3, keys, func(key string, v value) {
		switch key {
		case "schema":
			if s := r.text(v, key); s != costsSchema && v.tok == json.Token(s) {
				r.failAt(v.start, "schema: found %s, expected %s", quoted(s), costsSchema)
			}
		case "processor":
			c.Processor = r.text(v, key)
		case "source":
			c.Source = r.text(v, key)
		case "machine":
			c.Machine = r.machine(v)
		case "parameters":
			c.Parameters = r.parameters(v)
		case "entries":
			c.Entries = r.entries(v)
		case "submodel_runs":
			runs = r.runs(v)
		}
	})
	r.resolveRuns(c, runs)
	return c
}

// machine reads texts by keys of any name.
func (r *costReader) machine(v value) map[string]string {
	if v.tok != json.Delim('{') {
		r.wrong(v, "machine", "an object of texts")
		return nil
	}
	m := map[string]string{}
	for {
		tok, start := r.next()
		key, ok := tok.(string)
		if !ok {
			return m
		}
		if _, dup := m[key]; dup {
			r.failAt(start, "the key %s is here twice", quoted(key))
		}
		val := r.value()
		if r.broken {
			return m
		}
		m[key] = r.text(val, "machine: "+quoted(key))
	}
}

func (r *costReader) parameters(v value) Parameters {
	var p Parameters
	number := func(key string, v value) *float64 {
		f := r.number(v, key)
		return &f
	}
	way := func(key string, v value) *CopyCost {
		c := &CopyCost{}
		if !r.object(v, "an "+key, 2, []string{"latency_us", "bytes_per_us"}, func(key string, v value) {
			switch key {
			case "latency_us":
				c.LatencyUs = r.number(v, key)
			case "bytes_per_us":
				c.BytesPerUs = r.number(v, key)
			}
		}) {
			return nil
		}
		return c
	}
	before := len(r.errs)
	r.object(v, "parameters", 0, []string{"launch_us", "launch_spread_us", "warm_launch_us", "upload", "download", "scale", "busy", "error"}, func(key string, v value) {
		switch key {
		case "launch_us":
			p.LaunchUs = number(key, v)
		case "launch_spread_us":
			p.LaunchSpreadUs = number(key, v)
		case "warm_launch_us":
			p.WarmLaunchUs = number(key, v)
		case "scale":
			p.Scale = number(key, v)
		case "busy":
			p.Busy = number(key, v)
		case "error":
			p.Error = number(key, v)
		case "upload":
			p.Upload = way(key, v)
		case "download":
			p.Download = way(key, v)
		}
	})
	if len(r.errs) == before {
		if err := p.check(); err != nil {
			r.failAt(v.start, "parameters: %v", err)
		}
	}
	return p
}

var entryKeys = [...]string{"signature", "op", "elem", "flops", "bytes", "median_us", "runs", "domain", "kernel", "spread_us"}

const requiredEntryKeys = 7

func (r *costReader) entries(v value) []CostEntry {
	if v.tok != json.Delim('[') {
		r.wrong(v, "entries", "a list")
		return nil
	}
	var out []CostEntry
	lines := map[string]int64{} // offset by signature
	for {
		v := r.value()
		if r.broken || v.tok == json.Delim(']') {
			return out
		}
		before := len(r.errs)
		e, ok := r.entry(v)
		if !ok || len(r.errs) > before {
			continue
		}
		if err := e.check(); err != nil {
			r.failAt(v.start, "%v", err)
			continue
		}
		if first, dup := lines[e.Signature]; dup {
			r.failAt(v.start, "the signature %s is measured twice, first in line %d", quoted(e.Signature), 1+bytes.Count(r.data[:first], []byte("\n")))
			continue
		}
		lines[e.Signature] = v.start
		out = append(out, e)
	}
}

func (r *costReader) entry(v value) (CostEntry, bool) {
	var e CostEntry
	ok := r.object(v, "an entry", requiredEntryKeys, entryKeys[:], func(key string, v value) {
		switch key {
		case "signature":
			e.Signature = r.text(v, key)
		case "op":
			e.Op = r.text(v, key)
		case "domain":
			e.Domain = canonicalDomain(r.text(v, key))
		case "kernel":
			e.Kernel = r.text(v, key)
		case "elem":
			e.Elem = r.elem(v)
		case "flops":
			e.FLOPs = r.whole(v, key)
		case "bytes":
			e.Bytes = r.whole(v, key)
		case "median_us":
			e.MedianUs = r.number(v, key)
		case "spread_us":
			e.SpreadUs = r.number(v, key)
		case "runs":
			e.Runs = r.whole(v, key)
		}
	})
	return e, ok
}

func (r *costReader) elem(v value) ir.ElemType {
	s := r.text(v, "elem")
	if s == "" || s == ir.UndefinedElem.String() {
		return ir.UndefinedElem
	}
	e, ok := ir.ParseElemType(s)
	if !ok {
		r.failAt(v.start, "elem: %s is no element type%s", quoted(s), DidYouMean(s, elemNames()))
	}
	return e
}
