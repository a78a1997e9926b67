package find

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/answers"
)

// heldTime is how long content that was read for a HEAD is kept: the GET follows
// at once.
const heldTime = time.Minute

// content is a manifest or index, or a small blob, in memory. rest is what follows
// data when there is too much to be read.
type content struct {
	mediaType     string
	digest        digest.Digest
	data          []byte
	rest          io.ReadCloser
	size          int64 // of data and rest; -1: unknown
	header        http.Header
	served        auth.Repository // where it came from; the zero value is the requested repository
	next          []nested.Place  // to read ahead: what it names, see next
	memory        *portion        // of data and header
	decodedMemory *portion        // of what was decoded from it
}

// buffered reports whether all of it is in data.
func (c *content) buffered() bool { return c.rest == nil }

// readLimit is how many bytes of content are read: the size that a strict place
// states, and otherwise twice the limit for manifests and indexes below nested
// indexes. Beyond that nobody looks for child namespaces.
func (f *Finder) readLimit(p nested.Place) int64 {
	most := 2 * f.rule.Limits().Manifest
	if p.Strict() {
		return min(most, p.Descriptor().Size)
	}
	return most
}

// readContent reads an answer. If it is larger than most, the rest is left unread.
func (f *Finder) readContent(ctx context.Context, resp *http.Response, most int64) (*content, error) {
	c := &content{mediaType: registry.MediaType(resp.Header.Get("Content-Type")), size: resp.ContentLength, header: keptHeader(resp)}
	if c.size > most {
		c.rest = resp.Body
		return c, nil
	}
	var err error
	if c.data, c.memory, err = f.readBody(ctx, resp, most); err != nil {
		return nil, errors.Join(err, resp.Body.Close())
	}
	if int64(len(c.data)) > most {
		c.rest = resp.Body
		return c, nil
	}
	c.size = int64(len(c.data))
	return c, resp.Body.Close()
}

// firstBytes are read of an answer that does not state its length before a buffer
// for all of it is allocated.
const firstBytes = 64 << 10

// readBody takes memory for an answer and reads it, up to one byte more than most.
func (f *Finder) readBody(ctx context.Context, resp *http.Response, most int64) (data []byte, memory *portion, err error) {
	if memory, err = take(ctx, f.memory.content, expected(resp.ContentLength, most)+1+headerBytes(resp.Header)); err != nil {
		return nil, nil, err
	}
	if data, err = readSized(resp.Body, resp.ContentLength, most); err != nil {
		memory.Release()
		return nil, nil, fmt.Errorf("registry %s: %w", resp.Request.URL.Host, err)
	}
	memory.Shrink(budgetOf(ctx).tenant.bytes() + int64(cap(data)) + headerBytes(resp.Header))
	return data, memory, nil
}

// expected is how many bytes are read of a body that says its length, or -1.
func expected(length, most int64) int64 {
	if length < 0 {
		return most
	}
	return min(most, length)
}

// readSized reads a body that says its length, or -1, up to one byte more than
// most.
func readSized(body io.Reader, length, most int64) ([]byte, error) {
	first := expected(length, most)
	if length < 0 {
		first = min(most, firstBytes)
	}
	data, more, err := readInto(body, make([]byte, 0, first+1))
	if more && err == nil && first < most {
		data, _, err = readInto(body, append(make([]byte, 0, most+1), data...))
	}
	return data, err
}

// readInto appends to data what is read until the end or until its capacity is
// used up. In that case there may be more.
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

// keptHeader is the part of an answer's header that is used. Content is kept, and
// the rest of the header may be large.
func keptHeader(resp *http.Response) http.Header {
	if isOwn(resp) {
		header := resp.Header.Clone()
		for _, name := range answers.HopByHop {
			header.Del(name)
		}
		return header
	}
	return answers.Kept(resp.Header, append([]string{"Docker-Content-Digest"}, passedOfContent...))
}

// passedOfContent are the headers of manifests and indexes that clients get as
// they are.
var passedOfContent = []string{"Content-Encoding", "Etag", "Warning", "Docker-Distribution-Api-Version"}

// verified reports whether it has the digest.
func (c *content) verified(want digest.Digest) bool {
	return c.buffered() && want.Algorithm().FromBytes(c.data) == want
}

// fetch fetches the content at a place from one repository. Content that was
// reached through a nested index must be as its place describes it. Of other
// content only the digest is verified, where that is possible: containerd stores
// content that does not verify, and refuses it at the next pull.
func (f *Finder) fetch(ctx context.Context, from auth.Repository, p nested.Place) (*content, error) {
	want := p.Descriptor()
	ask := query{method: http.MethodGet, kind: Manifests, reference: want.Digest.String(), accept: registry.Accept(want.MediaType)}
	if isBlob(p) {
		ask.kind, ask.accept = Blobs, "*/*"
	}
	c, err := f.fetchContent(ctx, f.readLimit(p), func() (*http.Response, error) { return f.upstream.do(ctx, from, ask) })
	if errdefs.IsNotFound(err) && len(p.MediaTypes()) > 1 {
		ask.kind, ask.accept = Blobs, "*/*" // where a strict registry may keep it
		c, err = f.fetchContent(ctx, f.readLimit(p), func() (*http.Response, error) { return f.upstream.do(ctx, from, ask) })
	}
	if err != nil {
		return nil, err
	}
	c.digest = want.Digest
	reason := ""
	if p.Strict() {
		reason = c.mismatch(p)
	} else if c.buffered() && c.header.Get("Content-Encoding") == "" && !c.verified(want.Digest) {
		reason = "digest is another"
	}
	if reason != "" {
		return nil, errors.Join(&nested.VerifyError{Repository: from, Digest: want.Digest, Reason: reason}, c.close())
	}
	if want.MediaType != "" && p.Strict() {
		c.mediaType = want.MediaType
	}
	return c, nil
}

