package auth

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestStalledBody: a body of which too little comes breaks like a connection, in time. One that is slow but steady does
// not, nor does one whose reader takes its time.
func TestStalledBody(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		first        int           // bytes at once
		piece        int           // then that many
		every, pause time.Duration // of who sends, of who reads
		want         error
		within       time.Duration
	}{
		{"nothing comes", 0, 0, time.Hour, 0, io.ErrUnexpectedEOF, stallTimeout},
		{"no more comes", 100_000, 0, time.Hour, 0, io.ErrUnexpectedEOF, stallTimeout},
		{"a byte every ten seconds", 0, 1, 10 * time.Second, 0, io.ErrUnexpectedEOF, 2 * stallTimeout},
		{"10 KiB/s", 0, 10 << 10, time.Second, 0, nil, time.Hour},
		{"a slow reader", 0, 10 << 10, time.Second, 2 * stallTimeout, nil, 24 * time.Hour},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				reader, writer := io.Pipe()
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://reg.test", nil)
				if err != nil {
					t.Fatal(err)
				}
				resp, err := withStallLimit(req, func(req *http.Request) (*http.Response, error) {
					context.AfterFunc(req.Context(), func() { _ = reader.CloseWithError(context.Canceled) })
					return &http.Response{Body: reader, Request: req}, nil
				})
				if err != nil {
					t.Fatal(err)
				}
				var sender sync.WaitGroup
				sender.Go(func() { sendPieces(writer, test.first, test.piece, test.every) })
				began, buffer := time.Now(), make([]byte, 32<<10)
				for err == nil {
					_, err = resp.Body.Read(buffer)
					time.Sleep(test.pause)
				}
				if took := time.Since(began); took > test.within {
					t.Errorf("it took %v", took)
				}
				if test.want == nil {
					test.want = io.EOF
				}
				if !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
				_ = resp.Body.Close()
				sender.Wait()
			})
		})
	}
}

// sendPieces sends 400 pieces, or nothing until the reader is gone.
func sendPieces(w *io.PipeWriter, first, piece int, every time.Duration) {
	if first > 0 {
		_, _ = w.Write(make([]byte, first))
	}
	for range 400 {
		time.Sleep(every)
		if _, err := w.Write(make([]byte, max(piece, 1))); err != nil {
			return
		}
	}
	_ = w.Close()
}

// TestCallersEndIsNoStall: who gives up learns that, and not that the body broke.
func TestCallersEndIsNoStall(t *testing.T) {
	t.Parallel()
	s := newScene(t, nil)
	blob := s.PutBlob("p", "application/octet-stream", make([]byte, 1<<20))
	s.Intercept(s.StallAt(1000))
	ctx, cancel := context.WithCancel(t.Context())
	req := must[*http.Request](t)(http.NewRequestWithContext(ctx, http.MethodGet, s.URL()+"/v2/p/blobs/"+blob.Digest.String(), nil))
	resp := must[*http.Response](t)(s.client.Do(req)) //nolint:bodyclose // it is, in the next line
	defer resp.Body.Close()
	if _, ok := resp.Body.(resumable).ReadCloser.(*stallLimited); !ok {
		t.Errorf("a body of type %T", resp.Body)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, 1000); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.Copy(io.Discard, resp.Body); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
