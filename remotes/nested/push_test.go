package nested_test

import (
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/nested"
)

// TestPushedDigest: what is no digest becomes no part of a request.
func TestPushedDigest(t *testing.T) {
	registry := newRegistry(t)
	registries := nested.NewRegistries(nested.RegistriesOptions{PlainHTTP: true})
	defer registries.CloseIdleConnections()
	pusher, err := registries.Pusher(t.Context(), registry.Host()+"/"+parent+":v1")
	check(t, err)
	for _, d := range []string{ocispec.DescriptorEmptyJSON.Digest.String() + "&from=secret", "sha256:../../../x", "sha256:", ""} {
		desc := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: digest.Digest(d), Size: 2}
		_, err := pusher.Push(t.Context(), desc)
		wantError(t, err, "digest")
	}
	wantLog(t, registry)
}
