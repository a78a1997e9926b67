package transport

import (
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
)

// isPut matches the manifests that are pushed, isMount what asks for a mount.
func isPut(q registrytest.Request) bool {
	return q.Method == http.MethodPut && q.Kind == registrytest.KindManifest && q.Authorization != ""
}

func isMount(q registrytest.Request) bool {
	return q.Method == http.MethodPost && strings.Contains(q.Query, "mount=")
}

// newBringing is a client that has read a bundle, before a registry that insists on what manifests name, after what
// the interceptors make of it.
func newBringing(t *testing.T, status int, code string, interceptors ...registrytest.Interceptor) (f *following, member ocispec.Descriptor) {
	t.Helper()
	f = newFollowing(t)
	for _, i := range append(interceptors, f.Registry.Insists(status, code), f.Registry.Pushes(false)) {
		f.Registry.Intercept(i)
	}
	member = f.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": strings.Repeat("1", 100_000)}))
	f.Registry.Tag("org/app", "v1", f.Registry.Index("org/app", registrytest.Member(member, "web")).Digest)
	f.ask(http.MethodGet, "/v2/org/app/manifests/v1")
	f.ask(http.MethodGet, "/v2/org/app/manifests/"+member.Digest.String())
	f.Registry.ResetLog()
	return f, member
}

// has reports whether the registry itself has content in org/app, not a member.
func (f *following) has(kind string, d digest.Digest) bool {
	f.T.Helper()
	return f.sendOnce(f.base, http.MethodHead, "/v2/org/app/"+kind+"/"+d.String(), "").Status == http.StatusOK
}

// wantBlobs checks that a client is told that the blobs of a manifest are there, so that it does not push them, and
// whether they are.
func (f *following) wantBlobs(manifest string, want bool) {
	f.T.Helper()
	for _, blob := range f.Children(manifest) {
		if got := f.ask(http.MethodHead, "/v2/org/app/blobs/"+blob.Digest.String()); got.Status != http.StatusOK {
			f.T.Errorf("HEAD: %d", got.Status)
		}
		if f.has("blobs", blob.Digest) != want {
			f.T.Errorf("%s is there: %v", blob.Digest, !want)
		}
	}
}

