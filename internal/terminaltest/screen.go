// Package terminaltest has pseudo terminals (open_linux.go), and what a person
// would see on them (screen.go). Only tests import it.
package terminaltest

import (
	"regexp"
	"strconv"
	"strings"
)

// Screen is what is seen of an output: an endless screen on which lines that are
// too long are continued below.
type Screen struct {
	columns int
	lines   [][]rune
	row, at int
	pending string // the beginning of a sequence or a character
}

// NewScreen returns an empty screen.
func NewScreen(columns int) *Screen { return &Screen{columns: columns, lines: [][]rune{nil}} }

// sequence matches what a program may write: cursor up, erase below or to the end
// of the line, and colours. Everything else is shown, where a test finds it.
var (
	sequence = regexp.MustCompile(`^\x1b\[(\d*)([AJKm])`)
	unended  = regexp.MustCompile(`^\x1b(\[\d*)?$`)
)

// Write implements io.Writer.
func (s *Screen) Write(p []byte) (int, error) {
	text := s.pending + string(p)
	s.pending = ""
	for text != "" {
		if m := sequence.FindStringSubmatch(text); m != nil {
			text = text[len(m[0]):]
			s.obey(m[2], m[1])
			continue
		}
		r := []rune(text[:min(len(text), 4)])[0]
		if unended.MatchString(text) || r == '\ufffd' && len(text) < 4 {
			s.pending = text
			break
		}
		text = text[len(string(r)):]
		s.put(r)
	}
	return len(p), nil
}

func (s *Screen) obey(command, number string) {
	n, _ := strconv.Atoi(number)
	switch command {
	case "A":
		s.row = max(s.row-max(n, 1), 0)
	case "J":
		s.lines = s.lines[:s.row+1]
		fallthrough
	case "K":
		s.lines[s.row] = s.lines[s.row][:min(s.at, len(s.lines[s.row]))]
	}
}

func (s *Screen) put(r rune) {
	switch {
	case r == '\r':
		s.at = 0
		return
	case r == '\n':
		s.down()
		return
	case s.at == s.columns:
		s.down()
		s.at = 0
	}
	line := s.lines[s.row]
	for len(line) <= s.at {
		line = append(line, ' ')
	}
	line[s.at] = r
	s.lines[s.row] = line
	s.at++
}

func (s *Screen) down() {
	if s.row++; s.row == len(s.lines) {
		s.lines = append(s.lines, nil)
	}
}

// String is what is on the screen, without spaces at the ends of lines and
// without empty lines at the end.
func (s *Screen) String() string {
	var b strings.Builder
	for _, line := range s.lines {
		b.WriteString(strings.TrimRight(string(line), " ") + "\n")
	}
	return strings.TrimRight(b.String(), "\n")
}
