package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/containerd/errdefs"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	File         string // empty for a [Config] that was not read from a file
	Line, Column int    // from 1, in bytes; 0 for the whole file
	Key          string // such as gateway.mode; may be empty
	Wrong        string // what is wrong
	Fix          string // what would be right

	element int // of the key's list, from 1; 0 is the value itself
}

// String returns the problem as one line.
func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where += fmt.Sprintf(":%d:%d", p.Line, p.Column)
	}
	if where != "" {
		where += ": "
	}
	return where + p.Wrong + "; " + p.Fix
}

// Error is everything that is wrong with a configuration, in the order of the
// file. Its class is [errdefs.ErrInvalidArgument].
type Error struct {
	Problems []Problem // the first hundred that were found
	More     int       // problems after these
}

// Error implements error.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	if e.More > 0 {
		lines = append(lines, e.Rest())
	}
	return strings.Join(lines, "; ")
}

// Rest says how many more problems there are.
func (e *Error) Rest() string { return fmt.Sprintf("and %d more", e.More) }

// Unwrap returns the class.
func (e *Error) Unwrap() error { return errdefs.ErrInvalidArgument }

// maxProblems are more than anybody fixes before checking again. A file of 1
// MiB may have 300,000.
const maxProblems = 100

// problems are what was found so far.
type problems struct {
	first []Problem
	more  int
}

func (p *problems) add(found Problem) {
	if p.full() {
		p.more++
		return
	}
	p.first = append(p.first, found)
}

// full reports whether further problems are only counted, so that they need not
// be examined.
func (p *problems) full() bool { return len(p.first) == maxProblems }

func (p *problems) addAll(found problems) {
	for _, one := range found.first {
		p.add(one)
	}
	p.more += found.more
}

// err sorts the problems by position, and returns nil when there are none.
func (p *problems) err() error {
	if len(p.first) == 0 {
		return nil
	}
	slices.SortStableFunc(p.first, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{p.first, p.more}
}

// maxQuoted is how much of a foreign string an error shows: enough to find it.
const maxQuoted = 64

// quote shows a string from a file, escaped and cut.
func quote(s string) string {
	if len(s) <= maxQuoted {
		return strconv.Quote(s)
	}
	end := maxQuoted
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return strconv.Quote(s[:end]) + "…"
}
