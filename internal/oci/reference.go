package oci

import (
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/pkg/labels"
	"github.com/containerd/containerd/v2/pkg/reference"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
)

// RepositoryOf returns the repository of a containerd reference.
func RepositoryOf(ref string) (auth.Repository, error) {
	spec, err := reference.Parse(ref)
	if err != nil {
		return auth.Repository{}, err
	}
	return auth.ParseRepository(spec.Locator)
}

// Below is the name of a repository as seen from one above it; "" for that one
// itself.
func Below(top, r auth.Repository) string {
	if r == top {
		return ""
	}
	return strings.TrimPrefix(r.Name(), top.Name()+"/")
}

// SourceLabel is containerd's label for the source of content, which omits the
// registry's port.
func SourceLabel(r auth.Repository) string {
	u := url.URL{Host: r.Host()}
	return labels.LabelDistributionSource + "." + u.Hostname()
}

// MountFrom returns a descriptor that tells a pusher in which repositories of
// its registry the content is, in addition to those that the descriptor has
// already.
func MountFrom(desc ocispec.Descriptor, repositories ...auth.Repository) ocispec.Descriptor {
	desc.Annotations = maps.Clone(desc.Annotations)
	if desc.Annotations == nil {
		desc.Annotations = map[string]string{}
	}
	for _, r := range slices.Backward(repositories) {
		label := SourceLabel(r)
		desc.Annotations[label] = strings.TrimSuffix(r.Name()+","+desc.Annotations[label], ",")
	}
	return desc
}
