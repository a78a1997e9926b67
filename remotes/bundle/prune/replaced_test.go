package prune_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/bundle/prune"
	"github.com/nestedoci/nested/remotes/nested"
)

// cleanUp publishes an edit of v1 and cleans up, and returns the lines, which a dry run before has to list.
func (s *scene) cleanUp(e *bundle.Edit) []string {
	s.t.Helper()
	clean := func(dryRun bool) (lines []string) {
		clienttest.NoError(s.t, prune.CleanUp(s.t.Context(), s.client, s.parent, e, []string{"v1"}, dryRun, func(line string) error {
			lines = append(lines, line)
			return nil
		}))
		return lines
	}
	s.ResetLog()
	would := clean(true)
	if n := s.Count(registrytest.Method(http.MethodDelete)); n != 0 {
		s.t.Errorf("%d deletions in a dry run", n)
	}
	clienttest.Must(e.Publish(s.t.Context(), []string{"v1"}, bundle.PublishOptions{Strategy: nested.Carrier}))
	did := clean(false)
	if !slices.Equal(would, asDryRun(did)) {
		s.t.Errorf("would have\n%s\ndid\n%s", strings.Join(would, "\n"), strings.Join(did, "\n"))
	}
	return did
}

// TestCleanUp: with a member that is removed goes the old index, and what nothing else names; a dry run, before the new
// index is there, lists the same.
func TestCleanUp(t *testing.T) {
	for name, test := range map[string]struct {
		keep                  func(s *scene, web ocispec.Descriptor, old digest.Digest)
		indexGoes, memberGoes bool
	}{
		"nothing":         {func(*scene, ocispec.Descriptor, digest.Digest) {}, true, true},
		"another tag":     {func(s *scene, _ ocispec.Descriptor, old digest.Digest) { s.Tag("org/app", "latest", old) }, false, false},
		"an index above":  {func(s *scene, _ ocispec.Descriptor, old digest.Digest) { s.Tag("org/app", "nested-0123456789ab", old) }, false, false},
		"a tag of a user": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) { s.Tag("org/app/web", "stable", web.Digest) }, true, false},
		"another index": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) {
			s.Tag("org/app", "v2", s.Index("org/app", registrytest.Member(web, "web")).Digest)
		}, true, false},
		"an index in the middle": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) {
			s.Tag("org/app/web", "all", s.Index("org/app/web", web).Digest)
		}, true, false},
		"an index without a tag": {func(s *scene, web ocispec.Descriptor, _ digest.Digest) {
			s.Index("org/app", registrytest.Member(web, "web"), web)
		}, true, true},
		"the index, in a carrier": {nil, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.Intercept(s.Pushes(false))
			web := s.release("v1", "")
			at := clienttest.Must(auth.ParseReference(s.Host() + "/org/app:v1"))
			if test.keep == nil {
				other := clienttest.Must(bundle.EditIndex(t.Context(), s.client, at))
				clienttest.Must(other.Publish(t.Context(), []string{"v1"}, bundle.PublishOptions{Strategy: nested.Carrier}))
				s.Delete("org/app", other.Was())
			}
			old := clienttest.Must(s.client.Digest(t.Context(), s.parent, "v1"))
			if test.keep != nil {
				test.keep(s, web, old)
			}
			e := clienttest.Must(bundle.EditIndex(t.Context(), s.client, at))
			clienttest.NoError(t, e.Remove("web"))
			did := s.cleanUp(e)
			if got := !s.has("org/app/web", web); got != test.memberGoes {
				t.Errorf("the member is gone: %t\n%s", got, strings.Join(did, "\n"))
			}
			if got := !s.has("org/app", ocispec.Descriptor{Digest: old}); got != test.indexGoes {
				t.Errorf("the old index is gone: %t\n%s", got, strings.Join(did, "\n"))
			}
			s.complete("org/app:v1")
		})
	}
}

