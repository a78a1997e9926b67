package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// heldTime is for how long a document that was read for a HEAD is kept: the GET
// follows at once.
const heldTime = time.Minute

// document is an index or a manifest, read whole, with what the registry said
// of it. rest is what follows data in one that is too large to be read.
type document struct {
	mediaType string
	digest    digest.Digest
	data      []byte
	rest      io.ReadCloser
	size      int64 // of all, -1 when it is not known
	header    http.Header
	served    auth.Repository // who sent it; the zero value is the repository that was asked for
	fresh     []nested.Place  // what it points to, below a nested index, that was not in the location cache; nil without Prefetch
	room      *portion        // for data and header
	decoded   *portion        // for what was made of it: places
}

// whole reports whether all of the document is in data.
func (d *document) whole() bool { return d.rest == nil }

// most is how much of a document is read: what its place says where it must be
// that, and otherwise twice what documents below nested indexes may have.
// Nobody looks for child namespaces beyond it.
func (f *Finder) most(p nested.Place) int64 {
	most := 2 * f.rule.Limits().Manifest
	if p.Strict() {
		return min(most, p.Descriptor().Size)
	}
	return most
}

// readDocument reads an answer. What is larger than most is only begun.
func (f *Finder) readDocument(ctx context.Context, resp *http.Response, most int64) (*document, error) {
	d := &document{mediaType: registry.MediaType(resp.Header.Get("Content-Type")), size: resp.ContentLength, header: told(resp)}
	if d.size > most {
		d.rest = resp.Body
		return d, nil
	}
	var err error
	if d.data, d.room, err = f.readBody(ctx, resp, most); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	if int64(len(d.data)) > most {
		d.rest = resp.Body
		return d, nil
	}
	d.size = int64(len(d.data))
	return d, resp.Body.Close()
}

// firstBytes are read before there is room made for the rest of an answer that
// does not say how long it is.
const firstBytes = 64 << 10

// readBody reads an answer, or one byte more of it than most, having taken
// memory for it.
func (f *Finder) readBody(ctx context.Context, resp *http.Response, most int64) (data []byte, room *portion, err error) {
	expected := most
	if resp.ContentLength >= 0 {
		expected = min(most, resp.ContentLength)
	}
	room, err = take(ctx, f.memory.documents, expected+1+headerBytes(resp.Header))
	if err != nil {
		return nil, nil, err
	}
	first := expected
	if resp.ContentLength < 0 {
		first = min(most, firstBytes)
	}
	data, more, err := readInto(resp.Body, make([]byte, 0, first+1))
	if more && err == nil && first < most {
		data, _, err = readInto(resp.Body, append(make([]byte, 0, most+1), data...))
	}
	if err != nil {
		room.Release()
		return nil, nil, fmt.Errorf("registry %s: %w", resp.Request.URL.Host, err)
	}
	room.Shrink(budgetOf(ctx).of.bytes() + int64(cap(data)) + headerBytes(resp.Header))
	return data, room, nil
}

// readInto reads to the end, or as much as there is room for; then there may
// be more.
func readInto(r io.Reader, data []byte) (all []byte, more bool, err error) {
	for len(data) < cap(data) {
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if errors.Is(err, io.EOF) {
			return data, false, nil
		} else if err != nil {
			return nil, false, err
		}
	}
	return data, true, nil
}

// headerBytes is the size of a header.
func headerBytes(header http.Header) (size int64) {
	for name, values := range header {
		for _, v := range values {
			size += int64(len(name) + len(v))
		}
	}
	return size
}

// told is what of an answer's header is told to clients or looked at. Documents
// are kept, and the rest may be large.
func told(resp *http.Response) http.Header {
	if isOwn(resp) {
		header := resp.Header.Clone()
		for _, name := range hopByHop {
			header.Del(name)
		}
		return header
	}
	return kept(resp.Header, append([]string{"Docker-Content-Digest"}, passedOfDocuments...))
}

// kept are the headers of these names.
func kept(header http.Header, names []string) http.Header {
	k := http.Header{}
	for _, name := range names {
		if v := header.Values(name); len(v) > 0 {
			k[name] = slices.Clone(v)
		}
	}
	return k
}

// passedOfDocuments are the headers of a document that reach the client as
// they are.
var passedOfDocuments = []string{"Content-Encoding", "Etag", "Warning", "Docker-Distribution-Api-Version"}

// verified reports whether the document is what the digest says.
func (d *document) verified(want digest.Digest) bool {
	return d.whole() && want.Algorithm().FromBytes(d.data) == want
}

// fetch asks one repository for the document at a place. What was reached
// through a nested index is as its place says or is an error. Of other content
// only the digest counts, unless it cannot be told: containerd keeps what does
// not verify, and refuses it at the next pull, too.
func (f *Finder) fetch(ctx context.Context, from auth.Repository, p nested.Place) (*document, error) {
	want := p.Descriptor()
	ask := query{method: http.MethodGet, kind: Manifests, reference: want.Digest.String(), accept: accept(want.MediaType)}
	if isBlob(p) {
		ask.kind, ask.accept = Blobs, "*/*"
	}
	d, err := f.askDocument(ctx, f.most(p), func() (*http.Response, error) { return f.upstream.do(ctx, from, ask) })
	if errdefs.IsNotFound(err) && len(p.MediaTypes()) > 1 {
		ask.kind, ask.accept = Blobs, "*/*" // where a strict registry may keep it
		d, err = f.askDocument(ctx, f.most(p), func() (*http.Response, error) { return f.upstream.do(ctx, from, ask) })
	}
	if err != nil {
		return nil, err
	}
	d.digest = want.Digest
	if reason := d.differs(p); p.Strict() && reason != "" {
		return nil, errors.Join(&nested.VerifyError{Repository: from, Digest: want.Digest, Reason: reason}, d.close())
	} else if d.whole() && d.header.Get("Content-Encoding") == "" && !d.verified(want.Digest) {
		return nil, errors.Join(&nested.VerifyError{Repository: from, Digest: want.Digest, Reason: "digest is another"}, d.close())
	}
	if want.MediaType != "" && p.Strict() {
		d.mediaType = want.MediaType
	}
	return d, nil
}

