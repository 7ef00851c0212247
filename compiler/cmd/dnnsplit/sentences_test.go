package main

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// This file finds what the program can say when something is wrong: the texts of
// all errors, warnings and notes in the packages that the command is made of, with
// "…" for what is filled in. A text counts if it flows into one of these:
//
//   - fmt.Errorf, errors.New, or what a method Error() string returns,
//   - a literal of a type with such a method, or a conversion to it,
//   - a field of messageFields, as Msg of diag.Error, or Text of a Note,
//   - a list that is called as in messageLists, as the notes of a report,
//   - notef and errorf of the ui,
//   - a parameter of a function that passes it on to one of these.
//
// It is followed through constants, local variables, + and fmt.Sprintf, and through
// functions that return it. What diag.Bugf is given says that the program is at
// fault and does not count; neither do texts without a word of their own, which
// only put a place in front of another error.

// sentence is one text of the program.
type sentence struct {
	text string // "…" stands for what is filled in
	at   string // where it stands: file:line
}

var (
	messageFields = []string{"Msg", "msg", "Mismatch"}
	messageLists  = []string{"notes", "warnings", "problems", "reasons"}
)

const hole = "…"

// sourcePackage is a package of this module.
type sourcePackage struct {
	dir   string
	files []*ast.File
	funcs map[string][]*ast.FuncDecl // by name; methods of several types may share one
	vars  map[string][]ast.Expr      // constants and variables of the package
	errs  map[string]bool            // types that are errors
}

// sentenceFinder follows texts; see above.
type sentenceFinder struct {
	module   string
	fset     *token.FileSet
	packages map[string]*sourcePackage // by folder, relative to the root
	sinks    map[string]map[int]bool   // "folder name" of a function → parameters that end in messages
	grown    bool                      // sinks has grown
	found    map[sentence]bool
}

// findSentences lists the texts of the command's packages by place.
func findSentences(t *testing.T, root string) []sentence {
	t.Helper()
	f := &sentenceFinder{
		module: "github.com/dnnsplit/dnnsplit", fset: token.NewFileSet(), packages: map[string]*sourcePackage{},
		sinks: map[string]map[int]bool{"fmt Errorf": {0: true}, "errors New": {0: true}, "compiler/cmd/dnnsplit notef": {0: true}, "compiler/cmd/dnnsplit errorf": {0: true}},
	}
	if err := f.parse(os.DirFS(root), "compiler/cmd/dnnsplit"); err != nil {
		t.Fatal(err)
	}
	for f.grown = true; f.grown; {
		f.grown, f.found = false, map[sentence]bool{}
		for _, p := range f.packages {
			if p.dir == "compiler/diag" {
				continue // what makes errors, and what stops on faults of the program
			}
			for _, file := range p.files {
				f.file(p, file)
			}
		}
	}
	var list []sentence
	for s := range f.found {
		if hasWord(s.text) {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b sentence) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.text, b.text)) })
	return list
}

var word = regexp.MustCompile(`[A-Za-z]{2,}`)

// hasWord says whether a text says something by itself: more than a place in front
// of another error, such as "--pin: …" or "entry …: …".
func hasWord(text string) bool {
	text = strings.TrimSuffix(text, ": "+hole)
	return len(word.FindAllString(text, 2)) == 2 || strings.HasPrefix(text, "it ") || strings.Contains(text, "want ")
}

