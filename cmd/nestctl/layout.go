package main

import (
	"archive/tar"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/records"
)

// layout is an OCI image layout as a target. Blobs are staged in a folder
// "ingest" inside it until they verify, so that an interrupted pull resumes.
type layout struct {
	content.Store
	dir    string
	label  string
	unlock func() error
	syncs  syncs
	// before is called before each change to a file, beside those of the
	// store; an error ends it. For tests.
	before func(change, path string) error

	writing sync.Mutex // of a brief blob
	mu      sync.Mutex
	brought []digest.Digest // or found
}

func newLayout(dir string) *layout {
	l := &layout{dir: dir, label: "oci-layout:" + dir, before: func(string, string) error { return nil }}
	l.syncs.one = l.sync
	return l
}

// open makes or checks the layout; from then on it is to be closed.
func (l *layout) open() error {
	err := l.before("create", l.dir)
	if err == nil {
		err = os.MkdirAll(l.dir, 0o755)
	}
	if err != nil {
		return err
	}
	if l.unlock, err = lockDir(l.dir); err != nil {
		return fmt.Errorf("%s: %w", l.dir, err)
	}
	if err := l.prepare(); err != nil {
		return errors.Join(err, l.unlock())
	}
	return nil
}

// prepare makes an empty layout, or checks the one that is there.
func (l *layout) prepare() error {
	if _, err := l.readIndex(); err != nil {
		return err
	}
	store, err := local.NewStore(l.dir)
	if err != nil {
		return err
	}
	l.Store = store
	return os.MkdirAll(l.blobs(), 0o755)
}

func (l *layout) blobs() string {
	return filepath.Join(l.dir, ocispec.ImageBlobsDir, digest.Canonical.String())
}

func (l *layout) indexFile() string { return filepath.Join(l.dir, ocispec.ImageIndexFile) }

// readIndex reads index.json; where there is none it makes an empty one.
func (l *layout) readIndex() (ocispec.Index, error) {
	index := ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageIndex,
		Manifests: []ocispec.Descriptor{},
	}
	marker := filepath.Join(l.dir, ocispec.ImageLayoutFile)
	data, err := os.ReadFile(l.indexFile())
	if errors.Is(err, fs.ErrNotExist) {
		if err = l.write(marker, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}); err == nil {
			err = l.write(l.indexFile(), index)
		}
		return index, err
	}
	if err != nil {
		return index, err
	}
	_, err = os.Stat(marker)
	if err != nil || json.Unmarshal(data, &index) != nil || index.SchemaVersion != 2 {
		return index, fmt.Errorf("%s is not an OCI image layout; name another directory", l.dir)
	}
	return index, nil
}

func (l *layout) name() string { return l.label }

func (l *layout) leased(ctx context.Context) (context.Context, error) { return ctx, nil }

func (l *layout) stored(_ context.Context, _ *walker, n *node) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.brought = append(l.brought, n.Digest)
	return nil
}

func (l *layout) done(context.Context, *walker, *node) error { return nil }

// intact tells whether a blob that was there before is what its name says.
func (l *layout) intact(ctx context.Context, d ocispec.Descriptor) (bool, error) {
	r, err := l.ReaderAt(ctx, d)
	if err != nil {
		return false, err
	}
	defer r.Close()
	verifier := d.Digest.Verifier()
	if _, err := io.Copy(verifier, content.NewReader(r)); err != nil {
		return false, err
	}
	return r.Size() == d.Size && verifier.Verified(), nil
}

// finish names the root and its members in index.json.
func (l *layout) finish(_ context.Context, w *walker, ref string, root *node) error {
	if err := errors.Join(l.syncs.wait(), syncFile(l.blobs())); err != nil {
		return err
	}
	index, err := l.readIndex()
	if err != nil {
		return err
	}
	for _, r := range recordsOf(w, ref, root) {
		index.Manifests = slices.DeleteFunc(index.Manifests, func(d ocispec.Descriptor) bool {
			return d.Annotations[images.AnnotationImageName] == r.Name
		})
		d := r.Target
		d.Annotations = map[string]string{images.AnnotationImageName: r.Name}
		if _, tag := splitRef(r.Name); tag != "" {
			for _, other := range index.Manifests {
				if other.Annotations[ocispec.AnnotationRefName] == tag {
					delete(other.Annotations, ocispec.AnnotationRefName) // the newest has it
				}
			}
			d.Annotations[ocispec.AnnotationRefName] = tag // what other tools go by
		}
		index.Manifests = append(index.Manifests, d)
	}
	for _, n := range root.whole() {
		for _, r := range n.referrers {
			named := func(d ocispec.Descriptor) bool { return d.Digest == r.Digest }
			if !slices.ContainsFunc(index.Manifests, named) {
				index.Manifests = append(index.Manifests, bare(r.Descriptor)) // found by its subject
			}
		}
	}
	if err := l.write(l.indexFile(), index); err != nil {
		return err
	}
	// Empty unless another pull was interrupted here; then it may resume.
	_ = os.Remove(filepath.Join(l.dir, "ingest"))
	return nil
}

