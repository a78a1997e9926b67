// Command site writes the documentation as a static site, and checks its links:
// main.go is the command, pages.go says which pages there are and in which order,
// markdown.go makes a page of a file, and links.go checks what was written.
//
// It is a module of its own because nothing else needs goldmark.
package main

import (
	"embed"
	"flag"
	"fmt"
	"html/template"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

//go:embed page.html style.css
var assets embed.FS

func main() {
	root := flag.String("root", ".", "directory of the repository")
	out := flag.String("out", "site", "directory to write to; what is in it is removed")
	source := flag.String("source", "https://github.com/nestedoci/nested/blob/main/", "URL of the repository's files")
	flag.Parse()
	if err := build(*root, *out, *source); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
}

// build writes the site of the repository at root, and checks the links in it.
func build(root, out, source string) error {
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	sections, err := findPages(root)
	if err != nil {
		return err
	}
	site := &site{root: root, source: source, sections: sections}
	for _, section := range sections {
		for _, p := range section.Pages {
			if err = site.write(out, p); err != nil {
				return fmt.Errorf("%s: %w", p.File, err)
			}
		}
	}
	if err = copyImages(root, out); err != nil {
		return err
	}
	style, err := assets.ReadFile("style.css")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(out, "style.css"), style, 0o644); err != nil {
		return err
	}
	return checkLinks(out)
}

// site is what all pages share.
type site struct {
	root, source string
	sections     []*section
}

var page = template.Must(template.New("page.html").Funcs(template.FuncMap{"relative": relative}).ParseFS(assets, "page.html"))

// write writes the page of a file.
func (s *site) write(out string, p *pageFile) error {
	text, err := os.ReadFile(filepath.Join(s.root, filepath.FromSlash(p.File)))
	if err != nil {
		return err
	}
	made, err := render(text,
		func(link string) (string, error) { return s.target(p, link) },
		func(picture string) bool { return s.adapts(p, picture) })
	if err != nil {
		return err
	}
	name := filepath.Join(out, filepath.FromSlash(p.At))
	if err = os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	err = page.Execute(file, map[string]any{"Page": p, "Sections": s.sections, "Body": made.body, "Contents": made.contents})
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}

// copyImages copies the images of docs.
func copyImages(root, out string) error {
	return filepath.WalkDir(filepath.Join(root, "docs"), func(name string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".svg") && !strings.HasSuffix(name, ".png") {
			return err
		}
		image, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		at, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		to := filepath.Join(out, at)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, image, 0o644)
	})
}

// relative is the way from one file of the site to another, so that the site
// works in any directory, and without a server.
func relative(from, to string) string {
	return strings.Repeat("../", strings.Count(path.Clean(from), "/")) + to
}
