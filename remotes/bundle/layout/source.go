package layout

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/delta"
	"github.com/nestedoci/nested/remotes/nested"
)

// Source is an OCI layout as a resolver. For any repository it returns the
// content of the layout.
type Source struct {
	Place
	dir   *os.Root // of a layout
	file  archiveFile
	tar   *tarFiles // in it
	index indexFile // index.json
	delta deltaList // what it leaves out; nil if it is complete
	rest  delta.Fetch
	once  func() (referrers map[digest.Digest][]ocispec.Descriptor, err error)

	attached func() map[string][]attachment // by tag
}

// maxIndex bounds an index.json in bytes. It may name ten thousand members and
// their signatures.
const maxIndex = 64 << 20

// indexFile is the part of an index.json that is used.
type indexFile struct {
	Manifests indexEntries `json:"manifests"`
}

// indexEntries are decoded one by one: empty ones take a hundred times the
// memory of their text.
type indexEntries []ocispec.Descriptor

// maxEntries bounds the entries: as many as a bundle may have parts.
const maxEntries = bundle.MaxNodes

// UnmarshalJSON implements [json.Unmarshaler].
func (e *indexEntries) UnmarshalJSON(data []byte) (err error) {
	*e, err = decodeEach[ocispec.Descriptor](data, "manifests")
	return err
}

// decodeEach decodes the elements of a list, within the bound.
func decodeEach[T any](data []byte, name string) (all []T, err error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start == nil {
		return nil, err // null
	} else if start != json.Delim('[') {
		return nil, errors.New(name + " is not a list")
	}
	for d.More() {
		if len(all) == maxEntries {
			return nil, fmt.Errorf("it has more than %d entries", maxEntries)
		}
		var entry T
		if err := d.Decode(&entry); err != nil {
			return nil, err
		}
		all = append(all, entry)
	}
	return all, nil
}

// Open opens a layout or an archive for reading. An archive without random
// access, such as a pipe, is read to its end first.
func Open(ctx context.Context, p Place) (*Source, error) { return open(ctx, p, true) }

// open is Open, and may skip the checksums of an archive in parts.
func open(ctx context.Context, p Place, verify bool) (*Source, error) {
	l := &Source{Place: p}
	l.once, l.attached = sync.OnceValues(l.readReferrers), sync.OnceValue(l.readAttached)
	var err error
	if p.Archive {
		if l.file, err = openArchive(ctx, p.Path, verify); err != nil {
			return nil, err
		}
		if l.tar, err = readTar(l.file); err != nil {
			return nil, errors.Join(fmt.Errorf("%s: %w", p.Path, err), l.Close())
		}
	} else if l.dir, err = os.OpenRoot(p.Path); err != nil {
		return nil, fmt.Errorf("%s is not an OCI image layout: %w", p.Path, classed(err))
	}
	if err = l.readIndex(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s is not an OCI image layout: %w", p.Path, err), l.Close())
	}
	if err = l.readDelta(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", p.Path, err), l.Close())
	}
	return l, nil
}

// MalformedError is the error for a layout that does not match the image spec.
type MalformedError struct{ error }

func (e MalformedError) Unwrap() error { return e.error }

// readIndex reads index.json. Digests are checked because they become names of
// files.
func (l *Source) readIndex() error {
	data, err := l.read(ocispec.ImageIndexFile, maxIndex)
	if err != nil {
		return err
	}
	if err = json.Unmarshal(data, &l.index); err != nil {
		return MalformedError{fmt.Errorf("%s: %w", ocispec.ImageIndexFile, err)}
	}
	for i, d := range l.index.Manifests {
		if err = d.Digest.Validate(); err != nil {
			return MalformedError{fmt.Errorf("%s: manifests[%d]: digest %.64q: %w", ocispec.ImageIndexFile, i, d.Digest, err)}
		}
	}
	return nil
}

// Close releases the layout.
func (l *Source) Close() error {
	if l.file == nil {
		return l.dir.Close()
	}
	return l.file.Close()
}

// Bundle opens the content that the layout's reference names.
func (l *Source) Bundle(ctx context.Context) (*bundle.Bundle, error) {
	ref, err := l.Repository().WithTag(cmp.Or(l.Tag(), "root"))
	if err != nil {
		return nil, err
	}
	b, err := bundle.Open(ctx, nested.New(l, nested.Options{}), ref)
	if err == nil && l.delta != nil {
		b.Delta = l
	}
	return b, err
}

// blob is content with random access.
type blob interface {
	io.ReadSeeker
	io.Closer
}

type section struct{ *io.SectionReader }

func (section) Close() error { return nil }

