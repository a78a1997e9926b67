package find

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// carriers remembers by digest which index a manifest carries, nil if none, so
// that a HEAD does not read it again. It is the same in every repository.
type carriers struct {
	known flight.Map[digest.Digest, *ocispec.Descriptor]
}

func (c *carriers) put(d digest.Digest, carried *nested.Place) {
	var index *ocispec.Descriptor
	if carried != nil {
		desc := carried.Detached().Descriptor() // its strings may share one copy of the manifest
		index = &desc
	}
	c.known.Put(d, index, flight.Forever)
}

func (c *carriers) get(d digest.Digest) (carried *ocispec.Descriptor, known bool) {
	return c.known.Get(d)
}

// of are the manifests that carry an index, as far as they were read.
func (c *carriers) of(index digest.Digest) []digest.Digest {
	return c.known.Keys(func(_ digest.Digest, carried *ocispec.Descriptor) bool {
		return carried != nil && carried.Digest == index
	})
}

// carriedIn returns the index that a manifest carries, nil if none or if the
// manifest cannot be fetched: the client will find that out itself.
func (f *Finder) carriedIn(ctx context.Context, q Request, d digest.Digest) *ocispec.Descriptor {
	carried, manifest, err := f.readCarrier(ctx, q, d)
	if err == nil && manifest != nil {
		f.held.put(ctx, q, manifest)
	}
	return carried
}

// readCarrier returns the index that a manifest carries, nil if none, and the
// manifest, nil if it did not need to be read.
func (f *Finder) readCarrier(ctx context.Context, q Request, d digest.Digest) (carried *ocispec.Descriptor, manifest *content, err error) {
	if known, ok := f.carriers.get(d); ok {
		return known, nil, nil
	}
	manifest, found, err := f.load(ctx, q, plain(q.repository, d))
	if err != nil {
		return nil, nil, err
	}
	if p := carriedBy(found); p != nil {
		desc := p.Descriptor()
		carried = &desc
	}
	return carried, manifest, nil
}

// findCarried finds a digest that the repository does not have under
// /manifests/ as the index of a carrier.
func (f *Finder) findCarried(ctx context.Context, q Request) (nested.Place, bool) {
	p, c, err := f.carriedIndex(ctx, q)
	if err != nil {
		return p, false // the client is told what is missing instead
	}
	f.held.put(ctx, q, c)
	return p, true
}

// carriedIndex reads a blob of the repository that is a nested index. The class of
// the error is errdefs.ErrNotFound when it is none.
func (f *Finder) carriedIndex(ctx context.Context, q Request) (nested.Place, *content, error) {
	p := nested.BlobIn(q.repository, ocispec.Descriptor{Digest: q.digest})
	c, err := f.fetch(ctx, q.repository, p)
	if err != nil {
		return p, nil, err
	}
	c.mediaType = indexType(c.data)
	p = c.at(p.AsStrict())
	err = fmt.Errorf("%s@%s: a blob that is no nested index: %w", q.repository, q.digest, errdefs.ErrNotFound)
	if c.verified(q.digest) {
		found, isNested, unread := f.read(ctx, p, c, q.repository)
		switch {
		case unread == nil && isNested:
			err = f.locations.LearnManifest(ctx, q.repository, p, q.repository, found)
		case isMemoryError(unread):
			err = unread
		}
	}
	if err != nil {
		return p, nil, errors.Join(err, c.close())
	}
	return p, c, nil
}

// indexType is the media type that an index gives itself.
func indexType(data []byte) string {
	var index struct{ MediaType string }
	if json.Unmarshal(data, &index) == nil && images.IsIndexType(index.MediaType) {
		return index.MediaType
	}
	return ocispec.MediaTypeImageIndex
}

// Carriers returns the digests of the manifests that carry the index with the
// digest of an origin's request, when the repository has that as a blob: the one
// that package nested makes, those that were read, maybe in other repositories,
// and those that the repository's tags name. A client whose request does not show
// the right to read is asked for with the credentials for members. The class of
// the error is errdefs.ErrNotFound when there is no such index.
func (f *Finder) Carriers(o *Origin) ([]digest.Digest, error) {
	ctx, end := f.Begin(o)
	defer end()
	found, err := f.carriersOf(ctx, o.parsed)
	if registry.IsRefusal(err) && !errdefs.IsNotFound(err) {
		found, err = f.carriersOf(context.WithValue(ctx, originKey{}, nil), o.parsed)
	}
	return found, err
}

func (f *Finder) carriersOf(ctx context.Context, q Request) ([]digest.Digest, error) {
	place, c, err := f.carriedIndex(ctx, q)
	if err != nil {
		return nil, err
	}
	made, _, err := nested.NewCarrier(place.Descriptor(), c.data)
	if err == nil {
		err = c.close() // before its memory is needed for others
	}
	if err != nil {
		return nil, err
	}
	tagged, err := f.taggedCarriers(ctx, q)
	all := append(tagged, f.carriers.of(q.digest)...)
	all = append(all, made.Digest)
	slices.Sort(all)
	return slices.Compact(all), err
}

// tagLookups bounds the tags that are looked at at a time.
const tagLookups = 8

// taggedCarriers are the carriers that the repository's tags name, as far as a
// search looks at them. Where tags may not be listed there are none.
func (f *Finder) taggedCarriers(ctx context.Context, q Request) (found []digest.Digest, err error) {
	tags, err := (&search{f: f, q: q}).list(ctx)
	if registry.IsRefusal(err) {
		return nil, nil
	}
	var mu sync.Mutex
	group, looking := errgroup.WithContext(ctx)
	group.SetLimit(tagLookups)
	for _, tag := range tags {
		group.Go(func() error {
			d, failed := f.carrierTagged(looking, q, tag)
			mu.Lock()
			defer mu.Unlock()
			if d != "" {
				found = append(found, d)
			}
			return failed
		})
	}
	if failed := group.Wait(); err == nil {
		err = failed
	}
	return found, err
}

// carrierTagged is the digest of what a tag names when that carries the index with
// the request's digest, and "" otherwise.
func (f *Finder) carrierTagged(ctx context.Context, q Request, tag string) (digest.Digest, error) {
	ctx, end := f.Part(ctx, q)
	defer end()
	resp, err := f.upstream.do(ctx, q.repository, query{method: http.MethodHead, kind: Manifests, reference: tag, accept: registry.Accept("")})
	if registry.IsRefusal(err) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	c := described(resp)
	if c == nil || !images.IsManifestType(c.mediaType) || c.size > 2*f.rule.Limits().Manifest {
		return "", nil
	}
	carried, manifest, err := f.readCarrier(ctx, q, c.digest)
	if registry.IsRefusal(err) {
		return "", nil
	}
	if err == nil && manifest != nil {
		err = manifest.close()
	}
	if err != nil || carried == nil || carried.Digest != q.digest {
		return "", err
	}
	return c.digest, nil
}

// Forget gives up what is kept of content of the request's repository, for
// whomever, after it was deleted.
func (f *Finder) Forget(q Request, digests ...digest.Digest) {
	for _, d := range digests {
		f.held.forget(q.repository, d)
		f.readAhead.forgetContent(q.repository, d)
	}
}

// forgetContent gives up what has a digest, whoever it is for.
func (a *readAhead) forgetContent(in auth.Repository, d digest.Digest) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range a.pulls {
		i := p.items[d]
		if p.tenant.repository != in || i == nil {
			continue
		}
		i.requested = true // so that it is not claimed
		if c := p.take(i); c != nil {
			c.memory.Release()
		}
	}
}
