package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// manifest is a stream of YAML or JSON documents.
type manifest struct {
	name   string
	text   []byte
	marked bool     // begins with a byte order mark, which text lacks
	images []scalar // in the order of the text
}

// scalar is where a text has the value of an image.
type scalar struct {
	value      string
	line       int
	start, end int // without quotes; no end when it is not all in one piece
}

// parseManifest finds the images of a stream.
func parseManifest(name string, text []byte) (*manifest, error) {
	m := &manifest{name: name, text: text}
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%s: not UTF-8", name)
	}
	if m.parseJSON() {
		return m, nil
	}
	return m, m.parseYAML()
}

// lead goes before a text that is parsed: the parser leaves out the line of
// errors in its first.
const lead = "#\n"

func (m *manifest) parseYAML() error {
	decoder := yaml.NewDecoder(io.MultiReader(strings.NewReader(lead), bytes.NewReader(m.text)))
	c := &cursor{text: m.text, line: 2, column: 1}
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return m.unparsed(err)
		}
		found := newFinder()
		if err := found.walk(&document); err != nil {
			return m.at(err.line-1, err)
		}
		slices.SortFunc(found.images, func(a, b *yaml.Node) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		for _, n := range found.images {
			m.images = append(m.images, c.find(n))
		}
	}
}

func (m *manifest) at(line int, err error) error {
	return fmt.Errorf("%s:%d: %w", m.name, line, err)
}

var (
	parserError = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)
	// lateError are the errors in which the parser counts lines from 0.
	lateError = regexp.MustCompile(`^did not find expected (<|node content|key|'-' indicator|',')|^found incompatible YAML document`)
)

// unparsed is a parser's error, with its line in the text.
func (m *manifest) unparsed(err error) error {
	parts := parserError.FindStringSubmatch(err.Error())
	if parts == nil {
		return fmt.Errorf("%s: %s", m.name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	line, _ := strconv.Atoi(parts[1])
	if !lateError.MatchString(parts[2]) {
		line--
	}
	problem := parts[2]
	if before, _, ok := bytes.Cut(m.text, []byte("{{")); ok {
		problem += fmt.Sprintf("; line %d has a template, {{: templates must be rendered before", bytes.Count(before, []byte("\n"))+1)
	}
	return m.at(line, errors.New(problem))
}

// finder finds the images in a document.
type finder struct {
	images  []*yaml.Node
	seen    map[*yaml.Node]bool
	anchors map[*yaml.Node]bool // of this document; the parser keeps those of documents before
}

func newFinder() finder {
	return finder{seen: map[*yaml.Node]bool{}, anchors: map[*yaml.Node]bool{}}
}

// nodeError is about a place in a document.
type nodeError struct {
	line  int
	wrong string
}

func (e *nodeError) Error() string { return e.wrong }

func (f *finder) walk(n *yaml.Node) *nodeError {
	switch {
	case n.Anchor != "":
		f.anchors[n] = true
	case n.Kind == yaml.AliasNode && !f.anchors[n.Alias]:
		return &nodeError{n.Line, "unknown anchor '" + n.Value + "' referenced"}
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			key := anchored(child)
			if key.Kind != yaml.ScalarNode {
				return &nodeError{child.Line, "a key that is no string; templates, {{ }}, must be rendered before"}
			}
			if key.Value == "image" {
				f.image(anchored(n.Content[i+1]))
			}
		}
		if err := f.walk(child); err != nil {
			return err
		}
	}
	return nil
}

// image adds the value of a key "image": a string, or that of an image volume.
func (f *finder) image(n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			if anchored(n.Content[i]).Value == "reference" {
				f.add(anchored(n.Content[i+1]))
			}
		}
		return
	}
	f.add(n)
}

func (f *finder) add(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str" && !f.seen[n] {
		f.seen[n] = true
		f.images = append(f.images, n)
	}
}

// anchored is what an alias stands for.
func anchored(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

// rewrite returns the text with other values for images, where there is one.
func (m *manifest) rewrite(instead func(image string) (string, error)) ([]byte, error) {
	var out bytes.Buffer
	done := 0
	for _, image := range m.images {
		value, err := instead(image.value)
		if err != nil {
			return nil, m.at(image.line, err)
		}
		if value == "" {
			continue
		}
		if image.end == 0 {
			return nil, m.at(image.line, fmt.Errorf("image %s: not plain or in quotes; write it so, to have it replaced", strings.TrimSpace(image.value)))
		}
		out.Write(m.text[done:image.start])
		out.WriteString(value)
		done = image.end
	}
	out.Write(m.text[done:])
	return out.Bytes(), nil
}
