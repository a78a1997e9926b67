package nested_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestIndexInAChild: an index in the child a, which has images for two platforms in children of its own.
func TestIndexInAChild(t *testing.T) {
	s := newScene(t, nested.Options{})
	amd64 := s.registry.ImageFor(ocispec.Platform{OS: "linux", Architecture: "amd64"}, parent+"/a/b", []byte("b"))
	arm64 := s.registry.ImageFor(ocispec.Platform{OS: "linux", Architecture: "arm64"}, parent+"/a/c", []byte("c"))
	inner := s.registry.Put(parent+"/a", ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(amd64, "b"), registrytest.Member(arm64, "c")))
	s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(inner, "a")))
	_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1",
		images.FilterPlatforms(images.ChildrenHandler(s.store), platforms.Only(platforms.MustParse("linux/arm64"))))
	clienttest.NoError(t, err)
	if got := s.repositoriesAsked(arm64.Digest); !slices.Equal(got, []string{"/a/c"}) {
		t.Errorf("arm64 was asked for in %q", got)
	}
	if n := s.registry.Count(registrytest.In(parent + "/a/b")); n > 0 {
		t.Errorf("%d requests for the other platform", n)
	}
}

// TestThreeLevels: two members of two levels each, side by side, from one context; each token has one scope.
func TestThreeLevels(t *testing.T) {
	s := newScene(t, nested.Options{})
	var members []ocispec.Descriptor
	scopes := []string{"repository:" + parent + ":pull"}
	for _, name := range []string{"a", "b"} {
		at := parent + "/" + name
		deep := clienttest.PutImage(s.registry, at+"/c", "layer of "+name)
		members = append(members, registrytest.Member(s.registry.Put(at, ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(deep.Descriptor, "c"))), name))
		scopes = append(scopes, "repository:"+at+":pull", "repository:"+at+"/c:pull")
	}
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(members...))))
	var got []string
	for _, q := range s.registry.Log(registrytest.Of(registrytest.KindToken)) {
		got = append(got, strings.Join(q.Scopes, " "))
	}
	slices.Sort(got)
	if slices.Sort(scopes); !slices.Equal(got, scopes) {
		t.Errorf("tokens for %q, want %q", got, scopes)
	}
}

// TestEmbeddedTooMuch: ten MiB in a descriptor's data make the index larger than one may be.
func TestEmbeddedTooMuch(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.PutImage(s.registry, parent+"/web", "layer")
	d := member.Descriptor
	d.Data = []byte(strings.Repeat(" ", 10<<20))
	s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(d, "web")))
	_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
	clienttest.WantError(t, err, "larger than")
	s.want(clienttest.TagGet(parent))
	inner := s.registry.Put(parent+"/a", ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(d, "web")))
	s.registry.ResetLog()
	clienttest.WantError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(inner, "a")))), "size")
	s.want(clienttest.TagGet(parent))
}

// TestOneMemberIsEnough: who may read the parent and one child pulls that child.
func TestOneMemberIsEnough(t *testing.T) {
	s, web, worker := tenants(t, pathKeys)
	s.source.Source = clienttest.Stores(t, object{"auths": object{
		s.registry.Host() + "/" + parent:          clienttest.Entry(userOf(""), passwordOf("")),
		s.registry.Host() + "/" + parent + "/web": clienttest.Entry(userOf("/web"), passwordOf("/web")),
	}})
	children := images.ChildrenHandler(s.store)
	_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1", images.HandlerFunc(func(ctx context.Context, d ocispec.Descriptor) ([]ocispec.Descriptor, error) {
		all, err := children(ctx, d)
		return slices.DeleteFunc(all, func(d ocispec.Descriptor) bool { return d.Digest == worker.Digest }), err
	}))
	clienttest.NoError(t, err)
	s.want(clienttest.TagGet(parent), web.All(parent+"/web"))
}
