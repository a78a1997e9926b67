package remotes_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	for _, root := range []string{".", "../internal", "../config", "../plugin", "../cmd", "../integration"} {
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

// TestMapsNameEveryFile: a package comment that names files names all of its package, and none that is gone. One whose
// name begins like a named one is named with it, and those of one system with what they are for.
func TestMapsNameEveryFile(t *testing.T) {
	byPackage := map[string][]string{}
	for _, file := range sources(t) {
		byPackage[filepath.Dir(file)] = append(byPackage[filepath.Dir(file)], filepath.Base(file))
	}
	for dir, files := range byPackage {
		comment, at := packageComment(t, dir, files)
		named := regexp.MustCompile(`\b\w+\.go\b`).FindAllString(comment, -1)
		if named == nil {
			continue
		}
		for _, name := range named {
			if !slices.Contains(files, name) {
				t.Errorf("%s/%s names %s, which is not there", dir, at, name)
			}
		}
		for _, file := range files {
			begins := func(name string) bool { return strings.HasPrefix(file, strings.TrimSuffix(name, ".go")) }
			if file != at && !ofOneSystem.MatchString(file) && !slices.ContainsFunc(named, begins) {
				t.Errorf("%s/%s does not name %s", dir, at, file)
			}
		}
	}
}

var ofOneSystem = regexp.MustCompile(`_(linux|unix|bsd|windows|other)\.go$`)

// packageComment returns the comment of a package, and the file that has it.
func packageComment(t *testing.T, dir string, files []string) (comment, file string) {
	t.Helper()
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", dir, file), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if parsed.Doc != nil {
			return parsed.Doc.Text(), file
		}
	}
	return "", ""
}
