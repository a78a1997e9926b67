package remotes_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestArchitecture: what docs/architecture.md and CONTRIBUTING.md name in backticks is there: files, directories, and
// functions, types and fields of the code.
func TestArchitecture(t *testing.T) {
	names := declared(t)
	for _, document := range []string{"docs/architecture.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(filepath.Join("..", document))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`(\\*?[\\w./]+)`").FindAllStringSubmatch(string(text), -1) {
			name := m[1]
			_, missing := os.Stat(filepath.Join("..", name))
			last := name[strings.LastIndexByte(name, '.')+1:]
			if missing != nil && !names[name] && !names[last] {
				t.Errorf("%s names %s, which is neither a file nor declared", document, name)
			}
		}
	}
}

// declared is what the code declares: names of files, packages, functions, methods, types and fields.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, root := range []string{".", "../internal", "../config", "../plugin", "../cmd"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(path) != ".go" {
				return err
			}
			names[filepath.Base(path)] = true
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			names[file.Name.Name] = true
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					names[n.Name.Name] = true
				case *ast.TypeSpec:
					names[n.Name.Name] = true
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return names
}
