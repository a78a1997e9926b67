package plugin

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/containerd/v2/core/transfer/registry"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestClaims: what an index in one child says of content of others, for a platform that nobody pulls, takes nothing from
// the pull of those, though it is known first.
func TestClaims(t *testing.T) {
	s := newScene(t)
	var bundle ocispec.Index
	s.read(s.registry.Body(s.publish().Digest), &bundle)
	var lies []ocispec.Descriptor
	lie := func(d ocispec.Descriptor) {
		d.Platform = &ocispec.Platform{OS: "windows", Architecture: "amd64"}
		for i := range 12 {
			d.Size++
			lies = append(lies, d, registrytest.Member(d, fmt.Sprint("x", i)))
		}
	}
	for _, member := range bundle.Manifests {
		d := member
		d.Annotations = nil
		lie(d)
		var manifest ocispec.Manifest
		if s.read(s.registry.Body(d.Digest), &manifest); manifest.Config.Digest != "" {
			for _, part := range append(manifest.Layers, manifest.Config) {
				lie(part)
			}
		}
	}
	evil := s.registry.Index("org/app/worker", lies...)
	s.registry.Tag("org/app", "v1", s.registry.Index("org/app", append([]ocispec.Descriptor{registrytest.Member(evil, "worker")}, bundle.Manifests...)...).Digest)
	ref := s.registry.Host() + "/org/app:v1"
	source, err := registry.NewOCIRegistry(s.ctx, ref, registry.WithDefaultScheme("http"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Transfer(s.ctx, source, image.NewStore(ref, image.WithPlatforms(platforms.MustParse("linux/amd64")))); err != nil {
		t.Fatal(err)
	}
	for _, member := range bundle.Manifests {
		if _, err := s.content.Info(s.ctx, member.Digest); err != nil {
			t.Error(err)
		}
	}
}

// read decodes a document of the registry.
func (s *scene) read(text string, into any) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		s.t.Fatal(err)
	}
}
