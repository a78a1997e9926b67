package nested_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// bundle puts an index of two members, web and worker, and pulls it.
func bundle(t *testing.T, s *scene) (root ocispec.Descriptor, web, worker clienttest.Image) {
	t.Helper()
	web = clienttest.PutImage(s.registry, parent+"/web", "layer of web")
	worker = clienttest.PutImage(s.registry, parent+"/worker", "layer of worker")
	root = s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(
		registrytest.Member(web.Descriptor, "web"), registrytest.Member(worker.Descriptor, "worker")))
	clienttest.NoError(t, s.pull(root))
	return root, web, worker
}

// again is the scene's registry and store for a new process.
func (s *scene) again(withStore bool) {
	options := nested.Options{}
	if withStore {
		options.Store = s.store
	}
	s.resolver = nested.New(s.registries(), options)
	s.registry.ResetLog()
}

// TestPullIntoAWarmStore: what was in the store before is not asked for, and
// what it points to is still found.
func TestPullIntoAWarmStore(t *testing.T) {
	for name, test := range map[string]struct {
		gone func(web, worker clienttest.Image) []ocispec.Descriptor // from the store
		// what is asked for besides the tag, when the resolver knows the
		// store, and more of it otherwise
		withStore func(web, worker clienttest.Image) [][]string
		without   func(web, worker clienttest.Image) [][]string
	}{
		"nothing is missing": {
			func(web, worker clienttest.Image) []ocispec.Descriptor { return nil },
			func(web, worker clienttest.Image) [][]string { return nil },
			func(web, worker clienttest.Image) [][]string { return nil },
		},
		"a layer of the first": {
			func(web, worker clienttest.Image) []ocispec.Descriptor { return web.Layers },
			func(web, worker clienttest.Image) [][]string {
				return [][]string{clienttest.Gets(parent+"/web", 200, web.Layers...)}
			},
			func(web, worker clienttest.Image) [][]string {
				return [][]string{clienttest.Gets(parent+"/web", 200, web.Descriptor)}
			},
		},
		"a layer of the last": {
			func(web, worker clienttest.Image) []ocispec.Descriptor { return worker.Layers },
			func(web, worker clienttest.Image) [][]string {
				return [][]string{clienttest.Gets(parent+"/worker", 200, worker.Layers...)}
			},
			func(web, worker clienttest.Image) [][]string {
				return [][]string{clienttest.Gets(parent+"/web", 200, web.Descriptor), clienttest.Gets(parent+"/worker", 200, worker.Descriptor)}
			},
		},
		"all layers": {
			func(web, worker clienttest.Image) []ocispec.Descriptor {
				return slices.Concat(web.Layers, worker.Layers)
			},
			func(web, worker clienttest.Image) [][]string {
				return [][]string{clienttest.Gets(parent+"/web", 200, web.Layers...), clienttest.Gets(parent+"/worker", 200, worker.Layers...)}
			},
			func(web, worker clienttest.Image) [][]string {
				return [][]string{clienttest.Gets(parent+"/web", 200, web.Descriptor), clienttest.Gets(parent+"/worker", 200, worker.Descriptor)}
			},
		},
		"a whole member": {
			func(web, worker clienttest.Image) []ocispec.Descriptor { return append(web.Parts(), web.Descriptor) },
			func(web, worker clienttest.Image) [][]string { return [][]string{web.All(parent + "/web")} },
			func(web, worker clienttest.Image) [][]string { return nil },
		},
	} {
		for _, withStore := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, store %t", name, withStore), func(t *testing.T) {
				s := newScene(t, nested.Options{})
				root, web, worker := bundle(t, s)
				for _, d := range test.gone(web, worker) {
					clienttest.NoError(t, s.store.Delete(context.Background(), d.Digest))
				}
				s.again(withStore)
				clienttest.NoError(t, s.pull(root))
				want := append(test.withStore(web, worker), clienttest.TagGet(parent))
				if !withStore {
					want = append(want, test.without(web, worker)...)
				}
				s.want(want...)
			})
		}
	}
}

