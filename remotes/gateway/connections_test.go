package gateway

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/nestedoci/nested/internal/registrytest"
)

// TestSlowClientsHoldNobodyUp: clients that take nothing of the blobs that they asked for, large or small, keep none of the
// connections to a registry that speaks HTTP/1.1 alone from others; and what the gateway asks for itself has a bound.
func TestSlowClientsHoldNobodyUp(t *testing.T) {
	t.Parallel()
	const slow = 100
	s := newScene(t, Node)
	for _, size := range []int{400 << 10, 200 << 10} {
		blob := s.registry.PutBlob("org/app/web", "application/octet-stream", bytes.Repeat([]byte{1}, size))
		web := s.registry.Artifact("org/app/web", "text/plain", blob)
		s.registry.Tag("org/app", "v1", s.registry.Index("org/app", registrytest.Member(web, "web")).Digest)
		s.pull("v1") // so that the size is known
		s.registry.ResetLog()
		s.registry.Intercept(s.registry.StallAt(100, registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials))
		for range slow {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.server.URL+"/v2/org/app/blobs/"+blob.Digest.String()+"?ns="+s.registry.Host(), http.NoBody)
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
		for deadline := time.Now().Add(20 * time.Second); s.registry.Count(registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials) < slow; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d bytes: only %d of %d transfers have begun", size, s.registry.Count(registrytest.Of(registrytest.KindBlob), registrytest.WithCredentials), slow)
			}
		}
		s.registry.ResetLog()
		before := s.registry.Connections()
		s.registry.Intercept(s.registry.Delay(50*time.Millisecond, registrytest.Of(registrytest.KindManifest)))
		var all sync.WaitGroup
		for i := range 3 * ownConnections {
			image := s.registry.Image("org/app", fmt.Append(nil, size, i))
			all.Go(func() {
				if got := s.get("manifests", image.Digest); got.status != http.StatusOK {
					t.Errorf("got %d for a manifest", got.status)
				}
			})
		}
		all.Wait()
		if n := s.registry.Connections() - before; n > ownConnections {
			t.Errorf("%d more connections", n)
		}
		s.registry.ResetLog()
		s.registry.ResetIntercepts()
	}
}
