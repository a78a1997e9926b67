package pin

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// maxDepth bounds the nesting, as the YAML parser does; each level takes a
// stack frame.
const maxDepth = 10_000

// jsonFinder finds the images in a stream of JSON documents. The YAML parser
// would read them only with `---` between them and without JSON's own escapes.
type jsonFinder struct {
	text    []byte
	decoder *json.Decoder
	images  []image
	line    int // of the text that was counted
	counted int
}

// parseJSON finds the images of a stream, and reports whether it is JSON.
func (s *Stream) parseJSON() bool {
	text := bytes.TrimLeft(s.text, " \t\r\n")
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return false
	}
	f := jsonFinder{text: s.text, decoder: json.NewDecoder(bytes.NewReader(s.text)), line: 1}
	f.decoder.UseNumber()
	for {
		err := f.walk("", "", 0)
		if errors.Is(err, io.EOF) {
			s.images = f.images
			return true
		}
		if err != nil {
			return false
		}
	}
}

// walk reads a value and everything in it: that of a key, in the value of
// another.
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

// walkAll reads the contents of an object or a list.
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

// add adds a string by its position.
func (f *jsonFinder) add(value string, after, end int) {
	start := after + bytes.IndexByte(f.text[after:], '"') + 1
	f.line += bytes.Count(f.text[f.counted:start], []byte("\n"))
	f.counted = start
	f.images = append(f.images, image{value, f.line, start, end - 1})
}
