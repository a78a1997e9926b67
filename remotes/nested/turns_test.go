package nested

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
)

// idle is a writer to which nothing happens.
type idle struct{ content.Writer }

func (idle) Commit(context.Context, int64, digest.Digest, ...content.Opt) error { return nil }
func (idle) Close() error                                                       { return nil }

// TestTurns: a push waits for another of the same content; when that is committed there is nothing left to do, and when
// it is only closed the one that waits takes over.
func TestTurns(t *testing.T) {
	t.Parallel()
	desc := ocispec.Descriptor{Digest: digest.FromString("content")}
	for _, commit := range []bool{true, false} {
		var pushes turns
		push := func(ctx context.Context) (content.Writer, error) {
			return pushes.push(ctx, desc, func() (content.Writer, error) { return idle{}, nil })
		}
		first, err := push(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := push(gone); !errors.Is(err, context.Canceled) {
			t.Errorf("who does not wait: %v", err)
		}
		second := make(chan error)
		go func() {
			_, err := push(t.Context())
			second <- err
		}()
		if commit {
			if err := first.Commit(t.Context(), 0, desc.Digest); err != nil {
				t.Fatal(err)
			}
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-second; errdefs.IsAlreadyExists(err) != commit || !commit && err != nil {
			t.Errorf("committed %t: %v", commit, err)
		}
		manifest := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: desc.Digest}
		if _, err := pushes.push(t.Context(), manifest, func() (content.Writer, error) { return idle{}, nil }); err != nil {
			t.Errorf("a manifest of the same digest: %v", err)
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
	r, subject := NewRegistries(RegistriesOptions{}), digest.FromString("subject")
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

// TestMountSources: those of containerd's label, which has no port, and of [MountFrom], the nearest first.
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
		p := registryPusher{repository: at("org/app/web")}
		desc := ocispec.Descriptor{Annotations: map[string]string{"containerd.io/distribution.source." + label: "a/b,org/app,org/app/web,org/app/worker,UPPER"}}
		want := []auth.Repository{at("org/app"), at("org/app/worker"), at("org/other"), at("a/b")}
		if got := p.sources(MountFrom(desc, at("org/other"), at("org/app"))); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
		desc.MediaType = ocispec.MediaTypeImageManifest
		if got := p.sources(desc); got != nil {
			t.Errorf("%s: manifests are not mounted: %v", host, got)
		}
	}
}
