package registry_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestPushedDigest: what is no digest becomes no part of a request.
func TestPushedDigest(t *testing.T) {
	reg := clienttest.NewRegistry(t)
	registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
	pusher, err := registries.Pusher(t.Context(), reg.Host()+"/"+parent+":v1")
	clienttest.NoError(t, err)
	for _, d := range []string{ocispec.DescriptorEmptyJSON.Digest.String() + "&from=secret", "sha256:../../../x", "sha256:", ""} {
		desc := ocispec.Descriptor{MediaType: "application/octet-stream", Digest: digest.Digest(d), Size: 2}
		_, err := pusher.Push(t.Context(), desc)
		clienttest.WantError(t, err, "digest")
	}
	if log := reg.Log(); len(log) > 0 {
		t.Errorf("asked: %v", log)
	}
}

// TestUploadLocations: an upload goes on where the registry says, in every form, and with the credential where that is
// the registry itself.
func TestUploadLocations(t *testing.T) {
	var stored string
	var reg *httptest.Server
	put := func(wantSecret bool) http.HandlerFunc {
		return func(w http.ResponseWriter, req *http.Request) {
			if _, secret, _ := req.BasicAuth(); wantSecret != (secret == "secret") {
				t.Errorf("PUT %s%s with the credential: %t", req.Host, req.URL, secret == "secret")
			}
			data, err := io.ReadAll(req.Body)
			clienttest.NoError(t, err)
			stored = string(data)
			w.WriteHeader(http.StatusCreated)
		}
	}
	toStore := func(w http.ResponseWriter, req *http.Request) {
		for name, want := range map[string]string{"X-Client": "", "Authorization": "", "X-Hosts": "", "User-Agent": "program"} {
			if got := req.Header.Get(name); got != want {
				t.Errorf("another host gets %s %q", name, got)
			}
		}
		put(false)(w, req)
	}
	store := httptest.NewServer(http.HandlerFunc(toStore))
	t.Cleanup(store.Close)
	for name, test := range map[string]struct {
		location func() string
		path     string // of the PUT, at the registry
	}{
		"path":           {func() string { return "/up/1?a=b" }, "/up/1"},
		"absolute":       {func() string { return reg.URL + "/up/1" }, "/up/1"},
		"relative":       {func() string { return "uploads-id" }, "/v2/" + parent + "/blobs/uploads/uploads-id"},
		"without scheme": {func() string { return "//" + reg.Listener.Addr().String() + "/up/1" }, "/up/1"},
		"elsewhere":      {func() string { return store.URL + "/up/1" }, ""},
		"there, too":     {func() string { return "//" + store.Listener.Addr().String() + "/up/1" }, ""},
		"redirected":     {func() string { return "id" }, "/v2/elsewhere/id"},
	} {
		t.Run(name, func(t *testing.T) {
			reg = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if _, secret, _ := req.BasicAuth(); secret != "secret" {
					w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				switch req.Method {
				case http.MethodPost:
					if name == "redirected" && !strings.HasPrefix(req.URL.Path, "/v2/elsewhere/") {
						http.Redirect(w, req, "/v2/elsewhere/", http.StatusTemporaryRedirect)
						return
					}
					w.Header().Set("Location", test.location())
					w.WriteHeader(http.StatusAccepted)
				case http.MethodPut:
					if req.Header.Get("X-Client") == "" || req.Header.Get("X-Hosts") == "" {
						t.Errorf("the registry gets %v", req.Header)
					}
					if req.URL.Path != test.path {
						t.Errorf("PUT %s, want %s", req.URL.Path, test.path)
					}
					put(true)(w, req)
				default:
					w.WriteHeader(http.StatusNotFound)
				}
			}))
			defer reg.Close()
			host := reg.Listener.Addr().String()
			registries := clienttest.NewClient(t, registry.Options{
				HostsDir:    clienttest.HostsDir(t, host, fmt.Sprintf("server = %q\n[header]\nX-Hosts = \"canary\"\n", reg.URL)),
				Credentials: clienttest.UserPassword(t, host, "user", "secret"),
				Header:      http.Header{"X-Client": {"canary"}}, UserAgent: "program",
			})
			data := "content of " + name
			pushLayer(t, registries, host, data)
			if stored != data {
				t.Errorf("stored %q", stored)
			}
		})
	}
}

// pushLayer pushes a layer to parent.
func pushLayer(t *testing.T, registries *registry.Client, host, data string) {
	t.Helper()
	desc := clienttest.Describe(ocispec.MediaTypeImageLayer, []byte(data))
	pusher, err := registries.Pusher(t.Context(), host+"/"+parent+"@"+desc.Digest.String())
	clienttest.NoError(t, err)
	w, err := pusher.Push(t.Context(), desc)
	clienttest.NoError(t, err)
	_, err = w.Write([]byte(data))
	clienttest.NoError(t, err)
	clienttest.NoError(t, w.Commit(t.Context(), desc.Size, desc.Digest))
}

// TestPushOtherScope: a push to a front that rewrites paths. What a registry names before the upload is for pulling alone;
// the token is asked for with what the push needs, once.
func TestPushOtherScope(t *testing.T) {
	var asked []string
	var stored string
	var reg *httptest.Server
	reg = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/token" {
			clienttest.NoError(t, req.ParseForm())
			asked = append(asked, req.Form.Get("scope"))
			_, _ = w.Write(clienttest.Encode(map[string]any{"token": strings.ReplaceAll(req.Form.Get("scope"), " ", "_")}))
			return
		}
		needed := "pull,push"
		if req.Method == http.MethodHead {
			needed = "pull"
		}
		if req.Header.Get("Authorization") != "Bearer repository:back/"+parent+":pull,push" {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="s",scope="repository:back/%s:%s"`, reg.URL, parent, needed))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch req.Method {
		case http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
		case http.MethodPost:
			w.Header().Set("Location", "/up/1")
			w.WriteHeader(http.StatusAccepted)
		default:
			data, err := io.ReadAll(req.Body)
			clienttest.NoError(t, err)
			stored += string(data)
			w.WriteHeader(http.StatusCreated)
		}
	}))
	defer reg.Close()
	host := reg.Listener.Addr().String()
	registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true, Credentials: clienttest.UserPassword(t, host, "user", "secret")})
	for _, data := range []string{"one", "two"} {
		pushLayer(t, registries, host, data)
	}
	if want := []string{"repository:" + parent + ":pull,push", "repository:back/" + parent + ":pull,push"}; stored != "onetwo" || !slices.Equal(asked, want) {
		t.Errorf("stored %q, tokens for %q, want %q", stored, asked, want)
	}
}
