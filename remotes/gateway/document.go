package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

const (
	// maxReading bounds the documents that are read at the same time: decoded
	// they are several times as large.
	maxReading = 4
	// heldBytes bounds what is kept of documents that were read for a HEAD,
	// heldTime for how long: the GET follows at once.
	heldBytes = 16 << 20
	heldTime  = time.Minute
)

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
	fresh     []nested.Place  // what it points to, below a nested index, that was not on the trail; nil without Prefetch
}

// whole tells whether all of the document is in data.
func (d *document) whole() bool { return d.rest == nil }

// most is how much of a document is read: what its place says where it must be
// that, and otherwise twice what documents below nested indexes may have.
// Nobody looks for child namespaces beyond it.
func (g *Gateway) most(p nested.Place) int64 {
	most := 2 * g.rule.Limits().Document
	if p.Strict {
		return min(most, p.Descriptor.Size)
	}
	return most
}

// readDocument reads an answer. What is larger than most is only begun.
func readDocument(resp *http.Response, most int64) (*document, error) {
	d := &document{mediaType: mediaType(resp.Header), size: resp.ContentLength, header: told(resp.Header)}
	var err error
	if d.data, err = io.ReadAll(io.LimitReader(resp.Body, most+1)); err != nil {
		return nil, errors.Join(fmt.Errorf("registry %s: %w", resp.Request.URL.Host, err), resp.Body.Close())
	}
	if int64(len(d.data)) > most {
		d.rest = resp.Body
		return d, nil
	}
	d.size = int64(len(d.data))
	return d, resp.Body.Close()
}

// told is what of an answer's header is told to clients or looked at. Documents
// are kept, and the rest may be large.
func told(header http.Header) http.Header {
	kept := http.Header{}
	for _, name := range append([]string{"Docker-Content-Digest"}, passedOfDocuments...) {
		if v := header.Values(name); len(v) > 0 {
			kept[name] = slices.Clone(v)
		}
	}
	return kept
}

// passedOfDocuments are the headers of a document that reach the client as
// they are.
var passedOfDocuments = []string{"Content-Encoding", "Etag", "Warning", "Docker-Distribution-Api-Version"}

func mediaType(header http.Header) string {
	t, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	return strings.TrimSpace(t)
}

// verified tells whether the document is what the digest says.
func (d *document) verified(want digest.Digest) bool {
	return d.whole() && want.Algorithm().FromBytes(d.data) == want
}

// fetch asks one repository for the document at a place. What was reached
// through a nested index is as its place says or is an error. Of other content
// only the digest counts, unless it cannot be told: containerd keeps what does
// not verify, and refuses it at the next pull, too.
func (g *Gateway) fetch(ctx context.Context, from auth.Repository, p nested.Place) (*document, error) {
	want := p.Descriptor
	ask := query{method: http.MethodGet, kind: manifests, reference: want.Digest.String(), accept: accept(want.MediaType)}
	if isBlob(p) {
		ask.kind, ask.accept = blobs, "*/*"
	}
	d, err := askDocument(ctx, g.most(p), func() (*http.Response, error) { return g.upstream.do(ctx, from, ask) })
	if errdefs.IsNotFound(err) && len(p.MediaTypes()) > 1 {
		ask.kind, ask.accept = blobs, "*/*" // where a strict registry may keep it
		d, err = askDocument(ctx, g.most(p), func() (*http.Response, error) { return g.upstream.do(ctx, from, ask) })
	}
	if err != nil {
		return nil, err
	}
	d.digest = want.Digest
	if reason := d.differs(p); p.Strict && reason != "" {
		return nil, errors.Join(&nested.VerifyError{Repository: from, Digest: want.Digest, Reason: reason}, d.close())
	} else if d.whole() && d.header.Get("Content-Encoding") == "" && !d.verified(want.Digest) {
		return nil, &nested.VerifyError{Repository: from, Digest: want.Digest, Reason: "digest is another"}
	}
	if want.MediaType != "" && p.Strict {
		d.mediaType = want.MediaType
	}
	return d, nil
}

// isBlob tells whether content is under /blobs/: a config, a layer, or an index
// that is stored as such.
func isBlob(p nested.Place) bool {
	t := p.Descriptor.MediaType
	return p.Carried || !p.Entry && t != "" && !nested.IsDocument(t)
}

// askDocument asks for a document, and again when its answer breaks off.
func askDocument(ctx context.Context, most int64, do func() (*http.Response, error)) (*document, error) {
	for retry := new(auth.Retry); ; {
		resp, err := do()
		if err != nil {
			return nil, err
		}
		d, err := readDocument(resp, most)
		if err == nil {
			return d, nil
		}
		wait, again := retry.After(err)
		if !again || !budgetOf(ctx).sleep(ctx, wait) {
			return d, err
		}
	}
}

