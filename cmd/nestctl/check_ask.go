package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// looks are the questions about a part, each to be asked by itself.
func (c *checker) looks(ctx context.Context, p *checkedPart) []func() {
	var looks []func()
	for _, b := range p.blobs {
		looks = append(looks, func() { c.lookAt(ctx, b) })
	}
	if c.document(p.Digest).subject != nil {
		looks = append(looks, func() { p.subject = c.lookForSubject(ctx, p.Node) })
	}
	if c.strict && c.apart(ctx, p.Node) {
		looks = append(looks, func() { p.apart = c.lookForMembers(ctx, p.Node) })
	}
	return looks
}

// lookAt asks for a blob where what lists it was found. Elsewhere it is looked
// for as a pull would do it (docs/spec.md, section 4).
func (c *checker) lookAt(ctx context.Context, b *checkedBlob) {
	if b.err = b.Digest.Validate(); b.err != nil {
		b.err = fmt.Errorf("digest %.128q: %w", b.Digest, b.err)
		return
	}
	if b.err = nested.Unfollowed(b.of.Repository, b.Descriptor); b.err != nil {
		return
	}
	ask := func(r auth.Repository) error { return c.head(ctx, r, b) }
	home := c.walker.Found(b.of)
	if home == b.of.Repository && ask(home) == nil {
		b.served = home
		return
	}
	b.served, b.err = c.Ask(ctx, b.Descriptor, ask)
}

// head asks one repository for a blob. An index may list content of any type,
// which may be stored as a manifest.
func (c *checker) head(ctx context.Context, r auth.Repository, b *checkedBlob) error {
	size, err := c.size(ctx, r, "blobs/"+b.Digest.String(), "*/*", b.Size)
	if b.of.Digest == b.Digest && errdefs.IsNotFound(err) {
		size, err = c.size(ctx, r, "manifests/"+b.Digest.String(), b.MediaType, b.Size)
	}
	if err == nil && size >= 0 && size != b.Size {
		err = &nested.VerifyError{Repository: r, Digest: b.Digest, Reason: fmt.Sprintf("size is %d, not %d", size, b.Size)}
	}
	return err
}

// checkRequest is a request that is made once.
type checkRequest struct {
	repository auth.Repository
	path       string
}

// notThere is the size of what is not expected to be there.
const notThere = -1

// size is the Content-Length of "blobs/…" or "manifests/…", or -1 where the
// registry does not say. A HEAD that denies what is expected is not believed: a
// pull asks with GET, and proxies there are that fetch for nothing else.
func (c *checker) size(ctx context.Context, r auth.Repository, path, accept string, expected int64) (int64, error) {
	c.mu.Lock()
	ask, ok := c.sizes[checkRequest{r, path}]
	if !ok {
		ask = sync.OnceValues(func() (int64, error) {
			size, err := lengthOf(c.registries.Head(ctx, r, path, accept))
			if expected != notThere && (errdefs.IsNotFound(err) || err == nil && size >= 0 && size != expected) {
				var header http.Header
				header, err = c.registries.Glance(ctx, r, path, accept)
				if size, err = lengthOf(header, err); err == nil && size != expected && registry.IsPage(header.Get("Content-Type")) {
					err = &registry.AnswerError{Host: r.String(), MediaType: header.Get("Content-Type"), Blob: true}
				}
			}
			c.answered(ctx, r, err)
			return size, err
		})
		c.sizes[checkRequest{r, path}] = ask
	}
	c.mu.Unlock()
	return ask()
}

// lengthOf is the Content-Length of an answer, or -1.
func lengthOf(header http.Header, err error) (int64, error) {
	size, parseErr := strconv.ParseInt(header.Get("Content-Length"), 10, 64)
	if parseErr != nil {
		size = -1
	}
	return size, err
}

// lookForSubject asks for what a document refers to where that was found.
func (c *checker) lookForSubject(ctx context.Context, n *bundle.Node) error {
	subject := c.document(n.Digest).subject
	at := c.walker.Found(n)
	if in, ok := c.Found(subject.Digest); ok && in == at {
		return nil
	}
	if subject.Digest.Validate() != nil {
		return fmt.Errorf("digest %.128q is none", subject.Digest)
	}
	_, err := c.size(ctx, at, "manifests/"+subject.Digest.String(), subject.MediaType, subject.Size)
	return err
}

// apart tells whether a node is an index that is stored as one and has members
// in other repositories.
func (c *checker) apart(ctx context.Context, n *bundle.Node) bool {
	return images.IsIndexType(n.MediaType) && n.Carrier == nil && len(c.membersOf(ctx, n)) > 0
}

