package registry

import (
	"testing"
	"time"

	"github.com/nestedoci/nested/remotes/auth"
)

// TestHeadersHaveATime: a registry that never begins to answer is not waited for. containerd's client says how long.
func TestHeadersHaveATime(t *testing.T) {
	r := New(Options{})
	at, err := auth.ParseRepository("reg.test/a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Hosts(at); err != nil {
		t.Fatal(err)
	}
	for _, transport := range r.base {
		if d := transport.ResponseHeaderTimeout; d <= 0 || d > 30*time.Second {
			t.Errorf("headers have %v", d)
		}
		if d := transport.TLSHandshakeTimeout; d <= 0 || d > 30*time.Second {
			t.Errorf("a TLS handshake has %v", d)
		}
	}
	if len(r.base) == 0 {
		t.Error("no client was made")
	}
}
