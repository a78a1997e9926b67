package registrytest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"testing"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/internal/registrytest/conformance"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestConformance(t *testing.T) {
	tests := map[string][]registrytest.Option{
		"http":             {registrytest.WithTokenAuth()},
		"https":            {registrytest.WithTokenAuth(), registrytest.WithTLS()},
		"own token server": {registrytest.TokenOnOwnServer(), registrytest.WithTLS()},
		"no expiry":        {registrytest.WithTokenAuth(), registrytest.TokenLifetime(0)},
	}
	for name, options := range tests {
		t.Run(name, func(t *testing.T) {
			r := start(t, options...)
			r.Allow("web-user", "secret", "org/app/web")
			r.Allow("other", "secret2", "org/app")
			m := r.Image("org/app/web", registrytest.TarLayer(map[string]string{"etc/web": "hello"}))
			r.Tag("org/app/web", "v1", m.Digest)
			conformance.Run(t, conformance.Target{
				BaseURL: r.URL(), Client: client(t, r),
				Repository: "org/app/web", Manifest: m, Tag: "v1",
				Blob: r.PutBlob("org/app/web", "application/octet-stream", []byte("0123456789abcdef")),
				User: "web-user", Password: "secret", OtherUser: "other", OtherPassword: "secret2",
				TokenPOST: true,
			})
		})
	}
}

func TestImageIsComplete(t *testing.T) {
	r := start(t)
	layer := registrytest.TarLayer(map[string]string{"b": "2", "a": "1"})
	d := r.ImageFor(ocispec.Platform{OS: "linux", Architecture: "s390x"}, "org/app", layer)

	var m ocispec.Manifest
	decode(t, get(t, r, "/v2/org/app/manifests/"+d.Digest.String()), &m)
	var image ocispec.Image
	decode(t, get(t, r, "/v2/org/app/blobs/"+m.Config.Digest.String()), &image)
	if image.Architecture != "s390x" || len(image.RootFS.DiffIDs) != 1 || image.RootFS.DiffIDs[0] != digest.FromBytes(layer) {
		t.Errorf("config %+v does not describe the layer", image)
	}
	if got := get(t, r, "/v2/org/app/blobs/"+m.Layers[0].Digest.String()); got.status != http.StatusOK {
		t.Errorf("layer: status %d", got.status)
	}
	if again := start(t).ImageFor(*d.Platform, "org/app", layer); again.Digest != d.Digest {
		t.Errorf("the same image has the digests %s and %s", d.Digest, again.Digest)
	}
}

func TestIndexOfMembers(t *testing.T) {
	r := start(t)
	d := r.Artifact("org/app/web", "application/x-thing")
	r.Index("org/app", registrytest.Member(d, "web"), d)
	index := r.Index("org/app", registrytest.Member(d, "web"), d)

	var got ocispec.Index
	decode(t, get(t, r, "/v2/org/app/manifests/"+index.Digest.String()), &got)
	if len(got.Manifests) != 2 || got.Manifests[0].Annotations["io.github.nestedoci.child-namespace"] != "web" || got.Manifests[1].Annotations != nil {
		t.Errorf("members %+v, want the first in child namespace web", got.Manifests)
	}
}

func TestReferrers(t *testing.T) {
	r := start(t)
	subject := r.Artifact("org/app", "application/x-thing")
	sbom := r.Referrer("org/app", subject, "application/x-sbom")
	r.Referrer("org/app", subject, "application/x-signature")
	r.Referrer("org/other", subject, "application/x-sbom")

	path := "/v2/org/app/referrers/" + subject.Digest.String()
	var got ocispec.Index
	decode(t, get(t, r, path), &got)
	if len(got.Manifests) != 2 {
		t.Errorf("%d referrers, want 2", len(got.Manifests))
	}
	decode(t, get(t, r, path+"?artifactType=application/x-sbom"), &got)
	if len(got.Manifests) != 1 || got.Manifests[0].Digest != sbom.Digest || got.Manifests[0].Size != sbom.Size {
		t.Errorf("referrers %+v, want only %s", got.Manifests, sbom.Digest)
	}
}