// differs says in which way a document is not what its place describes.
func (d *document) differs(p nested.Place) string {
	served, _, err := mime.ParseMediaType(d.mediaType)
	switch {
	case !d.whole() && d.size < 0:
		return fmt.Sprintf("it is longer than %d", p.Descriptor.Size)
	case d.size != p.Descriptor.Size:
		return fmt.Sprintf("size is %d, not %d", d.size, p.Descriptor.Size)
	case !d.verified(p.Descriptor.Digest):
		return "digest is another"
	case isBlob(p), err != nil, generic[served], served == p.Descriptor.MediaType:
		return ""
	}
	return fmt.Sprintf("it is served as %.64q, its descriptor says %.64q", served, p.Descriptor.MediaType)
}

// generic are media types that say nothing (docs/spec.md, section 4).
var generic = map[string]bool{"application/octet-stream": true, "binary/octet-stream": true, "application/json": true, "text/plain": true}

func (d *document) close() error {
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

// follow reads a document at a place, which served has served, and puts what
// it points to on the trail when it has to do with child namespaces. It
// returns what it points to, nothing for what is no document or no longer
// verifies.
func (g *Gateway) follow(q request, p nested.Place, d *document, served auth.Repository) ([]nested.Place, error) {
	if !nested.IsDocument(d.mediaType) || !d.verified(d.digest) {
		return nil, nil
	}
	p = d.at(p)
	found, isNested, err := g.read(p, d, served)
	if err != nil {
		return nil, err
	}
	carried := carriedBy(found)
	switch {
	case isNested || p.Strict:
		g.trail.Learn(q.repository, p)
		if fresh := g.trail.Learn(q.repository, found...); g.options.Prefetch > 0 {
			d.fresh = fresh
		}
	case carried != nil:
		g.trail.Learn(q.repository, *carried)
	case served == q.repository:
		g.trail.Prefer(q.repository, found...) // what members have too, a plain image has here
	}
	if images.IsManifestType(d.mediaType) && !p.Strict {
		g.carriers.put(d.digest, carried)
	}
	return found, nil
}

// read reads a document, not many at a time.
func (g *Gateway) read(p nested.Place, d *document, served auth.Repository) (found []nested.Place, isNested bool, err error) {
	g.reading <- struct{}{}
	defer func() { <-g.reading }()
	return g.rule.Follow(p, d.data, served)
}

// followReferrer is follow for what refers to a member, from the member's
// repository. Whoever may write there could say anything of content that is
// known from elsewhere.
func (g *Gateway) followReferrer(q request, d *document, from auth.Repository) {
	p := d.at(plain(from, d.digest))
	if !d.verified(d.digest) {
		return
	}
	if found, _, err := g.read(p, d, from); err == nil {
		g.trail.LearnNew(q.repository, append(found, p)...)
	}
}

func carriedBy(places []nested.Place) *nested.Place {
	for _, p := range places {
		if p.Carried {
			return &p
		}
	}
	return nil
}

// held keeps documents that were read to answer a HEAD, for the GET that
// follows. They are given to the same caller only, once.
type held struct {
	mu    sync.Mutex
	all   map[heldKey]heldDocument
	bytes int
}

type heldKey struct {
	repository auth.Repository
	digest     digest.Digest
	caller     caller
}

type heldDocument struct {
	*document
	until time.Time
}

func (h *held) put(q request, d *document) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for k, old := range h.all {
		if now.After(old.until) {
			h.drop(k)
		}
	}
	if !d.whole() || h.bytes+len(d.data) > heldBytes {
		return
	}
	if h.all == nil {
		h.all = map[heldKey]heldDocument{}
	}
	k := heldKey{q.repository, d.digest, q.caller}
	h.drop(k)
	h.all[k] = heldDocument{d, now.Add(heldTime)}
	h.bytes += len(d.data)
}

// drop takes a document out. The caller holds the lock.
func (h *held) drop(k heldKey) {
	if d, ok := h.all[k]; ok {
		h.bytes -= len(d.data)
		delete(h.all, k)
	}
}

func (h *held) take(q request, d digest.Digest) (*document, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := heldKey{q.repository, d, q.caller}
	found, ok := h.all[k]
	h.drop(k)
	return found.document, ok && time.Now().Before(found.until)
}

// carriers remembers of manifests which index they carry, if any, so that a
// HEAD need not look twice. That is content, the same in every repository.
type carriers struct {
	mu  sync.Mutex
	all map[digest.Digest]*ocispec.Descriptor
}

// maxCarriers bounds the manifests that are remembered.
const maxCarriers = 10_000

func (c *carriers) put(d digest.Digest, carried *nested.Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil || len(c.all) >= maxCarriers {
		c.all = map[digest.Digest]*ocispec.Descriptor{}
	}
	c.all[d] = nil
	if carried != nil {
		i := carried.Descriptor
		c.all[d] = &ocispec.Descriptor{MediaType: i.MediaType, Digest: i.Digest, Size: i.Size}
	}
}

func (c *carriers) get(d digest.Digest) (carried *ocispec.Descriptor, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	carried, known = c.all[d]
	return carried, known
}
