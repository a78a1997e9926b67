package bundle

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/usage"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// IndexSource is an image, artifact or index that becomes a member of an index.
type IndexSource struct {
	Reference auth.Reference
	Tag       string // that was written beside a digest, for the origin of a copy; may be empty
	Name      string // as the entry's name, and the child namespace of a copy; may be empty
}

func (s IndexSource) String() string {
	if s.Name != "" {
		return s.Name + "=" + s.Reference.String()
	}
	return s.Reference.String()
}

// member is a member of an index that is being made.
type member struct {
	source     IndexSource     // of a new member
	at         auth.Repository // where it is read
	repository auth.Repository // where it is, or will be when it is copied
	path       string          // of the child namespace; "" for one that is chosen
	child      nested.Child
	desc       ocispec.Descriptor // with what the index's entry says
	manifest   []byte
	from       *copiedSource // of a member that has to be copied first
	copied     bool
}

// ref is the member's reference by digest.
func (m member) ref() string { return m.repository.String() + "@" + m.desc.Digest.String() }

// readMembers reads new members concurrently.
func (e *Edit) readMembers(ctx context.Context, members []member) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(DefaultConcurrent)
	for i := range members {
		group.Go(func() error { return e.readMember(ctx, &members[i]) })
	}
	return group.Wait()
}

// readMember reads a source, and describes it for the index.
func (e *Edit) readMember(ctx context.Context, m *member) error {
	open := e.openSource
	if m.from != nil {
		open = m.from.open
	}
	desc, f, err := open(ctx, m.source)
	if err != nil {
		return err
	}
	if m.manifest, err = FetchAll(ctx, f, desc); err != nil {
		return fmt.Errorf("%s: %w", m.source, err)
	}
	m.desc = ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	known := oci.IsManifestOrIndex(desc.MediaType)
	if !known { // which may be a nested index (docs/spec.md, section 8)
		m.desc.MediaType = ocispec.MediaTypeImageIndex
	}
	switch is, err := m.nested(known); {
	case err != nil:
		return err
	case !is && !known:
		return usage.Errorf("%s is neither a manifest nor an index; name an image, an artifact or an index", m.source)
	}
	return m.describe(ctx, f)
}

// openSource resolves a source where the index is.
func (e *Edit) openSource(ctx context.Context, source IndexSource) (desc ocispec.Descriptor, f remotes.Fetcher, err error) {
	resolved, desc, err := e.registries.Resolve(ctx, source.Reference.String())
	if err == nil {
		f, err = e.registries.Fetcher(ctx, resolved)
	}
	return desc, f, err
}

// nested reports whether a member is a nested index itself. With strict, it is
// read as a pull reads a member: an invalid index is an error.
func (m *member) nested(strict bool) (bool, error) {
	place := nested.PlaceIn(m.at, m.desc)
	if strict {
		place = place.AsStrict()
	}
	_, is, err := nested.NewRule(nested.Keys{}, nested.Limits{}).Follow(place, m.manifest, m.at)
	return is, err
}

// invalid is the error for an invalid part of a member.
func (m *member) invalid(d digest.Digest, err error) error {
	return &nested.InvalidError{Digest: d, In: m.at, Position: -1, Err: err}
}

// describe reads platform and artifact type from a manifest.
func (m *member) describe(ctx context.Context, f remotes.Fetcher) error {
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
	data, err := FetchAll(ctx, f, manifest.Config)
	if err != nil {
		return fmt.Errorf("%s@%s: its config: %w", m.at, m.desc.Digest, err)
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
