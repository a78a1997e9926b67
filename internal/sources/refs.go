package sources

import (
	"bytes"
	"errors"

	"github.com/nestedoci/nested/internal/pin"
)

// readRefs reads [NAME=]REFERENCE, one a line, as ko writes references with
// --image-refs. What follows a # is a comment.
func (o Options) readRefs(t pin.Text) ([]Source, error) {
	var found []Source
	number := 0
	for line := range bytes.Lines(t.Bytes) {
		number++
		content := contentOf(string(line))
		if content == "" {
			continue
		}
		if !isWord(content) {
			return nil, at(t, number, errors.New("not one reference; write one a line, as NAME=REFERENCE or REFERENCE"))
		}
		s, err := o.named(content)
		if err != nil {
			return nil, at(t, number, err)
		}
		if found = append(found, s); len(found) > maxSources {
			break // which is an error; a text of 8 MiB may have four million
		}
	}
	return found, nil
}
