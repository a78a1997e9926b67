package oci

import (
	"context"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/flight"
)

// Turns makes a pusher push each content once: containerd pushes concurrently,
// and a layer as often as manifests name it. The work is not shared as in a
// [flight.Group]: each caller has a writer of its own, and writes.
type Turns struct {
	turns flight.Turns[pushKey]

	mu     sync.Mutex
	pushed map[pushKey]bool
}

// pushKey tells manifests from blobs of the same digest, as registries do.
type pushKey struct {
	digest   digest.Digest
	manifest bool // … or index
}

// Push opens a writer with open, after waiting for the writer of another push
// of the same content to be committed or closed. When the content has been
// pushed, the error is of the class errdefs.ErrAlreadyExists.
func (t *Turns) Push(ctx context.Context, desc ocispec.Descriptor, open func() (content.Writer, error)) (content.Writer, error) {
	key := pushKey{desc.Digest, IsManifestOrIndex(desc.MediaType)}
	end, err := t.turns.Take(ctx, key)
	if err != nil {
		return nil, err
	}
	if t.isPushed(key) {
		end()
		return nil, fmt.Errorf("%s: %w", desc.Digest, errdefs.ErrAlreadyExists)
	}
	w, err := open()
	if err != nil {
		t.note(key, err)
		end()
		return nil, err
	}
	return turnWriter{w, t, key, end}, nil
}

func (t *Turns) isPushed(key pushKey) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.pushed[key]
}

// note records the result of a push, and reports whether the content is in the
// registry now.
func (t *Turns) note(key pushKey, err error) bool {
	if err != nil && !errdefs.IsAlreadyExists(err) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pushed == nil {
		t.pushed = map[pushKey]bool{}
	}
	t.pushed[key] = true
	return true
}

// turnWriter ends its turn when it is committed or closed.
type turnWriter struct {
	content.Writer
	turns *Turns
	key   pushKey
	end   func()
}

// Commit implements content.Writer.
func (w turnWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	err := w.Writer.Commit(ctx, size, expected, opts...)
	if w.turns.note(w.key, err) {
		w.end()
	}
	return err
}

// Close implements content.Writer.
func (w turnWriter) Close() error {
	defer w.end()
	return w.Writer.Close()
}
