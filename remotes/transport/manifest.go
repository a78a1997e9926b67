package transport

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
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
	d, err := find(ctx, q)
	if err != nil {
		return nil, err
	}
	if !q.head {
		f.ahead.expect(q, d)
	}
	f.hop(q, d.served)
	return d.answer(), nil
}

// headTag asks with HEAD, as the client does: registries count what is fetched
// otherwise. A manifest of which is not known whether it is a carrier is read,
// and kept for the GET that follows.
func (f *Finder) headTag(ctx context.Context, q Request) (*document, error) {
	resp, from, err := f.askTag(ctx, q, http.MethodHead)
	if err != nil && !isRefusedHead(err) {
		return nil, err
	}
	var d *document
	if err == nil {
		if d = described(resp); d != nil {
			d.served = from
		}
	}
	if d == nil {
		if d, err = f.byTag(ctx, q); err == nil && d.verified(d.digest) { // which may be what the registry says
			d = f.held.put(ctx, q, d)
		}
		return d, err
	}
	if !images.IsManifestType(d.mediaType) || from != q.repository || d.size > 2*f.rule.Limits().Manifest {
		return d, nil
	}
	if carried := f.carriedIn(ctx, q, d.digest); carried != nil {
		if err = f.locations.Learn(ctx, q.repository, nested.CarriedIn(q.repository, *carried)); err != nil {
			return nil, err
		}
		return &document{mediaType: carried.MediaType, digest: carried.Digest, size: carried.Size, header: http.Header{}}, nil
	}
	return d, nil
}

// described is a document of which only the headers are known; nil when they
// do not say enough, or may be those of a page.
func described(resp *http.Response) *document {
	_ = resp.Body.Close()
	d := &document{mediaType: registry.MediaType(resp.Header.Get("Content-Type")), digest: digest.Digest(resp.Header.Get("Docker-Content-Digest")), size: resp.ContentLength, header: told(resp)}
	if !oci.IsManifestOrIndex(d.mediaType) || d.digest.Validate() != nil || d.size < 0 {
		return nil
	}
	return d
}

// carriedIn returns the index that a manifest carries. When the manifest
// cannot be had, it is left to the client to find that out.
func (f *Finder) carriedIn(ctx context.Context, q Request, d digest.Digest) *ocispec.Descriptor {
	if carried, known := f.carriers.get(d); known {
		return carried
	}
	p := plain(q.repository, d)
	manifest, found, err := f.load(ctx, q, p)
	if err != nil {
		return nil
	}
	f.held.put(ctx, q, manifest)
	if p := carriedBy(found); p != nil {
		desc := p.Descriptor()
		return &desc
	}
	return nil
}

// plain is where content is that has nothing to do with child namespaces.
func plain(in auth.Repository, d digest.Digest) nested.Place {
	return nested.PlaceIn(in, ocispec.Descriptor{Digest: d})
}

// referrersTag is the distribution spec's fallback for registries without a
// referrers API: the digest of the subject as a tag.
var referrersTag = regexp.MustCompile(`^(sha256|sha512)-([0-9a-f]{64,128})`)

// askTag asks for a tag: in the repository of the request, or for the
// referrers of a member where the member is.
func (f *Finder) askTag(ctx context.Context, q Request, method string) (resp *http.Response, from auth.Repository, err error) {
	p := plain(q.repository, "")
	if m := referrersTag.FindStringSubmatch(q.tag); m != nil {
		if p, err = f.home(ctx, q, digest.Digest(m[1]+":"+m[2])); err != nil {
			return nil, from, err
		}
	}
	resp, from, err = askEach(p, q.repository, func(candidate auth.Repository) (*http.Response, error) {
		return f.upstream.do(ctx, candidate, query{method: method, kind: Manifests, reference: q.tag, accept: acceptAll})
	})
	if err == nil && from == q.repository {
		f.rights.grant(q)
	}
	return resp, from, err
}

// byTag fetches what a tag names.
func (f *Finder) byTag(ctx context.Context, q Request) (*document, error) {
	var from auth.Repository
	d, err := f.askDocument(ctx, f.most(plain(q.repository, "")), func() (resp *http.Response, err error) {
		resp, from, err = f.askTag(ctx, q, http.MethodGet)
		return resp, err
	})
	if err != nil {
		return nil, err
	}
	d.served = from
	if d.whole() && d.header.Get("Content-Encoding") == "" {
		if d.mediaType, err = registry.ManifestType(from.String(), d.mediaType, d.data); err != nil {
			return nil, err
		}
	}
	d.digest = digest.Digest(d.header.Get("Docker-Content-Digest"))
	if d.digest.Validate() != nil && d.whole() {
		d.digest = digest.FromBytes(d.data)
	}
	if from != q.repository {
		if err = f.followReferrer(ctx, q, d, from); err != nil {
			return nil, errors.Join(err, d.close())
		}
		return d, nil
	}
	found, err := f.follow(ctx, q, plain(from, d.digest), d, from)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	carried := carriedBy(found)
	if carried == nil {
		return d, nil
	}
	if err = d.close(); err == nil { // its memory is not held while more is waited for
		d, _, err = f.load(ctx, q, *carried)
	}
	return d, err
}

