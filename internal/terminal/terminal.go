// Package terminal finds out what the reader of an output can see, and prints
// for them: people at a terminal get colours and lines that fit, and a pipe or a
// file gets neither.
//
// Read the files in this order: terminal.go, what is known about an output;
// sequences_windows.go and sequences_other.go, whether it obeys escape
// sequences; style.go, colours; table.go, columns, and digests that are cut
// where a terminal is narrow.
//
// Text of strangers is escaped here, before any colour is added, so that the
// only sequences in an output are those of this package.
package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Screen is what is known about an output. The zero value is a pipe or a file.
type Screen struct {
	Width  int  // of a terminal, in cells; 0 for anything else
	Colour bool // escape sequences may be written
}

// Of returns what is known about an output now; a terminal may change its
// width. NO_COLOR and TERM=dumb turn colours off, and CLICOLOR_FORCE turns them
// on in a pipe (no-color.org, bixense.com/clicolors). The first of these wins.
func Of(out io.Writer) Screen {
	f, ok := out.(*os.File)
	if !ok {
		return Screen{}
	}
	width := widthOf(f)
	return Screen{Width: width, Colour: colours(os.Getenv, func() bool { return width > 0 && obeys(f) })}
}

// colours reads the variables of the environment; able reports whether the
// output is a terminal that obeys escape sequences.
func colours(env func(string) string, able func() bool) bool {
	switch force := env("CLICOLOR_FORCE"); {
	case env("NO_COLOR") != "" || env("TERM") == "dumb":
		return false
	case force != "" && force != "0":
		return true
	}
	return able()
}

// IsTerminal reports whether an output is a terminal. One without a width has no
// room for anything but lines.
func IsTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && widthOf(f) > 0
}

// Redraws reports whether lines that were written to an output can be replaced: it
// is a terminal, and not a dumb one.
func Redraws(out io.Writer) bool { return IsTerminal(out) && os.Getenv("TERM") != "dumb" }

// widthOf is the width of a terminal; 0 for anything else.
func widthOf(f *os.File) int {
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil {
		return 0
	}
	return max(width, 0)
}
