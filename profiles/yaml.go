package profiles

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// Profiles are small; these bounds keep a hostile file from costing time or
// memory. The YAML parser recurses over nesting and, within one block mapping,
// over keys.
const (
	maxYAMLBytes   = 1 << 20
	maxYAMLTokens  = 300_000
	maxYAMLDepth   = 16
	maxMappingKeys = 256
	maxYAMLAnchors = 256
	maxYAMLMarkers = 16
	maxYAMLVisits  = 300_000 // nodes read, each as often as aliases repeat it
	maxFileErrors  = 50
)

// yamlFile reads one YAML file by its AST, which keeps positions, and collects
// what is wrong with it.
type yamlFile struct {
	name    string    // as errors show it
	errs    diag.List // of *diag.Error
	anchors map[string]ast.Node
	visits  int
}

// failAt reports a problem at a token; a nil token stands for the whole file.
func (f *yamlFile) failAt(tok *token.Token, format string, args ...any) {
	if len(f.errs) == maxFileErrors {
		return
	}
	e := &diag.Error{File: f.name, Msg: fmt.Sprintf(format, args...)}
	if tok != nil && tok.Position != nil {
		e.Line, e.Col = tok.Position.Line, tok.Position.Column
	}
	f.errs = append(f.errs, e)
}

// sorted is what is wrong with the file, in the order in which it stands there.
func (f *yamlFile) sorted() diag.List {
	sortErrors(f.errs)
	return f.errs
}

// sortErrors sorts errors of one file, all of type *diag.Error, by position.
func sortErrors(errs diag.List) {
	slices.SortStableFunc(errs, func(a, b error) int {
		var x, y *diag.Error
		if !errors.As(a, &x) || !errors.As(b, &y) {
			return 0
		}
		return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Col, y.Col))
	})
}

// parse returns the root of the file's only document, or nil if it reported
// why there is none.
func (f *yamlFile) parse(data []byte) ast.Node {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	if len(data) > maxYAMLBytes {
		f.failAt(nil, "the file is larger than %d bytes, too large for a profile", maxYAMLBytes)
		return nil
	}
	if i := invalidText(data); i >= 0 {
		line := 1 + bytes.Count(data[:i], []byte("\n"))
		col := i - bytes.LastIndexByte(data[:i], '\n')
		f.errs = append(f.errs, &diag.Error{File: f.name, Line: line, Col: col, Msg: "the file is not UTF-8 text"})
		return nil
	}
	file, err := parseYAML(string(data))
	if err != nil {
		var bound *boundError
		var syntax yaml.Error
		switch {
		case errors.As(err, &bound):
			f.failAt(bound.tok, "%s", bound.msg)
		case errors.As(err, &syntax):
			f.failAt(syntax.GetToken(), "not valid YAML: %s%s", oneLine(syntax.GetMessage()), aliasHint(syntax.GetToken()))
		default:
			f.failAt(nil, "not valid YAML: %s", oneLine(err.Error()))
		}
		return nil
	}
	var root ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.NullType:
		case root == nil:
			root = doc.Body
		default:
			f.failAt(startOf(doc.Body), "a second document starts here, expected one document a file")
			return nil
		}
	}
	if root == nil {
		f.failAt(nil, "the file is empty")
		return nil
	}
	f.anchors = map[string]ast.Node{}
	f.collectAnchors(root)
	return root
}

