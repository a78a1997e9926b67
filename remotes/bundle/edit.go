package bundle

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"slices"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// Edit is an index that is being made or changed. It is for one goroutine.
type Edit struct {
	registries *registry.Client
	repository auth.Repository
	of         string // the index that was there, for errors
	was        digest.Digest
	index      *rawIndex
	entries    []nested.Entry // of the index, without those that were added
	members    []member       // all of them
	fetcher    Source         // of the index that was there before

	nonDistributable []string
}

// NewIndex begins an empty index for a repository.
func NewIndex(registries *registry.Client, repository auth.Repository) *Edit {
	return &Edit{registries: registries, repository: repository, of: repository.String(), index: newRawIndex()}
}

// EditIndex begins with the index that a reference names. Entries that stay
// keep their bytes.
func EditIndex(ctx context.Context, registries *registry.Client, ref auth.Reference) (*Edit, error) {
	b, err := Open(ctx, nested.New(registries, nested.Options{Complete: true}), ref)
	if err != nil {
		return nil, err
	}
	if !images.IsIndexType(b.Root.MediaType) {
		return nil, avoidable(ByNewIndex, "%s is no index but %s", ref, b.Root.MediaType)
	}
	data, err := b.ReadRoot(ctx)
	if err != nil {
		return nil, err
	}
	e := NewIndex(registries, b.Repository)
	e.fetcher, e.of, e.was = b.Fetcher, ref.String(), b.PinnedRoot().Digest
	if e.entries, err = b.Fetcher.Children(ctx, b.Root); err != nil {
		return nil, err
	}
	if e.index, err = parseRawIndex(data); err != nil {
		return nil, fmt.Errorf("%s: %w", ref, err)
	}
	if len(e.entries) != len(e.index.Manifests) {
		return nil, fmt.Errorf("%s: not all entries of the index can be read", ref)
	}
	return e, e.readEntries()
}

// readEntries reads the members of the index that was there.
func (e *Edit) readEntries() error {
	for _, entry := range e.entries {
		if entry.Child == (nested.Child{}) {
			continue
		}
		repository, err := entry.Child.In(e.repository)
		if err != nil {
			return err
		}
		e.members = append(e.members, member{at: repository, repository: repository, child: entry.Child, desc: entry.Descriptor})
	}
	return nil
}

// AddOptions say how members are added.
type AddOptions struct {
	Annotations       map[string]string // of the index
	MemberAnnotations map[string]string // of each new entry; not the child namespace's
	ArtifactType      string            // of the index; "" leaves it
	Property          bool              // state child namespaces also as the property of image-spec issue 1217
	Replace           bool              // remove the entries that have the same child namespace
	Copy              *CopySources      // for sources that are elsewhere; nil refuses them
}

// mediaType is the form of media types (RFC 6838, section 4.2).
var mediaType = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z!#$&^_.+-]{0,126}/[0-9A-Za-z][0-9A-Za-z!#$&^_.+-]{0,126}$`)

// Check returns an error of class errdefs.ErrInvalidArgument about what no index
// may have. [Edit.Add] checks it, too.
func (o AddOptions) Check() error {
	if o.ArtifactType != "" && !mediaType.MatchString(o.ArtifactType) {
		return usage.Optionf("artifact-type", " %.64q: must be a media type, such as application/vnd.example.app", o.ArtifactType)
	}
	if value, ok := o.MemberAnnotations[nested.Annotation]; ok {
		return usage.Optionf("member-annotation", " %s=%.64q: the child namespace is where the SOURCE is", nested.Annotation, value)
	}
	return nil
}

// Add adds members. It reads them first: each has to be a manifest or an index,
// and a nested index has to be valid. Those that are not in repositories below
// the index's are copied there by Publish.
func (e *Edit) Add(ctx context.Context, sources []IndexSource, o AddOptions) error {
	if err := o.Check(); err != nil {
		return err
	}
	members, err := e.newMembers(sources, o)
	if err != nil {
		return err
	}
	if err := e.readMembers(ctx, members); err != nil {
		return err
	}
	if o.Replace {
		for _, m := range members {
			e.remove(func(n nested.Entry) bool { return n.Child == m.child })
		}
	}
	for _, m := range members {
		if err := e.index.add(m, o); err != nil {
			return err
		}
	}
	e.members = append(e.members, members...)
	e.index.annotate(o)
	return nil
}

// Remove removes the entries that have a child namespace, or a digest, and were
// not added by this Edit. When there are none, the class of the error is
// errdefs.ErrNotFound.
func (e *Edit) Remove(member string) error {
	if !e.remove(func(n nested.Entry) bool {
		return n.Child != (nested.Child{}) && n.Child.String() == member || n.Digest.String() == member
	}) {
		return fmt.Errorf("%s: no member %s: %w", e.of, member, errdefs.ErrNotFound)
	}
	return nil
}

// remove removes entries that were not added by this Edit, and reports whether
// there were any.
func (e *Edit) remove(which func(nested.Entry) bool) bool {
	var kept []nested.Entry
	removed := map[digest.Digest]bool{}
	manifests := e.index.Manifests[:0:0]
	for i, entry := range e.entries {
		if which(entry) {
			removed[entry.Digest] = true
			continue
		}
		kept, manifests = append(kept, entry), append(manifests, e.index.Manifests[i])
	}
	e.index.Manifests = append(manifests, e.index.Manifests[len(e.entries):]...)
	e.entries = kept
	e.members = slices.DeleteFunc(e.members, func(m member) bool {
		return removed[m.desc.Digest] && which(nested.Entry{Descriptor: m.desc, Child: m.child})
	})
	return len(removed) > 0
}

