package plugin

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// service is containerd's transfer service, which follows child namespaces in
// pulls. Other transfers are its own.
type service struct {
	transfer.Transferrer
	content  content.Store
	leases   leases.Manager
	settings func() *Settings // nil: not to follow
}

// Transfer implements [transfer.Transferrer].
func (s *service) Transfer(ctx context.Context, src, dst any, opts ...transfer.Opt) error {
	settings := s.settings()
	from, ok := src.(interface {
		transfer.ImageFetcher
		marshaler
	})
	to, ok2 := dst.(transfer.ImageStorer)
	if settings == nil || !ok || !ok2 {
		return s.Transferrer.Transfer(ctx, src, dst, opts...)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of what the caller is asked
	c, err := callerOf(ctx, from)
	if err != nil {
		return err
	}
	registries := c.registries(auth.NewStores(auth.StoresOptions{Files: settings.DockerConfig}))
	defer registries.CloseIdleConnections()
	ctx, done, err := s.leased(ctx)
	if err != nil {
		return err
	}
	defer done()
	p := &pull{
		service:  s,
		settings: settings,
		dst:      to,
		opts:     opts,
		resolver: nested.New(headFirst{registries}, nested.Options{Store: s.content}),
	}
	return p.run(ctx, c.reference, from)
}

// leased protects what is pulled from garbage collection until done.
func (s *service) leased(ctx context.Context) (context.Context, func(), error) {
	if _, ok := leases.FromContext(ctx); ok {
		return ctx, func() {}, nil
	}
	lease, err := s.leases.Create(ctx, leases.WithRandomID(), leases.WithExpiration(24*time.Hour))
	if err != nil {
		return nil, nil, err
	}
	return leases.WithLease(ctx, lease.ID), func() {
		_ = s.leases.Delete(context.WithoutCancel(ctx), lease) // it ends by itself
	}, nil
}

// headFirst hides that the base could resolve by fetching: containerd asks
// with HEAD, which registries do not count as a pull, and then fetches only
// what is missing.
type headFirst struct{ remotes.ResolverWithOptions }

// fetcher is what a pull of package nested offers.
type fetcher interface {
	remotes.Fetcher
	Members(context.Context, ocispec.Descriptor) ([]nested.Entry, error)
	Found(digest.Digest) (auth.Repository, bool)
}

var _ fetcher = (*nested.Fetcher)(nil)

// pull is the pull of one root.
type pull struct {
	*service
	settings *Settings
	dst      transfer.ImageStorer
	opts     []transfer.Opt
	resolver *nested.Resolver
	fetcher  fetcher

	images images.Store // containerd's, as it hands it to destinations
}

func (p *pull) run(ctx context.Context, reference string, src transfer.ImageFetcher) error {
	root := &rootSource{ImageFetcher: src, pull: p, reference: reference}
	repository, err := repositoryOf(reference)
	if err != nil {
		return p.Transferrer.Transfer(ctx, src, p.dst, p.opts...) // nothing that could be nested
	}
	v := &view{pull: p, in: repository}
	v.store = func(ctx context.Context, desc ocispec.Descriptor, is images.Store) ([]images.Image, error) {
		if len(v.members) == 0 {
			return p.dst.Store(ctx, desc, is)
		}
		p.images = is
		root.desc = desc
		return nil, nil
	}
	if err := p.Transferrer.Transfer(ctx, root, v, p.opts...); err != nil {
		return err
	}
	if len(v.members) == 0 {
		return nil
	}
	if err := p.pullMembers(ctx, v.members); err != nil {
		return err
	}
	_, err = p.dst.Store(ctx, root.desc, p.images)
	return err
}

// repositoryOf returns the repository of a containerd reference.
func repositoryOf(ref string) (auth.Repository, error) {
	spec, err := reference.Parse(ref)
	if err != nil {
		return auth.Repository{}, err
	}
	return auth.ParseRepository(spec.Locator)
}

// member is an entry with a child namespace.
type member struct {
	desc   ocispec.Descriptor
	target auth.Repository
}

func (m member) name() string { return m.target.String() + "@" + m.desc.Digest.String() }

func (p *pull) pullMembers(ctx context.Context, members []member) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, m := range members {
		group.Go(func() error { return p.pullMember(ctx, m) })
	}
	return group.Wait()
}

