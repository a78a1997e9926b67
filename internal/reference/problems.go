package reference

import (
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strings"
)

// Problem is what a package finds wrong, and how to fix it.
type Problem struct{ What, Fix string }

// Problems finds the problems of a package that is like internal/doctor: values
// of the type Problem, and the last two arguments of functions that take their
// parts, which are named by takers. A part may be in a variable or come from a
// function; what cannot be found out is …, or what known says of the function.
func Problems(dir string, takers []string, known map[string]string) ([]Problem, error) {
	p := parts{functions: map[string]*ast.FuncDecl{}, values: map[string][]value{}, known: known}
	files, err := p.read(dir)
	if err != nil {
		return nil, err
	}
	var all []Problem
	add := func(parts []ast.Expr) {
		if len(parts) < 2 {
			return
		}
		last := parts[len(parts)-2:]
		found := Problem{said(p.text(last[0], 0)), said(p.text(last[1], 0))}
		if hasWords(found.What) && hasWords(found.Fix) && !slices.Contains(all, found) {
			all = append(all, found)
		}
	}
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CompositeLit:
				if isProblem(n.Type) {
					add(n.Elts)
				} else if list, ok := n.Type.(*ast.ArrayType); ok && isProblem(list.Elt) {
					for _, e := range n.Elts {
						if e, ok := e.(*ast.CompositeLit); ok {
							add(e.Elts)
						}
					}
				}
			case *ast.CallExpr:
				if slices.Contains(takers, called(n)) {
					add(n.Args)
				}
			}
			return true
		})
	}
	if len(all) == 0 {
		return nil, errors.New(dir + ": no problems in it")
	}
	return all, nil
}

func isProblem(e ast.Expr) bool {
	name, ok := e.(*ast.Ident)
	return ok && name.Name == "Problem"
}

func called(c *ast.CallExpr) string {
	switch f := c.Fun.(type) {
	case *ast.Ident:
		return f.Name
	case *ast.SelectorExpr:
		return f.Sel.Name
	}
	return ""
}

// parts is what texts of a package are made of.
type parts struct {
	functions map[string]*ast.FuncDecl
	values    map[string][]value // of constants and variables
	known     map[string]string  // what functions return, with * for their last argument
}

// value is what a constant or a variable is set to, in a function or in all.
type value struct {
	is    ast.Expr
	scope ast.Node
}

func (p parts) read(dir string) ([]*ast.File, error) {
	files, err := parseDir(dir)
	for _, file := range files {
		for _, d := range file.Decls {
			p.note(d)
		}
	}
	return files, err
}

// parseDir reads the files of a package, without its tests.
func parseDir(dir string) ([]*ast.File, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, nil
}

// note remembers a declaration of a file, and what is set in it.
func (p parts) note(d ast.Decl) {
	var scope ast.Node
	if f, ok := d.(*ast.FuncDecl); ok {
		p.functions[f.Name.Name], scope = f, f
	}
	ast.Inspect(d, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, name := range n.Names[:min(len(n.Names), len(n.Values))] {
				p.values[name.Name] = append(p.values[name.Name], value{n.Values[i], scope})
			}
		case *ast.AssignStmt:
			for i, left := range n.Lhs {
				if name, ok := left.(*ast.Ident); ok && len(n.Lhs) == len(n.Rhs) {
					p.values[name.Name] = append(p.values[name.Name], value{n.Rhs[i], scope})
				}
			}
		}
		return true
	})
}

// text is what an expression says. depth bounds functions that call themselves.
func (p parts) text(e ast.Expr, depth int) string {
	if depth > 4 {
		return "…"
	}
	switch e := e.(type) {
	case *ast.BinaryExpr:
		return p.text(e.X, depth) + p.text(e.Y, depth)
	case *ast.Ident:
		return p.value(e, depth)
	case *ast.CallExpr:
		name := called(e)
		if text, ok := p.known[name]; ok {
			if strings.Contains(text, "*") {
				text = strings.ReplaceAll(text, "*", p.text(e.Args[len(e.Args)-1], depth))
			}
			return text
		}
		if f, ok := p.functions[name]; ok {
			if back, ok := f.Body.List[len(f.Body.List)-1].(*ast.ReturnStmt); ok && len(back.Results) == 1 {
				return p.text(back.Results[0], depth+1)
			}
		}
		if name == "Sprintf" {
			return p.filled(e, depth)
		}
	}
	text, _ := constant(e)
	return text
}

// value is the text of a variable: of what it was set to last before it is used.
func (p parts) value(name *ast.Ident, depth int) string {
	best, at := "…", token.NoPos
	for _, v := range p.values[name.Name] {
		inside := v.scope == nil || v.is.End() <= name.Pos() && v.scope.Pos() <= name.Pos() && name.Pos() < v.scope.End()
		if !inside || v.is.Pos() <= at {
			continue
		}
		if text := p.text(v.is, depth+1); hasWords(said(text)) {
			best, at = text, v.is.Pos()
		}
	}
	return best
}

// filled is a format with those of its arguments in it that are texts.
func (p parts) filled(e *ast.CallExpr, depth int) string {
	format, _ := constant(e)
	verbs := verb.FindAllString(format, -1)
	if strings.Contains(format, "%[") || strings.Contains(format, "%%") || len(verbs) != len(e.Args)-1 {
		return format
	}
	args := make([]any, len(verbs))
	for i, arg := range e.Args[1:] {
		args[i] = p.text(arg, depth+1)
	}
	return fmt.Sprintf(verb.ReplaceAllString(format, "%s"), args...)
}

// ProblemTable is a table of problems and fixes.
func ProblemTable(all []Problem) string {
	var b strings.Builder
	b.WriteString("| problem | fix |\n|---|---|\n")
	for _, p := range all {
		fmt.Fprintf(&b, "| %s | %s |\n", cell(p.What), cell(p.Fix))
	}
	return b.String()
}
