package main

import (
	"bytes"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/renderer/html"
	"github.com/yuin/goldmark/text"
)

// rendered is a page's text.
type rendered struct {
	body     template.HTML
	contents []heading
}

// heading is a line of the contents.
type heading struct{ ID, Title string }

var markdown = goldmark.New(
	goldmark.WithExtensions(extension.GFM),
	goldmark.WithParserOptions(parser.WithAutoHeadingID()),
	goldmark.WithRendererOptions(html.WithUnsafe()), // the files are ours: they have comments, and may have pictures
)

// render makes a page of Markdown. Each link goes to what target says. A picture
// that does not adapt to a dark scheme is shown on white paper.
func render(source []byte, target func(string) (string, error), adapts func(string) bool) (rendered, error) {
	context := parser.NewContext(parser.WithIDs(&githubIDs{seen: map[string]int{}}))
	document := markdown.Parser().Parse(text.NewReader(source), parser.WithContext(context))
	var made rendered
	var wrong []error
	follow := func(to *[]byte) {
		way, err := target(string(*to))
		if err != nil {
			wrong = append(wrong, err)
		}
		*to = []byte(way)
	}
	err := ast.Walk(document, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link:
			follow(&n.Destination)
		case *ast.Image:
			if !adapts(string(n.Destination)) {
				n.SetAttributeString("class", []byte("paper"))
			}
			follow(&n.Destination)
		case *ast.Heading:
			if id, ok := n.AttributeString("id"); ok && n.Level == 2 {
				made.contents = append(made.contents, heading{string(id.([]byte)), plain(n, source)})
			}
		}
		return ast.WalkContinue, nil
	})
	if err = errors.Join(append(wrong, err)...); err != nil {
		return made, err
	}
	var b bytes.Buffer
	err = markdown.Renderer().Render(&b, source, document)
	body := strings.NewReplacer("<table>", `<div class="scroll"><table>`, "</table>", "</table></div>").Replace(b.String())
	made.body = template.HTML(body) //nolint:gosec // made of our own files
	return made, err
}

// plain is the text of a heading.
func plain(n ast.Node, source []byte) string {
	var b strings.Builder
	for c := n.FirstChild(); c != nil; c = c.NextSibling() {
		if t, ok := c.(*ast.Text); ok {
			b.Write(t.Segment.Value(source))
		} else {
			b.WriteString(plain(c, source))
		}
	}
	return b.String()
}

// target is where a link of a page goes: to another page, or to a file of the
// repository where that is none.
func (s *site) target(from *pageFile, link string) (string, error) {
	if strings.Contains(link, "://") || strings.HasPrefix(link, "#") || strings.HasPrefix(link, "mailto:") {
		return link, nil
	}
	name, anchor, _ := strings.Cut(link, "#")
	if anchor != "" {
		anchor = "#" + anchor
	}
	file := path.Join(path.Dir(from.File), name)
	info, err := os.Stat(filepath.Join(s.root, filepath.FromSlash(file)))
	if err != nil || strings.HasPrefix(file, "../") {
		return "", fmt.Errorf("link to %s: there is no %s", link, file)
	}
	if info.IsDir() && s.has(file+"/README.md") {
		file += "/README.md"
	}
	switch {
	case s.has(file):
		return relative(from.At, at(file)) + anchor, nil
	case strings.HasSuffix(file, ".svg"), strings.HasSuffix(file, ".png"):
		return relative(from.At, file), nil
	}
	return s.source + file + anchor, nil
}

// adapts reports whether a picture of a page has colours for dark schemes, too.
func (s *site) adapts(from *pageFile, link string) bool {
	text, err := os.ReadFile(filepath.Join(s.root, filepath.FromSlash(path.Join(path.Dir(from.File), link))))
	return err == nil && bytes.Contains(text, []byte("prefers-color-scheme"))
}

// has reports whether a file is a page.
func (s *site) has(file string) bool {
	return slices.ContainsFunc(s.sections, func(s *section) bool {
		return slices.ContainsFunc(s.Pages, func(p *pageFile) bool { return p.File == file })
	})
}

// githubIDs names headings as GitHub does, so that links work in both places.
type githubIDs struct{ seen map[string]int }

func (g *githubIDs) Generate(value []byte, _ ast.NodeKind) []byte {
	id := strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, strings.TrimSpace(string(value)))
	n := g.seen[id]
	g.seen[id]++
	if n > 0 {
		id += "-" + strconv.Itoa(n)
	}
	return []byte(id)
}

func (g *githubIDs) Put([]byte) {}
