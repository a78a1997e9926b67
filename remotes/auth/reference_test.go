package auth_test

import (
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/nestedoci/nested/remotes/auth"
)

// TestReference: what is read has a repository, and either a tag or a digest; its text is read back as the same.
func TestReference(t *testing.T) {
	sum := "sha256:" + strings.Repeat("a", 64)
	for s, want := range map[string][3]string{
		"nginx":                                {"docker.io/library/nginx", "latest", ""},
		"docker.io/org/app:v1":                 {"docker.io/org/app", "v1", ""},
		"registry.test:5000/org/app":           {"registry.test:5000/org/app", "latest", ""},
		"registry.test/org/app@" + sum:         {"registry.test/org/app", "", sum},
		"registry.test:5000/org/app:v1@" + sum: {"registry.test:5000/org/app", "", sum},
		"[::1]:5000/app:v1":                    {"[::1]:5000/app", "v1", ""},
	} {
		r, err := auth.ParseReference(s)
		if got := [3]string{r.Repository().String(), r.Tag(), r.Digest().String()}; err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", s, got, err, want)
		}
		if again, err := auth.ParseReference(r.String()); err != nil || again != r {
			t.Errorf("%s: %s is read as %s, %v", s, r, again, err)
		}
	}
	for _, s := range []string{"", "UPPER", "registry.test/org/app:", "registry.test/org/app@sha256:1", "oci-layout:app:v1", "registry.test/" + strings.Repeat("a", 300)} {
		if r, err := auth.ParseReference(s); err == nil || r != (auth.Reference{}) {
			t.Errorf("%s: got %s, %v", s, r, err)
		}
	}
}

// TestWritten: what is written besides a repository is told from what is meant.
func TestWritten(t *testing.T) {
	sum := digest.FromString("a")
	for s, want := range map[string][2]string{
		"reg.test:5000/app":               {"reg.test:5000/app:latest", ""},
		"reg.test:5000/app:latest":        {"reg.test:5000/app:latest", "latest"},
		"reg.test/app@" + sum.String():    {"reg.test/app@" + sum.String(), ""},
		"reg.test/app:v1@" + sum.String(): {"reg.test/app@" + sum.String(), "v1"},
		"app:v1":                          {"docker.io/library/app:v1", "v1"},
	} {
		ref, tag, err := auth.ParseWritten(s)
		if got := [2]string{ref.String(), tag}; err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", s, got, err, want)
		}
		made, err := ref.Repository().WithTag(ref.Tag())
		if ref.Tag() == "" {
			made, err = ref.Repository().WithDigest(ref.Digest())
		}
		if err != nil || made != ref {
			t.Errorf("%s: made %s, %v", ref, made, err)
		}
	}
	if _, err := (auth.Repository{}).WithTag("v1"); err == nil {
		t.Error("a reference without a repository")
	}
	if _, err := (auth.Repository{}).WithDigest(sum); err == nil {
		t.Error("a reference without a repository")
	}
	at, err := auth.ParseRepository("reg.test/app")
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range []string{"", ".a", "-a", "a b", "a/b", "a@b", "a\n", strings.Repeat("a", 129)} {
		if r, err := at.WithTag(tag); err == nil || r != (auth.Reference{}) {
			t.Errorf("tag %q: %s", tag, r)
		}
	}
	for _, d := range []digest.Digest{"", "sha256:1", "md5:" + digest.Digest(strings.Repeat("a", 32)), sum + "\n"} {
		if r, err := at.WithDigest(d); err == nil || r != (auth.Reference{}) {
			t.Errorf("digest %q: %s", d, r)
		}
	}
}

// TestReferenceLength: the longest reference is read, and of what no reference can be only the beginning is shown.
func TestReferenceLength(t *testing.T) {
	longest := "reg.test/" + strings.Repeat("a", 246) + ":" + strings.Repeat("b", 128) + "@sha512:" + strings.Repeat("c", 128)
	if _, err := auth.ParseReference(longest); err != nil {
		t.Error(err)
	}
	for _, s := range []string{strings.Repeat("a", 1<<20), strings.Repeat("\n", 1<<20)} {
		if _, err := auth.ParseReference(s); err == nil || len(err.Error()) > 300 {
			t.Errorf("an error of %d characters", len(err.Error()))
		}
	}
}
