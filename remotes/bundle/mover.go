package bundle

import (
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
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// mover copies bundles into repositories of a registry: members to
// <parent>/<child namespace>, or everything to the parent. It may copy several
// at once, each a [transfer].
type mover struct {
	registries *registry.Client // of the destination
	parent     auth.Repository
	single     bool               // everything goes to the parent
	plain      bool               // in plain indexes
	strategy   nested.Strategy    // for nested indexes
	protection *nested.Protection // nil: members are not tagged
	show       Progress
	limiter    *semaphore.Weighted

	puts                   flight.Once[put, struct{}]
	uploaded, there, bytes atomic.Int64 // bytes of what was uploaded

	mu        sync.Mutex
	manifests map[digest.Digest][]byte
	held      int64        // total bytes of manifests
	kept      map[put]bool // content that gets a tag
	blobs     map[digest.Digest]*movedBlob
	plains    map[*Node]ocispec.Descriptor // replacements of nodes in plain indexes
}

// put is content and the repository that it is copied to.
type put struct {
	to   auth.Repository
	what contentKey
}

func newMover(registries *registry.Client, parent auth.Repository, strategy nested.Strategy, concurrent int, show Progress) *mover {
	if show == nil {
		show = silent{}
	}
	return &mover{
		registries: registries,
		parent:     parent,
		strategy:   strategy,
		show:       show,
		limiter:    semaphore.NewWeighted(int64(concurrent)),
		manifests:  map[digest.Digest][]byte{},
		kept:       map[put]bool{},
		blobs:      map[digest.Digest]*movedBlob{},
		plains:     map[*Node]ocispec.Descriptor{},
	}
}

// transfer is the copying of one bundle. Each node is copied before the nodes
// that point to it; the root is left to the caller.
type transfer struct {
	*mover
	*owner
	options Options
}

// move walks from the root and copies everything below it.
func (p *transfer) move(ctx context.Context) (*Walked, error) {
	o := p.options
	o.Blobs, o.Carrier = true, true
	return p.bundle.Walk(ctx, o, Visitor{Fetch: p.fetch, Home: p.home, Done: func(ctx context.Context, n *Node) error {
		if n.IsRoot {
			return nil
		}
		return p.place(ctx, n)
	}})
}

// moveAll copies the root, too.
func (p *transfer) moveAll(ctx context.Context) error {
	walked, err := p.move(ctx)
	if err != nil {
		return err
	}
	return p.place(ctx, walked.Root)
}

// fetch keeps manifests and indexes. Other content is copied once its
// destination is known.
func (p *transfer) fetch(ctx context.Context, n *Node) error {
	if _, err := p.target(n.Namespace); err != nil {
		return err // before anything that it points to is copied
	}
	if err := n.Digest.Validate(); err != nil {
		return fmt.Errorf("%s: digest %.100q: %w", n.Repository, n.Digest, err)
	}
	if !n.isManifestOrIndex() {
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

// maxHeld bounds the manifests and indexes of a copy in bytes. They are kept
// until it ends.
const maxHeld = 1 << 30

func (m *mover) hold(d digest.Digest, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.held += int64(len(data)); m.held > maxHeld {
		return fmt.Errorf("its manifests and indexes have more than %s", amount.Bytes(maxHeld))
	}
	m.manifests[d] = data
	return nil
}

func (m *mover) bytesOf(d digest.Digest) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.manifests[d]
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
		to, err := p.target(path.Join(n.Namespace, e.Child.String()))
		if err != nil {
			return err
		}
		p.protection.Tag(to, e.Digest)
		p.keep(put{to, contentKey{e.Digest, true}})
	}
	return nil
}

func (m *mover) keep(p put) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.kept[p] = true
}

// keeps reports whether content in a repository gets a protecting tag.
func (m *mover) keeps(p put) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[p]
}

// place copies a node into its repository, once.
func (p *transfer) place(ctx context.Context, n *Node) error {
	if n.isManifestOrIndex() && !images.IsIndexType(n.MediaType) && !p.options.isSelected(n) {
		return nil // it was not a carrier
	}
	to, err := p.to(ctx, n)
	if err != nil {
		return err
	}
	if !n.isManifestOrIndex() {
		return p.once(put{to, n.key()}, func() error { return p.moveBlob(ctx, n, to) })
	}
	if n.IsMember() {
		p.show.Member(n)
	}
	switch {
	case p.plain:
		return p.placeFlat(ctx, n)
	case n.Carrier != nil:
		return p.placeCarrier(ctx, n, to)
	}
	return p.putManifest(ctx, n, to, n.Descriptor, p.bytesOf(n.Digest))
}

// to is the repository that a node's content is copied to.
func (p *transfer) to(ctx context.Context, n *Node) (auth.Repository, error) {
	home, err := p.home(ctx, n)
	if err != nil {
		return home, err
	}
	return p.target(oci.Below(p.bundle.Repository, home))
}

// target is the repository for a namespace.
func (m *mover) target(namespace string) (auth.Repository, error) {
	if m.single || namespace == "" {
		return m.parent, nil
	}
	child, err := nested.ParseChild(namespace)
	if err != nil {
		return m.parent, err
	}
	if err = CheckParent(m.parent); err != nil {
		return m.parent, err
	}
	to, err := child.In(m.parent)
	if err != nil {
		return m.parent, usage.Errorf("%w; name a shorter destination", err)
	}
	return to, nil
}

// placed is the digest of a node at the destination.
func (m *mover) placed(n *Node) digest.Digest {
	if plain := m.plainOf(n); plain.Digest != "" {
		return plain.Digest
	}
	return n.Stored().Digest
}

// placeCarrier copies a carrier that is a member, as it is.
func (p *transfer) placeCarrier(ctx context.Context, n *Node, to auth.Repository) error {
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
	key := put{to, contentKey{desc.Digest, true}}
	tag, err := p.tag(ctx, n, key)
	if err != nil {
		return err
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
func (p *transfer) tag(ctx context.Context, n *Node, key put) (string, error) {
	if p.protection == nil || !n.IsMember() && !p.keeps(key) {
		return "", nil
	}
	home, err := p.home(ctx, n)
	if err == nil && home != n.Repository { // a copy in another repository
		return p.protection.Tags(key.what.digest)[1], nil
	}
	return p.protection.Tag(key.to, key.what.digest), err
}

// once does something once for content in a repository; concurrent callers
// wait.
func (m *mover) once(p put, do func() error) error {
	_, err := m.puts.Do(p, func() (struct{}, error) { return struct{}{}, do() })
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
