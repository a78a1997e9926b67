package nested_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/nested"
)

// carrier is a carrier of an index, with the index's bytes in it or without.
func carrier(index ocispec.Descriptor, data []byte) []byte {
	index.Data = data
	return clienttest.Encode(ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    ocispec.MediaTypeImageManifest,
		ArtifactType: nested.CarrierType,
		Config:       ocispec.DescriptorEmptyJSON,
		Layers:       []ocispec.Descriptor{index},
	})
}

// carried is a scene with an index of one member that is a blob of the
// repository, as publishers put it there whose registry insists.
func carried(t *testing.T, repository string, options nested.Options) (s *scene, member clienttest.Image, body []byte, index ocispec.Descriptor) {
	t.Helper()
	s = newScene(t, options)
	member = clienttest.PutImage(s.registry, repository+"/web", "layer")
	body = clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))
	index = s.registry.PutBlob(repository, ocispec.MediaTypeImageIndex, body)
	s.registry.PutBlob(repository, ocispec.MediaTypeEmptyJSON, []byte("{}"))
	return s, member, body, index
}

func TestCarrierAsRoot(t *testing.T) {
	for name, test := range map[string]struct {
		embedded bool
		store    bool
	}{
		"with data":                  {embedded: true},
		"with data, with a store":    {embedded: true, store: true},
		"without data":               {},
		"without data, with a store": {store: true},
	} {
		t.Run(name, func(t *testing.T) {
			s, member, body, index := carried(t, parent, nested.Options{})
			if test.store {
				s.resolver = nested.New(s.registries(), nested.Options{Store: s.store})
			}
			data, want := body, [][]string{clienttest.TagGet(parent), member.All(parent + "/web")}
			if !test.embedded {
				data, want = nil, append(want, clienttest.BlobGets(parent, 200, index))
			}
			s.put(ocispec.MediaTypeImageManifest, carrier(index, data))
			root, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
			clienttest.NoError(t, err)
			if root.Digest != index.Digest || root.Size != index.Size || root.MediaType != ocispec.MediaTypeImageIndex || root.Data != nil {
				t.Errorf("it resolves to %+v", root)
			}
			s.want(want...)
		})
	}
}

func TestCarrierThatLies(t *testing.T) {
	other := []byte(`{"schemaVersion":2,"manifests":[]}`)
	for name, test := range map[string]struct {
		change func(*ocispec.Descriptor) // of the layer
		says   string
	}{
		"wrong data":       {func(d *ocispec.Descriptor) { d.Data = append(d.Data[:len(d.Data)-1:len(d.Data)-1], ' ') }, "digest is not"},
		"other data":       {func(d *ocispec.Descriptor) { d.Data = other }, "size is"},
		"huge":             {func(d *ocispec.Descriptor) { d.Data, d.Size = nil, 5<<20 }, "size 5242880 is more"},
		"negative size":    {func(d *ocispec.Descriptor) { d.Data, d.Size = nil, -1 }, "size -1"},
		"no size":          {func(d *ocispec.Descriptor) { d.Data, d.Size = nil, 0 }, "size 0"},
		"malformed digest": {func(d *ocispec.Descriptor) { d.Data, d.Digest = nil, "sha256:../../x" }, "digest"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _, body, index := carried(t, parent, nested.Options{})
			index.Data = slices.Clone(body)
			test.change(&index)
			s.put(ocispec.MediaTypeImageManifest, carrier(index, index.Data))
			_, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+":v1")
			var invalid *nested.InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("got %v, want an InvalidError", err)
			}
			clienttest.WantError(t, err, test.says)
			s.want(clienttest.TagGet(parent))
		})
	}
}

// TestIndexByItsOwnDigest: in a registry that took only a carrier, the index
// is a blob, and its digest still names it.
func TestIndexByItsOwnDigest(t *testing.T) {
	s, member, _, index := carried(t, parent, nested.Options{})
	root, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+"@"+index.Digest.String())
	clienttest.NoError(t, err)
	if root.MediaType != ocispec.MediaTypeImageIndex || root.Digest != index.Digest {
		t.Errorf("it resolves to %+v", root)
	}
	s.want(clienttest.Gets(parent, 404, index), []string{clienttest.Line("HEAD", parent, registrytest.KindBlob, index.Digest.String(), 200)},
		clienttest.BlobGets(parent, 200, index), member.All(parent+"/web"))
}

// TestOtherBlobsByDigest: a blob that is no nested index stays a blob.
func TestOtherBlobsByDigest(t *testing.T) {
	for name, body := range map[string][]byte{
		"plain index": clienttest.IndexOf(clienttest.NewImage("plain").Descriptor),
		"layer":       []byte("not JSON"),
		"manifest":    clienttest.NewImage("plain").Bytes[clienttest.NewImage("plain").Digest],
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			blob := s.registry.PutBlob(parent, "", body)
			root, err := clienttest.Pull(s.resolver, s.store, s.registry.Host()+"/"+parent+"@"+blob.Digest.String())
			clienttest.NoError(t, err)
			if root.MediaType != "application/octet-stream" || root.Digest != blob.Digest || !clienttest.Stored(s.store, blob) {
				t.Errorf("it resolves to %+v", root)
			}
		})
	}
}

