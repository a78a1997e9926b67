package find

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"strconv"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// findManifest finds an index or a manifest, and follows it. For a tag of a
// carrier it finds the index that the carrier carries.
func (f *Finder) findManifest(ctx context.Context, q Request) (*http.Response, error) {
	find := f.byDigest
	switch {
	case q.head && q.tag != "":
		find = f.headTag
	case q.tag != "":
		find = f.byTag
	}
	c, err := find(ctx, q)
	if err != nil {
		return nil, err
	}
	if !q.head {
		f.readAhead.observe(q, c)
	}
	f.hop(ctx, q, c.served)
	return c.answer(), nil
}

// headTag makes a HEAD request, as the client does: registries count a GET as a
// pull. A manifest that may be a carrier is read, and kept for the GET that
// follows.
func (f *Finder) headTag(ctx context.Context, q Request) (*content, error) {
	resp, from, err := f.requestTag(ctx, q, http.MethodHead)
	if err != nil && !registry.IsRefusedHead(err) {
		return nil, err
	}
	var c *content
	if err == nil {
		if c = described(resp); c != nil {
			c.served = from
		}
	}
	if c == nil {
		if c, err = f.byTag(ctx, q); err == nil && c.verified(c.digest) { // the digest may be what the registry claims
			c = f.held.put(ctx, q, c)
		}
		return c, err
	}
	if images.IsIndexType(c.mediaType) {
		f.searches.again(q.tenant()) // the client may have it, and then only asks for what it names
	}
	if !images.IsManifestType(c.mediaType) || from != q.repository || c.size > 2*f.rule.Limits().Manifest {
		return c, nil
	}
	if carried := f.carriedIn(ctx, q, c.digest); carried != nil {
		if err = f.locations.Learn(ctx, q.repository, nested.CarriedIn(q.repository, *carried)); err != nil {
			return nil, err
		}
		return &content{mediaType: carried.MediaType, digest: carried.Digest, size: carried.Size, header: http.Header{}}, nil
	}
	return c, nil
}

// described is content of which only the headers are known; nil when they
// do not say enough, or may be those of a page.
func described(resp *http.Response) *content {
	_ = resp.Body.Close()
	c := &content{mediaType: registry.MediaType(resp.Header.Get("Content-Type")), digest: digest.Digest(resp.Header.Get("Docker-Content-Digest")), size: resp.ContentLength, header: keptHeader(resp)}
	if !oci.IsManifestOrIndex(c.mediaType) || c.digest.Validate() != nil || c.size < 0 {
		return nil
	}
	return c
}

// plain is the place of content that has nothing to do with child namespaces.
func plain(in auth.Repository, d digest.Digest) nested.Place {
	return nested.PlaceIn(in, ocispec.Descriptor{Digest: d})
}

// requestTag requests a tag: in the repository of the request, or for the
// referrers of a member where the member is.
func (f *Finder) requestTag(ctx context.Context, q Request, method string) (resp *http.Response, from auth.Repository, err error) {
	p := plain(q.repository, "")
	if subject, ok := oci.SubjectOfTag(q.tag); ok {
		if p, err = f.home(ctx, q, subject); err != nil {
			return nil, from, err
		}
	}
	resp, from, err = firstAnswer(p, q.repository, func(candidate auth.Repository) (*http.Response, error) {
		return f.upstream.do(ctx, candidate, query{method: method, kind: Manifests, reference: q.tag, accept: registry.Accept("")})
	})
	if err == nil && from == q.repository {
		f.rights.grant(q)
	}
	return resp, from, err
}

// byTag fetches what a tag names.
func (f *Finder) byTag(ctx context.Context, q Request) (*content, error) {
	var from auth.Repository
	c, err := f.fetchContent(ctx, f.readLimit(plain(q.repository, "")), func() (resp *http.Response, err error) {
		resp, from, err = f.requestTag(ctx, q, http.MethodGet)
		return resp, err
	})
	if err != nil {
		return nil, err
	}
	c.served = from
	if c.buffered() && c.header.Get("Content-Encoding") == "" {
		if c.mediaType, err = registry.ManifestType(from.String(), c.mediaType, c.data); err != nil {
			return nil, err
		}
	}
	c.digest = digest.Digest(c.header.Get("Docker-Content-Digest"))
	if c.digest.Validate() != nil && c.buffered() {
		c.digest = digest.FromBytes(c.data)
	}
	if from != q.repository {
		if err = f.followReferrer(ctx, q, c, from); err != nil {
			return nil, errors.Join(err, c.close())
		}
		return c, nil
	}
	found, err := f.follow(ctx, q, plain(from, c.digest), c, from)
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	carried := carriedBy(found)
	if carried == nil {
		return c, nil
	}
	if err = c.close(); err == nil { // so that it holds no memory while it waits for more
		c, _, err = f.load(ctx, q, *carried)
	}
	return c, err
}

