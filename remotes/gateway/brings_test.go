package gateway

import (
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestFrontBrings: a replica that knows nothing yet brings what another one has answered for from a member, to a registry that
// insists on it; for a caller who may not read the member, the answer is the registry's own.
func TestFrontBrings(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	layer := "a layer"
	web := n.push("org/app/web", "v1", layer)
	data := string(clienttest.IndexOf(registrytest.Member(web, "web")))
	n.Registry.ResetIntercepts()
	n.Registry.Intercept(n.Registry.Insists(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"))
	n.Registry.Intercept(n.Registry.Deletes())
	n.Registry.Intercept(n.Registry.Pushes(false))
	if put := n.ask(http.MethodPut, "/v2/org/app/manifests/v1", data, "Content-Type", ocispec.MediaTypeImageIndex); put.Status != http.StatusCreated {
		t.Fatalf("%+v", put)
	}
	n.ask(http.MethodGet, "/v2/org/app/manifests/"+web.Digest.String(), "")
	if head := n.ask(http.MethodHead, "/v2/org/app/blobs/"+digest.FromString(layer).String(), ""); head.Status != http.StatusOK {
		t.Errorf("%+v", head)
	}
	manifest := n.Registry.Body(web.Digest)
	for _, test := range []struct {
		user   string
		status int
	}{{"bob", http.StatusBadRequest}, {"alice", http.StatusCreated}, {"bob", http.StatusCreated}} {
		_, n.Server = n.serve(nil)
		n.user = test.user
		if put := n.ask(http.MethodPut, "/v2/org/app/manifests/copy", manifest, "Content-Type", web.MediaType); put.Status != test.status {
			t.Errorf("%s: %+v", test.user, put)
		}
	}
	n.user = "alice"
	index := "/v2/org/app/manifests/" + digest.FromString(data).String()
	n.ask(http.MethodHead, index, "")
	if got := n.ask(http.MethodDelete, index, ""); got.Status != http.StatusAccepted {
		t.Errorf("%+v", got)
	}
	for _, path := range []string{index, "/v2/org/app/manifests/v1"} {
		if got := n.ask(http.MethodGet, path, ""); got.Status != http.StatusNotFound {
			t.Errorf("%s: %+v", path, got)
		}
	}
}
