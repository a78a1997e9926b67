package nested

import (
	"bytes"
	"cmp"
	"context"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
)

// pushCarried pushes a nested index as a blob, and what carries it when that is
// there (docs/spec.md, section 8).
func (p *pusher) pushCarried(ctx context.Context, plan *plan, desc ocispec.Descriptor) (content.Writer, error) {
	blob := asBlob(desc)
	blob.Annotations = nil // nothing to mount: elsewhere it may be a manifest
	w, err := p.push(ctx, plan, blob)
	if errdefs.IsAlreadyExists(err) {
		return nil, cmp.Or(p.carry(ctx, plan, desc), err)
	}
	if err != nil {
		return nil, err
	}
	return &carriedWriter{w, func(ctx context.Context) error { return p.carry(ctx, plan, desc) }}, nil
}

// carriedWriter writes an index that is to be carried.
type carriedWriter struct {
	content.Writer
	carry func(context.Context) error
}

// Commit implements content.Writer.
func (w *carriedWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	err := w.Writer.Commit(ctx, size, expected, opts...)
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return err
	}
	return w.carry(ctx)
}

// carry pushes the carrier of an index to wherever the index belongs, under the
// tag that the index would have.
func (p *pusher) carry(ctx context.Context, plan *plan, desc ocispec.Descriptor) error {
	index, err := readStored(ctx, p.resolver.store, desc)
	if err != nil {
		return err
	}
	carrier, data, err := NewCarrier(ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}, index)
	if err != nil {
		return err
	}
	config := ocispec.DescriptorEmptyJSON
	for _, at := range p.placesOf(plan, desc.Digest) {
		if err := p.put(ctx, at.String()+"@"+config.Digest.String(), config, config.Data); err != nil {
			return err
		}
		ref := byDigest(at, carrier.Digest)
		if tag, ok := plan.tags[kept{at, desc.Digest}]; ok {
			ref = at.String() + ":" + tag
		} else if name, _, _ := strings.Cut(p.ref, "@"); desc.Digest == p.digest && name != at.String() {
			ref = name
		}
		if err := p.put(ctx, ref, carrier, data); err != nil {
			return err
		}
	}
	return nil
}

// placesOf are the repositories in which a manifest or index of the plan
// belongs.
func (p *pusher) placesOf(plan *plan, d digest.Digest) []auth.Repository {
	if d == p.digest {
		return []auth.Repository{p.root}
	}
	return plan.targets[d]
}

// put pushes content that is at hand.
func (p *pusher) put(ctx context.Context, ref string, desc ocispec.Descriptor, data []byte) error {
	to, err := p.resolver.base.Pusher(ctx, ref)
	if err != nil {
		return err
	}
	w, err := to.Push(ctx, desc)
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer w.Close()
	err = content.Copy(ctx, w, bytes.NewReader(data), desc.Size, desc.Digest)
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	return err
}
