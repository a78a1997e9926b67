package nested_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// plainRoots are roots that have nothing to do with child namespaces. Each
// puts its content into the parent and returns the root.
var plainRoots = map[string]func(*registrytest.Registry) ocispec.Descriptor{
	"image": func(r *registrytest.Registry) ocispec.Descriptor {
		return clienttest.PutImage(r, parent, "one", "two").Descriptor
	},
	"artifact": func(r *registrytest.Registry) ocispec.Descriptor {
		return r.Artifact(parent, "application/x-test", r.PutBlob(parent, "application/x-data", []byte("data")))
	},
	"multi-platform index": func(r *registrytest.Registry) ocispec.Descriptor {
		return r.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(
			r.ImageFor(ocispec.Platform{OS: "linux", Architecture: "amd64"}, parent, []byte("a")),
			r.ImageFor(ocispec.Platform{OS: "linux", Architecture: "arm64"}, parent, []byte("b"))))
	},
	"index of indexes": func(r *registrytest.Registry) ocispec.Descriptor {
		return putPlain(r, putPlain(r, clienttest.PutImage(r, parent, "one").Descriptor), clienttest.PutImage(r, parent, "two").Descriptor)
	},
	"docker manifest list": func(r *registrytest.Registry) ocispec.Descriptor {
		return r.Put(parent, "application/vnd.docker.distribution.manifest.list.v2+json", clienttest.IndexOf(clienttest.PutImage(r, parent, "one").Descriptor))
	},
	"duplicate keys": func(r *registrytest.Registry) ocispec.Descriptor {
		body := clienttest.IndexOf(clienttest.PutImage(r, parent, "one").Descriptor)
		return r.Put(parent, ocispec.MediaTypeImageIndex, bytes.Replace(body, []byte(`"schemaVersion":2`), []byte(`"schemaVersion":2,"schemaVersion":2`), 1))
	},
	"case variants": func(r *registrytest.Registry) ocispec.Descriptor {
		body := clienttest.IndexOf(clienttest.PutImage(r, parent, "one").Descriptor)
		return r.Put(parent, ocispec.MediaTypeImageIndex, bytes.Replace(body, []byte(`"manifests"`), []byte(`"Manife\u017fts"`), 1))
	},
	"invalid UTF-8": func(r *registrytest.Registry) ocispec.Descriptor {
		d := clienttest.PutImage(r, parent, "one").Descriptor
		d.Annotations = map[string]string{"a": "MARK"}
		return r.Put(parent, ocispec.MediaTypeImageIndex, bytes.Replace(clienttest.IndexOf(d), []byte("MARK"), []byte("\xff"), 1))
	},
	"another media type inside": func(r *registrytest.Registry) ocispec.Descriptor {
		body := clienttest.IndexOf(clienttest.PutImage(r, parent, "one").Descriptor)
		return r.Put(parent, ocispec.MediaTypeImageIndex, bytes.Replace(body, []byte(ocispec.MediaTypeImageIndex), []byte("application/x-other"), 1))
	},
	"deep nesting": func(r *registrytest.Registry) ocispec.Descriptor {
		body := clienttest.IndexOf(clienttest.PutImage(r, parent, "one").Descriptor)
		deep := `{"x":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + ","
		return r.Put(parent, ocispec.MediaTypeImageIndex, bytes.Replace(body, []byte("{"), []byte(deep), 1))
	},
	"property that is no namespace": func(r *registrytest.Registry) ocispec.Descriptor {
		body := clienttest.IndexOf(clienttest.PutImage(r, parent, "one").Descriptor)
		return r.Put(parent, ocispec.MediaTypeImageIndex, bytes.Replace(body, []byte(`"digest"`), []byte(`"namespace":{"a":[1]},"digest"`), 1))
	},
	"annotation on a layer": func(r *registrytest.Registry) ocispec.Descriptor {
		i := clienttest.PutImage(r, parent, "one", "two")
		i.Layers[0] = registrytest.Member(i.Layers[0], "other")
		i.Config = registrytest.Member(i.Config, "other")
		return r.Put(parent, ocispec.MediaTypeImageManifest, clienttest.ManifestOf(i.Config, i.Layers...))
	},
	"manifest of 5 MiB": func(r *registrytest.Registry) ocispec.Descriptor {
		i := clienttest.PutImage(r, parent, "one")
		i.Layers[0].Annotations = map[string]string{"pad": strings.Repeat("x", 5<<20)}
		return putPlain(r, r.Put(parent, ocispec.MediaTypeImageManifest, clienttest.ManifestOf(i.Config, i.Layers...)))
	},
	"body longer than described": func(r *registrytest.Registry) ocispec.Descriptor {
		d := clienttest.PutImage(r, parent, "one").Descriptor
		d.Size--
		return putPlain(r, d)
	},
	"body of another digest": func(r *registrytest.Registry) ocispec.Descriptor {
		d := clienttest.PutImage(r, parent, "one").Descriptor
		r.PutAs(parent, d.MediaType, d.Digest, bytes.Repeat([]byte(" "), int(d.Size)))
		return putPlain(r, d)
	},
	"missing member": func(r *registrytest.Registry) ocispec.Descriptor {
		return putPlain(r, clienttest.NewImage("missing").Descriptor)
	},
	"missing config": func(r *registrytest.Registry) ocispec.Descriptor {
		i := clienttest.NewImage("lacks its config")
		i.ManifestIn(r, parent)
		return i.Descriptor
	},
	"deep nesting in a manifest": func(r *registrytest.Registry) ocispec.Descriptor {
		i := clienttest.PutImage(r, parent, "one")
		deep := `{"x":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + ","
		return r.Put(parent, i.MediaType, bytes.Replace(i.Bytes[i.Digest], []byte("{"), []byte(deep), 1))
	},
	"not JSON": func(r *registrytest.Registry) ocispec.Descriptor {
		return r.Put(parent, ocispec.MediaTypeImageIndex, []byte("\xef\xbb\xbf{}"))
	},
	"trailing bytes": func(r *registrytest.Registry) ocispec.Descriptor {
		return r.Put(parent, ocispec.MediaTypeImageManifest, append(clienttest.ManifestOf(clienttest.NewImage("x").Config), "{}"...))
	},
	"member without a known type": func(r *registrytest.Registry) ocispec.Descriptor {
		return putPlain(r, r.PutBlob(parent, "application/x-unknown", []byte("data")))
	},
}

