package compiler

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/token"
)

// Bounds of the YAML files that this package reads. The parser recurses over the
// keys of a mapping and over nesting; a placement lists every node of a model.
const (
	maxYAMLBytes = 64 << 20
	maxYAMLKeys  = 10_000
	maxYAMLDepth = 16
)

// yamlText is a YAML file that was read.
type yamlText struct {
	path   string
	tokens token.Tokens
}

// readYAML decodes a file into v. Keys that v does not have are errors with
// yaml.Strict().
func readYAML(path string, v any, options ...yaml.DecodeOption) (*yamlText, error) {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fileError(path, err)
	case st.IsDir():
		return nil, &diag.Error{File: path, Msg: "it is a folder, want a YAML file"}
	case st.Size() > maxYAMLBytes:
		return nil, &diag.Error{File: path, Msg: fmt.Sprintf("it has more than %d bytes", maxYAMLBytes)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fileError(path, err)
	}
	return parseYAML(path, data, v, options...)
}

// parseYAML is readYAML for a file's bytes; path is for errors.
func parseYAML(path string, data []byte, v any, options ...yaml.DecodeOption) (t *yamlText, err error) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return nil, &diag.Error{File: path, Msg: "it is not UTF-8 text"}
	}
	defer func() { // the parser panics on some malformed texts
		if r := recover(); r != nil {
			t, err = nil, &diag.Error{File: path, Msg: "it is not valid YAML"}
		}
	}()
	t = &yamlText{path: path, tokens: lexer.Tokenize(string(data))}
	if err := t.check(); err != nil {
		return nil, err
	}
	err = yaml.UnmarshalWithOptions(data, v, options...)
	if err != nil {
		e := &diag.Error{File: path, Msg: "it is not valid: " + firstLine(err.Error())}
		var at yaml.Error
		if errors.As(err, &at) {
			e.Msg = "it is not valid: " + firstLine(at.GetMessage())
			if tok := at.GetToken(); tok != nil && tok.Position != nil {
				e.Line, e.Col = tok.Position.Line, tok.Position.Column
			}
		}
		return nil, e
	}
	return t, nil
}

// firstLine is the first line of a parser's message, cut if it is long.
func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:300]) + "..."
	}
	return s
}

// check bounds what the parser recurses over, and refuses what can expand a file.
func (t *yamlText) check() error {
	fail := func(tok *token.Token, format string, args ...any) error {
		return &diag.Error{File: t.path, Line: tok.Position.Line, Col: tok.Position.Column, Msg: fmt.Sprintf(format, args...)}
	}
	keys, flow := 0, 0
	var columns []int // of the blocks that a token is in
	for i, tok := range t.tokens {
		switch tok.Type {
		case token.AnchorType, token.AliasType, token.TagType, token.MergeKeyType, token.DirectiveType:
			return fail(tok, "%q is not read here: no anchors, aliases, tags and directives; put a text that starts with * or & or ! in quotes", firstLine(tok.Value))
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.MappingValueType, token.SequenceEntryType:
			at := tok
			if tok.Type == token.MappingValueType {
				if keys++; keys > maxYAMLKeys {
					return fail(tok, "more than %d keys", maxYAMLKeys)
				}
				if i > 0 {
					at = t.tokens[i-1]
				}
			}
			if flow > 0 {
				continue
			}
			for len(columns) > 0 && columns[len(columns)-1] > at.Position.Column {
				columns = columns[:len(columns)-1]
			}
			if len(columns) == 0 || columns[len(columns)-1] < at.Position.Column {
				columns = append(columns, at.Position.Column)
			}
		}
		if flow > maxYAMLDepth || len(columns) > maxYAMLDepth {
			return fail(tok, "nested more than %d deep", maxYAMLDepth)
		}
	}
	return nil
}

// at is an error at the first place where a text stands in the file.
func (t *yamlText) at(text, format string, args ...any) error {
	e := &diag.Error{File: t.path, Msg: fmt.Sprintf(format, args...)}
	for _, tok := range t.tokens {
		if tok.Value == text && tok.Position != nil {
			e.Line, e.Col = tok.Position.Line, tok.Position.Column
			break
		}
	}
	return e
}
