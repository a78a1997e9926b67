package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/registry"
)

// syncs syncs files to the disk while others are fetched. Only the end of the
// pull waits for it: on a disk that others use, too, it takes long.
type syncs struct {
	one   func(file string) error
	group errgroup.Group

	mu      sync.Mutex
	files   []string // not begun yet
	working int
}

// syncsAtOnce gives a disk requests that it can reorder.
const syncsAtOnce = 16

func (s *syncs) add(file string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files = append(s.files, file)
	if s.working < syncsAtOnce {
		s.working++
		s.group.Go(s.work)
	}
}

func (s *syncs) work() (err error) {
	for {
		s.mu.Lock()
		last := len(s.files) - 1
		if last < 0 {
			s.working--
			s.mu.Unlock()
			return err
		}
		file := s.files[last]
		s.files = s.files[:last]
		s.mu.Unlock()
		err = errors.Join(err, s.one(file))
	}
}

// wait waits for everything that was added. Nothing may be added after that.
func (s *syncs) wait() error { return s.group.Wait() }

// Writer implements content.Ingester. A small blob is collected in memory and
// written when it verifies: there is nothing to resume after an interruption,
// so it does not need the five files that the local store writes for each blob,
// which took most of a pull's time.
func (l *Layout) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if oci.CheckStorable(o.Desc) != nil || o.Desc.Size <= 0 || !registry.IsSmall(o.Desc) {
		return l.Store.Writer(ctx, opts...)
	}
	_, err := l.root.Lstat(blobFile(o.Desc.Digest))
	if err == nil {
		return nil, existsAlready(o.Desc.Digest)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return &smallWriter{layout: l, desc: o.Desc, ref: o.Ref, began: time.Now()}, nil
}

func existsAlready(d digest.Digest) error {
	return fmt.Errorf("content %s: %w", d, errdefs.ErrAlreadyExists)
}

// smallWriter is the writer of one small blob.
type smallWriter struct {
	layout *Layout
	desc   ocispec.Descriptor
	ref    string
	began  time.Time
	data   bytes.Buffer
}

var (
	_ content.Writer = (*smallWriter)(nil)
	_ io.ReaderFrom  = (*smallWriter)(nil)
)

// Write implements io.Writer.
func (w *smallWriter) Write(p []byte) (int, error) {
	if int64(w.data.Len()+len(p)) > w.desc.Size {
		return 0, bundle.ErrMismatch
	}
	return w.data.Write(p)
}

// ReadFrom implements io.ReaderFrom; io.Copy would allocate a buffer.
func (w *smallWriter) ReadFrom(r io.Reader) (int64, error) {
	w.data.Grow(int(w.desc.Size) + bytes.MinRead) // with room to see the end
	n, err := w.data.ReadFrom(r)
	if int64(w.data.Len()) > w.desc.Size {
		return n, bundle.ErrMismatch
	}
	return n, err
}

// Close implements io.Closer.
func (w *smallWriter) Close() error { return nil }

// Digest implements content.Writer.
func (w *smallWriter) Digest() digest.Digest { return digest.FromBytes(w.data.Bytes()) }

// Status implements content.Writer.
func (w *smallWriter) Status() (content.Status, error) {
	return content.Status{Ref: w.ref, Offset: int64(w.data.Len()), Total: w.desc.Size, Expected: w.desc.Digest, StartedAt: w.began, UpdatedAt: time.Now()}, nil
}

// Truncate implements content.Writer.
func (w *smallWriter) Truncate(size int64) error {
	w.data.Truncate(int(size))
	return nil
}

// Commit implements content.Writer. The blob is on the disk when the layout's
// syncs are done; nothing names it before.
func (w *smallWriter) Commit(context.Context, int64, digest.Digest, ...content.Opt) error {
	if int64(w.data.Len()) != w.desc.Size || w.desc.Digest.Algorithm().FromBytes(w.data.Bytes()) != w.desc.Digest {
		return bundle.ErrMismatch
	}
	if err := w.layout.writeBlob(w.desc.Digest, w.data.Bytes()); err != nil {
		return err
	}
	w.layout.syncs.add(blobFile(w.desc.Digest))
	return nil
}

// sync syncs a file to the disk.
func (l *Layout) sync(name string) error {
	if err := l.before("sync", filepath.Join(l.dir, name)); err != nil {
		return err
	}
	return syncFile(l.root, name)
}

// writeBlob writes a blob completely or not at all.
func (l *Layout) writeBlob(d digest.Digest, data []byte) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if _, err := l.root.Lstat(blobFile(d)); err == nil {
		return existsAlready(d) // as a manifest and as a blob, for example
	}
	p := l.arrival(blobFile(d), 0o444)
	p.fill = func(file *os.File) error {
		_, err := hookedFile{file, l.before}.Write(data)
		return err
	}
	return located(l.dir, p.put())
}
