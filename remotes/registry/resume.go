package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/nestedoci/nested/internal/retry"
)

// Resume lets the body of an answer with a blob, or with a range of it, go on
// where it breaks off. open asks for the bytes from an offset to before another
// one. An answer that does not say how long it is, or is encoded, stays as it is.
func Resume(ctx context.Context, resp *http.Response, open func(next, end int64) (*http.Response, error)) {
	if next, end := extent(resp); end >= 0 && resp.Header.Get("Content-Encoding") == "" {
		resp.Body = &resumed{ReadCloser: resp.Body, ctx: ctx, next: next, end: end, open: open}
	}
}

// resumed is the body of a blob. Where it breaks off, the rest is asked for, as
// often as [retry.Tries] allows without a byte that comes. The caller notices
// nothing: many clients do not ask for the rest themselves.
type resumed struct {
	io.ReadCloser
	ctx       context.Context
	next, end int64 // offsets in the blob: of the next byte, and behind the last
	open      func(next, end int64) (*http.Response, error)
	tries     retry.Tries
}

// Read implements [io.Reader].
func (b *resumed) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.next += int64(n)
	if n > 0 {
		b.tries = retry.Tries{}
	}
	if err == nil || errors.Is(err, io.EOF) || b.next >= b.end {
		return n, err
	}
	if err = b.tries.Wait(b.ctx, err); err != nil {
		return n, err
	}
	return n, b.reopen()
}

// reopen asks for the rest.
func (b *resumed) reopen() error {
	_ = b.Close()                      // it is broken
	resp, err := b.open(b.next, b.end) //nolint:bodyclose // it is the body that is read and closed from here on
	if err != nil {
		return err
	}
	b.ReadCloser = resp.Body
	next, end := extent(resp)
	if next == 0 && end == b.end && b.next > 0 { // it knows no ranges
		if _, err = io.CopyN(io.Discard, resp.Body, b.next); err != nil {
			return fmt.Errorf("the rest of a blob: %w", err)
		}
		return nil
	}
	if next != b.next || end != b.end {
		return fmt.Errorf("asked %s for bytes %d-%d of a blob, got %d-%d", resp.Request.URL.Host, b.next, b.end-1, next, end-1)
	}
	return nil
}

// extent returns which bytes of a blob an answer has: the offset of the first,
// and the one behind the last. It returns 0, -1 when the answer does not say.
func extent(resp *http.Response) (next, end int64) {
	switch resp.StatusCode {
	case http.StatusOK:
		return 0, resp.ContentLength
	case http.StatusPartialContent:
		var last int64
		if _, err := fmt.Sscanf(resp.Header.Get("Content-Range"), "bytes %d-%d/", &next, &last); err == nil && next >= 0 && last >= next {
			return next, last + 1
		}
	}
	return 0, -1
}
