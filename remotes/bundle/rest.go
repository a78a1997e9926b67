package bundle

import (
	"context"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle/delta"
	"github.com/nestedoci/nested/remotes/nested"
)

// findRest finds everything that the source leaves out at the destination, and
// notes what is missing there. Nothing is sent before that. Manifests are read,
// because they are put under new tags; blobs are asked for.
func (p *transfer) findRest(ctx context.Context, lacks *delta.Lacking) error {
	source := p.bundle.Delta
	if source == nil {
		return nil
	}
	p.rest = &delta.Registry{
		Source: source, Client: p.registries, From: p.bundle.Repository, To: p.parent, Single: p.single, Lacking: lacks,
		Place: func(at auth.Repository) (auth.Repository, error) {
			return p.repositoryFor(oci.Below(p.bundle.Repository, at))
		},
	}
	source.SetRest(p.rest.Fetch)
	o := p.options
	o.Blobs, o.Carrier, o.Attached = true, true, true
	_, err := p.bundle.Walk(ctx, o, Visitor{Home: p.home, Children: p.bundle.childrenBut(lacks), Done: p.findBlob, Fetch: func(ctx context.Context, n *Node) error {
		err := p.fetch(ctx, n)
		omitted, left := source.LeftOut(n.Descriptor)
		if !left || !n.isManifestOrIndex() || !errdefs.IsNotFound(err) {
			return err
		}
		to, err := p.destination(ctx, n)
		lacks.Add(to, source, omitted)
		return err
	}})
	return err
}

// findBlob finds a blob that was left out.
func (p *transfer) findBlob(ctx context.Context, n *Node) error {
	omitted, left := p.bundle.Delta.LeftOut(n.Descriptor)
	if !left || n.isManifestOrIndex() {
		return nil
	}
	to, err := p.destination(ctx, n)
	if err != nil {
		return err
	}
	return p.limited(ctx, func() error { return p.rest.FindBlob(ctx, to, omitted) })
}

// childrenBut are the entries of what is not missing.
func (b *Bundle) childrenBut(lacks *delta.Lacking) func(context.Context, *Node) ([]nested.Entry, error) {
	return func(ctx context.Context, n *Node) ([]nested.Entry, error) {
		if lacks.Has(n.Digest) {
			return nil, nil
		}
		return b.Fetcher.Children(ctx, n.Descriptor)
	}
}

// findRest finds everything that the source leaves out in the target, and notes
// what is missing there.
func (p Pulling) findRest(ctx context.Context, to Target, lacks *delta.Lacking) error {
	b := p.Bundle
	if b.Delta == nil {
		return nil
	}
	b.Delta.SetRest(func(ctx context.Context, _ auth.Repository, desc ocispec.Descriptor) (io.ReadCloser, error) {
		r, err := to.ReaderAt(ctx, desc)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{content.NewReader(r), r}, nil
	})
	o := p.Options
	o.Blobs, o.Attached = true, true
	_, err := b.Walk(ctx, o, Visitor{Children: b.childrenBut(lacks), Fetch: func(ctx context.Context, n *Node) error {
		omitted, left := b.Delta.LeftOut(n.Descriptor)
		if !left {
			return nil
		}
		if _, err := to.Info(ctx, n.Digest); !errdefs.IsNotFound(err) {
			return err
		}
		lacks.Add(n.Repository, b.Delta, omitted)
		return nil
	}})
	return err
}
