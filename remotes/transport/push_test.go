package transport

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// pushing is a client before a registry that takes what is pushed and insists on what that names.
func pushing(t *testing.T, interceptors ...registrytest.Interceptor) *following {
	t.Helper()
	f := newFollowing(t)
	for _, i := range append(interceptors, f.Registry.Insists(http.StatusBadRequest, "MANIFEST_BLOB_UNKNOWN"), f.Registry.Deletes(), f.Registry.Pushes(false)) {
		f.Registry.Intercept(i)
	}
	return f
}

// push pushes to a reference of org/app.
func (f *following) push(reference, mediaType, data string) fronttest.Reply {
	f.T.Helper()
	return f.send(http.MethodPut, "/v2/org/app/manifests/"+reference, data, "Content-Type", mediaType)
}

// wantPushed checks that an index is there under references, as it was pushed, for GET and HEAD.
func (f *following) wantPushed(data, mediaType string, references ...string) {
	f.T.Helper()
	for _, reference := range references {
		for _, accept := range []string{"", mediaType, "*/*", ocispec.MediaTypeImageManifest + ", " + mediaType} {
			header := []string{"Accept", accept}
			if accept == "" {
				header = nil
			}
			if got := f.ask(http.MethodGet, "/v2/org/app/manifests/"+reference, header...); got.Body != data || got.Header.Get("Content-Type") != mediaType {
				f.T.Errorf("%s, %q: %d %.300q %s", reference, accept, got.Status, got.Body, got.Header.Get("Content-Type"))
			}
			if got := f.ask(http.MethodHead, "/v2/org/app/manifests/"+reference, header...); got.Status != http.StatusOK || got.Header.Get("Content-Length") != fmt.Sprint(len(data)) {
				f.T.Errorf("HEAD %s, %q: %d %s", reference, accept, got.Status, got.Header)
			}
		}
	}
}

// TestPushForms: nested indexes of all kinds are taken, and are there under their tag and their digest.
func TestPushForms(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		contentType, mediaType string
		index                  func(f *following) string
		reference              func(data string) string
	}{
		"by tag":                 {index: webIndex},
		"by digest":              {index: webIndex, reference: func(data string) string { return digest.FromString(data).String() }},
		"by sha512":              {index: webIndex, reference: func(data string) string { return digest.SHA512.FromString(data).String() }},
		"by tag with its sha512": {index: webIndex, reference: func(data string) string { return "v1?digest=" + digest.SHA512.FromString(data).String() }},
		"parameters":             {index: webIndex, contentType: ocispec.MediaTypeImageIndex + "; charset=utf-8"},
		"list of Docker's": {mediaType: images.MediaTypeDockerSchema2ManifestList, index: func(f *following) string {
			return strings.Replace(webIndex(f), ocispec.MediaTypeImageIndex, images.MediaTypeDockerSchema2ManifestList, 1)
		}},
		"artifact": {index: func(f *following) string {
			data := indexOf(registrytest.Member(f.Registry.Artifact("org/app/web", "application/x", f.Registry.PutBlob("org/app/web", "application/x", []byte("x"))), "web"))
			return data
		}},
		"blob": {index: func(f *following) string {
			data := indexOf(registrytest.Member(f.Registry.PutBlob("org/app/web", "application/x-rpm", []byte("rpm")), "web"))
			return data
		}},
		"other type of manifest": {index: func(f *following) string {
			data := indexOf(registrytest.Member(f.Registry.Put("org/app/web", "application/x-other", []byte("{}")), "web"))
			return data
		}},
		"chain": {index: func(f *following) string { // the member is a blob of its repository, since a carrier carries it
			inner := indexOf(registrytest.Member(f.Registry.Image("org/app/a/b", []byte("b")), "b"))
			d := f.Registry.PutBlob("org/app/a", ocispec.MediaTypeImageIndex, []byte(inner))
			data := indexOf(registrytest.Member(d, "a"))
			return data
		}},
		"copy in the parent": {index: func(f *following) string {
			data := indexOf(registrytest.Member(f.Registry.Image("org/app", []byte("copy")), "web"))
			return data
		}},
	} {
		t.Run(name, func(t *testing.T) {
			f := pushing(t)
			data, mediaType, reference := test.index(f), ocispec.MediaTypeImageIndex, "v1"
			if test.mediaType != "" {
				mediaType = test.mediaType
			}
			contentType := mediaType
			if test.contentType != "" {
				contentType = test.contentType
			}
			if test.reference != nil {
				reference = test.reference(data)
			}
			got := f.push(reference, contentType, data)
			d := got.Header.Get("Docker-Content-Digest")
			if got.Status != http.StatusCreated || digest.Digest(d).Validate() != nil || digest.Digest(d).Algorithm().FromString(data).String() != d || got.Header.Get("Location") != "/v2/org/app/manifests/"+d {
				t.Fatalf("%d %s %s", got.Status, got.Body, got.Header)
			}
			if _, said, ok := strings.Cut(reference, "digest="); ok && said != d {
				t.Errorf("digest %s, want %s", d, said)
			}
			tag, _, _ := strings.Cut(reference, "?")
			f.wantPushed(data, mediaType, tag, d)
		})
	}
}

