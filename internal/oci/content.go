package oci

import (
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/sanitize"
	"github.com/nestedoci/nested/remotes/auth"
)

// MaxManifest is how many bytes a manifest or an index may have: as many as
// docs/spec.md, section 5, has of those that are followed, and as the
// distribution spec wants registries to take (section "Pushing Manifests").
const MaxManifest = 4 << 20

// IsManifestOrIndex reports whether content of a media type is a manifest or
// index, and so points to other content.
func IsManifestOrIndex(mediaType string) bool {
	return images.IsManifestType(mediaType) || images.IsIndexType(mediaType)
}

// Kind is the kind of content, for people: its artifact type where it has one,
// "index", "manifest", or else the media type.
func Kind(mediaType, artifactType string) string {
	switch {
	case artifactType != "":
		return artifactType
	case images.IsIndexType(mediaType):
		return "index"
	case images.IsManifestType(mediaType):
		return "manifest"
	}
	return mediaType
}

// Describe is the descriptor of content: with the digest that is said of it, where
// it has that, else with its sha256.
func Describe(mediaType string, data []byte, said digest.Digest) ocispec.Descriptor {
	d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if said.Validate() == nil && said.Algorithm().FromBytes(data) == said {
		d.Digest = said
	}
	return d
}

// Verify says why bytes do not match a descriptor, or returns "".
func Verify(d ocispec.Descriptor, data []byte) string {
	if int64(len(data)) != d.Size {
		return fmt.Sprintf("size is %d, not %d", len(data), d.Size)
	}
	if err := d.Digest.Validate(); err != nil {
		return err.Error()
	}
	if d.Digest.Algorithm().FromBytes(data) != d.Digest {
		return fmt.Sprintf("digest is not %s", d.Digest)
	}
	return ""
}

// ReadVerified reads content that matches a descriptor, and never more than a
// byte too many. Its size is the caller's to bound.
func ReadVerified(r io.Reader, d ocispec.Descriptor) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, d.Size+1))
	if err != nil {
		return nil, err
	}
	if reason := Verify(d, data); reason != "" {
		return nil, fmt.Errorf("%s: %s", d.Digest, reason)
	}
	return data, nil
}

// Short is a shortened digest for people.
func Short(d digest.Digest) string {
	const shown = 12
	if err := d.Validate(); err != nil {
		return sanitize.Quote(string(d))
	}
	return d.Algorithm().String() + ":" + d.Encoded()[:shown]
}

// IsForeign reports whether the urls of content may be used: those are for
// layers that registries may not distribute. Everything else is in the
// repository, and urls would lead its puller to wherever a publisher chooses.
func IsForeign(desc ocispec.Descriptor) bool {
	return len(desc.URLs) > 0 && images.IsNonDistributable(desc.MediaType)
}

// CheckStorable refuses content that content stores cannot hold.
func CheckStorable(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	if d.Digest.Algorithm() != digest.Canonical {
		return auth.Classed(errdefs.ErrNotImplemented, "digest %s: content stores hold only %s content", d.Digest, digest.Canonical)
	}
	return nil
}