// open opens a file of the layout. linked says that it may be any file, because
// links are how some build tools make layouts.
func (l *Source) open(name string) (_ blob, size int64, linked bool, err error) {
	if l.Archive {
		f, absent := l.tar.find(name)
		if absent != nil {
			return nil, 0, false, fmt.Errorf("%s: %w", l.Path, absent)
		}
		return section{io.NewSectionReader(l.file, f.offset, f.size)}, f.size, false, nil
	}
	file, info, err := openRegular(l.dir, name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // outside
		linked = true
		if file, err = os.OpenFile(filepath.Join(l.Path, name), os.O_RDONLY|openNonblock, 0); err == nil {
			info, err = checkRegular(file)
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, false, fmt.Errorf("%s: %s: %w", l.Path, name, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, 0, false, err
	}
	return file, info.Size(), linked || !hasOneName(info), nil
}

// read reads a small file of the layout.
func (l *Source) read(name string, most int64) ([]byte, error) {
	file, size, _, err := l.open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if size > most {
		return nil, fmt.Errorf("%s: %d bytes are more than such a file may have", name, size)
	}
	return io.ReadAll(io.LimitReader(file, most))
}

func blobFile(d digest.Digest) string {
	return path.Join(ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded())
}

// Resolve implements remotes.Resolver: the layout's own reference counts.
func (l *Source) Resolve(_ context.Context, ref string) (string, ocispec.Descriptor, error) {
	desc, err := l.root()
	return ref, desc, err
}

// byDigest describes a manifest or index that index.json does not name.
func (l *Source) byDigest(d digest.Digest) (ocispec.Descriptor, error) {
	data, err := l.read(blobFile(d), oci.MaxManifest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var content struct {
		MediaType string `json:"mediaType"`
	}
	if err := json.Unmarshal(data, &content); err != nil || !oci.IsManifestOrIndex(content.MediaType) {
		return ocispec.Descriptor{}, fmt.Errorf("%s: %s does not say that it is a manifest or an index", l.Path, d)
	}
	return ocispec.Descriptor{MediaType: content.MediaType, Digest: d, Size: int64(len(data))}, nil
}

// Fetcher implements remotes.Resolver.
func (l *Source) Fetcher(_ context.Context, ref string) (remotes.Fetcher, error) {
	at, err := oci.RepositoryOf(ref)
	return fetcherOf{l, at}, err
}

// Pusher implements remotes.Resolver.
func (l *Source) Pusher(context.Context, string) (remotes.Pusher, error) {
	return nil, errdefs.ErrNotImplemented
}

// Fetch implements remotes.Fetcher.
func (l *Source) Fetch(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if err := desc.Digest.Validate(); err != nil {
		return nil, err
	}
	file, _, linked, err := l.open(blobFile(desc.Digest))
	if err == nil && linked {
		if err = l.checkLink(desc.Digest, file); err != nil {
			err = errors.Join(err, file.Close())
		}
	}
	if err != nil {
		return nil, err
	}
	return file, nil
}

// checkLink reads the target of a link before it is sent anywhere: it may be
// any file of the user's.
func (l *Source) checkLink(d digest.Digest, file blob) error {
	verifier := d.Verifier()
	if _, err := io.Copy(verifier, file); err != nil {
		return err
	}
	if !verifier.Verified() {
		return fmt.Errorf("%s: %s is a link to something else", l.Path, blobFile(d))
	}
	_, err := file.Seek(0, io.SeekStart)
	return err
}

var _ remotes.ReferrersFetcher = (*Source)(nil)

// FetchReferrers implements remotes.ReferrersFetcher: referrers are entries of
// index.json.
func (l *Source) FetchReferrers(_ context.Context, d digest.Digest, _ ...remotes.FetchReferrersOpt) ([]ocispec.Descriptor, error) {
	referrers, err := l.once()
	return referrers[d], err
}

func (l *Source) readReferrers() (map[digest.Digest][]ocispec.Descriptor, error) {
	referrers := map[digest.Digest][]ocispec.Descriptor{}
	for _, d := range l.index.Manifests {
		if !oci.IsManifestOrIndex(d.MediaType) || d.Digest.Validate() != nil {
			continue
		}
		data, err := l.read(blobFile(d.Digest), oci.MaxManifest)
		if errdefs.IsNotFound(err) { // the reader that needs it says so
			continue
		}
		if err != nil {
			return nil, err
		}
		subject, referrer := oci.DescribeReferrer(bundle.Bare(d), data)
		if subject != "" {
			referrers[subject] = append(referrers[subject], referrer)
		}
	}
	return referrers, nil
}
