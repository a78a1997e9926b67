package plugin

import (
	"context"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/containerd/v2/pkg/imageverifier"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"github.com/nestedoci/nested/remotes/nested"
)

// service is containerd's transfer service, and follows child namespaces in
// pulls and pushes. All other transfers are left to containerd's.
type service struct {
	transfer.Transferrer
	content   content.Store
	leases    leases.Manager
	verifiers map[string]imageverifier.ImageVerifier
	settings  func() *settings // nil: not to be followed
}

// source is the source of a pull that may be followed: an image in a registry.
type source interface {
	transfer.ImageFetcher
	marshaler
}

// Transfer implements [transfer.Transferrer].
func (s *service) Transfer(ctx context.Context, src, dst any, opts ...transfer.Opt) error {
	settings := s.settings()
	if to, ok := dst.(destination); ok && settings != nil {
		if image, ok := src.(transfer.ImageGetter); ok {
			return s.push(ctx, settings, image, to, opts)
		}
	}
	from, isImage := src.(source)
	to, isStore := dst.(transfer.ImageStorer)
	if settings == nil || !isImage || !isStore {
		return s.Transferrer.Transfer(ctx, src, dst, opts...)
	}
	namespace, err := namespaces.NamespaceRequired(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of asking the caller
	c, err := callerOf(ctx, from)
	if err != nil {
		return err
	}
	if c == nil {
		return s.Transferrer.Transfer(ctx, src, dst, opts...)
	}
	root, ok := c.follows(ctx)
	if !ok {
		return s.Transferrer.Transfer(ctx, src, dst, opts...)
	}
	registries, err := c.registries(ctx, settings)
	if err != nil {
		return err
	}
	defer registries.CloseIdleConnections()
	ctx, release, err := s.leased(ctx)
	if err != nil {
		return err
	}
	defer release()
	p := &pull{
		service:   s,
		settings:  settings,
		namespace: namespace,
		dst:       to,
		platform:  platformOf(to),
		base:      registries,
		resolver:  nested.New(headFirst{registries}, nested.Options{Store: s.content, Keys: settings.Keys()}),
		progress:  newProgress(opts),
		slots:     make(chan struct{}, transfersAtOnce),
		started:   map[string]bool{},
		skipped:   map[string]bool{},
	}
	return p.run(ctx, root, &rootSource{from, p, c.reference})
}

// headFirst hides that the base could resolve by fetching: containerd uses
// HEAD, which registries do not count as a pull, and then fetches only what is
// missing.
type headFirst struct{ remotes.ResolverWithOptions }

// leaseTime is that of containerd's own pulls.
const leaseTime = 24 * time.Hour

// leased protects what is pulled from garbage collection until release.
func (s *service) leased(ctx context.Context) (_ context.Context, release func(), err error) {
	if _, ok := leases.FromContext(ctx); ok {
		return ctx, func() {}, nil
	}
	lease, err := s.leases.Create(ctx, leases.WithRandomID(), leases.WithExpiration(leaseTime))
	if err != nil {
		return nil, nil, err
	}
	return leases.WithLease(ctx, lease.ID), func() {
		_ = s.leases.Delete(context.WithoutCancel(ctx), lease) // otherwise it ends by itself
	}, nil
}
