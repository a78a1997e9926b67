package find

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestSlowClientsHoldNobodyUp: clients that take nothing of the blobs that they asked for, large or small, keep none of the
// connections to a registry that speaks HTTP/1.1 alone from others.
func TestSlowClientsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	const slow = 100
	s := newScene(t, node)
	for _, size := range []int{400 << 10, 200 << 10} {
		blob := s.Registry.PutBlob("org/app/web", "application/octet-stream", bytes.Repeat([]byte{1}, size))
		web := s.Registry.Artifact("org/app/web", "text/plain", blob)
		s.Registry.Tag("org/app", "v1", s.Registry.Index("org/app", registrytest.Member(web, "web")).Digest)
		s.Pull("v1") // so that the size is known
		s.Registry.ResetLog()
		s.Registry.Intercept(s.Registry.StallAt(100, registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials))
		for range slow {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Server.URL+"/v2/org/app/blobs/"+blob.Digest.String()+"?ns="+s.Registry.Host(), http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
				if err == nil {
					<-t.Context().Done()
					_ = resp.Body.Close()
				}
			}()
		}
		begun := func() int {
			return s.Registry.Count(registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials)
		}
		clienttest.Await(t, func() bool { return begun() >= slow }, func() string { return fmt.Sprintf("%d bytes: only %d of %d transfers have begun", size, begun(), slow) })
		s.Registry.ResetLog()
		s.Registry.ResetIntercepts()
	}
}

// TestReadAheadConnectionsAreBounded: what is read ahead has a bound, where each request has a connection of its own.
func TestReadAheadConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const client = 4 // those for its own requests, and for tokens
	s := newScene(t, node)
	_, members := s.fleet(3 * ownConnections)
	before := s.Registry.Connections()
	s.Registry.Intercept(s.Registry.Delay(50*time.Millisecond, registrytest.Of(registrytest.KindManifest)))
	s.begin(members)
	s.awaitReadAhead(s.idle)
	if n, read := s.Registry.Connections()-before, s.Registry.Count(registrytest.Of(registrytest.KindManifest)); n > ownConnections+client || read < ownConnections {
		t.Errorf("%d connections for %d manifests", n, read)
	}
}
