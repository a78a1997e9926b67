package find

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// claims are what an index in a child can say of content that is none of its own.
var claims = map[string]func(of ocispec.Descriptor) []ocispec.Descriptor{
	"the truth": func(d ocispec.Descriptor) []ocispec.Descriptor {
		return []ocispec.Descriptor{d, registrytest.Member(d, "x0")}
	},
	"another size": func(d ocispec.Descriptor) []ocispec.Descriptor {
		d.Size++
		return []ocispec.Descriptor{d}
	},
	"another media type": func(d ocispec.Descriptor) []ocispec.Descriptor {
		d.MediaType = map[bool]string{true: "application/octet-stream", false: ocispec.MediaTypeImageIndex}[oci.IsManifestOrIndex(d.MediaType)]
		return []ocispec.Descriptor{d}
	},
	"another index": func(d ocispec.Descriptor) []ocispec.Descriptor {
		d.MediaType = map[bool]string{true: ocispec.MediaTypeImageManifest, false: ocispec.MediaTypeImageIndex}[strings.Contains(d.MediaType, "index")]
		return []ocispec.Descriptor{d}
	},
	"twelve child namespaces": func(d ocispec.Descriptor) (all []ocispec.Descriptor) {
		for i := range 12 {
			all = append(all, registrytest.Member(d, fmt.Sprint("x", i)))
		}
		return all
	},
	"all of that": func(d ocispec.Descriptor) (all []ocispec.Descriptor) {
		for i := range 12 {
			d.Size++
			all = append(all, d, registrytest.Member(d, fmt.Sprint("x", i)))
		}
		return all
	},
}

// victims publishes two bundles and a plain image, and an index in worker that says something of all their content and
// is a member of a third bundle. They are the descriptors of that content.
func (s *scene) victims(says func(ocispec.Descriptor) []ocispec.Descriptor) (all []ocispec.Descriptor) {
	s.T.Helper()
	first := s.Publish()
	second := s.Registry.Index("org/app", registrytest.Member(s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "2"})), "web"))
	s.Registry.Tag("org/app", "v2", second.Digest)
	image := s.Registry.Image("org/app", registrytest.TarLayer(map[string]string{"plain": "1"}))
	s.Registry.Tag("org/app", "plain", image.Digest)
	todo := []ocispec.Descriptor{first, second, image}
	for ; len(todo) > 0; todo = todo[1:] {
		all = append(all, todo[0])
		if oci.IsManifestOrIndex(todo[0].MediaType) {
			todo = append(todo, s.Children(s.Registry.Body(todo[0].Digest))...)
		}
	}
	lies := []ocispec.Descriptor{registrytest.Member(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("nothing"), Size: 7}, "one")}
	for _, d := range all {
		lies = append(lies, says(d)...)
	}
	evil := s.Registry.Index("org/app/worker", lies...)
	s.Registry.Tag("org/app", "evil", s.Registry.Index("org/app", registrytest.Member(evil, "worker")).Digest)
	s.Registry.Tag("org/app/worker", "evil", evil.Digest)
	return all
}

// poison has the gateway learn the claims.
func (s *scene) poison() {
	s.T.Helper()
	index := s.Do(http.MethodGet, "/v2/org/app/manifests/evil")
	if got := s.Get("manifests", s.Children(index.Body)[0].Digest); got.Status != http.StatusOK {
		s.T.Fatalf("%+v", got)
	}
}

// wantAll asks straight for content, as a client that has what names it, and for the tags.
func (s *scene) wantAll(all ...ocispec.Descriptor) {
	s.T.Helper()
	for _, d := range all {
		kind := "blobs"
		if oci.IsManifestOrIndex(d.MediaType) {
			kind = "manifests"
		}
		got := s.Get(kind, d.Digest)
		if got.Status != http.StatusOK || digest.FromString(got.Body) != d.Digest || kind == "manifests" && got.Header.Get("Content-Type") != d.MediaType {
			s.T.Errorf("%s %s: %d %s %.500s", d.MediaType, d.Digest, got.Status, got.Header.Get("Content-Type"), got.Body)
		}
		if head := s.Do(http.MethodHead, "/v2/org/app/"+kind+"/"+string(d.Digest)); head.Status != http.StatusOK || head.Header.Get("Content-Length") != fmt.Sprint(d.Size) {
			s.T.Errorf("HEAD of %s %s: %d, %s bytes", d.MediaType, d.Digest, head.Status, head.Header.Get("Content-Length"))
		}
	}
}

