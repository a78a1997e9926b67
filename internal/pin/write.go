package pin

import (
	"bytes"
	"io"
	"slices"
)

// Write writes streams as one, with the references that pin returns for their
// images. pin gets an image as it is written, possibly with white space around
// it; when it returns "", the image does not change. Its errors are returned
// with file and line, and then nothing is written. A byte order mark of the
// first stream is kept.
func Write(out io.Writer, streams []*Stream, pin func(image string) (string, error)) error {
	texts := make([][]byte, len(streams))
	for i, s := range streams {
		var err error
		if texts[i], err = s.replaced(pin); err != nil {
			return err
		}
	}
	if len(streams) > 0 && streams[0].marked {
		texts[0] = slices.Concat(byteOrderMark, texts[0])
	}
	_, err := out.Write(join(texts))
	return err
}

// join makes one stream of several: a document must not continue in the next
// stream.
func join(texts [][]byte) []byte {
	var out []byte
	for _, text := range texts {
		if len(out) > 0 && len(text) > 0 {
			out = append(endLine(out), separator(text)...)
		}
		out = append(out, text...)
	}
	return out
}

// endLine ends the last line in the same way as the one before it.
func endLine(text []byte) []byte {
	last := bytes.LastIndexByte(text, '\n')
	switch {
	case last == len(text)-1:
		return text
	case last > 0 && text[last-1] == '\r':
		return append(text, "\r\n"...)
	}
	return append(text, '\n')
}

// separator is what has to precede a text that follows another document.
func separator(text []byte) string {
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, " \t\r\n")
		switch {
		case len(line) == 0 || bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#")):
			continue
		case bytes.Equal(line, []byte("---")) || bytes.HasPrefix(line, []byte("--- ")) || bytes.HasPrefix(line, []byte("---\t")):
			return ""
		case line[0] == '%': // directives come after an end only
			return "...\n"
		}
		break
	}
	return "---\n"
}