// indexOf is an index as a client pushes it.
func indexOf(members ...ocispec.Descriptor) string { return string(clienttest.IndexOf(members...)) }

func webIndex(f *following) string {
	data := indexOf(registrytest.Member(f.Registry.Image("org/app/web", []byte("web")), "web"))
	return data
}

// TestPushRefusals: what is wrong with a nested index is said in the distribution spec's words, and nothing is pushed.
func TestPushRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change    func(data string) string
		reference string
		code      string
		says      []string
	}{
		"namespace":        {func(data string) string { return strings.Replace(data, `:"web"`, `:"../web"`, 1) }, "v1", "MANIFEST_INVALID", []string{"manifests[0]", `../web`}},
		"duplicate keys":   {func(data string) string { return strings.Replace(data, `{`, `{"schemaVersion":2,`, 1) }, "v1", "MANIFEST_INVALID", []string{"schemaVersion"}},
		"digest":           {func(data string) string { return data }, digest.FromString("another").String(), "DIGEST_INVALID", nil},
		"digest in query":  {func(data string) string { return data }, "v1?digest=" + digest.FromString("another").String(), "DIGEST_INVALID", nil},
		"digest is no one": {func(data string) string { return data }, "v1?digest=x", "DIGEST_INVALID", nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := pushing(t)
			data := webIndex(f)
			f.ask(http.MethodGet, "/v2/org/app/manifests/none") // which brings the token
			f.Registry.ResetLog()
			got := f.push(test.reference, ocispec.MediaTypeImageIndex, test.change(data))
			if got.Status != http.StatusBadRequest || !strings.Contains(got.Body, test.code) {
				t.Errorf("%d %s", got.Status, got.Body)
			}
			for _, want := range test.says {
				if !strings.Contains(got.Body, want) {
					t.Errorf("%s does not say %q", got.Body, want)
				}
			}
			if n := f.Registry.Count(func(q registrytest.Request) bool {
				return q.Method != http.MethodGet && q.Method != http.MethodHead && q.Method != http.MethodPost
			}); n > 0 {
				t.Errorf("%v", f.Registry.Log())
			}
		})
	}
}

