package transport

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/registry"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// following is a client of a registry that knows nothing of child namespaces, with a Transport below it.
type following struct {
	*fronttest.Scene
	transport *Transport
	base      *http.Transport
	user      string
	token     string         // as the client has got it, for one repository
	from      map[string]int // how many answers came from another repository, by that
	memory    *find.Memory
}

func newFollowing(t *testing.T, options ...registrytest.Option) *following {
	t.Helper()
	f := &following{Scene: fronttest.New(t, options...), from: map[string]int{}}
	members := registry.Options{Credentials: fronttest.PerRepository(t, f.Registry)}
	f.base = &http.Transport{}
	f.memory = find.NewMemory(find.DefaultMemory)
	var err error
	if f.transport, err = New(f.base, members, find.Options{SearchRequests: 100, Prefetch: 64, Memory: f.memory, Hopped: func(ctx context.Context, from auth.Repository) {
		if ctx.Value(f) != nil { // of the client's own
			f.from[from.String()]++
		}
	}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		f.transport.CloseIdleConnections()
		if err := f.transport.Close(); err != nil {
			t.Error(err)
		}
		fronttest.CheckMemory(t, f.memory.Used)
	})
	f.user = "user of org/app"
	return f
}

// ask asks as clients do: for a token when it is told to, and once more.
func (f *following) ask(method, path string, header ...string) fronttest.Reply {
	f.T.Helper()
	return f.send(method, path, "", header...)
}

func (f *following) send(method, path, data string, header ...string) fronttest.Reply {
	f.T.Helper()
	for range 2 {
		got := f.sendOnce(f.transport, method, path, data, header...)
		if got.Status != http.StatusUnauthorized || !f.authorize(got.Header.Get("WWW-Authenticate")) {
			return got
		}
	}
	f.T.Fatal("it was asked for a token again")
	return fronttest.Reply{}
}

// sendOnce sends a request, with the token that the client has got.
func (f *following) sendOnce(through http.RoundTripper, method, path, data string, header ...string) fronttest.Reply {
	f.T.Helper()
	req := fronttest.NewRequest(f.T, method, f.Registry.URL()+path, data, header...)
	req = req.WithContext(context.WithValue(req.Context(), f, true))
	if data != "" {
		req.Body, req.GetBody = &oneBody{Reader: strings.NewReader(data)}, nil
	}
	if f.token != "" {
		req.Header.Set("Authorization", "Bearer "+f.token)
	}
	return fronttest.Send(f.T, through, req)
}

// oneBody is a body that can be read once, until it is closed, as those of a server's requests are.
type oneBody struct {
	io.Reader
	closed atomic.Bool
}

func (b *oneBody) Read(p []byte) (int, error) {
	if b.closed.Load() {
		return 0, errors.New("read after close")
	}
	return b.Reader.Read(p)
}

func (b *oneBody) Close() error {
	b.closed.Store(true)
	return nil
}

