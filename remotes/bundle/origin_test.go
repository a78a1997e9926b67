package bundle_test

import (
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
)

var someDigest = "sha256:" + strings.Repeat("0123456789abcdef", 4)

func TestParseOrigin(t *testing.T) {
	for _, s := range []string{
		"docker.io/library/nginx", "docker.io/library/nginx:1.27", "docker.io/library/nginx@" + someDigest,
		"docker.io/library/nginx:1.27@" + someDigest, "localhost:5000/a:b", "[::1]:5000/a/b__c:v1",
	} {
		if o, err := bundle.ParseOrigin(s); err != nil || o.String() != s {
			t.Errorf("ParseOrigin(%q) = %v, %v", s, o, err)
		}
	}
	for _, s := range []string{
		"", "nginx", "library/nginx:1.27", "docker.io/nginx", "index.docker.io/library/nginx", "https://docker.io/library/nginx",
		"docker.io/library/nginx:", "docker.io/library/nginx@sha256:12", "docker.io/library/NGINX", "docker.io/library/nginx:1.27 ",
		"docker.io/../nginx", "docker.io/library/nginx:1.27@md5:" + strings.Repeat("0", 32), "quay.io/" + strings.Repeat("a/", 150) + "a", strings.Repeat("0", 64),
		"quay.io/a\x1b[31m", "quay.io/a:" + strings.Repeat("t", 5000),
	} {
		o, err := bundle.ParseOrigin(s)
		if err == nil || o != (bundle.Origin{}) {
			t.Errorf("ParseOrigin(%.80q) = %v, %v", s, o, err)
		} else if len(err.Error()) > 1200 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("ParseOrigin(%.80q): error %.2000q", s, err)
		}
	}
}

func FuzzParseOrigin(f *testing.F) {
	f.Add("docker.io/library/nginx:1.27@" + someDigest)
	f.Add("[::1]:5000/a")
	f.Fuzz(func(t *testing.T, s string) {
		if o, err := bundle.ParseOrigin(s); err == nil && o.String() != s {
			t.Errorf("ParseOrigin(%q) = %q", s, o)
		}
	})
}

// TestPinnedSaysOrigins: one image may have been copied under several names, and what is no origin is ignored.
func TestPinnedSaysOrigins(t *testing.T) {
	r := clienttest.NewRegistry(t)
	web := clienttest.PutImage(r, "org/app/web", "web").Descriptor
	db := clienttest.PutImage(r, "org/app/db", "db").Descriptor
	from := func(d ocispec.Descriptor, child, origin string) ocispec.Descriptor {
		m := registrytest.Member(d, child)
		m.Annotations[nested.OriginAnnotation] = origin
		return m
	}
	tagged, digested := "docker.io/library/web:1@"+someDigest, "quay.io/other/web@"+someDigest
	index := clienttest.IndexOf(from(web, "web", tagged), from(web, "web", digested), from(web, "web", tagged), from(db, "db", "db:1"))
	r.Put("org/app", ocispec.MediaTypeImageIndex, index, "v1")
	b := opened(t, r, "org/app:v1")
	walked, err := b.Walk(t.Context(), bundle.Options{}, bundle.Visitor{})
	clienttest.NoError(t, err)
	got := map[string][]string{}
	for _, p := range b.Pinned(walked) {
		got[p.Namespace] = []string{}
		for _, o := range p.Origins {
			got[p.Namespace] = append(got[p.Namespace], o.String())
		}
	}
	if len(got) != 2 || !slices.Equal(got["web"], []string{tagged, digested}) || len(got["db"]) != 0 {
		t.Errorf("pinned with origins %v", got)
	}
}
