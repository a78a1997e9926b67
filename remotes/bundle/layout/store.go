package layout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
)

// store is a layout's directory as a content store, as far as a pull needs one.
// containerd's own store resolves names by their paths, and follows links
// there. Blobs are collected in files ingest/*/data until they verify, so that
// an interrupted pull resumes.
type store struct {
	dir *os.Root
	at  string // its name
}

var _ content.Store = (*store)(nil)

const ingestDir = "ingest"

// ingestOf is where the content for a reference is collected.
func ingestOf(ref string) string {
	sum := sha256.Sum256([]byte(ref))
	return path.Join(ingestDir, hex.EncodeToString(sum[:]))
}

func ingestFile(ref string) string { return path.Join(ingestOf(ref), "data") }

// classed gives errors of the file system their class.
func classed(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", err, errdefs.ErrNotFound)
	}
	return err
}

// storedBlob is an open blob.
type storedBlob struct {
	*os.File
	size int64
}

// Size implements content.ReaderAt.
func (b storedBlob) Size() int64 { return b.size }

// ReaderAt implements content.Provider.
func (s *store) ReaderAt(_ context.Context, desc ocispec.Descriptor) (content.ReaderAt, error) {
	if err := oci.CheckStorable(desc); err != nil {
		return nil, err
	}
	file, info, err := openRegular(s.dir, blobFile(desc.Digest))
	if err != nil {
		return nil, classed(err)
	}
	return storedBlob{file, info.Size()}, nil
}

// Info implements content.InfoProvider.
func (s *store) Info(ctx context.Context, d digest.Digest) (content.Info, error) {
	r, err := s.ReaderAt(ctx, ocispec.Descriptor{Digest: d})
	if err != nil {
		return content.Info{}, err
	}
	return content.Info{Digest: d, Size: r.Size()}, r.Close()
}

// Delete implements content.Manager.
func (s *store) Delete(_ context.Context, d digest.Digest) error {
	if err := d.Validate(); err != nil {
		return err
	}
	return classed(s.dir.Remove(blobFile(d)))
}

// Update implements content.Manager. A layout has no labels.
func (s *store) Update(context.Context, content.Info, ...string) (content.Info, error) {
	return content.Info{}, errdefs.ErrNotImplemented
}

// Walk implements content.Manager.
func (s *store) Walk(context.Context, content.WalkFunc, ...string) error {
	return errdefs.ErrNotImplemented
}

// ListStatuses implements content.IngestManager.
func (s *store) ListStatuses(context.Context, ...string) ([]content.Status, error) {
	return nil, errdefs.ErrNotImplemented
}

// Status implements content.IngestManager.
func (s *store) Status(_ context.Context, ref string) (content.Status, error) {
	info, err := s.dir.Lstat(ingestFile(ref))
	if err != nil {
		return content.Status{}, classed(err)
	}
	return content.Status{Ref: ref, Offset: info.Size(), UpdatedAt: info.ModTime()}, nil
}

// Abort implements content.IngestManager.
func (s *store) Abort(_ context.Context, ref string) error {
	return s.dir.RemoveAll(ingestOf(ref))
}

// Writer implements content.Ingester. One reference has one writer at a time:
// the layout is locked, and a walk fetches content once.
func (s *store) Writer(_ context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if err := oci.CheckStorable(o.Desc); err != nil {
		return nil, err
	}
	if _, err := s.dir.Lstat(blobFile(o.Desc.Digest)); err == nil {
		return nil, existsAlready(o.Desc.Digest)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	w := &ingestWriter{dir: s.dir, at: s.at, ref: o.Ref, desc: o.Desc, began: time.Now(), digester: digest.Canonical.Digester()}
	file, err := w.open()
	if err != nil {
		return nil, located(s.at, err)
	}
	w.file = file
	if w.offset, err = io.Copy(w.digester.Hash(), file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return w, nil
}

// ingestWriter collects a blob in a file.
type ingestWriter struct {
	dir      *os.Root
	at       string
	ref      string
	desc     ocispec.Descriptor
	began    time.Time
	file     *os.File
	digester digest.Digester
	offset   int64
}

// open opens what an earlier run has collected, or begins. A file of another
// user is neither written to nor resumed.
func (w *ingestWriter) open() (*os.File, error) {
	name := ingestFile(w.ref)
	file, err := w.dir.OpenFile(name, os.O_RDWR|openNonblock, 0)
	if err == nil {
		opened, statErr := file.Stat()
		named, lstatErr := w.dir.Lstat(name)
		if statErr == nil && lstatErr == nil && isOwn(opened) && os.SameFile(opened, named) {
			return file, nil
		}
		_ = file.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		if err = w.dir.RemoveAll(ingestOf(w.ref)); err != nil {
			return nil, err
		}
	}
	if err = w.dir.MkdirAll(ingestOf(w.ref), 0o700); err != nil {
		return nil, err
	}
	return w.dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
}

// Write implements io.Writer.
func (w *ingestWriter) Write(p []byte) (int, error) {
	n, err := w.file.Write(p)
	err = located(w.at, err)
	w.digester.Hash().Write(p[:n])
	w.offset += int64(n)
	return n, err
}

// Close implements io.Closer. What was written stays, to be resumed.
func (w *ingestWriter) Close() error { return ignoreClosed(w.file.Close()) }

// Digest implements content.Writer.
func (w *ingestWriter) Digest() digest.Digest { return w.digester.Digest() }

// Status implements content.Writer.
func (w *ingestWriter) Status() (content.Status, error) {
	return content.Status{Ref: w.ref, Offset: w.offset, Total: w.desc.Size, Expected: w.desc.Digest, StartedAt: w.began, UpdatedAt: time.Now()}, nil
}

// Truncate implements content.Writer.
func (w *ingestWriter) Truncate(size int64) error {
	if err := w.file.Truncate(size); err != nil {
		return err
	}
	if _, err := w.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	w.digester = digest.Canonical.Digester()
	var err error
	w.offset, err = io.Copy(w.digester.Hash(), w.file)
	return err
}

// Commit implements content.Writer.
func (w *ingestWriter) Commit(_ context.Context, size int64, expected digest.Digest, _ ...content.Opt) error {
	defer w.Close()
	switch {
	case size > 0 && size != w.offset:
		return fmt.Errorf("size is %d, not %d: %w", w.offset, size, errdefs.ErrFailedPrecondition)
	case expected != w.digester.Digest():
		return fmt.Errorf("digest is not %s: %w", expected, errdefs.ErrFailedPrecondition)
	}
	info, err := w.file.Stat()
	if err == nil {
		err = w.file.Sync()
	}
	if err == nil {
		err = w.file.Chmod(info.Mode().Perm() &^ 0o222) // blobs do not change
	}
	if err != nil {
		return err
	}
	if _, err = w.dir.Lstat(blobFile(expected)); err == nil {
		return errors.Join(existsAlready(expected), w.dir.RemoveAll(ingestOf(w.ref)))
	}
	to := arrival{
		into:    path.Join(w.dir.Name(), blobFile(expected)),
		rename:  func(name string) error { return w.dir.Rename(name, blobFile(expected)) },
		arrived: func() (fs.FileInfo, error) { return w.dir.Lstat(blobFile(expected)) },
	}
	if err = to.move(w.file, ingestFile(w.ref)); err == nil {
		err = w.dir.RemoveAll(ingestOf(w.ref))
	}
	return located(w.at, err)
}