// eachClaim runs a test for each claim, and for the worst in mode pod, and where the claimed places answer otherwise.
func eachClaim(t *testing.T, test func(t *testing.T, s *scene, says func(ocispec.Descriptor) []ocispec.Descriptor)) {
	t.Helper()
	run := func(name string, mode frontMode, answer int) {
		t.Run(fmt.Sprint(name, " ", answer), func(t *testing.T) {
			s := newScene(t, mode)
			if mode == pod {
				s.User = [2]string{"all", "all-secret"}
				s.Registry.Allow("all", "all-secret", "org/app", "org/app/web", "org/app/worker", "org/app/a", "org/app/a/b")
			}
			s.Registry.Intercept(registrytest.Answer(answer, nil, registrytest.WithCredentials, func(q registrytest.Request) bool {
				return strings.HasPrefix(q.Repository, "org/app/worker/") || q.Repository == "org/app/worker" && q.Kind == registrytest.KindBlob
			}))
			test(t, s, claims[strings.TrimPrefix(name, "pod, ")])
		})
	}
	for name := range claims {
		run(name, node, http.StatusNotFound)
	}
	run("all of that", node, http.StatusForbidden)
	run("all of that", node, http.StatusBadRequest)
	run("pod, all of that", pod, http.StatusNotFound)
	run("pod, all of that", pod, http.StatusForbidden)
}

// TestClaimsChangeNothingKnown: what an index in one child says of content of others and of the parent changes nothing of
// what is known, now and after a restart.
func TestClaimsChangeNothingKnown(t *testing.T) {
	t.Parallel()
	eachClaim(t, func(t *testing.T, s *scene, says func(ocispec.Descriptor) []ocispec.Descriptor) {
		all := s.victims(says)
		for _, tag := range []string{"v1", "v2", "plain"} {
			s.Pull(tag)
		}
		parent := s.repository("org/app")
		roots := fmt.Sprint(s.Locations.Roots(parent, locations.MaxRoots))
		s.poison()
		s.wantAll(all...)
		if got := s.Locations.Roots(parent, locations.MaxRoots); !strings.Contains(fmt.Sprint(got), roots[1:len(roots)-1]) || len(got) != 3 {
			t.Errorf("the roots are %v, and were %s", got, roots)
		}
		s.Server.Close()
		if err := s.Locations.Close(); err != nil {
			t.Fatal(err)
		}
		s.start(s.File)
		s.Registry.ResetLog()
		s.wantAll(all...)
		for _, q := range s.Registry.Log(registrytest.Below("org/app/worker")) {
			t.Errorf("a claimed place was asked: %s", q)
		}
	})
}

// TestClaimsHideNothingUnknown: nor do they hide what is not known yet, from a client that goes through a bundle or one that
// has its indexes; what was found is known from then on.
func TestClaimsHideNothingUnknown(t *testing.T) {
	t.Parallel()
	eachClaim(t, func(t *testing.T, s *scene, says func(ocispec.Descriptor) []ocispec.Descriptor) {
		all := s.victims(says)
		for _, d := range slices.Backward(extremes(all)) { // blobs first: nobody has asked for what names them
			s.Server.Close()
			_ = s.Locations.Close()
			s.start(filepath.Join(t.TempDir(), "locations"))
			s.poison()
			s.wantAll(d)
		}
		s.wantAll(all...)
		for _, tag := range []string{"v1", "v2", "plain"} {
			s.Pull(tag)
		}
	})
}

// TestClaimsHideNoReferrers: who claims to have content hides nothing that refers to it where it is, and only adds to what is
// known.
func TestClaimsHideNoReferrers(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"before": false, "behind": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, node)
			all := s.victims(claims["the truth"])
			repositories := map[digest.Digest]string{all[0].Digest: "org/app", all[2].Digest: "org/app"} // a root, and a plain image
			if known {
				for _, tag := range []string{"v1", "plain"} {
					s.Pull(tag)
				}
				web := s.Children(s.Registry.Body(all[0].Digest))[0]
				repositories[web.Digest] = "org/app/web"
			}
			for d, at := range repositories { // each of the claimed places has the content itself, and nothing that refers to it
				for _, claimed := range []string{"org/app/worker", "org/app/worker/x0"} {
					i := slices.IndexFunc(all, func(a ocispec.Descriptor) bool { return a.Digest == d })
					s.Registry.Put(claimed, all[i].MediaType, []byte(s.Registry.Body(d)))
				}
				signature := s.Registry.Referrer(at, all[slices.IndexFunc(all, func(a ocispec.Descriptor) bool { return a.Digest == d })], "application/x-signature")
				s.Registry.Tag(at, strings.Replace(string(d), ":", "-", 1), signature.Digest)
			}
			s.poison()
			for d, at := range repositories {
				if got := s.Get("referrers", d); got.Status != http.StatusOK || !strings.Contains(got.Body, "application/x-signature") {
					t.Errorf("referrers in %s: %+v", at, got)
				}
				if got := s.Do(http.MethodGet, "/v2/org/app/manifests/"+strings.Replace(string(d), ":", "-", 1)); got.Status != http.StatusOK {
					t.Errorf("their tag in %s: %+v", at, got)
				}
			}
		})
	}
}

// extremes are the outermost and the innermost of each media type.
func extremes(all []ocispec.Descriptor) []ocispec.Descriptor {
	same := func(d ocispec.Descriptor) func(ocispec.Descriptor) bool {
		return func(o ocispec.Descriptor) bool { return o.MediaType == d.MediaType }
	}
	var some []ocispec.Descriptor
	for i, d := range all {
		if !slices.ContainsFunc(all[:i], same(d)) || !slices.ContainsFunc(all[i+1:], same(d)) {
			some = append(some, d)
		}
	}
	return some
}
