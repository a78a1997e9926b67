package gateway

import (
	"cmp"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/nestedoci/nested/internal/apipath"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// manifestMemory bounds the manifests that are being pushed, in bytes: most have a
// few KiB, and who sends one need not have shown a credential that is right.
const manifestMemory = 64 << 20

var (
	errTooLarge = &find.Failure{Status: http.StatusRequestEntityTooLarge, Code: "SIZE_INVALID", Message: "a manifest may have 4 MiB at most"}
	errStalled  = &find.Failure{Status: http.StatusRequestTimeout, Code: "UNKNOWN", Message: "the content did not come in time; send it again"}
)

// takeManifest waits for memory for a manifest that is pushed.
func (f *Front) takeManifest(r *http.Request) (size int64, err error) {
	if size = r.ContentLength; size > oci.MaxManifest {
		return 0, errTooLarge
	}
	if size < 0 {
		size = oci.MaxManifest
	}
	ctx, cancel := context.WithTimeout(r.Context(), maxHold)
	defer cancel()
	if f.manifests.Acquire(ctx, size) != nil {
		return 0, &busyError{time.Second, "too many manifests are being pushed"}
	}
	return size, nil
}

// body is the content of a request, which ends when it does not arrive. That of a
// manifest has to come in the time in which an upload may stall.
func (f *Front) body(w http.ResponseWriter, r *http.Request, q apipath.Path) *pacedBody {
	body := &pacedBody{ReadCloser: r.Body, control: http.NewResponseController(w), stall: cmp.Or(f.stall, stallTimeout)}
	if q.Word == apipath.Manifests {
		body.ReadCloser, body.once = http.MaxBytesReader(w, r.Body, oci.MaxManifest), true
	}
	return body
}

// pacedBody is a body that arrives, and ends when its writer has stalled.
type pacedBody struct {
	io.ReadCloser
	control *http.ResponseController
	stall   time.Duration // that a Read may take
	once    bool          // … or all of them
	begun   bool

	failed atomic.Pointer[find.Failure] // by the client's fault
}

// wait sets how long the rest may take; 0: for ever.
func (b *pacedBody) wait(most time.Duration) error {
	var until time.Time
	if most > 0 {
		until = time.Now().Add(most)
	}
	if err := b.control.SetReadDeadline(until); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// Read implements [io.Reader].
func (b *pacedBody) Read(p []byte) (int, error) {
	if !b.once || !b.begun {
		if err := b.wait(b.stall); err != nil {
			return 0, err
		}
		b.begun = true
	}
	n, err := b.ReadCloser.Read(p)
	_, large := errors.AsType[*http.MaxBytesError](err)
	switch {
	case large:
		b.failed.Store(errTooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.failed.Store(errStalled)
	case errors.Is(err, io.EOF): // from here on the server reads, to see the client go: the registry may take its time
		if reset := b.wait(0); reset != nil {
			err = reset
		}
	}
	return n, err
}
