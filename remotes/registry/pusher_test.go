package registry

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
)

// TestMountSources: those of containerd's label, which has no port, and of [oci.MountFrom], the nearest first.
func TestMountSources(t *testing.T) {
	t.Parallel()
	for host, label := range map[string]string{"reg.test:5000": "reg.test", "reg.test": "reg.test", "[::1]:5000": "::1"} {
		at := func(name string) auth.Repository {
			r, err := auth.ParseRepository(host + "/" + name)
			if err != nil {
				t.Fatal(err)
			}
			return r
		}
		p := pusher{repository: at("org/app/web")}
		desc := ocispec.Descriptor{Annotations: map[string]string{"containerd.io/distribution.source." + label: "a/b,org/app,org/app/web,org/app/worker,UPPER"}}
		want := []auth.Repository{at("org/app"), at("org/app/worker"), at("org/other"), at("a/b")}
		if got := p.sources(oci.MountFrom(desc, at("org/other"), at("org/app"))); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
		desc.MediaType = ocispec.MediaTypeImageManifest
		if got := p.sources(desc); got != nil {
			t.Errorf("%s: manifests are not mounted: %v", host, got)
		}
	}
}

// TestListReferrerGivesUp: who waits for another's change of a list does so no longer than they like.
func TestListReferrerGivesUp(t *testing.T) {
	t.Parallel()
	at, err := auth.ParseRepository("reg.test/org/app")
	if err != nil {
		t.Fatal(err)
	}
	r, subject := New(Options{}), digest.FromString("subject")
	end, err := r.lists.Take(t.Context(), listOf{at, subject})
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	data := []byte(`{"subject":{"digest":"` + subject.String() + `"}}`)
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(data), Size: int64(len(data))}
	if err := r.ListReferrer(ctx, at, desc, data); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
