package auth

import (
	"context"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	// stallTimeout is how long a reader waits for stallBytes of a body, or for
	// its end. After that it gets the error of a broken connection, and may
	// request the rest.
	stallTimeout = time.Minute
	// stallBytes in stallTimeout are slower than a modem.
	stallBytes = 64 << 10
)

// stallLimited is a body that breaks when too little of it arrives. Only the
// time that a reader waits counts, so that a slow reader breaks nothing. Like
// any body it is for one reader at a time.
type stallLimited struct {
	body   io.ReadCloser
	cancel context.CancelFunc // ends the request, and with it a Read that waits
	waited time.Duration      // since stallBytes last arrived
	got    int
	timer  *time.Timer
	broken atomic.Bool
}

// withStallLimit sends a request whose body breaks when too little of it
// arrives.
func withStallLimit(req *http.Request, send func(*http.Request) (*http.Response, error)) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	resp, err := send(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Request = req
	b := &stallLimited{body: resp.Body, cancel: cancel}
	b.timer = time.AfterFunc(stallTimeout, func() {
		b.broken.Store(true)
		cancel()
	})
	b.timer.Stop() // no reader waits yet
	resp.Body = b
	return resp, nil
}

// Read implements [io.Reader].
func (b *stallLimited) Read(p []byte) (int, error) {
	began := time.Now()
	b.timer.Reset(stallTimeout - b.waited)
	n, err := b.body.Read(p)
	b.timer.Stop()
	b.waited += time.Since(began)
	if b.got += n; b.got >= stallBytes {
		b.waited, b.got = 0, 0
	}
	if err != nil && err != io.EOF && b.broken.Load() {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Close implements [io.Closer].
func (b *stallLimited) Close() error {
	defer b.cancel()
	return b.body.Close()
}
