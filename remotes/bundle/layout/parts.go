package layout

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/remotes/auth"
)

// An archive in parts is FILE.001, FILE.002 and so on: all of one size but for
// the last. Joined they are the archive, so that cat FILE.0* makes it, and
// FILE.SHA256SUMS has their checksums as sha256sum writes them. A part of
// another run has another checksum.
const (
	sumsSuffix = ".SHA256SUMS"
	maxParts   = 999 // so that names of three digits sort
	maxSums    = 1 << 20
)

func partName(base string, n int) string { return fmt.Sprintf("%s.%03d", base, n) }

var (
	partSuffix = regexp.MustCompile(`\.[0-9]{3}$`)
	sumsLine   = regexp.MustCompile(`^([0-9a-f]{64}) [ *](.+)$`)
)

// partsOf returns what the parts of an archive are called after. It may be named
// so, when there is no such file, or by any part, or by its checksums.
func partsOf(name string) (base string, ok bool) {
	beside := func(suffixes ...string) bool {
		return slices.ContainsFunc(suffixes, func(suffix string) bool {
			_, err := os.Lstat(base + suffix)
			return err == nil
		})
	}
	if base, ok = strings.CutSuffix(name, sumsSuffix); ok {
		return base, beside(sumsSuffix)
	}
	if loc := partSuffix.FindStringIndex(name); loc != nil {
		if base = name[:loc[0]]; beside(sumsSuffix, ".002") {
			return base, true
		}
	}
	base = name
	return base, !beside("") && beside(sumsSuffix, ".001")
}

// archiveFile is an archive with random access.
type archiveFile interface {
	io.ReaderAt
	io.ReadSeeker
	io.Closer
}

// parts are the open parts of an archive.
type parts struct {
	base  string // of their names, without the directory
	files []*os.File
	sums  []string
	sizes []int64
}

// joined are parts as one file.
type joined struct {
	*io.SectionReader
	io.Closer
}

// openParts opens an archive in parts. With verify all parts are read first, so
// that nothing is done with an archive that has a wrong one.
func openParts(ctx context.Context, base string, verify bool) (archiveFile, error) {
	dir, err := os.OpenRoot(filepath.Dir(base))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	p := &parts{base: filepath.Base(base)}
	err = p.open(dir)
	if err == nil && verify {
		err = p.verify(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", base, err), p.Close())
	}
	var total int64
	for _, size := range p.sizes {
		total += size
	}
	return joined{io.NewSectionReader(p, 0, total), p}, nil
}

// Close closes all parts.
func (p *parts) Close() (err error) {
	for _, file := range p.files {
		err = errors.Join(err, file.Close())
	}
	return err
}

// ReadAt implements io.ReaderAt for the parts as one file.
func (p *parts) ReadAt(b []byte, off int64) (n int, err error) {
	for n < len(b) {
		at := (off + int64(n)) / p.sizes[0]
		if at >= int64(len(p.files)) {
			return n, io.EOF
		}
		read, err := p.files[at].ReadAt(b[n:min(int64(len(b)), int64(n)+p.sizes[at])], (off+int64(n))%p.sizes[0])
		if n += read; err != nil && (!errors.Is(err, io.EOF) || read == 0) {
			return n, err
		}
	}
	return n, nil
}

// open opens the parts that the checksums name, and nothing but files.
func (p *parts) open(dir *os.Root) error {
	data, err := readPartFile(dir, p.base+sumsSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return auth.Classed(errdefs.ErrNotFound, "%s is missing, which has the checksums of its parts; bring it and all of them into one directory", p.base+sumsSuffix)
	}
	if err == nil {
		p.sums, err = parseSums(data, p.base)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", p.base+sumsSuffix, err)
	}
	var missing []string
	for i := range p.sums {
		file, info, failed := openPart(dir, partName(p.base, i+1))
		if errors.Is(failed, fs.ErrNotExist) {
			missing = append(missing, partName(p.base, i+1))
			continue
		}
		if failed != nil {
			return failed
		}
		p.files, p.sizes = append(p.files, file), append(p.sizes, info.Size())
	}
	if len(missing) > 0 {
		return auth.Classed(errdefs.ErrNotFound, "of its %s these are missing: %s; bring all of them into one directory", amount.Count(len(p.sums), "part"), strings.Join(missing, ", "))
	}
	others, err := partsAfter(len(p.sums), dir, p.base)
	if err != nil {
		return err
	}
	if len(others) > 0 {
		return fmt.Errorf("it has %s, and these do not belong to it, but to another run: %s; remove them", amount.Count(len(p.sums), "part"), strings.Join(others, ", "))
	}
	return p.checkSizes()
}

// partsAfter are files with the names of further parts than there are, of an
// earlier run: cat FILE.0* would take them for parts. There may be a gap before
// them, where their removal was interrupted, or a part not brought along.
func partsAfter(last int, dir *os.Root, base string) (names []string, err error) {
	all, err := fs.ReadDir(dir.FS(), ".")
	for _, entry := range all {
		name := entry.Name()
		if loc := partSuffix.FindStringIndex(name); loc != nil && name[:loc[0]] == base && name > partName(base, last) {
			names = append(names, name)
		}
	}
	return names, err
}

// openPart opens a file, which must not be a link: whoever brought the parts may
// have made it one to any file of the user's.
func openPart(dir *os.Root, name string) (*os.File, fs.FileInfo, error) {
	named, err := dir.Lstat(name)
	if err == nil && !named.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file, which a part has to be", name)
	}
	if err != nil {
		return nil, nil, err
	}
	file, info, err := openRegular(dir, name)
	if err == nil && !os.SameFile(named, info) {
		err = errors.Join(fmt.Errorf("%s has been replaced", name), file.Close())
	}
	return file, info, err
}

