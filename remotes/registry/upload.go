package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/internal/retry"
)

// uploadWriter is docker's writer with better errors. An upload that fails in a
// retryable way is begun anew, as often as [retry.Tries] allows: its user gets
// content.ErrReset and writes the content again.
type uploadWriter struct {
	content.Writer
	ctx     context.Context
	hosts   []Host
	tries   *retry.Tries // of the upload, over all its beginnings
	reopen  func() (content.Writer, error)
	written bool
	there   error // another upload has stored the content; of the class errdefs.ErrAlreadyExists
}

// Write implements [io.Writer].
func (w *uploadWriter) Write(p []byte) (int, error) {
	if w.there != nil {
		return len(p), nil
	}
	w.written = true
	n, err := w.Writer.Write(p)
	return n, w.failed(err)
}

// Commit implements content.Writer. Docker's does not wait for the answer when
// nothing was written.
func (w *uploadWriter) Commit(ctx context.Context, size int64, expected digest.Digest, opts ...content.Opt) error {
	if !w.written {
		if _, err := w.Write(nil); err != nil {
			return err
		}
	}
	if w.there != nil {
		return w.there
	}
	return w.failed(w.Writer.Commit(ctx, size, expected, opts...))
}

// Close implements content.Writer. When nothing was written, docker's leaves
// the request waiting for its content, for ever.
func (w *uploadWriter) Close() error {
	if !w.written && w.there == nil {
		_, _ = w.Writer.Write(nil) // so that there is something to close
	}
	return w.Writer.Close()
}

// errAnsweredEarly replaces docker's error about a closed pipe: the registry
// has the content, or refuses the rest.
var errAnsweredEarly = fmt.Errorf("the registry answered before it had been sent everything: %w", io.ErrUnexpectedEOF)

// failed returns why an upload failed. When that is retryable, the upload is
// begun anew.
func (w *uploadWriter) failed(err error) error {
	if err == nil || errors.Is(err, content.ErrReset) {
		return err
	}
	if errors.Is(err, io.ErrClosedPipe) {
		err = errAnsweredEarly
	}
	if err = w.tries.Wait(w.ctx, err); err != nil {
		return explain(w.ctx, w.hosts, err)
	}
	_ = w.Close() // this upload cannot be continued
	next, err := w.reopen()
	if errdefs.IsAlreadyExists(err) {
		w.there = err
		return content.ErrReset
	}
	if err != nil {
		return err
	}
	w.Writer, w.written = next, false
	return content.ErrReset
}