// TestPushPasses: what is no nested index, or too large for one, comes to the registry as it is, and its answer to the client.
func TestPushPasses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mediaType, data string
	}{
		"subject":     {ocispec.MediaTypeImageManifest, `{"schemaVersion":2,"config":{},"layers":[],"subject":{"digest":"` + digest.FromString("x").String() + `"}}`},
		"no type":     {"", `{"manifests":[{"annotations":{"` + registrytest.ChildNamespace + `":"web"}}]}`},
		"no JSON":     {ocispec.MediaTypeImageIndex, `{`},
		"plain index": {ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[]}`},
		"too large":   {ocispec.MediaTypeImageIndex, `{"manifests":[{"annotations":{"` + registrytest.ChildNamespace + `":"web"}}],"x":"` + strings.Repeat("x", 4<<20) + `"}`},
		"empty":       {ocispec.MediaTypeImageManifest, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFollowing(t)
			var came []string
			f.Registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
				if req.Method != http.MethodPut || req.Header.Get("Authorization") == "" {
					return false
				}
				body, err := io.ReadAll(req.Body)
				came = append(came, fmt.Sprint(req.URL.Path, req.Header["Content-Type"], len(body), digest.FromBytes(body), err))
				w.Header().Set("Oci-Subject", "x")
				w.WriteHeader(http.StatusTeapot)
				_, _ = w.Write([]byte("said"))
				return true
			})
			header := []string{"Content-Type", test.mediaType}
			if test.mediaType == "" {
				header = nil
			}
			got := f.send(http.MethodPut, "/v2/org/app/manifests/v1", test.data, header...)
			want := f.sendOnce(f.base, http.MethodPut, "/v2/org/app/manifests/v1", test.data, header...)
			if got.Status != http.StatusTeapot || got.Body != want.Body || got.Header.Get("Oci-Subject") != "x" || len(came) != 2 || came[0] != came[1] {
				t.Errorf("%d %q, came %q", got.Status, got.Body, came)
			}
		})
	}
}

// broken is a body that breaks off.
type broken struct{ io.Reader }

var errBroken = errors.New("the client has gone")

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// TestPushBreaksOff: nothing is made of a manifest that breaks off, or is shorter than it says.
func TestPushBreaksOff(t *testing.T) {
	t.Parallel()
	f := pushing(t)
	f.ask(http.MethodGet, "/v2/org/app/manifests/none")
	f.Registry.ResetLog()
	for _, body := range []io.Reader{io.MultiReader(strings.NewReader(webIndex(f)), broken{}), strings.NewReader(webIndex(f))} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, f.Registry.URL()+"/v2/org/app/manifests/v1", io.NopCloser(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", ocispec.MediaTypeImageIndex)
		req.ContentLength = 4096
		resp, err := f.transport.RoundTrip(req)
		if err == nil {
			t.Errorf("%d, %v", resp.StatusCode, resp.Body.Close())
		}
	}
	if got := f.Registry.Log(); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

// TestPushAtOnce: clients that push one index at once all push it.
func TestPushAtOnce(t *testing.T) {
	t.Parallel()
	f := pushing(t)
	data := webIndex(f)
	f.ask(http.MethodGet, "/v2/org/app/manifests/none")
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got := f.sendOnce(f.transport, http.MethodPut, "/v2/org/app/manifests/v1", data, "Content-Type", ocispec.MediaTypeImageIndex); got.Status != http.StatusCreated {
				t.Errorf("%d %s", got.Status, got.Body)
			}
		})
	}
	all.Wait()
	f.wantPushed(data, ocispec.MediaTypeImageIndex, "v1", digest.FromString(data).String())
}

// TestPushTellsNothing: a member that may not be pulled is answered like one that is not there, byte by byte, with as many requests
// of the client, whatever the registry says and whether it may be read in the parent.
func TestPushTellsNothing(t *testing.T) {
	t.Parallel()
	type outcome struct {
		status int
		header string
		body   string
		asked  int // of its own repository
	}
	push := func(t *testing.T, parent, member registrytest.Interceptor, there bool) outcome {
		f := newFollowing(t)
		port := f.Registry.Host()
		for _, i := range []registrytest.Interceptor{parent, member, f.Registry.Pushes(false)} {
			if i != nil {
				f.Registry.Intercept(i)
			}
		}
		secret := registrytest.New()
		t.Cleanup(secret.Close)
		from := secret
		if there {
			from = f.Registry
		}
		data := indexOf(
			registrytest.Member(f.Registry.Image("org/app/web", []byte("web")), "web"),
			registrytest.Member(from.Image("org/app/worker", []byte("worker")), "worker"),
			registrytest.Member(from.Index("org/app/a", registrytest.Member(from.Image("org/app/a/b", []byte("b")), "b")), "a"))
		f.ask(http.MethodGet, "/v2/org/app/manifests/none")
		before := f.Registry.Count(registrytest.In("org/app"))
		got := f.push("v1", ocispec.MediaTypeImageIndex, data)
		got.Header.Del("Date")
		asked := 0
		if got.Status == http.StatusBadRequest { // what fails ends what goes on beside it
			asked = f.Registry.Count(registrytest.In("org/app")) - before
		}
		return outcome{got.Status, fmt.Sprint(got.Header), strings.ReplaceAll(got.Body, port, "registry"), asked}
	}
	denies := func(status int) registrytest.Interceptor {
		return registrytest.Answer(status, nil, registrytest.WithCredentials, func(q registrytest.Request) bool {
			return slices.Contains([]string{"org/app/worker", "org/app/a", "org/app/a/b"}, q.Repository)
		})
	}
	challenge := http.Header{"Www-Authenticate": {`Basic realm="x"`}}
	for name, parent := range map[string]registrytest.Interceptor{
		"absent in the parent":    nil,
		"denied in the parent":    registrytest.Answer(http.StatusForbidden, nil, registrytest.In("org/app"), registrytest.Method(http.MethodHead), registrytest.WithCredentials),
		"asked for in the parent": registrytest.Answer(http.StatusUnauthorized, challenge, registrytest.In("org/app"), registrytest.Method(http.MethodHead), registrytest.WithCredentials),
	} {
		t.Run(name, func(t *testing.T) {
			want := push(t, parent, nil, false)
			if name == "absent in the parent" && (want.status != http.StatusBadRequest || strings.Count(want.body, "MANIFEST_BLOB_UNKNOWN") != 2) {
				t.Errorf("%+v", want)
			}
			for _, status := range []int{http.StatusForbidden, http.StatusUnauthorized, http.StatusNotFound, http.StatusGone, http.StatusPreconditionFailed, http.StatusUnavailableForLegalReasons} {
				if got := push(t, parent, denies(status), true); got != want {
					t.Errorf("%d: %+v, want %+v", status, got, want)
				}
			}
		})
	}
	below := registrytest.Answer(http.StatusForbidden, nil, registrytest.In("org/app/a/b"), registrytest.WithCredentials)
	if got, want := push(t, nil, below, true), push(t, nil, nil, true); got != want || want.status != http.StatusCreated {
		t.Errorf("what a member names is denied: %+v, want %+v", got, want)
	}
}

// TestPushSaysWhatItCouldNotFindOut: a member's registry that fails is not a member that is missing.
func TestPushSaysWhatItCouldNotFindOut(t *testing.T) {
	t.Parallel()
	f := pushing(t, registrytest.Answer(http.StatusNotImplemented, nil, registrytest.In("org/app/web"), registrytest.WithCredentials))
	got := f.push("v1", ocispec.MediaTypeImageIndex, webIndex(f))
	var said struct{ Errors []struct{ Code string } }
	if err := json.Unmarshal([]byte(got.Body), &said); err != nil || got.Status != http.StatusBadGateway || said.Errors[0].Code != "UNKNOWN" {
		t.Errorf("%d %s", got.Status, got.Body)
	}
}

// TestPushIsInTheBudget: what is pushed is held, and counted, until there is an answer.
func TestPushIsInTheBudget(t *testing.T) {
	t.Parallel()
	f := newFollowing(t)
	f.ask(http.MethodGet, "/v2/org/app/manifests/none")
	var held int64
	f.Registry.Intercept(func(_ http.ResponseWriter, req *http.Request) bool {
		if q := registrytest.Describe(req); isPut(q) {
			held = f.memory.Used()
		}
		return false
	})
	f.Registry.Intercept(f.Registry.Pushes(false))
	large := webIndex(f)[1:]
	large = `{"annotations":{"x":"` + strings.Repeat("x", 1<<20) + `"},` + large
	for _, data := range []string{large, strings.Replace(large, registrytest.ChildNamespace, "x", 1), strings.Replace(large, ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageManifest, 1)} {
		var index struct{ MediaType string }
		if err := json.Unmarshal([]byte(data), &index); err != nil {
			t.Fatal(err)
		}
		held = 0
		if got := f.push("v1", index.MediaType, data); got.Status != http.StatusCreated || held < 1<<20 || held > 20<<20 {
			t.Errorf("%d, %d bytes were held", got.Status, held)
		}
	}
}