// authorize gets the token of a challenge with the client's own credential.
func (f *following) authorize(challenge string) bool {
	f.T.Helper()
	params := map[string]string{}
	for _, m := range regexp.MustCompile(`(\w+)="([^"]*)"`).FindAllStringSubmatch(challenge, -1) {
		params[m[1]] = m[2]
	}
	if f.user == "" || !strings.HasPrefix(challenge, "Bearer ") {
		return false
	}
	req, err := http.NewRequestWithContext(f.T.Context(), http.MethodGet, params["realm"]+"?service="+params["service"]+"&scope="+params["scope"], nil)
	if err != nil {
		f.T.Fatal(err)
	}
	req.SetBasicAuth(f.user, fronttest.Secret)
	resp, err := f.transport.RoundTrip(req)
	if err != nil {
		f.T.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct{ Token string }
	if resp.StatusCode != http.StatusOK || json.NewDecoder(resp.Body).Decode(&answer) != nil {
		return false
	}
	f.token = answer.Token
	return f.token != ""
}

// TestTransportFollows: what a client asks of the repository of a nested index comes from the members, each with a
// credential of its own; the client's own is shown for its own repository alone.
func TestTransportFollows(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	root := f.Publish()
	if n := f.FetchBy(f.ask, root); n != 8 {
		t.Errorf("%d manifests, indexes and blobs, want 8", n)
	}
	for _, q := range f.Registry.Log(registrytest.WithCredentials, registrytest.Below("org")) {
		if q.User != "" && q.User != "user of "+q.Repository {
			t.Errorf("%s came with the credential of %s", q, q.User)
		}
	}
	host := f.Registry.Host()
	if want := map[string]int{host + "/org/app/web": 3, host + "/org/app/a": 1, host + "/org/app/a/b": 3}; !maps.Equal(f.from, want) {
		t.Errorf("answered from %v, want %v", f.from, want)
	}
	var members []string
	for _, q := range f.Registry.Log(registrytest.Below("org/app")) {
		members = append(members, q.Repository)
	}
	for _, want := range []string{"org/app/web", "org/app/a", "org/app/a/b"} {
		if !slices.Contains(members, want) {
			t.Errorf("%s was not asked", want)
		}
	}
}

// TestTransportPasses: what has nothing to do with child namespaces comes as it would without the transport.
func TestTransportPasses(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	image := f.Registry.Image("org/app", []byte("layer"))
	f.Registry.Tag("org/app", "plain", image.Digest)
	f.Registry.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("RateLimit-Remaining", "7")
		return false
	})
	missing := digest.FromString("missing").String()
	f.ask(http.MethodGet, "/v2/org/app/manifests/plain") // which brings the token
	for _, c := range []struct {
		method, path string
		header       []string
	}{
		{http.MethodGet, "/v2/", nil},
		{http.MethodGet, "/v2/org/app/manifests/plain", nil},
		{http.MethodHead, "/v2/org/app/manifests/plain", nil},
		{http.MethodGet, "/v2/org/app/manifests/" + image.Digest.String(), nil},
		{http.MethodGet, "/v2/org/app/blobs/" + digest.FromString("layer").String(), []string{"Range", "bytes=2-3"}},
		{http.MethodHead, "/v2/org/app/blobs/" + digest.FromString("layer").String(), nil},
		{http.MethodGet, "/v2/org/app/manifests/none", nil},
		{http.MethodGet, "/v2/org/app/blobs/" + missing, nil},
		{http.MethodGet, "/v2/org/app/tags/list", nil},
		{http.MethodGet, "/v2/org/app/referrers/" + image.Digest.String(), nil},
		{http.MethodDelete, "/v2/org/app/manifests/" + missing, nil},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			through := f.ask(c.method, c.path, c.header...)
			want := f.sendOnce(f.base, c.method, c.path, "", c.header...)
			for _, r := range []fronttest.Reply{through, want} {
				r.Header.Del("Date")
			}
			if through.Status != want.Status || through.Body != want.Body {
				t.Errorf("%d %q, want %d %q", through.Status, through.Body, want.Status, want.Body)
			}
			for name := range want.Header {
				if through.Header.Get(name) != want.Header.Get(name) {
					t.Errorf("%s: %q, want %q", name, through.Header.Get(name), want.Header.Get(name))
				}
			}
			for name := range through.Header {
				if want.Header.Get(name) == "" {
					t.Errorf("%s: %q is added", name, through.Header.Get(name))
				}
			}
		})
	}
}