// byDigest finds a manifest or index. A HEAD of a plain one is passed on as a
// HEAD. Any other is read, and kept for the GET that follows.
func (f *Finder) byDigest(ctx context.Context, q Request) (c *content, err error) {
	if held, ok := f.held.take(ctx, q, q.digest); ok {
		return f.hold(ctx, q, held), nil
	}
	err = f.tryPlaces(ctx, q, func(p nested.Place, from auth.Repository) error {
		if q.head && !p.Strict() && p.Descriptor().MediaType == "" { // nothing is known of it
			if c, err = f.headDigest(ctx, q); c != nil || err != nil {
				return err
			}
		}
		if held, ok := f.held.take(ctx, q, q.digest); ok { // read while it was looked for
			c = held
			return nil
		}
		if isBlob(p) && !p.Carried() {
			p = p.As("", p.Descriptor().Size) // the client takes it for a manifest
		}
		c, err = f.loadFrom(ctx, q, p, from)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f.hold(ctx, q, c), nil
}

// hold keeps content that was read to answer a HEAD.
func (f *Finder) hold(ctx context.Context, q Request, c *content) *content {
	if q.head && len(c.data) > 0 {
		return f.held.put(ctx, q, c)
	}
	return c
}

// headDigest asks the repository itself. It returns nothing when the answer
// says too little.
func (f *Finder) headDigest(ctx context.Context, q Request) (*content, error) {
	resp, err := f.upstream.do(ctx, q.repository, query{method: http.MethodHead, kind: Manifests, reference: q.digest.String(), accept: registry.Accept("")})
	switch {
	case registry.IsRefusedHead(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return described(resp), nil
}

// loadFrom fetches the content at a place from one candidate, and follows it.
func (f *Finder) loadFrom(ctx context.Context, q Request, p nested.Place, from auth.Repository) (*content, error) {
	c, err := f.fetch(ctx, from, p)
	if err != nil {
		return nil, err
	}
	c.served = from
	if _, err = f.follow(ctx, q, p, c, from); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// load fetches the content at a place from the first candidate that has it,
// and follows it. found is what it names.
func (f *Finder) load(ctx context.Context, q Request, p nested.Place) (c *content, found []nested.Place, err error) {
	if c, err = f.fetchAny(ctx, q, p); err != nil {
		return nil, nil, err
	}
	if found, err = f.follow(ctx, q, p, c, c.served); err != nil {
		return nil, nil, errors.Join(err, c.close())
	}
	return c, found, nil
}

// fetchAny fetches the content at a place from the first candidate that has it.
func (f *Finder) fetchAny(ctx context.Context, q Request, p nested.Place) (c *content, err error) {
	served := p.First()
	if desc := p.Descriptor(); p.Carried() && len(desc.Data) > 0 {
		data := desc.Data
		memory, failed := take(ctx, f.memory.content, int64(len(data)))
		if failed != nil {
			return nil, failed
		}
		c = &content{memory: memory, mediaType: desc.MediaType, digest: desc.Digest, data: data, size: int64(len(data)), header: http.Header{}}
	} else if served, err = p.Try(q.repository, func(candidate auth.Repository) (err error) {
		c, err = f.fetch(ctx, candidate, p)
		return err
	}); err != nil {
		return nil, err
	}
	c.served = served
	return c, nil
}

// at is the place with what is known of the content.
func (c *content) at(p nested.Place) nested.Place {
	return p.As(c.mediaType, c.size)
}

// answer is the answer with the content, which its body owns from then on.
func (c *content) answer() *http.Response {
	c.decodedMemory.Release()
	header := maps.Clone(c.header) // its values are replaced
	header.Set("Content-Type", c.mediaType)
	header.Set("Docker-Content-Digest", c.digest.String())
	if c.size >= 0 {
		header.Set("Content-Length", strconv.FormatInt(c.size, 10))
	}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: c.body(), ContentLength: c.size}
}

// body is the content as the body of an answer.
func (c *content) body() io.ReadCloser {
	if c.buffered() {
		return &sent{bytes.NewReader(c.data), c}
	}
	return &begun{c, bytes.NewReader(c.data)}
}

// sent is content that is at hand: it is written at once.
type sent struct {
	*bytes.Reader
	content *content
}

// Close implements [io.Closer].
func (s *sent) Close() error { return s.content.close() }

// begun is content of which the beginning is at hand.
type begun struct {
	content *content
	begin   *bytes.Reader
}

// Read implements [io.Reader].
func (s *begun) Read(p []byte) (int, error) {
	if n, err := s.begin.Read(p); err == nil {
		return n, nil
	}
	if s.content.data != nil { // the rest may take as long as the client likes
		s.begin, s.content.data = bytes.NewReader(nil), nil
		s.content.memory.Release()
	}
	return s.content.rest.Read(p)
}

// Close implements [io.Closer].
func (s *begun) Close() error { return s.content.close() }
