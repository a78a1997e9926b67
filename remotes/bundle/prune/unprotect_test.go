package prune_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle/prune"
)

// unprotect unprotects what a reference names, after a dry run that has to say the same and delete nothing. Lines are
// without the registry.
func (s *scene) unprotect(ref string) (lines []string, err error) {
	s.t.Helper()
	at := clienttest.Must(auth.ParseReference(s.Host() + "/" + ref))
	ctx := new(clienttest.Pauses).In(s.t.Context())
	run := func(dryRun bool) (lines []string, err error) {
		err = prune.Unprotect(ctx, s.client, at, dryRun, func(line string) error {
			lines = append(lines, strings.ReplaceAll(line, s.Host()+"/", ""))
			return nil
		})
		return lines, err
	}
	s.ResetLog()
	would, _ := run(true)
	if n := s.Count(registrytest.Method(http.MethodDelete)); n != 0 {
		s.t.Errorf("%d deletions in a dry run", n)
	}
	if lines, err = run(false); !slices.Equal(would, asDryRun(lines)) {
		s.t.Errorf("would have been %q, was %q", would, lines)
	}
	return lines, err
}

// asDryRun are the lines that a dry run prints.
func asDryRun(lines []string) (dry []string) {
	for _, line := range lines {
		if rest, ok := strings.CutPrefix(line, "deleted "); ok {
			line = "would delete " + rest
		}
		dry = append(dry, line)
	}
	return dry
}

// TestUnprotectKeeps: a tag stays where another index names the member, or a part of it, and does not protect it.
func TestUnprotectKeeps(t *testing.T) {
	for name, test := range map[string]struct {
		other func(s *scene, web, part ocispec.Descriptor)
		by    string // what names it; "" for none
	}{
		"nothing": {func(*scene, ocispec.Descriptor, ocispec.Descriptor) {}, ""},
		"another index": {func(s *scene, web, _ ocispec.Descriptor) {
			s.Tag("org/app", "v2", s.Index("org/app", registrytest.Member(web, "web"), s.image("org/app", "own", "")).Digest)
		}, "org/app:v2"},
		"another index that protects it": {func(s *scene, web, _ ocispec.Descriptor) {
			s.index("org/app", "", []string{"v2"}, map[string]ocispec.Descriptor{"web": web, "base": s.image("org/app/base", "base", "")})
		}, ""},
		"another index without a tag": {func(s *scene, web, _ ocispec.Descriptor) {
			s.Index("org/app", registrytest.Member(web, "web"), s.image("org/app", "own", ""))
		}, ""},
		"another index of a part": {func(s *scene, _, part ocispec.Descriptor) {
			s.Tag("org/app", "v2", s.Index("org/app", registrytest.Member(part, "web")).Digest)
		}, "org/app:v2"},
		"a tag of a user, which may move": {func(s *scene, web, _ ocispec.Descriptor) {
			s.Tag("org/app/web", "stable", web.Digest)
			s.Tag("org/app", "v2", s.Index("org/app", registrytest.Member(web, "web"), s.image("org/app", "own", "")).Digest)
		}, "org/app:v2"},
		"a tag of a user alone": {func(s *scene, web, _ ocispec.Descriptor) { s.Tag("org/app/web", "stable", web.Digest) }, ""},
		"another tag of the index": {func(s *scene, _, _ ocispec.Descriptor) {
			s.Tag("org/app", "latest", clienttest.Must(s.client.Digest(t.Context(), s.parent, "v1")))
		}, ""},
		"an index above names the index": {func(s *scene, _, _ ocispec.Descriptor) {
			s.Tag("org/app", "nested-0123456789ab", clienttest.Must(s.client.Digest(t.Context(), s.parent, "v1")))
		}, "org/app:nested-0123456789ab"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			part := s.image("org/app/web", "part", "")
			web := s.Index("org/app/web", part)
			old := s.index("org/app", "", []string{"v1"}, map[string]ocispec.Descriptor{"web": web})
			test.other(s, web, part)
			tag := "org/app/web:nested-" + old.Digest.Encoded()[:12]
			want := "deleted " + tag
			if test.by != "" {
				want = "kept " + tag + ": " + test.by + " names it"
			}
			lines := clienttest.Must(s.unprotect("org/app:v1"))
			if !slices.Equal(lines, []string{want}) {
				t.Errorf("%q, want %q", lines, want)
			}
			left := clienttest.Must(s.client.Tags(t.Context(), clienttest.Repository(t, s.Host()+"/org/app/web")))
			if got := slices.Contains(left, strings.TrimPrefix(tag, "org/app/web:")); got != (test.by != "") {
				t.Errorf("tags %q", left)
			}
			s.complete("org/app:v1")
		})
	}
}

// TestUnprotectBetween: an index of a repository between the parent and the member counts, too.
func TestUnprotectBetween(t *testing.T) {
	s := newScene(t)
	db := s.image("org/app/data/db", "db", "")
	old := s.index("org/app", "", []string{"v1"}, map[string]ocispec.Descriptor{"data/db": db})
	s.Tag("org/app/data", "v5", s.Index("org/app/data", registrytest.Member(db, "db")).Digest)
	want := []string{"kept org/app/data/db:nested-" + old.Digest.Encoded()[:12] + ": org/app/data:v5 names it"}
	if lines := clienttest.Must(s.unprotect("org/app:v1")); !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
}

// TestUnprotectUntagged: an index that has no tag any more, in a repository without any, is known by its digest.
func TestUnprotectUntagged(t *testing.T) {
	s := newScene(t)
	old := s.index("org/app", "", nil, map[string]ocispec.Descriptor{"web": s.image("org/app/web", "web", "")})
	s.Intercept(registrytest.Say(http.StatusNotFound, "application/json", `{"errors":[{"code":"NAME_UNKNOWN"}]}`, registrytest.In("org/app"), registrytest.Of(registrytest.KindTags)))
	lines := clienttest.Must(s.unprotect("org/app@" + old.Digest.String()))
	if want := []string{"deleted org/app/web:nested-" + old.Digest.Encoded()[:12]}; !slices.Equal(lines, want) {
		t.Errorf("%q, want %q", lines, want)
	}
}

// TestUnprotectUnknown: what cannot be read may name a member; nothing is deleted.
func TestUnprotectUnknown(t *testing.T) {
	for name, spoil := range map[string]registrytest.Interceptor{
		"tags of the parent":  registrytest.Say(http.StatusForbidden, "application/json", `{"errors":[{"code":"DENIED"}]}`, registrytest.In("org/app"), registrytest.Of(registrytest.KindTags)),
		"tags of a member":    registrytest.Say(http.StatusInternalServerError, "text/plain", "no", registrytest.In("org/app/base"), registrytest.Of(registrytest.KindTags)),
		"another index":       registrytest.Say(http.StatusInternalServerError, "text/plain", "no", func(q registrytest.Request) bool { return q.Reference == "v2" }),
		"a list that is none": registrytest.Say(http.StatusOK, "application/json", "{}", registrytest.Of(registrytest.KindTags)),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.release("v1", "")
			s.release("v2", "")
			s.Intercept(spoil)
			if lines, err := s.unprotect("org/app:v1"); err == nil || len(lines) > 0 {
				t.Errorf("%q", lines)
			}
			if n := s.Count(registrytest.Method(http.MethodDelete)); n != 0 {
				t.Errorf("%d deletions", n)
			}
		})
	}
}
