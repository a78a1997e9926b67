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

// uploadWriter is docker's writer with errors that say more. An upload that
// breaks off in a way that may pass is begun anew, as often as one policy
// allows ([retry.Tries]): its user gets content.ErrReset and writes once more.
type uploadWriter struct {
	content.Writer
	ctx     context.Context
	hosts   []Host
	tries   *retry.Tries // of the upload, however often it begins
	reopen  func() (content.Writer, error)
	written bool
	there   error // another upload has brought the content; of the class errdefs.ErrAlreadyExists
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

// Close implements content.Writer. Docker's leaves the request of an upload to
// which nothing was written waiting for its content, for ever.
func (w *uploadWriter) Close() error {
	if !w.written && w.there == nil {
		_, _ = w.Writer.Write(nil) // so that there is something to close
	}
	return w.Writer.Close()
}

// errAnsweredEarly is what docker's writer calls a closed pipe: the registry
// has the content, or wants no more of it.
var errAnsweredEarly = fmt.Errorf("the registry answered before it had been sent everything: %w", io.ErrUnexpectedEOF)

// failed says why an upload failed. When it is worth it, it is begun anew.
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
	_ = w.Close() // it is of no use any more
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