// TestPushBringsBlobs: what a client does not push, since a HEAD was answered from a member, is brought when its manifest is
// pushed to a registry that insists on it, whatever the registry says then and makes of a mount.
func TestPushBringsBlobs(t *testing.T) {
	t.Parallel()
	var f *following
	mounts := func(w http.ResponseWriter, req *http.Request) bool {
		if !isMount(registrytest.Describe(req)) {
			return false
		}
		d := digest.Digest(req.URL.Query().Get("mount"))
		f.Registry.PutBlobAs("org/app", d, []byte(f.Registry.Body(d)))
		w.WriteHeader(http.StatusCreated)
		return true
	}
	for name, test := range map[string]struct {
		status int
		code   string
		mount  registrytest.Interceptor
		posts  int
		sent   int
	}{
		"begun":      {http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", nil, 2, 2},
		"not found":  {http.StatusNotFound, "BLOB_UNKNOWN", nil, 2, 2},
		"other code": {http.StatusBadRequest, "MANIFEST_INVALID", nil, 2, 2},
		"mounted":    {http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", mounts, 2, 0},
		"forbidden":  {http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", registrytest.Answer(http.StatusForbidden, nil, isMount), 0, 2},
		"challenged": {http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN", registrytest.Answer(http.StatusUnauthorized, nil, isMount), 0, 2},
	} {
		t.Run(name, func(t *testing.T) {
			interceptors := []registrytest.Interceptor{}
			if test.mount != nil {
				interceptors = append(interceptors, test.mount)
			}
			var member ocispec.Descriptor
			f, member = newBringing(t, test.status, test.code, interceptors...)
			data := f.Registry.Body(member.Digest)
			f.wantBlobs(data, false)
			got := f.send(http.MethodPut, "/v2/org/app/manifests/copy", data, "Content-Type", member.MediaType)
			if got.Status != http.StatusCreated || got.Header.Get("Docker-Content-Digest") != member.Digest.String() {
				t.Fatalf("%d %s", got.Status, got.Body)
			}
			f.wantBlobs(data, true)
			if n := f.Registry.Count(registrytest.Of(registrytest.KindUpload), registrytest.Method(http.MethodPut)); n != test.sent {
				t.Errorf("%d blobs were sent, want %d", n, test.sent)
			}
			if n := f.Registry.Count(registrytest.Of(registrytest.KindUpload), registrytest.Method(http.MethodPost)); test.posts > 0 && n != test.posts {
				t.Errorf("%d uploads were begun, want %d", n, test.posts)
			}
			if n := f.Registry.Count(isPut); n != 2 {
				t.Errorf("the manifest was pushed %d times", n)
			}
		})
	}
}

// TestPushBringsManifests: a plain index brings its manifests, each after its own blobs, and indexes below it. So does an entry
// of a nested index that is to be in its own repository; those that are in members stay there.
func TestPushBringsManifests(t *testing.T) {
	t.Parallel()
	f, member := newBringing(t, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
	inner := indexOf(member)
	d := f.Registry.Put("org/app/web", ocispec.MediaTypeImageIndex, []byte(inner))
	f.Registry.Tag("org/app", "v2", f.Registry.Index("org/app", registrytest.Member(d, "web")).Digest)
	f.ask(http.MethodGet, "/v2/org/app/manifests/v2")
	outer := indexOf(d, member)
	if got := f.send(http.MethodPut, "/v2/org/app/manifests/copy", outer, "Content-Type", ocispec.MediaTypeImageIndex); got.Status != http.StatusCreated {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	for _, d := range []digest.Digest{d.Digest, digest.FromString(outer), member.Digest} {
		if !f.has("manifests", d) {
			t.Errorf("%s is not there", d)
		}
	}
	f.wantBlobs(f.Registry.Body(member.Digest), true)

	f, member = newBringing(t, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
	other := f.Registry.Image("org/app/worker", []byte("worker"))
	mixed := indexOf(member, registrytest.Member(other, "worker"))
	if got := f.send(http.MethodPut, "/v2/org/app/manifests/mixed", mixed, "Content-Type", ocispec.MediaTypeImageIndex); got.Status != http.StatusCreated {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	if !f.has("manifests", member.Digest) || f.has("manifests", other.Digest) || f.has("manifests", digest.FromString(mixed)) {
		t.Errorf("its own entry is there: %v, a member: %v, the index: %v", f.has("manifests", member.Digest), f.has("manifests", other.Digest), f.has("manifests", digest.FromString(mixed)))
	}
}

// TestPushBringsNothing: what is in no member, or not for this client, is not brought, and the client gets the registry's own
// answer to its only push.
func TestPushBringsNothing(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(f *following, blob digest.Digest) registrytest.Interceptor{
		"gone": func(f *following, blob digest.Digest) registrytest.Interceptor {
			f.Registry.Delete("org/app/web", blob)
			return nil
		},
		"denied": func(*following, digest.Digest) registrytest.Interceptor {
			return registrytest.Answer(http.StatusForbidden, nil, registrytest.In("org/app/web"), registrytest.WithCredentials)
		},
		"of another size": func(f *following, blob digest.Digest) registrytest.Interceptor {
			f.Registry.PutBlobAs("org/app/web", blob, []byte("short"))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, member := newBringing(t, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
			data := f.Registry.Body(member.Digest)
			layer := f.Children(data)[0]
			if i := lose(f, layer.Digest); i != nil {
				f.Registry.ResetIntercepts()
				f.Registry.Intercept(i)
				f.Registry.Intercept(f.Registry.Insists(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"))
				f.Registry.Intercept(f.Registry.Pushes(false))
			}
			got := f.send(http.MethodPut, "/v2/org/app/manifests/copy", data, "Content-Type", member.MediaType)
			want := f.sendOnce(f.base, http.MethodPut, "/v2/org/app/manifests/copy", data, "Content-Type", member.MediaType)
			if got.Status != http.StatusBadRequest || got.Body != want.Body {
				t.Errorf("%d %q, want %q", got.Status, got.Body, want.Body)
			}
			if n := f.Registry.Count(isPut); n != 2 || f.has("blobs", layer.Digest) {
				t.Errorf("%d were pushed, there: %v", n-1, f.has("blobs", layer.Digest))
			}
		})
	}
}

// TestPushBringsUnderFaults: what could not be found out, or sent, is no answer about the manifest.
func TestPushBringsUnderFaults(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault  func(f *following) registrytest.Interceptor
		status int
	}{
		"member fails": {func(*following) registrytest.Interceptor {
			return registrytest.Answer(http.StatusNotImplemented, nil, registrytest.In("org/app/web"), registrytest.WithCredentials, registrytest.Of(registrytest.KindBlob))
		}, http.StatusBadGateway},
		"upload too large": {func(*following) registrytest.Interceptor {
			return registrytest.Answer(http.StatusRequestEntityTooLarge, nil, registrytest.Method(http.MethodPut), registrytest.Of(registrytest.KindUpload))
		}, http.StatusRequestEntityTooLarge},
		"token is over": {func(f *following) registrytest.Interceptor {
			return registrytest.Answer(http.StatusUnauthorized, nil, registrytest.First(1, registrytest.Method(http.MethodPut), registrytest.Of(registrytest.KindUpload)))
		}, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			f, member := newBringing(t, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
			data := f.Registry.Body(member.Digest)
			f.Registry.ResetIntercepts()
			f.Registry.Intercept(test.fault(f))
			f.Registry.Intercept(f.Registry.Insists(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"))
			f.Registry.Intercept(f.Registry.Pushes(false))
			got := f.sendOnce(f.transport, http.MethodPut, "/v2/org/app/manifests/copy", data, "Content-Type", member.MediaType)
			if got.Status != test.status {
				t.Errorf("%d %s, want %d", got.Status, got.Body, test.status)
			}
		})
	}
}

// TestPushBringsAsItComes: a blob is not held on its way: the registry has its beginning while the member has not sent its end.
func TestPushBringsAsItComes(t *testing.T) {
	t.Parallel()
	f, member := newBringing(t, http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN")
	data := f.Registry.Body(member.Digest)
	large := f.Children(data)[0]
	layer := f.Registry.Body(large.Digest)
	arrived := make(chan struct{})
	f.Registry.ResetIntercepts()
	f.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		q := registrytest.Describe(req)
		switch {
		case q.Kind == registrytest.KindUpload && q.Method == http.MethodPut && strings.Contains(req.URL.RawQuery, large.Digest.Encoded()):
			begin := make([]byte, 1)
			_, _ = io.ReadFull(req.Body, begin)
			req.Body = io.NopCloser(io.MultiReader(bytes.NewReader(begin), req.Body))
			close(arrived)
			return false
		case q.Method != http.MethodGet || q.Reference != large.Digest.String() || q.Authorization == "":
			return false
		}
		w.Header().Set("Content-Length", strconv.Itoa(len(layer)))
		_, _ = w.Write([]byte(layer[:len(layer)/2]))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-arrived:
		case <-time.After(10 * time.Second):
			t.Error("nothing of the blob arrives before its end")
		}
		_, _ = w.Write([]byte(layer[len(layer)/2:]))
		return true
	})
	f.Registry.Intercept(f.Registry.Insists(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"))
	f.Registry.Intercept(f.Registry.Pushes(false))
	if got := f.sendOnce(f.transport, http.MethodPut, "/v2/org/app/manifests/copy", data, "Content-Type", member.MediaType); got.Status != http.StatusCreated {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}
