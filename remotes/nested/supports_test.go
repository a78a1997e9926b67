package nested_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// supporting is the statement of a registry that keeps nested indexes.
const supporting = `{"version": 2, "validates": true, "serves": true, "cleansUp": true}`

// TestKeepsReferences: an index is pushed as it is only where the registry says, in words that are understood, that it
// looks for members where they are and that its clean-up does, too. It is asked once.
func TestKeepsReferences(t *testing.T) {
	for statement, want := range map[string]bool{
		"":         false, // 404
		supporting: true,
		`{"cleansUp": true, "validates": true, "version": 2, "more": {"later": []}}`: true,
		`{"version": 2, "validates": true, "serves": true, "cleansUp": false}`:       false,
		`{"version": 2, "validates": false, "serves": true, "cleansUp": true}`:       false,
		`{"version": 2}`: false,
		`{"version": 1, "validates": true, "serves": true, "cleansUp": true}`:   false,
		`{"version": 3, "validates": true, "serves": true, "cleansUp": true}`:   false,
		`{"version": "2", "validates": true, "serves": true, "cleansUp": true}`: false,
		`{"version": 2, "validates": "yes", "serves": true, "cleansUp": true}`:  false,
		`<html>log in</html>`:                    false,
		`null`:                                   false,
		supporting + "}":                         false,
		supporting + strings.Repeat(" ", 64<<10): false,
	} {
		reg := newRegistry(t, registrytest.SupportsChildNamespaces(statement))
		registries := registry.New(registry.Options{PlainHTTP: true})
		defer registries.CloseIdleConnections()
		for _, name := range []string{"org/app", "org/app", "org/app/web"} {
			got, err := registries.KeepsReferences(t.Context(), repositoryAt(t, reg, name))
			if got != want || err != nil {
				t.Errorf("%.80s: %t %v, want %t", statement, got, err, want)
			}
		}
		if n := reg.Count(); n != 1 {
			t.Errorf("%.80s: %d requests", statement, n)
		}
	}
	for _, status := range []int{http.StatusAccepted, http.StatusNonAuthoritativeInfo, http.StatusPartialContent, http.StatusNotFound} {
		reg := newRegistry(t, registrytest.SupportsChildNamespaces(supporting))
		reg.Intercept(registrytest.Say(status, "application/json", supporting))
		registries := registry.New(registry.Options{PlainHTTP: true})
		defer registries.CloseIdleConnections()
		if keeps, err := registries.KeepsReferences(t.Context(), repositoryAt(t, reg, parent)); keeps || err != nil {
			t.Errorf("said with status %d: %t, %v", status, keeps, err)
		}
	}
}

func repositoryAt(t *testing.T, reg *registrytest.Registry, name string) auth.Repository {
	t.Helper()
	return must(auth.ParseRepository(reg.Host() + "/" + name))
}

// TestKeepsReferencesToken: it is asked with the repository's own token for pushing, together by all who want to know.
func TestKeepsReferencesToken(t *testing.T) {
	reg := newRegistry(t, registrytest.WithTokenAuth(), registrytest.SupportsChildNamespaces(supporting))
	reg.Allow("all", "secret", parent)
	registries := registry.New(registry.Options{PlainHTTP: true, Credentials: userPassword(t, reg.Host(), "all", "secret")})
	defer registries.CloseIdleConnections()
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			if keeps, err := registries.KeepsReferences(t.Context(), repositoryAt(t, reg, parent)); !keeps || err != nil {
				t.Error(keeps, err)
			}
		})
	}
	group.Wait()
	asked, tokens := reg.Log(registrytest.Of(registrytest.KindSupport)), reg.Log(registrytest.Of(registrytest.KindToken))
	last := asked[len(asked)-1]
	if want := []string{"repository:" + parent + ":pull,push"}; len(asked) != 2 || last.Status != http.StatusOK || !slices.Equal(last.Scopes, want) || len(tokens) != 1 {
		t.Errorf("%v\n%v", asked, tokens)
	}
}

// TestKeepsReferencesError: that it could not be found out is no answer, and not kept; for a strategy it is no.
func TestKeepsReferencesError(t *testing.T) {
	reg := newRegistry(t, registrytest.WithTokenAuth(), registrytest.SupportsChildNamespaces(supporting))
	registries := registry.New(registry.Options{PlainHTTP: true, Credentials: userPassword(t, reg.Host(), "all", "secret")})
	defer registries.CloseIdleConnections()
	at := repositoryAt(t, reg, parent)
	if _, err := registries.KeepsReferences(t.Context(), at); err == nil {
		t.Error("no error with a wrong password")
	}
	if keeps, err := nested.KeepsReferences(t.Context(), registries, at); keeps || err != nil {
		t.Error(keeps, err)
	}
	if keeps, err := nested.KeepsReferences(t.Context(), nil, at); keeps || err != nil {
		t.Error(keeps, err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := nested.KeepsReferences(ended, registries, at); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	reg.Allow("all", "secret", parent)
	if keeps, err := registries.KeepsReferences(t.Context(), at); !keeps || err != nil {
		t.Error(keeps, err)
	}
}

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
			reg := newRegistry(t, registrytest.SupportsChildNamespaces(test.says))
			reg.Intercept(reg.Pushes(false))
			store := newStore(t)
			db, web, own := storeImage(t, store, "db"), storeImage(t, store, "web"), storeImage(t, store, "own")
			inner := storeDocument(t, store, ocispec.MediaTypeImageIndex, indexOf(registrytest.Member(db, "db")))
			root := storeDocument(t, store, ocispec.MediaTypeImageIndex,
				indexOf(registrytest.Member(web, "web"), registrytest.Member(inner, "data"), own))
			registries := registry.New(registry.Options{PlainHTTP: true})
			defer registries.CloseIdleConnections()
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
			desc, err := pull(nested.New(registries, nested.Options{}), newStore(t), reg.Host()+"/"+parent+":v1")
			if check(t, err); desc.Digest != root.Digest {
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
	reg := newRegistry(t)
	reg.Intercept(reg.Pushes(false))
	store := newStore(t)
	web := storeImage(t, store, "web")
	index := indexOf(registrytest.Member(web, "web"))
	inside := storeDocument(t, store, ocispec.MediaTypeImageIndex, index)
	desc, data, err := nested.NewCarrier(inside, index)
	check(t, err)
	storeDocument(t, store, ocispec.MediaTypeEmptyJSON, ocispec.DescriptorEmptyJSON.Data)
	carrier := storeDocument(t, store, desc.MediaType, data)
	registries := registry.New(registry.Options{PlainHTTP: true})
	defer registries.CloseIdleConnections()
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
	check(t, err)
	check(t, remotes.PushContent(t.Context(), pusher, root, store, nil, platforms.All, nil))
}

func storeImage(t *testing.T, store content.Store, of string) ocispec.Descriptor {
	t.Helper()
	i := newImage(of, "layer of "+of)
	for _, body := range i.bytes {
		storeDocument(t, store, "", body)
	}
	return i.Descriptor
}

func storeDocument(t *testing.T, store content.Store, mediaType string, data []byte) ocispec.Descriptor {
	t.Helper()
	desc := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
	check(t, content.WriteBlob(t.Context(), store, desc.Digest.String(), strings.NewReader(string(data)), desc))
	return desc
}
