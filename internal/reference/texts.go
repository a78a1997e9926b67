package reference

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Text is what the code may say to its users.
type Text struct {
	Says string // what is put in when it is said is …
	At   string // file and line
	Next bool   // it has a next step
}

// Texts finds the error texts, findings and warnings of packages, whose
// directories are below root: each text of one line that has a next step, after
// "; ", and each that makes an error. Texts of help are none. Tests and what skip
// says are left out.
func Texts(root string, dirs []string, skip func(file string) bool) ([]Text, error) {
	var all []Text
	for _, dir := range dirs {
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") || skip(path) {
				continue
			}
			found, err := textsOf(root, path)
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
	}
	return all, nil
}

func textsOf(root, path string) ([]Text, error) {
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	name, err := filepath.Rel(root, path)
	if err != nil {
		return nil, err
	}
	var all []Text
	maker := map[ast.Expr]bool{} // arguments of what makes errors
	ast.Inspect(file, func(n ast.Node) bool {
		if helps(n) {
			return false
		}
		for _, part := range errorParts(n) {
			maker[part] = true
		}
		e, ok := n.(ast.Expr)
		if !ok {
			return true
		}
		text, ok := constant(e)
		if !ok {
			return true
		}
		says := said(text)
		next := strings.Contains(says, "; ")
		if !strings.Contains(text, "\n") && hasWords(says) && (next || maker[e]) {
			at := name + ":" + strconv.Itoa(files.Position(e.Pos()).Line)
			all = append(all, Text{says, filepath.ToSlash(at), next})
		}
		return false
	})
	return all, nil
}

// helps reports whether a part of the code is a text of help, or no text at all.
func helps(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ImportSpec:
		return true
	case *ast.Field:
		return n.Tag != nil
	case *ast.KeyValueExpr:
		key, ok := n.Key.(*ast.Ident)
		return ok && slices.Contains([]string{"Use", "Short", "Long", "Example"}, key.Name)
	case *ast.CallExpr: // flags
		f, ok := n.Fun.(*ast.SelectorExpr)
		return ok && (strings.HasSuffix(f.Sel.Name, "Var") || strings.HasSuffix(f.Sel.Name, "VarP"))
	}
	return false
}

// errorParts are the parts of a node that are texts of an error: arguments of
// what makes one, what a method Error returns, and the Message of a refusal.
func errorParts(n ast.Node) []ast.Expr {
	var parts []ast.Expr
	switch n := n.(type) {
	case *ast.CallExpr:
		if !makesErrors(n) {
			return nil
		}
		if called(n) == "Optionf" {
			return n.Args[1:] // the first is the option's name
		}
		return n.Args
	case *ast.KeyValueExpr:
		if key, ok := n.Key.(*ast.Ident); ok && key.Name == "Message" {
			return []ast.Expr{n.Value}
		}
	case *ast.FuncDecl:
		if n.Recv == nil || n.Name.Name != "Error" {
			return nil
		}
		ast.Inspect(n, func(n ast.Node) bool {
			if back, ok := n.(*ast.ReturnStmt); ok {
				parts = append(parts, back.Results...)
			}
			return true
		})
	}
	return parts
}

// makesErrors reports whether a call is one of errors.New, fmt.Errorf or one of
// ours, which are named like it.
func makesErrors(call *ast.CallExpr) bool {
	switch f := call.Fun.(type) {
	case *ast.SelectorExpr:
		x, ok := f.X.(*ast.Ident)
		return ok && x.Name == "errors" && f.Sel.Name == "New" || strings.HasSuffix(f.Sel.Name, "rrorf") || f.Sel.Name == "Optionf" || f.Sel.Name == "Classed"
	case *ast.Ident:
		return strings.HasSuffix(f.Name, "f") && strings.ToLower(f.Name) == f.Name && len(f.Name) > 1
	}
	return false
}

// constant is the value of an expression of literals; other parts of a sum are …
func constant(e ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind == token.STRING {
			text, err := strconv.Unquote(e.Value)
			return text, err == nil
		}
	case *ast.ParenExpr:
		return constant(e.X)
	case *ast.CallExpr: // of fmt.Sprintf
		if f, ok := e.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Sprintf" {
			return constant(e.Args[0])
		}
	case *ast.BinaryExpr:
		left, first := constant(e.X)
		right, second := constant(e.Y)
		return left + right, e.Op == token.ADD && (first || second)
	}
	return "…", false
}

var verb = regexp.MustCompile(`%%|%(\[\d+\])?[-+# 0]*[\d.]*(\[\d+\])?[a-zA-Z]`)

// said is a format as it reads with … for its verbs.
func said(format string) string {
	text := verb.ReplaceAllStringFunc(format, func(verb string) string {
		if verb == "%%" {
			return "%"
		}
		return "…"
	})
	return strings.TrimSpace(strings.ReplaceAll(text, `"…"`, "…"))
}

var words = regexp.MustCompile(`[a-zA-Z]{3}`)

func hasWords(text string) bool { return words.MatchString(text) }

// inFront is what stands in front of the words of a text that wraps another one.
var inFront = regexp.MustCompile(`^(…?(:…)?[:;] )+`)

// Key is the part of a text by which it is found on a page: its cause, or its
// next step where the cause is another error's.
func (t Text) Key() string {
	cause, _, _ := strings.Cut(t.Says, "; ")
	if key := inFront.ReplaceAllString(cause, ""); hasWords(key) {
		return key
	}
	return inFront.ReplaceAllString(t.Says, "")
}