func readPartFile(dir *os.Root, name string) ([]byte, error) {
	file, info, err := openPart(dir, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info.Size() > maxSums {
		return nil, fmt.Errorf("%d bytes are more than such a file may have", info.Size())
	}
	return io.ReadAll(io.LimitReader(file, maxSums))
}

// parseSums reads the checksums of the parts of an archive, which it names each
// once, in any order.
func parseSums(data []byte, base string) ([]string, error) {
	named := map[string]string{}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		m := sumsLine.FindStringSubmatch(strings.TrimSuffix(lines.Text(), "\r"))
		if m == nil {
			return nil, fmt.Errorf("%.80q is not a checksum and a name", lines.Text())
		}
		if _, twice := named[m[2]]; twice {
			return nil, fmt.Errorf("%.80q is in it twice", m[2])
		}
		if len(named) == maxParts {
			return nil, fmt.Errorf("it has more than %d parts", maxParts)
		}
		named[m[2]] = m[1]
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(named) == 0 {
		return nil, errors.New("it names no part")
	}
	sums := make([]string, len(named))
	for i := range sums {
		name := partName(base, i+1)
		sum, ok := named[name]
		if !ok {
			return nil, fmt.Errorf("it has %s, and %s is not among them", amount.Count(len(named), "part"), name)
		}
		sums[i] = sum
	}
	return sums, nil
}

// checkSizes finds parts that were cut short, before all of them are read.
func (p *parts) checkSizes() error {
	last := len(p.sizes) - 1
	full := slices.Max(p.sizes[:max(last, 1)])
	for i, size := range p.sizes {
		if i < last && size != full || size > full || size == 0 {
			return fmt.Errorf("%s has %d bytes, and the others %d: it was cut short, or it is of another run; copy it again", partName(p.base, i+1), size, full)
		}
	}
	return nil
}

// verify compares the parts with their checksums.
func (p *parts) verify(ctx context.Context) error {
	for i, file := range p.files {
		hash := sha256.New()
		if _, err := io.Copy(hash, whileIn{ctx, io.NewSectionReader(file, 0, p.sizes[i])}); err != nil {
			return err
		}
		sum, name := hex.EncodeToString(hash.Sum(nil)), partName(p.base, i+1)
		if other := slices.Index(p.sums, sum); sum != p.sums[i] && other >= 0 {
			return fmt.Errorf("%s is a copy of %s; copy it again", name, partName(p.base, other+1))
		}
		if sum != p.sums[i] {
			return fmt.Errorf("%s does not match its checksum in %s: it was changed, or it is of another run; copy it again", name, p.base+sumsSuffix)
		}
	}
	return nil
}

// whileIn reads as long as a context lasts.
type whileIn struct {
	ctx context.Context
	io.Reader
}

func (r whileIn) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}
