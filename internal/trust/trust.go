// Package trust judges whether only root and the user of this process decide
// what a file contains. Others must not be able to write it, to replace it in a
// directory on the way to it, symbolic links included, or to create it where it
// is missing.
//
// The rules are [File], [Secret], [Dir] and [Way]; [Open] and [ReadFile] judge
// the file that they have opened. Its users are packages config (the files that
// configurations name) and node (the files that installations write).
//
// A path is walked from the root, each directory before its contents. What is
// found in a directory that others cannot change will still be there later, so
// that there is no time between check and use that others could exploit.
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

// Error says that others decide about something on the way to a file.
type Error struct {
	Path  string // the path that is not trusted
	Wrong string // why
	Fix   string // the command that fixes it
}

// Error implements error.
func (e *Error) Error() string { return e.Path + ": " + e.Wrong + "; " + e.Fix }

// rule is what the last component of a path has to satisfy.
type rule struct {
	forbidden fs.FileMode // bits
	given     fs.FileMode // bits that are allowed where root gives the file to this process's user
	dir       bool
	sticky    bool // the sticky bit excuses write permission, also where something is missing
}

var (
	fileRule   = rule{forbidden: 0o022}
	secretRule = rule{forbidden: 0o066}
	givenRule  = rule{forbidden: 0o066, given: 0o040}
	dirRule    = rule{forbidden: 0o022, dir: true}
	wayRule    = rule{forbidden: 0o022, dir: true, sticky: true}
)

// File refuses a file that others decide about, with an [*Error]. A file that
// does not exist, and that others cannot create, is [fs.ErrNotExist].
func File(path string) error { return walk(path, fileRule) }

// Secret is [File] for files that others may not read, either.
func Secret(path string) error { return walk(path, secretRule) }

// ServiceSecret is [Secret] for a service with a user of its own: the group of a
// file that is another's, so root's, may read it, as the service could not
// otherwise. systemd (LoadCredential) gives a file with an access list, whose
// mask the group's bits are, and Kubernetes (fsGroup) gives one by the group.
func ServiceSecret(path string) error { return walk(path, givenRule) }

// Dir is [File] for a directory in which files are looked up by name, or
// written. The sticky bit does not excuse write permission there: others could
// create what is missing.
func Dir(path string) error { return walk(path, dirRule) }

// Way is [Dir] for a directory in which others may create files, if it has the
// sticky bit: the caller then checks everything that it finds or creates there.
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

// Opened judges a file by its descriptor. The path to it is not checked.
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

// ErrNotOwn is the error about a file that does not belong to this process's
// user alone.
var ErrNotOwn = errors.New("it is not a regular file, belongs to another user, or can be written by others")

// OpenOwn is [os.OpenFile] for a file that only this process's user can have
// written: a regular file, no link, owned by the user. It is checked after
// opening; the path to it is not.
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

// ReadFile reads a file that passes [File]. From a larger file it returns one
// byte more than most.
func ReadFile(path string, most int64) ([]byte, error) {
	file, err := Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, most+1))
}

// walk resolves a path as the system does, component by component.
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

// last judges the last component of a path.
func (r rule) last(path string, info fs.FileInfo) *Error {
	forbidden := r.forbidden
	switch {
	case info.IsDir() && (!r.dir || r.sticky):
		forbidden = forbiddenOnTheWay(info)
	case !Owned(info):
		forbidden &^= r.given
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

// forbiddenOnTheWay are the mode bits that a directory on the way must not
// have. The sticky bit protects the entries of others.
func forbiddenOnTheWay(dir fs.FileInfo) fs.FileMode {
	if dir.Mode()&fs.ModeSticky != 0 {
		return 0
	}
	return 0o022
}

// missing is the error about a missing name, unless others could create it at
// any time. The sticky bit does not prevent that.
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

// follow returns where a link in a directory leads, and the components that
// remain.
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

// components are those of a path after its root; some may be "..".
func components(path string) []string {
	return strings.FieldsFunc(path[len(filepath.VolumeName(path)):], func(r rune) bool {
		return r < utf8.RuneSelf && os.IsPathSeparator(uint8(r))
	})
}

// Shown is a path as a word of a shell command.
func Shown(path string) string {
	plain := func(r rune) bool {
		return r < utf8.RuneSelf && (unicode.IsLetter(r) || unicode.IsDigit(r)) || strings.ContainsRune("/._-+:@%,", r)
	}
	if strings.IndexFunc(path, func(r rune) bool { return !plain(r) }) < 0 {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
