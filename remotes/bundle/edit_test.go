package bundle_test

import (
	"testing"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestAddOptions: what no index may have is refused before a registry is asked.
func TestAddOptions(t *testing.T) {
	r := clienttest.NewRegistry(t)
	client := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
	source := bundle.IndexSource{Reference: reference(r.Host() + "/org/app/web:v1")}
	for name, o := range map[string]bundle.AddOptions{
		"no media type":            {ArtifactType: "application/é"},
		"a type without a subtype": {ArtifactType: "application"},
		"control characters":       {ArtifactType: "application/a\n"},
		"its own child namespace":  {MemberAnnotations: map[string]string{nested.Annotation: "web"}},
	} {
		e := bundle.NewIndex(client, source.Reference.Repository())
		if err := e.Add(t.Context(), []bundle.IndexSource{source}, o); !errdefs.IsInvalidArgument(err) || len(r.Log()) > 0 {
			t.Errorf("%s: %v, after %d requests", name, err, len(r.Log()))
		}
	}
}
