package nested_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// TestReferrersInPages: a list in pages is read to its end, and what a member's
// referrers are is asked for where the member is.
func TestReferrersInPages(t *testing.T) {
	for name, test := range map[string]struct {
		link string // of the first page, when it is not the registry's own
		body string // of each page, when it is not the registry's own
		want string // what the error says
	}{
		"whole":          {},
		"another host":   {`<http://evil.test/v2/x/referrers/y>; rel="next"`, "", "goes on elsewhere"},
		"another path":   {`</v2/org/secret/blobs/x>; rel="next"`, "", "goes on elsewhere"},
		"without an end": {"same", "", "more than 100 pages"},
		"100,000":        {"", manyReferrers(100_000), "larger than an index may be"},
		"10,000 a page":  {"same", manyReferrers(10_000), "larger than an index may be"},
	} {
		t.Run(name, func(t *testing.T) {
			reg := clienttest.NewRegistry(t, registrytest.ReferrersInPages(2))
			member := clienttest.PutImage(reg, parent+"/web", "layer")
			for i := range 5 {
				reg.Put(parent+"/web", ocispec.MediaTypeImageManifest, []byte(fmt.Sprintf(
					`{"schemaVersion":2,"mediaType":%q,"artifactType":"a/%d","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"subject":{"mediaType":%q,"digest":%q,"size":%d}}`,
					ocispec.MediaTypeImageManifest, i, ocispec.DescriptorEmptyJSON.Digest, member.MediaType, member.Digest, member.Size)))
			}
			reg.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")), "v1")
			if test.link == "same" {
				test.link = fmt.Sprintf(`</v2/%s/web/referrers/%s>; rel="next"`, parent, member.Digest)
			}
			if test.link != "" && test.body == "" {
				test.body = `{"schemaVersion":2,"manifests":[]}`
			}
			if test.body != "" {
				reg.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
					if registrytest.Describe(req).Kind != registrytest.KindReferrers {
						return false
					}
					w.Header().Set("Link", test.link)
					w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
					_, _ = w.Write([]byte(test.body)) // who has had enough goes away
					return true
				})
			}
			registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
			resolver := nested.New(registries, nested.Options{})
			fetcher, root := begin(t.Context(), t, resolver, reg.Host()+"/"+parent+":v1")
			if _, err := fetcher.Children(t.Context(), root); err != nil {
				t.Fatal(err)
			}
			got, err := fetcher.Referrers(t.Context(), member.Descriptor, clienttest.Repository(t, reg.Host()+"/"+parent+"/web"))
			if test.want != "" {
				clienttest.WantError(t, err, test.want)
				if n := reg.Count(registrytest.Of(registrytest.KindReferrers)); n > 100 {
					t.Errorf("%d requests", n)
				}
				return
			}
			clienttest.NoError(t, err)
			var asked int
			for _, q := range reg.Log(registrytest.Of(registrytest.KindReferrers)) {
				if q.Repository == parent+"/web" && strings.HasSuffix(q.Path, member.Digest.String()) {
					asked++
				}
			}
			if len(got) != 5 || asked != 3 {
				t.Errorf("%d referrers in %d requests", len(got), asked)
			}
		})
	}
}

// manyReferrers is a list of artifacts that nobody has.
func manyReferrers(n int) string {
	entry := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":2},`, ocispec.MediaTypeImageManifest, ocispec.DescriptorEmptyJSON.Digest)
	return `{"schemaVersion":2,"manifests":[` + strings.TrimSuffix(strings.Repeat(entry, n), ",") + `]}`
}
