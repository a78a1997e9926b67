package oci

import (
	"context"
	"errors"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
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
		var pushes Turns
		push := func(ctx context.Context) (content.Writer, error) {
			return pushes.Push(ctx, desc, func() (content.Writer, error) { return idle{}, nil })
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
		if _, err := pushes.Push(t.Context(), manifest, func() (content.Writer, error) { return idle{}, nil }); err != nil {
			t.Errorf("a manifest of the same digest: %v", err)
		}
	}
}
