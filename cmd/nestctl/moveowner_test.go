package main

import (
	"bytes"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/registrytest"
)

// pushScene is a registry to which anybody may push, without tokens.
func pushScene(t *testing.T, options ...registrytest.Option) *registrytest.Registry {
	t.Helper()
	ownCredentials(t)
	r := clienttest.NewRegistry(t, options...)
	r.Intercept(r.Pushes(false))
	return r
}

// copyWith copies a bundle, and returns the exit status and what it said.
func copyWith(t *testing.T, args ...string) (int, string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), append([]string{"copy", "--plain-http", "--hosts-dir=", "-q"}, args...), &stdout, &stderr)
	return status, stdout.String() + stderr.String()
}

// holds reports whether a repository has content, as a manifest or as a blob.
func holds(t *testing.T, r *registrytest.Registry, repository string, d digest.Digest) bool {
	t.Helper()
	for _, kind := range []string{"manifests", "blobs"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, r.URL()+"/v2/"+repository+"/"+kind+"/"+d.String(), http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		client := r.Client()
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		client.CloseIdleConnections()
		if resp.StatusCode == http.StatusOK {
			return true
		}
	}
	return false
}

// TestCopyGivesNobodyMore: who may push to a child, and knows a digest, gets nothing of the parent or of another child into
// the copied child, in whatever kind of content they name it.
func TestCopyGivesNobodyMore(t *testing.T) {
	const evil = "application/vnd.test.evil"
	for name, test := range map[string]struct {
		// put names private content in the child c, and returns what is private
		put  func(r *registrytest.Registry) (member ocispec.Descriptor, private []digest.Digest)
		says []string // empty: it is copied, to where it was found
	}{
		"layer of the parent": {func(r *registrytest.Registry) (ocispec.Descriptor, []digest.Digest) {
			private := r.PutBlob("org/app", "application/x-test", []byte("private"))
			return r.Artifact("org/app/c", evil, private), []digest.Digest{private.Digest}
		}, []string{"org/app/c@sha256:", "/org/app has it", "push it to", "--from-parents"}},
		"layer of another child": {func(r *registrytest.Registry) (ocispec.Descriptor, []digest.Digest) {
			private := r.PutBlob("org/app/web", "application/x-test", []byte("private"))
			return r.Artifact("org/app/c", evil, private), []digest.Digest{private.Digest}
		}, []string{"org/app/c@sha256:", "not found"}},
		"image of the parent, by an index": {func(r *registrytest.Registry) (ocispec.Descriptor, []digest.Digest) {
			layer := r.PutBlob("org/app", "application/x-test", []byte("private"))
			private := r.Artifact("org/app", evil, layer)
			return r.Index("org/app/c", registrytest.Member(private, "d")), []digest.Digest{private.Digest, layer.Digest}
		}, nil},
		"an index of the parent": {func(r *registrytest.Registry) (ocispec.Descriptor, []digest.Digest) {
			layer := r.PutBlob("org/app", "application/x-test", []byte("private"))
			image := r.Artifact("org/app", evil, layer)
			private := r.Index("org/app", image)
			return r.Index("org/app/c", private), []digest.Digest{private.Digest, image.Digest, layer.Digest}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			src, dst := pushScene(t), pushScene(t)
			web := src.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
			member, private := test.put(src)
			src.Tag("org/app", "v1", src.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(member, "c")).Digest)
			for _, to := range []*registrytest.Registry{dst, src} { // by upload, and by mount
				for _, flags := range [][]string{nil, {"--flatten"}, {"--sparse"}, {"--referrers"}} {
					status, said := copyWith(t, append(flags, src.Host()+"/org/app:v1", to.Host()+"/prod/app:v1")...)
					if (status == 0) != (test.says == nil) || !containsAll(said, test.says) {
						t.Errorf("%s: exit status %d: %s", flags, status, said)
					}
					for _, d := range private {
						for _, at := range []string{"prod/app/c", "prod/app/c/d", "prod/app/web"} {
							if holds(t, to, at, d) {
								t.Errorf("%s: %s has the private %s", flags, at, d)
							}
						}
						if test.says == nil && !holds(t, to, "prod/app", d) {
							t.Errorf("%s: %s is not where it was found", flags, d)
						}
					}
				}
			}
		})
	}
}

