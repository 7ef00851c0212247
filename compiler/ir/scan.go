package ir

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/dnnsplit/dnnsplit/compiler/diag"
)

// scanner reads JSON as a stream: it holds one buffer and one token, never the
// document. The first error sticks; every method is a no-op after it.
//
// Names that are not valid UTF-8 are written as lone low surrogates, one
// \udcXX for each stray byte XX, and read back to that byte. So any name
// survives, and the text stays JSON.
type scanner struct {
	r     io.Reader
	file  string
	buf   []byte
	pos   int // next byte in buf
	end   int // bytes of buf that are filled
	base  int // offset in the input of buf[0]
	line  int // 1-based
	bol   int // offset in the input of the start of the line
	tok   []byte
	key   []byte
	depth int
	eof   bool
	err   error
}

// maxDepth bounds the nesting of values that are skipped.
const maxDepth = 1000

func newScanner(r io.Reader, file string) *scanner {
	return &scanner{r: r, file: file, buf: make([]byte, 1<<16), line: 1}
}

// failf states what is wrong at the current position.
func (s *scanner) failf(format string, args ...any) {
	if s.err == nil {
		s.err = &diag.Error{File: s.file, Line: s.line, Col: s.base + s.pos - s.bol + 1, Msg: fmt.Sprintf(format, args...)}
	}
}

// fill reads more input behind buf[keep:]; false at the end of the input.
func (s *scanner) fill(keep int) bool {
	if s.eof || s.err != nil {
		return false
	}
	copy(s.buf, s.buf[keep:s.end])
	s.base += keep
	s.pos -= keep
	s.end -= keep
	if s.end == len(s.buf) {
		s.buf = append(s.buf, make([]byte, len(s.buf))...)
	}
	for range 100 {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		if err == io.EOF {
			s.eof = true
			return n > 0
		}
		if err != nil {
			s.err = &diag.Error{File: s.file, Msg: "cannot be read", Err: err}
			return false
		}
		if n > 0 {
			return true
		}
	}
	s.err = &diag.Error{File: s.file, Msg: "cannot be read", Err: io.ErrNoProgress}
	return false
}

// peek skips white space and returns the next byte without taking it; 0 at the end or after an error.
func (s *scanner) peek() byte {
	for s.err == nil {
		for s.pos < s.end {
			switch c := s.buf[s.pos]; c {
			case ' ', '\t', '\r':
				s.pos++
			case '\n':
				s.pos++
				s.line++
				s.bol = s.base + s.pos
			default:
				return c
			}
		}
		if !s.fill(s.pos) {
			break
		}
	}
	return 0
}

func (s *scanner) expect(c byte) {
	if got := s.peek(); got == c && s.err == nil {
		s.pos++
	} else {
		s.unexpected(got, "'"+string(c)+"'")
	}
}

func (s *scanner) unexpected(got byte, want string) {
	switch {
	case s.err != nil:
	case got == 0 && s.pos >= s.end:
		s.failf("the file ends where %s should stand", want)
	default:
		s.failf("%q stands where %s should", rune(got), want)
	}
}

// object calls field for every key; field must take the value. The key is valid until then.
func (s *scanner) object(field func(key []byte)) {
	s.enter('{')
	if s.peek() == '}' {
		s.leave()
		return
	}
	for s.err == nil {
		if c := s.peek(); c != '"' {
			s.unexpected(c, "a key")
			return
		}
		s.key = append(s.key[:0], s.string()...)
		s.expect(':')
		if s.err != nil {
			return
		}
		field(s.key)
		if c := s.peek(); c == '}' {
			s.leave()
			return
		}
		s.expect(',')
	}
}

// array calls item for every element; item must take it.
func (s *scanner) array(item func()) {
	s.enter('[')
	if s.peek() == ']' {
		s.leave()
		return
	}
	for s.err == nil {
		item()
		if c := s.peek(); c == ']' {
			s.leave()
			return
		}
		s.expect(',')
	}
}

func (s *scanner) enter(c byte) {
	s.expect(c)
	if s.depth++; s.depth > maxDepth {
		s.failf("values are nested deeper than %d", maxDepth)
	}
}

func (s *scanner) leave() {
	if s.err == nil {
		s.pos++
		s.depth--
	}
}

