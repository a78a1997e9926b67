package layout

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle"
)

// openArchive opens an archive with random access. A pipe is copied to its end
// first, into a file without a name; "-" is standard input.
func openArchive(ctx context.Context, name string, verify bool) (archiveFile, error) {
	if base, ok := partsOf(name); ok && name != "-" {
		return openParts(ctx, base, verify)
	}
	file := os.Stdin
	if name != "-" {
		var err error
		if file, err = os.OpenFile(name, os.O_RDONLY|openNonblock, 0); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", name, errdefs.ErrNotFound)
		} else if err != nil {
			return nil, err
		}
	}
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case info.Mode().IsRegular():
		_, err = file.Seek(0, io.SeekStart)
		return file, err
	case info.IsDir():
		return nil, errors.Join(usage.Errorf("%s is a directory; name it as oci-layout:%s", name, name), file.Close())
	case file == os.Stdin:
		return gather(ctx, func() (io.ReadCloser, error) { return file, nil })
	case info.Mode()&fs.ModeNamedPipe != 0:
		defer context.AfterFunc(ctx, func() { _ = file.Close() })() // so that nobody goes on to wait for a writer
		return gather(ctx, func() (io.ReadCloser, error) { return connected(file) })
	}
	if err = file.Close(); err != nil {
		return nil, err
	}
	return gather(ctx, func() (io.ReadCloser, error) { return os.Open(name) }) // which waits for what it reads
}

// gather copies what is read to a file without a name, which disappears when it
// is closed.
func gather(ctx context.Context, open func() (io.ReadCloser, error)) (*os.File, error) {
	file, err := os.CreateTemp("", "nestctl-archive-")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(file.Name()) // where a file that is open can be removed
	done := make(chan error, 1)
	go func() {
		in, failed := open()
		if failed == nil {
			_, failed = io.Copy(file, in)
			failed = errors.Join(failed, in.Close())
		}
		done <- failed
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil && ctx.Err() != nil { // whose end may have closed what was read
		err = context.Cause(ctx)
	}
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// tarFiles are the files of an archive, by their names, and its links.
type tarFiles struct {
	files map[string]tarredFile
	links map[string]string // to other names in it
}

type tarredFile struct{ offset, size int64 }

// maxTarred bounds the entries of an archive: as many as a bundle may have
// parts, each with a directory, and as many again.
const maxTarred = 4 * bundle.MaxNodes

// readTar finds the files in an archive.
func readTar(file archiveFile) (*tarFiles, error) {
	if err := checkCompressed(file); err != nil {
		return nil, err
	}
	t := &tarFiles{map[string]tarredFile{}, map[string]string{}}
	r := tar.NewReader(file)
	for range maxTarred {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return t, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not a tar file, or one that is cut off: %w", err)
		}
		offset, err := file.Seek(0, io.SeekCurrent)
		if err == nil {
			err = t.add(header, offset)
		}
		if err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("more than %d entries", maxTarred)
}

// compressions are the first bytes of compressed files, and the programs that
// read them.
var compressions = map[string]string{"\x1f\x8b": "gzip -dc", "\x28\xb5\x2f\xfd": "zstd -dc", "BZh": "bzip2 -dc", "\xfd7zXZ": "xz -dc"}

func checkCompressed(file archiveFile) error {
	start := make([]byte, 6)
	n, err := file.ReadAt(start, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	for magic, program := range compressions {
		if bytes.HasPrefix(start[:n], []byte(magic)) {
			return fmt.Errorf("it is compressed; unpack it on the way: %s FILE | nestctl copy oci-archive:- DST", program)
		}
	}
	if n == 0 {
		return errors.New("it is empty")
	}
	return nil
}

// add records an entry. When several have one name the last counts, as when an
// archive is unpacked. But readers differ, so that the files which describe the
// archive must be in it only once.
func (t *tarFiles) add(header *tar.Header, offset int64) error {
	name := path.Clean(header.Name)
	_, file := t.files[name]
	_, link := t.links[name]
	if once := name == ocispec.ImageIndexFile || name == ocispec.ImageLayoutFile || name == deltaFile; once && (file || link) {
		return fmt.Errorf("%s is in it twice", name)
	}
	delete(t.files, name)
	delete(t.links, name)
	switch header.Typeflag {
	case tar.TypeReg:
		for key := range header.PAXRecords {
			if strings.HasPrefix(key, "GNU.sparse.") {
				return sparseError(name)
			}
		}
		t.files[name] = tarredFile{offset, header.Size}
	case tar.TypeGNUSparse:
		return sparseError(name)
	case tar.TypeLink:
		return t.link(name, header.Linkname)
	case tar.TypeSymlink:
		if path.IsAbs(header.Linkname) {
			return t.link(name, header.Linkname)
		}
		return t.link(name, path.Join(path.Dir(name), header.Linkname))
	}
	return nil
}

func sparseError(name string) error {
	return fmt.Errorf("%s is stored with holes; make the archive without --sparse", name)
}

func (t *tarFiles) link(name, to string) error {
	if to = path.Clean(to); path.IsAbs(to) || to == ".." || strings.HasPrefix(to, "../") {
		return fmt.Errorf("%s is a link that leads out of the archive", name)
	}
	t.links[name] = to
	return nil
}

// maxLinks bounds the links on the way to a file: as many as Linux follows.
const maxLinks = 40

// find finds a file, through links.
func (t *tarFiles) find(name string) (tarredFile, error) {
	for range maxLinks {
		if f, ok := t.files[name]; ok {
			return f, nil
		}
		next, ok := t.step(name)
		if !ok {
			return tarredFile{}, fmt.Errorf("%s: %w", name, errdefs.ErrNotFound)
		}
		name = next
	}
	return tarredFile{}, fmt.Errorf("%s: too many links", name)
}

// step replaces the first link in a name, to the file or to a directory.
func (t *tarFiles) step(name string) (string, bool) {
	for at := len(name); at > 0; at = strings.LastIndexByte(name[:at], '/') {
		if to, ok := t.links[name[:at]]; ok {
			return path.Join(to, name[at:]), true
		}
	}
	return "", false
}
