package layout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
)

// Layout is an OCI image layout as a target. Blobs are collected in its
// directory "ingest" until they verify, so that an interrupted pull resumes.
type Layout struct {
	content.Store
	dir    string                   // as the user named it
	enter  func() (*os.Root, error) // opens it
	root   *os.Root                 // open
	label  string
	unlock func() error
	syncs  syncs
	has    func(digest.Digest) bool // whether a blob will be in it
	// before is called before each change to a file, beside those of the
	// store; an error ends it. For tests.
	before func(change, path string) error

	writing sync.Mutex // of a small blob
	mu      sync.Mutex
	brought map[digest.Digest]bool // or found there, and verified
}

var (
	_ bundle.Target    = (*Layout)(nil)
	_ bundle.Verifier  = (*Layout)(nil)
	_ bundle.Collector = (*Layout)(nil)
)

// CreateAt is [Create], [CreateArchive] or [CreateParts].
func CreateAt(p Place) (bundle.Target, error) {
	switch {
	case p.Archive && p.PartSize != 0:
		return CreateParts(p.Path, p.PartSize)
	case p.Archive:
		return CreateArchive(p.Path)
	}
	return Create(p.Path)
}

// Create makes a layout in a directory, or opens the one that is there. It
// locks the layout against other pulls until it is closed.
func Create(dir string) (*Layout, error) {
	l := newLayout(dir)
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func newLayout(dir string) *Layout {
	l := &Layout{dir: dir, label: "oci-layout:" + dir, before: func(string, string) error { return nil }, brought: map[digest.Digest]bool{}}
	l.syncs.one = l.sync
	l.has = func(d digest.Digest) bool {
		_, err := l.root.Lstat(blobFile(d))
		return err == nil
	}
	l.enter = func() (*os.Root, error) {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return nil, err
		}
		return openDir(dir)
	}
	return l
}

// open makes or checks the layout, which then has to be closed.
func (l *Layout) open() error {
	err := l.before("create", l.dir)
	if err == nil {
		l.root, err = l.enter()
	}
	if err != nil {
		return located(filepath.Dir(l.dir), err)
	}
	if l.unlock, err = lockDir(l.root); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", l.dir, err), l.root.Close())
	}
	if err := l.prepare(); err != nil {
		return errors.Join(located(l.dir, err), l.unlock(), l.root.Close())
	}
	return nil
}

// prepare makes an empty layout, or checks the one that is there.
func (l *Layout) prepare() error {
	if err := checkDirs(l.root, ocispec.ImageBlobsDir, blobsDir, ingestDir); err != nil {
		return err
	}
	if _, err := l.readIndex(); err != nil {
		return err
	}
	l.Store = &store{l.root, l.dir}
	return errors.Join(removeNew(l.root), l.root.MkdirAll(blobsDir, 0o755))
}

// blobsDir is where the blobs are.
var blobsDir = path.Join(ocispec.ImageBlobsDir, digest.Canonical.String())

// readIndex reads index.json; where there is none it makes an empty one.
func (l *Layout) readIndex() (ocispec.Index, error) {
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
	data, err := l.readFile(ocispec.ImageIndexFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err = l.write(ocispec.ImageLayoutFile, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}); err == nil {
			err = l.write(ocispec.ImageIndexFile, index)
		}
		return index, err
	}
	if err != nil {
		return index, fmt.Errorf("%s: %w", l.dir, err)
	}
	_, err = l.root.Stat(ocispec.ImageLayoutFile)
	if err != nil || json.Unmarshal(data, &index) != nil || index.SchemaVersion != 2 {
		return index, fmt.Errorf("%s is not an OCI image layout; name another directory", l.dir)
	}
	return index, nil
}

// readFile reads one of the layout's own files.
func (l *Layout) readFile(name string) ([]byte, error) {
	file, info, err := openRegular(l.root, name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info.Size() > maxIndex {
		return nil, fmt.Errorf("%s: %d bytes are more than such a file may have", name, info.Size())
	}
	return io.ReadAll(io.LimitReader(file, maxIndex))
}

// Name is its name on a command line.
func (l *Layout) Name() string { return l.label }

// Lease implements [bundle.Target].
func (l *Layout) Lease(ctx context.Context) (context.Context, error) { return ctx, nil }

// Stored implements [bundle.Target].
func (l *Layout) Stored(_ context.Context, _ *bundle.Bundle, n *bundle.Node) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.brought[n.Digest] = true
	return nil
}

func (l *Layout) hasBrought(d digest.Digest) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.brought[d]
}

// Done implements [bundle.Target].
func (l *Layout) Done(context.Context, *bundle.Bundle, *bundle.Node) error { return nil }

