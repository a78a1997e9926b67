package fronttest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
)

// Asking is a scene whose client asks through something that follows child namespaces: a gateway, a front for a network, a
// transport. Whoever it asks as may read org/app and its children web, worker, a and a/b.
type Asking struct {
	*Scene
	Ask func(method, path string, header ...string) Reply
}

// get gets "manifests" or "blobs" of org/app by digest.
func (s *Asking) get(kind string, d digest.Digest) Reply {
	s.T.Helper()
	return s.Ask(http.MethodGet, "/v2/org/app/"+kind+"/"+string(d))
}

// want fails unless an answer has the content.
func (s *Asking) want(got Reply, content string) {
	s.T.Helper()
	if got.Status != http.StatusOK || got.Body != content {
		s.T.Errorf("got %d %.400q, want %.100q", got.Status, got.Body, content)
	}
}

// wantError fails unless an answer is an error that says this.
func (s *Asking) wantError(got Reply, status int, says string) {
	s.T.Helper()
	if got.Status != status || !strings.Contains(got.Body, says) {
		s.T.Errorf("got %d %.400q, want %d %q", got.Status, got.Body, status, says)
	}
}

// index puts an index of org/app, gets it, and returns it.
func (s *Asking) index(members ...ocispec.Descriptor) ocispec.Descriptor {
	s.T.Helper()
	d := s.Registry.Index("org/app", members...)
	s.want(s.get("manifests", d.Digest), s.Registry.Body(d.Digest))
	return d
}

// asked is how often a repository was asked for content.
func (s *Asking) asked(repository string) int {
	return s.Registry.Count(registrytest.In(repository), func(q registrytest.Request) bool { return q.Kind != registrytest.KindToken })
}

// BadInput is what is asked of all that follow child namespaces: content and registries that are not as they should be, as
// the classes B, D, F and G of docs/cases.txt have them. open starts one.
func BadInput(t *testing.T, open func(t *testing.T, options ...registrytest.Option) *Asking) {
	t.Helper()
	for name, test := range map[string]func(*Asking){
		"members are asked at home":                  membersAtHome,
		"a namespace on a layer counts for nothing":  namespaceOnLayer,
		"an invalid index is named":                  invalidIndex,
		"contradicting keys":                         contradiction,
		"sizes that are none":                        badSizes,
		"a hundred thousand members":                 manyMembers,
		"an index in itself":                         ownMember,
		"a member of other bytes":                    wrongBytes,
		"a member larger than the limit":             largeMember,
		"a layer that is an index":                   layerOfIndex,
		"urls are not followed":                      layerWithURLs,
		"JSON that is none":                          brokenJSON,
		"a broken sibling hides no other":            brokenSibling,
		"what may not be read and what is not there": absentOrDenied,
		"tokens that have expired":                   expiredTokens,
		"a redirect shows no credential":             redirectElsewhere,
		"redirects that are refused":                 refusedRedirects,
		"a redirect to a signed URL that fails":      signedURL,
		"a manifest that breaks off":                 cutManifest,
		"a blob that breaks off":                     cutBlob,
		"a registry that ignores ranges":             ignoredRange,
		"a registry that fails twice":                failsTwice,
		"a registry that is busy for a day":          busyForADay,
		"a login page":                               loginPage,
		"errors for a terminal":                      errorsForATerminal,
		"what HEAD says":                             head,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(open(t))
		})
	}
	for name, c := range strictness() {
		t.Run("a member is as described/"+name, func(t *testing.T) {
			t.Parallel()
			strictMember(open(t), c)
		})
	}
}

func membersAtHome(s *Asking) {
	root := s.Publish()
	if n := s.FetchBy(s.Ask, root); n != 8 {
		s.T.Errorf("%d came, want 8", n)
	}
	for _, member := range []string{"org/app/web", "org/app/a", "org/app/a/b"} {
		if s.asked(member) == 0 {
			s.T.Errorf("%s was not asked", member)
		}
	}
}

func namespaceOnLayer(s *Asking) {
	blob := s.Registry.PutBlob("org/app/web", ocispec.MediaTypeImageLayer, []byte("a layer"))
	layer := registrytest.Member(blob, "worker")
	web := s.Registry.Artifact("org/app/web", "application/x-test", layer)
	s.index(registrytest.Member(web, "web"))
	s.want(s.get("manifests", web.Digest), s.Registry.Body(web.Digest))
	s.want(s.get("blobs", blob.Digest), "a layer")
	if n := s.asked("org/app/worker") + s.asked("org/app/web/worker"); n > 0 {
		s.T.Errorf("another repository was asked %d times", n)
	}
}

