package nested

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// sought is content that is wanted, and where it may be.
type sought struct {
	desc   ocispec.Descriptor
	places Places
	plain  Places // how the root's repository is asked in the end
	known  bool   // nothing else is looked for
}

// find returns the places of content. What the location cache does not know may
// be below manifests and indexes that never passed through, because they were
// in the store already: those are read, first from the store, then from their
// repositories. Content that no manifest or index names has no place.
func (f *Fetcher) find(ctx context.Context, desc ocispec.Descriptor) (sought, error) {
	if s := f.seek(desc, f.locations.placesOf(desc.Digest)); len(s.places) > 0 {
		return s, nil
	}
	err := f.walkFor(ctx, func() bool { _, ok := f.locations.place(desc.Digest); return ok })
	return f.seek(desc, f.locations.placesOf(desc.Digest)), err
}

// seek is the content as its caller describes it: what they go through counts
// more than a claim, urls and all where it is plain.
func (f *Fetcher) seek(desc ocispec.Descriptor, places Places) sought {
	root := f.locations.root
	described := desc.Size > 0 && desc.MediaType != ""
	for i, p := range places {
		if !p.strict || described && !p.Own(root) {
			places[i].descriptor = desc
		}
	}
	s := sought{desc: desc, places: places, known: f.complete && len(places) > 0 || places.Known(root)}
	if !s.known {
		s.plain = Places{PlaceIn(root, desc)}
	}
	return s
}

// tryAll asks the repositories in which content may be. Where all that is known
// are claims that lead nowhere, manifests and indexes are read that may know
// better.
func (f *Fetcher) tryAll(ctx context.Context, s sought, try func(Place, auth.Repository) error) (Place, auth.Repository, error) {
	root := f.locations.root
	p, served, err := s.places.Try(ctx, root, s.plain, try)
	if err == nil || s.known || ctx.Err() != nil || isBusy(err) || errdefs.IsInvalidArgument(err) {
		return p, served, err
	}
	other := func(places Places) Places { return f.seek(s.desc, places.but(slices.Concat(s.places, s.plain))).places }
	more := other(f.locations.named(s.desc.Digest))
	if len(more) == 0 {
		if f.walkFor(ctx, func() bool { return len(other(f.locations.placesOf(s.desc.Digest))) > 0 }) != nil {
			return p, served, err
		}
		more = other(f.locations.named(s.desc.Digest))
	}
	if len(more) == 0 {
		return p, served, err
	}
	return more.Try(ctx, root, nil, try)
}

// walkFor reads manifests and indexes from the root on, from the store where it
// has them, until what is wanted is there.
func (f *Fetcher) walkFor(ctx context.Context, found func() bool) error {
	select {
	case f.walk <- struct{}{}:
		defer func() { <-f.walk }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for _, learn := range []func(context.Context, Place) error{f.learnFromStore, f.learnFromRegistry} {
		if err := f.walkWith(ctx, found, learn); err != nil {
			return err
		}
	}
	return nil
}

// reading is one way to read a manifest or index.
type reading struct {
	digest digest.Digest
	question
}

// walkWith reads no manifest or index twice. What is wrong with one that is only
// claimed to be there is no reason to stop.
func (f *Fetcher) walkWith(ctx context.Context, found func() bool, learn func(context.Context, Place) error) error {
	tried := map[reading]bool{}
	for progress := true; progress; {
		progress = false
		for _, p := range f.locations.unread() {
			if found() {
				return nil
			}
			q := reading{p.descriptor.Digest, p.question(p.by)}
			if _, ok := f.locations.parsedOf(q.digest); ok || tried[q] {
				continue
			}
			tried[q] = true
			err := learn(ctx, p)
			switch {
			case err == nil:
				progress = true
			case ctx.Err() != nil, p.Own(f.locations.root) && !errdefs.IsNotFound(err) && !isDenied(err):
				return err
			}
		}
	}
	return nil
}

// learnFromStore follows a manifest or index that is in the content store or at
// hand. It is an absence when it is in neither, or too large to be read.
func (f *Fetcher) learnFromStore(ctx context.Context, p Place) error {
	d := p.descriptor
	if data, ok := f.locations.heldBytes(d.Digest); ok {
		return f.locations.learn(p, data, f.locations.root)
	}
	if f.store == nil || !f.readable(p.descriptor) {
		return errdefs.ErrNotFound
	}
	data, err := readStored(ctx, f.store, d)
	if err != nil {
		return err
	}
	if oci.Verify(d, data) != "" {
		return errdefs.ErrNotFound
	}
	return f.locations.learn(p, data, auth.Repository{})
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

// learnFromRegistry follows a manifest or index by fetching it.
func (f *Fetcher) learnFromRegistry(ctx context.Context, p Place) error {
	if !f.readable(p.descriptor) {
		return errdefs.ErrNotFound
	}
	_, err := f.readAndLearn(ctx, sought{desc: p.descriptor, places: Places{p}, known: true})
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

// FetchByDigest implements remotes.FetcherByDigest in the repository where
// content was found, or else where the location cache says.
func (d digestFetcher) FetchByDigest(ctx context.Context, dgst digest.Digest, opts ...remotes.FetchByDigestOpts) (body io.ReadCloser, desc ocispec.Descriptor, err error) {
	_, _, err = d.f.tryAll(ctx, d.f.at(dgst), func(_ Place, candidate auth.Repository) error {
		inner, failed := d.f.innerFor(ctx, candidate, dgst)
		if failed == nil {
			body, desc, failed = inner.(remotes.FetcherByDigest).FetchByDigest(ctx, dgst, opts...)
		}
		return failed
	})
	return body, desc, err
}

type referrersFetcher struct{ f *Fetcher }

// FetchReferrers implements remotes.ReferrersFetcher: referrers of a member
// are in the repository in which the member was found, or else is expected.
// What several only claim to have is asked for in all of them: one is not to
// hide what another has.
func (r referrersFetcher) FetchReferrers(ctx context.Context, dgst digest.Digest, opts ...remotes.FetchReferrersOpt) (all []ocispec.Descriptor, err error) {
	s := r.f.at(dgst)
	repositories := union(nil, slices.Concat(s.places, s.plain)[0].targets[:1])
	if !s.known {
		for _, p := range slices.Concat(s.places, s.plain) {
			repositories = append(repositories, p.targets...)
		}
	}
	slices.SortFunc(repositories, func(a, b auth.Repository) int { return strings.Compare(a.String(), b.String()) })
	for _, repository := range slices.Compact(repositories) {
		inner, failed := r.f.innerFor(ctx, repository, dgst)
		if failed == nil {
			var listed []ocispec.Descriptor
			listed, failed = inner.(remotes.ReferrersFetcher).FetchReferrers(ctx, dgst, opts...)
			all = append(all, listed...)
		}
		err = errors.Join(err, failed)
	}
	if len(all) > 0 {
		err = nil
	}
	return all, err
}

// at is content by its digest: where it was found, or else may be.
func (f *Fetcher) at(d digest.Digest) sought {
	desc := ocispec.Descriptor{Digest: d}
	if repository, ok := f.Found(d); ok {
		p := PlaceIn(repository, desc)
		p.by = f.locations.root // it is known, whatever repository says so
		return sought{desc: desc, places: Places{p}, known: true}
	}
	return f.seek(desc, f.locations.placesOf(d))
}
