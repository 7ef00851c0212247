package profiles

import (
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// startOf is the token at which a node starts: a block mapping's first key,
// where the parser has its first colon.
func startOf(n ast.Node) *token.Token {
	switch v := n.(type) {
	case *ast.MappingNode:
		if !v.IsFlowStyle && len(v.Values) > 0 {
			return v.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return v.Key.GetToken()
	}
	return n.GetToken()
}

// describe names what a node is, for "expected …, found …".
func describe(n ast.Node) string {
	switch n.Type() {
	case ast.NullType:
		return "nothing"
	case ast.MappingType, ast.MappingValueType:
		return "a mapping"
	case ast.SequenceType:
		return "a list"
	case ast.StringType, ast.LiteralType:
		return "the text " + quoted(scalarText(n))
	}
	return quoted(scalarText(n))
}

// scalarText is the text of a scalar as it stands in the file, without quotes.
func scalarText(n ast.Node) string {
	if l, ok := n.(*ast.LiteralNode); ok && l.Value != nil {
		return l.Value.Value
	}
	if tok := n.GetToken(); tok != nil {
		return strings.TrimSpace(tok.Value)
	}
	return ""
}

// field is one key of a mapping with its value.
type field struct {
	key   string
	tok   *token.Token // of the key
	value ast.Node     // resolved; nil if it cannot be
}

// mapping is a YAML mapping of the keys that its reader knows.
type mapping struct {
	file   *yamlFile
	what   string // "a processor"
	start  *token.Token
	fields []field
	meant  []string // keys that an unknown key most likely stands for
}

// mapping reads n as a mapping that has the given keys only. It is nil if n is
// none, which it reported.
func (f *yamlFile) mapping(n ast.Node, what string, keys ...string) *mapping {
	var meant []string
	m := f.openMapping(n, what, func(key string, tok *token.Token) bool {
		if slices.Contains(keys, key) {
			return true
		}
		if s := suggest(key, keys); s != "" {
			meant = append(meant, s)
			f.failAt(tok, "%s has no key %s, did you mean %s?", what, quoted(key), quoted(s))
		} else {
			f.failAt(tok, "%s has no key %s; its keys are %s", what, quoted(key), strings.Join(keys, ", "))
		}
		return false
	})
	if m != nil {
		m.meant = meant
	}
	return m
}

// openMapping is mapping with a test of keys that reports those it refuses.
func (f *yamlFile) openMapping(n ast.Node, what string, known func(string, *token.Token) bool) *mapping {
	n = f.resolve(n)
	if n == nil {
		return nil
	}
	m := &mapping{file: f, what: what, start: startOf(n)}
	var values []*ast.MappingValueNode
	switch v := n.(type) {
	case *ast.MappingNode:
		values = v.Values
	case *ast.MappingValueNode:
		values = []*ast.MappingValueNode{v}
	default:
		f.failAt(startOf(n), "expected %s as a mapping of keys to values, found %s", what, describe(n))
		return nil
	}
	for _, v := range values {
		tok := v.Key.GetToken()
		if _, ok := v.Key.(*ast.StringNode); !ok {
			if v.Key.IsMergeKey() {
				f.failAt(tok, "merge keys are not read here, write the keys out")
			} else {
				f.failAt(tok, "a key of %s is no plain text", what)
			}
			continue
		}
		key := tok.Value
		if !known(key, tok) {
			continue
		}
		if first := m.find(key); first != nil {
			f.failAt(tok, "the key %s is here twice, first in line %d", quoted(key), first.tok.Position.Line)
			continue
		}
		m.fields = append(m.fields, field{key, tok, f.resolve(v.Value)})
	}
	return m
}

// find is the field of a key, or nil.
func (m *mapping) find(key string) *field {
	for i := range m.fields {
		if m.fields[i].key == key {
			return &m.fields[i]
		}
	}
	return nil
}

// get is the field of a key, or nil if it is absent or its value was reported already.
func (m *mapping) get(key string) *field {
	if fd := m.find(key); fd != nil && fd.value != nil {
		return fd
	}
	return nil
}

// has says whether the key is there, be it misspelt.
func (m *mapping) has(key string) bool { return m.find(key) != nil || slices.Contains(m.meant, key) }

// need is get that reports a missing key, with an example of it.
func (m *mapping) need(key, example string) *field {
	if !m.has(key) {
		m.file.failAt(m.start, "%s needs the key %s, for example %s", m.what, quoted(key), strconv.Quote(key+": "+example))
	}
	return m.get(key)
}

// text reads a scalar that is text. It reports an empty one, and numbers,
// because YAML would read them as something else.
func (m *mapping) text(fd *field) (string, bool) {
	return m.file.textOf(fd.value, fd.key)
}

func (f *yamlFile) textOf(n ast.Node, what string) (string, bool) {
	switch n.Type() {
	case ast.StringType, ast.LiteralType:
		if s := strings.TrimSpace(scalarText(n)); s != "" {
			return s, true
		}
		f.failAt(startOf(n), "%s: expected a text, found an empty one", what)
		return "", false
	case ast.IntegerType, ast.FloatType, ast.BoolType:
		f.failAt(startOf(n), "%s: expected a text, found %s; put it in quotes", what, describe(n))
		return "", false
	}
	f.failAt(startOf(n), "%s: expected a text, found %s", what, describe(n))
	return "", false
}

// element is one text of a list.
type element struct {
	text string
	tok  *token.Token
}

// texts reads a list of texts.
func (m *mapping) texts(fd *field) []element {
	f := m.file
	items, ok := m.list(fd, "texts")
	if !ok {
		return nil
	}
	out := make([]element, 0, len(items))
	for _, item := range items {
		n := f.resolve(item)
		if n == nil {
			continue
		}
		if s, ok := f.textOf(n, fd.key); ok {
			out = append(out, element{s, n.GetToken()})
		}
	}
	return out
}

// list is the items of a list, not yet resolved.
func (m *mapping) list(fd *field, of string) ([]ast.Node, bool) {
	s, ok := fd.value.(*ast.SequenceNode)
	if !ok {
		hint := ""
		if of == "texts" && fd.value.Type() == ast.StringType {
			hint = ", write [" + strconv.Quote(scalarText(fd.value)) + "]"
		}
		m.file.failAt(startOf(fd.value), "%s: expected a list of %s, found %s%s", fd.key, of, describe(fd.value), hint)
		return nil, false
	}
	return s.Values, true
}

// quantity reads a scalar with parse, one of the Parse functions for units.
func quantity[T any](m *mapping, fd *field, parse func(string) (T, error)) (T, bool) {
	var zero T
	if fd == nil {
		return zero, false
	}
	switch fd.value.Type() {
	case ast.StringType, ast.IntegerType, ast.FloatType, ast.InfinityType, ast.NanType:
	default:
		_, err := parse("?")
		_, want, _ := strings.Cut(err.Error(), "expected ")
		m.file.failAt(startOf(fd.value), "%s: found %s, expected %s", fd.key, describe(fd.value), want)
		return zero, false
	}
	v, err := parse(scalarText(fd.value))
	if err != nil {
		m.file.failAt(fd.value.GetToken(), "%s: %v", fd.key, err)
		return zero, false
	}
	return v, true
}
