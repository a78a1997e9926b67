// Package meter is what one content is read through on its way: its bytes are
// counted, for those who show how far a pull or a copy is (meter.go), and errors of
// its source are told from those of its destination (source.go).
package meter

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/containerd/containerd/v2/core/remotes"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Counter counts the bytes of one content. A nil one counts nothing, and costs
// nothing. It may be read while it counts.
type Counter struct {
	Read    atomic.Int64 // bytes that were read
	Skipped atomic.Int64 // bytes that need not be read; negative for those that are read again
}

// Fetcher returns a fetcher of that content, which counts.
func (c *Counter) Fetcher(f remotes.Fetcher) remotes.Fetcher {
	if c == nil {
		return f
	}
	return remotes.FetcherFunc(func(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
		r, err := f.Fetch(ctx, desc)
		if err != nil {
			return nil, err
		}
		return c.Body(r), nil
	})
}

// Body returns a body of that content, which counts. It can seek where r can.
func (c *Counter) Body(r io.ReadCloser) io.ReadCloser {
	if c == nil {
		return r
	}
	if s, ok := r.(io.Seeker); ok {
		return seekable{body{r, c}, s}
	}
	return body{r, c}
}

type body struct {
	io.ReadCloser
	counter *Counter
}

func (b body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.counter.Read.Add(int64(n))
	return n, err
}

// seekable is a body that may begin where an earlier transfer has ended, or
// begin again.
type seekable struct {
	body
	seeker io.Seeker
}

func (s seekable) Seek(offset int64, whence int) (int64, error) {
	at, err := s.seeker.Seek(offset, whence)
	if err == nil {
		s.counter.Skipped.Store(at - s.counter.Read.Load())
	}
	return at, err
}