// Was is the digest of the index that was there, or of its carrier; "" for none.
func (e *Edit) Was() digest.Digest { return e.was }

// Replaces says what [Edit.Was] is of an index that takes the place of another.
func (e *Edit) Replaces(was digest.Digest) { e.was = was }

// Keeps reports whether an entry of the index that was there is still in it.
func (e *Edit) Keeps(child nested.Child, d digest.Digest) bool {
	return slices.ContainsFunc(e.entries, func(n nested.Entry) bool { return n.Child == child && n.Digest == d })
}

// Members are the references of the members by digest, each once.
func (e *Edit) Members() []string {
	members := []string{}
	for _, m := range e.members {
		if ref := m.ref(); !slices.Contains(members, ref) {
			members = append(members, ref)
		}
	}
	return members
}

// Bytes returns the index and its descriptor. It is deterministic.
func (e *Edit) Bytes() ([]byte, ocispec.Descriptor, error) { return e.index.bytes() }

// PublishOptions say how an index is published.
type PublishOptions struct {
	Strategy nested.Strategy // "" is [nested.Auto]
	// NoProtect omits the tags that protect members from the registry's
	// clean-up (docs/spec.md, section 8b).
	NoProtect bool
}

// Publish copies the sources that are elsewhere, protects the members, and pushes
// the index under tags. The strategy is decided for the first tag and returned.
func (e *Edit) Publish(ctx context.Context, tags []string, o PublishOptions) (strategy nested.Strategy, err error) {
	data, desc, err := e.Bytes()
	if err != nil {
		return "", err
	}
	p := publisher{e.registries, data, desc}
	strategy = cmp.Or(o.Strategy, nested.Auto)
	protection := e.protection(desc.Digest, o.NoProtect)
	if err = e.gather(ctx, strategy, protection); err != nil {
		return "", err
	}
	if protection != nil {
		if err = e.manifests(ctx); err != nil {
			return "", err
		}
		if err = p.protect(ctx, e.members, protection); err != nil {
			return "", err
		}
	}
	if strategy == Anchor {
		if err = e.anchor(ctx); err != nil {
			return "", err
		}
	}
	for _, t := range tags {
		if strategy, err = p.publish(ctx, e.repository, t, strategy); err != nil {
			return "", err
		}
	}
	return strategy, nil
}

// manifests fetches the manifests of the members that were there and have
// stayed, because they have to be tagged.
func (e *Edit) manifests(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(DefaultConcurrent)
	for i := range e.members {
		m := &e.members[i]
		if m.manifest != nil || m.copied {
			continue
		}
		group.Go(func() (err error) {
			m.manifest, err = FetchAll(ctx, e.fetcher, m.desc)
			switch {
			case errdefs.IsNotFound(err):
				return avoidable(ByRemove, "%s@%s: %w", m.repository, m.desc.Digest, err)
			case err != nil:
				return fmt.Errorf("%s@%s: %w", m.repository, m.desc.Digest, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// protection chooses the tags of the members, in the order of the index; nil for
// none.
func (e *Edit) protection(index digest.Digest, none bool) *nested.Protection {
	if none {
		return nil
	}
	protection := nested.Protect(index)
	for _, m := range e.members {
		protection.Tag(m.repository, m.desc.Digest)
	}
	return protection
}

// protect tags each member in its own repository, so that the registry's
// clean-up keeps it. Those that were copied have their tags.
func (p publisher) protect(ctx context.Context, members []member, protection *nested.Protection) error {
	for _, m := range members {
		if m.copied {
			continue
		}
		is, err := m.nested(true)
		if err != nil {
			return err
		}
		tag := protection.Tag(m.repository, m.desc.Digest)
		if is { // it may be a blob in that repository
			member := publisher{p.registries, m.manifest, m.desc}
			_, err = member.publish(ctx, m.repository, tag, nested.Auto)
		} else {
			err = putContent(ctx, p.registries, m.repository, tag, m.desc, m.manifest)
		}
		switch {
		case errdefs.IsPermissionDenied(err), errdefs.IsUnauthorized(err):
			return avoidable(ByNoProtect, "tag %s in %s: %w", tag, m.repository, err)
		case err != nil:
			return fmt.Errorf("tag %s in %s: %w", tag, m.repository, err)
		}
	}
	return nil
}

// anchor copies the members' content into the index's repository.
func (e *Edit) anchor(ctx context.Context) error {
	m := newMover(e.registries, DefaultConcurrent, moverOptions{strategy: Anchor, single: true})
	for _, member := range e.members {
		ref, err := member.repository.WithDigest(member.desc.Digest)
		if err != nil {
			return err
		}
		b, err := Open(ctx, nested.New(e.registries, nested.Options{Complete: true}), ref)
		if err != nil {
			return err
		}
		if _, err := m.transfer(newOwner(b, e.registries, false), e.repository, Options{}).moveAll(ctx); err != nil {
			return err
		}
	}
	return nil
}
