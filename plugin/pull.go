package plugin

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/transfer"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/records"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// kubernetes is the namespace of CRI.
const kubernetes = "k8s.io"

// fetcher has the methods of a [nested.Fetcher] that a pull uses.
type fetcher interface {
	remotes.Fetcher
	Children(context.Context, ocispec.Descriptor) ([]nested.Entry, error)
	Members(context.Context, ocispec.Descriptor) ([]nested.Entry, error)
	Found(digest.Digest) (auth.Repository, bool)
	Try(context.Context, ocispec.Descriptor, func(auth.Repository) error) (auth.Repository, error)
}

var _ fetcher = (*nested.Fetcher)(nil)

// pull is the pull of one root. containerd's service transfers the root without
// its members, and then each member under its own name, so that everything that
// containerd derives from a name is right: source labels, annotations of
// snapshots, verification. A plain root is one transfer, as without the plugin.
type pull struct {
	*service
	settings  *settings
	namespace string
	dst       transfer.ImageStorer    // the caller's
	platform  platforms.MatchComparer // of the request; nil for all
	base      *registry.Client
	resolver  *nested.Resolver // on the base
	progress  *progress
	slots     chan struct{} // held by the transfers of members

	// Known when the root was transferred.
	root    ocispec.Descriptor
	fetcher fetcher
	images  images.Store // containerd's own, as it passes it to destinations

	mu      sync.Mutex
	members []member        // those that are transferred completely
	started map[string]bool // their transfers, by name
	skipped map[string]bool // repositories of members that are not pulled
}

// member is an entry with a child namespace.
type member struct {
	ocispec.Descriptor
	target auth.Repository // by its path
}

func (m member) name() string { return m.target.String() + "@" + m.Digest.String() }

// run pulls the root, its members, and the members of those.
func (p *pull) run(ctx context.Context, root auth.Repository, src *rootSource) error {
	v := &view{pull: p, in: root}
	if err := p.Transferrer.Transfer(ctx, src, v, p.progress.ofRoot(v)...); err != nil {
		return err
	}
	if !v.nested {
		return nil
	}
	if !p.settings.Allows(root) {
		return fmt.Errorf("%s is a nested index, and no pattern of allow matches it, so that this containerd does not follow it; add it to allow in the plugin's configuration: %w", root, errdefs.ErrPermissionDenied)
	}
	if p.namespace == kubernetes || len(v.members) == 0 {
		if err := p.refuse(ctx, root, v.members); err != nil {
			return err
		}
	}
	if err := p.pullMembers(ctx, v.members); err != nil {
		return err
	}
	return p.record(ctx)
}

const (
	// transfersAtOnce bounds the transfers; containerd bounds the downloads of
	// all together.
	transfersAtOnce = 32
	// maxMembers bounds the members of a pull, each under each of its names:
	// as many as containerd follows references of one index.
	maxMembers = 10_000
)

// pullMembers transfers members concurrently.
func (p *pull) pullMembers(ctx context.Context, members []member) error {
	group, ctx := errgroup.WithContext(ctx)
	go p.prepareAll(ctx, members)
	for _, m := range members {
		group.Go(func() error {
			if first, err := p.start(m); !first || err != nil {
				return err
			}
			return p.pullMember(ctx, m)
		})
	}
	return group.Wait()
}

// prepared bounds the tokens that are fetched in advance, preparedAtOnce how
// many at a time. Tokens may live only a minute.
const prepared, preparedAtOnce = 64, 8

// prepareAll fetches the members' tokens while their manifests wait for one of
// containerd's few downloads.
func (p *pull) prepareAll(ctx context.Context, members []member) {
	var group errgroup.Group
	group.SetLimit(preparedAtOnce)
	for _, m := range members[:min(len(members), prepared)] {
		if _, err := p.content.Info(ctx, m.Digest); err == nil && p.namespace != kubernetes {
			continue // its token will not be needed
		}
		group.Go(func() error { p.base.Prepare(ctx, m.target); return nil })
	}
	_ = group.Wait()
}

// start reports whether the transfer of a member has not begun yet.
func (p *pull) start(m member) (first bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.started[m.name()] {
		return false, nil
	}
	if len(p.started) >= maxMembers {
		return false, fmt.Errorf("more than %d members in one pull: %w", maxMembers, errdefs.ErrInvalidArgument)
	}
	p.started[m.name()] = true
	if p.platform != nil && m.Platform != nil && !p.platform.Match(*m.Platform) {
		p.skipped[m.target.String()] = true // only its manifests and indexes, as for ctr
	} else {
		p.members = append(p.members, m)
	}
	return true, nil
}

func (p *pull) pullMember(ctx context.Context, m member) error {
	v := &view{pull: p, in: m.target, isMember: true, name: m.name()}
	if err := p.transferMember(ctx, m, v); err != nil {
		return err
	}
	return p.pullMembers(ctx, v.members)
}

