package nested_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestPlaceWithoutCandidates: the zero value, which anybody can make, is where it was served, and nowhere to be asked for.
func TestPlaceWithoutCandidates(t *testing.T) {
	served, err := auth.ParseRepository("reg.test/org/app")
	if err != nil {
		t.Fatal(err)
	}
	p := nested.Place{}.As(ocispec.MediaTypeImageIndex, 0)
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
	if err != nil || !is || len(found) != 1 || len(found[0].Fields().Targets) != 1 || found[0].First().String() != "reg.test/org/app/web" {
		t.Errorf("a valid index: %v, %v", found, err)
	}
	if _, _, err = rule.Follow(p, index("web"), auth.Repository{}); !errors.As(err, &invalid) {
		t.Errorf("served by nobody: %v", err)
	}
	if _, err = p.Try(served, func(auth.Repository) error { return nil }); !errdefs.IsNotFound(err) || err.Error() == "" {
		t.Errorf("asked: %v", err)
	}
}

// TestPlaceFields: a place becomes its parts and the same place again, whose lists are nobody else's; parts that make no
// place are refused.
func TestPlaceFields(t *testing.T) {
	repository := func(name string) auth.Repository {
		r, err := auth.ParseRepository(name)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	root, web, other := repository("reg.test/org/app"), repository("reg.test/org/app/web"), repository("other.test/org/app/web")
	whole := func() nested.PlaceFields {
		return nested.PlaceFields{By: root, Descriptor: ocispec.Descriptor{MediaType: "text/plain", Digest: digest.FromString(""), Size: 1},
			Targets: []auth.Repository{web, root}, Fallbacks: []auth.Repository{root}, Depth: 2, Strict: true, Entry: true, Carried: true}
	}
	given := whole()
	p, err := given.Place()
	if err != nil {
		t.Fatal(err)
	}
	given.Targets[0], given.Fallbacks[0] = other, other
	taken := p.Fields()
	taken.Targets[0], taken.Fallbacks[0] = other, other
	if got, want := p.Fields(), whole(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if p.By() != root || p.First() != web || p.Descriptor().Size != 1 || !p.Strict() || !p.Entry() || !p.Carried() {
		t.Errorf("%+v says other things of itself", p)
	}
	for name, breaks := range map[string]func(*nested.PlaceFields){
		"no source":                    func(f *nested.PlaceFields) { f.By = auth.Repository{} },
		"no target":                    func(f *nested.PlaceFields) { f.Targets = nil },
		"a target that is none":        func(f *nested.PlaceFields) { f.Targets[1] = auth.Repository{} },
		"a fallback that is none":      func(f *nested.PlaceFields) { f.Fallbacks[0] = auth.Repository{} },
		"a target of another registry": func(f *nested.PlaceFields) { f.Targets[1] = other },
		"a fallback of another one":    func(f *nested.PlaceFields) { f.Fallbacks[0] = other },
		"above the root":               func(f *nested.PlaceFields) { f.Depth = -1 },
	} {
		f := whole()
		breaks(&f)
		if p, err := f.Place(); !errdefs.IsInvalidArgument(err) || !reflect.DeepEqual(p, nested.Place{}) {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}
