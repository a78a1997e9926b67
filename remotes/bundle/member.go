package bundle

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
	"github.com/nestedoci/nested/remotes/nested"
)

// IndexSource is an image, artifact or index that becomes a member of an index.
type IndexSource struct {
	Reference auth.Reference
	Name      string // as the entry's name; may be empty
}

func (s IndexSource) String() string {
	if s.Name != "" {
		return s.Name + "=" + s.Reference.String()
	}
	return s.Reference.String()
}

// member is a member of an index that is being made.
type member struct {
	source     IndexSource // of a new member
	repository auth.Repository
	child      nested.Child
	desc       ocispec.Descriptor // with what the index's entry says
	manifest   []byte
}

// ref is the member's reference by digest.
func (m member) ref() string { return m.repository.String() + "@" + m.desc.Digest.String() }

// readMembers reads sources concurrently, and returns them in order.
func readMembers(ctx context.Context, base remotes.Resolver, parent auth.Repository, sources []IndexSource) ([]member, error) {
	members := make([]member, len(sources))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(DefaultConcurrent)
	for i, source := range sources {
		group.Go(func() (err error) {
			members[i], err = readMember(ctx, base, parent, source)
			return err
		})
	}
	return members, group.Wait()
}

// readMember reads a source, and describes it for the index.
func readMember(ctx context.Context, base remotes.Resolver, parent auth.Repository, source IndexSource) (member, error) {
	m, err := newMember(parent, source)
	if err != nil {
		return m, err
	}
	resolved, desc, err := base.Resolve(ctx, source.Reference.String())
	if err != nil {
		return m, err
	}
	f, err := base.Fetcher(ctx, resolved)
	if err != nil {
		return m, err
	}
	if m.manifest, err = FetchAll(ctx, f, desc); err != nil {
		return m, fmt.Errorf("%s: %w", source, err)
	}
	m.desc = ocispec.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
	known := oci.IsManifestOrIndex(desc.MediaType)
	if !known { // which may be a nested index (docs/spec.md, section 8)
		m.desc.MediaType = ocispec.MediaTypeImageIndex
	}
	switch is, err := m.nested(known); {
	case err != nil:
		return m, err
	case !is && !known:
		return m, usage.Errorf("%s is neither a manifest nor an index; name an image, an artifact or an index", source)
	}
	return m, m.describe(ctx, f)
}

// newMember is the member that a source becomes in the index of a repository.
func newMember(parent auth.Repository, source IndexSource) (member, error) {
	m := member{source: source, repository: source.Reference.Repository()}
	path, ok := strings.CutPrefix(m.repository.String(), parent.String()+"/")
	if !ok {
		return m, usage.Errorf("%s: a source has to be in a repository below %s, on the same registry (docs/spec.md, section 3)", source, parent)
	}
	var err error
	if m.child, err = nested.ParseChild(path); err == nil {
		m.repository, err = m.child.In(parent)
	}
	if err != nil {
		return m, usage.Errorf("%s: %w", source, err)
	}
	return m, nil
}

// nested reports whether a member is a nested index itself. With strict, it is
// read as a pull reads a member: an invalid index is an error.
func (m *member) nested(strict bool) (bool, error) {
	place := nested.PlaceIn(m.repository, m.desc)
	if strict {
		place = place.AsStrict()
	}
	_, is, err := nested.NewRule(nested.Keys{}, nested.Limits{}).Follow(place, m.manifest, m.repository)
	return is, err
}

// invalid is the error for an invalid part of a member.
func (m *member) invalid(d digest.Digest, err error) error {
	return &nested.InvalidError{Digest: d, In: m.repository, Position: -1, Err: err}
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
