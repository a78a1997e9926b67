package conformance

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
)

// ranges checks that a download can be resumed.
func (c *client) ranges(t *testing.T) {
	token, path := c.pullToken(t), c.path("blobs", c.Blob.Digest.String())
	complete := c.do(t, c.get(t, path, token)).body
	size := len(complete)
	if size < 10 {
		t.Fatalf("blob has %d bytes, the target must have one of 10", size)
	}
	tests := []struct {
		header      string
		first, last int
	}{
		{"bytes=0-", 0, size - 1},
		{"bytes=1-3", 1, 3},
		{"bytes=5-", 5, size - 1},
		{"bytes=-5", size - 5, size - 1},
		{fmt.Sprintf("bytes=%d-", size-1), size - 1, size - 1},
	}
	for _, test := range tests {
		t.Run(test.header, func(t *testing.T) {
			got := c.ranged(t, path, token, test.header)
			got.is(t, http.StatusPartialContent)
			got.has(t, "Content-Range", fmt.Sprintf("bytes %d-%d/%d", test.first, test.last, size))
			if want := complete[test.first : test.last+1]; !bytes.Equal(got.body, want) {
				t.Errorf("got %d bytes, want %d, or they differ", len(got.body), len(want))
			}
		})
	}
	t.Run("beyond the end", func(t *testing.T) {
		got := c.ranged(t, path, token, fmt.Sprintf("bytes=%d-", size))
		got.is(t, http.StatusRequestedRangeNotSatisfiable)
		got.has(t, "Content-Range", fmt.Sprintf("bytes */%d", size))
	})
}

func (c *client) ranged(t *testing.T, path, token, header string) response {
	t.Helper()
	req := c.get(t, path, token)
	req.Header.Set("Range", header)
	return c.do(t, req)
}