// isBlob reports whether content is under /blobs/: a config, a layer, or an index
// that is stored as such.
func isBlob(p nested.Place) bool {
	t := p.Descriptor().MediaType
	return p.Carried() || !p.Entry() && t != "" && !oci.IsManifestOrIndex(t)
}

// askDocument asks for a document, and again when its answer breaks off.
func (f *Finder) askDocument(ctx context.Context, most int64, do func() (*http.Response, error)) (*document, error) {
	for tries := new(retry.Tries); ; {
		resp, err := do()
		if err != nil {
			return nil, err
		}
		d, err := f.readDocument(ctx, resp, most)
		if err == nil {
			return d, nil
		}
		wait, again := tries.After(err)
		if !again || !budgetOf(ctx).sleep(ctx, wait) {
			return d, err
		}
	}
}

// differs says in which way a document is not what its place describes.
func (d *document) differs(p nested.Place) string {
	want := p.Descriptor()
	switch {
	case !d.whole() && d.size < 0:
		return fmt.Sprintf("it is longer than %d", want.Size)
	case d.size != want.Size:
		return fmt.Sprintf("size is %d, not %d", d.size, want.Size)
	case !d.verified(want.Digest):
		return "digest is another"
	case isBlob(p), registry.MayBe(d.mediaType, want.MediaType):
		return ""
	}
	return fmt.Sprintf("it is served as %.64q, its descriptor says %.64q", d.mediaType, want.MediaType)
}

// close gives back what the document holds.
func (d *document) close() error {
	d.decoded.Release()
	d.room.Release()
	if d.rest == nil {
		return nil
	}
	return d.rest.Close()
}

// accept is the header that containerd sends for content of a media type.
func accept(mediaType string) string {
	if mediaType == "" {
		return acceptAll
	}
	return mediaType + ", */*"
}

// acceptAll is the header that containerd sends for a reference.
var acceptAll = strings.Join([]string{images.MediaTypeDockerSchema2Manifest, images.MediaTypeDockerSchema2ManifestList,
	"application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json", "*/*"}, ", ")

// follow puts what a document at a place, which served has served, points to on
// the location cache when it has to do with child namespaces. It returns what it points
// to, nothing for what is no document, no longer verifies or was learnt there
// before: but for a manifest that may be a carrier, nobody needs to hear that
// again.
func (f *Finder) follow(ctx context.Context, q Request, p nested.Place, d *document, served auth.Repository) ([]nested.Place, error) {
	if (images.IsIndexType(d.mediaType) || p.Strict()) && f.locations.Learnt(q.repository, d.at(p), served) {
		return nil, nil
	}
	return f.learn(ctx, q, p, d, served)
}

// learn is follow for a document that is read in any case.
func (f *Finder) learn(ctx context.Context, q Request, p nested.Place, d *document, served auth.Repository) ([]nested.Place, error) {
	if !oci.IsManifestOrIndex(d.mediaType) || !d.verified(d.digest) {
		return nil, nil
	}
	p = d.at(p)
	found, isNested, err := f.read(ctx, p, d, served)
	if err != nil {
		return nil, err
	}
	carried := carriedBy(found)
	learnt := f.locations.Learnt(q.repository, p, served)
	switch {
	case learnt:
	case isNested || p.Strict():
		if f.options.Prefetch > 0 {
			d.fresh = f.locations.Unknown(q.repository, found)
		}
		err = f.locations.LearnManifest(ctx, q.repository, p, served, found)
	case carried != nil:
		err = f.locations.LearnManifest(ctx, q.repository, p, served, []nested.Place{*carried})
	case served == q.repository:
		err = f.locations.Prefer(ctx, q.repository, p, found) // what members have too, a plain image has here
	}
	if images.IsManifestType(d.mediaType) && !p.Strict() {
		f.carriers.put(d.digest, carried)
	}
	return found, err
}

// decodedFactor is how many times its size a document takes while it is read,
// at most. Measured, as what is live after each of many collections: a list of
// empty urls takes 14 times its size, an index of 9,900 members 5 times, and as
// much again on its way to the location cache.
const decodedFactor = 14

// read reads a document, having taken memory for what becomes of it. The
// document holds that until it is closed, sent or kept.
func (f *Finder) read(ctx context.Context, p nested.Place, d *document, served auth.Repository) (found []nested.Place, isNested bool, err error) {
	if d.decoded, err = take(ctx, f.memory.decoded, decodedFactor*int64(len(d.data))); err != nil {
		return nil, false, err
	}
	return f.rule.Follow(p, d.data, served)
}

// followReferrer is follow for what refers to a member, from the member's
// repository, which may claim anything.
func (f *Finder) followReferrer(ctx context.Context, q Request, d *document, from auth.Repository) error {
	p := d.at(plain(from, d.digest))
	if !d.verified(d.digest) || f.locations.Learnt(q.repository, p, from) {
		return nil
	}
	found, _, err := f.read(ctx, p, d, from)
	if err != nil {
		return nil //nolint:nilerr // what cannot be read points to nothing; the client gets it as it is
	}
	return f.locations.LearnManifest(ctx, q.repository, p, from, found)
}

func carriedBy(places []nested.Place) *nested.Place {
	for _, p := range places {
		if p.Carried() {
			return &p
		}
	}
	return nil
}
