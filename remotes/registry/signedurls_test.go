package registry_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestSignedURLHasEnded: storage that refuses a URL which the registry has signed is not the end: the registry is asked once for
// another one, and no more than once. What the storage says then counts.
func TestSignedURLHasEnded(t *testing.T) {
	for _, status := range []int{403, 400} {
		for _, always := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d, always %t", status, always), func(t *testing.T) {
				t.Parallel()
				reg, credentials := privateRegistry(t)
				storage := clienttest.NewRegistry(t)
				pulled := clienttest.PutImage(reg, parent, "layer")
				reg.Tag(parent, "v1", pulled.Digest)
				pulled.BlobsIn(storage, parent)
				ofLayer := func(q registrytest.Request) bool { return q.Reference == pulled.Layers[0].Digest.String() }
				signed := 0
				reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
					if q := registrytest.Describe(req); !ofLayer(q) || q.Authorization == "" {
						return false
					}
					signed++
					http.Redirect(w, req, fmt.Sprintf("%s%s?signature=%d", storage.URL(), req.URL.Path, signed), http.StatusTemporaryRedirect)
					return true
				})
				storage.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
					ended := strings.HasSuffix(req.URL.RawQuery, "signature=1") || always
					if ended {
						w.WriteHeader(status)
					}
					return ended
				})
				err := pullFrom(t, reg.Host(), registry.Options{PlainHTTP: true, Credentials: credentials})
				if always {
					clienttest.WantError(t, err, fmt.Sprint(status))
				} else {
					clienttest.NoError(t, err)
				}
				if n := storage.Count(); n != 2 || signed != 2 {
					t.Errorf("%d requests to the storage, %d URLs", n, signed)
				}
				if n := storage.Count(registrytest.WithCredentials); n > 0 {
					t.Errorf("%d requests with credentials", n)
				}
			})
		}
	}
}

// TestSignedURLs: what a redirect has in its query is in no error.
func TestSignedURLs(t *testing.T) {
	reg, credentials := privateRegistry(t)
	clienttest.PutBundle(reg, parent)
	cdn := clienttest.NewRegistry(t)
	reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		q := registrytest.Describe(req)
		if q.Kind != registrytest.KindBlob || q.Authorization == "" {
			return false
		}
		http.Redirect(w, req, cdn.URL()+q.Path+"?signature=secret", http.StatusTemporaryRedirect)
		return true
	})
	for name, fault := range map[string]registrytest.Interceptor{
		"forbidden": registrytest.Answer(http.StatusForbidden, nil),
		"reset":     registrytest.Reset(),
	} {
		t.Run(name, func(t *testing.T) {
			cdn.ResetIntercepts()
			cdn.Intercept(fault)
			err := pullFrom(t, reg.Host(), registry.Options{PlainHTTP: true, Credentials: credentials})
			clienttest.WantError(t, err)
		})
	}
}
