package bundle

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// CopySources say how sources that are not below an index's repository are
// copied there: each with all its platforms to a repository below it, digests
// kept. [Edit.Add] chooses the repositories and writes the origins into the
// index (docs/spec.md, section 2a); [Edit.Publish] copies.
type CopySources struct {
	// From returns the client of the registry that a repository is on, the same
	// one each time. It is called for each source, by one goroutine.
	From func(auth.Repository) (*registry.Client, error)
	// Referrers copies what refers to the sources, such as signatures.
	Referrers bool
	// Progress is notified as the copies proceed; may be nil.
	Progress Progress
}

// copiedSource is a source that has to be copied before its index is pushed.
type copiedSource struct {
	how    *CopySources
	client *registry.Client
	bundle *Bundle
	budget *atomic.Int64 // bytes that may still be kept, of all sources
}

// keepAtMost bounds in bytes what is kept of all sources between the reading of
// their manifests and the copying. What is not kept is fetched again.
const keepAtMost = 32 << 20

// open resolves a source. A carrier stands for itself: it is what has to be at
// the destination.
func (s *copiedSource) open(ctx context.Context, source IndexSource) (desc ocispec.Descriptor, f remotes.Fetcher, err error) {
	s.bundle, err = Open(ctx, nested.New(s.client, nested.Options{Complete: true}), source.Reference)
	if err != nil {
		return desc, nil, err
	}
	desc = s.bundle.Root
	if carrier, ok := s.bundle.Fetcher.Carrier(); ok {
		desc = carrier
	}
	kept := &keptSource{s.bundle.Fetcher, map[digest.Digest][]byte{}, s.budget}
	s.bundle.Fetcher = kept
	return desc, keeping{kept}, nil
}

// keptSource is a source of which some content is at hand. It was fetched from
// the repository of the root.
type keptSource struct {
	Source
	kept   map[digest.Digest][]byte
	budget *atomic.Int64
}

// Fetch implements remotes.Fetcher.
func (s *keptSource) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if data, ok := s.kept[desc.Digest]; ok {
		return seekable{bytes.NewReader(data)}, nil
	}
	return s.Source.Fetch(ctx, desc)
}

// FetchFrom implements Source.
func (s *keptSource) FetchFrom(ctx context.Context, desc ocispec.Descriptor, at auth.Repository, others ...auth.Repository) (io.ReadCloser, error) {
	if data, ok := s.kept[desc.Digest]; ok {
		return seekable{bytes.NewReader(data)}, nil
	}
	return s.Source.FetchFrom(ctx, desc, at, others...)
}

type seekable struct{ *bytes.Reader }

func (seekable) Close() error { return nil }

// keeping is the fetcher of one goroutine that describes a source: what it
// fetches is kept for the copy, within the budget.
type keeping struct{ *keptSource }

// Fetch implements remotes.Fetcher.
func (k keeping) Fetch(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if _, ok := k.kept[desc.Digest]; ok || k.budget.Add(-desc.Size) < 0 {
		return k.keptSource.Fetch(ctx, desc)
	}
	data, err := FetchAll(ctx, k.Source, desc)
	if err != nil {
		return nil, err
	}
	k.kept[desc.Digest] = data
	return seekable{bytes.NewReader(data)}, nil
}

// origin is where a copied member comes from.
func (m member) origin() Origin {
	ref := m.source.Reference
	return Origin{ref.Repository(), cmp.Or(m.source.Tag, ref.Tag()), m.desc.Digest}
}

// gather copies the members that are elsewhere. What several of them have is
// brought once, and nothing that is there already.
func (e *Edit) gather(ctx context.Context, strategy nested.Strategy, protection *nested.Protection) error {
	how := moverOptions{strategy: strategy, protection: protection}
	if strategy == Anchor { // for the index alone
		how.strategy = nested.Auto
	}
	var waiting []*member
	for i := range e.members {
		if m := &e.members[i]; m.from != nil && !m.copied {
			waiting, how.show = append(waiting, m), m.from.how.Progress
		}
	}
	mover := newMover(e.registries, DefaultConcurrent, how)
	for _, m := range waiting {
		m.from.bundle.expect(mover.show)
		mover.setTagged(copyKey{m.repository, contentKey{m.desc.Digest, true}})
	}
	leftOut := make([][]string, len(waiting))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(DefaultConcurrent)
	for i, m := range waiting {
		group.Go(func() (err error) {
			leftOut[i], err = m.copy(ctx, mover)
			return err
		})
	}
	err := group.Wait()
	e.nonDistributable = append(e.nonDistributable, slices.Concat(leftOut...)...)
	return err
}

// copy copies a member to its repository, and returns the layers that must not
// be distributed. What was kept of the source is dropped.
func (m *member) copy(ctx context.Context, to *mover) (leftOut []string, err error) {
	to.show.Member(&Node{Entry: nested.Entry{Descriptor: m.desc}, Repository: m.at})
	o := Options{Referrers: m.from.how.Referrers, Attached: true, OmitNonDistributable: true}
	walked, err := to.transfer(newOwner(m.from.bundle, m.from.client, false), m.repository, o).moveAll(ctx)
	if err != nil {
		return nil, err
	}
	m.copied, m.from.bundle, m.manifest = true, nil, nil
	return walked.NonDistributable, nil
}

// NonDistributable are the layers that [Edit.Publish] has left out of copies,
// because they must not be distributed, as repository@digest of the source.
func (e *Edit) NonDistributable() []string { return e.nonDistributable }