// transferMember transfers a member without its own members.
func (p *pull) transferMember(ctx context.Context, m member, v *view) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	isManifestOrIndex := oci.IsManifestOrIndex(m.MediaType)
	if isManifestOrIndex {
		if err := p.store(ctx, m.Descriptor); err != nil {
			return err
		}
		found, err := p.foundIn(ctx, m)
		if err != nil {
			return err
		}
		v.name = found.String() + "@" + m.Digest.String()
	}
	if p.settings.Verify == "root" {
		ctx = context.WithValue(ctx, unverifiedKey{}, true)
	} else if v.name != m.name() { // the name of its record, of which the transfer knows nothing
		if err := p.verify(ctx, m.name(), m.Descriptor); err != nil {
			return err
		}
	}
	if err := p.hand(ctx, m, v); err != nil {
		return err
	}
	if !isManifestOrIndex {
		_, err := p.foundIn(ctx, m)
		return err
	}
	return nil
}

// foundIn returns the repository of a member. When nothing was fetched because
// it was there, the caller's access is checked with the registry in CRI's
// namespace: the pods of a node have rights of their own. In other namespaces
// every client of containerd may read its store.
func (p *pull) foundIn(ctx context.Context, m member) (auth.Repository, error) {
	if found, ok := p.fetcher.Found(m.Digest); ok {
		return found, nil
	}
	if p.namespace != kubernetes {
		return m.target, nil
	}
	return p.fetcher.Try(ctx, m.Descriptor, func(candidate auth.Repository) error {
		_, _, err := p.base.Resolve(ctx, candidate.String()+"@"+m.Digest.String())
		return err
	})
}

// verify runs containerd's image verifiers, as containerd does itself.
func (p *pull) verify(ctx context.Context, name string, desc ocispec.Descriptor) error {
	for id, v := range p.verifiers {
		judgement, err := v.VerifyImage(ctx, name, desc)
		if err != nil {
			return fmt.Errorf("blocking pull of %s: image verifier %s: %w", name, id, err)
		}
		if !judgement.OK {
			return fmt.Errorf("image verifier %s blocked pull of %s for reason: %s", id, name, judgement.Reason)
		}
	}
	return nil
}

// store fetches a manifest or index into the content store.
func (p *pull) store(ctx context.Context, desc ocispec.Descriptor) error {
	if !oci.IsManifestOrIndex(desc.MediaType) && !images.IsConfigType(desc.MediaType) {
		return nil
	}
	if err := remotes.Fetch(ctx, p.content, p.fetcher, desc); !errdefs.IsAlreadyExists(err) {
		return err
	}
	return nil
}

// record makes the image records, when everything has arrived.
func (p *pull) record(ctx context.Context) error {
	// What the caller's destination would store tells names and labels.
	var recorded capture
	if _, err := p.dst.Store(ctx, p.root, &recorded); err != nil {
		return err
	}
	if len(recorded.images) == 0 {
		return errors.New("the destination stores nothing")
	}
	if p.settings.Records(p.namespace) {
		if err := p.recordMembers(ctx, recorded.images[0]); err != nil {
			return err
		}
	}
	stored, err := p.dst.Store(ctx, p.root, p.images)
	if err != nil {
		return err
	}
	p.progress.end(stored)
	return nil
}

func (p *pull) recordMembers(ctx context.Context, root images.Image) error {
	var members []records.Member
	for _, m := range p.members {
		members = append(members, records.Member{Name: m.name(), Target: m.Descriptor})
	}
	return records.Bundle{Images: p.images, Name: root.Name}.Members(ctx, members, root.Labels, p.skipped)
}

// capture is a store of images that only records the calls.
type capture struct {
	images.Store
	images []images.Image
}

// Create implements [images.Store].
func (c *capture) Create(_ context.Context, image images.Image) (images.Image, error) {
	c.images = append(c.images, image)
	return image, nil
}

// rootSource is the caller's source, resolved and fetched through our own
// resolver.
type rootSource struct {
	source
	pull      *pull
	reference string
}

// String is how containerd shows it.
func (s *rootSource) String() string { return fmt.Sprint(s.source) }

// SetResolverOptions implements [transfer.ImageResolverOptionSetter].
func (s *rootSource) SetResolverOptions(options ...transfer.ImageResolverOption) {
	s.pull.resolver.SetOptions(options...)
}

// Resolve implements [transfer.ImageResolver].
func (s *rootSource) Resolve(ctx context.Context) (name string, desc ocispec.Descriptor, err error) {
	name, desc, err = s.pull.resolver.Resolve(ctx, s.reference)
	s.pull.root = desc
	return name, desc, err
}

// Fetcher implements [transfer.ImageFetcher].
func (s *rootSource) Fetcher(ctx context.Context, name string) (transfer.Fetcher, error) {
	f, err := s.pull.resolver.Fetcher(ctx, name)
	if err != nil {
		return nil, err
	}
	var ok bool
	if s.pull.fetcher, ok = f.(fetcher); !ok {
		return nil, fmt.Errorf("%s is not a reference to a repository", name)
	}
	return f, nil
}

// memberSource is a member, named after the repository in which it was found.
type memberSource struct {
	pull *pull
	name string
	desc ocispec.Descriptor
}

// String is how containerd shows it.
func (s *memberSource) String() string { return "member " + s.name }

// Resolve implements [transfer.ImageResolver].
func (s *memberSource) Resolve(context.Context) (string, ocispec.Descriptor, error) {
	return s.name, s.desc, nil
}

// Fetcher implements [transfer.ImageFetcher].
func (s *memberSource) Fetcher(context.Context, string) (transfer.Fetcher, error) {
	return s.pull.fetcher, nil
}