// Verify reports whether a blob that was there matches its descriptor. What
// another bundle has brought just now does.
func (l *Layout) Verify(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	if l.hasBrought(d.Digest) {
		return true, nil
	}
	r, err := l.ReaderAt(ctx, d)
	if err != nil {
		return false, nil // a link, for example: it is replaced
	}
	defer r.Close()
	verifier := d.Digest.Verifier()
	if _, err := io.Copy(verifier, content.NewReader(r)); err != nil {
		return false, err
	}
	return r.Size() == d.Size && verifier.Verified(), nil
}

// Finish implements [bundle.Target]: it names the root and its members in index.json.
func (l *Layout) Finish(ctx context.Context, b *bundle.Bundle, walked *bundle.Walked, name string) error {
	return l.FinishAll(ctx, []bundle.Pulled{{Bundle: b, Walked: walked, Name: name}})
}

// FinishAll implements [bundle.Collector]. Of several roots each is named in
// full, because their tags may be equal.
func (l *Layout) FinishAll(_ context.Context, all []bundle.Pulled) error {
	if err := errors.Join(l.syncs.wait(), syncFile(l.root, blobsDir)); err != nil {
		return located(l.dir, err)
	}
	index, err := l.readIndex()
	if err != nil {
		return err
	}
	for _, p := range all {
		for i, r := range p.Walked.Names(p.Name) {
			index.Manifests = nameIn(index.Manifests, r, len(all) > 1 && i == 0)
		}
		index.Manifests = listReferrers(index.Manifests, p.Walked.Root)
	}
	if err = l.leave(all); err == nil { // before anything is named that needs it
		err = l.write(ocispec.ImageIndexFile, index)
	}
	if err != nil {
		return located(l.dir, err)
	}
	// Empty unless another pull was interrupted here; then it may resume.
	_ = l.root.Remove(ingestDir)
	return nil
}

// nameIn adds a name to index.json, and takes it from another entry. A root
// from a layout without a repository has no image name; only its tag is
// recorded.
func nameIn(entries []ocispec.Descriptor, r bundle.Named, inFull bool) []ocispec.Descriptor {
	d := r.Target
	repository, tag := splitName(r.Name)
	if isNowhere(repository) {
		if repository != Nowhere {
			return entries
		}
		entries = slices.DeleteFunc(entries, func(other ocispec.Descriptor) bool {
			return other.Digest == d.Digest && len(other.Annotations) == 0
		})
	} else {
		entries = slices.DeleteFunc(entries, func(other ocispec.Descriptor) bool {
			return other.Annotations[images.AnnotationImageName] == r.Name
		})
		d.Annotations = map[string]string{images.AnnotationImageName: r.Name}
		if inFull {
			tag = r.Name
		}
	}
	if tag == "" {
		return append(entries, d)
	}
	for _, other := range entries {
		if other.Annotations[ocispec.AnnotationRefName] == tag {
			delete(other.Annotations, ocispec.AnnotationRefName) // the newest has it
		}
	}
	entries = slices.DeleteFunc(entries, func(other ocispec.Descriptor) bool { return other.Digest == d.Digest && len(other.Annotations) == 0 })
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	d.Annotations[ocispec.AnnotationRefName] = tag // other tools use it
	return append(entries, d)
}

// splitName splits the name of a record into repository and tag.
func splitName(name string) (repository, tag string) {
	ref, err := auth.ParseReference(name)
	if err != nil { // no image's
		return name, ""
	}
	return ref.Repository().String(), ref.Tag()
}

// Close releases the layout.
func (l *Layout) Close() error { return errors.Join(l.syncs.wait(), l.unlock(), l.root.Close()) }

// write replaces a file by a value in JSON, completely or not at all.
func (l *Layout) write(name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	p := l.arrival(name, 0o600)
	p.fill = l.synced(func(out io.Writer) error {
		_, err := out.Write(data)
		return err
	})
	return p.put()
}

// arrival is a file to be written in the layout.
func (l *Layout) arrival(name string, perm fs.FileMode) arrival {
	return arrival{
		dir:     l.root,
		perm:    perm,
		before:  l.before,
		into:    filepath.Join(l.dir, name),
		rename:  func(from string) error { return l.root.Rename(from, name) },
		arrived: func() (fs.FileInfo, error) { return l.root.Lstat(name) },
	}
}

// synced fills a file and syncs it to the disk.
func (l *Layout) synced(write func(io.Writer) error) func(*os.File) error {
	return func(file *os.File) error {
		err := write(hookedFile{file, l.before})
		if err == nil {
			err = file.Chmod(0o644) // whatever the umask
		}
		if err == nil {
			err = l.before("sync", file.Name())
		}
		if err == nil {
			err = file.Sync()
		}
		return err
	}
}

// hookedFile is a file with a hook before each write.
type hookedFile struct {
	file   *os.File
	before func(change, path string) error
}

func (f hookedFile) Write(p []byte) (int, error) {
	if err := f.before("write", f.file.Name()); err != nil {
		return 0, err
	}
	return f.file.Write(p)
}
