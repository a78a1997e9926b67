package ctd

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/plugins/content/local"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/remotes/bundle"
	"github.com/nestedoci/nested/remotes/nested"
)

// labelStore keeps labels in memory.
type labelStore struct {
	mu     sync.Mutex
	labels map[digest.Digest]map[string]string
}

func (s *labelStore) Get(d digest.Digest) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.labels[d]), nil
}

func (s *labelStore) Set(d digest.Digest, labels map[string]string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.labels[d] = maps.Clone(labels)
	return nil
}

func (s *labelStore) Update(d digest.Digest, update map[string]string) (map[string]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.labels[d] == nil {
		s.labels[d] = map[string]string{}
	}
	maps.Copy(s.labels[d], update)
	return maps.Clone(s.labels[d]), nil
}

// newStore is a content store as containerd's.
func newStore(t *testing.T) content.Store {
	t.Helper()
	store, err := local.NewLabeledStore(t.TempDir(), &labelStore{labels: map[digest.Digest]map[string]string{}})
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func describe(mediaType, text string) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromString(text), Size: int64(len(text))}
}

func TestContentIsCommittedWithItsLabels(t *testing.T) {
	store, desc, committed := newStore(t), describe("text/plain", "abc"), 0
	l := labelling{store, func(context.Context) (map[string]string, error) {
		return map[string]string{"from": "org/app/web"}, nil
	}, func() { committed++ }}
	if err := content.WriteBlob(t.Context(), l, "ref", strings.NewReader("abc"), desc); err != nil {
		t.Fatal(err)
	}
	info, err := store.Info(t.Context(), desc.Digest)
	if err != nil || info.Labels["from"] != "org/app/web" || committed != 1 {
		t.Errorf("%+v, committed %d times: %v", info, committed, err)
	}
}

// Content without the labels that keep it would be lost to garbage collection.
func TestContentWithoutLabelsIsNotCommitted(t *testing.T) {
	store, desc, broken := newStore(t), describe("text/plain", "abc"), errors.New("broken")
	l := labelling{store, func(context.Context) (map[string]string, error) { return nil, broken }, func() { t.Error("committed") }}
	if err := content.WriteBlob(t.Context(), l, "ref", strings.NewReader("abc"), desc); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if _, err := store.Info(t.Context(), desc.Digest); !errdefs.IsNotFound(err) {
		t.Errorf("content is there: %v", err)
	}
}

func TestImagesAreToldByTheirParts(t *testing.T) {
	config, layer := describe(ocispec.MediaTypeImageConfig, "{}"), describe(ocispec.MediaTypeImageLayerGzip, "layer")
	large := config
	large.Size = maxConfig + 1
	for name, test := range map[string]struct {
		parts []ocispec.Descriptor
		want  bool
	}{
		"an image":            {[]ocispec.Descriptor{config, layer, layer}, true},
		"no layers":           {[]ocispec.Descriptor{config}, false},
		"no config":           {[]ocispec.Descriptor{layer}, false},
		"too large a config":  {[]ocispec.Descriptor{large, layer}, false},
		"something else, too": {[]ocispec.Descriptor{config, layer, describe("application/x-rpm", "rpm")}, false},
	} {
		var n bundle.Node
		for _, d := range test.parts {
			n.Children = append(n.Children, &bundle.Node{Entry: nested.Entry{Descriptor: d}})
		}
		if _, layers, ok := imageParts(&n); ok != test.want || ok && len(layers) != len(test.parts)-1 {
			t.Errorf("%s: %v, %d layers", name, ok, len(layers))
		}
	}
}

// What is in the store under a digest may be larger than its descriptor says.
func TestConfigOfAnotherSizeIsNotRead(t *testing.T) {
	target := &Target{Store: newStore(t)}
	desc := describe(ocispec.MediaTypeImageConfig, strings.Repeat("x", 100))
	if err := content.WriteBlob(t.Context(), target.Store, "ref", strings.NewReader(strings.Repeat("x", 100)), desc); err != nil {
		t.Fatal(err)
	}
	if data, err := target.readConfig(t.Context(), desc); err != nil || len(data) != 100 {
		t.Errorf("%d bytes: %v", len(data), err)
	}
	desc.Size = 2
	if _, err := target.readConfig(t.Context(), desc); err == nil || !strings.Contains(err.Error(), "size is 100, not 2") {
		t.Errorf("error %v", err)
	}
}
