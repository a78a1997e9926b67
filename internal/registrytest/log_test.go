package registrytest_test

import (
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/nestedoci/nested/internal/registrytest"
)

func TestLogTellsTheStory(t *testing.T) {
	r := start(t, registrytest.WithTokenAuth())
	populate(r)
	blob := r.PutBlob("org/app/web", "text/plain", []byte("0123456789"))

	get(t, r, "/v2/")
	pull(t, r, "")
	basic := tokenGET(t, r, "repository:org/app/web:pull")
	basic.SetBasicAuth("web-user", "secret")
	granted := tokenOf(t, do(t, r, basic))
	pull(t, r, granted)
	pull(t, r, "unknown")
	part := request(t, http.MethodGet, r.URL()+"/v2/org/app/web/blobs/"+blob.Digest.String())
	part.Header.Set("Range", "bytes=5-")
	part.Header.Set("Authorization", "Bearer "+granted)
	do(t, r, part)
	do(t, r, tokenGET(t, r, "repository:org/app:pull"))
	do(t, r, tokenPOST(t, r, url.Values{"grant_type": {"password"}, "username": {"other"}, "password": {"secret"}}))
	do(t, r, tokenPOST(t, r, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {"id"}}))
	get(t, r, "/nowhere")

	want := []string{
		"GET ping 401",
		"GET org/app/web manifest v1 401",
		"GET token repository:org/app/web:pull 200 (basic web-user)",
		"GET org/app/web manifest v1 200 (bearer web-user repository:org/app/web:pull)",
		"GET org/app/web manifest v1 401 (bearer anonymous)",
		"GET org/app/web blob sha256:84d89877f0d4… bytes=5- 206 (bearer web-user repository:org/app/web:pull)",
		"GET token repository:org/app:pull 200 (anonymous)",
		"POST token repository:org/app/web:pull 200 (password other)",
		"POST token repository:org/app/web:pull 200 (refresh_token <token>)",
		"GET other /nowhere 404",
	}
	if got := lines(r); !slices.Equal(got, want) {
		t.Errorf("log:\n%q\nwant:\n%q", got, want)
	}
}

func TestLogFields(t *testing.T) {
	r := start(t, registrytest.WithTokenAuth())
	populate(r)
	do(t, r, tokenPOST(t, r, url.Values{"grant_type": {"password"}, "username": {"web-user"}, "password": {"secret"}}))
	got := r.Log()[0]
	if got.Grant != "password" || got.User != "web-user" || got.Form.Get("password") != "secret" || got.Host != r.Host() {
		t.Errorf("token request %+v", got)
	}
	if want := []string{"repository:org/app/web:pull"}; !slices.Equal(got.Scopes, want) {
		t.Errorf("scopes %q, want %q", got.Scopes, want)
	}

	r.ResetLog()
	pull(t, r, "abc")
	got = r.Log()[0]
	if got.Authorization != "Bearer abc" || got.Scheme != "Bearer" || got.Repository != "org/app/web" || got.Reference != "v1" {
		t.Errorf("request %+v", got)
	}
}

func TestCount(t *testing.T) {
	r := start(t)
	populate(r)
	get(t, r, "/v2/org/app/web/manifests/v1")
	do(t, r, request(t, http.MethodHead, r.URL()+"/v2/org/app/web/manifests/v1"))
	get(t, r, "/v2/org/app/manifests/v1")
	tests := []struct {
		filters []registrytest.Filter
		want    int
	}{
		{nil, 3},
		{[]registrytest.Filter{registrytest.Of(registrytest.KindBlob)}, 0},
		{[]registrytest.Filter{registrytest.In("org/app/web")}, 2},
		{[]registrytest.Filter{registrytest.In("org/app/web"), registrytest.Method(http.MethodHead)}, 1},
		{[]registrytest.Filter{registrytest.WithCredentials}, 0},
	}
	for i, test := range tests {
		if got := r.Count(test.filters...); got != test.want {
			t.Errorf("%d: counted %d, want %d", i, got, test.want)
		}
	}
}

func TestConnections(t *testing.T) {
	r := start(t)
	one := client(t, r)
	for range 3 {
		got, err := one.Do(request(t, http.MethodHead, r.URL()+"/v2/"))
		if err != nil {
			t.Fatal(err)
		}
		got.Body.Close()
	}
	if got := r.Connections(); got != 1 {
		t.Errorf("%d connections, want 1", got)
	}
	get(t, r, "/v2/") // a client of its own
	if got := r.Connections(); got != 2 {
		t.Errorf("%d connections, want 2", got)
	}
}

func TestLogIsCompleteWhenAnswersAre(t *testing.T) {
	r := start(t)
	populate(r)
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			get(t, r, "/v2/org/app/web/manifests/v1")
			r.Log()
		})
	}
	group.Wait()
	ok := func(q registrytest.Request) bool { return q.Status == http.StatusOK }
	if got := r.Count(ok); got != 20 {
		t.Errorf("%d requests logged with their status, want 20", got)
	}
}

func lines(r *registrytest.Registry) []string {
	var all []string
	for _, q := range r.Log() {
		all = append(all, q.String())
	}
	return all
}
