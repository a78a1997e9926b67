package nested_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// ofReferrers are requests for referrers.
var ofReferrers = registrytest.Of(registrytest.KindReferrers)

// listReferrers lists by the two ways that there are: of a pull, and of a registry's fetcher.
func listReferrers(t *testing.T, reg *registrytest.Registry, of ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	t.Helper()
	ctx := new(clienttest.Pauses).In(t.Context())
	registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
	ref := reg.Host() + "/" + parent + "@" + of.Digest.String()
	plain, err := registries.Fetcher(ctx, ref)
	clienttest.NoError(t, err)
	listed, listErr := plain.(remotes.ReferrersFetcher).FetchReferrers(ctx, of.Digest)
	resolver := nested.New(registries, nested.Options{})
	fetcher, root := begin(ctx, t, resolver, ref)
	inPull, err := fetcher.Referrers(ctx, root, clienttest.Repository(t, reg.Host()+"/"+parent))
	if (err == nil) != (listErr == nil) || !slices.EqualFunc(listed, inPull, func(a, b ocispec.Descriptor) bool { return a.Digest == b.Digest }) {
		t.Errorf("a fetcher lists %v, %v; a pull %v, %v", listed, listErr, inPull, err)
	}
	return listed, listErr
}

// TestReferrersAPIMissing: whatever a registry, or what stands before it, answers where it does not have the referrers
// API, the tag counts; what fails, is denied or is no list is never one without signatures.
func TestReferrersAPIMissing(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write([]byte("<html>Sign in</html>"))
	}))
	t.Cleanup(page.Close)
	const denied = `{"errors":[{"code":"DENIED","message":"not allowed"}]}`
	const other = `{"errors":[{"code":"UNSUPPORTED"}]}`
	absent := map[string]registrytest.Interceptor{
		"404":           registrytest.Say(404, "application/json", other, ofReferrers),
		"404, a page":   registrytest.Say(404, "text/html", "<html>", ofReferrers),
		"400":           registrytest.Say(400, "application/json", other, ofReferrers),
		"403":           registrytest.Say(403, "text/html", "<html>", ofReferrers),
		"403, in JSON":  registrytest.Say(403, "application/json", other, ofReferrers),
		"405":           registrytest.Say(405, "application/json", other, ofReferrers),
		"406":           registrytest.Say(406, "application/json", other, ofReferrers),
		"410":           registrytest.Say(410, "application/json", other, ofReferrers),
		"501":           registrytest.Say(501, "application/json", other, ofReferrers),
		"200, a page":   registrytest.Say(200, "text/html; charset=utf-8", "<html>", ofReferrers),
		"303 to a page": registrytest.Answer(303, http.Header{"Location": {page.URL}}, ofReferrers),
		"304":           registrytest.Say(304, "text/html", "", ofReferrers),
	}
	unclear := map[string]registrytest.Interceptor{
		"403, denied":     registrytest.Say(403, "application/json", denied, ofReferrers),
		"200, an error":   registrytest.Say(200, "application/json", denied, ofReferrers),
		"200, nothing":    registrytest.Say(200, "application/json", "", ofReferrers),
		"200, an object":  registrytest.Say(200, "application/json", "{}", ofReferrers),
		"200, a list":     registrytest.Say(200, "application/json", "[]", ofReferrers),
		"200, a manifest": registrytest.Say(200, ocispec.MediaTypeImageIndex, `{"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}`, ofReferrers),
		"200, cut off":    registrytest.Say(200, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[`, ofReferrers),
		"429":             registrytest.Say(429, "text/html", "<html>", ofReferrers),
		"503":             registrytest.Say(503, "application/json", other, ofReferrers),
	}
	for name, api := range absent {
		t.Run(name, func(t *testing.T) { checkAPI(t, api, true) })
	}
	for name, api := range unclear {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checkAPI(t, api, false)
		})
	}
}

func checkAPI(t *testing.T, api registrytest.Interceptor, absent bool) {
	reg := clienttest.NewRegistry(t)
	subject := clienttest.PutImage(reg, parent, "layer")
	reg.Intercept(api)
	listed, err := listReferrers(t, reg, subject.Descriptor)
	if (err == nil) != absent || len(listed) > 0 || errdefs.IsNotFound(err) {
		t.Errorf("without a tag: %v %v", listed, err)
	}
	if !absent {
		return
	}
	signature := reg.Referrer(parent, subject.Descriptor, "application/x-signature")
	reg.Tag(parent, oci.ReferrersTag(subject.Digest), reg.Index(parent, signature).Digest)
	listed, err = listReferrers(t, reg, subject.Descriptor)
	if err != nil || len(listed) != 1 || listed[0].Digest != signature.Digest {
		t.Errorf("with a tag: %v %v", listed, err)
	}
}

// TestReferrersAreWhatSaysSo: neither a tag that stands for the subject itself, nor a list's word, makes a referrer.
func TestReferrersAreWhatSaysSo(t *testing.T) {
	none := registrytest.Say(404, "application/json", "{}", ofReferrers)
	for name, test := range map[string]struct {
		put   func(r *registrytest.Registry) (subject, tagged ocispec.Descriptor)
		want  int
		fails bool
	}{
		"the tag is the image": {func(r *registrytest.Registry) (_, _ ocispec.Descriptor) {
			image := clienttest.PutImage(r, parent, "layer").Descriptor
			return image, image
		}, 0, false},
		"the tag is the index": {func(r *registrytest.Registry) (_, _ ocispec.Descriptor) {
			index := r.Index(parent, clienttest.PutImage(r, parent, "layer").Descriptor)
			return index, index
		}, 0, false},
		"the tag is another index": {func(r *registrytest.Registry) (_, _ ocispec.Descriptor) {
			return clienttest.PutImage(r, parent, "layer").Descriptor, r.Index(parent, clienttest.PutImage(r, parent, "other").Descriptor)
		}, 0, false},
		"the tag is another image": {func(r *registrytest.Registry) (_, _ ocispec.Descriptor) {
			return clienttest.PutImage(r, parent, "layer").Descriptor, clienttest.PutImage(r, parent, "other").Descriptor
		}, 0, true},
		"one of three refers to it": {func(r *registrytest.Registry) (_, _ ocispec.Descriptor) {
			image, other := clienttest.PutImage(r, parent, "layer").Descriptor, clienttest.PutImage(r, parent, "other").Descriptor
			return image, r.Index(parent, other, r.Referrer(parent, image, "application/x-a"), r.Referrer(parent, other, "application/x-b"))
		}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			reg := clienttest.NewRegistry(t)
			subject, tagged := test.put(reg)
			reg.Tag(parent, oci.ReferrersTag(subject.Digest), tagged.Digest)
			reg.Intercept(none)
			listed, err := listReferrers(t, reg, subject)
			if len(listed) != test.want || (err != nil) != test.fails {
				t.Errorf("%v %v", listed, err)
			}
		})
	}
	t.Run("by the API", func(t *testing.T) {
		s := newScene(t, nested.Options{})
		image, other := clienttest.PutImage(s.registry, parent, "layer").Descriptor, clienttest.PutImage(s.registry, parent, "other").Descriptor
		signature := s.registry.Referrer(parent, image, "application/x-a")
		body := clienttest.Must(json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{other, signature}}))
		s.registry.Intercept(registrytest.Say(200, ocispec.MediaTypeImageIndex, string(body), ofReferrers))
		ref := s.registry.Host() + "/" + parent + "@" + image.Digest.String()
		f, _ := begin(t.Context(), t, s.resolver, ref)
		listed, err := f.Referrers(t.Context(), image, clienttest.Repository(t, s.registry.Host()+"/"+parent))
		if err != nil || len(listed) != 1 || listed[0].Digest != signature.Digest {
			t.Errorf("%v %v", listed, err)
		}
		clienttest.NoError(t, clienttest.Must(f.Fetch(t.Context(), signature)).Close())
		if n := s.registry.Count(func(q registrytest.Request) bool { return q.Reference == signature.Digest.String() && q.Status == 200 }); n != 1 {
			t.Errorf("the signature was fetched %d times", n)
		}
	})
}

// TestHostileLists: a list of referrers, which may say anything, leads to no more than its pull may have, and nothing is
// believed of it that does not verify.
func TestHostileLists(t *testing.T) {
	limits := nested.Limits{Manifest: 64 << 10, Depth: 1, Descriptors: 6}
	resized := func(d ocispec.Descriptor, size int64) ocispec.Descriptor { d.Size = size; return d }
	for name, test := range map[string]struct {
		list func(r *registrytest.Registry, subject, signature ocispec.Descriptor) []ocispec.Descriptor
		err  string
	}{
		"larger than a document": {func(_ *registrytest.Registry, _, d ocispec.Descriptor) []ocispec.Descriptor {
			return []ocispec.Descriptor{resized(d, 64<<10+1)}
		}, "size 65537 is more"},
		"negative": {func(_ *registrytest.Registry, _, d ocispec.Descriptor) []ocispec.Descriptor {
			return []ocispec.Descriptor{resized(d, -1)}
		}, "size -1"},
		"a path": {func(_ *registrytest.Registry, _, d ocispec.Descriptor) []ocispec.Descriptor {
			d.Digest = "sha256:../../other/manifests/x"
			return []ocispec.Descriptor{d}
		}, "digest"},
		"other content": {func(r *registrytest.Registry, subject, d ocispec.Descriptor) []ocispec.Descriptor {
			r.Intercept(registrytest.Say(200, d.MediaType, `{"schemaVersion":2}`, func(q registrytest.Request) bool { return q.Reference == d.Digest.String() }))
			return []ocispec.Descriptor{d}
		}, ""}, // whoever fetches it is told; it is not dropped for what somebody else says
		"too many": {func(r *registrytest.Registry, subject, _ ocispec.Descriptor) (listed []ocispec.Descriptor) {
			for i := range limits.Descriptors {
				listed = append(listed, r.Referrer(parent, subject, fmt.Sprint("application/x-", i)))
			}
			return listed
		}, "more than 6 descriptors"},
		"those of a referrer, too deep": {func(_ *registrytest.Registry, _, d ocispec.Descriptor) []ocispec.Descriptor {
			return []ocispec.Descriptor{d}
		}, "more than 1 steps"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{Limits: limits})
			image := clienttest.PutImage(s.registry, parent, "layer").Descriptor
			signature := s.registry.Referrer(parent, image, "application/x-a")
			second := s.registry.Referrer(parent, signature, "application/x-b")
			ref, at := s.registry.Host()+"/"+parent+"@"+image.Digest.String(), clienttest.Repository(t, s.registry.Host()+"/"+parent)
			f, _ := begin(t.Context(), t, s.resolver, ref)
			listed := test.list(s.registry, image, signature)
			s.registry.Intercept(registrytest.Say(200, ocispec.MediaTypeImageIndex, string(clienttest.Must(json.Marshal(ocispec.Index{Manifests: listed}))), ofReferrers))
			got, err := f.Referrers(t.Context(), image, at)
			if strings.HasPrefix(name, "those of a referrer") {
				if clienttest.NoError(t, err); len(got) != 1 {
					t.Fatalf("%v", got)
				}
				s.registry.ResetIntercepts()
				s.registry.Intercept(registrytest.Say(200, ocispec.MediaTypeImageIndex, string(clienttest.Must(json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{second}}))), ofReferrers))
				_, err = f.Referrers(t.Context(), signature, at)
			}
			if test.err != "" {
				clienttest.WantError(t, err, test.err)
			} else if err != nil || len(got) != 1 {
				t.Errorf("%v %v", got, err)
			}
			if n := s.registry.Count(func(q registrytest.Request) bool { return q.Reference == signature.Digest.String() }); name == "larger than a document" && n > 0 {
				t.Errorf("it was asked for %d times", n)
			}
		})
	}
}