// invalidText is the offset of the first byte that is no text, or -1.
func invalidText(data []byte) int {
	for i := 0; i < len(data); {
		r, n := utf8.DecodeRune(data[i:])
		if r == 0 || r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// oneLine is a parser's message as one line, with tabs to be seen.
// The parser quotes what it does not understand, however long that is; the
// beginning is enough to find it.
func oneLine(s string) string {
	const most = 300 // characters
	s = strings.Join(strings.Fields(strings.ReplaceAll(s, "\t", `\t`)), " ")
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "..."
	}
	return s
}

const quoteStar = "; put a text that starts with * in quotes"

// aliasHint explains a syntax error behind a * that was meant as text.
func aliasHint(tok *token.Token) string {
	for range 2 {
		if tok != nil && tok.Type == token.AliasType {
			return quoteStar
		}
		if tok != nil {
			tok = tok.Prev
		}
	}
	return ""
}

type boundError struct {
	tok *token.Token
	msg string
}

func (e *boundError) Error() string { return e.msg }

// parseYAML parses within the bounds above. A panic of the parser on malformed
// input is a syntax error.
func parseYAML(text string) (file *ast.File, err error) {
	defer func() {
		if r := recover(); r != nil {
			file, err = nil, errors.New("the file cannot be parsed")
		}
	}()
	tokens := lexer.Tokenize(text)
	if err := checkBounds(tokens); err != nil {
		return nil, err
	}
	// Duplicate keys are reported by the reader, all of them.
	return parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
}

// checkBounds walks the tokens once and bounds what the parser would recurse
// over. Block nesting shows in columns: a block inside another starts further
// to the right, except that a sequence may start at the column of its key.
func checkBounds(tokens token.Tokens) error {
	if len(tokens) > maxYAMLTokens {
		return &boundError{tokens[maxYAMLTokens], "the file is too long for a profile"}
	}
	type block struct{ column, keys int }
	var blocks []block
	flow, anchors, markers := 0, 0, 0
	for i, tok := range tokens {
		at := tok
		isKey := false
		switch tok.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow = max(0, flow-1)
		case token.MappingValueType:
			if i > 0 {
				at = tokens[i-1]
			}
			isKey = true
		case token.MappingKeyType:
			isKey = true
		case token.SequenceEntryType:
		case token.TagType:
			return &boundError{tok, fmt.Sprintf("the tag %s is not read here, leave it out", quoted(tok.Value))}
		case token.DocumentHeaderType, token.DocumentEndType:
			if markers++; markers > maxYAMLMarkers {
				return &boundError{tok, "too many document markers, expected one document a file"}
			}
			continue
		case token.DirectiveType:
			return &boundError{tok, "directives are not read here, leave the line out"}
		case token.AnchorType:
			if anchors++; anchors > maxYAMLAnchors {
				return &boundError{tok, fmt.Sprintf("more than %d anchors are no part of a profile", maxYAMLAnchors)}
			}
			continue
		default:
			continue
		}
		if flow == 0 && (isKey || tok.Type == token.SequenceEntryType) {
			column := at.Position.Column
			for len(blocks) > 0 && blocks[len(blocks)-1].column > column {
				blocks = blocks[:len(blocks)-1]
			}
			if len(blocks) == 0 || blocks[len(blocks)-1].column < column {
				blocks = append(blocks, block{column: column})
			}
			if isKey {
				b := &blocks[len(blocks)-1]
				if b.keys++; b.keys > maxMappingKeys {
					return &boundError{at, fmt.Sprintf("a mapping with more than %d keys is no part of a profile", maxMappingKeys)}
				}
			}
		}
		if flow > maxYAMLDepth || len(blocks) > maxYAMLDepth {
			return &boundError{at, fmt.Sprintf("nested more than %d deep, deeper than any profile", maxYAMLDepth)}
		}
	}
	return nil
}

// collectAnchors notes what each anchor stands for.
func (f *yamlFile) collectAnchors(root ast.Node) {
	for _, n := range ast.Filter(ast.AnchorType, root) {
		a, ok := n.(*ast.AnchorNode)
		if !ok || a.Name == nil || a.Value == nil {
			continue
		}
		name := a.Name.GetToken().Value
		if _, dup := f.anchors[name]; dup {
			f.failAt(a.Name.GetToken(), "the anchor %s is defined twice", quoted(name))
			continue
		}
		f.anchors[name] = a.Value
	}
}

// resolve follows anchors and aliases to the node that they stand for, or
// returns nil if it reported why it cannot.
func (f *yamlFile) resolve(n ast.Node) ast.Node {
	if f.visits++; f.visits > maxYAMLVisits {
		if f.visits == maxYAMLVisits+1 {
			f.failAt(n.GetToken(), "aliases expand the file beyond the size of a profile")
		}
		return nil
	}
	const longestChain = 8
	at := n.GetToken()
	for range longestChain {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			if v.Value == nil {
				n = nil // the parser refuses aliases without a name
				break
			}
			name := v.Value.GetToken().Value
			target, ok := f.anchors[name]
			if !ok {
				f.failAt(at, "no anchor is called %s%s", quoted(name), quoteStar)
				return nil
			}
			n = target
		default:
			return n
		}
		if n == nil {
			break
		}
	}
	f.failAt(at, "an alias that stands for nothing but aliases")
	return nil
}