func TestStatuses(t *testing.T) {
	r := start(t)
	d := r.Put("org/app", ocispec.MediaTypeImageIndex, []byte(`{}`), "v1", "v2")
	gone := r.PutBlob("org/app", "text/plain", []byte("gone"))
	r.Delete("org/app", gone.Digest)
	wrong := digest.FromString("something else")
	r.PutAs("org/app", ocispec.MediaTypeImageIndex, wrong, []byte(`{}`))
	r.PutBlobAs("org/app", wrong, []byte(`{}`))

	tests := []struct {
		path   string
		status int
		body   string // or code
	}{
		{"/v2/", 200, `{}`},
		{"/v2/org/app/tags/list", 200, `{"name":"org/app","tags":["v1","v2"]}`},
		{"/v2/org/none/tags/list", 404, "NAME_UNKNOWN"},
		{"/v2/org/app/manifests/v1", 200, `{}`},
		{"/v2/org/app/manifests/v3", 404, "MANIFEST_UNKNOWN"},
		{"/v2/org/app/manifests/" + wrong.String(), 200, `{}`},
		{"/v2/org/app/blobs/" + wrong.String(), 200, `{}`},
		{"/v2/org/app/blobs/" + gone.Digest.String(), 404, "BLOB_UNKNOWN"},
		{"/v2/org/app/blobs/" + d.Digest.String(), 404, "BLOB_UNKNOWN"},
		{"/v2/org/none/blobs/" + d.Digest.String(), 404, "BLOB_UNKNOWN"},
		{"/v2/Org/manifests/v1", 404, "NOT_FOUND"},
		{"/v2/org/../app/manifests/v1", 404, "NOT_FOUND"},
		{"/", 404, "NOT_FOUND"},
	}
	for _, test := range tests {
		got := get(t, r, test.path)
		if got.status != test.status || (got.body != test.body && got.code() != test.body) {
			t.Errorf("%s: %d %s, want %d %s", test.path, got.status, got.body, test.status, test.body)
		}
	}
	if got := do(t, r, request(t, http.MethodPut, r.URL()+"/v2/org/app/manifests/v1")); got.status != http.StatusMethodNotAllowed {
		t.Errorf("PUT: status %d", got.status)
	}
	r.Delete("org/app", d.Digest)
	if got := get(t, r, "/v2/org/app/manifests/v1"); got.status != http.StatusNotFound {
		t.Errorf("after Delete: status %d", got.status)
	}
}

// start runs a registry for the length of a test.
func start(t *testing.T, options ...registrytest.Option) *registrytest.Registry {
	t.Helper()
	r := registrytest.New(options...)
	t.Cleanup(r.Close)
	return r
}

func client(t *testing.T, r *registrytest.Registry) *http.Client {
	t.Helper()
	c := r.Client()
	t.Cleanup(c.CloseIdleConnections)
	return c
}

type answer struct {
	status int
	header http.Header
	body   string
	err    error // of the body
}

// code is the first error code in the body.
func (a answer) code() string {
	var body struct {
		Errors []struct{ Code string }
	}
	if json.Unmarshal([]byte(a.body), &body) != nil || len(body.Errors) == 0 {
		return ""
	}
	return body.Errors[0].Code
}

func request(t *testing.T, method, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func get(t *testing.T, r *registrytest.Registry, path string) answer {
	t.Helper()
	return do(t, r, request(t, http.MethodGet, r.URL()+path))
}

func do(t *testing.T, r *registrytest.Registry, req *http.Request) answer {
	t.Helper()
	got, err := client(t, r).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	return answer{got.StatusCode, got.Header, string(body), err}
}

func decode(t *testing.T, a answer, value any) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), value); err != nil {
		t.Fatalf("status %d: %v", a.status, err)
	}
}