func containsAll(text string, words []string) bool {
	return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(text, word) })
}

// TestCopyFromParents: a publisher who means it gives a member what only the parent has.
func TestCopyFromParents(t *testing.T) {
	for _, within := range []bool{false, true} {
		src, dst := pushScene(t), pushScene(t)
		if within {
			dst = src
		}
		layer := src.PutBlob("org/app", "application/x-test", []byte("shared"))
		member := src.Artifact("org/app/c", "application/vnd.test", layer)
		src.Tag("org/app", "v1", src.Index("org/app", registrytest.Member(member, "c")).Digest)
		if status, said := copyWith(t, "--from-parents", src.Host()+"/org/app:v1", dst.Host()+"/prod/app:v1"); status != 0 {
			t.Errorf("exit status %d: %s", status, said)
		}
		if !holds(t, dst, "prod/app/c", member.Digest) || !holds(t, dst, "prod/app/c", layer.Digest) {
			t.Error("the member is not complete")
		}
	}
}

// TestCopyMemberInParent: a member that is only in the parent is copied to the parent, with what belongs to it and what
// refers to it, and is pulled from there.
func TestCopyMemberInParent(t *testing.T) {
	src, dst := pushScene(t), pushScene(t)
	layer := src.PutBlob("org/app", "application/x-test", []byte("a layer"))
	copied := src.Artifact("org/app", "application/vnd.test", layer)
	signature := src.Referrer("org/app", copied, "application/vnd.test.signature", src.PutBlob("org/app", "application/x-test", []byte("signed")))
	web := src.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	src.Tag("org/app", "v1", src.Index("org/app", registrytest.Member(copied, "c"), registrytest.Member(web, "web")).Digest)
	status, said := copyWith(t, "--referrers", src.Host()+"/org/app:v1", dst.Host()+"/prod/app:v1")
	if status != 0 || !strings.Contains(said, "/prod/app@"+copied.Digest.String()) || !strings.Contains(said, "/prod/app/web@"+web.Digest.String()) {
		t.Fatalf("exit status %d: %s", status, said)
	}
	for _, d := range []digest.Digest{copied.Digest, layer.Digest, signature.Digest} {
		if !holds(t, dst, "prod/app", d) || holds(t, dst, "prod/app/c", d) {
			t.Errorf("%s: in the parent %v, in the child %v", d, holds(t, dst, "prod/app", d), holds(t, dst, "prod/app/c", d))
		}
	}
	if status, said := copyWith(t, dst.Host()+"/prod/app:v1", "oci-layout:"+filepath.Join(t.TempDir(), "layout")); status != 0 {
		t.Errorf("it does not pull: %d %s", status, said)
	}
}

// TestCopyReferrersOfAnother: what refers to content of one member goes to that member's readers alone, also when another
// member names the same content.
func TestCopyReferrersOfAnother(t *testing.T) {
	src, dst := pushScene(t), pushScene(t)
	image := src.Image("org/app/a", registrytest.TarLayer(map[string]string{"a": "1"}))
	if other := src.Image("org/app/b", registrytest.TarLayer(map[string]string{"a": "1"})); other.Digest != image.Digest {
		t.Fatal("two images")
	}
	private := src.PutBlob("org/app/a", "application/x-test", []byte("private"))
	signature := src.Referrer("org/app/a", image, "application/vnd.test.signature", private)
	src.Tag("org/app", "v1", src.Index("org/app", registrytest.Member(image, "a"), registrytest.Member(image, "b")).Digest)
	if status, said := copyWith(t, "--referrers", src.Host()+"/org/app:v1", dst.Host()+"/prod/app:v1"); status != 0 {
		t.Fatalf("exit status %d: %s", status, said)
	}
	for _, d := range []digest.Digest{signature.Digest, private.Digest} {
		if !holds(t, dst, "prod/app/a", d) || holds(t, dst, "prod/app/b", d) {
			t.Errorf("%s: in a %v, in b %v", d, holds(t, dst, "prod/app/a", d), holds(t, dst, "prod/app/b", d))
		}
	}
}

