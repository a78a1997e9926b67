package bundle

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle/meter"
	"github.com/nestedoci/nested/remotes/nested"
)

// store stores content that is missing, and continues what is there in part. Its
// bytes are counted. The annotations are left out: containerd derives names from
// one of them.
func store(ctx context.Context, to content.Store, b *Bundle, n *Node, moved *meter.Counter) error {
	d := n.Descriptor
	d.Annotations = nil
	ref := remotes.MakeRefKey(ctx, d)
	if d.Size == 0 {
		return content.WriteBlob(ctx, to, ref, strings.NewReader(""), d)
	}
	var into content.Ingester = to
	if s, ok := to.(Storer); ok {
		into = s.StoreFor(b, n)
	}
	err := remotes.Fetch(ctx, into, moved.Fetcher(b.Fetcher), d)
	if errdefs.IsAlreadyExists(err) {
		return recheck(ctx, to, b, n, moved)
	}
	if err == nil {
		return nil
	}
	if errors.Is(err, ErrMismatch) {
		return &nested.VerifyError{Repository: b.Found(n), Digest: d.Digest, Reason: ErrMismatch.Error()}
	}
	if status, statusErr := to.Status(ctx, ref); errdefs.IsFailedPrecondition(err) && statusErr == nil && status.Offset >= d.Size {
		// It is complete and does not verify. Kept, it would fail every later pull.
		bad := &nested.VerifyError{Repository: b.Found(n), Digest: d.Digest, Reason: ErrMismatch.Error()}
		return errors.Join(bad, to.Abort(ctx, ref))
	}
	return err
}

// recheck verifies content that was there before, where anybody else could have
// put it, and fetches it again if it does not verify.
func recheck(ctx context.Context, to content.Store, b *Bundle, n *Node, moved *meter.Counter) error {
	v, ok := to.(Verifier)
	if !ok {
		return nil
	}
	verified, err := v.Verify(ctx, n.Descriptor)
	if err != nil || verified {
		return err
	}
	if err := to.Delete(ctx, n.Digest); err != nil {
		return err
	}
	return store(ctx, to, b, n, moved)
}

// Explain adds to an error which content could not be stored, unless the error
// says so itself. Text that content stores add around such an error is removed.
func (b *Bundle) Explain(n *Node, err error) error {
	var child *nested.Error
	var bad *nested.InvalidError
	var other *nested.VerifyError
	var denied *auth.DeniedError
	switch {
	case errors.As(err, &child):
		return child
	case errors.As(err, &bad):
		return bad
	case errors.As(err, &other):
		return other
	case errors.As(err, &denied):
		return denied
	}
	return fmt.Errorf("%s@%s: %w", b.Found(n), n.Digest, err)
}

// ErrMismatch is the error for content that does not match its descriptor.
var ErrMismatch = errors.New("another digest or size")

// FetchAll fetches and verifies a manifest, an index or a config.
func FetchAll(ctx context.Context, f remotes.Fetcher, desc ocispec.Descriptor) ([]byte, error) {
	if desc.Size > oci.MaxManifest {
		return nil, fmt.Errorf("%s: %d bytes are more than a manifest, an index or a config may have", desc.Digest, desc.Size)
	}
	r, err := f.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return oci.ReadVerified(r, desc)
}
