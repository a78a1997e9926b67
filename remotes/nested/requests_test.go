package nested_test

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

// all are the requests for a whole image in one repository.
func (i image) all(repository string) []string {
	return slices.Concat(gets(repository, 200, i.Descriptor), i.blobs(repository))
}

// blobs are the requests for an image's config and layers.
func (i image) blobs(repository string) []string {
	return gets(repository, 200, i.parts()...)
}

// gets are requests as they stand in a log; see asked.
func gets(repository string, status int, wanted ...ocispec.Descriptor) []string {
	var lines []string
	for _, d := range wanted {
		kind := registrytest.KindBlob
		if images.IsManifestType(d.MediaType) || images.IsIndexType(d.MediaType) {
			kind = registrytest.KindManifest
		}
		lines = append(lines, line("GET", repository, kind, d.Digest.String(), status))
	}
	return lines
}

// blobGets are requests for content as blobs, whatever its media type.
func blobGets(repository string, status int, wanted ...ocispec.Descriptor) []string {
	for i := range wanted {
		wanted[i].MediaType = "application/octet-stream"
	}
	return gets(repository, status, wanted...)
}

// tagGet is the request that resolves the tag v1.
func tagGet(repository string) []string {
	return []string{line("GET", repository, registrytest.KindManifest, "v1", 200)}
}

func line(method, repository string, kind registrytest.Kind, reference string, status int) string {
	if d, err := digest.Parse(reference); err == nil {
		reference = d.Encoded()[:12]
	}
	return fmt.Sprintf("%s %s %s %s %d", method, repository, kind, reference, status)
}

// asked lists what was asked of a registry, without challenges and tokens,
// sorted: containerd fetches side by side.
func asked(registry *registrytest.Registry) []string {
	var lines []string
	for _, q := range registry.Log() {
		if q.Kind != registrytest.KindToken && q.Status != 401 {
			lines = append(lines, line(q.Method, q.Repository, q.Kind, q.Reference, q.Status))
		}
	}
	slices.Sort(lines)
	return lines
}

func wantLog(t *testing.T, registry *registrytest.Registry, lines ...[]string) {
	t.Helper()
	got, want := asked(registry), slices.Sorted(slices.Values(slices.Concat(lines...)))
	if !slices.Equal(got, want) {
		t.Errorf("asked:\n  %s\nwant:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}
