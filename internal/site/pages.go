package main

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// section is a group of pages in the navigation.
type section struct {
	Title string
	Pages []*pageFile
}

// pageFile is a Markdown file of the repository, and the page made of it.
type pageFile struct {
	File  string // in the repository, with slashes
	At    string // in the site, with slashes
	Title string
	Short string // in the navigation
}

// order is the navigation. A name that ends in / stands for the pages below it
// that are not named elsewhere; files that are not there are left out.
var order = []struct {
	title string
	files []string
}{
	{"Start", []string{"README.md", "docs/install.md", "docs/concepts.md"}},
	{"Guides", []string{
		"docs/guides/pull.md", "docs/guides/publish.md", "docs/guides/copy.md", "docs/guides/verify.md", "docs/guides/credentials.md", "docs/guides/",
		"docs/airgap.md",
	}},
	{"Ways to pull", []string{"docs/clients.md", "docs/exec.md", "docs/serve.md", "docs/containerd.md", "docs/kubernetes.md", "docs/kubelet.md", "docs/neighbours.md"}},
	{"Reference", []string{
		"docs/reference/README.md", "docs/reference/cli.md", "docs/config.md", "docs/reference/",
		"docs/registries.md", "docs/compatibility.md", "docs/spec.md",
	}},
	{"When it fails", []string{"docs/troubleshooting.md"}},
	{"Background", []string{"docs/performance.md", "docs/security.md", "docs/architecture.md", "docs/upstream.md"}},
	{"Project", []string{"CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "GOVERNANCE.md", "CODE_OF_CONDUCT.md", "docs/"}},
}

// findPages finds all pages.
func findPages(root string) ([]*section, error) {
	files, err := markdownFiles(root)
	if err != nil {
		return nil, err
	}
	named := map[string]bool{}
	for _, o := range order {
		for _, file := range o.files {
			named[file] = true
		}
	}
	var sections []*section
	for _, o := range order {
		s := &section{Title: o.title}
		for _, name := range o.files {
			for _, file := range files {
				below := strings.HasSuffix(name, "/") && path.Dir(file)+"/" == name && !named[file]
				if file != name && !below {
					continue
				}
				p, err := newPage(root, file)
				if err != nil {
					return nil, err
				}
				s.Pages = append(s.Pages, p)
			}
		}
		if len(s.Pages) > 0 {
			sections = append(sections, s)
		}
	}
	return sections, nil
}

// markdownFiles are those of docs and those of the root, which order names.
func markdownFiles(root string) ([]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "*.md"))
	if err != nil {
		return nil, err
	}
	err = filepath.WalkDir(filepath.Join(root, "docs"), func(name string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(name, ".md") {
			files = append(files, name)
		}
		return err
	})
	for i, file := range files {
		at, _ := filepath.Rel(root, file)
		files[i] = filepath.ToSlash(at)
	}
	slices.Sort(files)
	return files, err
}

func newPage(root, file string) (*pageFile, error) {
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(file)))
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(text) {
		if title, ok := strings.CutPrefix(string(line), "# "); ok {
			p := &pageFile{File: file, At: at(file), Title: strings.ReplaceAll(strings.TrimSpace(title), "`", "")}
			p.Short = p.Title
			if path.Base(file) == "README.md" {
				p.Short = "Overview"
			}
			return p, nil
		}
	}
	return nil, fmt.Errorf("%s: no title; begin it with # and a title", file)
}

// at is where the page of a file is.
func at(file string) string {
	if name, ok := strings.CutSuffix(file, "README.md"); ok {
		return name + "index.html"
	}
	return strings.TrimSuffix(file, ".md") + ".html"
}
