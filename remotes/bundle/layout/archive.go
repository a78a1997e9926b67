package layout

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/bundle"
)

// Archive is a layout in a tar file. The layout is collected in a directory
// beside the file that nobody else can write.
type Archive struct {
	*Layout
	file     string
	partSize int64    // 0: it is one file
	parent   *os.Root // where it is
}

// partial is the suffix of that directory's name. It is always the same, so
// that an interrupted pull can be resumed.
const partial = ".partial"

var (
	_ bundle.Target    = (*Archive)(nil)
	_ bundle.Verifier  = (*Archive)(nil)
	_ bundle.Collector = (*Archive)(nil)
)

// CreateArchive begins an archive. A file of that name stays until the archive
// is finished.
func CreateArchive(file string) (*Archive, error) {
	a := newArchive(file)
	if err := a.open(); err != nil {
		return nil, err
	}
	return a, nil
}

// CreateParts begins an archive in parts of a size in bytes: file.001, file.002
// and so on, and file.SHA256SUMS with their checksums.
func CreateParts(file string, size int64) (*Archive, error) {
	if _, err := os.Lstat(file); err == nil {
		return nil, usage.Errorf("%s is there, and would be read in place of its parts; remove it, or name another", file)
	}
	if size < 1 {
		return nil, usage.Errorf("parts of %d bytes: must be at least 1", size)
	}
	a := newArchive(file)
	a.partSize = size
	if err := a.open(); err != nil {
		return nil, err
	}
	return a, nil
}

func newArchive(file string) *Archive {
	l := newLayout(file + partial)
	l.label = "oci-archive:" + file
	a := &Archive{Layout: l, file: file}
	l.enter, l.has = a.enter, l.hasBrought // an interrupted pull may have left blobs of other bundles
	return a
}

func (a *Archive) enter() (*os.Root, error) {
	// Anything but a file, such as /dev/stdout, would be replaced.
	if info, err := os.Stat(a.file); a.file == "-" || err == nil && !info.Mode().IsRegular() {
		return nil, usage.Errorf("oci-archive:%s is not a regular file, which an archive has to be; name another", a.file)
	}
	dir := filepath.Dir(a.file)
	err := os.MkdirAll(dir, 0o755)
	if err == nil {
		a.parent, err = openDir(dir)
	}
	if err != nil {
		return nil, err
	}
	root, err := openPrivate(a.parent, filepath.Base(a.dir))
	if err != nil {
		return nil, errors.Join(err, a.parent.Close())
	}
	return root, nil
}

// Close releases the archive.
func (a *Archive) Close() error { return errors.Join(a.Layout.Close(), a.parent.Close()) }

// Finish implements [bundle.Target]: it writes the file.
func (a *Archive) Finish(ctx context.Context, b *bundle.Bundle, walked *bundle.Walked, name string) error {
	return a.FinishAll(ctx, []bundle.Pulled{{Bundle: b, Walked: walked, Name: name}})
}

// FinishAll implements [bundle.Collector].
func (a *Archive) FinishAll(ctx context.Context, all []bundle.Pulled) error {
	// An earlier pull that stopped at its end may have left its names.
	err := a.before("remove", filepath.Join(a.dir, ocispec.ImageIndexFile))
	if err == nil {
		err = errors.Join(a.root.Remove(ocispec.ImageIndexFile), a.root.RemoveAll(deltaFile))
	}
	if err == nil {
		err = a.Layout.FinishAll(ctx, all)
	}
	if err == nil && a.partSize > 0 {
		err = a.checkParts()
	}
	if err == nil {
		err = a.commit()
	}
	if err == nil {
		err = a.before("remove", a.dir)
	}
	if err == nil {
		err = a.remove()
	}
	return located(a.dir, err)
}

// commit writes the layout to the file, or to its parts.
func (a *Archive) commit() error {
	if a.partSize > 0 {
		return a.commitParts()
	}
	return a.into(filepath.Base(a.file), a.pack)
}

// into writes a file beside the directory, completely or not at all.
func (a *Archive) into(name string, write func(io.Writer) error) error {
	p := a.arrival("", 0o600)
	p.into, p.fill = filepath.Join(filepath.Dir(a.file), name), a.synced(write)
	p.rename = func(from string) error { return a.parent.Rename(filepath.Join(filepath.Base(a.dir), from), name) }
	p.arrived = func() (fs.FileInfo, error) { return a.parent.Lstat(name) }
	return p.put()
}

// remove removes the directory in which the layout was collected: the directory
// that is open, and not another one that has its name now.
func (a *Archive) remove() error {
	names, err := fs.ReadDir(a.root.FS(), ".")
	for _, e := range names {
		err = errors.Join(err, a.root.RemoveAll(e.Name()))
	}
	if lockInside {
		err = errors.Join(err, a.unlock())
	}
	return errors.Join(err, a.parent.Remove(filepath.Base(a.dir)))
}

// pack writes the layout as a tar file, deterministically.
func (a *Archive) pack(out io.Writer) error {
	names := []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile}
	if _, err := a.root.Lstat(deltaFile); err == nil {
		names = append(names, deltaFile)
	}
	described := len(names)
	for d := range a.brought {
		names = append(names, blobFile(d))
	}
	slices.Sort(names[described:])
	w := tar.NewWriter(out)
	for _, name := range slices.Compact(names) {
		if err := addFile(w, a.root, name); err != nil {
			return err
		}
	}
	return w.Close()
}

func addFile(w *tar.Writer, dir *os.Root, name string) error {
	file, info, err := openRegular(dir, name)
	if err != nil {
		return err
	}
	defer file.Close()
	header := &tar.Header{Name: name, Mode: 0o644, Size: info.Size(), Format: tar.FormatPAX}
	if err = w.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return err
}
