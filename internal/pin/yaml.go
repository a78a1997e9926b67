package pin

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

	"go.yaml.in/yaml/v3"
)

// lead is a line before the text, because the parser omits the line number of
// errors in the first line.
const lead = "#\n"

// parseYAML finds the images of a stream of YAML documents.
func (s *Stream) parseYAML() error {
	if err := CheckValues(s.name, s.text); err != nil {
		return err
	}
	decoder := yaml.NewDecoder(io.MultiReader(strings.NewReader(lead), bytes.NewReader(s.text)))
	c := &cursor{text: s.text, line: 2, column: 1}
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return s.unparsed(err)
		}
		found := newFinder()
		if err := found.walk(&document); err != nil {
			return s.at(err.line-1, err)
		}
		slices.SortFunc(found.images, func(a, b *yaml.Node) int {
			return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
		})
		for _, n := range found.images {
			s.images = append(s.images, c.find(n))
		}
	}
}

var (
	parserError = regexp.MustCompile(`^yaml: line (\d+): (.*)$`)
	// lateError are the errors for which the parser counts lines from 0.
	lateError = regexp.MustCompile(`^did not find expected (<|node content|key|'-' indicator|',')|^found incompatible YAML document`)
)

// unparsed is the parser's error with its line in the text. The usual cause are
// templates that were not rendered.
func (s *Stream) unparsed(err error) error {
	parts := parserError.FindStringSubmatch(err.Error())
	if parts == nil {
		return fmt.Errorf("%s: %s", s.name, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	line, _ := strconv.Atoi(parts[1])
	if !lateError.MatchString(parts[2]) {
		line--
	}
	problem := parts[2]
	if before, _, ok := bytes.Cut(s.text, []byte("{{")); ok {
		problem += fmt.Sprintf("; line %d has a template, {{; templates must be rendered first", bytes.Count(before, []byte("\n"))+1)
	}
	return s.at(line, errors.New(problem))
}

// finder finds the images in a document: strings under the key "image", and in
// image volumes those under "reference".
type finder struct {
	images  []*yaml.Node
	seen    map[*yaml.Node]bool
	anchors map[*yaml.Node]bool // of this document; the parser keeps those of earlier documents
}

func newFinder() finder {
	return finder{seen: map[*yaml.Node]bool{}, anchors: map[*yaml.Node]bool{}}
}

// nodeError is an error about a line of a node.
type nodeError struct {
	line  int
	wrong string
}

func (e *nodeError) Error() string { return e.wrong }

// walk finds the images in a node. Aliases are not followed: their target is
// found where it is written.
func (f *finder) walk(n *yaml.Node) *nodeError {
	switch {
	case n.Anchor != "":
		f.anchors[n] = true
	case n.Kind == yaml.AliasNode && !f.anchors[n.Alias]:
		return &nodeError{n.Line, "unknown anchor '" + n.Value + "' referenced"}
	}
	for i, child := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			key := resolved(child)
			if key.Kind != yaml.ScalarNode {
				return &nodeError{child.Line, "a key that is not a string; templates, {{ }}, must be rendered first"}
			}
			if key.Value == "image" {
				f.image(resolved(n.Content[i+1]))
			}
		}
		if err := f.walk(child); err != nil {
			return err
		}
	}
	return nil
}

// image adds the value of a key "image": a string, or an image volume's source.
func (f *finder) image(n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i < len(n.Content); i += 2 {
			if resolved(n.Content[i]).Value == "reference" {
				f.add(resolved(n.Content[i+1]))
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

// resolved is a node, or the target of an alias.
func resolved(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}
