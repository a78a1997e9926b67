package bundle

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"sync"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/semaphore"

	"github.com/nestedoci/nested/internal/amount"
	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle/delta"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// mover copies bundles into repositories of a registry. It may copy several at
// once, each a [transfer], and knows what was brought where for all of them.
type mover struct {
	moverOptions
	registries *registry.Client // of the destination
	limiter    *semaphore.Weighted

	copies                 flight.Once[copyKey, struct{}]
	uploaded, there, bytes atomic.Int64 // bytes of what was uploaded

	mu     sync.Mutex
	tagged map[copyKey]bool // content that gets a tag
	blobs  *movedBlobs
}

// moverOptions are how a mover copies.
type moverOptions struct {
	strategy   nested.Strategy    // for nested indexes
	single     bool               // everything goes to the parent
	plain      bool               // in plain indexes
	protection *nested.Protection // nil: members are not tagged
	show       Progress           // nil: nothing is shown
}

// copyKey is content and the repository that it is copied to.
type copyKey struct {
	repository auth.Repository
	content    contentKey
}

func newMover(registries *registry.Client, concurrent int, o moverOptions) *mover {
	o.show = shown(o.show)
	return &mover{
		moverOptions: o,
		registries:   registries,
		limiter:      semaphore.NewWeighted(int64(cmp.Or(concurrent, DefaultConcurrent))),
		tagged:       map[copyKey]bool{},
		blobs:        newMovedBlobs(),
	}
}

// transfer is the copying of one bundle: its members to <parent>/<child
// namespace>, or everything to the parent. Each node is copied before the nodes
// that point to it; the root is left to the caller.
type transfer struct {
	*mover
	*owner
	parent  auth.Repository
	options Options
	rest    *delta.Registry // nil: the source leaves out nothing

	heldMu    sync.Mutex
	manifests map[digest.Digest][]byte
	held      int64                        // total bytes of manifests
	plains    map[*Node]ocispec.Descriptor // replacements of nodes in plain indexes
}

func (m *mover) transfer(from *owner, parent auth.Repository, o Options) *transfer {
	return &transfer{mover: m, owner: from, parent: parent, options: o,
		manifests: map[digest.Digest][]byte{}, plains: map[*Node]ocispec.Descriptor{}}
}

// move walks from the root and copies everything below it.
func (p *transfer) move(ctx context.Context) (*Walked, error) {
	o := p.options
	o.Blobs, o.Carrier, o.Attached = true, true, true
	return p.bundle.Walk(ctx, o, Visitor{Fetch: p.fetch, Home: p.home, Expanded: p.show.Expand, Done: func(ctx context.Context, n *Node) error {
		defer p.show.End(n)
		if n.IsRoot {
			return nil
		}
		return p.copyNode(ctx, n)
	}})
}

// moveAll copies the root, too.
func (p *transfer) moveAll(ctx context.Context) (*Walked, error) {
	walked, err := p.move(ctx)
	if err != nil {
		return nil, err
	}
	return walked, p.copyNode(ctx, walked.Root)
}

// fetch keeps manifests and indexes. Other content is copied once its
// destination is known.
func (p *transfer) fetch(ctx context.Context, n *Node) error {
	if _, err := p.repositoryFor(n.Namespace); err != nil {
		return err // before anything that it points to is copied
	}
	if err := n.Digest.Validate(); err != nil {
		return fmt.Errorf("%s: digest %.100q: %w", n.Repository, n.Digest, err)
	}
	if !n.isManifestOrIndex() || p.rest != nil && p.bytesOf(n.Digest) != nil { // what findRest has read
		return nil
	}
	data, err := FetchAll(ctx, p.bundle.Fetcher, n.Descriptor)
	if err != nil {
		return p.bundle.Explain(n, err)
	}
	if err = p.hold(n.Digest, data); err == nil && images.IsIndexType(n.MediaType) {
		err = p.reserve(ctx, n)
	}
	return err
}

// maxHeld bounds the manifests and indexes of one bundle in bytes. They are kept
// until it is copied.
const maxHeld = 1 << 30

func (p *transfer) hold(d digest.Digest, data []byte) error {
	p.heldMu.Lock()
	defer p.heldMu.Unlock()
	if p.held += int64(len(data)); p.held > maxHeld {
		return fmt.Errorf("its manifests and indexes have more than %s", amount.Bytes(maxHeld))
	}
	p.manifests[d] = data
	return nil
}

func (p *transfer) bytesOf(d digest.Digest) []byte {
	p.heldMu.Lock()
	defer p.heldMu.Unlock()
	return p.manifests[d]
}

// reserve chooses the tags of a nested index's entries in the order of the
// index, so that they are the same each time. This includes entries in the
// index's own repository, which a carrier does not reference.
func (p *transfer) reserve(ctx context.Context, n *Node) error {
	if p.protection == nil {
		return nil
	}
	members, err := p.bundle.Fetcher.Members(ctx, n.Descriptor)
	if err != nil || len(members) == 0 {
		return err
	}
	entries, err := p.bundle.Fetcher.Children(ctx, n.Descriptor)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !oci.IsManifestOrIndex(e.MediaType) {
			continue
		}
		to, err := p.repositoryFor(path.Join(n.Namespace, e.Child.String()))
		if err != nil {
			return err
		}
		p.protection.Tag(to, e.Digest)
		p.setTagged(copyKey{to, contentKey{e.Digest, true}})
	}
	return nil
}

