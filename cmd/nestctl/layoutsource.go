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
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/nested"
)

// layoutPlace is where OCI layouts and archives are, as --to and copy name
// them: oci-layout:DIR or oci-archive:FILE, and for copy a tag or a digest.
type layoutPlace struct {
	archive   bool
	path      string
	reference string // tag or digest, may be empty
}

// parseLayout reads the name of a layout; it is none when it begins otherwise.
func parseLayout(s string) (layoutPlace, bool) {
	rest, layout := strings.CutPrefix(s, "oci-layout:")
	if !layout {
		var archive bool
		if rest, archive = strings.CutPrefix(s, "oci-archive:"); !archive {
			return layoutPlace{}, false
		}
	}
	p := layoutPlace{archive: !layout, path: rest}
	if path, d, ok := strings.Cut(rest, "@"); ok && digest.Digest(d).Validate() == nil {
		p.path, p.reference = path, d
	} else if i := strings.LastIndexByte(rest, ':'); i > strings.LastIndexByte(rest, '/') {
		p.path, p.reference = rest[:i], rest[i+1:]
	}
	return p, p.path != ""
}

// layoutSource is an OCI layout as a resolver: whatever repository is asked,
// the content is that of the layout.
type layoutSource struct {
	layoutPlace
	file  *os.File              // of an archive
	files map[string]tarredFile // in it
	index ocispec.Index         // index.json
	once  func() (referrers map[digest.Digest][]ocispec.Descriptor, err error)
}

type tarredFile struct{ offset, size int64 }

// layoutRepository is the repository of a layout that does not say where its
// content is from; it exists nowhere.
const layoutRepository = "oci-layout.invalid/root"

// repository is the repository that the chosen content came from.
func (l *layoutSource) repository() string {
	root, err := l.root()
	if err != nil {
		return layoutRepository
	}
	for _, d := range l.index.Manifests {
		name, err := parseRef(d.Annotations[images.AnnotationImageName])
		if d.Digest == root.Digest && err == nil {
			repository, _ := splitRef(name)
			return repository
		}
	}
	return layoutRepository
}

// maxLayoutIndex bounds an index.json, which may name ten thousand members and
// their signatures.
const maxLayoutIndex = 64 << 20

// openLayoutSource opens a layout for reading. close ends the use of it.
func openLayoutSource(p layoutPlace) (*layoutSource, error) {
	l := &layoutSource{layoutPlace: p}
	l.once = sync.OnceValues(l.readReferrers)
	if p.archive {
		var err error
		if l.file, err = os.Open(p.path); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: %w", p.path, errdefs.ErrNotFound)
		} else if err != nil {
			return nil, err
		}
		if l.files, err = tarFiles(l.file); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", p.path, err), l.file.Close())
		}
	}
	data, err := l.read(ocispec.ImageIndexFile, maxLayoutIndex)
	if err == nil {
		err = json.Unmarshal(data, &l.index)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s is not an OCI image layout: %w", p.path, err), l.close())
	}
	return l, nil
}

func (l *layoutSource) close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// tarFiles says where in an archive its files are.
func tarFiles(file *os.File) (map[string]tarredFile, error) {
	files := map[string]tarredFile{}
	for r := tar.NewReader(file); ; {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("not a tar file, or a compressed one: %w", err)
		}
		offset, err := file.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, err
		}
		if header.Typeflag == tar.TypeReg {
			files[filepath.Clean(header.Name)] = tarredFile{offset, header.Size}
		}
	}
}

// blob is content that can be read, and from any position.
type blob interface {
	io.ReadSeeker
	io.Closer
}

type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

// open opens a file of the layout.
func (l *layoutSource) open(name string) (blob, int64, error) {
	if l.archive {
		f, ok := l.files[name]
		if !ok {
			return nil, 0, fmt.Errorf("%s: %s: %w", l.path, name, errdefs.ErrNotFound)
		}
		return section{io.NewSectionReader(l.file, f.offset, f.size)}, f.size, nil
	}
	path := filepath.Join(l.path, name)
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, 0, fmt.Errorf("%s: %s: %w", l.path, name, errdefs.ErrNotFound)
	case err != nil:
		return nil, 0, err
	case !info.Mode().IsRegular(): // a pipe would keep us waiting
		return nil, 0, fmt.Errorf("%s is no file", path)
	}
	file, err := os.Open(path)
	return file, info.Size(), err
}

// read reads a file of the layout that is not large.
func (l *layoutSource) read(name string, most int64) ([]byte, error) {
	file, size, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if size > most {
		return nil, fmt.Errorf("%s: %d bytes are too many", name, size)
	}
	return io.ReadAll(io.LimitReader(file, most))
}

