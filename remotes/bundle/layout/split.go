package layout

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/usage"
)

// splitter writes an archive into parts, as new files in the archive's own
// directory.
type splitter struct {
	*Archive
	written []writtenPart
	file    *os.File // the part that is being written
	sum     hash.Hash
	left    int64 // bytes until it is full
}

// writtenPart is a part that is complete, but for its name.
type writtenPart struct {
	name string // in the archive's directory
	info fs.FileInfo
	sum  string
}

// Write implements io.Writer.
func (s *splitter) Write(p []byte) (n int, err error) {
	for n < len(p) {
		if s.left == 0 {
			if err = s.next(); err != nil {
				return n, err
			}
		}
		wrote, err := hookedFile{s.file, s.before}.Write(p[n : n+int(min(int64(len(p)-n), s.left))])
		s.sum.Write(p[n : n+wrote])
		n, s.left = n+wrote, s.left-int64(wrote)
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// next completes a part, and begins another one.
func (s *splitter) next() error {
	if err := s.end(); err != nil {
		return err
	}
	if len(s.written) == maxParts {
		return tooManyParts(s.partSize)
	}
	name := fmt.Sprintf("%spart.%03d", newFile, len(s.written)+1)
	err := s.before("create", filepath.Join(s.dir, name))
	if err == nil {
		s.file, err = s.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	}
	s.sum, s.left = sha256.New(), s.partSize
	return err
}

func tooManyParts(size int64) error {
	return usage.Errorf("parts of %s would be more than %d; make them larger", amount.Bytes(size), maxParts)
}

// end completes the part that is being written.
func (s *splitter) end() error {
	if s.file == nil {
		return nil
	}
	err := s.synced(func(io.Writer) error { return nil })(s.file)
	info, statErr := s.file.Stat()
	name := fmt.Sprintf("%spart.%03d", newFile, len(s.written)+1)
	s.written = append(s.written, writtenPart{name, info, hex.EncodeToString(s.sum.Sum(nil))})
	err = errors.Join(err, statErr, s.file.Close())
	s.file = nil
	return err
}

// commitParts writes the layout into parts beside each other. Their checksums
// come last: without them nothing is read. What an earlier run has left under
// these names is replaced, its checksums first.
func (a *Archive) commitParts() (err error) {
	s := &splitter{Archive: a}
	if err = a.pack(s); err == nil {
		err = s.end()
	}
	if err != nil {
		if s.file != nil {
			_ = s.file.Close()
		}
		return errors.Join(err, removeNew(a.root))
	}
	base := filepath.Base(a.file)
	err = a.before("remove", a.file+sumsSuffix)
	if err == nil {
		err = absentIsFine(a.parent.Remove(base + sumsSuffix))
	}
	var sums strings.Builder
	for i, part := range s.written {
		if err == nil {
			err = a.place(part, partName(base, i+1))
		}
		fmt.Fprintf(&sums, "%s  %s\n", part.sum, partName(base, i+1))
	}
	var earlier []string
	if err == nil {
		earlier, err = partsAfter(len(s.written), a.parent, base)
	}
	for _, name := range earlier {
		err = errors.Join(err, a.parent.Remove(name))
	}
	if err != nil {
		return err
	}
	return a.into(base+sumsSuffix, func(out io.Writer) error {
		_, err := io.WriteString(out, sums.String())
		return err
	})
}

// place gives a part its name.
func (a *Archive) place(part writtenPart, name string) error {
	shown := filepath.Join(filepath.Dir(a.file), name)
	err := a.before("rename", shown)
	if err == nil {
		err = a.parent.Rename(filepath.Join(filepath.Base(a.dir), part.name), name)
	}
	if err != nil {
		return err
	}
	there, err := a.parent.Lstat(name)
	if err == nil && !os.SameFile(part.info, there) {
		err = fmt.Errorf("%s is not what was written; another user can write there", shown)
	}
	return err
}

func absentIsFine(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// checkParts finds parts that would be too many before any is written.
func (a *Archive) checkParts() error {
	var size int64
	for d := range a.brought {
		info, err := a.root.Lstat(blobFile(d))
		if err != nil {
			return err
		}
		size += info.Size()
	}
	if size/a.partSize >= maxParts {
		return tooManyParts(a.partSize)
	}
	return nil
}
