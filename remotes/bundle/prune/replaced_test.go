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
			clean := func(dryRun bool) (lines []string) {
				clienttest.NoError(t, prune.CleanUp(t.Context(), s.client, s.parent, e, []string{"v1"}, dryRun, func(line string) error {
					lines = append(lines, line)
					return nil
				}))
				return lines
			}
			s.ResetLog()
			would := clean(true)
			if n := s.Count(registrytest.Method(http.MethodDelete)); n != 0 {
				t.Errorf("%d deletions in a dry run", n)
			}
			clienttest.Must(e.Publish(t.Context(), []string{"v1"}, bundle.PublishOptions{Strategy: nested.Carrier}))
			did := clean(false)
			if !slices.Equal(would, asDryRun(did)) {
				t.Errorf("would have\n%s\ndid\n%s", strings.Join(would, "\n"), strings.Join(did, "\n"))
			}
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
