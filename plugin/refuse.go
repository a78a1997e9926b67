package plugin

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
)

// refuse ends a pull when the bundle has nothing for the platform: CRI would
// only say so after everything was downloaded, and without a name.
func (p *pull) refuse(ctx context.Context, root auth.Repository, members []member) error {
	if p.platform == nil {
		return nil
	}
	if runs, err := p.runs(ctx, p.root); runs || err != nil {
		return err
	}
	const shown = 20
	names := slices.Sorted(maps.Keys(p.skipped))
	for _, m := range members {
		names = append(names, m.name())
	}
	if more := len(names) - shown; more > 0 {
		names = append(names[:shown], fmt.Sprintf("%d more", more))
	}
	return fmt.Errorf("%s@%s has no image for the requested platform; its members: %s: %w", root, p.root.Digest, strings.Join(names, ", "), errdefs.ErrNotFound)
}

// runs reports whether content is or contains an image for the platform. It
// reads manifests, indexes and configs only, and no more of them than
// necessary.
func (p *pull) runs(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	isIndex := images.IsIndexType(desc.MediaType)
	if desc.Platform != nil && !p.platform.Match(*desc.Platform) || !isIndex && !images.IsManifestType(desc.MediaType) {
		return false, nil
	}
	if err := p.store(ctx, desc); err != nil {
		return false, err
	}
	entries, err := p.fetcher.Children(ctx, desc)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		switch {
		case isIndex:
			if runs, err := p.runs(ctx, e.Descriptor); runs || err != nil {
				return runs, err
			}
		case images.IsConfigType(e.MediaType):
			if desc.Platform != nil {
				return true, nil
			}
			return p.isFor(ctx, e.Descriptor)
		}
	}
	return false, nil
}

// maxConfig bounds the configs that are read; they are some KiB.
const maxConfig = 4 << 20

// isFor reports, by its config, whether an image is for the platform.
func (p *pull) isFor(ctx context.Context, config ocispec.Descriptor) (bool, error) {
	if config.Size > maxConfig {
		return false, nil
	}
	if err := p.store(ctx, config); err != nil {
		return false, err
	}
	data, err := content.ReadBlob(ctx, p.content, config)
	if err != nil {
		return false, err
	}
	var image ocispec.Image
	if json.Unmarshal(data, &image) != nil {
		return false, nil
	}
	return p.platform.Match(platforms.Normalize(image.Platform)), nil
}
