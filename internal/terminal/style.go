package terminal

import (
	"strings"

	"github.com/nestedoci/nested/internal/sanitize"
)

// Style is how text looks where there are colours. They are the terminal's own
// eight, which fit any background that its user has chosen.
type Style int

// The styles. Plain is the zero value.
const (
	Plain  Style = iota
	Strong       // what to look at first
	Faint        // what is rarely read
	Good
	Warning
	Bad
	Note
)

// sequences begin and end a style (ECMA-48, "SGR"). A colour and an intensity end
// without ending each other, so that a faint part may be in coloured text, but not
// in strong text.
var sequences = [...]struct{ begin, end string }{
	Plain:   {},
	Strong:  {"\x1b[1m", "\x1b[22m"},
	Faint:   {"\x1b[2m", "\x1b[22m"},
	Good:    {"\x1b[32m", "\x1b[39m"},
	Warning: {"\x1b[33m", "\x1b[39m"},
	Bad:     {"\x1b[31m", "\x1b[39m"},
	Note:    {"\x1b[36m", "\x1b[39m"},
}

// Text escapes text, and gives it a style where the screen has colours.
func (s Screen) Text(style Style, text string) string { return s.paint(style, sanitize.Text(text)) }

// Lead is Text of a line of which only the word before its first colon has a
// style, as in "warning: …".
func (s Screen) Lead(style Style, line string) string {
	word, rest, found := strings.Cut(line, ":")
	if !found {
		return sanitize.Text(line)
	}
	return s.Text(style, word+":") + sanitize.Text(rest)
}

// paint gives escaped text a style.
func (s Screen) paint(style Style, escaped string) string {
	if !s.Colour || style == Plain || escaped == "" {
		return escaped
	}
	return sequences[style].begin + escaped + sequences[style].end
}
