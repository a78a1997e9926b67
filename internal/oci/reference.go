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

// SourceLabel is containerd's label for where content came from, which leaves
// the registry's port out.
func SourceLabel(r auth.Repository) string {
	u := url.URL{Host: r.Host()}
	return labels.LabelDistributionSource + "." + u.Hostname()
}

// MountFrom returns a descriptor that tells a pusher where on the pusher's
// registry the content is, too, before what it says already.
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
