package gateway

import (
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// TestFrontProtects: what a nested index names that is pushed through a front gets a tag in its repository, with the right of
// who pushes; without that right the index is taken, with a warning, and when it cannot be done the push is not.
func TestFrontProtects(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		tagging int // the answer to putting a tag; 0: it is done
		status  int
		warns   bool
	}{
		"done":       {0, http.StatusCreated, false},
		"denied":     {http.StatusForbidden, http.StatusCreated, true},
		"not taken":  {http.StatusMethodNotAllowed, http.StatusCreated, true},
		"it is down": {http.StatusInternalServerError, http.StatusBadGateway, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNetwork(t, nil)
			web := n.push("org/app/web", "v1", "a layer")
			data := string(clienttest.IndexOf(registrytest.Member(web, "web")))
			tag := "nested-" + digest.FromString(data).Encoded()[:12]
			n.Registry.ResetIntercepts()
			if test.tagging != 0 {
				n.Registry.Intercept(registrytest.Answer(test.tagging, nil, registrytest.Method(http.MethodPut), func(q registrytest.Request) bool { return q.Reference == tag }))
			}
			n.Registry.Intercept(n.Registry.Insists(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"))
			n.Registry.Intercept(n.Registry.Pushes(false))
			put := n.ask(http.MethodPut, "/v2/org/app/manifests/v1", data, "Content-Type", ocispec.MediaTypeImageIndex)
			if warning := put.Header.Get("Warning"); put.Status != test.status || (warning != "") != test.warns || test.warns && !strings.Contains(warning, "1 members have no tag") {
				t.Errorf("%d, %q: %s", put.Status, warning, put.Body)
			}
			puts := n.Registry.Log(registrytest.Method(http.MethodPut), registrytest.In("org/app/web"), func(q registrytest.Request) bool { return q.Reference == tag })
			if len(puts) == 0 {
				t.Error("no tag was put")
			}
			for _, q := range puts {
				if !strings.Contains(q.Authorization, " ") {
					t.Errorf("put without a credential: %+v", q)
				}
			}
		})
	}
}
