package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// checkStorable refuses what content stores cannot hold.
func checkStorable(d ocispec.Descriptor) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("digest %q: %w", d.Digest, err)
	}
	if d.Digest.Algorithm() != digest.Canonical {
		return auth.Classed(errdefs.ErrNotImplemented, "digest %s: content stores hold only %s content", d.Digest, digest.Canonical)
	}
	return nil
}

// fetch stores content that is not there yet; what is there in part goes on.
// The annotations stay out of it: containerd makes names of one of them.
func fetch(ctx context.Context, store content.Store, w *walker, n *node) error {
	d := n.Descriptor
	d.Annotations = nil
	ref := remotes.MakeRefKey(ctx, d)
	if d.Size == 0 {
		return content.WriteBlob(ctx, store, ref, strings.NewReader(""), d)
	}
	var to content.Ingester = store
	if s, ok := store.(interface {
		storeFor(*walker, *node) content.Ingester
	}); ok {
		to = s.storeFor(w, n)
	}
	err := remotes.Fetch(ctx, to, w.fetcher, d)
	if errdefs.IsAlreadyExists(err) {
		return recheck(ctx, store, w, n)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, errOther) {
		return &nested.VerifyError{Repository: w.found(n), Digest: d.Digest, Reason: errOther.Error()}
	}
	if status, statusErr := store.Status(ctx, ref); errdefs.IsFailedPrecondition(err) && statusErr == nil && status.Offset >= d.Size {
		// All is there and does not verify. Kept, it would fail every later pull.
		bad := &nested.VerifyError{Repository: w.found(n), Digest: d.Digest, Reason: errOther.Error()}
		return errors.Join(bad, store.Abort(ctx, ref))
	}
	return err
}

// recheck looks at content that was there before, where others than a store's
// own daemon could have put it, and fetches it again if it is not intact.
func recheck(ctx context.Context, store content.Store, w *walker, n *node) error {
	l, ok := store.(interface {
		intact(context.Context, ocispec.Descriptor) (bool, error)
	})
	if !ok {
		return nil
	}
	intact, err := l.intact(ctx, n.Descriptor)
	if err != nil || intact {
		return err
	}
	if err := store.Delete(ctx, n.Digest); err != nil {
		return err
	}
	return fetch(ctx, store, w, n)
}
