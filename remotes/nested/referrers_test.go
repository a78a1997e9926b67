package nested_test

import (
	"context"
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
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// answerReferrers is what a registry answers requests for referrers.
func answerReferrers(status int, contentType, body string, header ...string) registrytest.Interceptor {
	return func(w http.ResponseWriter, req *http.Request) bool {
		if registrytest.Describe(req).Kind != registrytest.KindReferrers {
			return false
		}
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
		return true
	}
}

// listReferrers lists by the two ways that there are: of a pull, and of a registry's fetcher.
func listReferrers(t *testing.T, reg *registrytest.Registry, of ocispec.Descriptor) ([]ocispec.Descriptor, error) {
	t.Helper()
	ctx := new(clienttest.Pauses).In(t.Context())
	registries := registry.New(registry.Options{PlainHTTP: true})
	defer registries.CloseIdleConnections()
	ref := reg.Host() + "/" + parent + "@" + of.Digest.String()
	plain, err := registries.Fetcher(ctx, ref)
	check(t, err)
	listed, listErr := plain.(remotes.ReferrersFetcher).FetchReferrers(ctx, of.Digest)
	resolver := nested.New(registries, nested.Options{})
	_, root, err := resolver.Resolve(ctx, ref)
	check(t, err)
	f, err := resolver.Fetcher(ctx, ref)
	check(t, err)
	fetcher := f.(interface {
		Referrers(context.Context, ocispec.Descriptor, auth.Repository) ([]ocispec.Descriptor, error)
	})
	inPull, err := fetcher.Referrers(ctx, root, must(auth.ParseRepository(reg.Host()+"/"+parent)))
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
		"404":           answerReferrers(404, "application/json", other),
		"404, a page":   answerReferrers(404, "text/html", "<html>"),
		"400":           answerReferrers(400, "application/json", other),
		"403":           answerReferrers(403, "text/html", "<html>"),
		"403, in JSON":  answerReferrers(403, "application/json", other),
		"405":           answerReferrers(405, "application/json", other),
		"406":           answerReferrers(406, "application/json", other),
		"410":           answerReferrers(410, "application/json", other),
		"501":           answerReferrers(501, "application/json", other),
		"200, a page":   answerReferrers(200, "text/html; charset=utf-8", "<html>"),
		"303 to a page": answerReferrers(303, "text/html", "", "Location", page.URL),
		"304":           answerReferrers(304, "text/html", ""),
	}
	unclear := map[string]registrytest.Interceptor{
		"403, denied":     answerReferrers(403, "application/json", denied),
		"200, an error":   answerReferrers(200, "application/json", denied),
		"200, nothing":    answerReferrers(200, "application/json", ""),
		"200, an object":  answerReferrers(200, "application/json", "{}"),
		"200, a list":     answerReferrers(200, "application/json", "[]"),
		"200, a manifest": answerReferrers(200, ocispec.MediaTypeImageIndex, `{"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}`),
		"200, cut off":    answerReferrers(200, ocispec.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[`),
		"429":             answerReferrers(429, "text/html", "<html>"),
		"503":             answerReferrers(503, "application/json", other),
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
	reg := newRegistry(t)
	subject := putImage(reg, parent, "layer")
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
	none := answerReferrers(404, "application/json", "{}")
	for name, test := range map[string]struct {
		put   func(r *registrytest.Registry) (subject, tagged ocispec.Descriptor)
		want  int
		fails bool
	}{
		"the tag is the image": {func(r *registrytest.Registry) (_, _ ocispec.Descriptor) {
			image := putImage(r, parent, "layer").Descriptor
			return image, image
		}, 0, false},
		"the tag is the index": {func(r *registrytest.Registry) (_, _ ocispec.Descriptor) {
			index := r.Index(parent, putImage(r, parent, "layer").Descriptor)
			return index, index
		}, 0, false},
		"the tag is another index": {func(r *registrytest.Registry) (_, _ ocispec.Descriptor) {
			return putImage(r, parent, "layer").Descriptor, r.Index(parent, putImage(r, parent, "other").Descriptor)
		}, 0, false},
		"the tag is another image": {func(r *registrytest.Registry) (_, _ ocispec.Descriptor) {
			return putImage(r, parent, "layer").Descriptor, putImage(r, parent, "other").Descriptor
		}, 0, true},
		"one of three refers to it": {func(r *registrytest.Registry) (_, _ ocispec.Descriptor) {
			image, other := putImage(r, parent, "layer").Descriptor, putImage(r, parent, "other").Descriptor
			return image, r.Index(parent, other, r.Referrer(parent, image, "application/x-a"), r.Referrer(parent, other, "application/x-b"))
		}, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
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
		image, other := putImage(s.registry, parent, "layer").Descriptor, putImage(s.registry, parent, "other").Descriptor
		signature := s.registry.Referrer(parent, image, "application/x-a")
		body := must(json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{other, signature}}))
		s.registry.Intercept(answerReferrers(200, ocispec.MediaTypeImageIndex, string(body)))
		ref := s.registry.Host() + "/" + parent + "@" + image.Digest.String()
		_, _, err := s.resolver.Resolve(t.Context(), ref)
		check(t, err)
		f := must(s.resolver.Fetcher(t.Context(), ref)).(interface {
			remotes.Fetcher
			Referrers(context.Context, ocispec.Descriptor, auth.Repository) ([]ocispec.Descriptor, error)
		})
		listed, err := f.Referrers(t.Context(), image, must(auth.ParseRepository(s.registry.Host()+"/"+parent)))
		if err != nil || len(listed) != 1 || listed[0].Digest != signature.Digest {
			t.Errorf("%v %v", listed, err)
		}
		check(t, must(f.Fetch(t.Context(), signature)).Close())
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
			image := putImage(s.registry, parent, "layer").Descriptor
			signature := s.registry.Referrer(parent, image, "application/x-a")
			second := s.registry.Referrer(parent, signature, "application/x-b")
			ref, at := s.registry.Host()+"/"+parent+"@"+image.Digest.String(), must(auth.ParseRepository(s.registry.Host()+"/"+parent))
			_, _, err := s.resolver.Resolve(t.Context(), ref)
			check(t, err)
			f := must(s.resolver.Fetcher(t.Context(), ref)).(interface {
				Referrers(context.Context, ocispec.Descriptor, auth.Repository) ([]ocispec.Descriptor, error)
			})
			listed := test.list(s.registry, image, signature)
			s.registry.Intercept(answerReferrers(200, ocispec.MediaTypeImageIndex, string(must(json.Marshal(ocispec.Index{Manifests: listed})))))
			got, err := f.Referrers(t.Context(), image, at)
			if strings.HasPrefix(name, "those of a referrer") {
				if check(t, err); len(got) != 1 {
					t.Fatalf("%v", got)
				}
				s.registry.ResetIntercepts()
				s.registry.Intercept(answerReferrers(200, ocispec.MediaTypeImageIndex, string(must(json.Marshal(ocispec.Index{Manifests: []ocispec.Descriptor{second}})))))
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

// pushManifest pushes a manifest as every user of a pusher does.
func pushManifest(t *testing.T, reg *registrytest.Registry, desc ocispec.Descriptor, data []byte) error {
	t.Helper()
	registries := registry.New(registry.Options{PlainHTTP: true})
	defer registries.CloseIdleConnections()
	pusher, err := registries.Pusher(t.Context(), reg.Host()+"/"+parent+"@"+desc.Digest.String())
	check(t, err)
	w, err := pusher.Push(t.Context(), desc)
	if errdefs.IsAlreadyExists(err) {
		return registries.ListReferrer(t.Context(), must(auth.ParseRepository(reg.Host()+"/"+parent)), desc, data)
	}
	if err != nil {
		return err
	}
	defer w.Close()
	if _, err = w.Write(data); err != nil {
		return err
	}
	return w.Commit(t.Context(), desc.Size, desc.Digest)
}

// newReferrer is a signature that a registry does not have yet.
func newReferrer(subject ocispec.Descriptor, name string) (ocispec.Descriptor, []byte) {
	data := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":"application/x-%s","config":%s,"layers":[],"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"by":%q}}`,
		ocispec.MediaTypeImageManifest, name, `{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}`,
		subject.MediaType, subject.Digest, subject.Size, name)
	return describe(ocispec.MediaTypeImageManifest, []byte(data)), []byte(data)
}

// taggedReferrers is the list under the tag.
func taggedReferrers(t *testing.T, reg *registrytest.Registry, subject ocispec.Descriptor) []ocispec.Descriptor {
	t.Helper()
	client := reg.Client()
	defer client.CloseIdleConnections()
	resp, err := client.Get(reg.URL() + "/v2/" + parent + "/manifests/" + oci.ReferrersTag(subject.Digest))
	check(t, err)
	defer resp.Body.Close()
	var index ocispec.Index
	if resp.StatusCode == http.StatusOK {
		check(t, json.NewDecoder(resp.Body).Decode(&index))
	}
	return index.Manifests
}

// TestPushedReferrer: a manifest with a subject is listed under the tag where the registry does not list it, beside what
// is there, once, and also when it was there before; a registry that lists it is left to it.
func TestPushedReferrer(t *testing.T) {
	without := answerReferrers(404, "application/json", "{}")
	t.Run("no API", func(t *testing.T) {
		reg := newRegistry(t)
		image := putImage(reg, parent, "layer").Descriptor
		reg.Intercept(without)
		reg.Intercept(reg.Pushes(false))
		first, firstData := newReferrer(image, "first")
		second, secondData := newReferrer(image, "second")
		reg.Put(parent, second.MediaType, secondData) // by a push that was broken off
		for range 2 {
			check(t, pushManifest(t, reg, first, firstData))
			check(t, pushManifest(t, reg, second, secondData))
		}
		listed := taggedReferrers(t, reg, image)
		if len(listed) != 2 || listed[0].Digest != first.Digest || listed[0].ArtifactType != "application/x-first" || listed[0].Annotations["by"] != "first" || listed[1].Digest != second.Digest {
			t.Errorf("%+v", listed)
		}
	})
	for name, api := range map[string]registrytest.Interceptor{
		"OCI-Subject": func(w http.ResponseWriter, req *http.Request) bool {
			if q := registrytest.Describe(req); q.Kind == registrytest.KindReferrers {
				t.Error("a registry that has said so is asked")
			}
			return false
		},
		"API": func(http.ResponseWriter, *http.Request) bool { return false },
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			image := putImage(reg, parent, "layer").Descriptor
			desc, data := newReferrer(image, "first")
			reg.Intercept(api)
			reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
				if req.Method == http.MethodPut && name == "OCI-Subject" {
					w.Header().Set("OCI-Subject", image.Digest.String())
				}
				return false
			})
			reg.Intercept(reg.Pushes(false))
			check(t, pushManifest(t, reg, desc, data))
			if n := reg.Count(registrytest.Method(http.MethodPut)); n != 1 {
				t.Errorf("%d manifests were put", n)
			}
		})
	}
	t.Run("another subject is said", func(t *testing.T) {
		reg := newRegistry(t)
		image := putImage(reg, parent, "layer").Descriptor
		desc, data := newReferrer(image, "first")
		reg.Intercept(without)
		reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			w.Header().Set("OCI-Subject", desc.Digest.String())
			return false
		})
		reg.Intercept(reg.Pushes(false))
		check(t, pushManifest(t, reg, desc, data))
		if got := taggedReferrers(t, reg, image); len(got) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// TestPushedReferrerBesideOthers: what somebody else lists between the look and the change stays.