func (p *pull) pullMember(ctx context.Context, m member) error {
	v := &view{pull: p, in: m.target}
	v.store = func(context.Context, ocispec.Descriptor, images.Store) ([]images.Image, error) { return nil, nil }
	if err := p.Transferrer.Transfer(ctx, &memberSource{p, m}, v); err != nil {
		return err
	}
	return p.pullMembers(ctx, v.members)
}

// rootSource is the caller's source, resolved and fetched by our own resolver.
type rootSource struct {
	transfer.ImageFetcher
	pull      *pull
	reference string
	desc      ocispec.Descriptor
}

func (s *rootSource) String() string { return fmt.Sprint(s.ImageFetcher) }

func (s *rootSource) SetResolverOptions(opts ...transfer.ImageResolverOption) {
	s.pull.resolver.SetOptions(opts...)
}

func (s *rootSource) Resolve(ctx context.Context) (string, ocispec.Descriptor, error) {
	return s.pull.resolver.Resolve(ctx, s.reference)
}

func (s *rootSource) Fetcher(ctx context.Context, name string) (transfer.Fetcher, error) {
	f, err := s.pull.resolver.Fetcher(ctx, name)
	if err != nil {
		return nil, err
	}
	s.pull.fetcher = f.(fetcher)
	return f, nil
}

type memberSource struct {
	pull *pull
	member
}

func (s *memberSource) String() string { return "member " + s.name() }

func (s *memberSource) Resolve(context.Context) (string, ocispec.Descriptor, error) {
	return s.name(), s.desc, nil
}

func (s *memberSource) Fetcher(context.Context, string) (transfer.Fetcher, error) {
	return s.pull.fetcher, nil
}

// view is the caller's destination as one transfer sees it: without entries
// that are members, which are collected.
type view struct {
	*pull
	in    auth.Repository
	store func(context.Context, ocispec.Descriptor, images.Store) ([]images.Image, error)

	mu      sync.Mutex
	members []member
}

func (v *view) Store(ctx context.Context, desc ocispec.Descriptor, is images.Store) ([]images.Image, error) {
	return v.store(ctx, desc, is)
}

func (v *view) UnpackPlatforms() []transfer.UnpackConfiguration {
	if u, ok := v.dst.(transfer.ImageUnpacker); ok {
		return u.UnpackPlatforms()
	}
	return nil
}

func (v *view) ImageFilter(h images.HandlerFunc, cs content.Store) images.HandlerFunc {
	if f, ok := v.dst.(transfer.ImageFilterer); ok {
		h = f.ImageFilter(h, cs)
	}
	return func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		children, err := h(ctx, desc)
		if err != nil || !images.IsIndexType(desc.MediaType) || len(children) == 0 {
			return children, err
		}
		entries, err := v.fetcher.Members(ctx, desc)
		if err != nil || entries == nil {
			return children, err
		}
		return v.take(children, entries)
	}
}

// take takes the members out of the children of an index.
func (v *view) take(children []ocispec.Descriptor, entries []nested.Entry) ([]ocispec.Descriptor, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	taken := map[digest.Digest]bool{}
	for _, e := range entries {
		if !slices.ContainsFunc(children, func(c ocispec.Descriptor) bool { return c.Digest == e.Digest }) {
			continue
		}
		target, err := e.Child.In(v.in)
		if err != nil {
			return nil, err
		}
		taken[e.Digest] = true
		v.members = append(v.members, member{e.Descriptor, target})
	}
	return slices.DeleteFunc(children, func(c ocispec.Descriptor) bool { return taken[c.Digest] }), nil
}
