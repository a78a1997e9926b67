package nested_test

import (
	"errors"
	"testing"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestPlaceWithoutCandidates: a place that says nothing of where it is, as
// anybody can make one, is where it was served, and nowhere to be asked for.
func TestPlaceWithoutCandidates(t *testing.T) {
	served, err := auth.ParseRepository("reg.test/org/app")
	if err != nil {
		t.Fatal(err)
	}
	p := nested.Place{Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex}}
	rule := nested.NewRule(nested.Keys{}, nested.Limits{})
	index := func(child string) []byte {
		return []byte(`{"schemaVersion":2,"manifests":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",` +
			`"size":1,"mediaType":"application/vnd.oci.image.manifest.v1+json","annotations":{"` + nested.Annotation + `":"` + child + `"}}]}`)
	}
	var invalid *nested.InvalidError
	if _, _, err = rule.Follow(p, index("../up"), served); !errors.As(err, &invalid) || invalid.In != served || invalid.Position != 0 {
		t.Errorf("an invalid index: %v", err)
	}
	found, is, err := rule.Follow(p, index("web"), served)
	if err != nil || !is || len(found) != 1 || len(found[0].Targets) != 1 || found[0].Targets[0].String() != "reg.test/org/app/web" {
		t.Errorf("a valid index: %v, %v", found, err)
	}
	if _, _, err = rule.Follow(p, index("web"), auth.Repository{}); !errors.As(err, &invalid) {
		t.Errorf("served by nobody: %v", err)
	}
	if _, err = p.Ask(served, func(auth.Repository) error { return nil }); !errdefs.IsNotFound(err) || err.Error() == "" {
		t.Errorf("asked: %v", err)
	}
}
