package nested_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// claims are what an index in a child can say of content that is none of its own.
var claims = map[string]func(of ocispec.Descriptor) []ocispec.Descriptor{
	"the truth": func(d ocispec.Descriptor) []ocispec.Descriptor { return []ocispec.Descriptor{d} },
	"another size": func(d ocispec.Descriptor) []ocispec.Descriptor {
		d.Size++
		return []ocispec.Descriptor{d}
	},
	"another media type": func(d ocispec.Descriptor) []ocispec.Descriptor {
		d.MediaType = map[bool]string{true: "application/octet-stream", false: ocispec.MediaTypeImageIndex}[oci.IsManifestOrIndex(d.MediaType)]
		return []ocispec.Descriptor{d}
	},
	"twelve child namespaces": func(d ocispec.Descriptor) (all []ocispec.Descriptor) {
		for i := range 12 {
			all = append(all, registrytest.Member(d, fmt.Sprint("x", i)))
		}
		return all
	},
	"all of that": func(d ocispec.Descriptor) (all []ocispec.Descriptor) {
		for i := range 12 {
			d.Size, d.MediaType = d.Size+1, ocispec.MediaTypeImageIndex
			all = append(all, d, registrytest.Member(d, fmt.Sprint("x", i)))
		}
		return all
	},
}

// bundleWithClaims is an index of the index with the claims in evil, of an image in web and of an index in deep, whose
// image is in deep/er. It returns what is to be had, manifests and indexes first.
func bundleWithClaims(s *scene, says func(ocispec.Descriptor) []ocispec.Descriptor) (evil ocispec.Descriptor, all []ocispec.Descriptor, bytes map[digest.Digest][]byte) {
	web, own := clienttest.PutImage(s.registry, parent+"/web", "layer of web"), clienttest.PutImage(s.registry, parent, "layer of the parent")
	deeper := clienttest.PutImage(s.registry, parent+"/deep/er", "layer of the deeper")
	index := clienttest.IndexOf(registrytest.Member(deeper.Descriptor, "er"))
	deep := s.registry.Put(parent+"/deep", ocispec.MediaTypeImageIndex, index)
	bytes = map[digest.Digest][]byte{deep.Digest: index}
	all = []ocispec.Descriptor{web.Descriptor, own.Descriptor, deep, deeper.Descriptor}
	for _, i := range []clienttest.Image{web, own, deeper} {
		all = append(all, i.Parts()...)
		maps.Copy(bytes, i.Bytes)
	}
	var lies []ocispec.Descriptor
	for _, d := range all {
		lies = append(lies, says(d)...)
	}
	lies = append(lies, registrytest.Member(clienttest.NewImage("nothing").Descriptor, "one")) // so that it is nested in any case
	evil = s.registry.Put(parent+"/evil", ocispec.MediaTypeImageIndex, clienttest.IndexOf(lies...))
	s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(evil, "evil"), registrytest.Member(web.Descriptor, "web"),
		own.Descriptor, registrytest.Member(deep, "deep")))
	return evil, all, bytes
}

// TestClaims: what an index in one child says of content of others and of the parent hides none of it, whatever is
// known first, whatever the claimed places answer, and whatever of the manifests and indexes in between the store has
// already.
func TestClaims(t *testing.T) {
	for name, says := range claims {
		answers := []int{http.StatusNotFound}
		if name == "all of that" {
			answers = append(answers, http.StatusForbidden, http.StatusBadRequest)
		}
		for _, answer := range answers {
			for _, had := range []int{0, 4} {
				t.Run(fmt.Sprint(name, " ", answer, " ", had), func(t *testing.T) {
					s := newScene(t, nested.Options{})
					s.resolver = nested.New(s.registries(), nested.Options{Store: s.store})
					evil, all, bytes := bundleWithClaims(s, says)
					s.registry.Intercept(registrytest.Answer(answer, nil, registrytest.WithCredentials, func(q registrytest.Request) bool {
						return strings.HasPrefix(q.Repository, parent+"/evil") && q.Reference != evil.Digest.String()
					}))
					ctx := context.Background()
					for _, d := range all[:had] {
						clienttest.NoError(t, content.WriteBlob(ctx, s.store, d.Digest.String(), strings.NewReader(string(bytes[d.Digest])), d))
					}
					fetcher, desc := begin(ctx, t, s.resolver, s.registry.Host()+"/"+parent+":v1")
					for _, d := range append([]ocispec.Descriptor{desc, evil}, all[had:]...) {
						if err := remotes.Fetch(ctx, s.store, fetcher, d); err != nil {
							t.Fatalf("%s of %s: %v", d.MediaType, d.Digest, err)
						}
					}
				})
			}
		}
	}
}