// TestCleanUpOfNewMembers: what the new index names stays, whether it was added, replaced, or made anew over the tag; a dry
// run, before the new index is there, lists the same.
func TestCleanUpOfNewMembers(t *testing.T) {
	type edit func(s *scene, at auth.Reference, web ocispec.Descriptor) *bundle.Edit
	source := func(s *scene, repository string, d ocispec.Descriptor) []bundle.IndexSource {
		return []bundle.IndexSource{{Reference: clienttest.Must(auth.ParseReference(s.Host() + "/" + repository + "@" + d.Digest.String()))}}
	}
	add := func(s *scene, at auth.Reference, repository string, d ocispec.Descriptor) *bundle.Edit {
		e := clienttest.Must(bundle.EditIndex(s.t.Context(), s.client, at))
		clienttest.NoError(s.t, e.Add(s.t.Context(), source(s, repository, d), bundle.AddOptions{Replace: true}))
		return e
	}
	create := func(s *scene, at auth.Reference, repository string, d ocispec.Descriptor) *bundle.Edit {
		e := bundle.NewIndex(s.client, s.parent)
		clienttest.NoError(s.t, prune.Replace(s.t.Context(), s.client, at, e))
		clienttest.NoError(s.t, e.Add(s.t.Context(), source(s, repository, d), bundle.AddOptions{}))
		return e
	}
	for name, test := range map[string]struct {
		edit                          edit
		indexGoes, webGoes, baseStays bool
	}{
		"add": {func(s *scene, at auth.Reference, _ ocispec.Descriptor) *bundle.Edit {
			return add(s, at, "org/app/data", s.image("org/app/data", "data", ""))
		}, true, false, true},
		"replace": {func(s *scene, at auth.Reference, _ ocispec.Descriptor) *bundle.Edit {
			return add(s, at, "org/app/web", s.image("org/app/web", "new", ""))
		}, true, true, true},
		"replace by the same": {func(s *scene, at auth.Reference, web ocispec.Descriptor) *bundle.Edit {
			return add(s, at, "org/app/web", web)
		}, true, false, true},
		"replace by an index of it": {func(s *scene, at auth.Reference, web ocispec.Descriptor) *bundle.Edit {
			return add(s, at, "org/app/web", s.Index("org/app/web", web))
		}, true, false, true},
		"create": {func(s *scene, at auth.Reference, _ ocispec.Descriptor) *bundle.Edit {
			return create(s, at, "org/app/web", s.image("org/app/web", "new", ""))
		}, true, true, false},
		"create with the same": {func(s *scene, at auth.Reference, web ocispec.Descriptor) *bundle.Edit {
			return create(s, at, "org/app/web", web)
		}, true, false, false},
		"create again": {func(s *scene, at auth.Reference, web ocispec.Descriptor) *bundle.Edit {
			clienttest.Must(create(s, at, "org/app/web", web).Publish(s.t.Context(), []string{"v1"}, bundle.PublishOptions{Strategy: nested.Carrier}))
			return create(s, at, "org/app/web", web)
		}, false, false, true},
		"create over nothing": {func(s *scene, _ auth.Reference, _ ocispec.Descriptor) *bundle.Edit {
			none := clienttest.Must(auth.ParseReference(s.Host() + "/org/app:none"))
			return create(s, none, "org/app/web", s.image("org/app/web", "new", ""))
		}, false, false, true},
		"create over an image": {func(s *scene, at auth.Reference, _ ocispec.Descriptor) *bundle.Edit {
			s.Tag("org/app", "v1", s.image("org/app", "plain", "").Digest)
			return create(s, at, "org/app/web", s.image("org/app/web", "new", ""))
		}, false, false, true},
		"create over a plain index": {func(s *scene, at auth.Reference, _ ocispec.Descriptor) *bundle.Edit {
			s.Tag("org/app", "v1", s.Index("org/app", s.image("org/app", "plain", "")).Digest)
			return create(s, at, "org/app/web", s.image("org/app/web", "new", ""))
		}, false, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.Intercept(s.Pushes(false))
			web := s.release("v1", "")
			base := s.image("org/app/base", "base", "")
			e := test.edit(s, clienttest.Must(auth.ParseReference(s.Host()+"/org/app:v1")), web)
			old := clienttest.Must(s.client.Digest(t.Context(), s.parent, "v1"))
			did := s.cleanUp(e)
			for what, is := range map[string][2]bool{
				"the old index": {!s.has("org/app", ocispec.Descriptor{Digest: old}), test.indexGoes},
				"web":           {!s.has("org/app/web", web), test.webGoes},
				"base":          {!s.has("org/app/base", base), !test.baseStays},
			} {
				if is[0] != is[1] {
					t.Errorf("%s is gone: %t\n%s", what, is[0], strings.Join(did, "\n"))
				}
			}
			s.complete("org/app:v1")
		})
	}
}
