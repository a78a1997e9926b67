package ctd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/containerd/v2/pkg/rootfs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
	"github.com/nestedoci/nested/remotes/bundle"
)

// unpacksAtOnce is for layers that do not depend on each other.
const unpacksAtOnce = 4

// unpacker unpacks the images of a pull into snapshots: a layer that several
// images have on the same layers is unpacked once, and independent layers
// concurrently.
type unpacker struct {
	client *client.Client
	name   string // of the snapshotter
	into   snapshots.Snapshotter
	turns  chan struct{}
	layers flight.Once[digest.Digest, struct{}] // by chain ID
}

// newUnpacker finds the snapshotter; without a name it is the namespace's.
func newUnpacker(ctx context.Context, c *client.Client, name string) (*unpacker, error) {
	if name == "" {
		label, err := c.GetLabel(ctx, defaults.DefaultSnapshotterNSLabel)
		if err != nil {
			return nil, err
		}
		if name = label; name == "" {
			name = defaults.DefaultSnapshotter
		}
	}
	return &unpacker{
		client: c,
		name:   name,
		into:   c.SnapshotService(name),
		turns:  make(chan struct{}, unpacksAtOnce),
	}, nil
}

// unpack unpacks an image, and makes its config reference the snapshot.
func (u *unpacker) unpack(ctx context.Context, config ocispec.Descriptor, image ocispec.Image, layers []ocispec.Descriptor) error {
	diffs := image.RootFS.DiffIDs
	if len(diffs) != len(layers) {
		return fmt.Errorf("the config has %d layers, the manifest %d", len(diffs), len(layers))
	}
	if err := u.fits(ctx, image.Platform); err != nil {
		return err
	}
	for i, blob := range layers {
		layer := rootfs.Layer{Blob: blob, Diff: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: diffs[i]}}
		if err := u.apply(ctx, layer, diffs[:i:i]); err != nil {
			return err
		}
	}
	return u.label(ctx, config.Digest, "containerd.io/gc.ref.snapshot."+u.name, identity.ChainID(diffs).String())
}

// fits is an error when an image needs features that the snapshotter lacks.
func (u *unpacker) fits(ctx context.Context, p ocispec.Platform) error {
	if len(p.OSFeatures) == 0 {
		return nil
	}
	supported, err := u.client.GetSnapshotterSupportedPlatforms(ctx, u.name)
	if err != nil || supported.Match(p) {
		return err
	}
	return fmt.Errorf("snapshotter %s lacks some of the features %q", u.name, p.OSFeatures)
}

// apply applies a layer on others, once.
func (u *unpacker) apply(ctx context.Context, layer rootfs.Layer, below []digest.Digest) error {
	id := identity.ChainID(append(below, layer.Diff.Digest))
	_, err := u.layers.Do(id, func() (struct{}, error) {
		select {
		case u.turns <- struct{}{}:
			defer func() { <-u.turns }()
		case <-ctx.Done():
			return struct{}{}, context.Cause(ctx)
		}
		applied, err := rootfs.ApplyLayerWithOpts(ctx, layer, below, u.into, u.client.DiffService(), nil, nil)
		if err == nil && applied {
			err = u.label(ctx, layer.Blob.Digest, labels.LabelUncompressed, layer.Diff.Digest.String())
		}
		return struct{}{}, err
	})
	return err
}

func (u *unpacker) label(ctx context.Context, of digest.Digest, key, value string) error {
	_, err := u.client.ContentStore().Update(ctx, content.Info{Digest: of, Labels: map[string]string{key: value}}, "labels."+key)
	return err
}

// Done unpacks an image whose layers have arrived.
func (t *Target) Done(ctx context.Context, _ *bundle.Bundle, n *bundle.Node) error {
	if t.options.NoUnpack || !images.IsManifestType(n.MediaType) {
		return nil
	}
	config, layers, ok := imageParts(n)
	if !ok {
		return nil
	}
	data, err := t.readConfig(ctx, config)
	if err != nil {
		return err
	}
	var image ocispec.Image
	if err = json.Unmarshal(data, &image); err != nil {
		return fmt.Errorf("config of %s@%s: %w", n.Repository, n.Digest, err)
	}
	matcher := t.options.Platform
	if matcher == nil { // all: of them this host's is unpacked
		matcher = platforms.OnlyStrict(bundle.HostPlatform())
	}
	if !matcher.Match(platforms.Normalize(image.Platform)) {
		return nil
	}
	u, err := t.unpacker()
	if err == nil {
		err = u.unpack(ctx, config, image, layers)
	}
	if err != nil {
		return fmt.Errorf("unpack %s@%s: %w", n.Repository, n.Digest, err)
	}
	return nil
}

// maxConfig bounds the image configs that are read; they are some KiB.
const maxConfig = 4 << 20

// imageParts returns the parts of an image's manifest, and reports whether it
// is one.
func imageParts(n *bundle.Node) (config ocispec.Descriptor, layers []ocispec.Descriptor, ok bool) {
	for _, c := range n.Children {
		switch {
		case images.IsConfigType(c.MediaType):
			config = c.Descriptor
		case images.IsLayerType(c.MediaType):
			layers = append(layers, c.Descriptor)
		default:
			return config, nil, false
		}
	}
	return config, layers, config.Digest != "" && config.Size <= maxConfig && len(layers) > 0
}

// readConfig reads a config. The content in the store under its digest may be
// larger than its descriptor says.
func (t *Target) readConfig(ctx context.Context, config ocispec.Descriptor) (_ []byte, err error) {
	r, err := t.ReaderAt(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if r.Size() != config.Size {
		return nil, fmt.Errorf("config %s: size is %d, not %d", config.Digest, r.Size(), config.Size)
	}
	return io.ReadAll(content.NewReader(r))
}
