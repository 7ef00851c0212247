package importer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// The JSON of profilers is not always JSON: names stand in it without escapes
// (trtexec, older ONNX Runtime), control characters too (TensorRT's metadata), and
// a program that crashed leaves the file without its end. The scanner reads valid
// JSON as it is meant, and bends: a quote ends a string only where a string can end,
// control characters and unknown escapes stand for themselves, and a value that
// cannot be read costs its line only.
const (
	maxText     = 64 << 10 // of a string, in bytes
	maxNesting  = 64
	quoteMargin = 256 // white space that may follow the quote that ends a string
)

var (
	errSyntax = errors.New("not valid JSON")
	errEnd    = errors.New("the file ends too early")
)

// scanner reads tokens: one of {}[]:, or 's' for a string, 'w' for a number or word.
type scanner struct {
	r    *bufio.Reader
	line int // 1-based, of what was read last
	read int64
	text []byte // of the last string or word
	kind byte   // of the token that peek has looked at; 0 if none
}

func newScanner(r io.Reader) *scanner {
	return &scanner{r: bufio.NewReaderSize(r, 64<<10), line: 1}
}

func (s *scanner) byte() (byte, error) {
	c, err := s.r.ReadByte()
	if err != nil {
		return 0, err
	}
	s.read++
	if c == '\n' {
		s.line++
	}
	return c, nil
}

func (s *scanner) unread(c byte) {
	_ = s.r.UnreadByte() // a byte was read just before
	s.read--
	if c == '\n' {
		s.line--
	}
}

// peek is the kind of the next token.
func (s *scanner) peek() (byte, error) {
	if s.kind == 0 {
		kind, err := s.scan()
		if err != nil {
			return 0, err
		}
		s.kind = kind
	}
	return s.kind, nil
}

// next takes the next token.
func (s *scanner) next() (byte, error) {
	kind, err := s.peek()
	s.kind = 0
	return kind, err
}

func (s *scanner) scan() (byte, error) {
	for {
		c, err := s.byte()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = errEnd
			}
			return 0, err
		}
		switch c {
		case ' ', '\t', '\r', '\n', 0xEF, 0xBB, 0xBF: // the last three are a byte order mark
			continue
		case '{', '}', '[', ']', ':', ',':
			return c, nil
		case '"':
			return 's', s.quoted()
		}
		if !wordByte(c) {
			return 0, fmt.Errorf("%w: %q is unexpected", errSyntax, rune(c))
		}
		s.text = append(s.text[:0], c)
		for {
			c, err := s.byte()
			if err != nil {
				break
			}
			if !wordByte(c) {
				s.unread(c)
				break
			}
			if len(s.text) < maxText {
				s.text = append(s.text, c)
			}
		}
		return 'w', nil
	}
}

