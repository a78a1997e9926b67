package integration

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestCopyKeepsTheTag: members come before the index and its tag. When one of them is refused, or the index is too large
// for the registry, the tag is what it was, and the copy completes when it is run again.
func TestCopyKeepsTheTag(t *testing.T) {
	base := baseLayer(t)
	bundle := newBundle(t, member{"web", newImage(t, amd64, "web\n", base)}, member{"worker", newImage(t, amd64, "worker\n", base)})
	src := publishAt(t, startRegistry(t, nil), bundle)
	client := newNestctl(t, dockerConfig(t, nil, nil))
	for _, test := range []struct {
		name, at string // the repository that takes no manifest
		status   int
		words    []string
	}{
		{"member refused", "prod/shop/worker", http.StatusBadRequest, []string{"prod/shop/worker", "400"}},
		{"index too large", "prod/shop", http.StatusRequestEntityTooLarge, []string{"prod/shop", "413", "a limit below this size"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			dst := startRegistry(t, nil)
			before := newImage(t, amd64, "before\n", base)
			dst.pushNode(t, "prod/shop", "v1", before)
			var refusing atomic.Bool
			refusing.Store(true)
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				line := parseRequest(r)
				if refusing.Load() && line.Method == http.MethodPut && line.Kind == "manifests" && line.Repository == test.at {
					w.WriteHeader(test.status)
					return
				}
				dst.ServeHTTP(w, r)
			}))
			t.Cleanup(front.Close)
			to := strings.TrimPrefix(front.URL, "http://") + "/prod/shop:v1"
			tagged := func() string {
				t.Helper()
				return dst.get(t, "/v2/prod/shop/manifests/v1", "").header.Get("Docker-Content-Digest")
			}
			client.fails(t, exitFailure, test.words, "copy", "--plain-http", "--strategy", "reference", src.ref, to)
			if got := tagged(); got != before.desc.Digest.String() {
				t.Errorf("the tag is %s", got)
			}
			refusing.Store(false)
			dst.requests()
			client.copy(t, "--strategy", "reference", src.ref, to)
			dst.whole(t, "prod/shop", bundle)
			puts := only(dst.requests(), func(r request) bool { return r.Method == http.MethodPut })
			if last := puts[len(puts)-1]; last.Reference != "v1" || tagged() != bundle.desc.Digest.String() {
				t.Errorf("the last that was put is %+v, the tag %s", last, tagged())
			}
		})
	}
}

// TestCopySecrets: of two registries with the same repositories each sees its own user, and tokens that it knows.
func TestCopySecrets(t *testing.T) {
	bundle := newDeepApp(t)
	repositories := allRepositories("org/app", bundle)
	logins, servers := map[string]login{}, map[string]*registry{}
	for _, name := range []string{"one", "two"} {
		l := login{"user " + name, "canary of " + name}
		tokens := startTokenServer(t, map[string]user{l.username: {password: l.password, rights: pushes(repositories...)}})
		servers[l.username] = registryOptions{serve: (*httptest.Server).Start}.start(t, tokens)
		logins[servers[l.username].host] = l
	}
	src := publishAt(t, servers["user one"], bundle)
	client := newNestctl(t, dockerConfig(t, logins, nil))
	got := client.copy(t, "--strategy", "reference", src.ref, servers["user two"].ref("org/app", "v1"))
	if got.Digest != bundle.desc.Digest.String() {
		t.Errorf("copied %+v", got)
	}
	for name, reg := range servers {
		log := reg.requests()
		if strange := only(log, func(r request) bool { return r.Authorized && r.Status == http.StatusUnauthorized }); len(log) == 0 || len(strange) > 0 {
			t.Errorf("%s: %d requests; with strange tokens: %+v", name, len(log), strange)
		}
		for _, r := range reg.tokens.requests() {
			if r.User != name || r.Status != http.StatusOK {
				t.Errorf("%s was asked for a token: %+v", name, r)
			}
		}
	}
	index := servers["user two"].get(t, "/v2/org/app/manifests/v1", servers["user two"].tokens.adminToken(t, "org/app"))
	if !slices.Equal(index.body, bundle.data) || !strings.Contains(string(index.body), childNamespace) || index.header.Get("Content-Type") != ocispec.MediaTypeImageIndex {
		t.Errorf("the index is another one: %s", index.body)
	}
}