// TestCarrierAsMember: wherever a carrier stands, its index takes its place,
// at the carrier's repository.
func TestCarrierAsMember(t *testing.T) {
	for name, embedded := range map[string]bool{"with data": true, "without data": false} {
		t.Run(name, func(t *testing.T) {
			s, member, body, index := carried(t, parent+"/sub", nested.Options{})
			want := [][]string{clienttest.TagGet(parent), member.All(parent + "/sub/web")}
			if !embedded {
				body = nil
				want = append(want, clienttest.BlobGets(parent+"/sub", 200, index))
			}
			c := s.registry.Put(parent+"/sub", ocispec.MediaTypeImageManifest, carrier(index, body))
			want = append(want, clienttest.Gets(parent+"/sub", 200, c))
			clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(c, "sub")))))
			s.want(want...)
		})
	}
}

// TestCarrierInAPlainIndex is a carrier that an index without child
// namespaces lists.
func TestCarrierInAPlainIndex(t *testing.T) {
	s, member, _, index := carried(t, parent, nested.Options{})
	c := s.registry.Put(parent, ocispec.MediaTypeImageManifest, carrier(index, nil))
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(c))))
	s.want(clienttest.TagGet(parent), clienttest.Gets(parent, 200, c), clienttest.BlobGets(parent, 200, index), member.All(parent+"/web"))
}

// TestChildren: the entries of a pull, without fetching what is at hand.
func TestChildren(t *testing.T) {
	s, member, body, index := carried(t, parent, nested.Options{})
	s.put(ocispec.MediaTypeImageManifest, carrier(index, body))
	ctx := context.Background()
	f, root := begin(ctx, t, s.resolver, s.registry.Host()+"/"+parent+":v1")
	entries, err := f.Children(ctx, root)
	clienttest.NoError(t, err)
	if len(entries) != 1 || entries[0].Digest != member.Digest || entries[0].Child.String() != "web" {
		t.Errorf("the index points to %+v", entries)
	}
	s.want(clienttest.TagGet(parent))
	entries, err = f.Children(ctx, member.Descriptor)
	clienttest.NoError(t, err)
	if len(entries) != 2 || entries[0].Digest != member.Config.Digest || entries[1].Digest != member.Layers[0].Digest {
		t.Errorf("the member points to %+v", entries)
	}
	s.want(clienttest.TagGet(parent), clienttest.Gets(parent+"/web", 200, member.Descriptor))
	if _, err := json.Marshal(entries); err != nil {
		t.Error(err)
	}
}

// TestCarrierOfLargeIndex: a carrier holds the index as long as registries take it, and has another digest for each index.
func TestCarrierOfLargeIndex(t *testing.T) {
	const most = 4 << 20
	for size, held := range map[int]bool{100: true, 3<<20 - 1000: true, 3 << 20: false, most * 2: false} {
		index := []byte(strings.Repeat(" ", size))
		inside := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(index), Size: int64(size)}
		desc, data, err := nested.NewCarrier(inside, index)
		var carrier ocispec.Manifest
		if clienttest.NoError(t, errors.Join(err, json.Unmarshal(data, &carrier))); len(carrier.Layers) != 1 || len(data) > most || desc.Size != int64(len(data)) {
			t.Fatalf("an index of %d bytes: %d bytes, %+v", size, len(data), desc)
		}
		if got := carrier.Layers[0]; got.Digest != inside.Digest || got.Size != inside.Size || held && string(got.Data) != string(index) || !held && got.Data != nil {
			t.Errorf("an index of %d bytes: %s of %d bytes, of which %d are held", size, got.Digest, got.Size, len(got.Data))
		}
	}
}

// TestProtection: every member of a repository has a tag of its own, the same whenever it is asked for.
func TestProtection(t *testing.T) {
	at, other := clienttest.Repository(t, "reg.test/p/a"), clienttest.Repository(t, "reg.test/p/b")
	one, two, three := digest.FromString("1"), digest.FromString("2"), digest.FromString("3")
	index := digest.FromString("index")
	p, first := nested.Protect(index), "nested-"+index.Encoded()[:12]
	for i, c := range []struct {
		in     auth.Repository
		member digest.Digest
		want   string
	}{
		{at, one, first},
		{at, two, first + "-" + two.Encoded()[:12]},
		{at, one, first},
		{at, three, first + "-" + three.Encoded()[:12]},
		{other, two, first},
		{at, two, first + "-" + two.Encoded()[:12]},
	} {
		if got := p.Tag(c.in, c.member); got != c.want || !slices.Contains(p.Tags(c.member), got) {
			t.Errorf("%d: %s, want %s of %q", i, got, c.want, p.Tags(c.member))
		}
	}
}