// refused puts an index that is invalid, and checks that nothing is asked for because of it.
func (s *Asking) refused(says string, members ...ocispec.Descriptor) {
	s.T.Helper()
	d := s.Registry.Index("org/app", members...)
	s.Registry.ResetLog()
	s.wantError(s.get("manifests", d.Digest), http.StatusBadRequest, says)
	for _, q := range s.Registry.Log() {
		if q.Repository != "" && q.Repository != "org/app" {
			s.T.Errorf("asked: %s", q)
		}
	}
}

func invalidIndex(s *Asking) {
	web := s.Registry.Image("org/app/web", []byte("web"))
	for _, namespace := range []string{"../victim", "", "x/../y", "X", "a b", "a\n", "x:y", "http://evil.test/x", "//evil.test", "%2e%2e"} {
		s.refused("MANIFEST_INVALID", registrytest.Member(web, "web"), registrytest.Member(web, namespace))
	}
	s.refused("manifests[1]", registrytest.Member(web, "web"), registrytest.Member(web, "../victim"))
	s.refused("../victim", registrytest.Member(web, "web"), registrytest.Member(web, "../victim"))
}

func contradiction(s *Asking) {
	web := s.Registry.Image("org/app/web", []byte("web"))
	member := registrytest.Member(web, "web")
	data := strings.Replace(string(clienttest.IndexOf(member)), `"digest":`, `"namespace":"worker","digest":`, 1)
	d := s.Registry.Put("org/app", ocispec.MediaTypeImageIndex, []byte(data))
	s.wantError(s.get("manifests", d.Digest), http.StatusBadRequest, "MANIFEST_INVALID")
}

func badSizes(s *Asking) {
	web := s.Registry.Image("org/app/web", []byte("web"))
	for _, size := range []int64{-1, 0, 1<<63 - 1} {
		member := registrytest.Member(web, "web")
		member.Size = size
		s.refused("MANIFEST_INVALID", member)
	}
}

func manyMembers(s *Asking) {
	began := time.Now()
	d := LargeIndex(s.Registry, "org/app", "x", 100_000)
	s.Registry.ResetLog()
	s.Ask(http.MethodGet, "/v2/org/app/manifests/"+d.Digest.String()) // as it is, or an error: it is the client's own
	s.get("blobs", digest.FromString("missing"))
	if n := s.Registry.Count(registrytest.Below("org/app"), func(q registrytest.Request) bool { return q.Repository != "org/app" }); n > 0 || time.Since(began) > time.Minute {
		s.T.Errorf("%d members were asked, in %v", n, time.Since(began))
	}
}

func ownMember(s *Asking) {
	leaf := s.Registry.Image("org/app/a", []byte("leaf"))
	for range 40 {
		leaf = s.Registry.Index("org/app/a", registrytest.Member(leaf, "a"))
	}
	s.index(registrytest.Member(leaf, "a"))
	s.Registry.ResetLog()
	s.wantError(s.get("blobs", digest.FromString("missing")), http.StatusNotFound, "BLOB_UNKNOWN")
	if n := s.Registry.Count(); n > 150 {
		s.T.Errorf("%d requests", n)
	}
}

func wrongBytes(s *Asking) {
	web := s.Registry.Image("org/app/web", []byte("web"))
	s.index(registrytest.Member(web, "web"))
	s.Registry.PutAs("org/app/web", web.MediaType, web.Digest, []byte(strings.Repeat("x", int(web.Size))))
	s.wantError(s.get("manifests", web.Digest), http.StatusBadGateway, "does not verify")
}

func largeMember(s *Asking) {
	d := s.Registry.Put("org/app/web", ocispec.MediaTypeImageManifest, []byte(`{"schemaVersion":2,"config":{}`+strings.Repeat(" ", 5<<20)+"}"))
	s.refused("MANIFEST_INVALID", registrytest.Member(d, "web"))
}

func layerOfIndex(s *Asking) {
	evil := string(clienttest.IndexOf(registrytest.Member(s.Registry.Image("org/app/worker", []byte("x")), "worker")))
	blob := s.Registry.PutBlob("org/app/web", ocispec.MediaTypeImageLayer, []byte(evil))
	web := s.Registry.Artifact("org/app/web", "application/x-test", blob)
	s.index(registrytest.Member(web, "web"))
	s.get("manifests", web.Digest)
	s.want(s.get("blobs", blob.Digest), evil)
	if n := s.asked("org/app/worker") + s.asked("org/app/web/worker"); n > 0 {
		s.T.Errorf("what it names was asked for %d times", n)
	}
}