// damagedStore is a store in which one blob is something else.
type damagedStore struct {
	content.Store
	damaged digest.Digest
	is      content.ReaderAt
}

func (s damagedStore) ReaderAt(ctx context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	if d.Digest == s.damaged {
		return s.is, nil
	}
	return s.Store.ReaderAt(ctx, d)
}

type damagedBlob struct {
	io.ReaderAt
	size int64
}

func (b damagedBlob) Size() int64  { return b.size }
func (b damagedBlob) Close() error { return nil }

type unread struct{ t *testing.T }

func (u unread) ReadAt([]byte, int64) (int, error) {
	u.t.Error("what is larger than it should be is read")
	return 0, io.EOF
}

// TestDamagedStore: a manifest or index that is not in the store as it should be is not believed, but asked for.
func TestDamagedStore(t *testing.T) {
	for name, is := range map[string]func(web clienttest.Image) damagedBlob{
		"other bytes": func(web clienttest.Image) damagedBlob {
			other := strings.NewReader(strings.Replace(string(web.Bytes[web.Digest]), web.Layers[0].Digest.Encoded()[:8], "00000000", 1))
			return damagedBlob{other, other.Size()}
		},
		"larger": func(clienttest.Image) damagedBlob { return damagedBlob{unread{t}, 1 << 40} },
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			root, web, _ := bundle(t, s)
			clienttest.NoError(t, s.store.Delete(context.Background(), web.Layers[0].Digest))
			s.registry.ResetLog()
			s.resolver = nested.New(s.registries(), nested.Options{Store: damagedStore{s.store, web.Digest, is(web)}})
			clienttest.NoError(t, s.pull(root))
			s.want(clienttest.TagGet(parent), clienttest.Gets(parent+"/web", 200, web.Descriptor), clienttest.Gets(parent+"/web", 200, web.Layers...))
		})
	}
}

// TestOtherPlatform: the index is in the store since another platform's pull.
func TestOtherPlatform(t *testing.T) {
	s := newScene(t, nested.Options{})
	var members []ocispec.Descriptor
	for _, arch := range []string{"amd64", "arm64"} {
		platform := ocispec.Platform{OS: "linux", Architecture: arch}
		members = append(members, registrytest.Member(s.registry.ImageFor(platform, parent+"/"+arch, []byte(arch)), arch))
	}
	s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(members...))
	for _, withStore := range []bool{true, false} {
		s.store = clienttest.NewStore(t)
		for i, arch := range []string{"amd64", "arm64"} {
			s.again(withStore)
			matcher := platforms.Only(platforms.MustParse("linux/" + arch))
			_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1",
				images.FilterPlatforms(images.ChildrenHandler(s.store), matcher))
			clienttest.NoError(t, err)
			if got := s.repositoriesAsked(members[i].Digest); !slices.Equal(got, []string{"/" + arch}) {
				t.Errorf("%s was asked for in %q", arch, got)
			}
			if n := s.registry.Count(registrytest.In(parent + "/" + []string{"arm64", "amd64"}[i])); n != 0 {
				t.Errorf("%d requests for the other platform", n)
			}
		}
	}
}

// TestRestOfALayerIsAskedFor: half of a layer is there; the rest is asked for.
func TestRestOfALayerIsAskedFor(t *testing.T) {
	for name, ignored := range map[string]bool{"in part": false, "ranges are ignored": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			layer := strings.Repeat("0123456789", 10_000)
			member := clienttest.PutImage(s.registry, parent+"/web", layer)
			root := s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")))
			ofLayer := func(q registrytest.Request) bool { return q.Reference == member.Layers[0].Digest.String() }
			if ignored {
				s.registry.Intercept(registrytest.IgnoreRange())
			}
			halfWritten(t, s.store, member.Layers[0], layer[:40_000])
			clienttest.NoError(t, s.pull(root))
			log := s.registry.Log(ofLayer, registrytest.WithCredentials)
			want := "bytes=40000-"
			if len(log) != 1 || log[0].Header.Get("Range") != want {
				t.Errorf("the layer was asked for with %v", log)
			}
			if !clienttest.Stored(s.store, member.Layers[0]) {
				t.Error("the layer is not stored")
			}
		})
	}
}