func (l *layout) close() error { return errors.Join(l.syncs.wait(), l.unlock()) }

// recordsOf are the names that a pull gives: the reference for the root, and
// <registry>/<target>@<digest> for each member.
func recordsOf(w *walker, ref string, root *node) []records.Member {
	all := []records.Member{{Name: ref, Target: bare(root.Descriptor)}}
	seen := map[string]bool{ref: true}
	for _, n := range w.memberNodes(root) {
		name := n.repository.String() + "@" + n.Digest.String()
		if !seen[name] {
			seen[name] = true
			all = append(all, records.Member{Name: name, Target: bare(n.Descriptor)})
		}
	}
	return all
}

// bare is a descriptor without what belongs to the index that it stood in.
func bare(d ocispec.Descriptor) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: d.MediaType, Digest: d.Digest, Size: d.Size, Platform: d.Platform, ArtifactType: d.ArtifactType}
}

// write replaces a file by a value in JSON, whole or not at all.
func (l *layout) write(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return l.replace(path, func(out io.Writer) error {
		_, err := out.Write(data)
		return err
	})
}

// replace puts a new file in a file's place, whole or not at all, and is done
// when it is on the disk.
func (l *layout) replace(path string, write func(io.Writer) error) error {
	return l.place("."+filepath.Base(path)+".new", path, func(file *os.File) error {
		err := write(asking{file, l.before})
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
	})
}

// place puts a file in its place, whole or not at all. It is written in the
// layout, under a name that the next one has, too: what a crash has left is
// overwritten.
func (l *layout) place(name, path string, fill func(*os.File) error) error {
	temporary := filepath.Join(l.dir, name)
	err := l.before("create", temporary)
	if err == nil {
		err = os.RemoveAll(temporary)
	}
	if err != nil {
		return err
	}
	file, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return err
	}
	err = errors.Join(fill(file), file.Close())
	if err == nil {
		err = l.before("rename", path)
	}
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil && l.before("remove", temporary) == nil {
		err = errors.Join(err, os.Remove(temporary))
	}
	return err
}

// asking is a file that asks before each write.
type asking struct {
	file   *os.File
	before func(change, path string) error
}

func (f asking) Write(p []byte) (int, error) {
	if err := f.before("write", f.file.Name()); err != nil {
		return 0, err
	}
	return f.file.Write(p)
}

// archive is a layout in a tar file. The layout is staged beside the file.
type archive struct {
	*layout
	file string
}

func newArchive(file string) *archive {
	l := newLayout(file + ".partial")
	l.label = "oci-archive:" + file
	return &archive{l, file}
}

func (a *archive) open() error {
	if err := checkOwn(a.dir); err != nil {
		return err
	}
	return a.layout.open()
}

func (a *archive) finish(ctx context.Context, w *walker, ref string, root *node) error {
	// An earlier pull that stopped at its end may have left its names.
	err := a.before("remove", a.indexFile())
	if err == nil {
		err = os.Remove(a.indexFile())
	}
	if err == nil {
		err = a.layout.finish(ctx, w, ref, root)
	}
	if err == nil {
		err = a.replace(a.file, a.pack)
	}
	if err == nil {
		err = a.before("remove", a.dir)
	}
	if err == nil {
		err = os.RemoveAll(a.dir)
	}
	return err
}

// pack writes the layout as a tar file, the same for the same content.
func (a *archive) pack(out io.Writer) error {
	names := []string{ocispec.ImageLayoutFile, ocispec.ImageIndexFile}
	for _, d := range a.brought {
		names = append(names, filepath.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded()))
	}
	slices.Sort(names[2:])
	w := tar.NewWriter(out)
	for _, name := range slices.Compact(names) {
		if err := addFile(w, a.dir, name); err != nil {
			return err
		}
	}
	return w.Close()
}

func addFile(w *tar.Writer, dir, name string) error {
	file, err := os.Open(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Name: filepath.ToSlash(name), Mode: 0o644, Size: info.Size(), Format: tar.FormatPAX}
	if err = w.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(w, file)
	return err
}