// byDigest finds an index or a manifest. Of what is plain a HEAD is answered
// with a HEAD; the rest is read, and kept for the GET that follows.
func (f *Finder) byDigest(ctx context.Context, q Request) (d *document, err error) {
	if held, ok := f.held.take(ctx, q, q.digest); ok {
		return f.hold(ctx, q, held), nil
	}
	err = f.tryPlaces(ctx, q, func(p nested.Place, from auth.Repository) error {
		if q.head && !p.Strict() && p.Descriptor().MediaType == "" { // nothing is known of it
			if d, err = f.headDigest(ctx, q); d != nil || err != nil {
				return err
			}
		}
		if held, ok := f.held.take(ctx, q, q.digest); ok { // read while it was looked for
			d = held
			return nil
		}
		if isBlob(p) && !p.Carried() {
			p = p.As("", p.Descriptor().Size) // the client takes it for a manifest
		}
		d, err = f.loadFrom(ctx, q, p, from)
		return err
	})
	if err != nil {
		return nil, err
	}
	return f.hold(ctx, q, d), nil
}

// hold keeps a document that was read to answer a HEAD.
func (f *Finder) hold(ctx context.Context, q Request, d *document) *document {
	if q.head && len(d.data) > 0 {
		return f.held.put(ctx, q, d)
	}
	return d
}

// headDigest asks the repository itself. It returns nothing when the answer
// says too little.
func (f *Finder) headDigest(ctx context.Context, q Request) (*document, error) {
	resp, err := f.upstream.do(ctx, q.repository, query{method: http.MethodHead, kind: Manifests, reference: q.digest.String(), accept: acceptAll})
	switch {
	case isRefusedHead(err):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return described(resp), nil
}

// loadFrom fetches the document at a place from one candidate, and follows it.
func (f *Finder) loadFrom(ctx context.Context, q Request, p nested.Place, from auth.Repository) (*document, error) {
	d, err := f.fetch(ctx, from, p)
	if err != nil {
		return nil, err
	}
	d.served = from
	if _, err = f.follow(ctx, q, p, d, from); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// load fetches the document at a place from the first candidate that has it,
// and follows it. found is what it points to.
func (f *Finder) load(ctx context.Context, q Request, p nested.Place) (d *document, found []nested.Place, err error) {
	if d, err = f.fetchAny(ctx, q, p); err != nil {
		return nil, nil, err
	}
	if found, err = f.follow(ctx, q, p, d, d.served); err != nil {
		return nil, nil, errors.Join(err, d.close())
	}
	return d, found, nil
}

// fetchAny fetches the document at a place from the first candidate that has it.
func (f *Finder) fetchAny(ctx context.Context, q Request, p nested.Place) (d *document, err error) {
	served := p.First()
	if desc := p.Descriptor(); p.Carried() && len(desc.Data) > 0 {
		data := desc.Data
		room, failed := take(ctx, f.memory.documents, int64(len(data)))
		if failed != nil {
			return nil, failed
		}
		d = &document{room: room, mediaType: desc.MediaType, digest: desc.Digest, data: data, size: int64(len(data)), header: http.Header{}}
	} else if served, err = p.Try(q.repository, func(candidate auth.Repository) (err error) {
		d, err = f.fetch(ctx, candidate, p)
		return err
	}); err != nil {
		return nil, err
	}
	d.served = served
	return d, nil
}

// findCarried finds a digest that the repository does not have under
// /manifests/ as the index of a carrier: a blob that is a nested index.
func (f *Finder) findCarried(ctx context.Context, q Request) (nested.Place, bool) {
	p := nested.BlobIn(q.repository, ocispec.Descriptor{Digest: q.digest})
	d, err := f.fetch(ctx, q.repository, p)
	if err != nil {
		return p, false // the client hears of what is missing, not of this
	}
	if !d.verified(q.digest) {
		_ = d.close()
		return p, false
	}
	d.mediaType = indexType(d.data)
	p = p.AsStrict()
	found, isNested, err := f.read(ctx, d.at(p), d, q.repository)
	if !isNested || err != nil {
		_ = d.close()
		return p, false
	}
	p = d.at(p)
	if f.locations.LearnManifest(ctx, q.repository, p, q.repository, found) != nil {
		_ = d.close()
		return p, false
	}
	f.held.put(ctx, q, d)
	return p, true
}

// indexType is the media type that an index gives itself.
func indexType(data []byte) string {
	var index struct{ MediaType string }
	if json.Unmarshal(data, &index) == nil && images.IsIndexType(index.MediaType) {
		return index.MediaType
	}
	return ocispec.MediaTypeImageIndex
}

// at is the place with what is known of the document.
func (d *document) at(p nested.Place) nested.Place {
	return p.As(d.mediaType, d.size)
}

// answer is the answer with the document, which its body holds from then on.
func (d *document) answer() *http.Response {
	d.decoded.Release()
	header := d.header.Clone()
	header.Set("Content-Type", d.mediaType)
	header.Set("Docker-Content-Digest", d.digest.String())
	if d.size >= 0 {
		header.Set("Content-Length", strconv.FormatInt(d.size, 10))
	}
	return &http.Response{StatusCode: http.StatusOK, Header: header, Body: &sent{d, bytes.NewReader(d.data)}, ContentLength: d.size}
}

// sent is a document as the body of an answer.
type sent struct {
	document *document
	begin    *bytes.Reader
}

// Read implements [io.Reader].
func (s *sent) Read(p []byte) (int, error) {
	if n, err := s.begin.Read(p); err == nil || s.document.whole() {
		return n, err
	}
	if s.document.data != nil { // the rest may take as long as the client likes
		s.begin, s.document.data = bytes.NewReader(nil), nil
		s.document.room.Release()
	}
	return s.document.rest.Read(p)
}

// Close implements [io.Closer].
func (s *sent) Close() error { return s.document.close() }
