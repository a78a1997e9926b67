package nested

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// benchEntry is an entry as publishers write it.
func benchEntry(i int) ocispec.Descriptor {
	name := fmt.Sprintf("m%05d", i)
	return ocispec.Descriptor{
		MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(name), Size: 1234,
		Platform:    &ocispec.Platform{OS: "linux", Architecture: "amd64"},
		Annotations: map[string]string{"io.github.nestedoci.child-namespace": name},
	}
}

func benchIndex(b *testing.B, entries int) []byte {
	b.Helper()
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for i := range entries {
		index.Manifests = append(index.Manifests, benchEntry(i))
	}
	data, err := json.Marshal(index)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// benchLearn follows a manifest or index from its bytes to places in a location cache, its digest included.
func benchLearn(b *testing.B, mediaType string, data []byte, entries int) {
	b.Helper()
	root, err := auth.ParseRepository("registry.test/org/app")
	if err != nil {
		b.Fatal(err)
	}
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	rule := NewRule(Keys{}, Limits{})
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		t := newLocations(root, rule)
		t.start(desc, true)
		p, _ := t.place(desc.Digest)
		if reason := oci.Verify(desc, data); reason != "" {
			b.Fatal(reason)
		}
		if err := t.learn(p, data, root); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(entries), "ns/entry")
}

// BenchmarkIndex is what an index costs when it is verified, read strictly and followed.
func BenchmarkIndex(b *testing.B) {
	for _, entries := range []int{10, 100, 1000, 10_000} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			benchLearn(b, ocispec.MediaTypeImageIndex, benchIndex(b, entries), entries)
		})
	}
}

// BenchmarkManifest is the same for a member's manifest with a configuration and three layers.
func BenchmarkManifest(b *testing.B) {
	layer := func(i int) ocispec.Descriptor {
		return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: digest.FromString(fmt.Sprint(i)), Size: 1 << 20}
	}
	data, err := json.Marshal(ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromString("config"), Size: 1000},
		Layers: []ocispec.Descriptor{layer(1), layer(2), layer(3)},
	})
	if err != nil {
		b.Fatal(err)
	}
	benchLearn(b, ocispec.MediaTypeImageManifest, data, 4)
}
