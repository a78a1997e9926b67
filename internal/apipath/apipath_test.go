package apipath

import (
	"strings"
	"testing"
)

// TestParse: a path of the spec is taken apart, whatever words are in the repository's name, and put together again.
func TestParse(t *testing.T) {
	for path, want := range map[string]Path{
		"/v2/org/app/manifests/v1":              {"org/app", Manifests, "v1"},
		"/v2/org/app/manifests/sha256:abc":      {"org/app", Manifests, "sha256:abc"},
		"/v2/org/app/blobs/sha256:abc":          {"org/app", Blobs, "sha256:abc"},
		"/v2/org/app/blobs/uploads/":            {"org/app", Uploads, ""},
		"/v2/org/app/blobs/uploads":             {"org/app", Uploads, ""},
		"/v2/org/app/blobs/uploads/f00":         {"org/app", Uploads, "f00"},
		"/v2/a/referrers/sha256:abc":            {"a", Referrers, "sha256:abc"},
		"/v2/org/manifests/tags/list":           {"org/manifests", Tags, "list"},
		"/v2/a/blobs/uploads/blobs/uploads/f00": {"a/blobs/uploads", Uploads, "f00"},
		"/v2/a/v2/b/manifests/v1":               {"a/v2/b", Manifests, "v1"},
		"/v2/Org/manifests/":                    {"Org", Manifests, ""},
		"":                                      {},
		"/v2":                                   {},
		"/v2/":                                  {},
		"/v2/_catalog":                          {},
		"/v2/manifests/v1":                      {},
		"/v2//manifests/v1":                     {},
		"/v2/blobs/uploads/":                    {},
		"/v2/a/tags/v1":                         {},
		"/v2/a/uploads/f00":                     {},
		"/v1/a/manifests/v1":                    {},
		"/proxy/v2/a/manifests/v1":              {},
	} {
		got, ok := Parse(path)
		if got != want || ok != (want != Path{}) {
			t.Errorf("%s: %+v, %v", path, got, ok)
		}
		if ok && got.String() != path && got.String() != path+"/" {
			t.Errorf("%s is put together as %s", path, got)
		}
		below, found := ParseBelow("/artifactory/api/docker/r" + path)
		if ok && (below != got || !found) {
			t.Errorf("%s below another path: %+v, %v", path, below, found)
		}
	}
}

// FuzzParse: what is read is put together as it was, and read so again.
func FuzzParse(f *testing.F) {
	for _, path := range []string{"/v2/a/b/manifests/v1", "/v2/a/blobs/uploads", "/v2/a/tags/list", "/x/v2/a/referrers/sha256:abc"} {
		f.Add(path)
	}
	f.Fuzz(func(t *testing.T, path string) {
		e, ok := Parse(path)
		if !ok {
			return
		}
		if again, ok := Parse(e.String()); again != e || !ok || strings.TrimSuffix(e.String(), "/") != strings.TrimSuffix(path, "/") {
			t.Errorf("%q: %+v, and then %+v", path, e, again)
		}
	})
}
