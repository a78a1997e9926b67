package nested

import (
	"context"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
)

// find returns the place of content. What the trail does not know may be
// below documents that never passed through, because they were in the store
// already: those are read, first from the store, then from their
// repositories. Content that no document names has no place.
func (f *Fetcher) find(ctx context.Context, desc ocispec.Descriptor) (Place, bool, error) {
	if p, ok := f.trail.place(desc.Digest); ok {
		return p, true, nil
	}
	select {
	case f.walk <- struct{}{}:
		defer func() { <-f.walk }()
	case <-ctx.Done():
		return Place{}, false, ctx.Err()
	}
	for _, learn := range []func(context.Context, Place) error{f.learnFromStore, f.learnFromRegistry} {
		if err := f.walkFor(ctx, desc.Digest, learn); err != nil {
			return Place{}, false, err
		}
	}
	p, ok := f.trail.place(desc.Digest)
	return p, ok, nil
}

// walkFor reads documents from the root on until one names the digest, and
// no document twice.
func (f *Fetcher) walkFor(ctx context.Context, wanted digest.Digest, learn func(context.Context, Place) error) error {
	tried := map[digest.Digest]bool{}
	for progress := true; progress; {
		progress = false
		for _, p := range f.trail.unread() {
			if _, ok := f.trail.place(wanted); ok {
				return nil
			}
			if tried[p.Descriptor.Digest] {
				continue
			}
			tried[p.Descriptor.Digest] = true
			err := learn(ctx, p)
			switch {
			case err == nil:
				progress = true
			case !errdefs.IsNotFound(err) && !isDenied(err):
				return err
			}
		}
	}
	return nil
}

// learnFromStore follows a document that is in the content store or at hand.
// It is an absence when it is in neither, or too large to be read.
func (f *Fetcher) learnFromStore(ctx context.Context, p Place) error {
	d := p.Descriptor
	if data, ok := f.trail.heldBytes(d.Digest); ok {
		return f.trail.learn(p, data, f.trail.root)
	}
	if f.store == nil || !f.readable(p) {
		return errdefs.ErrNotFound
	}
	data, err := readStored(ctx, f.store, d)
	if err != nil {
		return err
	}
	if verify(d, data) != "" {
		return errdefs.ErrNotFound
	}
	return f.trail.learn(p, data, auth.Repository{})
}

// readStored reads content of a store. What is there under the digest may be
// larger than the descriptor says.
func readStored(ctx context.Context, store content.Provider, d ocispec.Descriptor) ([]byte, error) {
	r, err := store.ReaderAt(ctx, d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if r.Size() != d.Size {
		return nil, fmt.Errorf("%s in the store: size is %d, not %d: %w", d.Digest, r.Size(), d.Size, errdefs.ErrNotFound)
	}
	return io.ReadAll(content.NewReader(r))
}

// learnFromRegistry follows a document by fetching it.
func (f *Fetcher) learnFromRegistry(ctx context.Context, p Place) error {
	if !f.readable(p) {
		return errdefs.ErrNotFound
	}
	_, err := f.readAndLearn(ctx, p)
	return err
}

// withInterfaces returns the fetcher with the optional interfaces that the
// wrapped one has.
func (f *Fetcher) withInterfaces() remotes.Fetcher {
	_, byDigest := f.root.(remotes.FetcherByDigest)
	_, referrers := f.root.(remotes.ReferrersFetcher)
	switch {
	case byDigest && referrers:
		return struct {
			*Fetcher
			digestFetcher
			referrersFetcher
		}{f, digestFetcher{f}, referrersFetcher{f}}
	case byDigest:
		return struct {
			*Fetcher
			digestFetcher
		}{f, digestFetcher{f}}
	case referrers:
		return struct {
			*Fetcher
			referrersFetcher
		}{f, referrersFetcher{f}}
	}
	return f
}

type digestFetcher struct{ f *Fetcher }

// FetchByDigest implements remotes.FetcherByDigest in the repository that the
// trail says.
func (d digestFetcher) FetchByDigest(ctx context.Context, dgst digest.Digest, opts ...remotes.FetchByDigestOpts) (io.ReadCloser, ocispec.Descriptor, error) {
	inner, err := d.f.at(ctx, dgst)
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	return inner.(remotes.FetcherByDigest).FetchByDigest(ctx, dgst, opts...)
}

type referrersFetcher struct{ f *Fetcher }

// FetchReferrers implements remotes.ReferrersFetcher: referrers of a member
// are in the repository in which the member was found.
func (r referrersFetcher) FetchReferrers(ctx context.Context, dgst digest.Digest, opts ...remotes.FetchReferrersOpt) ([]ocispec.Descriptor, error) {
	inner, err := r.f.at(ctx, dgst)
	if err != nil {
		return nil, err
	}
	return inner.(remotes.ReferrersFetcher).FetchReferrers(ctx, dgst, opts...)
}

// at returns the fetcher of the repository where content was found, or else
// is expected.
func (f *Fetcher) at(ctx context.Context, d digest.Digest) (remotes.Fetcher, error) {
	repository, ok := f.Found(d)
	if !ok {
		repository = f.trail.root
		if p, ok := f.trail.place(d); ok {
			repository = p.Targets[0]
		}
	}
	return f.innerFor(ctx, repository, d)
}
