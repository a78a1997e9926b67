package nested_test

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// supporting is the statement of a registry that keeps nested indexes.
const supporting = `{"version": 2, "validates": true, "serves": true, "cleansUp": true}`

// TestPusherStrategies: how a bundle comes to a registry, and that all that a nested index names has a tag in its own
// repository: its member, its own entry, and what an inner index names.
func TestPusherStrategies(t *testing.T) {
	for _, test := range []struct {
		strategy   nested.Strategy
		says, want string
		asked      int
	}{
		{"", "", "carrier", 1},
		{nested.Auto, `{"version": 2, "validates": true, "cleansUp": false}`, "carrier", 1},
		{nested.Auto, supporting, "reference", 1},
		{nested.Reference, "", "reference", 0},
		{nested.Carrier, supporting, "carrier", 0},
	} {
		t.Run(fmt.Sprintf("%s %.60s", test.strategy, test.says), func(t *testing.T) {
			reg := clienttest.NewRegistry(t, registrytest.SupportsChildNamespaces(test.says))
			reg.Intercept(reg.Pushes(false))
			store := clienttest.NewStore(t)
			db, web, own := storeImage(t, store, "db"), storeImage(t, store, "web"), storeImage(t, store, "own")
			inner := storeDocument(t, store, ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(db, "db")))
			root := storeDocument(t, store, ocispec.MediaTypeImageIndex,
				clienttest.IndexOf(registrytest.Member(web, "web"), registrytest.Member(inner, "data"), own))
			registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
			resolver := nested.New(registries, nested.Options{Store: store, Strategy: test.strategy})
			tag := "nested-" + root.Digest.Encoded()[:12]
			want := map[string]string{ // what is put as a manifest, and as what
				"v1":             ocispec.MediaTypeImageIndex,
				tag:              ocispec.MediaTypeImageManifest,
				"web:" + tag:     ocispec.MediaTypeImageManifest,
				"data:" + tag:    ocispec.MediaTypeImageIndex,
				"data/db:" + tag: ocispec.MediaTypeImageManifest,
			}
			if test.want == "carrier" {
				want["v1"], want["data:"+tag] = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageManifest
			}
			pushAll(t, resolver, reg.Host()+"/"+parent+":v1", root, store)
			got := map[string]string{}
			for _, q := range reg.Log(registrytest.Method(http.MethodPut), registrytest.Of(registrytest.KindManifest)) {
				name := strings.TrimPrefix(strings.TrimPrefix(q.Repository, parent), "/")
				got[strings.TrimPrefix(name+":"+q.Reference, ":")] = q.Header.Get("Content-Type")
			}
			if !maps.Equal(got, want) {
				t.Errorf("manifests %v, want %v", got, want)
			}
			if n := reg.Count(registrytest.Of(registrytest.KindSupport)); n != test.asked {
				t.Errorf("asked %d times, want %d", n, test.asked)
			}
			desc, err := clienttest.Pull(nested.New(registries, nested.Options{}), clienttest.NewStore(t), reg.Host()+"/"+parent+":v1")
			if clienttest.NoError(t, err); desc.Digest != root.Digest {
				t.Errorf("pulled %s, want %s", desc.Digest, root.Digest)
			}
			reg.ResetLog()
			pushAll(t, resolver, reg.Host()+"/"+parent+":v1", root, store)
			if puts := reg.Log(registrytest.Method(http.MethodPut)); len(puts) > 0 {
				t.Errorf("put again: %v", puts)
			}
		})
	}
}

// TestPusherOfCarrier: one that was pulled stays what it is, and the tags are those of the index that it carries.
func TestPusherOfCarrier(t *testing.T) {
	reg := clienttest.NewRegistry(t)
	reg.Intercept(reg.Pushes(false))
	store := clienttest.NewStore(t)
	web := storeImage(t, store, "web")
	index := clienttest.IndexOf(registrytest.Member(web, "web"))
	inside := storeDocument(t, store, ocispec.MediaTypeImageIndex, index)
	desc, data, err := nested.NewCarrier(inside, index)
	clienttest.NoError(t, err)
	storeDocument(t, store, ocispec.MediaTypeEmptyJSON, ocispec.DescriptorEmptyJSON.Data)
	carrier := storeDocument(t, store, desc.MediaType, data)
	registries := clienttest.NewClient(t, registry.Options{PlainHTTP: true})
	pushAll(t, nested.New(registries, nested.Options{Store: store}), reg.Host()+"/"+parent+":v1", carrier, store)
	puts := reg.Log(registrytest.Method(http.MethodPut), registrytest.In(parent+"/web"), registrytest.Of(registrytest.KindManifest))
	if want := "nested-" + inside.Digest.Encoded()[:12]; len(puts) != 1 || puts[0].Reference != want {
		t.Errorf("%v, want %s", puts, want)
	}
	if n := reg.Count(registrytest.Of(registrytest.KindSupport)); n > 0 {
		t.Errorf("asked %d times", n)
	}
}

// pushAll pushes as containerd does.
func pushAll(t *testing.T, resolver *nested.Resolver, ref string, root ocispec.Descriptor, store content.Store) {
	t.Helper()
	pusher, err := resolver.Pusher(t.Context(), ref+"@"+root.Digest.String())
	clienttest.NoError(t, err)
	clienttest.NoError(t, remotes.PushContent(t.Context(), pusher, root, store, nil, platforms.All, nil))
}

func storeImage(t *testing.T, store content.Store, of string) ocispec.Descriptor {
	t.Helper()
	i := clienttest.NewImage(of, "layer of "+of)
	for _, body := range i.Bytes {
		storeDocument(t, store, "", body)
	}
	return i.Descriptor
}

func storeDocument(t *testing.T, store content.Store, mediaType string, data []byte) ocispec.Descriptor {
	t.Helper()
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	clienttest.NoError(t, content.WriteBlob(t.Context(), store, desc.Digest.String(), strings.NewReader(string(data)), desc))
	return desc
}
