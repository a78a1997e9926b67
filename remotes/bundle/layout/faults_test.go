package layout

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

var errCut = errors.New("the power is cut")

// failpoints lets the n-th change fail, or ends all changes from then on, as
// the end of the process does.
type failpoints struct {
	at      int
	cause   error
	forever bool

	mu     sync.Mutex // several files are written at once
	count  int
	failed string // which change it was
}

func (f *failpoints) before(change, path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count++; f.count < f.at || f.count > f.at && !f.forever {
		return nil
	}
	if f.failed == "" {
		f.failed = change + " " + path
	}
	return &fs.PathError{Op: change, Path: path, Err: f.cause}
}

// failingStore is a content store whose changes may fail.
type failingStore struct {
	content.Store
	dir    string
	before func(change, path string) error
}

func (s failingStore) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	if err := s.before("create", filepath.Join(s.dir, "ingest")); err != nil {
		return nil, err
	}
	w, err := s.Store.Writer(ctx, opts...)
	return failingWriter{w, s}, err
}

func (s failingStore) Delete(ctx context.Context, d digest.Digest) error {
	if err := s.before("remove", string(d)); err != nil {
		return err
	}
	return s.Store.Delete(ctx, d)
}

func (s failingStore) Abort(ctx context.Context, ref string) error {
	if err := s.before("remove", ref); err != nil {
		return err
	}
	return s.Store.Abort(ctx, ref)
}

type failingWriter struct {
	content.Writer
	store failingStore
}

// Write writes a part of what fails.
func (w failingWriter) Write(p []byte) (int, error) {
	if err := w.store.before("write", filepath.Join(w.store.dir, "ingest")); err != nil {
		n, writeErr := w.Writer.Write(p[:len(p)/2])
		return n, errors.Join(err, writeErr)
	}
	return w.Writer.Write(p)
}

func (w failingWriter) Truncate(size int64) error {
	if err := w.store.before("truncate", w.store.dir); err != nil {
		return err
	}
	return w.Writer.Truncate(size)
}

func (w failingWriter) Commit(ctx context.Context, size int64, d digest.Digest, opts ...content.Opt) error {
	if err := w.store.before("commit", string(d)); err != nil {
		return err
	}
	return w.Writer.Commit(ctx, size, d, opts...)
}

// pullInto pulls a bundle into a layout or an archive whose changes may fail.
func pullInto(t *testing.T, kind, path, ref string, f *failpoints) error {
	t.Helper()
	if kind == "archive" {
		a := newArchive(path)
		a.before = f.before
		return pullOpen(t, a, a.Layout, ref)
	}
	l := newLayout(path)
	l.before = f.before
	return pullOpen(t, l, l, ref)
}

// pullOpen opens a layout or an archive, and pulls into it.
func pullOpen(t *testing.T, to interface {
	bundle.Target
	open() error
	Close() error
}, l *Layout, ref string) error {
	t.Helper()
	if err := to.open(); err != nil {
		return err
	}
	l.Store = failingStore{l.Store, l.dir, l.before}
	named, err := auth.ParseReference(ref)
	clienttest.NoError(t, err)
	client := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
	b, err := bundle.Open(t.Context(), nested.New(client, nested.Options{Store: to, Complete: true}), named)
	clienttest.NoError(t, err)
	_, err = bundle.Pull(t.Context(), b, to, ref, bundle.PullOptions{Options: bundle.Options{OmitNonDistributable: true, Concurrent: 1}})
	return errors.Join(err, to.Close())
}