// parse reads a package and those of this module that it imports.
func (f *sentenceFinder) parse(root fs.FS, dir string) error {
	if f.packages[dir] != nil {
		return nil
	}
	p := &sourcePackage{dir: dir, funcs: map[string][]*ast.FuncDecl{}, vars: map[string][]ast.Expr{}, errs: map[string]bool{}}
	f.packages[dir] = p
	names, err := fs.Glob(root, dir+"/*.go")
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".pb.go") {
			continue
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(f.fset, name, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		if file.Name.Name == "main" && dir != "compiler/cmd/dnnsplit" {
			continue
		}
		p.files = append(p.files, file)
		for _, d := range file.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				p.funcs[d.Name.Name] = append(p.funcs[d.Name.Name], d)
				if d.Recv != nil && d.Name.Name == "Error" {
					p.errs[typeName(d.Recv.List[0].Type)] = true
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					if v, ok := s.(*ast.ValueSpec); ok && len(v.Names) == len(v.Values) {
						for i, n := range v.Names {
							p.vars[n.Name] = append(p.vars[n.Name], v.Values[i])
						}
					}
				}
			}
		}
		for _, i := range file.Imports {
			at, _ := strconv.Unquote(i.Path.Value)
			if below, ok := strings.CutPrefix(at, f.module+"/"); ok {
				if err := f.parse(root, below); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// site is where a text is followed: in a function of a file.
type site struct {
	p    *sourcePackage
	file *ast.File
	fn   *ast.FuncDecl // nil: outside of functions
	deep int
	back bool // the text is what fn returns: its parameters end in no message by themselves
}

func (f *sentenceFinder) file(p *sourcePackage, file *ast.File) {
	for _, d := range file.Decls {
		fn, _ := d.(*ast.FuncDecl)
		at := site{p: p, file: file, fn: fn}
		if fn != nil && fn.Recv != nil && fn.Name.Name == "Error" && fn.Type.Results.NumFields() == 1 {
			f.returned(at, fn, 0, func(e ast.Expr) { f.message(at, e) })
		}
		ast.Inspect(d, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				f.call(at, n)
			case *ast.CompositeLit:
				for _, e := range n.Elts {
					if kv, keyed := e.(*ast.KeyValueExpr); keyed {
						if key, ok := kv.Key.(*ast.Ident); ok {
							f.assignment(at, key.Name, kv.Value)
							if key.Name == "Text" && typeName(n.Type) == "Note" {
								f.message(at, kv.Value)
							}
						}
					} else if p.errs[typeName(n.Type)] {
						f.message(at, e)
					}
				}
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if len(n.Rhs) == len(n.Lhs) {
						f.assignment(at, typeName(left), n.Rhs[i])
					}
				}
			}
			return true
		})
	}
}

// typeName is the last name of a type or variable; "" if it has none.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.SelectorExpr:
		return e.Sel.Name
	}
	return ""
}

// assignment looks for texts in what a field or variable is given.
func (f *sentenceFinder) assignment(at site, name string, e ast.Expr) {
	if slices.Contains(messageFields, name) {
		f.message(at, e)
	}
	if list, ok := e.(*ast.CompositeLit); ok && slices.Contains(messageLists, strings.ToLower(name)) {
		for _, e := range list.Elts {
			f.message(at, e)
		}
	}
}

// call looks for texts among the arguments of a call.
func (f *sentenceFinder) call(at site, c *ast.CallExpr) {
	if name, ok := c.Fun.(*ast.Ident); ok && len(c.Args) > 0 {
		switch {
		case name.Name == "append" && slices.Contains(messageLists, strings.ToLower(typeName(c.Args[0]))) && !c.Ellipsis.IsValid():
			for _, a := range c.Args[1:] {
				f.message(at, a)
			}
		case at.p.errs[name.Name]:
			f.message(at, c.Args[0])
		}
	}
	for i := range f.sinks[f.callee(at, c)] {
		if i < len(c.Args) {
			f.message(at, c.Args[i])
		}
	}
}

// callee is the name of the function that is called: "folder name". Methods are
// taken for those of their own package unless only others have one of that name.
func (f *sentenceFinder) callee(at site, c *ast.CallExpr) string {
	switch fun := c.Fun.(type) {
	case *ast.Ident:
		if at.fn != nil && closure(at.fn, fun.Name) != nil {
			return at.p.dir + " " + at.fn.Name.Name + "." + fun.Name
		}
		return at.p.dir + " " + fun.Name
	case *ast.SelectorExpr:
		if x, ok := fun.X.(*ast.Ident); ok {
			if dir := f.imported(at.file, x.Name); dir != "" {
				return dir + " " + fun.Sel.Name
			}
		}
		return at.p.dir + " " + fun.Sel.Name
	}
	return ""
}

