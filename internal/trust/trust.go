// Package trust judges whether root and the user of this process alone decide
// what a file says. Others must neither be able to write it, nor to put another
// one in its place in a directory on the way to it, symbolic links included,
// nor to make it where it is missing.
//
// A reader meets: [File], [Secret], [Dir] and [Way], the rules; [Open] and
// [ReadFile], which judge what they have opened.
//
// A way is walked from the root on, each directory before what is in it. What
// is found in a directory that others cannot change is what will be found there
// afterwards, so that others cannot use the time between look and use.
package trust

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Error is something on the way to a file that others decide about.
type Error struct {
	Path  string // what is wrong
	Wrong string // what is wrong with it
	Right string // the command that puts it right
}

// Error implements error.
func (e *Error) Error() string { return e.Path + ": " + e.Wrong + "; " + e.Right }

// rule is what a way must end in.
type rule struct {
	forbidden fs.FileMode // bits
	dir       bool
	sticky    bool // is an excuse for the last directory, too, and where something is missing
}

var (
	fileRule   = rule{forbidden: 0o022}
	secretRule = rule{forbidden: 0o066}
	dirRule    = rule{forbidden: 0o022, dir: true}
	wayRule    = rule{forbidden: 0o022, dir: true, sticky: true}
)

// File refuses a file that others decide about, with an [*Error]. A file that
// does not exist, and that others cannot make, is [fs.ErrNotExist].
func File(path string) error { return walk(path, fileRule) }

// Secret is [File] for files that nobody else may read either.
func Secret(path string) error { return walk(path, secretRule) }

// Dir is [File] for a directory in which files are looked for by name, or
// written. The sticky bit is no excuse there: others could make what is missing.
func Dir(path string) error { return walk(path, dirRule) }

// Way is [Dir] for a directory in which others may make what they like, where it
// has the sticky bit: whoever goes on in it judges each thing that is found
// there, and each directory that was made there.
func Way(path string) error { return walk(path, wayRule) }

// Open opens a file that passes [File].
func Open(path string) (*os.File, error) {
	if err := File(path); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := Opened(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Opened judges a file by its descriptor. Its name is not walked.
func Opened(file *os.File) error {
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if e := fileRule.last(file.Name(), info); e != nil {
		return e
	}
	return nil
}

// ErrNotOwn is the error about a file that is not this process's user's alone.
var ErrNotOwn = errors.New("it is no file, belongs to another user or can be written by others")

// OpenOwn is [os.OpenFile] for a file that nobody but this process's user has
// written: no link, nothing but a file, and the user's own. It is judged when it
// is open; the way to it is not.
func OpenOwn(path string, flag int, mode fs.FileMode) (*os.File, error) {
	file, err := os.OpenFile(path, flag|noFollow, mode)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && (!info.Mode().IsRegular() || !Own(info)) {
		err = ErrNotOwn
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// ReadFile reads a file that passes [File]. Of a larger one it returns one
// byte more than the most.
func ReadFile(path string, most int64) ([]byte, error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, most+1))
}

// walk goes the way to a file as the system does, component by component.
func walk(path string, r rule) error {
	if !filepath.IsAbs(path) {
		dir, err := os.Getwd()
		if err != nil {
			return err
		}
		path = dir + string(filepath.Separator) + path // not cleaned: a/link/.. is not a
	}
	at := filepath.VolumeName(path) + string(filepath.Separator)
	rest := append([]string{"."}, components(path)...)
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		info, err := os.Lstat(next)
		if errors.Is(err, fs.ErrNotExist) && !r.sticky {
			return missing(at, next, err)
		}
		if err != nil {
			return err
		}
		link := info.Mode()&fs.ModeSymlink != 0
		switch {
		case link:
			if links++; links > maxLinks {
				return &fs.PathError{Op: "follow", Path: path, Err: errors.New("too many symbolic links")}
			}
			if e := distrust(next, info, 0); e != nil {
				return e
			}
			if at, rest, err = follow(at, next, rest); err != nil {
				return err
			}
		case len(rest) == 0:
			if e := r.last(next, info); e != nil {
				return e
			}
		case info.IsDir():
			if e := distrust(next, info, forbiddenOnTheWay(info)); e != nil {
				return e
			}
			at = next
		default:
			return &Error{next, "is not a directory", "name one"}
		}
	}
	return nil
}

// last judges what a way ends in.
func (r rule) last(path string, info fs.FileInfo) *Error {
	forbidden := r.forbidden
	if info.IsDir() && (!r.dir || r.sticky) {
		forbidden = forbiddenOnTheWay(info)
	}
	if e := distrust(path, info, forbidden); e != nil {
		return e
	}
	switch {
	case r.dir && !info.IsDir():
		return &Error{path, "is not a directory", "name one"}
	case !r.dir && !info.Mode().IsRegular():
		return &Error{path, "is not a regular file", "name a file"}
	}
	return nil
}

// forbiddenOnTheWay are the bits that a directory must not have. Of one with
// the sticky bit nobody takes out what is not theirs.
func forbiddenOnTheWay(dir fs.FileInfo) fs.FileMode {
	if dir.Mode()&fs.ModeSticky != 0 {
		return 0
	}
	return 0o022
}

// missing is the error about a name that is not in a directory, unless others
// could make it at any time: of one with the sticky bit they can.
func missing(dir, path string, err error) error {
	info, statErr := os.Lstat(dir)
	if statErr != nil {
		return statErr
	}
	if e := distrust(dir, info, 0o022); e != nil {
		e.Wrong += ", so that others could make " + filepath.Base(path) + " in it"
		return e
	}
	return err
}

// maxLinks bounds the symbolic links on the way to a file, as Linux does.
const maxLinks = 40

// follow returns where a link in a directory leads, and what is left to go.
func follow(dir, link string, rest []string) (string, []string, error) {
	target, err := os.Readlink(link)
	if err != nil {
		return "", nil, err
	}
	if filepath.IsAbs(target) {
		dir = filepath.VolumeName(target) + string(filepath.Separator)
	}
	return dir, append(components(target), rest...), nil
}

// components are the steps of a path after its root; some may be "..".
func components(path string) []string {
	return strings.FieldsFunc(path[len(filepath.VolumeName(path)):], func(r rune) bool {
		return r < utf8.RuneSelf && os.IsPathSeparator(uint8(r))
	})
}

// Shown is a path as a word of a shell's command.
func Shown(path string) string {
	plain := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("/._-+:@%,", r)
	}
	if strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
