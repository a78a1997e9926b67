package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/registry"
)

// pushManifest pushes a manifest as every user of a pusher does.
func pushManifest(t *testing.T, reg *registrytest.Registry, desc ocispec.Descriptor, data []byte) error {
	t.Helper()
	registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
	pusher, err := registries.Pusher(t.Context(), reg.Host()+"/"+parent+"@"+desc.Digest.String())
	clienttest.NoError(t, err)
	w, err := pusher.Push(t.Context(), desc)
	if errdefs.IsAlreadyExists(err) {
		return registries.ListReferrer(t.Context(), clienttest.Repository(t, reg.Host()+"/"+parent), desc, data)
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
	return clienttest.Describe(ocispec.MediaTypeImageManifest, []byte(data)), []byte(data)
}

// taggedReferrers is the list under the tag.
func taggedReferrers(t *testing.T, reg *registrytest.Registry, subject ocispec.Descriptor) []ocispec.Descriptor {
	t.Helper()
	client := reg.Client()
	defer client.CloseIdleConnections()
	resp, err := client.Get(reg.URL() + "/v2/" + parent + "/manifests/" + oci.ReferrersTag(subject.Digest))
	clienttest.NoError(t, err)
	defer resp.Body.Close()
	var index ocispec.Index
	if resp.StatusCode == http.StatusOK {
		clienttest.NoError(t, json.NewDecoder(resp.Body).Decode(&index))
	}
	return index.Manifests
}

// TestPushedReferrer: a manifest with a subject is listed under the tag where the registry does not list it, beside what
// is there, once, and also when it was there before; a registry that lists it is left to it.
func TestPushedReferrer(t *testing.T) {
	without := registrytest.Say(404, "application/json", "{}", registrytest.Of(registrytest.KindReferrers))
	t.Run("no API", func(t *testing.T) {
		reg := clienttest.NewRegistry(t)
		image := clienttest.PutImage(reg, parent, "layer").Descriptor
		reg.Intercept(without)
		reg.Intercept(reg.Pushes(false))
		first, firstData := newReferrer(image, "first")
		second, secondData := newReferrer(image, "second")
		reg.Put(parent, second.MediaType, secondData) // by a push that was broken off
		for range 2 {
			clienttest.NoError(t, pushManifest(t, reg, first, firstData))
			clienttest.NoError(t, pushManifest(t, reg, second, secondData))
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
			reg := clienttest.NewRegistry(t)
			image := clienttest.PutImage(reg, parent, "layer").Descriptor
			desc, data := newReferrer(image, "first")
			reg.Intercept(api)
			reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
				if req.Method == http.MethodPut && name == "OCI-Subject" {
					w.Header().Set("OCI-Subject", image.Digest.String())
				}
				return false
			})
			reg.Intercept(reg.Pushes(false))
			clienttest.NoError(t, pushManifest(t, reg, desc, data))
			if n := reg.Count(registrytest.Method(http.MethodPut)); n != 1 {
				t.Errorf("%d manifests were put", n)
			}
		})
	}
	t.Run("another subject is said", func(t *testing.T) {
		reg := clienttest.NewRegistry(t)
		image := clienttest.PutImage(reg, parent, "layer").Descriptor
		desc, data := newReferrer(image, "first")
		reg.Intercept(without)
		reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
			w.Header().Set("OCI-Subject", desc.Digest.String())
			return false
		})
		reg.Intercept(reg.Pushes(false))
		clienttest.NoError(t, pushManifest(t, reg, desc, data))
		if got := taggedReferrers(t, reg, image); len(got) != 1 {
			t.Errorf("%+v", got)
		}
	})
}

// TestPushedReferrerBesideOthers: what somebody else lists between the look and the change stays.
func TestPushedReferrerBesideOthers(t *testing.T) {
	for _, minds := range []bool{true, false} {
		for _, before := range []bool{true, false} {
			reg := clienttest.NewRegistry(t)
			image := clienttest.PutImage(reg, parent, "layer").Descriptor
			earlier := reg.Referrer(parent, image, "application/x-earlier")
			other := reg.Referrer(parent, image, "application/x-other")
			want := []string{"application/x-mine", "application/x-other"}
			tag := oci.ReferrersTag(image.Digest)
			if before {
				want = append(want, "application/x-earlier")
				reg.Tag(parent, tag, reg.Index(parent, earlier).Digest)
			}
			reg.Intercept(registrytest.Say(404, "application/json", "{}", registrytest.Of(registrytest.KindReferrers)))
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
			clienttest.NoError(t, pushManifest(t, reg, desc, data))
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
			return clienttest.PutImage(r, parent, "other").Descriptor
		},
	} {
		t.Run(name, func(t *testing.T) {
			reg := clienttest.NewRegistry(t)
			index := reg.Index(parent, clienttest.PutImage(reg, parent, "layer").Descriptor)
			reg.Tag(parent, oci.ReferrersTag(index.Digest), tagged(reg, index).Digest)
			reg.Intercept(registrytest.Say(404, "application/json", "{}", registrytest.Of(registrytest.KindReferrers)))
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
