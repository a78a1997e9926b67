package pin

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// Stream is a stream of documents, YAML or JSON, that hold Kubernetes manifests.
type Stream struct {
	name   string // of the file, for errors
	text   []byte
	marked bool    // began with a byte order mark, which text lacks
	images []image // in the order of the text
}

// image is the value of an image field and its place in the text.
type image struct {
	ref        string
	line       int
	start, end int // without quotes; no end when it is not all in one piece
}

// byteOrderMark may begin a file, but not a document further down a stream.
var byteOrderMark = []byte("\ufeff")

// parse finds the images of a stream. A byte order mark is put aside.
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

// at is an error about a line of the text.
func (s *Stream) at(line int, err error) error {
	return fmt.Errorf("%s:%d: %w", s.name, line, err)
}

// replaced is the text in which images have become what a function says; those
// for which it says "" stay as they are.
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
			return nil, s.at(i.line, fmt.Errorf("image %s: not plain or in quotes; write it so, to have it replaced", strings.TrimSpace(i.ref)))
		}
		out.Write(s.text[done:i.start])
		out.WriteString(ref)
		done = i.end
	}
	out.Write(s.text[done:])
	return out.Bytes(), nil
}