func blobFile(d digest.Digest) string {
	return filepath.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// Resolve implements remotes.Resolver: the layout's own reference counts.
func (l *layoutSource) Resolve(_ context.Context, ref string) (string, ocispec.Descriptor, error) {
	desc, err := l.root()
	return ref, desc, err
}

// root is the entry of index.json that was named, or the only one.
func (l *layoutSource) root() (ocispec.Descriptor, error) {
	var tags []string
	var found []ocispec.Descriptor
	for _, d := range l.index.Manifests {
		tag := d.Annotations[ocispec.AnnotationRefName]
		tags = append(tags, tag)
		switch {
		case l.reference != "" && (tag == l.reference || d.Digest.String() == l.reference):
			return bare(d), nil
		case l.reference == "" && tag != "":
			found = append(found, d)
		}
	}
	if d := digest.Digest(l.reference); d.Validate() == nil {
		return l.byDigest(d)
	}
	if l.reference == "" && len(found) == 0 {
		found = l.index.Manifests
	}
	if len(found) == 1 && l.reference == "" {
		return bare(found[0]), nil
	}
	slices.Sort(tags)
	tags = slices.DeleteFunc(slices.Compact(tags), func(t string) bool { return t == "" })
	if l.reference == "" {
		return ocispec.Descriptor{}, usagef("%s holds several images; name one by tag or digest: %s", l.path, strings.Join(tags, ", "))
	}
	return ocispec.Descriptor{}, fmt.Errorf("%s: no %s in index.json, which has %s: %w", l.path, l.reference, strings.Join(tags, ", "), errdefs.ErrNotFound)
}

// byDigest describes a document that index.json does not name.
func (l *layoutSource) byDigest(d digest.Digest) (ocispec.Descriptor, error) {
	data, err := l.read(blobFile(d), maxManifest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var document struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(data, &document); err != nil || !nested.IsDocument(document.MediaType) {
		return ocispec.Descriptor{}, fmt.Errorf("%s: %s does not say that it is a manifest or an index", l.path, d)
	}
	return ocispec.Descriptor{MediaType: document.MediaType, Digest: d, Size: int64(len(data))}, nil
}

// Fetcher implements remotes.Resolver.
func (l *layoutSource) Fetcher(context.Context, string) (remotes.Fetcher, error) { return l, nil }

// Pusher implements remotes.Resolver.
func (l *layoutSource) Pusher(context.Context, string) (remotes.Pusher, error) {
	return nil, errdefs.ErrNotImplemented
}

// Fetch implements remotes.Fetcher.
func (l *layoutSource) Fetch(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, err
	}
	file, _, err := l.open(blobFile(desc.Digest))
	if err != nil {
		return nil, err
	}
	if err := l.checkLink(desc.Digest, file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// checkLink reads what a link leads to before it is sent anywhere: links are
// how some build tools make layouts, and may lead to any file of the user's.
func (l *layoutSource) checkLink(d digest.Digest, file blob) error {
	if l.archive {
		return nil
	}
	info, err := os.Lstat(filepath.Join(l.path, blobFile(d)))
	if err != nil || info.Mode().IsRegular() {
		return err
	}
	verifier := d.Verifier()
	if _, err = io.Copy(verifier, file); err != nil {
		return err
	}
	if !verifier.Verified() {
		return fmt.Errorf("%s: %s is a link to something else", l.path, blobFile(d))
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}

var _ remotes.ReferrersFetcher = (*layoutSource)(nil)

// FetchReferrers implements remotes.ReferrersFetcher: they stand in index.json.
func (l *layoutSource) FetchReferrers(_ context.Context, d digest.Digest, _ ...remotes.FetchReferrersOpt) ([]ocispec.Descriptor, error) {
	referrers, err := l.once()
	return referrers[d], err
}

func (l *layoutSource) readReferrers() (map[digest.Digest][]ocispec.Descriptor, error) {
	referrers := map[digest.Digest][]ocispec.Descriptor{}
	for _, d := range l.index.Manifests {
		if !nested.IsDocument(d.MediaType) || d.Digest.Validate() != nil {
			continue
		}
		data, err := l.read(blobFile(d.Digest), maxManifest)
		if errdefs.IsNotFound(err) { // whoever needs it says so
			continue
		}
		if err != nil {
			return nil, err
		}
		subject, referrer := describeReferrer(bare(d), data)
		if subject != "" {
			referrers[subject] = append(referrers[subject], referrer)
		}
	}
	return referrers, nil
}

// describeReferrer reads what a manifest or index refers to, and describes it
// as a registry's list of referrers does.
func describeReferrer(d ocispec.Descriptor, data []byte) (subject digest.Digest, _ ocispec.Descriptor) {
	var document struct {
		ArtifactType string             `json:"artifactType"`
		Config       ocispec.Descriptor `json:"config"`
		Subject      ocispec.Descriptor `json:"subject"`
		Annotations  map[string]string  `json:"annotations"`
	}
	if err := json.Unmarshal(data, &document); err != nil {
		return "", d
	}
	d.ArtifactType, d.Annotations = document.ArtifactType, document.Annotations
	if d.ArtifactType == "" && images.IsManifestType(d.MediaType) {
		d.ArtifactType = document.Config.MediaType
	}
	return document.Subject.Digest, d
}
