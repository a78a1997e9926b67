package nested

import (
	"context"
	"fmt"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// turns lets a pusher push each content once: containerd pushes side by side,
// and a layer as often as manifests name it.
type turns struct {
	mu     sync.Mutex
	pushes map[pushKey]*turn
}

// pushKey: a registry keeps manifests apart from blobs of the same digest.
type pushKey struct {
	digest   digest.Digest
	document bool
}

// turn is one push of content.
type turn struct {
	turns *turns
	key   pushKey
	once  sync.Once
	over  chan struct{} // closed when the push has ended
	there bool          // it has left the content in the registry
}

// push opens a writer with open. It first waits for the writer of another push
// of the content to be committed or closed. When the content has been pushed,
// the error is of the class errdefs.ErrAlreadyExists.
func (t *turns) push(ctx context.Context, desc ocispec.Descriptor, open func() (content.Writer, error)) (content.Writer, error) {
	mine := &turn{turns: t, key: pushKey{desc.Digest, IsDocument(desc.MediaType)}, over: make(chan struct{})}
	for other := t.begin(mine); other != mine; other = t.begin(mine) {
		select {
		case <-other.over:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if other.there {
			return nil, fmt.Errorf("%s: %w", desc.Digest, errdefs.ErrAlreadyExists)
		}
	}
	w, err := open()
	if err != nil {
		mine.end(errdefs.IsAlreadyExists(err))
		return nil, err
	}
	return turnWriter{w, mine}, nil
}

// begin returns the turn whose turn it is.
func (t *turns) begin(mine *turn) *turn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if other, ok := t.pushes[mine.key]; ok {
		return other
	}
	if t.pushes == nil {
		t.pushes = map[pushKey]*turn{}
	}
	t.pushes[mine.key] = mine
	return mine
}

// end ends a push; the first call counts.
func (t *turn) end(there bool) {
	t.once.Do(func() {
		t.turns.mu.Lock()
		defer t.turns.mu.Unlock()
		if t.there = there; !there {
			delete(t.turns.pushes, t.key)
		}
		close(t.over)
	})
}

// turnWriter ends its turn.
type turnWriter struct {
	content.Writer
	turn *turn
}

// Commit implements content.Writer.
func (w turnWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	err := w.Writer.Commit(ctx, size, expected, opts...)
	if err == nil || errdefs.IsAlreadyExists(err) {
		w.turn.end(true)
	}
	return err
}

// Close implements content.Writer.
func (w turnWriter) Close() error {
	defer w.turn.end(false)
	return w.Writer.Close()
}
