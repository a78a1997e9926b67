package nested

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/pkg/reference"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// Pusher implements remotes.Resolver. What a nested index holds is pushed to
// its members' targets (docs/spec.md, section 4), into each that it has, under
// tags that keep it from the registry's clean-up ([Protection]), and the index
// itself where the reference says, as [Options].Strategy has it. The store says
// what the index holds; for that the reference has to name the index's digest,
// as containerd adds it to a tag. Otherwise the pusher is the wrapped resolver's.
func (r *Resolver) Pusher(ctx context.Context, ref string) (remotes.Pusher, error) {
	inner, err := r.base.Pusher(ctx, ref)
	if err != nil || r.store == nil {
		return inner, err
	}
	spec, err := reference.Parse(ref)
	if err != nil || spec.Digest() == "" {
		return inner, nil
	}
	root, err := auth.ParseRepository(spec.Locator)
	if err != nil {
		return inner, nil // nothing that could be nested
	}
	return &pusher{resolver: r, ref: ref, root: root, digest: spec.Digest(), inner: inner}, nil
}

// pusher pushes the content of one root.
type pusher struct {
	resolver *Resolver
	ref      string // of the root
	root     auth.Repository
	digest   digest.Digest
	inner    remotes.Pusher // to the root's repository

	turns oci.Turns

	mu   sync.Mutex
	plan *plan // nil: the root has not been read
}

// Push implements remotes.Pusher. Errors: [InvalidError], and those of the
// wrapped resolver's pusher.
func (p *pusher) Push(ctx context.Context, desc ocispec.Descriptor) (content.Writer, error) {
	plan, err := p.read(ctx)
	if err != nil {
		return nil, err
	}
	if carried, ok := plan.carried[desc.Digest]; ok {
		// Registries want the blob first, and containerd pushes indexes last.
		w, err := p.push(ctx, plan, asBlob(carried))
		if err == nil {
			err = p.copy(ctx, carried, w)
		}
		if err != nil && !errdefs.IsAlreadyExists(err) {
			return nil, err
		}
	}
	if plan.blobs[desc.Digest] {
		return p.push(ctx, plan, asBlob(desc))
	}
	if plan.nested[desc.Digest] && images.IsIndexType(desc.MediaType) {
		carries, err := p.resolver.strategy.carries(ctx, p.resolver.base, p.root)
		if err != nil {
			return nil, err
		}
		if carries {
			return p.pushCarried(ctx, plan, desc)
		}
	}
	return p.push(ctx, plan, desc)
}

// asBlob is the descriptor of an index that a registry keeps as a blob.
func asBlob(desc ocispec.Descriptor) ocispec.Descriptor {
	desc.MediaType = "application/octet-stream"
	return desc
}

func (p *pusher) push(ctx context.Context, plan *plan, desc ocispec.Descriptor) (content.Writer, error) {
	targets := plan.targets[desc.Digest]
	if desc.Digest == p.digest || len(targets) == 0 {
		w, err := p.inner.Push(ctx, desc)
		if errdefs.IsAlreadyExists(err) {
			err = cmp.Or(p.list(ctx, p.root, desc), err)
		}
		return w, err
	}
	return p.turns.Push(ctx, desc, func() (content.Writer, error) {
		w := &writer{pusher: p, desc: desc, rest: targets}
		var err error
		if w.Writer, err = w.open(ctx); err != nil {
			return nil, w.failed(err)
		}
		return w, nil
	})
}

// copy writes content of the store into a registry, and closes the writer.
func (p *pusher) copy(ctx context.Context, desc ocispec.Descriptor, to content.Writer) error {
	defer to.Close()
	from, err := p.resolver.store.ReaderAt(ctx, desc)
	if err != nil {
		return err
	}
	defer from.Close()
	return content.Copy(ctx, to, content.NewReader(from), desc.Size, desc.Digest)
}

// list sees to it that what a repository has already is listed among the
// referrers of its subject: a push that was broken off may not have come to it.
func (p *pusher) list(ctx context.Context, at auth.Repository, desc ocispec.Descriptor) error {
	lister, ok := p.resolver.base.(interface {
		ListReferrer(context.Context, auth.Repository, ocispec.Descriptor, []byte) error
	})
	if !ok || !oci.IsManifestOrIndex(desc.MediaType) || desc.Size > p.resolver.rule.limits.Manifest {
		return nil
	}
	data, err := readStored(ctx, p.resolver.store, desc)
	if errdefs.IsNotFound(err) { // of other platforms
		return nil
	}
	if err != nil {
		return err
	}
	return lister.ListReferrer(ctx, at, desc, data)
}

// to is the pusher of content to a target: of an entry of a nested index under
// the tag that protects it.
func (p *pusher) to(ctx context.Context, target auth.Repository, desc ocispec.Descriptor) (remotes.Pusher, error) {
	tag, tagged := p.plan.tags[kept{target, desc.Digest}]
	switch {
	case tagged && oci.IsManifestOrIndex(desc.MediaType):
		return p.resolver.base.Pusher(ctx, target.String()+":"+tag+"@"+desc.Digest.String())
	case target == p.root:
		return p.inner, nil
	}
	return p.resolver.base.Pusher(ctx, byDigest(target, desc.Digest))
}

// writer writes content into the first target that lacks it. When that is
// committed, the content is brought into the other targets, by mounting it or
// from the store.
type writer struct {
	content.Writer
	pusher *pusher
	desc   ocispec.Descriptor
	there  []auth.Repository // those that have it
	rest   []auth.Repository // those that were not asked yet
	at     auth.Repository   // that is being written to
}

// open opens the next target that lacks the content. When there is none, the
// error is of the class errdefs.ErrAlreadyExists.
func (w *writer) open(ctx context.Context) (content.Writer, error) {
	for len(w.rest) > 0 {
		w.at, w.rest = w.rest[0], w.rest[1:]
		to, err := w.pusher.to(ctx, w.at, w.desc)
		if err != nil {
			return nil, err
		}
		inner, err := to.Push(ctx, oci.MountFrom(w.desc, w.there...))
		if err == nil {
			return inner, nil
		}
		if !errdefs.IsAlreadyExists(err) {
			return nil, err
		}
		if err = w.pusher.list(ctx, w.at, w.desc); err != nil {
			return nil, err
		}
		w.there = append(w.there, w.at)
	}
	return nil, fmt.Errorf("%s: %w", w.desc.Digest, errdefs.ErrAlreadyExists)
}

// Commit implements content.Writer.
func (w *writer) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	err := w.Writer.Commit(ctx, size, expected, opts...)
	if errors.Is(err, content.ErrReset) {
		return err // the caller writes once more
	}
	for err == nil || errdefs.IsAlreadyExists(err) {
		w.there = append(w.there, w.at)
		if len(w.rest) == 0 {
			return nil
		}
		var next content.Writer
		if next, err = w.open(ctx); err == nil {
			err = w.pusher.copy(ctx, w.desc, next)
		}
	}
	return w.failed(err)
}

// failed says where it was, unless the error does so itself.
func (w *writer) failed(err error) error {
	var denied *auth.DeniedError
	if errors.As(err, &denied) {
		return err
	}
	return fmt.Errorf("%s: %w", w.at, err)
}
