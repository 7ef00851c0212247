package importer

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// text reads one string.
func text(in string) (string, error) {
	s := newScanner(strings.NewReader(in))
	got, ok, err := s.scalar()
	if err == nil && !ok {
		err = errors.New("no scalar")
	}
	return got, err
}

func TestBentStrings(t *testing.T) {
	for in, want := range map[string]string{
		`"plain"`:                   "plain",
		`"a\"b\\c\/d\n\t"`:          "a\"b\\c/d\n\t",
		`"\u00e9\ud83d\ude00"`:      "é😀",
		`"\ud83dx"`:                 "\ufffdx",
		`"C:\model\x"`:              `C:\model\x`,
		`"\u12"`:                    `\u12`,
		"\"a\x1e\x1fb\"":            "a\x1e\x1fb",
		`"say "hi" to"  ,`:          `say "hi" to`,
		"\"two\nlines\"":            "two\nlines",
		`"x" }`:                     "x",
		`"open at the end`:          "",
		"\"open\n{\"cat\":\"Node\"": "",
	} {
		got, err := text(in)
		if want == "" {
			if err == nil {
				t.Errorf("%q is read as %q", in, got)
			}
		} else if err != nil || got != want {
			t.Errorf("%q is read as %q, %v; want %q", in, got, err, want)
		}
	}
	if got, err := text(`"` + strings.Repeat("x", 3*maxText) + `"`); err != nil || len(got) != maxText {
		t.Errorf("a long text: %d bytes, %v", len(got), err)
	}
}

// Valid JSON is read as encoding/json reads it.
func TestValidStrings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.String().Draw(t, "text")
		data, err := json.Marshal(map[string]any{want: []any{want, 1, nil, map[string]string{"k": want}}})
		if err != nil {
			t.Skip()
		}
		s := newScanner(strings.NewReader(string(data)))
		n := 0
		err = s.object(func(key string) error {
			if key != want {
				t.Fatalf("key %q, want %q", key, want)
			}
			return s.array(func() error {
				n++
				if n > 1 {
					return s.skip()
				}
				got, ok, err := s.scalar()
				if got != want || !ok {
					t.Fatalf("text %q, want %q", got, want)
				}
				return err
			})
		})
		if err != nil || n != 4 {
			t.Fatalf("%s: %d elements, %v", data, n, err)
		}
	})
}

func TestNumbers(t *testing.T) {
	for in, want := range map[string]float64{`12`: 12, `"12"`: 12, `-1.5e2,`: -150} {
		if got, ok, err := newScanner(strings.NewReader(in)).number(); err != nil || !ok || got != want {
			t.Errorf("%s is %g, %v, %v", in, got, ok, err)
		}
	}
	for _, in := range []string{`nan`, `"-inf"`, `null`, `"x"`, `{}`, `1e999`} {
		if got, ok, err := newScanner(strings.NewReader(in)).number(); err != nil || ok {
			t.Errorf("%s is the number %g, %v, %v", in, got, ok, err)
		}
	}
}

func TestONNXLayers(t *testing.T) {
	for in, want := range map[string]string{
		"":                                      "",
		"[ONNX Layer: a]":                       "a",
		"[ONNX Layer: a | x=1]":                 "a",
		"[ONNX Layer: a]\x1e[ONNX Layer: b[0]]": "a|b[0]",
		"[ONNX Layer: a][ONNX Layer: b] tail":   "a|b",
		"[Other: q]\x1f[ONNX Layer: /m/Conv]\x1f[Other: z]": "/m/Conv",
	} {
		if got := strings.Join(onnxLayers(in), "|"); got != want {
			t.Errorf("%q names %q, want %q", in, got, want)
		}
	}
}

func TestTRTNames(t *testing.T) {
	for in, want := range map[string]string{
		"conv1":                             "conv1",
		"a + b + c":                         "a|b|c",
		"PWN(PWN(s), m)":                    "s|m",
		"conv + PWN(sigmoid, mul)":          "conv|sigmoid|mul",
		"a || b":                            "a|b",
		"(Unnamed Layer* 3) [Shuffle] + fc": "fc",
		"squeeze_after_fc":                  "fc",
		"{ForeignNode[a...b]}":              "a..b",
		"{ForeignNode[a + b...c + d]}":      "b..c",
		"copy: x copy":                      "copy: x",
		"__myl_Fc_0x1":                      "",
		"Reformatting CopyNode for Input Tensor 0 to p + q": "p|q",
		"ONNXTRT_Broadcast + n":                             "n",
	} {
		l := layer{}
		l.readTRTName(in, 0)
		var got []string
		for _, c := range l.claims {
			if c.to != "" {
				c.from += ".." + c.to
			}
			got = append(got, c.from)
		}
		if text := strings.Join(got, "|"); text != want {
			t.Errorf("%q speaks of %q, want %q", in, text, want)
		}
	}
	l := layer{}
	l.readTRTName(strings.Repeat("PWN(", 1000)+"x", 0)
	if len(l.claims) > 1 {
		t.Errorf("claims of a deep name: %v", l.claims)
	}
}
