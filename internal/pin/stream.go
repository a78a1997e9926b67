package pin

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Stream is a stream of YAML or JSON documents with Kubernetes manifests.
type Stream struct {
	name   string // of the file, for errors
	text   []byte
	marked bool    // it began with a byte order mark, which text lacks
	images []image // in the order of the text
}

// image is the value of an image field and its place in the text.
type image struct {
	ref        string
	line       int
	start, end int // without quotes; end is 0 when the value is not contiguous
}

// byteOrderMark may begin a file, but not a later document of a stream.
var byteOrderMark = []byte("\ufeff")

// parse finds the images of a stream. A byte order mark is set aside.
func parse(name string, text []byte) (*Stream, error) {
	s := &Stream{name: name}
	s.text, s.marked = bytes.CutPrefix(text, byteOrderMark)
	if !utf8.Valid(s.text) {
		return nil, fmt.Errorf("%s: not UTF-8", name)
	}
	var err error
	if !s.parseJSON() {
		err = s.parseYAML()
	}
	return s, err
}

// Image is an image that a text names, as it is written there.
type Image struct {
	Ref  string
	Line int
}

// Images returns the images of a text, in its order.
func (t Text) Images() ([]Image, error) {
	s, err := parse(t.Name, t.Bytes)
	if err != nil {
		return nil, err
	}
	images := make([]Image, len(s.images))
	for i, found := range s.images {
		images[i] = Image{found.ref, found.line}
	}
	return images, nil
}

// at is an error about a line of the text.
func (s *Stream) at(line int, err error) error {
	return fmt.Errorf("%s:%d: %w", s.name, line, err)
}

// replaced is the text with images replaced by what a function returns; those
// for which it returns "" do not change.
func (s *Stream) replaced(pin func(image string) (string, error)) ([]byte, error) {
	var out bytes.Buffer
	done := 0
	for _, i := range s.images {
		ref, err := pin(i.ref)
		if err != nil {
			return nil, s.at(i.line, err)
		}
		if ref == "" {
			continue
		}
		if i.end == 0 {
			return nil, s.at(i.line, fmt.Errorf("image %s: not a plain or quoted string; write it as one, so that it can be replaced", strings.TrimSpace(i.ref)))
		}
		out.Write(s.text[done:i.start])
		out.WriteString(ref)
		done = i.end
	}
	out.Write(s.text[done:])
	return out.Bytes(), nil
}
