package clienttest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// All are the requests for a whole image in one repository.
func (i Image) All(repository string) []string {
	return slices.Concat(Gets(repository, 200, i.Descriptor), i.Blobs(repository))
}

// Blobs are the requests for an image's config and layers.
func (i Image) Blobs(repository string) []string {
	return Gets(repository, 200, i.Parts()...)
}

// Gets are requests as they stand in a log; see [Asked].
func Gets(repository string, status int, wanted ...ocispec.Descriptor) []string {
	var lines []string
	for _, d := range wanted {
		kind := registrytest.KindBlob
		if images.IsManifestType(d.MediaType) || images.IsIndexType(d.MediaType) {
			kind = registrytest.KindManifest
		}
		lines = append(lines, Line("GET", repository, kind, d.Digest.String(), status))
	}
	return lines
}

// BlobGets are requests for content as blobs, whatever its media type.
func BlobGets(repository string, status int, wanted ...ocispec.Descriptor) []string {
	for i := range wanted {
		wanted[i].MediaType = "application/octet-stream"
	}
	return Gets(repository, status, wanted...)
}

// TagGet is the request that resolves the tag v1.
func TagGet(repository string) []string {
	return []string{Line("GET", repository, registrytest.KindManifest, "v1", 200)}
}

// Line is a request as [Asked] lists it, its digest cut.
func Line(method, repository string, kind registrytest.Kind, reference string, status int) string {
	if d, err := digest.Parse(reference); err == nil {
		reference = d.Encoded()[:12]
	}
	return fmt.Sprintf("%s %s %s %s %d", method, repository, kind, reference, status)
}

// Asked lists what was asked of a registry, without challenges and tokens,
// sorted: containerd fetches side by side.
func Asked(registry *registrytest.Registry) []string {
	var lines []string
	for _, q := range registry.Log() {
		if q.Kind != registrytest.KindToken && q.Status != 401 {
			lines = append(lines, Line(q.Method, q.Repository, q.Kind, q.Reference, q.Status))
		}
	}
	slices.Sort(lines)
	return lines
}

// WantLog fails unless what was asked for is exactly that, in any order.
func WantLog(t *testing.T, registry *registrytest.Registry, lines ...[]string) {
	t.Helper()
	got, want := Asked(registry), slices.Sorted(slices.Values(slices.Concat(lines...)))
	if !slices.Equal(got, want) {
		t.Errorf("asked:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
