package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
)

// indexSource is a member of an index to be made.
type indexSource struct {
	repository auth.Repository
	child      nested.Child
	name       string             // that the index gives it, may be empty
	desc       ocispec.Descriptor // with what the index says of it
	manifest   []byte
}

// readSources finds the sources, side by side, in their order.
func readSources(ctx context.Context, base remotes.Resolver, parent auth.Repository, sources []string) ([]indexSource, error) {
	members := make([]indexSource, len(sources))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, source := range sources {
		group.Go(func() (err error) {
			members[i], err = readSource(ctx, base, parent, source)
			return err
		})
	}
	return members, group.Wait()
}

// readSource finds a source, [NAME=]REFERENCE, and what an index says of it.
func readSource(ctx context.Context, base remotes.Resolver, parent auth.Repository, source string) (indexSource, error) {
	m := indexSource{}
	reference := source
	if name, after, ok := strings.Cut(source, "="); ok {
		m.name, reference = name, after
	}
	ref, err := parseRef(reference)
	if err != nil {
		return m, err
	}
	name, _ := bundle.SplitRef(ref)
	below, ok := strings.CutPrefix(name, parent.String()+"/")
	if !ok {
		return m, usage.Errorf("%s: a source has to be in a repository below %s, on the same registry (docs/spec.md, section 3)", source, parent)
	}
	if m.child, err = nested.ParseChild(below); err != nil {
		return m, usage.Errorf("%s: %w", source, err)
	}
	if m.repository, err = m.child.In(parent); err != nil {
		return m, usage.Errorf("%s: %w", source, err)
	}
	resolved, desc, err := base.Resolve(ctx, ref)
	if err != nil {
		return m, err
	}
	f, err := base.Fetcher(ctx, resolved)
	if err != nil {
		return m, err
	}
	if m.manifest, err = bundle.FetchAll(ctx, f, desc); err != nil {
		return m, fmt.Errorf("%s: %w", source, err)
	}
	m.desc = ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	if !oci.IsManifestOrIndex(desc.MediaType) { // which may be a nested index (docs/spec.md, section 8)
		m.desc.MediaType = ocispec.MediaTypeImageIndex
	}
	switch is, err := m.nested(oci.IsManifestOrIndex(desc.MediaType)); {
	case err != nil:
		return m, err
	case !is && !oci.IsManifestOrIndex(desc.MediaType):
		return m, usage.Errorf("%s is neither a manifest nor an index; name an image, an artifact or an index", source)
	}
	return m, m.describe(ctx, f)
}

// nested reports whether a member is a nested index itself. Read strictly, as
// whoever pulls a member reads it, what is invalid is an error.
func (m *indexSource) nested(strict bool) (bool, error) {
	place := nested.PlaceIn(m.repository, m.desc)
	place.Strict = strict
	_, is, err := nested.NewRule(nested.Keys{}, nested.Limits{}).Follow(place, m.manifest, m.repository)
	return is, err
}

// invalid is an error about something that the member consists of.
func (m *indexSource) invalid(d digest.Digest, err error) error {
	return &nested.InvalidError{Digest: d, In: m.repository, Position: -1, Err: err}
}

// describe reads platform and artifact type out of a manifest.
func (m *indexSource) describe(ctx context.Context, f remotes.Fetcher) error {
	var manifest struct {
		ArtifactType string             `json:"artifactType"`
		Config       ocispec.Descriptor `json:"config"`
	}
	if err := json.Unmarshal(m.manifest, &manifest); err != nil {
		return m.invalid(m.desc.Digest, err)
	}
	m.desc.ArtifactType = manifest.ArtifactType
	if !images.IsManifestType(m.desc.MediaType) {
		return nil
	}
	if !images.IsConfigType(manifest.Config.MediaType) {
		if m.desc.ArtifactType == "" && manifest.Config.MediaType != ocispec.MediaTypeEmptyJSON {
			m.desc.ArtifactType = manifest.Config.MediaType
		}
		return nil
	}
	data, err := bundle.FetchAll(ctx, f, manifest.Config)
	if err != nil {
		return fmt.Errorf("%s@%s: its config: %w", m.repository, m.desc.Digest, err)
	}
	var image ocispec.Image
	if err := json.Unmarshal(data, &image); err != nil {
		return m.invalid(manifest.Config.Digest, err)
	}
	if image.OS != "" {
		p := image.Platform
		m.desc.Platform = &p
	}
	return nil
}
