package ctd

import (
	"context"
	"errors"
	"maps"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/bundle"
)

// label sets the labels that garbage collection and pushes need: what content
// points to, and the repository that it came from.
func label(ctx context.Context, to content.Manager, b *bundle.Bundle, n *bundle.Node) error {
	if oci.IsManifestOrIndex(n.MediaType) {
		children := func(ctx context.Context, desc ocispec.Descriptor) ([]ocispec.Descriptor, error) {
			entries, err := b.Fetcher.Children(ctx, desc)
			descriptors := make([]ocispec.Descriptor, len(entries))
			for i, e := range entries {
				descriptors[i] = e.Descriptor
			}
			return descriptors, err
		}
		if _, err := images.SetChildrenLabels(to, children)(ctx, n.Descriptor); err != nil {
			return err
		}
	}
	if _, fetched := b.Fetcher.Found(n.Digest); !fetched {
		return nil // whoever brought it has said where from
	}
	source, err := docker.AppendDistributionSourceLabel(to, b.Found(n).String())
	if err != nil {
		return err
	}
	_, err = source(ctx, n.Descriptor)
	return err
}

// gathered collects labels as a store would that has none yet.
type gathered struct {
	content.Manager
	labels map[string]string
}

// Info implements content.Manager.
func (g gathered) Info(context.Context, digest.Digest) (content.Info, error) {
	return content.Info{Labels: g.labels}, nil
}

// Update implements content.Manager.
func (g gathered) Update(_ context.Context, info content.Info, _ ...string) (content.Info, error) {
	maps.Copy(g.labels, info.Labels)
	return info, nil
}

// StoreFor is where a node's content is stored: with its labels when it is
// committed, because each later change of labels is a transaction of the
// daemon's, which waits for the disk.
func (t *Target) StoreFor(b *bundle.Bundle, n *bundle.Node) content.Ingester {
	return labelling{t.Store, func(ctx context.Context) (map[string]string, error) {
		g := gathered{labels: map[string]string{}}
		return g.labels, label(ctx, g, b, n)
	}, func() { t.labelled.Store(n.Digest, true) }}
}

// labelling is a store that commits with labels.
type labelling struct {
	content.Ingester
	labels func(context.Context) (map[string]string, error)
	done   func() // called after each commit
}

// Writer implements content.Ingester.
func (l labelling) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	w, err := l.Ingester.Writer(ctx, opts...)
	if err != nil {
		return nil, err
	}
	return labelledWriter{w, l}, nil
}

type labelledWriter struct {
	content.Writer
	of labelling
}

// Commit implements content.Writer.
func (w labelledWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	labels, err := w.of.labels(ctx)
	if err != nil {
		return errors.Join(err, w.Close())
	}
	if err := w.Writer.Commit(ctx, size, expected, append(opts, content.WithLabels(labels))...); err != nil {
		return err
	}
	w.of.done()
	return nil
}