func (c *checker) membersOf(ctx context.Context, n *bundle.Node) []nested.Entry {
	entries, _ := c.Children(ctx, n.Descriptor) // which the walk has read
	var members []nested.Entry
	for _, e := range entries {
		if e.Child != (nested.Child{}) {
			members = append(members, e)
		}
	}
	return members
}

// lookForMembers asks an index's own repository for the members' manifests.
func (c *checker) lookForMembers(ctx context.Context, n *bundle.Node) []string {
	var absent []string
	at := c.walker.Found(n)
	for _, m := range c.membersOf(ctx, n) {
		if in, ok := c.Found(m.Digest); ok && in == at {
			continue
		}
		if _, err := c.size(ctx, at, "manifests/"+m.Digest.String(), m.MediaType, notThere); err != nil {
			absent = append(absent, m.Child.String())
		}
	}
	return absent
}

// access is what the answers of a repository showed.
type access struct {
	served bool
	scheme string // of the authorization that it did not refuse
	signs  sync.Once
	err    error // the worst answer
}

// heard takes note of what asking for a document showed.
func (c *checker) heard(ctx context.Context, target, found auth.Repository, err error) {
	var child *nested.Error
	var other *nested.VerifyError
	var bad *nested.InvalidError
	switch {
	case errors.As(err, &child):
		for _, a := range child.Attempts {
			c.answered(ctx, a.Repository, a.Err)
		}
	case errors.As(err, &other):
		c.answered(ctx, other.Repository, nil)
	case err == nil, errors.As(err, &bad):
		c.answered(ctx, found, nil)
	default:
		c.answered(ctx, target, err)
	}
}

// isCopy tells whether a member was found in a repository above its own.
func isCopy(n *bundle.Node, found auth.Repository) bool {
	return strings.HasPrefix(n.Repository.String(), found.String()+"/")
}

// answered takes note of a repository's answer.
func (c *checker) answered(ctx context.Context, r auth.Repository, err error) {
	c.mu.Lock()
	a, ok := c.access[r]
	if !ok {
		a = new(access)
		c.access[r] = a
	}
	if err == nil {
		a.served = true
	} else if a.err == nil || rank(err) < rank(a.err) {
		a.err = err
	}
	c.mu.Unlock()
	if err == nil || rank(err) == 1 {
		a.signs.Do(func() { a.scheme = c.scheme(ctx, r) })
	}
}

// scheme is the scheme of the authorization for a repository, or nothing when
// its registry asks for none. A token that was just used is still kept.
func (c *checker) scheme(ctx context.Context, r auth.Repository) string {
	hosts := c.hosts(r)
	if len(hosts) == 0 {
		return ""
	}
	u := hosts[0].Scheme + "://" + hosts[0].Host
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, u, http.NoBody)
	if err != nil || hosts[0].Authorizer.Authorize(ctx, req) != nil { // it is not sent
		return ""
	}
	scheme, _, _ := strings.Cut(req.Header.Get("Authorization"), " ")
	return scheme
}

// hosts are those from which a repository is pulled.
func (c *checker) hosts(r auth.Repository) []registry.Host {
	all, _ := c.registries.Hosts(r) // which has been asked
	var hosts []registry.Host
	for _, h := range all {
		if h.Capabilities.Has(docker.HostCapabilityPull) {
			hosts = append(hosts, h)
		}
	}
	return hosts
}

// credential says which credential each host of a repository gets.
func (c *checker) credential(ctx context.Context, r auth.Repository) string {
	var sources []string
	hosts := c.hosts(r)
	for _, h := range hosts {
		at, err := auth.ParseRepository(h.Host + "/" + h.Name)
		if err != nil {
			at = r // as mirrors may name it
		}
		credential, err := c.credentials.Lookup(ctx, at)
		source := credential.Source
		if err != nil {
			source = "unknown: " + err.Error()
		}
		if len(hosts) > 1 {
			source = h.Host + ": " + source
		}
		sources = append(sources, source)
	}
	return cmp.Or(strings.Join(sources, "; "), "none")
}

// rank orders errors by what is to be put right first.
func rank(err error) int {
	switch exitStatus(err) {
	case denied:
		return 0
	case notFound:
		return 1
	case invalid:
		return 2
	}
	return 3
}

// kind is the kind of an error in a word.
func kind(err error) string {
	return [...]string{"denied", "not found", "invalid", "failed"}[rank(err)]
}

// nextStep is what to do about an error that does not say it itself.
func nextStep(err error) string {
	var other *nested.VerifyError
	switch {
	case errors.As(err, &other):
		return "push it again"
	case rank(err) == 1:
		return "push it there, or make the index anew without it"
	case rank(err) == 2:
		return "make it anew, with nestctl index create"
	}
	return ""
}