// isBlob reports whether content is under /blobs/: a config, a layer, or an index
// that is stored as such.
func isBlob(p nested.Place) bool {
	t := p.Descriptor().MediaType
	return p.Carried() || !p.Entry() && t != "" && !oci.IsManifestOrIndex(t)
}

// fetchContent reads the answer to a request, and retries when it breaks off.
func (f *Finder) fetchContent(ctx context.Context, most int64, do func() (*http.Response, error)) (*content, error) {
	for tries := new(retry.Tries); ; {
		resp, err := do()
		if err != nil {
			return nil, err
		}
		c, err := f.readContent(ctx, resp, most)
		if err == nil {
			return c, nil
		}
		wait, again := tries.After(err)
		if !again || !budgetOf(ctx).sleep(ctx, wait) {
			return c, err
		}
	}
}

// mismatch says how content differs from what its place describes, and is empty
// if it does not.
func (c *content) mismatch(p nested.Place) string {
	want := p.Descriptor()
	switch {
	case !c.buffered() && c.size < 0:
		return fmt.Sprintf("it is longer than %d", want.Size)
	case c.size != want.Size:
		return fmt.Sprintf("size is %d, not %d", c.size, want.Size)
	case !c.verified(want.Digest):
		return "digest is another"
	case isBlob(p), registry.MayBe(c.mediaType, want.MediaType):
		return ""
	}
	return fmt.Sprintf("it is served as %.64q, its descriptor says %.64q", c.mediaType, want.MediaType)
}

// close releases its memory, and closes what is left to read.
func (c *content) close() error {
	c.decodedMemory.Release()
	c.memory.Release()
	if c.rest == nil {
		return nil
	}
	return c.rest.Close()
}

// follow adds to the location cache what a manifest or index names, if it has to
// do with child namespaces. served is the repository that it came from. It
// returns what it names: nothing for other content, for what does not verify, and
// for what was learnt before, unless that may be a carrier.
func (f *Finder) follow(ctx context.Context, q Request, p nested.Place, c *content, served auth.Repository) ([]nested.Place, error) {
	if (images.IsIndexType(c.mediaType) || p.Strict()) && f.locations.Learnt(q.repository, c.at(p), served) && !f.again(ctx, q, c) {
		return nil, nil
	}
	if plain, _ := f.plain.Get(step{q.repository, c.digest, c.size}); plain && served == q.repository && !p.Strict() {
		return nil, nil
	}
	return f.learn(ctx, q, p, c, served)
}

// learn is follow for what is decoded even if it was learnt before.
func (f *Finder) learn(ctx context.Context, q Request, p nested.Place, c *content, served auth.Repository) ([]nested.Place, error) {
	if !oci.IsManifestOrIndex(c.mediaType) || !c.verified(c.digest) {
		return nil, nil
	}
	p = c.at(p)
	found, isNested, err := f.read(ctx, p, c, served)
	if err != nil {
		return nil, err
	}
	carried := carriedBy(found)
	learnt := f.locations.Learnt(q.repository, p, served)
	if (isNested || p.Strict()) && (!learnt || f.options.Apart) {
		c.next = f.next(q, found)
	}
	switch {
	case learnt:
	case isNested || p.Strict():
		err = f.locations.LearnManifest(ctx, q.repository, p, served, found)
	case carried != nil:
		err = f.locations.LearnManifest(ctx, q.repository, p, served, []nested.Place{*carried})
	case served == q.repository:
		err = f.locations.Prefer(ctx, q.repository, p, found)                   // what members have too, a plain image has here
		f.plain.Put(step{q.repository, c.digest, c.size}, true, 10*time.Second) // many clients ask for it at a time
	}
	if images.IsManifestType(c.mediaType) && !p.Strict() {
		f.carriers.put(c.digest, carried)
	}
	return found, err
}

// decodedFactor is how many times its size a manifest or index takes while it is
// decoded, at most. Measured, as what is live after each of many collections: a
// list of empty urls takes 14 times its size, an index of 9,900 members 5 times,
// and as much again while it is written to the location cache.
const decodedFactor = 14

// read takes memory for what a manifest or index decodes to, and decodes it. The
// memory is released when the content is closed, sent or kept.
func (f *Finder) read(ctx context.Context, p nested.Place, c *content, served auth.Repository) (found []nested.Place, isNested bool, err error) {
	if c.decodedMemory == nil {
		c.decodedMemory, err = take(ctx, f.memory.decoded, decodedFactor*int64(len(c.data)))
	}
	if err != nil {
		return nil, false, err
	}
	return f.rule.Follow(p, c.data, served)
}

// followReferrer is follow for what refers to a member, from the member's
// repository, which may claim anything.
func (f *Finder) followReferrer(ctx context.Context, q Request, c *content, from auth.Repository) error {
	p := c.at(plain(from, c.digest))
	if !c.verified(c.digest) || f.locations.Learnt(q.repository, p, from) {
		return nil
	}
	found, _, err := f.read(ctx, p, c, from)
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
