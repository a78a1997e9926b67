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

// mover brings bundles into repositories of a registry: members to
// <parent>/<child namespace>, or everything to the parent. Any number of them
// may be under way at once, each a [passage].
type mover struct {
	registries *registry.Client // of the registry that it goes to
	parent     auth.Repository
	single     bool               // all to the parent
	plain      bool               // in plain indexes
	strategy   nested.Strategy    // for nested indexes
	protection *nested.Protection // nil: members get no tags
	show       Progress
	limiter    *semaphore.Weighted

	puts                   flight.Once[put, struct{}]
	uploaded, there, bytes atomic.Int64 // bytes of what was uploaded

	mu        sync.Mutex
	manifests map[digest.Digest][]byte
	held      int64        // bytes of these
	kept      map[put]bool // that get a tag
	blobs     map[digest.Digest]*movedBlob
	plains    map[*Node]ocispec.Descriptor // what stands for nodes in plain indexes
}

// put is content on its way to a repository.
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

// passage is a bundle on its way. Each node is brought before those that point
// to it; the root is left to its user.
type passage struct {
	*mover
	*owner
	options Options
}

// move walks from the root and brings what is below it.
func (p *passage) move(ctx context.Context) (*Walked, error) {
	o := p.options
	o.Blobs, o.Carrier = true, true
	return p.bundle.Walk(ctx, o, Visitor{Fetch: p.fetch, Home: p.home, Done: func(ctx context.Context, n *Node) error {
		if n.IsRoot {
			return nil
		}
		return p.place(ctx, n)
	}})
}

// moveAll brings the root, too.
func (p *passage) moveAll(ctx context.Context) error {
	walked, err := p.move(ctx)
	if err != nil {
		return err
	}
	return p.place(ctx, walked.Root)
}

// fetch keeps manifests and indexes; other content goes from one registry to the
// other when its place is known.
func (p *passage) fetch(ctx context.Context, n *Node) error {
	if _, err := p.target(n.Namespace); err != nil {
		return err // before what it points to is put
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

// maxHeld bounds the manifests and indexes of a copy, which are kept until it ends.
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

// reserve gives the entries of a nested index their tags in its order, so that
// they are the same each time: those of the index's own repository, too, which a
// carrier does not name.
func (p *passage) reserve(ctx context.Context, n *Node) error {
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

// keeps reports whether content in a repository gets a tag that protects it.
func (m *mover) keeps(p put) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.kept[p]
}

// place brings a node into its repository, once.
func (p *passage) place(ctx context.Context, n *Node) error {
	if n.isManifestOrIndex() && !images.IsIndexType(n.MediaType) && !p.options.selects(n) {
		return nil // it was no carrier
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

// to is where a node's content goes.
func (p *passage) to(ctx context.Context, n *Node) (auth.Repository, error) {
	home, err := p.home(ctx, n)
	if err != nil {
		return home, err
	}
	return p.target(below(p.bundle.Repository, home))
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

// placed is the digest of what stands for a node where it was brought to.
func (m *mover) placed(n *Node) digest.Digest {
	if plain := m.plainOf(n); plain.Digest != "" {
		return plain.Digest
	}
	return n.Stored().Digest
}

// placeCarrier brings a carrier that stands as a member, as it is.
func (p *passage) placeCarrier(ctx context.Context, n *Node, to auth.Repository) error {
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

// putManifest puts a manifest or an index that is below a root, under a tag
// that protects it when it is a member.
func (p *passage) putManifest(ctx context.Context, n *Node, to auth.Repository, desc ocispec.Descriptor, data []byte) error {
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

// tag is the tag that protects a manifest or an index; none for one that is no
// member.
func (p *passage) tag(ctx context.Context, n *Node, key put) (string, error) {
	if p.protection == nil || !n.IsMember() && !p.keeps(key) {
		return "", nil
	}
	home, err := p.home(ctx, n)
	if err == nil && home != n.Repository { // a guest there
		return p.protection.Tags(key.what.digest)[1], nil
	}
	return p.protection.Tag(key.to, key.what.digest), err
}

// once does what has to be done for content in a repository; others wait.
func (m *mover) once(p put, do func() error) error {
	_, err := m.puts.Do(p, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// limited does something as one of the requests at once.
func (m *mover) limited(ctx context.Context, do func() error) error {
	if err := m.limiter.Acquire(ctx, 1); err != nil {
		return err
	}
	defer m.limiter.Release(1)
	return do()
}
