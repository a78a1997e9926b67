package plugin

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/transfer"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/nested"
)

// destination is the destination of a push that may be followed: an image in a
// registry.
type destination interface {
	transfer.ImagePusher
	fmt.Stringer
	marshaler
}

// push pushes an image, and the members of a nested index to their
// repositories.
func (s *service) push(ctx context.Context, settings *settings, src transfer.ImageGetter, dst destination, opts []transfer.Opt) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of asking the caller
	c, err := callerOf(ctx, dst)
	if err != nil {
		return err
	}
	if c == nil {
		return s.Transferrer.Transfer(ctx, src, dst, opts...)
	}
	if _, ok := c.follows(ctx); !ok {
		return s.Transferrer.Transfer(ctx, src, dst, opts...)
	}
	registries, err := c.registries(ctx, settings)
	if err != nil {
		return err
	}
	defer registries.CloseIdleConnections()
	resolver := nested.New(registries, nested.Options{Store: s.content, Keys: settings.Keys()})
	return s.Transferrer.Transfer(ctx, src, pushed{dst, c.reference, resolver}, opts...)
}

// pushed is the caller's destination with our pusher.
type pushed struct {
	destination
	reference string
	resolver  *nested.Resolver
}

// Pusher implements [transfer.ImagePusher]. As in containerd, the digest says
// which content gets the reference's tag.
func (p pushed) Pusher(ctx context.Context, root ocispec.Descriptor) (transfer.Pusher, error) {
	ref := p.reference
	if !strings.Contains(ref, "@") {
		ref += "@" + root.Digest.String()
	}
	return p.resolver.Pusher(ctx, ref)
}