// string takes a string. The result is valid until the next call of any method.
func (s *scanner) string() []byte {
	if s.peek() != '"' || s.err != nil {
		s.unexpected(s.peek(), "a string")
		return nil
	}
	s.pos++
	// Nearly all strings end in the buffer and have neither escapes nor bytes beyond ASCII.
	for i := s.pos; i < s.end; i++ {
		c := s.buf[i]
		if c == '"' {
			t := s.buf[s.pos:i]
			s.pos = i + 1
			return t
		}
		if c == '\\' || c < 0x20 || c >= utf8.RuneSelf {
			break
		}
	}
	s.tok = s.tok[:0]
	for s.err == nil {
		if s.pos == s.end && !s.fill(s.pos) {
			s.failf("the file ends inside a string")
			break
		}
		switch c := s.buf[s.pos]; {
		case c == '"':
			s.pos++
			return s.tok
		case c == '\\':
			s.pos++
			s.escape()
		case c < 0x20:
			s.failf("a control character stands in a string")
		case c < utf8.RuneSelf:
			s.tok = append(s.tok, c)
			s.pos++
		default:
			for !utf8.FullRune(s.buf[s.pos:s.end]) && s.fill(s.pos) {
			}
			r, n := utf8.DecodeRune(s.buf[s.pos:s.end])
			if r == utf8.RuneError && n <= 1 {
				s.failf("the text is not UTF-8")
				return nil
			}
			s.tok = append(s.tok, s.buf[s.pos:s.pos+n]...)
			s.pos += n
		}
	}
	return nil
}

// escape takes what follows a backslash.
func (s *scanner) escape() {
	if s.pos == s.end && !s.fill(s.pos) {
		s.failf("the file ends inside a string")
		return
	}
	c := s.buf[s.pos]
	s.pos++
	if c == 'u' {
		s.surrogates()
		return
	}
	if i := bytes.IndexByte([]byte(`"\/bfnrt`), c); i >= 0 {
		s.tok = append(s.tok, "\"\\/\b\f\n\r\t"[i])
		return
	}
	s.failf("a string has the unknown escape \\%c", c)
}

// surrogates takes the digits of a \u escape, and of a second one that makes a pair with it.
func (s *scanner) surrogates() {
	r := s.hex4()
	for utf16.IsSurrogate(r) && s.err == nil {
		if r >= 0xdc80 && r <= 0xdcff {
			s.tok = append(s.tok, byte(r))
			return
		}
		for s.end-s.pos < 2 && s.fill(s.pos) {
		}
		if s.end-s.pos < 2 || s.buf[s.pos] != '\\' || s.buf[s.pos+1] != 'u' {
			s.failf("a string has half a surrogate pair")
			return
		}
		s.pos += 2
		low := s.hex4()
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			s.tok = utf8.AppendRune(s.tok, pair)
			return
		}
		s.failf("a string has half a surrogate pair")
	}
	s.tok = utf8.AppendRune(s.tok, r)
}

func (s *scanner) hex4() rune {
	for s.end-s.pos < 4 && s.fill(s.pos) {
	}
	if s.end-s.pos < 4 {
		s.failf("the file ends inside a string")
		return 0
	}
	var r rune
	for _, c := range s.buf[s.pos : s.pos+4] {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			s.failf("a string has a \\u escape without four hexadecimal digits")
			return 0
		}
	}
	s.pos += 4
	return r
}

// token takes the characters of a number or literal. The result is valid until the next call of any method.
func (s *scanner) token() []byte {
	s.peek()
	i := s.pos
	for s.err == nil {
		for i < s.end && isTokenByte[s.buf[i]] {
			i++
		}
		if i < s.end {
			break
		}
		have := i - s.pos
		if have > 1<<10 || !s.fill(s.pos) {
			break
		}
		i = s.pos + have
	}
	t := s.buf[s.pos:i]
	if len(t) > 1<<10 {
		s.failf("a number is too long")
	}
	s.pos = i
	return t
}

var isTokenByte = func() (t [256]bool) {
	for _, c := range "0123456789+-.abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" {
		t[c] = true
	}
	return
}()

// null takes a null and says so; anything else is left.
func (s *scanner) null() bool {
	if s.peek() != 'n' {
		return false
	}
	if t := s.token(); s.err == nil && string(t) != "null" {
		s.failf("%q is no value", t)
	}
	return true
}

