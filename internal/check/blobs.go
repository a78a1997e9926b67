package check

import (
	"context"
	"fmt"
	"net/http"
	"strconv"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// blob is content other than manifests and indexes.
type blob struct {
	nested.Entry
	of     *bundle.Node // the manifest that lists it, or itself when an index does
	served auth.Repository
	err    error
}

// blobsOf lists the blobs that a part needs.
func (c *checker) blobsOf(ctx context.Context, n *bundle.Node) []*blob {
	if !oci.IsManifestOrIndex(n.MediaType) {
		return []*blob{{Entry: n.Entry, of: n}}
	}
	var blobs []*blob
	list := func(of *bundle.Node, carried bool) {
		seen := map[digest.Digest]bool{}
		for _, e := range c.entries(ctx, of) {
			if !seen[e.Digest] && (carried || !e.Carried) {
				blobs = append(blobs, &blob{Entry: e, of: of})
			}
			seen[e.Digest] = true
		}
	}
	if n.Carrier != nil {
		list(n.Carrier, false) // the walk has read what it carries
	}
	if carrier, ok := c.bundle.Fetcher.Carrier(); ok && n.IsRoot {
		list(&bundle.Node{Entry: nested.Entry{Descriptor: carrier}, Repository: c.bundle.Repository}, true)
	}
	if images.IsManifestType(n.MediaType) && c.selection.MatchesMember(n.Namespace) {
		list(n, false)
	}
	return blobs
}

// looks are the requests about a part, each to be made separately.
func (c *checker) looks(ctx context.Context, p *part) []func() {
	var looks []func()
	for _, b := range p.blobs {
		looks = append(looks, func() { c.lookAt(ctx, b) })
	}
	if p.subject != nil {
		looks = append(looks, func() { p.subjectErr = c.lookForSubject(ctx, p) })
	}
	if c.strict && c.membersApart(ctx, p.Node) {
		looks = append(looks, func() { p.apart = c.lookForMembers(ctx, p.Node) })
	}
	return looks
}

// lookAt requests a blob from the repository in which its manifest was found.
// Otherwise it is looked up as in a pull (docs/spec.md, section 4).
func (c *checker) lookAt(ctx context.Context, b *blob) {
	if b.err = b.Digest.Validate(); b.err != nil {
		b.err = fmt.Errorf("digest %.128q: %w", b.Digest, b.err)
		return
	}
	if b.err = nested.Unfollowed(b.of.Repository, b.Descriptor); b.err != nil {
		return
	}
	request := func(r auth.Repository) error { return c.head(ctx, r, b) }
	home := c.bundle.Found(b.of)
	if home == b.of.Repository && request(home) == nil {
		b.served = home
		return
	}
	b.served, b.err = c.bundle.Fetcher.Try(ctx, b.Descriptor, request)
}

// head requests a blob from one repository. An index may list content of any
// type, which may be stored as a manifest.
func (c *checker) head(ctx context.Context, r auth.Repository, b *blob) error {
	size, err := c.size(ctx, r, "blobs/"+b.Digest.String(), "*/*", b.Size)
	if b.of.Digest == b.Digest && errdefs.IsNotFound(err) {
		size, err = c.size(ctx, r, "manifests/"+b.Digest.String(), b.MediaType, b.Size)
	}
	if err == nil && size >= 0 && size != b.Size {
		err = &nested.VerifyError{Repository: r, Digest: b.Digest, Reason: fmt.Sprintf("size is %d, not %d", size, b.Size)}
	}
	return err
}

// request is a request that is made once.
type request struct {
	repository auth.Repository
	path       string
}

// notThere is the expected size of content that should not exist.
const notThere = -1

// size is the Content-Length of "blobs/…" or "manifests/…", or -1 where the
// registry does not send it. A HEAD that denies expected content is not relied
// on: a pull uses GET, and some proxies fetch only for GET.
func (c *checker) size(ctx context.Context, r auth.Repository, path, accept string, expected int64) (int64, error) {
	return c.sizes.Do(request{r, path}, func() (int64, error) {
		size, err := lengthOf(c.client.Head(ctx, r, path, accept))
		if expected != notThere && (errdefs.IsNotFound(err) || err == nil && size >= 0 && size != expected) {
			size, err = c.sizeByGet(ctx, r, path, accept, expected)
		}
		c.access.note(ctx, r, err)
		return size, err
	})
}

// sizeByGet is size by the beginning of a GET. A page in place of a blob is not
// the blob, whatever its status.
func (c *checker) sizeByGet(ctx context.Context, r auth.Repository, path, accept string, expected int64) (int64, error) {
	header, err := c.client.HeadByGet(ctx, r, path, accept)
	size, err := lengthOf(header, err)
	if mediaType := header.Get("Content-Type"); err == nil && size != expected && registry.IsPage(mediaType) {
		err = &registry.AnswerError{Host: r.String(), MediaType: mediaType, Blob: true}
	}
	return size, err
}

// lengthOf is the Content-Length of an answer, or -1.
func lengthOf(header http.Header, err error) (int64, error) {
	size, parseErr := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if parseErr != nil {
		size = -1
	}
	return size, err
}

// lookForSubject requests the subject of a manifest or index from the
// repository in which that was found.
func (c *checker) lookForSubject(ctx context.Context, p *part) error {
	at := c.bundle.Found(p.Node)
	if in, ok := c.bundle.Fetcher.Found(p.subject.Digest); ok && in == at {
		return nil
	}
	if p.subject.Digest.Validate() != nil {
		return fmt.Errorf("digest %.128q is not valid", p.subject.Digest)
	}
	_, err := c.size(ctx, at, "manifests/"+p.subject.Digest.String(), p.subject.MediaType, p.subject.Size)
	return err
}

// membersApart reports whether a node is an index that is stored as one and has
// members in other repositories.
func (c *checker) membersApart(ctx context.Context, n *bundle.Node) bool {
	return images.IsIndexType(n.MediaType) && n.Carrier == nil && len(c.membersOf(ctx, n)) > 0
}

func (c *checker) membersOf(ctx context.Context, n *bundle.Node) []nested.Entry {
	var members []nested.Entry
	for _, e := range c.entries(ctx, n) {
		if e.Child != (nested.Child{}) {
			members = append(members, e)
		}
	}
	return members
}

// lookForMembers requests the members' manifests from the index's own
// repository.
func (c *checker) lookForMembers(ctx context.Context, n *bundle.Node) []string {
	var absent []string
	at := c.bundle.Found(n)
	for _, m := range c.membersOf(ctx, n) {
		if in, ok := c.bundle.Fetcher.Found(m.Digest); ok && in == at {
			continue
		}
		if _, err := c.size(ctx, at, "manifests/"+m.Digest.String(), m.MediaType, notThere); err != nil {
			absent = append(absent, m.Child.String())
		}
	}
	return absent
}