func TestPushedReferrerBesideOthers(t *testing.T) {
	for _, minds := range []bool{true, false} {
		for _, before := range []bool{true, false} {
			reg := newRegistry(t)
			image := putImage(reg, parent, "layer").Descriptor
			earlier := reg.Referrer(parent, image, "application/x-earlier")
			other := reg.Referrer(parent, image, "application/x-other")
			want := []string{"application/x-mine", "application/x-other"}
			tag := oci.ReferrersTag(image.Digest)
			if before {
				want = append(want, "application/x-earlier")
				reg.Tag(parent, tag, reg.Index(parent, earlier).Digest)
			}
			reg.Intercept(answerReferrers(404, "application/json", "{}"))
			pushes := reg.Pushes(minds)
			interferes := registrytest.First(1, registrytest.Method(http.MethodPut), func(q registrytest.Request) bool { return q.Reference == tag })
			reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
				mine := interferes(registrytest.Describe(req))
				var listed []ocispec.Descriptor
				if mine {
					listed = append(taggedReferrers(t, reg, image), other)
				}
				if mine && minds { // before it
					reg.Tag(parent, tag, reg.Index(parent, listed...).Digest)
				}
				dealt := pushes(w, req)
				if mine && !minds { // with what was there before it
					reg.Tag(parent, tag, reg.Index(parent, listed...).Digest)
				}
				return dealt
			})
			desc, data := newReferrer(image, "mine")
			check(t, pushManifest(t, reg, desc, data))
			var got []string
			for _, d := range taggedReferrers(t, reg, image) {
				got = append(got, d.ArtifactType)
			}
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(slices.Compact(got), want) {
				t.Errorf("minds conditions: %v, list before: %v: %v, want %v", minds, before, got, want)
			}
		}
	}
}

