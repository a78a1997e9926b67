package registry_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestTags: all pages of a list of tags are read, from the registry itself; a list that ends in the middle is an error.
func TestTags(t *testing.T) {
	page := func(answers ...string) registrytest.Interceptor {
		n := 0
		return func(w http.ResponseWriter, r *http.Request) bool {
			if registrytest.Describe(r).Kind != registrytest.KindTags {
				return false
			}
			answer := answers[min(n, len(answers)-1)]
			if n++; n < len(answers) {
				w.Header().Set("Link", fmt.Sprintf(`</v2/org/app/tags/list?n=1&last=%d>; rel="next"`, n))
			}
			if answer == "404" {
				w.WriteHeader(http.StatusNotFound)
				return true
			}
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(answer))
			return true
		}
	}
	for name, test := range map[string]struct {
		answers []string
		want    []string // nil: an error
	}{
		"one page":       {[]string{`{"name":"org/app","tags":["a","b"]}`}, []string{"a", "b"}},
		"pages":          {[]string{`{"name":"org/app","tags":["a"]}`, `{"name":"org/app","tags":["b"]}`}, []string{"a", "b"}},
		"none":           {[]string{`{"name":"org/app","tags":null}`}, []string{}},
		"no name":        {[]string{`{"tags":[]}`}, []string{}},
		"404 at the end": {[]string{`{"name":"org/app","tags":["a"]}`, "404"}, nil},
		"no tag":         {[]string{`{"name":"org/app","tags":["a/../b"]}`}, nil},
		"other JSON":     {[]string{`{"errors":[]}`}, nil},
		"an end":         {[]string{`{"name":"org/app","tags":["a"`}, nil},
		"too much":       {[]string{`{"name":"org/app","tags":["` + strings.Repeat("a", 9<<20) + `"]}`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := clienttest.NewRegistry(t)
			r.Intercept(page(test.answers...))
			got, err := clienttest.NewClient(t, registry.Options{PlainHTTP: true}).Tags(t.Context(), clienttest.Repository(t, r.Host()+"/org/app"))
			if (err != nil) != (test.want == nil) || errdefs.IsNotFound(err) || err == nil && !slices.Equal(got, test.want) {
				t.Errorf("tags %q, error %.200v", got, err)
			}
		})
	}
}

// TestListAttachedWithoutList: a list of tags that cannot be read is asked for once in a pull, not once for each manifest.
func TestListAttachedWithoutList(t *testing.T) {
	r := clienttest.NewRegistry(t)
	image, sig := r.Image("org/app", []byte("an image")), r.Image("org/app", []byte("a signature"))
	r.Tag("org/app", oci.AttachedTags(image.Digest)[0], sig.Digest)
	lists := 0
	r.Intercept(func(w http.ResponseWriter, q *http.Request) bool {
		if registrytest.Describe(q).Kind != registrytest.KindTags {
			return false
		}
		lists++
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	fetcher, err := clienttest.NewClient(t, registry.Options{PlainHTTP: true}).Fetcher(t.Context(), r.Host()+"/org/app:v1")
	clienttest.NoError(t, err)
	lister := fetcher.(interface {
		ListAttached(context.Context, digest.Digest) ([]ocispec.Descriptor, error)
	})
	for d, want := range map[digest.Digest]int{image.Digest: 1, sig.Digest: 0} {
		if got, err := lister.ListAttached(t.Context(), d); err != nil || len(got) != want {
			t.Errorf("%s: %v, error %v", d, got, err)
		}
	}
	if lists != 1 {
		t.Errorf("%d lists", lists)
	}
}

// TestTagsOfTheRegistry: a mirror is asked neither for tags nor for what they name: it may have older ones.
func TestTagsOfTheRegistry(t *testing.T) {
	origin, mirror := clienttest.NewRegistry(t), clienttest.NewRegistry(t)
	old, now := mirror.Image("org/app", []byte("old")), origin.Image("org/app", []byte("now"))
	mirror.Tag("org/app", "v1", old.Digest)
	origin.Tag("org/app", "v1", now.Digest)
	origin.Tag("org/app", "v2", now.Digest)
	dir := clienttest.HostsDir(t, origin.Host(), fmt.Sprintf("server = %q\n[host.%q]\ncapabilities = [\"pull\", \"resolve\"]\n", origin.URL(), mirror.URL()))
	client := clienttest.NewClient(t, registry.Options{HostsDir: dir})
	at := clienttest.Repository(t, origin.Host()+"/org/app")
	if tags, err := client.Tags(t.Context(), at); err != nil || len(tags) != 2 {
		t.Errorf("tags %q, error %v", tags, err)
	}
	if d, err := client.Digest(t.Context(), at, "v1"); err != nil || d != now.Digest {
		t.Errorf("%s, error %v", d, err)
	}
	if n := mirror.Count(); n != 0 {
		t.Errorf("%d requests to the mirror", n)
	}
	// Some registries say the digest in no header.
	origin.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Set("Content-Type", now.MediaType)
		if r.Method == http.MethodGet {
			_, _ = w.Write([]byte(origin.Body(now.Digest)))
		}
		return true
	})
	if d, err := client.Digest(t.Context(), at, "v2"); err != nil || d != now.Digest {
		t.Errorf("%s, error %v", d, err)
	}
}