// imported is the folder or path of the package that a name of a file stands for.
func (f *sentenceFinder) imported(file *ast.File, name string) string {
	for _, i := range file.Imports {
		at, _ := strconv.Unquote(i.Path.Value)
		if i.Name != nil && i.Name.Name == name || i.Name == nil && path.Base(at) == name {
			return strings.TrimPrefix(at, f.module+"/")
		}
	}
	return ""
}

var verb = regexp.MustCompile(`%[-+# 0]*[0-9]*(\.[0-9]+)?[a-zA-Z]|%%`)

// message takes an expression for a message.
func (f *sentenceFinder) message(at site, e ast.Expr) {
	for _, t := range f.texts(at, e) {
		text := verb.ReplaceAllStringFunc(t, func(v string) string {
			if v == "%%" {
				return "%"
			}
			return hole
		})
		pos := f.fset.Position(e.Pos())
		f.found[sentence{text, fmt.Sprintf("%s:%d", pos.Filename, pos.Line)}] = true
	}
}

// texts is what an expression can be, with a hole for what is not known here. A
// parameter of the function makes that a sink.
func (f *sentenceFinder) texts(at site, e ast.Expr) []string {
	if at.deep++; at.deep > 8 {
		return []string{hole}
	}
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return []string{text}
		}
	case *ast.ParenExpr:
		return f.texts(at, e.X)
	case *ast.BinaryExpr:
		var out []string
		for _, a := range f.texts(at, e.X) {
			for _, b := range f.texts(at, e.Y) {
				out = append(out, a+b)
			}
		}
		return out
	case *ast.Ident:
		return f.named(at, e)
	case *ast.CallExpr:
		switch callee := f.callee(at, e); callee {
		case "fmt Sprintf":
			return f.texts(at, e.Args[0])
		case "strings TrimSpace", "strings Join":
			return f.texts(at, e.Args[0])
		default:
			return f.results(at, callee, 0)
		}
	}
	return []string{hole}
}

// named is what a name can stand for.
func (f *sentenceFinder) named(at site, id *ast.Ident) []string {
	name := id.Name
	if at.fn != nil && at.fn.Body != nil {
		if in, lit := enclosing(at.fn, id.Pos(), name); lit != nil {
			f.parameter(at, at.p.dir+" "+at.fn.Name.Name+"."+in, lit.Type, name)
			return []string{hole}
		}
		if f.parameter(at, at.p.dir+" "+at.fn.Name.Name, at.fn.Type, name) {
			return []string{hole}
		}
		var out []string
		f.assigned(at.fn.Body, name, func(e ast.Expr, result int) {
			if c, ok := e.(*ast.CallExpr); ok && result >= 0 {
				out = append(out, f.results(at, f.callee(at, c), result)...)
				return
			}
			out = append(out, f.texts(at, e)...)
		})
		if len(out) > 0 {
			return out
		}
	}
	var out []string
	for _, e := range at.p.vars[name] {
		out = append(out, f.texts(site{p: at.p, file: at.file, deep: at.deep}, e)...)
	}
	if len(out) == 0 {
		return []string{hole}
	}
	return out
}

// parameter says whether a function has a parameter of this name, and makes it a
// sink if it is a text.
func (f *sentenceFinder) parameter(at site, function string, fn *ast.FuncType, name string) bool {
	i := 0
	for _, field := range fn.Params.List {
		for _, n := range field.Names {
			if n.Name == name {
				if kind, ok := field.Type.(*ast.Ident); ok && kind.Name == "string" && !at.back {
					f.sink(function, i)
				}
				return true
			}
			i++
		}
	}
	return false
}