// halfWritten leaves what a killed pull leaves in a store.
func halfWritten(t *testing.T, store content.Store, d ocispec.Descriptor, written string) {
	t.Helper()
	ctx := context.Background()
	w, err := store.Writer(ctx, content.WithRef(remotes.MakeRefKey(ctx, d)), content.WithDescriptor(d))
	clienttest.NoError(t, err)
	_, err = w.Write([]byte(written))
	clienttest.NoError(t, err)
	clienttest.NoError(t, w.Close())
}

// TestBrokenTransfer: a layer whose connection breaks is continued.
func TestBrokenTransfer(t *testing.T) {
	s := newScene(t, nested.Options{})
	layer := strings.Repeat("0123456789", 10_000)
	member := clienttest.PutImage(s.registry, parent+"/web", layer)
	ofLayer := func(q registrytest.Request) bool { return q.Reference == member.Layers[0].Digest.String() }
	s.registry.Intercept(s.registry.Truncate(40_000, ofLayer, registrytest.WithCredentials, registrytest.First(1, ofLayer, registrytest.WithCredentials)))
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")))))
	log := s.registry.Log(ofLayer, registrytest.WithCredentials)
	if len(log) != 2 || log[1].Range != "bytes=40000-" {
		t.Errorf("the layer was asked for with %v", log)
	}
}

// TestPullsAtOnce: one resolver, several roots and tags, several pulls each.
func TestPullsAtOnce(t *testing.T) {
	s := newScene(t, nested.Options{})
	refs := []string{}
	for i := range 3 {
		repository, child := fmt.Sprintf("org/app%d", i), fmt.Sprint("c", i)
		for _, tag := range []string{"v1", "v2"} {
			member := clienttest.PutImage(s.registry, repository+"/"+child, tag)
			s.registry.Put(repository, ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, child)), tag)
			refs = append(refs, s.registry.Host()+"/"+repository+":"+tag)
		}
	}
	var wg sync.WaitGroup
	for range 3 {
		for _, ref := range refs {
			store := clienttest.NewStore(t)
			wg.Go(func() {
				if _, err := clienttest.Pull(s.resolver, store, ref); err != nil {
					t.Error(err)
				}
				if n := len(digests(store)); n != 4 {
					t.Errorf("%d of 4 blobs are stored", n)
				}
			})
		}
	}
	wg.Wait()
}

// TestOnePullFromSeveralGoroutines: a fetcher serves a runtime's goroutines,
// all of which want the same that none of them has seen.
func TestOnePullFromSeveralGoroutines(t *testing.T) {
	s := newScene(t, nested.Options{})
	_, web, worker := bundle(t, s)
	s.again(false)
	ctx := context.Background()
	fetcher, _ := begin(ctx, t, s.resolver, s.registry.Host()+"/"+parent+":v1")
	var wg sync.WaitGroup
	for range 8 {
		for _, d := range slices.Concat(web.Layers, worker.Layers, web.Parts()[:1]) {
			store := clienttest.NewStore(t)
			wg.Go(func() {
				if err := remotes.Fetch(ctx, store, fetcher, d); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for _, d := range []digest.Digest{web.Digest, worker.Digest} {
		if n := s.registry.Count(func(q registrytest.Request) bool { return q.Reference == d.String() && q.Status == 200 }); n > 1 {
			t.Errorf("%s was asked for %d times", d, n)
		}
	}
}

// TestTagMoves: each pull begins anew.
func TestTagMoves(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.NewImage("member", "layer")
	member.In(s.registry, parent+"/a")
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "a")))))
	for _, d := range append(member.Parts(), member.Descriptor) {
		s.registry.Delete(parent+"/a", d.Digest)
	}
	member.In(s.registry, parent+"/b")
	s.store = clienttest.NewStore(t)
	s.registry.ResetLog()
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "b")))))
	s.want(clienttest.TagGet(parent), member.All(parent+"/b"))
}