// TestPullInterrupted lets each change to a file fail while a bundle is pulled
// over another one that is there: because the disk is full or broken, or
// because the process ends. Nothing that is wrong is left, the error
// says what could not be done, and the same pull again ends as if nothing had been.
func TestPullInterrupted(t *testing.T) {
	clienttest.NoError(t, log.SetLevel("error")) // the content store has much to say about file systems
	r := clienttest.NewRegistry(t)
	layer := registrytest.TarLayer(map[string]string{"file": strings.Repeat("text", 10_000)})
	for _, tag := range []string{"v1", "v2"} {
		web := r.Image("org/app/web", layer, registrytest.TarLayer(map[string]string{"tag": tag}))
		index := r.Index("org/app", registrytest.Member(web, "web"))
		r.Tag("org/app", tag, index.Digest)
	}
	before, ref := r.Host()+"/org/app:v1", r.Host()+"/org/app:v2"
	for _, kind := range []string{"layout", "archive"} {
		old := filepath.Join(t.TempDir(), "old", "app")
		clienttest.NoError(t, pullInto(t, kind, old, before, &failpoints{}))
		start := func(t *testing.T) string {
			dir := t.TempDir()
			clienttest.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Dir(old))))
			return filepath.Join(dir, "app")
		}
		whole := start(t)
		clienttest.NoError(t, pullInto(t, kind, whole, ref, &failpoints{}))
		want := filesOf(t, whole)
		for name, forever := range map[string]bool{"disk": false, "killed": true} {
			t.Run(kind+" "+name, func(t *testing.T) {
				t.Parallel()
				for at := 1; ; at++ {
					f, path := &failpoints{at: at, cause: errCut, forever: forever}, start(t)
					if !forever {
						f.cause = []error{syscall.ENOSPC, syscall.EIO}[at%2]
					}
					err := pullInto(t, kind, path, ref, f)
					if f.failed == "" {
						clienttest.NoError(t, err)
						if at < 15 {
							t.Fatalf("only %d changes", at)
						}
						return
					}
					if err == nil {
						t.Errorf("%s failed, and no error", f.failed)
					} else if !errors.Is(err, f.cause) || !f.forever && !strings.Contains(err.Error(), f.failed) { // what fails next may be told first
						t.Errorf("%s failed: %v", f.failed, err)
					}
					checkIntact(t, filesOf(t, path))
					clienttest.NoError(t, pullInto(t, kind, path, ref, &failpoints{}))
					if got := filesOf(t, path); !maps.Equal(got, want) {
						t.Errorf("%s failed, then again: %q, want %q", f.failed, slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)))
					}
					if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); err != nil || len(left) != 1 {
						t.Errorf("%s failed: left over: %q, %v", f.failed, left, err)
					}
				}
			})
		}
	}
}

// filesOf are the files of a layout or an archive, but for those of transfers.
func filesOf(t *testing.T, path string) map[string]string {
	t.Helper()
	files := map[string]string{}
	info, err := os.Stat(path)
	clienttest.NoError(t, err)
	if info.IsDir() {
		clienttest.NoError(t, fs.WalkDir(os.DirFS(path), ".", func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.Type().IsRegular() && !strings.HasPrefix(name, "ingest/") {
				var data []byte
				data, err = os.ReadFile(filepath.Join(path, name))
				files[name] = string(data)
			}
			return err
		}))
		return files
	}
	file, err := os.Open(path)
	clienttest.NoError(t, err)
	defer file.Close()
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		clienttest.NoError(t, err)
		data, err := io.ReadAll(archive)
		clienttest.NoError(t, err)
		files[header.Name] = string(data)
	}
}

// checkIntact fails when a blob is not what its name says, or when something
// is named that is not all there.
func checkIntact(t *testing.T, files map[string]string) {
	t.Helper()
	for name, data := range files {
		if encoded, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && digest.FromString(data).Encoded() != encoded {
			t.Errorf("%s is something else", name)
		}
	}
	var index ocispec.Index
	if err := json.Unmarshal([]byte(files[ocispec.ImageIndexFile]), &index); err != nil {
		t.Error(err)
	}
	for _, d := range index.Manifests {
		if err := registrytest.LayoutFiles(files).Complete(d); err != nil {
			t.Error(fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err))
		}
	}
}