func (m *mover) setTagged(k copyKey) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tagged[k] = true
}

// isTagged reports whether content in a repository gets a protecting tag.
func (m *mover) isTagged(k copyKey) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tagged[k]
}

// copyNode copies a node into its repository, once.
func (p *transfer) copyNode(ctx context.Context, n *Node) error {
	if n.isManifestOrIndex() && !images.IsIndexType(n.MediaType) && !p.options.isSelected(n) {
		return nil // it was not a carrier
	}
	to, err := p.destination(ctx, n)
	if err != nil {
		return err
	}
	if !n.isManifestOrIndex() {
		return p.once(copyKey{to, n.key()}, func() error { return p.moveBlob(ctx, n, to) })
	}
	if n.IsMember() {
		p.show.Member(n)
	}
	switch {
	case n.Tag != "":
		return p.limited(ctx, func() error { return attach(ctx, p.registries, n, to, p.bytesOf(n.Digest)) })
	case p.plain:
		return p.copyFlattened(ctx, n)
	case n.Carrier != nil:
		return p.copyCarrier(ctx, n, to)
	}
	return p.putManifest(ctx, n, to, n.Descriptor, p.bytesOf(n.Digest))
}

// destination is the repository that a node's content is copied to.
func (p *transfer) destination(ctx context.Context, n *Node) (auth.Repository, error) {
	home, err := p.home(ctx, n)
	if err != nil {
		return home, err
	}
	return p.repositoryFor(oci.Below(p.bundle.Repository, home))
}

// repositoryFor is the repository for a namespace.
func (p *transfer) repositoryFor(namespace string) (auth.Repository, error) {
	if p.single || namespace == "" {
		return p.parent, nil
	}
	child, err := nested.ParseChild(namespace)
	if err != nil {
		return p.parent, err
	}
	if err = CheckParent(p.parent); err != nil {
		return p.parent, err
	}
	to, err := child.In(p.parent)
	if err != nil {
		return p.parent, usage.Errorf("%w; name a shorter destination", err)
	}
	return to, nil
}

// copiedDigest is the digest of a node at the destination.
func (p *transfer) copiedDigest(n *Node) digest.Digest {
	if plain := p.plainOf(n); plain.Digest != "" {
		return plain.Digest
	}
	return n.Stored().Digest
}

// copyCarrier copies a carrier that is a member, as it is.
func (p *transfer) copyCarrier(ctx context.Context, n *Node, to auth.Repository) error {
	carrier, err := p.home(ctx, n.Carrier)
	if err != nil {
		return err
	}
	index, err := p.home(ctx, n)
	if err != nil {
		return err
	}
	if carrier != index {
		return fmt.Errorf("child %s@%s: its carrier is in %s and the index in %s; push it again", n.Repository, oci.Short(n.Digest), carrier, index)
	}
	if err := (publisher{p.registries, p.bytesOf(n.Digest), n.Descriptor}).putCarried(ctx, to); err != nil {
		return err
	}
	return p.putManifest(ctx, n, to, n.Carrier.Descriptor, p.bytesOf(n.Carrier.Digest))
}

// putManifest puts a manifest or an index that is below a root, with a
// protecting tag when it is a member.
func (p *transfer) putManifest(ctx context.Context, n *Node, to auth.Repository, desc ocispec.Descriptor, data []byte) error {
	key := copyKey{to, contentKey{desc.Digest, true}}
	tag, err := p.tag(ctx, n, key)
	if err != nil {
		return err
	}
	if at, ok := p.rest.At(to, desc); ok && at == to && tag == "" {
		return nil
	}
	return p.once(key, func() error {
		var members []nested.Entry
		if !p.plain {
			if members, err = p.bundle.Fetcher.Members(ctx, desc); err != nil {
				return err
			}
		}
		return p.limited(ctx, func() error {
			if len(members) == 0 {
				return incomplete(to, desc, putContent(ctx, p.registries, to, tag, desc, data))
			}
			_, err := publisher{p.registries, data, desc}.publish(ctx, to, tag, p.strategy)
			return err
		})
	})
}

// tag is the tag that protects a manifest or an index; "" for one that is not a
// member.
func (p *transfer) tag(ctx context.Context, n *Node, key copyKey) (string, error) {
	if p.protection == nil || !n.IsMember() && !p.isTagged(key) {
		return "", nil
	}
	home, err := p.home(ctx, n)
	if err == nil && home != n.Repository { // a copy in another repository
		return p.protection.Tags(key.content.digest)[1], nil
	}
	return p.protection.Tag(key.repository, key.content.digest), err
}

// once does something once for content in a repository; concurrent callers
// wait.
func (m *mover) once(k copyKey, do func() error) error {
	_, err := m.copies.Do(k, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// limited does something that counts toward the limit of concurrent requests.
func (m *mover) limited(ctx context.Context, do func() error) error {
	if err := m.limiter.Acquire(ctx, 1); err != nil {
		return err
	}
	defer m.limiter.Release(1)
	return do()
}
