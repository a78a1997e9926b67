package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// maxDepth is the YAML parser's, too.
const maxDepth = 10_000

// jsonFinder finds the images in a stream of JSON documents, which the YAML
// parser reads only where they have no escapes of JSON's own and `---` between
// them.
type jsonFinder struct {
	text    []byte
	decoder *json.Decoder
	images  []scalar
	line    int // of what is before counted
	counted int
}

// parseJSON finds the images of a stream that is JSON.
func (m *manifest) parseJSON() bool {
	text := bytes.TrimLeft(m.text, " \t\r\n")
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return false
	}
	f := jsonFinder{text: m.text, decoder: json.NewDecoder(bytes.NewReader(m.text)), line: 1}
	f.decoder.UseNumber()
	for {
		err := f.walk("", "", 0)
		if errors.Is(err, io.EOF) {
			m.images = f.images
			return true
		}
		if err != nil {
			return false
		}
	}
}

// walk reads a value and what is in it: one of a key, in the value of another.
func (f *jsonFinder) walk(above, key string, depth int) error {
	before := f.decoder.InputOffset()
	token, err := f.decoder.Token()
	if err != nil {
		return err
	}
	switch token := token.(type) {
	case string:
		if key == "image" || above == "image" && key == "reference" {
			f.add(token, int(before), int(f.decoder.InputOffset()))
		}
	case json.Delim:
		return f.walkAll(token, key, depth+1)
	}
	return nil
}

// walkAll reads what is in an object or a list.
func (f *jsonFinder) walkAll(in json.Delim, above string, depth int) error {
	if depth > maxDepth {
		return errors.New("too deep")
	}
	for f.decoder.More() {
		key := ""
		if in == '{' {
			token, err := f.decoder.Token()
			if err != nil {
				return err
			}
			key = token.(string)
		}
		if err := f.walk(above, key, depth); err != nil {
			return unexpected(err)
		}
		if in == '[' {
			above = ""
		}
	}
	_, err := f.decoder.Token()
	return unexpected(err)
}

// unexpected is an error in the middle of a document.
func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// add adds a string that ends at a place, and begins after another.
func (f *jsonFinder) add(value string, after, end int) {
	start := after + bytes.IndexByte(f.text[after:], '"') + 1
	f.line += bytes.Count(f.text[f.counted:start], []byte("\n"))
	f.counted = start
	f.images = append(f.images, scalar{value, f.line, start, end - 1})
}