// closures calls use for each function that a body gives a name to.
func closures(fn *ast.FuncDecl, use func(name string, lit *ast.FuncLit)) {
	ast.Inspect(fn, func(n ast.Node) bool {
		if a, ok := n.(*ast.AssignStmt); ok && len(a.Lhs) == len(a.Rhs) {
			for i, right := range a.Rhs {
				lit, isLit := right.(*ast.FuncLit)
				if id, ok := a.Lhs[i].(*ast.Ident); ok && isLit {
					use(id.Name, lit)
				}
			}
		}
		return true
	})
}

// closure is the function that a body gives this name to, nil if there is none.
func closure(fn *ast.FuncDecl, name string) (found *ast.FuncLit) {
	closures(fn, func(n string, lit *ast.FuncLit) {
		if n == name {
			found = lit
		}
	})
	return found
}

// enclosing is the innermost function with a name around a place that has this parameter.
func enclosing(fn *ast.FuncDecl, at token.Pos, parameter string) (name string, found *ast.FuncLit) {
	closures(fn, func(n string, lit *ast.FuncLit) {
		if lit.Pos() <= at && at < lit.End() {
			for _, field := range lit.Type.Params.List {
				for _, p := range field.Names {
					if p.Name == parameter {
						name, found = n, lit
					}
				}
			}
		}
	})
	return name, found
}

// assigned calls use for each expression that a body assigns to a name; result is
// its index where a call has several, else -1.
func (f *sentenceFinder) assigned(body ast.Node, name string, use func(e ast.Expr, result int)) {
	ast.Inspect(body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if id, ok := left.(*ast.Ident); ok && id.Name == name {
					if len(n.Rhs) == len(n.Lhs) {
						use(n.Rhs[i], -1)
					} else {
						use(n.Rhs[0], i)
					}
				}
			}
		case *ast.ValueSpec:
			for i, id := range n.Names {
				if id.Name == name && i < len(n.Values) {
					use(n.Values[i], -1)
				}
			}
		}
		return true
	})
}

// results is what a function of this module can return.
func (f *sentenceFinder) results(at site, callee string, result int) []string {
	dir, name, _ := strings.Cut(callee, " ")
	p := f.packages[dir]
	if p == nil || at.deep > 4 {
		return []string{hole}
	}
	var out []string
	for _, fn := range p.funcs[name] {
		file := at.file
		for _, other := range p.files {
			if other.Pos() <= fn.Pos() && fn.Pos() < other.End() {
				file = other
			}
		}
		in := site{p: p, file: file, fn: fn, deep: at.deep, back: true}
		f.returned(in, fn, result, func(e ast.Expr) { out = append(out, f.texts(in, e)...) })
	}
	if len(out) == 0 {
		return []string{hole}
	}
	return out
}

// returned calls use for what a function returns at an index, if that is a string.
func (f *sentenceFinder) returned(at site, fn *ast.FuncDecl, result int, use func(ast.Expr)) {
	i, name, isText := 0, "", false
	if fn.Type.Results == nil || fn.Body == nil {
		return
	}
	for _, field := range fn.Type.Results.List {
		kind, _ := field.Type.(*ast.Ident)
		for k := range max(1, len(field.Names)) {
			if i == result {
				isText = kind != nil && kind.Name == "string"
				if len(field.Names) > 0 {
					name = field.Names[k].Name
				}
			}
			i++
		}
	}
	if !isText {
		return
	}
	ast.Inspect(fn.Body, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			return false
		case *ast.ReturnStmt:
			if result < len(n.Results) && len(n.Results) == i {
				use(n.Results[result])
			}
		}
		return true
	})
	if name != "" {
		f.assigned(fn.Body, name, func(e ast.Expr, _ int) { use(e) })
	}
}

func (f *sentenceFinder) sink(function string, parameter int) {
	if f.sinks[function] == nil {
		f.sinks[function] = map[int]bool{}
	}
	if !f.sinks[function][parameter] {
		f.sinks[function][parameter], f.grown = true, true
	}
}
