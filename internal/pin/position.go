package pin

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// cursor moves through a text and counts lines and columns as the parser does:
// columns in characters, and lines by every line break of YAML 1.1.
type cursor struct {
	text         []byte
	at           int
	line, column int
}

// find moves to a scalar or an alias and returns the position of its value,
// without anchor, tag and quotes.
func (c *cursor) find(n *yaml.Node) image {
	for c.at < len(c.text) && (c.line < n.Line || c.line == n.Line && c.column < n.Column) {
		c.next()
	}
	found := image{ref: n.Value, line: n.Line - 1} // lead is a line, too
	if n.Kind == yaml.AliasNode {
		found.start, found.end = c.at, c.at+len("*")+len(n.Value)
		return found
	}
	start := c.at + properties(c.text[c.at:])
	rest := c.text[start:]
	switch {
	case len(rest) == 0 || n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 && bytes.HasPrefix(rest, []byte(n.Value)):
		found.start, found.end = start, start+len(n.Value)
	case rest[0] == '"' || rest[0] == '\'':
		length := quoted(rest)
		same := isBetween(rest[:length], n.Value)
		if !same {
			var value string
			err := yaml.Unmarshal(rest[:length], &value)
			same = err == nil && value == n.Value
		}
		if same {
			found.start, found.end = start+1, start+length-1
		}
	}
	return found
}

// isBetween reports whether a value is between quotes as it is, with nothing that
// has to be parsed: it saves a parser for each image.
func isBetween(text []byte, value string) bool {
	end := len(text) - 1
	return end > 0 && text[end] == text[0] && string(text[1:end]) == value && !strings.ContainsAny(value, "\\\"'\r\n")
}

func (c *cursor) next() {
	r, size := utf8.DecodeRune(c.text[c.at:])
	c.at += size
	c.column++
	if r == '\r' && bytes.HasPrefix(c.text[c.at:], []byte("\n")) {
		c.at++
	}
	if strings.ContainsRune("\r\n\u0085\u2028\u2029", r) {
		c.line, c.column = c.line+1, 1
	}
}

// properties is the length of the anchor and the tag before a scalar.
func properties(text []byte) int {
	at := 0
	for at < len(text) && (text[at] == '&' || text[at] == '!') {
		at += until(text[at:], " \t\r\n")
		for at < len(text) && strings.IndexByte(" \t\r\n#", text[at]) >= 0 {
			if text[at] == '#' {
				at += until(text[at:], "\r\n")
			} else {
				at++
			}
		}
	}
	return at
}

func until(text []byte, any string) int {
	if i := bytes.IndexAny(text, any); i >= 0 {
		return i
	}
	return len(text)
}

// quoted is the length of a quoted scalar, including the quotes.
func quoted(text []byte) int {
	quote := text[0]
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == '"':
			i++
		case text[i] == quote && quote == '\'' && i+1 < len(text) && text[i+1] == quote:
			i++
		case text[i] == quote:
			return i + 1
		}
	}
	return len(text)
}
