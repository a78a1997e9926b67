package registry_test

import (
	"bytes"
	"fmt"
	"net/http"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestPushedManifestRedirected: a manifest's PUT goes on with its method, body and type, and with the credential to the
// registry's own origin alone; one that would become a GET is no success.
func TestPushedManifestRedirected(t *testing.T) {
	for _, status := range []int{307, 308, 301, 302, 303} {
		for _, elsewhere := range []bool{false, true} {
			t.Run(fmt.Sprint(status, elsewhere), func(t *testing.T) {
				reg, other := clienttest.NewRegistry(t, registrytest.WithBasicAuth()), clienttest.NewRegistry(t)
				reg.Allow("all", "secret", parent, parent+"/moved")
				at, base := reg, ""
				if elsewhere {
					at, base = other, other.URL()
				}
				reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
					q := registrytest.Describe(req)
					if req.Method != http.MethodPut || q.Authorization == "" || q.Repository != parent {
						return false
					}
					w.Header().Set("Location", base+"/v2/"+parent+"/moved/manifests/"+q.Reference)
					w.WriteHeader(status)
					return true
				})
				at.Intercept(at.Pushes(false))
				registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true, Credentials: clienttest.UserPassword(t, reg.Host(), "all", "secret")})
				data := clienttest.Encode(ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: ocispec.DescriptorEmptyJSON})
				desc := clienttest.Describe(ocispec.MediaTypeImageManifest, data)
				pusher, err := registries.Pusher(t.Context(), reg.Host()+"/"+parent+":v1")
				clienttest.NoError(t, err)
				err = pushAgain(t, pusher, desc, data)
				if status < 307 {
					clienttest.WantError(t, err, "redirect")
					if n := at.Count(registrytest.In(parent + "/moved")); n > 0 {
						t.Errorf("%d requests went there", n)
					}
					return
				}
				clienttest.NoError(t, err)
				moved := at.Log(registrytest.In(parent+"/moved"), registrytest.Method(http.MethodPut))
				got := moved[len(moved)-1]
				if got.Header.Get("Content-Type") != ocispec.MediaTypeImageManifest || got.Status != http.StatusCreated || (got.Authorization == "") != elsewhere {
					t.Errorf("%s: type %q, credentials %v", got, got.Header.Get("Content-Type"), got.Authorization != "")
				}
			})
		}
	}
}

// pushAgain writes as often as the pusher asks for it, as containerd does.
func pushAgain(t *testing.T, pusher remotes.Pusher, desc ocispec.Descriptor, data []byte) error {
	t.Helper()
	w, err := pusher.Push(t.Context(), desc)
	if err != nil {
		return err
	}
	defer w.Close()
	return content.Copy(t.Context(), w, bytes.NewReader(data), desc.Size, desc.Digest)
}

// TestPushedMountRefused: whatever a registry answers to a mount, the blob is uploaded.
func TestPushedMountRefused(t *testing.T) {
	for _, status := range []int{400, 403, 404, 405, 409, 500, 501, 502} {
		reg := clienttest.NewRegistry(t)
		data := []byte("a blob")
		blob := reg.PutBlob(parent+"/web", "application/x-test", data)
		reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			if req.URL.Query().Get("mount") == "" {
				return false
			}
			w.WriteHeader(status)
			return true
		})
		reg.Intercept(reg.Pushes(false))
		registries := registry.New(registry.Options{PlainHTTP: true})
		pusher, err := registries.Pusher(t.Context(), reg.Host()+"/"+parent+":v1")
		clienttest.NoError(t, err)
		if err := pushAgain(t, pusher, oci.MountFrom(blob, clienttest.Repository(t, reg.Host()+"/"+parent+"/web")), data); err != nil {
			t.Errorf("%d: %v", status, err)
		}
		if n := reg.Count(registrytest.In(parent), registrytest.Method(http.MethodPut)); n != 1 {
			t.Errorf("%d: %d uploads", status, n)
		}
		registries.CloseIdleConnections()
	}
}