// TestPushedReferrerHasNoPlace: a registry without the API whose tag stands for something else keeps no referrers, and
// that is said; nothing is overwritten.
func TestPushedReferrerHasNoPlace(t *testing.T) {
	for name, tagged := range map[string]func(r *registrytest.Registry, subject ocispec.Descriptor) ocispec.Descriptor{
		"subject": func(_ *registrytest.Registry, subject ocispec.Descriptor) ocispec.Descriptor { return subject },
		"image": func(r *registrytest.Registry, _ ocispec.Descriptor) ocispec.Descriptor {
			return putImage(r, parent, "other").Descriptor
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg := newRegistry(t)
			index := reg.Index(parent, putImage(reg, parent, "layer").Descriptor)
			reg.Tag(parent, oci.ReferrersTag(index.Digest), tagged(reg, index).Digest)
			reg.Intercept(answerReferrers(404, "application/json", "{}"))
			reg.Intercept(reg.Pushes(false))
			desc, data := newReferrer(index, "first")
			err := pushManifest(t, reg, desc, data)
			if err == nil || !strings.Contains(err.Error(), "among the referrers of") || errdefs.IsNotFound(err) {
				t.Errorf("%v", err)
			}
			if n := reg.Count(registrytest.Method(http.MethodPut)); n != 1 {
				t.Errorf("%d manifests were put", n)
			}
		})
	}
}
