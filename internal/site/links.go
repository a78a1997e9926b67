package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/net/html"
)

// written is a page as a browser reads it.
type written struct {
	ids   map[string]bool
	links []string
}

// checkLinks checks the links of all pages below dir: the files and anchors of
// the site that they lead to. It reads what was written, so that HTML in Markdown
// and the navigation are checked, too. Other sites are not asked.
func checkLinks(dir string) error {
	pages := map[string]written{}
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".html") {
			return err
		}
		at, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		pages[filepath.ToSlash(at)], err = readPage(name)
		return err
	})
	if err != nil {
		return err
	}
	var wrong []error
	for at, p := range pages {
		for _, link := range p.links {
			if err := checkLink(dir, pages, at, link); err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %s: %w", at, link, err))
			}
		}
	}
	return errors.Join(wrong...)
}

func checkLink(dir string, pages map[string]written, from, link string) error {
	u, err := url.Parse(link)
	if err != nil || u.Scheme != "" {
		return err
	}
	if u.Path == "" {
		u.Path = path.Base(from)
	}
	to := path.Join(path.Dir(from), u.Path)
	if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(to))); err != nil {
		return errors.New("there is no such file")
	}
	if u.Fragment != "" && !pages[to].ids[u.Fragment] {
		return errors.New("there is no such heading")
	}
	return nil
}

func readPage(name string) (written, error) {
	p := written{ids: map[string]bool{}}
	file, err := os.Open(name)
	if err != nil {
		return p, err
	}
	defer file.Close()
	document, err := html.Parse(file)
	if err != nil {
		return p, err
	}
	for n := range document.Descendants() {
		for _, a := range n.Attr {
			switch a.Key {
			case "id":
				if p.ids[a.Val] {
					return p, fmt.Errorf("%s: two headings are called %s", name, a.Val)
				}
				p.ids[a.Val] = true
			case "href", "src":
				p.links = append(p.links, a.Val)
			}
		}
	}
	return p, nil
}