// TestTransportTakesNestedIndexes: a nested index that is pushed is there under its tag and its digest, carried, once all
// of its members are, and what is missing is named.
func TestTransportTakesNestedIndexes(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.Registry.Intercept(f.Registry.Pushes(false))
	web := f.Registry.Image("org/app/web", []byte("web"))
	absent := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString("absent"), Size: 6}
	denied := f.Registry.Image("org/app/none", []byte("denied"))

	data := string(clienttest.IndexOf(registrytest.Member(web, "web"), registrytest.Member(absent, "worker"), registrytest.Member(denied, "none")))
	got := f.send(http.MethodPut, "/v2/org/app/manifests/v1", data, "Content-Type", ocispec.MediaTypeImageIndex)
	var said struct {
		Errors []struct {
			Code   string
			Detail map[string]string
		}
	}
	if err := json.Unmarshal([]byte(got.Body), &said); err != nil || got.Status != http.StatusBadRequest || len(said.Errors) != 2 {
		t.Fatalf("%d %s: %v", got.Status, got.Body, err)
	}
	host := f.Registry.Host()
	for i, want := range []map[string]string{{"repository": host + "/org/app/none", "digest": denied.Digest.String()}, {"repository": host + "/org/app/worker", "digest": absent.Digest.String()}} {
		if e := said.Errors[i]; e.Code != "MANIFEST_BLOB_UNKNOWN" || e.Detail["repository"] != want["repository"] || e.Detail["digest"] != want["digest"] {
			t.Errorf("%+v, want %v", e, want)
		}
	}
	if got = f.ask(http.MethodGet, "/v2/org/app/manifests/v1"); got.Status != http.StatusNotFound {
		t.Errorf("what was refused is there: %d", got.Status)
	}

	copied := f.Registry.Image("org/app", []byte("copied")) // as clients do that know nothing of child namespaces
	data = string(clienttest.IndexOf(registrytest.Member(web, "web"), registrytest.Member(copied, "worker")))
	d := digest.FromString(data)
	got = f.send(http.MethodPut, "/v2/org/app/manifests/v1", data, "Content-Type", ocispec.MediaTypeImageIndex)
	if got.Status != http.StatusCreated || got.Header.Get("Docker-Content-Digest") != d.String() {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	for _, reference := range []string{"v1", d.String()} {
		if got = f.ask(http.MethodGet, "/v2/org/app/manifests/"+reference); got.Body != data || got.Header.Get("Content-Type") != ocispec.MediaTypeImageIndex {
			t.Errorf("%s: %d %q %s", reference, got.Status, got.Body, got.Header)
		}
		if got = f.ask(http.MethodHead, "/v2/org/app/manifests/"+reference); got.Header.Get("Docker-Content-Digest") != d.String() {
			t.Errorf("HEAD %s: %d %s", reference, got.Status, got.Header)
		}
	}
	if n := f.FetchBy(f.ask, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: d}); n != 7 {
		t.Errorf("%d came, want 7", n)
	}
}

// TestTransportDeletes: an index that is carried goes with its carrier and its blob, and what the registry says of that is
// answered to its end.
func TestTransportDeletes(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.Registry.Intercept(f.Registry.Pushes(false))
	web := f.Registry.Image("org/app/web", []byte("web"))
	data := string(clienttest.IndexOf(registrytest.Member(web, "web")))
	d := digest.FromString(data)
	if got := f.send(http.MethodPut, "/v2/org/app/manifests/v1", data, "Content-Type", ocispec.MediaTypeImageIndex); got.Status != http.StatusCreated {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	f.Registry.Intercept(registrytest.Say(http.StatusNotFound, "text/plain", "no", registrytest.Method(http.MethodDelete), func(q registrytest.Request) bool {
		return q.Reference == d.String() && q.Kind == registrytest.KindManifest
	}))
	f.Registry.Intercept(registrytest.Answer(http.StatusAccepted, nil, registrytest.Method(http.MethodDelete), registrytest.Of(registrytest.KindManifest)))
	refusal := strings.Repeat("x", 4<<20) // more than is on its way at once
	f.Registry.Intercept(registrytest.Say(http.StatusMethodNotAllowed, "text/plain", refusal, registrytest.Method(http.MethodDelete), registrytest.Of(registrytest.KindBlob)))
	if got := f.ask(http.MethodDelete, "/v2/org/app/manifests/"+d.String()); got.Status != http.StatusMethodNotAllowed || got.Body != refusal {
		t.Errorf("%d, %d bytes", got.Status, len(got.Body))
	}
	var deleted []string
	for _, q := range f.Registry.Log(registrytest.Method(http.MethodDelete)) {
		deleted = append(deleted, string(q.Kind))
	}
	if want := []string{"manifest", "manifest", "blob"}; !slices.Equal(deleted, want) {
		t.Errorf("deleted %q, want %q", deleted, want)
	}
}
