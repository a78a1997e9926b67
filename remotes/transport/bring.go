package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// bringing brings to the repository of a push what is named there, is not there,
// and is in a member: a client does not push what a HEAD was answered for from a
// member. Nobody gets more than before: it is read as for this client, and pushed
// with what the client's request shows.
type bringing struct {
	*push
	left int                    // descriptors that may still be looked at
	seen map[digest.Digest]bool // of them

	mu      sync.Mutex
	brought int
	refused map[auth.Repository]bool // from which the registry mounts nothing
}

// errNowhere says that what is missing is not brought. The registry's own answer
// says what it is.
var errNowhere = fmt.Errorf("it is not brought: %w", errdefs.ErrNotFound)

func (p *push) bringing() *bringing {
	return &bringing{push: p, left: p.finder.Rule().Limits().Descriptors, seen: map[digest.Digest]bool{}, refused: map[auth.Repository]bool{}}
}

// bring brings what the manifest or index names, and reports whether it is worth
// pushing it again. It is not when something is in no member, or not for this
// client. An error says that this could not be found out, or done.
func (p *push) bring(ctx context.Context) (bool, error) {
	ctx, end := p.finder.Part(ctx, p.q)
	defer end()
	p.finder.Began(ctx)
	b := p.bringing()
	err := b.below(ctx, p.desc, p.data, 0)
	if isNowhere(err) {
		return false, nil
	}
	return b.brought > 0, err
}

// bringOwn brings what is missing of a nested index's own repository, and returns
// what is missing then. What is to be in a member is not for that to have.
func (p *push) bringOwn(ctx context.Context, missing []nested.Place) (left []nested.Place, err error) {
	b := p.bringing()
	for _, m := range missing {
		err := errNowhere
		if m.First() == p.q.Repository() {
			err = b.one(ctx, m, 1)
		}
		switch {
		case isNowhere(err):
			left = append(left, m)
		case err != nil:
			return nil, err
		}
	}
	return left, nil
}

// isNowhere reports whether something is in no member, or not for this client.
func isNowhere(err error) bool {
	return errdefs.IsNotFound(err) || errdefs.IsPermissionDenied(err) || errdefs.IsUnauthorized(err)
}

// one brings one thing that is named.
func (b *bringing) one(ctx context.Context, p nested.Place, depth int) error {
	if isManifest(p) {
		return b.manifest(ctx, p, depth)
	}
	return b.blob(ctx, p)
}

func isManifest(p nested.Place) bool {
	return p.Entry() && oci.IsManifestOrIndex(p.Descriptor().MediaType)
}

// below brings what a manifest or index names: blobs side by side, then the
// manifests and indexes, each with what it names itself. What a nested index names
// stays where it is.
func (b *bringing) below(ctx context.Context, desc ocispec.Descriptor, data []byte, depth int) error {
	found, isNested, release, err := b.finder.Follow(ctx, nested.PlaceIn(b.q.Repository(), desc), data)
	defer release()
	if b.left -= len(found); err == nil && (isNested || b.left < 0 || depth > b.finder.Rule().Limits().Depth) {
		err = errNowhere
	}
	if err != nil {
		return err
	}
	var manifests []nested.Place
	group, blobs := errgroup.WithContext(ctx)
	group.SetLimit(lookups)
	for _, p := range found {
		switch d := p.Descriptor(); {
		case isManifest(p):
			manifests = append(manifests, p)
		case b.isNew(d.Digest) && !oci.IsForeign(d):
			group.Go(func() error { return b.blob(blobs, p) })
		}
	}
	err = group.Wait()
	for _, p := range manifests {
		if err == nil && b.isNew(p.Descriptor().Digest) {
			err = b.manifest(ctx, p, depth+1)
		}
	}
	return err
}

// isNew reports whether a digest is looked at for the first time.
func (b *bringing) isNew(d digest.Digest) bool {
	seen := b.seen[d]
	b.seen[d] = true
	return !seen
}

// manifest brings a manifest or index, after what it names.
func (b *bringing) manifest(ctx context.Context, p nested.Place, depth int) error {
	ctx, end := b.finder.Part(ctx, b.q)
	defer end()
	if err := b.finder.Has(ctx, b.q.Repository(), p); !errdefs.IsNotFound(err) {
		return err
	}
	desc := p.Descriptor()
	data, err := b.finder.ReadNamed(ctx, b.q, desc)
	if err != nil {
		return err
	}
	b.finder.Began(ctx)
	if err = b.below(ctx, desc, data, depth); err != nil {
		return err
	}
	return b.done(b.putManifest(ctx, desc.Digest.String(), desc.MediaType, data))
}

// blob brings a blob: mounted where the registry does that for this client, else
// as it comes from the member, without being held.
func (b *bringing) blob(ctx context.Context, p nested.Place) error {
	ctx, end := b.finder.Part(ctx, b.q)
	defer end()
	if err := b.finder.Has(ctx, b.q.Repository(), p); !errdefs.IsNotFound(err) {
		return err
	}
	desc := p.Descriptor()
	from, err := b.finder.Locate(ctx, b.q, desc.Digest)
	if err != nil || from.At == b.q.Repository() {
		return err
	}
	upload, err := b.mount(ctx, desc.Digest, from.At)
	if err != nil {
		return err
	}
	if upload != nil {
		if err = b.stream(ctx, from, desc, upload); err != nil {
			b.cancel(ctx, upload)
		}
	}
	return b.done(err)
}

// done counts what was brought.
func (b *bringing) done(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		b.brought++
	}
	return err
}

// mount mounts a blob from a repository, and returns nil. Where the registry does
// not, it begins an upload.
func (b *bringing) mount(ctx context.Context, d digest.Digest, from auth.Repository) (*url.URL, error) {
	b.mu.Lock()
	refused := b.refused[from]
	b.mu.Unlock()
	if refused {
		return b.begin(ctx, nil)
	}
	upload, err := b.begin(ctx, url.Values{"mount": {d.String()}, "from": {from.Name()}})
	if err == nil || !registry.IsRefusal(err) {
		return upload, err
	}
	b.mu.Lock()
	b.refused[from] = true // as registries do where the token is for one repository
	b.mu.Unlock()
	return b.begin(ctx, nil)
}

// stream sends a blob from a member to its upload.
func (b *bringing) stream(ctx context.Context, from find.Located, desc ocispec.Descriptor, upload *url.URL) error {
	resp, err := b.finder.Open(ctx, from)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.ContentLength >= 0 && resp.ContentLength != desc.Size {
		return errNowhere // the manifest says something else of it
	}
	b.finder.Began(ctx)
	source := &source{Reader: resp.Body, left: desc.Size}
	err = b.finishUpload(ctx, upload, desc.Digest, source, desc.Size)
	if source.err != nil {
		return fmt.Errorf("%s@%s: %w", from.At, oci.Short(desc.Digest), source.err)
	}
	return err
}

// source is a body that remembers its error, so that errors in reading can be told
// from those of the upload.
type source struct {
	io.Reader
	left int64 // of its size
	err  error
}

// Read implements [io.Reader].
func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	s.left -= int64(n)
	switch {
	case errors.Is(err, io.EOF) && s.left > 0:
		err = io.ErrUnexpectedEOF
		s.err = err
	case err != nil && !errors.Is(err, io.EOF):
		s.err = err
	}
	return n, err
}
