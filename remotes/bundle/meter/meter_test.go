package meter

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

type seekableText struct{ *bytes.Reader }

func (seekableText) Close() error { return nil }

// TestCounter: what is read is counted, what is skipped is not, and a body can seek where it could before.
func TestCounter(t *testing.T) {
	fetch := func(body io.ReadCloser) remotes.Fetcher {
		return remotes.FetcherFunc(func(context.Context, ocispec.Descriptor) (io.ReadCloser, error) { return body, nil })
	}
	var c Counter
	text := seekableText{bytes.NewReader(make([]byte, 100))}
	r, err := c.Fetcher(fetch(text)).Fetch(t.Context(), ocispec.Descriptor{})
	if err != nil {
		t.Fatal(err)
	}
	want := func(read, skipped int64) {
		t.Helper()
		if c.Read.Load() != read || c.Skipped.Load() != skipped {
			t.Errorf("%d read and %d skipped, want %d and %d", c.Read.Load(), c.Skipped.Load(), read, skipped)
		}
	}
	seek := func(to int64) {
		t.Helper()
		if at, failed := r.(io.Seeker).Seek(to, io.SeekStart); failed != nil || at != to {
			t.Fatal(at, failed)
		}
	}
	seek(40)
	want(0, 40)
	if _, err = io.ReadFull(r, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	want(10, 40)
	seek(0) // an upload that begins again
	want(10, -10)
	if n, err := io.Copy(io.Discard, r); err != nil || n != 100 {
		t.Error(n, err)
	}
	want(110, -10)

	if _, ok := c.Body(io.NopCloser(io.LimitReader(text, 1))).(io.Seeker); ok {
		t.Error("a body that cannot seek says that it can")
	}
	var none *Counter
	if f := none.Fetcher(nil); f != nil || none.Body(text) != io.ReadCloser(text) {
		t.Error("no counter changes what is read")
	}
	failing := remotes.FetcherFunc(func(context.Context, ocispec.Descriptor) (io.ReadCloser, error) { return nil, io.ErrUnexpectedEOF })
	if _, err := c.Fetcher(failing).Fetch(t.Context(), ocispec.Descriptor{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// BenchmarkRead: what counting costs a read, beside the digest that each is hashed into.
func BenchmarkRead(b *testing.B) {
	for name, counter := range map[string]*Counter{"plain": nil, "counted": {}} {
		b.Run(name, func(b *testing.B) {
			text := seekableText{bytes.NewReader(make([]byte, 32<<10))}
			body, hash, buffer := counter.Body(text), sha256.New(), make([]byte, 32<<10)
			b.SetBytes(32 << 10)
			for b.Loop() {
				_, _ = text.Seek(0, io.SeekStart)
				n, _ := body.Read(buffer)
				hash.Write(buffer[:n])
			}
		})
	}
}
