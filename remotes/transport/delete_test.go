package transport

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// carries puts a manifest that carries an index, made otherwise than package nested makes it: with an annotation, and the index
// in it or not.
func (f *following) carries(index, tag string, embedded bool) ocispec.Descriptor {
	f.T.Helper()
	layer := f.Registry.PutBlob("org/app", ocispec.MediaTypeImageIndex, []byte(index))
	if embedded {
		layer.Data = []byte(index)
	}
	m := ocispec.Manifest{
		MediaType: ocispec.MediaTypeImageManifest, ArtifactType: nested.CarrierType, Annotations: map[string]string{"made": tag},
		Config: f.Registry.PutBlob("org/app", ocispec.MediaTypeEmptyJSON, []byte("{}")), Layers: []ocispec.Descriptor{layer},
	}
	m.SchemaVersion = 2
	data, err := json.Marshal(m)
	if err != nil {
		f.T.Fatal(err)
	}
	return f.Registry.Put("org/app", m.MediaType, data, tag)
}

// wantGone checks that references are not there, for GET and HEAD.
func (f *following) wantGone(references ...string) {
	f.T.Helper()
	for _, reference := range references {
		for _, method := range []string{http.MethodHead, http.MethodGet, http.MethodHead} {
			if got := f.ask(method, "/v2/org/app/manifests/"+reference); got.Status != http.StatusNotFound {
				f.T.Errorf("%s %s: %d %s", method, reference, got.Status, got.Body)
			}
		}
	}
}

// TestDeleteCarriers: an index goes with all that carry it, whoever made them, and is not there from then on: also when the
// client has just asked for it.
func TestDeleteCarriers(t *testing.T) {
	t.Parallel()
	for name, last := range map[string]func(f *following, d string){
		"nothing": func(*following, string) {},
		"HEAD":    func(f *following, d string) { f.ask(http.MethodHead, "/v2/org/app/manifests/"+d) },
		"HEAD of a tag": func(f *following, _ string) {
			f.ask(http.MethodHead, "/v2/org/app/manifests/other")
			f.ask(http.MethodHead, "/v2/org/app/manifests/v1")
		},
		"GET": func(f *following, d string) { f.ask(http.MethodGet, "/v2/org/app/manifests/"+d) },
		"a tag's deletion": func(f *following, _ string) {
			if got := f.ask(http.MethodDelete, "/v2/org/app/manifests/v1"); got.Status != http.StatusAccepted {
				f.T.Errorf("%d", got.Status)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := pushing(t)
			data := webIndex(f)
			d := digest.FromString(data).String()
			if got := f.push("v1", ocispec.MediaTypeImageIndex, data); got.Status != http.StatusCreated {
				t.Fatalf("%d %s", got.Status, got.Body)
			}
			f.carries(data, "other", true)
			f.carries(data, "third", false)
			image := f.Registry.Image("org/app", []byte("plain"))
			f.Registry.Tag("org/app", "plain", image.Digest)
			last(f, d)
			if name == "a tag's deletion" {
				f.wantPushed(data, ocispec.MediaTypeImageIndex, "other", d)
				f.wantGone("v1")
			}
			if got := f.ask(http.MethodDelete, "/v2/org/app/manifests/"+d); got.Status != http.StatusAccepted {
				t.Fatalf("%d %s", got.Status, got.Body)
			}
			f.wantGone(d, "v1", "other", "third")
			if got := f.ask(http.MethodGet, "/v2/org/app/manifests/plain"); got.Status != http.StatusOK {
				t.Errorf("what carries nothing: %d", got.Status)
			}
			if got := f.ask(http.MethodDelete, "/v2/org/app/manifests/"+d); got.Status != http.StatusNotFound {
				t.Errorf("once more: %d", got.Status)
			}
			if got := f.push("v1", ocispec.MediaTypeImageIndex, data); got.Status != http.StatusCreated {
				t.Fatalf("%d %s", got.Status, got.Body)
			}
			f.wantPushed(data, ocispec.MediaTypeImageIndex, "v1", d)
		})
	}
}