// bool takes true or false; what names the entry in an error.
func (s *scanner) bool(what string) bool {
	if c := s.peek(); c == 't' || c == 'f' {
		switch t := s.token(); string(t) {
		case "true":
			return true
		case "false":
			return false
		}
	}
	s.failf("%s is neither true nor false", what)
	return false
}

// validNumber follows the grammar of JSON, which strconv does not.
func validNumber(t []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(t) && t[n] >= '0' && t[n] <= '9' {
			n++
		}
		t = t[n:]
		return n > 0
	}
	if len(t) > 0 && t[0] == '-' {
		t = t[1:]
	}
	if len(t) > 1 && t[0] == '0' && t[1] >= '0' && t[1] <= '9' || !digits() {
		return false
	}
	if len(t) > 0 && t[0] == '.' {
		if t = t[1:]; !digits() {
			return false
		}
	}
	if len(t) > 0 && t[0]|0x20 == 'e' {
		if t = t[1:]; len(t) > 0 && (t[0] == '+' || t[0] == '-') {
			t = t[1:]
		}
		if !digits() {
			return false
		}
	}
	return len(t) == 0
}

// number takes a finite number of at least 0.
func (s *scanner) number(what string) float64 {
	if c := s.peek(); s.err == nil && c != '-' && (c < '0' || c > '9') {
		s.failf("%s is not a number", what)
	}
	t := s.token()
	if s.err != nil {
		return 0
	}
	if len(t) <= 15 { // whole numbers below 10^15 are exact
		n := 0
		for _, c := range t {
			if c < '0' || c > '9' {
				n = -1
				break
			}
			n = n*10 + int(c-'0')
		}
		if n > 0 && t[0] != '0' || len(t) == 1 && n == 0 {
			return float64(n)
		}
	}
	if !validNumber(t) {
		s.failf("%s is not a number", what)
		return 0
	}
	x, err := strconv.ParseFloat(string(t), 64)
	switch {
	case err != nil || math.IsInf(x, 0):
		s.failf("%s is too large: %s", what, t)
	case x < 0:
		s.failf("%s must be at least 0, it is %s", what, t)
	}
	return x
}

// micros takes a time in microseconds.
func (s *scanner) micros(what string) Time {
	us := s.number(what)
	if us > MaxMicros {
		s.failf("%s is more than %g us: %g", what, MaxMicros, us)
		return 0
	}
	return Micros(us)
}

// whole takes a whole number of at least 0, however it is written; what is beyond int64 becomes the largest int64.
func (s *scanner) whole(what string) int64 {
	if c := s.peek(); s.err == nil && c != '-' && (c < '0' || c > '9') {
		s.failf("%s is not a number", what)
	}
	t := s.token()
	if s.err != nil {
		return 0
	}
	if !validNumber(t) {
		s.failf("%s is not a number", what)
		return 0
	}
	// Digits alone are exact beyond 2^53, too.
	if n, err := strconv.ParseInt(string(t), 10, 64); err == nil {
		if n < 0 {
			s.failf("%s must be at least 0, it is %d", what, n)
		}
		return n
	}
	x, err := strconv.ParseFloat(string(t), 64)
	switch {
	case err != nil:
		s.failf("%s is too large: %s", what, t)
	case x < 0:
		s.failf("%s must be at least 0, it is %s", what, t)
	case x >= 1<<63:
		return math.MaxInt64
	case x != math.Trunc(x):
		s.failf("%s is not a whole number: %s", what, t)
	}
	return int64(x)
}

// skip takes any value.
func (s *scanner) skip() {
	switch c := s.peek(); {
	case s.err != nil:
	case c == '{':
		s.object(func([]byte) { s.skip() })
	case c == '[':
		s.array(s.skip)
	case c == '"':
		s.string()
	case c == 't' || c == 'f':
		s.bool("a value")
	case c == 'n':
		s.null()
	case c == '-' || c >= '0' && c <= '9':
		if t := s.token(); s.err == nil && !validNumber(t) {
			s.failf("%q is no number", t)
		}
	default:
		s.unexpected(c, "a value")
	}
}

// finish checks that nothing follows the document.
func (s *scanner) finish() error {
	if c := s.peek(); s.err == nil && (c != 0 || s.pos < s.end) {
		s.failf("%q follows the end of the document", rune(c))
	}
	return s.err
}