// putPlain puts an index into the parent.
func putPlain(r *registrytest.Registry, members ...ocispec.Descriptor) ocispec.Descriptor {
	return r.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(members...))
}

// TestPlainRoots: what has nothing to do with child namespaces is pulled as
// if there was nothing around containerd's own resolver: with the same
// requests, into the same store, to the same end.
func TestPlainRoots(t *testing.T) {
	for name, put := range plainRoots {
		t.Run(name, func(t *testing.T) {
			registry := clienttest.NewRegistry(t)
			root := put(registry)
			registry.Tag(parent, "v1", root.Digest)
			bare, wrapped := clienttest.NewStore(t), clienttest.NewStore(t)
			want, bareErr := pullLogged(registry, dockerResolver(), bare)
			got, wrappedErr := pullLogged(registry, nested.New(dockerResolver(), nested.Options{}), wrapped)
			// A manifest or index is read in Fetch, where containerd copies it first.
			if trim := strings.TrimPrefix; trim(fmt.Sprint(bareErr), "failed to copy: ") != trim(fmt.Sprint(wrappedErr), "failed to copy: ") {
				t.Errorf("wrapped it ends with %v, bare with %v", wrappedErr, bareErr)
			}
			if !slices.Equal(got, want) {
				t.Errorf("wrapped it asks:\n  %s\nbare:\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
			if got, want := digests(wrapped), digests(bare); !slices.Equal(got, want) {
				t.Errorf("wrapped it stores %q, bare %q", got, want)
			}
		})
	}
}

// dockerResolver is containerd's own.
func dockerResolver() remotes.Resolver {
	return docker.NewResolver(docker.ResolverOptions{Hosts: docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchAllHosts))})
}

// pullLogged pulls the tag v1 and returns what was asked for. Requests whose
// headers differ are different requests.
func pullLogged(registry *registrytest.Registry, resolver remotes.Resolver, store content.Store) (requests []string, err error) {
	registry.ResetLog()
	_, err = clienttest.Pull(resolver, store, registry.Host()+"/"+parent+":v1")
	requests = clienttest.Asked(registry)
	for _, q := range registry.Log() {
		requests = append(requests, fmt.Sprint(q.Method, q.Path, q.Query, q.Header))
	}
	slices.Sort(requests)
	return requests, err
}

// digests lists what is in a store.
func digests(store content.Store) []string {
	var found []string
	_ = store.Walk(context.Background(), func(info content.Info) error {
		found = append(found, info.Digest.String())
		return nil
	})
	slices.Sort(found)
	return found
}

// TestForeignReferences: an error of the wrapped resolver is passed
// on as it is, and so is a reference that names no repository.
func TestForeignReferences(t *testing.T) {
	failure := errors.New("of the wrapped resolver")
	resolver := nested.New(brokenResolver{failure}, nested.Options{})
	for _, ref := range []string{"reg.test/Upper:v1", "reg.test/p:v1", "no reference", ""} {
		if _, _, err := resolver.Resolve(context.Background(), ref); !errors.Is(err, failure) {
			t.Errorf("Resolve(%q): %v", ref, err)
		}
		if _, err := resolver.Fetcher(context.Background(), ref); !errors.Is(err, failure) {
			t.Errorf("Fetcher(%q): %v", ref, err)
		}
		if _, err := resolver.Pusher(context.Background(), ref); !errors.Is(err, failure) {
			t.Errorf("Pusher(%q): %v", ref, err)
		}
	}
}

type brokenResolver struct{ err error }

func (b brokenResolver) Resolve(context.Context, string) (string, ocispec.Descriptor, error) {
	return "", ocispec.Descriptor{}, b.err
}
func (b brokenResolver) Fetcher(context.Context, string) (remotes.Fetcher, error) { return nil, b.err }
func (b brokenResolver) Pusher(context.Context, string) (remotes.Pusher, error)   { return nil, b.err }