func layerWithURLs(s *Asking) {
	other := clienttest.NewRegistry(s.T)
	blob := s.Registry.PutBlob("org/app/web", ocispec.MediaTypeImageLayer, []byte("layer"))
	blob.URLs = []string{other.URL() + "/v2/x/blobs/" + blob.Digest.String(), "http://169.254.169.254/", "file:///etc/shadow"}
	web := s.Registry.Artifact("org/app/web", "application/x-test", blob)
	s.index(registrytest.Member(web, "web"))
	s.get("manifests", web.Digest)
	s.want(s.get("blobs", blob.Digest), "layer")
	if n := other.Count(); n > 0 {
		s.T.Errorf("the host in urls was asked %d times", n)
	}
}

func brokenJSON(s *Asking) {
	began := time.Now()
	for _, data := range []string{"\ufeff{}", "{}{}", "{", "{\"manifests\":" + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}", `{"manifests":[{"size":1e400}]}`, "{\"manifests\":\"\xff\"}", `{"manifests":[null]}`, `{"manifests":{"a":NaN}}`} {
		d := s.Registry.Put("org/app", ocispec.MediaTypeImageIndex, []byte(data))
		if got := s.get("manifests", d.Digest); got.Status == http.StatusOK && got.Body != data || got.Status >= http.StatusInternalServerError {
			s.T.Errorf("%.20q: %d %.200q", data, got.Status, got.Body)
		}
	}
	if took := time.Since(began); took > 30*time.Second {
		s.T.Errorf("it took %v", took)
	}
	s.FetchBy(s.Ask, s.Publish())
}

func brokenSibling(s *Asking) {
	layer := s.Registry.PutBlob("org/app/web", "application/octet-stream", []byte("a layer"))
	web := s.Registry.Artifact("org/app/web", "application/x-test", layer)
	good := s.Registry.Index("org/app", registrytest.Member(s.Registry.Image("org/app/a"), "a"), registrytest.Member(web, "web"))
	bad := s.Registry.Index("org/app", registrytest.Member(web, "../victim"))
	s.Registry.Tag("org/app", "v1", good.Digest)
	s.Registry.Tag("org/app", "v2", bad.Digest)
	s.Registry.Intercept(registrytest.Answer(http.StatusTeapot, nil, registrytest.In("org/app/a")))
	s.wantError(s.get("manifests", bad.Digest), http.StatusBadRequest, "MANIFEST_INVALID")
	s.want(s.get("blobs", layer.Digest), "a layer")
	s.wantError(s.get("blobs", digest.FromString("missing")), http.StatusNotFound, "BLOB_UNKNOWN")
}

func absentOrDenied(s *Asking) {
	denied := s.Registry.Image("org/app/denied", []byte("denied"))
	gone := denied
	gone.Digest = digest.FromString("gone")
	s.index(registrytest.Member(denied, "denied"), registrytest.Member(gone, "web"))
	s.wantError(s.get("manifests", denied.Digest), http.StatusForbidden, "org/app/denied")
	s.wantError(s.get("manifests", gone.Digest), http.StatusNotFound, "org/app/web")
}

// strict is how a member is described, and served.
type strict struct {
	described func(*ocispec.Descriptor) // nil: as it is
	servedAs  string                    // none: as what it is
	says      string                    // none: it is answered
}

func strictness() map[string]strict {
	return map[string]strict{
		"as described":               {},
		"served as JSON":             {nil, "application/json", ""},
		"served as bytes":            {nil, "application/octet-stream", ""},
		"served with charset":        {nil, ocispec.MediaTypeImageManifest + "; charset=utf-8", ""},
		"a byte more":                {func(d *ocispec.Descriptor) { d.Size-- }, "", "size is"},
		"a byte less":                {func(d *ocispec.Descriptor) { d.Size++ }, "", "size is"},
		"served as an index":         {nil, ocispec.MediaTypeImageIndex, "it is served as"},
		"served as a page":           {nil, "text/html", "served as"},
		"an index by its descriptor": {func(d *ocispec.Descriptor) { d.MediaType = ocispec.MediaTypeImageIndex }, "", "it is served as"},
	}
}

// strictMember: a manifest that is reached through a nested index is what its descriptor says, in size and media type, too, or
// it is answered to nobody.
func strictMember(s *Asking, c strict) {
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	body := s.Registry.Body(web.Digest)
	if c.servedAs != "" {
		s.Registry.PutAs("org/app/web", c.servedAs, web.Digest, []byte(body))
	}
	if c.described != nil {
		c.described(&web)
	}
	s.index(registrytest.Member(web, "web"))
	if got := s.Ask(http.MethodHead, "/v2/org/app/manifests/"+web.Digest.String()); (got.Status == http.StatusOK) != (c.says == "") {
		s.T.Errorf("HEAD: %+v", got)
	}
	if got := s.get("manifests", web.Digest); c.says == "" {
		s.want(got, body)
	} else {
		s.wantError(got, http.StatusBadGateway, c.says)
	}
}