// TestDeleteCarriersWithoutTags: a carrier that was read goes, too, when no tag names it any more; and the client's token need not
// be one for reading.
func TestDeleteCarriersWithoutTags(t *testing.T) {
	t.Parallel()
	once := registrytest.First(1, func(q registrytest.Request) bool {
		return q.Kind == registrytest.KindBlob && q.Method == http.MethodGet && q.Authorization != ""
	})
	f := pushing(t, registrytest.Answer(http.StatusForbidden, nil, once))
	data := webIndex(f)
	carrier := f.carries(data, "other", true)
	f.ask(http.MethodHead, "/v2/org/app/manifests/other")
	f.ask(http.MethodDelete, "/v2/org/app/manifests/other")
	d := digest.FromString(data)
	if got := f.ask(http.MethodDelete, "/v2/org/app/manifests/"+d.String()); got.Status != http.StatusAccepted {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	f.wantGone(d.String(), carrier.Digest.String())
}

// TestDeleteForgets: what was read ahead of an index that is deleted is not answered.
func TestDeleteForgets(t *testing.T) {
	t.Parallel()
	f := pushing(t)
	child := indexOf(registrytest.Member(f.Registry.Image("org/app/web", []byte("web")), "web"))
	one := f.Registry.Put("org/app", ocispec.MediaTypeImageIndex, []byte(child))
	two := f.Registry.Image("org/app/web", []byte("2"))
	three := f.Registry.Image("org/app/web", []byte("3"))
	f.Registry.Tag("org/app", "v1", f.Registry.Index("org/app", registrytest.Member(two, "web"), registrytest.Member(three, "web"), one).Digest)
	for _, reference := range []string{"v1", two.Digest.String(), three.Digest.String()} {
		if got := f.ask(http.MethodGet, "/v2/org/app/manifests/"+reference); got.Status != http.StatusOK {
			t.Fatalf("%s: %d", reference, got.Status)
		}
	}
	ahead := func(q registrytest.Request) bool {
		return q.Reference == one.Digest.String() && q.Status == http.StatusOK
	}
	clienttest.Await(t, func() bool { return f.Registry.Count(ahead) > 0 }, func() string { return "it is not read ahead" })
	if got := f.ask(http.MethodDelete, "/v2/org/app/manifests/"+one.Digest.String()); got.Status != http.StatusAccepted {
		t.Fatalf("%d %s", got.Status, got.Body)
	}
	f.wantGone(one.Digest.String())
}

// TestDeleteIsRefused: what a registry says against a deletion is answered, and so is that it could not be found out what there is.
func TestDeleteIsRefused(t *testing.T) {
	t.Parallel()
	of := func(kind registrytest.Kind) registrytest.Filter {
		return func(q registrytest.Request) bool { return q.Kind == kind && q.Authorization != "" }
	}
	for name, test := range map[string]struct {
		refuses registrytest.Interceptor
		status  int
		there   bool
	}{
		"all":       {registrytest.Answer(http.StatusMethodNotAllowed, nil, registrytest.Method(http.MethodDelete), registrytest.WithCredentials), http.StatusMethodNotAllowed, true},
		"blobs":     {registrytest.Answer(http.StatusMethodNotAllowed, nil, registrytest.Method(http.MethodDelete), of(registrytest.KindBlob)), http.StatusMethodNotAllowed, false},
		"tags":      {registrytest.Answer(http.StatusForbidden, nil, of(registrytest.KindTags)), http.StatusAccepted, false},
		"tags fail": {registrytest.Answer(http.StatusNotImplemented, nil, of(registrytest.KindTags)), http.StatusNotImplemented, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := pushing(t, test.refuses)
			data := webIndex(f)
			d := digest.FromString(data).String()
			f.push("v1", ocispec.MediaTypeImageIndex, data)
			if got := f.ask(http.MethodDelete, "/v2/org/app/manifests/"+d); got.Status != test.status {
				t.Errorf("%d %s", got.Status, got.Body)
			}
			if got := f.ask(http.MethodGet, "/v2/org/app/manifests/v1"); (got.Status == http.StatusOK) != test.there {
				t.Errorf("afterwards: %d", got.Status)
			}
		})
	}
}

// TestDeletePasses: the deletion of what the registry has as a manifest is the registry's affair, and so is that of an index that
// it has taken as it is; a carrier that is there as well goes, too.
func TestDeletePasses(t *testing.T) {
	t.Parallel()
	f := newFollowing(t, registrytest.SupportsChildNamespaces(`{"version":2,"validates":true,"serves":true,"cleansUp":true}`))
	f.Registry.Intercept(f.Registry.Deletes())
	f.Registry.Intercept(f.Registry.Pushes(false))
	data := webIndex(f)
	d := digest.FromString(data).String()
	for _, carried := range []bool{false, true} {
		if got := f.push("v1", ocispec.MediaTypeImageIndex, data); got.Status != http.StatusCreated || !f.has("manifests", digest.Digest(d)) {
			t.Fatalf("%d %s", got.Status, got.Body)
		}
		if carried {
			f.carries(data, "other", true)
		}
		f.Registry.ResetLog()
		if got := f.ask(http.MethodDelete, "/v2/org/app/manifests/"+d); got.Status != http.StatusAccepted {
			t.Errorf("%d %s", got.Status, got.Body)
		}
		var deleted []string
		for _, q := range f.Registry.Log(registrytest.Method(http.MethodDelete)) {
			deleted = append(deleted, string(q.Kind))
		}
		want := []string{"manifest"}
		if carried {
			want = []string{"manifest", "manifest", "manifest", "blob"}
		}
		if !slices.Equal(deleted, want) {
			t.Errorf("deleted %q, want %q", deleted, want)
		}
		f.wantGone(d, "v1", "other")
	}
}