// TestCopyToLayoutOwner: a layout has one place for all, so what only another member's repository has does not come into
// one by copy: from there it could be copied anywhere.
func TestCopyToLayoutOwner(t *testing.T) {
	src := pushScene(t)
	private := src.PutBlob("org/app/a", "application/x-test", []byte("private"))
	a, c := src.Artifact("org/app/a", "application/vnd.test", private), src.Artifact("org/app/c", "application/vnd.test.evil", private)
	src.Tag("org/app", "v1", src.Index("org/app", registrytest.Member(a, "a"), registrytest.Member(c, "c")).Digest)
	status, said := copyWith(t, src.Host()+"/org/app:v1", "oci-layout:"+filepath.Join(t.TempDir(), "layout"))
	if status != int(notFound) || !containsAll(said, []string{"org/app/c@sha256:", "another member's repository", "push it to"}) {
		t.Errorf("exit status %d: %s", status, said)
	}
}

// TestCopyReferrersWithoutAPI: signatures come along from a registry that answers requests for referrers with a web page,
// as GitLab's does, or denies the path, and are listed at one without the API.
func TestCopyReferrersWithoutAPI(t *testing.T) {
	for _, answer := range []func(http.ResponseWriter){
		func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html")
			_, _ = w.Write([]byte("<html>Sign in</html>"))
		},
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusForbidden) },
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) },
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
	} {
		src, dst := pushScene(t), pushScene(t)
		for _, r := range []*registrytest.Registry{src, dst} {
			r.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
				if registrytest.Describe(req).Kind != registrytest.KindReferrers {
					return false
				}
				answer(w)
				return true
			})
		}
		web := src.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
		root := src.Index("org/app", registrytest.Member(web, "web"))
		src.Tag("org/app", "v1", root.Digest)
		want := map[string]ocispec.Descriptor{
			"web": src.Referrer("org/app/web", web, "application/vnd.test.signature"),
			"":    src.Referrer("org/app", root, "application/vnd.test.signature"),
		}
		src.PutBlob("org/app/web", "application/vnd.oci.empty.v1+json", []byte("{}"))
		src.PutBlob("org/app", "application/vnd.oci.empty.v1+json", []byte("{}"))
		src.Tag("org/app/web", oci.ReferrersTag(web.Digest), src.Index("org/app/web", want["web"]).Digest)
		src.Tag("org/app", oci.ReferrersTag(root.Digest), src.Index("org/app", want[""]).Digest)
		for range 2 { // and when it is there already
			if status, said := copyWith(t, "--referrers", src.Host()+"/org/app:v1", dst.Host()+"/prod/app:v1"); status != 0 {
				t.Fatalf("exit status %d: %s", status, said)
			}
		}
		status, said := copyWith(t, "--referrers", dst.Host()+"/prod/app:v1", "oci-layout:"+filepath.Join(t.TempDir(), "layout"))
		if status != 0 || !holds(t, dst, "prod/app/web", want["web"].Digest) || !holds(t, dst, "prod/app", want[""].Digest) {
			t.Errorf("exit status %d: %s", status, said)
		}
		for at, of := range map[string]digest.Digest{"prod/app/web": web.Digest, "prod/app": root.Digest} {
			client := dst.Client()
			resp, err := client.Get(dst.URL() + "/v2/" + at + "/manifests/" + oci.ReferrersTag(of))
			if err != nil {
				t.Fatal(err)
			}
			var list bytes.Buffer
			_, _ = list.ReadFrom(resp.Body)
			_ = resp.Body.Close()
			client.CloseIdleConnections()
			if n := strings.Count(list.String(), "application/vnd.test.signature"); n != 1 {
				t.Errorf("%s: listed %d times: %s", at, n, &list)
			}
		}
	}
}
