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

	writing sync.Mutex // of a brief blob
	mu      sync.Mutex
	brought []digest.Digest // or found
}

func openLayout(dir string) (*layout, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lockDir(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	l := &layout{dir: dir, label: "oci-layout:" + dir, unlock: unlock}
	if err := l.prepare(); err != nil {
		return nil, errors.Join(err, unlock())
	}
	return l, nil
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
		if err = writeFile(marker, ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion}); err == nil {
			err = writeFile(l.indexFile(), index)
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
	if err := writeFile(l.indexFile(), index); err != nil {
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

// writeFile replaces a file by a value in JSON, whole or not at all.
func writeFile(path string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(data)
	return replace(file, path, err)
}

// replace puts a written temporary file in a file's place, or takes it away.
func replace(file *os.File, path string, err error) error {
	if err == nil {
		err = file.Chmod(0o644)
	}
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		err = errors.Join(err, os.Remove(file.Name()))
	}
	return err
}

// archive is a layout in a tar file. The layout is staged beside the file.
type archive struct {
	*layout
	file string
}

func openArchive(file string) (*archive, error) {
	staging := file + ".partial"
	if err := checkOwn(staging); err != nil {
		return nil, err
	}
	l, err := openLayout(staging)
	if err != nil {
		return nil, err
	}
	l.label = "oci-archive:" + file
	return &archive{l, file}, nil
}

func (a *archive) finish(ctx context.Context, w *walker, ref string, root *node) error {
	// An earlier pull that stopped at its end may have left its names.
	if err := os.Remove(a.indexFile()); err != nil {
		return err
	}
	if err := a.layout.finish(ctx, w, ref, root); err != nil {
		return err
	}
	file, err := os.CreateTemp(filepath.Dir(a.file), "."+filepath.Base(a.file)+".*")
	if err != nil {
		return err
	}
	if err := replace(file, a.file, a.write(file)); err != nil {
		return err
	}
	return os.RemoveAll(a.dir)
}

// write writes the layout as a tar file, the same for the same content.
func (a *archive) write(out io.Writer) error {
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
