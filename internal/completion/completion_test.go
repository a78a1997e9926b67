package completion_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/completion"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestRepository: a reference has a repository to ask about once its colon is typed.
func TestRepository(t *testing.T) {
	for typed, want := range map[string]string{
		"reg.test/org/app:":       "reg.test/org/app",
		"reg.test:5000/org/app:v": "reg.test:5000/org/app",
		"alpine:":                 "docker.io/library/alpine",
		"reg.test/org/app":        "",
		"reg.test:5000/org":       "",
		"reg.test:5000":           "",
		"reg.test/a@sha256:":      "",
		"reg.test/Org/app:":       "",
		"localhost:5":             "",
		"lock:":                   "",
		"lock:app":                "",
		"lock:5000/org/app:v":     "lock:5000/org/app",
		"oci-layout:":             "",
		"oci-archive:app.tar:v":   "",
		"oci-layout:dir/app:":     "",
		"oci-reg.test/org/app:v":  "oci-reg.test/org/app",
		":":                       "",
		"":                        "",
	} {
		got, before, ok := completion.Repository(typed)
		if ok != (want != "") || ok && (got.String() != want || !strings.HasPrefix(typed, before)) {
			t.Errorf("%s: got %s, %q, %t, want %s", typed, got, before, ok, want)
		}
	}
}

// TestTagsAndMembers: of tags those that are for people, of members those of members too, even of an index in itself.
func TestTagsAndMembers(t *testing.T) {
	r := clienttest.NewRegistry(t)
	inner := r.Index("org/app/sub", registrytest.Member(r.Image("org/app/sub/db", registrytest.TarLayer(nil)), "db"))
	index := r.Index("org/app", registrytest.Member(r.Image("org/app/web", registrytest.TarLayer(nil)), "web"), registrytest.Member(inner, "sub"))
	for _, tag := range []string{"v2", "v1", "nested-0123456789ab", "latest"} {
		r.Tag("org/app", tag, index.Digest)
	}
	client := registry.New(registry.Options{PlainHTTP: true, Credentials: auth.NewStores(auth.StoresOptions{})})
	defer client.CloseIdleConnections()
	repository := r.Host() + "/org/app"
	if got, want := completion.Tags(t.Context(), client, repository+":v"), []string{repository + ":v1", repository + ":v2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := completion.Tags(t.Context(), client, repository+":"); len(got) != 3 {
		t.Errorf("got %q", got)
	}
	ref, err := auth.ParseReference(repository + ":v1")
	clienttest.NoError(t, err)
	if got, want := completion.Members(t.Context(), nested.New(client, nested.Options{}), ref), []string{"sub", "sub/db", "web"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestPatience: a registry that does not answer offers nothing, soon.
func TestPatience(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer silent.Close()
	client := registry.New(registry.Options{PlainHTTP: true, Credentials: auth.NewStores(auth.StoresOptions{})})
	defer client.CloseIdleConnections()
	began := time.Now()
	if got := completion.Tags(t.Context(), client, strings.TrimPrefix(silent.URL, "http://")+"/org/app:"); got != nil || time.Since(began) > 5*completion.Patience {
		t.Errorf("got %q after %v", got, time.Since(began))
	}
}
