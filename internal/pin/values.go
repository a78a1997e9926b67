package pin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/nestedoci/nested/internal/usage"
)

// Values are a Helm values file. Charts spread an image over several keys, such
// as registry, repository, tag and digest; see images.go for what is recognised.
type Values struct {
	file     Stream // without images
	document yaml.Node
	found    []*said // in the order of the text
}

// Open reads Kubernetes manifests, as [Read] does, or a file of Helm values, as
// [ReadValues] does. It returns what writes them with the images of a Pinner.
func Open(ctx context.Context, stdin io.Reader, paths []string, helm bool) (func(io.Writer, *Pinner) error, error) {
	if !helm {
		streams, err := Read(ctx, stdin, paths)
		return func(out io.Writer, p *Pinner) error { return Write(out, streams, p.Pin) }, err
	}
	if len(paths) != 1 {
		return nil, usage.Errorf("Helm values: %d files; name one", len(paths))
	}
	values, err := ReadValues(ctx, stdin, paths[0])
	return values.Write, err
}

// ReadValues reads a values file of up to 8 MiB; "-" is stdin.
func ReadValues(ctx context.Context, stdin io.Reader, path string) (*Values, error) {
	if info, err := os.Stat(path); path != "-" && err == nil && info.IsDir() {
		return nil, usage.Errorf("%s: a directory; name one values file", path)
	}
	texts, err := ReadTexts(ctx, stdin, []string{path}, "Helm values")
	if err != nil {
		return nil, err
	}
	return parseValues(texts[0].Name, texts[0].Bytes)
}

func parseValues(name string, text []byte) (*Values, error) {
	v := &Values{file: Stream{name: name}}
	v.file.text, v.file.marked = bytes.CutPrefix(text, byteOrderMark)
	if !utf8.Valid(v.file.text) {
		return nil, fmt.Errorf("%s: not UTF-8", name)
	}
	if err := CheckValues(name, v.file.text); err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(io.MultiReader(strings.NewReader(lead), bytes.NewReader(v.file.text)))
	err := decoder.Decode(&v.document)
	if err == nil {
		var second yaml.Node
		if err = decoder.Decode(&second); err == nil {
			return nil, v.file.at(second.Line-1, errors.New("a second document; Helm reads one"))
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, v.file.unparsed(err)
	}
	f := imageFinder{finder: newFinder(), global: globalRegistry(&v.document)}
	if err := f.walk(&v.document, ""); err != nil {
		return nil, v.file.at(err.line-1, err)
	}
	v.found = f.found
	return v, nil
}

// Write writes the values with the images of a Pinner pinned: repository and
// digest of an image get new values, registry where it is there, and nothing
// else changes. A digest that is not there is inserted. Errors are those of
// [Pinner.Pin], and those about values that cannot be rewritten; all have file
// and line, and then nothing is written. It is called once.
func (v *Values) Write(out io.Writer, p *Pinner) error {
	e := editor{file: &v.file}
	var want []expected
	for _, s := range v.found {
		now, err := s.pin(p, &e)
		if err != nil {
			return v.file.at(s.line(), err)
		}
		want = append(want, expected{now, s.line()})
	}
	text, err := e.apply(&v.document)
	if err != nil {
		return err
	}
	edited := len(e.edits) > 0
	v.document, v.found = yaml.Node{}, nil // many times as large as the text, of which there are two now
	if edited {
		if err = v.file.verify(text, want); err != nil {
			return err
		}
	}
	if v.file.marked {
		text = slices.Concat(byteOrderMark, text)
	}
	_, err = out.Write(text)
	return err
}

// expected is what a place should say when it has been rewritten.
type expected struct {
	all  string
	line int // before
}

// verify checks that the new text says what it should, whatever YAML made of
// the edits.
func (s *Stream) verify(text []byte, want []expected) error {
	again, err := parseValues(s.name, text)
	if err != nil {
		return fmt.Errorf("%s: it cannot be rewritten: %w", s.name, err)
	}
	for i, w := range want {
		if i >= len(again.found) || again.found[i].all() != w.all {
			return s.at(w.line, errors.New("this image cannot be rewritten; write its keys on lines of their own, as plain strings"))
		}
	}
	return nil
}