func wordByte(c byte) bool {
	return c == '+' || c == '-' || c == '.' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// quoted reads on to the end of a string.
func (s *scanner) quoted() error {
	s.text = s.text[:0]
	add := func(b ...byte) {
		if len(s.text)+len(b) <= maxText {
			s.text = append(s.text, b...)
		}
	}
	for {
		c, err := s.byte()
		if err != nil {
			return errEnd
		}
		switch c {
		case '"':
			if s.closes() {
				return nil
			}
			add(c)
		case '\n':
			// A name can hold a line break; where an object follows, its end is missing.
			if ahead, _ := s.r.Peek(1); len(ahead) == 1 && ahead[0] == '{' {
				s.unread(c)
				return fmt.Errorf("%w: a text does not end in its line", errSyntax)
			}
			add(c)
		case '\\':
			if err := s.escape(add); err != nil {
				return err
			}
		default:
			add(c)
		}
	}
}

// closes says whether a string can end here.
func (s *scanner) closes() bool {
	for n := 16; ; n *= 2 {
		ahead, err := s.r.Peek(n)
		rest := bytes.TrimLeft(ahead, " \t\r\n")
		switch {
		case len(rest) > 0:
			return bytes.IndexByte([]byte(",:}]"), rest[0]) >= 0
		case err != nil:
			return true
		case n > quoteMargin:
			return true
		}
	}
}

func (s *scanner) escape(add func(...byte)) error {
	c, err := s.byte()
	if err != nil {
		return errEnd
	}
	switch c {
	case '"', '\\', '/':
		add(c)
	case 'b':
		add('\b')
	case 'f':
		add('\f')
	case 'n':
		add('\n')
	case 'r':
		add('\r')
	case 't':
		add('\t')
	case 'u':
		r, ok := s.hex4()
		if !ok {
			add('\\', 'u')
			return nil
		}
		if utf16.IsSurrogate(r) {
			second := utf8.RuneError
			if ahead, _ := s.r.Peek(6); len(ahead) == 6 && ahead[0] == '\\' && ahead[1] == 'u' {
				if v, err := strconv.ParseUint(string(ahead[2:]), 16, 16); err == nil {
					second = utf16.DecodeRune(r, rune(v))
				}
			}
			if second != utf8.RuneError {
				_, _ = s.r.Discard(6)
				s.read += 6
			}
			r = second
		}
		add(utf8.AppendRune(nil, r)...)
	default:
		add('\\', c)
	}
	return nil
}

func (s *scanner) hex4() (rune, bool) {
	ahead, _ := s.r.Peek(4)
	if len(ahead) < 4 {
		return 0, false
	}
	v, err := strconv.ParseUint(string(ahead), 16, 16)
	if err != nil {
		return 0, false
	}
	_, _ = s.r.Discard(4)
	s.read += 4
	return rune(v), true
}

// skipLine drops the rest of the line; false at the end of the file.
func (s *scanner) skipLine() bool {
	s.kind = 0
	for {
		c, err := s.byte()
		if err != nil {
			return false
		}
		if c == '\n' {
			return true
		}
	}
}

func (s *scanner) expect(want byte) error {
	kind, err := s.next()
	if err != nil {
		return err
	}
	if kind != want {
		return fmt.Errorf("%w: expected %q, found %s", errSyntax, rune(want), s.found(kind))
	}
	return nil
}

func (s *scanner) found(kind byte) string {
	switch kind {
	case 's':
		return "a text"
	case 'w':
		return fmt.Sprintf("%.20q", s.text)
	}
	return fmt.Sprintf("%q", rune(kind))
}

// array calls item before each element of an array, which item must read.
func (s *scanner) array(item func() error) error {
	if err := s.expect('['); err != nil {
		return err
	}
	for {
		kind, err := s.peek()
		if err != nil {
			return err
		}
		switch kind {
		case ']':
			s.kind = 0
			return nil
		case ',':
			s.kind = 0
		default:
			if err := item(); err != nil {
				return err
			}
		}
	}
}

// object calls field before the value of each key, which field must read.
func (s *scanner) object(field func(key string) error) error {
	if err := s.expect('{'); err != nil {
		return err
	}
	for {
		kind, err := s.next()
		if err != nil {
			return err
		}
		switch kind {
		case '}':
			return nil
		case ',':
		case 's':
			key := string(s.text)
			if err := s.expect(':'); err != nil {
				return err
			}
			if err := field(key); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%w: expected a key, found %s", errSyntax, s.found(kind))
		}
	}
}

// skip reads a value of any kind.
func (s *scanner) skip() error {
	depth := 0
	for {
		kind, err := s.next()
		if err != nil {
			return err
		}
		switch kind {
		case '{', '[':
			if depth++; depth > maxNesting {
				return fmt.Errorf("%w: nested more than %d deep", errSyntax, maxNesting)
			}
		case '}', ']':
			if depth--; depth < 0 {
				return fmt.Errorf("%w: %q is unexpected", errSyntax, rune(kind))
			}
		}
		if depth == 0 {
			return nil
		}
	}
}

// scalar reads a string, number or word as its text; ok is false for a composite,
// which it skips.
func (s *scanner) scalar() (text string, ok bool, err error) {
	kind, err := s.peek()
	if err != nil {
		return "", false, err
	}
	if kind == 's' || kind == 'w' {
		s.kind = 0
		return string(s.text), true, nil
	}
	if kind != '{' && kind != '[' {
		return "", false, fmt.Errorf("%w: expected a value, found %s", errSyntax, s.found(kind))
	}
	return "", false, s.skip()
}

// number reads a number, bare or in quotes; what is none is 0 and not ok.
func (s *scanner) number() (v float64, ok bool, err error) {
	text, ok, err := s.scalar()
	if err != nil || !ok {
		return 0, false, err
	}
	v, perr := strconv.ParseFloat(text, 64)
	return v, perr == nil && v == v && v-v == 0, nil
}

// opens says whether the next value is a composite that starts with kind; if it is
// not, it is skipped.
func (s *scanner) opens(kind byte) (bool, error) {
	found, err := s.peek()
	if err != nil {
		return false, err
	}
	if found != kind {
		return false, s.skip()
	}
	return true, nil
}
