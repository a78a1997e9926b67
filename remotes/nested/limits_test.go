package nested_test

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// chain puts n indexes, each in the child repository a of the one before, and
// returns the first. The last holds an image.
func chain(s *scene, n int) (root ocispec.Descriptor, last clienttest.Image) {
	at := func(depth int) string { return parent + strings.Repeat("/a", depth) }
	last = clienttest.PutImage(s.registry, at(n), "layer")
	root = last.Descriptor
	for depth := n - 1; depth >= 0; depth-- {
		root = s.registry.Put(at(depth), ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(root, "a")))
	}
	return root, last
}

func TestNestedNamespacesCompose(t *testing.T) {
	for steps, fine := range map[int]bool{2: true, 16: true, 17: false, 60: false, 200: false} {
		t.Run(fmt.Sprint(steps), func(t *testing.T) {
			s := newScene(t, nested.Options{})
			root, last := chain(s, steps)
			err := s.pull(root)
			if fine {
				clienttest.NoError(t, err)
				if !clienttest.Stored(s.store, last.Layers[0]) {
					t.Error("the last layer is not stored")
				}
				return
			}
			wantInvalid(t, err, 0)
			clienttest.WantError(t, err, "more than 16 steps from the root")
			if n := len(clienttest.Asked(s.registry)); n != 17 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// TestPlainChains are bounded by containerd alone.
func TestPlainChains(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.PutImage(s.registry, parent, "layer")
	root := member.Descriptor
	for range 40 {
		root = putPlain(s.registry, root)
	}
	clienttest.NoError(t, s.pull(root))
}

func TestLimitsEndInAnError(t *testing.T) {
	for name, test := range map[string]struct {
		limits nested.Limits
		put    func(*scene) ocispec.Descriptor
		says   string // nothing: it is within the limits
	}{
		"depth, configured":    {nested.Limits{Depth: 2}, func(s *scene) ocispec.Descriptor { d, _ := chain(s, 3); return d }, "more than 2 steps"},
		"depth, reached":       {nested.Limits{Depth: 3}, func(s *scene) ocispec.Descriptor { d, _ := chain(s, 3); return d }, ""},
		"entries":              {nested.Limits{Entries: 4}, func(s *scene) ocispec.Descriptor { return wide(s, 5) }, "more than 4 entries"},
		"entries, reached":     {nested.Limits{Entries: 5}, func(s *scene) ocispec.Descriptor { return wide(s, 5) }, ""},
		"descriptors":          {nested.Limits{Descriptors: 10}, func(s *scene) ocispec.Descriptor { return wide(s, 5) }, "more than 10 descriptors"},
		"descriptors, reached": {nested.Limits{Descriptors: 16}, func(s *scene) ocispec.Descriptor { return wide(s, 5) }, ""},
		"document":             {nested.Limits{Manifest: 1000}, func(s *scene) ocispec.Descriptor { return wide(s, 5) }, "larger than 1000 bytes"},
		"size of a member":     {nested.Limits{Manifest: 2000}, func(s *scene) ocispec.Descriptor { return padded(s, 2000) }, "is more than the 2000 bytes"},
		"10,000 entries":       {nested.Limits{}, func(s *scene) ocispec.Descriptor { return repeated(s, 10_001) }, "more than 10000 entries"},
		"annotation of 1 MiB":  {nested.Limits{}, func(s *scene) ocispec.Descriptor { return padded(s, 1<<20) }, ""},
		"member of 4 MiB":      {nested.Limits{}, func(s *scene) ocispec.Descriptor { return padded(s, 4<<20) }, "size 4194"},
		"member of 64 MiB":     {nested.Limits{}, func(s *scene) ocispec.Descriptor { return described(s, 64<<20) }, "size 67108864"},
		"10,000 annotations":   {nested.Limits{}, manyAnnotations, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{Limits: test.limits})
			err := s.pull(test.put(s))
			if test.says == "" {
				clienttest.NoError(t, err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v, want %s", err, test.says)
			}
		})
	}
}

// wide puts an index of n images with one layer each.
func wide(s *scene, n int) ocispec.Descriptor {
	var members []ocispec.Descriptor
	for i := range n {
		child := fmt.Sprint("c", i)
		members = append(members, registrytest.Member(clienttest.PutImage(s.registry, parent+"/"+child, child).Descriptor, child))
	}
	return s.registry.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(members...))
}

// repeated puts an index that says the same n times.
func repeated(s *scene, n int) ocispec.Descriptor {
	entry := string(clienttest.Encode(registrytest.Member(clienttest.NewImage("member").Descriptor, "a")))
	body := `{"schemaVersion":2,"manifests":[` + strings.Repeat(entry+",", n-1) + entry + `]}`
	return s.registry.Put(parent, ocispec.MediaTypeImageIndex, []byte(body))
}

// padded puts an index of one image whose manifest is of some size at least.
func padded(s *scene, size int) ocispec.Descriptor {
	i := clienttest.PutImage(s.registry, parent+"/web", "layer")
	i.Layers[0].Annotations = map[string]string{"pad": strings.Repeat("x", size)}
	d := s.registry.Put(parent+"/web", i.MediaType, clienttest.ManifestOf(i.Config, i.Layers...))
	return s.registry.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(d, "web")))
}

// described puts an index of one manifest of that size, which need not be there: nobody is to ask.
func described(s *scene, size int64) ocispec.Descriptor {
	d := clienttest.NewImage("large").Descriptor
	d.Size = size
	return s.registry.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(d, "web")))
}

func manyAnnotations(s *scene) ocispec.Descriptor {
	d := clienttest.PutImage(s.registry, parent+"/web", "layer").Descriptor
	d.Annotations = map[string]string{}
	for i := range 10_000 {
		d.Annotations[fmt.Sprint(i)] = "x"
	}
	return s.registry.Put(parent, ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(d, "web")))
}

// TestHugeIndexes: 100,000 entries are refused before anything is asked for
// because of them, in little memory.
func TestHugeIndexes(t *testing.T) {
	for name, put := range map[string]func(*scene) ocispec.Descriptor{
		"as root": func(s *scene) ocispec.Descriptor { return repeated(s, 100_000) },
		"as member": func(s *scene) ocispec.Descriptor {
			return putPlain(s.registry, registrytest.Member(repeated(s, 100_000), "a"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			root := put(s)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			started := time.Now()
			err := s.pull(root)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Fatal("it is pulled")
			}
			if n := after.TotalAlloc - before.TotalAlloc; n > 100<<20 {
				t.Errorf("%d MiB were allocated", n>>20)
			}
			if d := time.Since(started); d > 10*time.Second {
				t.Errorf("it took %s", d)
			}
			s.want(clienttest.TagGet(parent))
			if got := s.source.names(); !slices.Equal(got, []string{parent}) {
				t.Errorf("credentials were looked up for %q", got)
			}
		})
	}
}
