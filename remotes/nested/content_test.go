package nested_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
)

// TestDocumentsThatDoNotVerify are never stored and never followed.
func TestDocumentsThatDoNotVerify(t *testing.T) {
	for name, test := range map[string]struct {
		serve func([]byte) []byte
		says  string
	}{
		"other bytes of the same size": {func(b []byte) []byte { return bytes.Replace(b, []byte("oci"), []byte("ico"), 1) }, "digest is not sha256:"},
		"a byte less":                  {func(b []byte) []byte { return b[:len(b)-1] }, "size is"},
		"a byte more":                  {func(b []byte) []byte { return append(b, ' ') }, "size"},
		"nothing":                      {func([]byte) []byte { return nil }, "size is 0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			member := clienttest.PutImage(s.registry, parent+"/web", "layer")
			member.In(s.registry, parent) // nobody asks for a second opinion
			s.registry.PutAs(parent+"/web", member.MediaType, member.Digest, test.serve(slices.Clone(member.Bytes[member.Digest])))
			err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))))
			clienttest.WantError(t, err, test.says, parent+"/web")
			var verify *nested.VerifyError
			if name != "a byte more" && (!errors.As(err, &verify) || !errdefs.IsDataLoss(err) || verify.Digest != member.Digest) {
				t.Errorf("got %v, want a VerifyError", err)
			}
			s.want(clienttest.TagGet(parent), clienttest.Gets(parent+"/web", 200, member.Descriptor))
			if clienttest.Stored(s.store, member.Descriptor) {
				t.Error("the member is stored")
			}
		})
	}
}

// TestBlobsThatDoNotVerify are not stored, in bounded time.
func TestBlobsThatDoNotVerify(t *testing.T) {
	for name, body := range map[string]string{"other bytes": "LAYER", "less": "laye", "more": "layer and more"} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			member := clienttest.PutImage(s.registry, parent+"/web", "layer")
			s.registry.PutBlobAs(parent+"/web", member.Layers[0].Digest, []byte(body))
			err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))))
			clienttest.WantError(t, err)
			if clienttest.Stored(s.store, member.Layers[0]) {
				t.Error("the layer is stored")
			}
			if n := s.registry.Count(registrytest.Of(registrytest.KindBlob)); n > 4 {
				t.Errorf("%d requests for two blobs", n)
			}
		})
	}
}

// TestReadsAreBounded: of a body that does not end little is read.
func TestReadsAreBounded(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.NewImage("member")
	s.registry.Intercept(func(w http.ResponseWriter, req *http.Request) bool {
		q := registrytest.Describe(req)
		if q.Kind != registrytest.KindManifest || q.Repository == parent || q.Authorization == "" {
			return false
		}
		for chunk := make([]byte, 64<<10); req.Context().Err() == nil; {
			if _, err := w.Write(chunk); err != nil {
				break
			}
		}
		return true
	})
	err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))))
	clienttest.WantError(t, err, "size")
	if n := s.metrics.Bytes.Load(); n > 8<<10 {
		t.Errorf("%d bytes were read", n)
	}
}

// TestEndlessFetcher: reads are bounded whatever resolver is wrapped.
func TestEndlessFetcher(t *testing.T) {
	member := clienttest.NewImage("member")
	root := registrytest.Member(member.Descriptor, "web")
	body := clienttest.IndexOf(root)
	source := &endless{root: body}
	resolver := nested.New(&fixed{fetcher: source, root: clienttest.Describe(ocispec.MediaTypeImageIndex, body)}, nested.Options{})
	_, err := clienttest.Pull(resolver, clienttest.NewStore(t), "reg.test/"+parent+":v1")
	var verify *nested.VerifyError
	if !errors.As(err, &verify) {
		t.Errorf("got %v, want a VerifyError", err)
	}
	if source.read > member.Size+1 {
		t.Errorf("%d bytes were read of %d", source.read, member.Size)
	}
}

// endless fetches the root, and for everything else a body without end.
type endless struct {
	root []byte
	read int64
}

func (e *endless) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if images.IsIndexType(d.MediaType) {
		return io.NopCloser(bytes.NewReader(e.root)), nil
	}
	return io.NopCloser(e), nil
}

func (e *endless) Read(p []byte) (int, error) {
	if e.read > 1<<30 {
		return 0, io.EOF
	}
	e.read += int64(len(p))
	return len(p), nil
}

// TestServedMediaTypes: a member is what its descriptor says.
func TestServedMediaTypes(t *testing.T) {
	for contentType, fine := range map[string]bool{
		ocispec.MediaTypeImageManifest:                    true,
		ocispec.MediaTypeImageManifest + "; charset=utf8": true,
		"application/json":                                true,
		"application/octet-stream":                        true,
		"text/plain; charset=utf-8":                       true,
		"":                                                true,
		ocispec.MediaTypeImageIndex:                       false,
		images.MediaTypeDockerSchema2Manifest:             false,
		"text/html":                                       false,
	} {
		t.Run(contentType, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			member := clienttest.PutImage(s.registry, parent+"/web", "layer")
			member.ManifestIn(s.registry, parent)
			s.registry.Put(parent+"/web", contentType, member.Bytes[member.Digest])
			err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web"))))
			if fine {
				clienttest.NoError(t, err)
				s.want(clienttest.TagGet(parent), member.All(parent+"/web"))
				return
			}
			clienttest.WantError(t, err, "its descriptor says", contentType)
			s.want(clienttest.TagGet(parent), clienttest.Gets(parent+"/web", 200, member.Descriptor))
		})
	}
}

// TestIndexDescribedAsManifest: its child namespaces do not count.
func TestIndexDescribedAsManifest(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.PutImage(s.registry, parent+"/web/a", "layer")
	d := s.registry.Put(parent+"/web", ocispec.MediaTypeImageManifest, clienttest.IndexOf(registrytest.Member(member.Descriptor, "a")))
	wantInvalid(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(d, "web")))), -1)
	s.want(clienttest.TagGet(parent), clienttest.Gets(parent+"/web", 200, d))
}

// TestLayerThatIsAnIndex is an opaque blob.
func TestLayerThatIsAnIndex(t *testing.T) {
	s := newScene(t, nested.Options{})
	text := string(clienttest.IndexOf(registrytest.Member(clienttest.NewImage("evil").Descriptor, "evil")))
	member := clienttest.PutImage(s.registry, parent+"/web", text)
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(member.Descriptor, "web")))))
	s.want(clienttest.TagGet(parent), member.All(parent+"/web"))
}

// TestNamespacesOnContent: on layers and configs they mean nothing.
func TestNamespacesOnContent(t *testing.T) {
	s := newScene(t, nested.Options{})
	i := clienttest.PutImage(s.registry, parent+"/web", "layer")
	i.Config, i.Layers[0] = registrytest.Member(i.Config, "other"), registrytest.Member(i.Layers[0], "../x")
	i.Descriptor = s.registry.Put(parent+"/web", i.MediaType, clienttest.ManifestOf(i.Config, i.Layers...))
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(i.Descriptor, "web")))))
	s.want(clienttest.TagGet(parent), i.All(parent+"/web"))
}

// TestURLsOfDescriptorsAreNotFollowed: content of a member comes from its repository, wherever else its
// descriptor says that it is.
func TestURLsOfDescriptorsAreNotFollowed(t *testing.T) {
	s := newScene(t, nested.Options{})
	attacker := clienttest.NewRegistry(t)
	i := clienttest.PutImage(s.registry, parent+"/web", "layer")
	i.Layers[0].URLs = []string{attacker.URL() + "/v2/x/blobs/" + i.Layers[0].Digest.String(), "http://169.254.169.254/", "file:///etc/shadow"}
	i.Descriptor = s.registry.Put(parent+"/web", i.MediaType, clienttest.ManifestOf(i.Config, i.Layers...))
	member := registrytest.Member(i.Descriptor, "web")
	member.URLs = i.Layers[0].URLs
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(member))))
	s.want(clienttest.TagGet(parent), i.All(parent+"/web"))
	if n := attacker.Count(); n != 0 {
		t.Errorf("%d requests went where urls said", n)
	}
}

// TestURLsOfLayers: the urls of layers that registries may not distribute are asked before the registry, without
// anything that is for the registry; those of other content are not.
func TestURLsOfLayers(t *testing.T) {
	const foreign, foreignGzip = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	for name, test := range map[string]struct {
		mediaType string
		hasNone   bool // the registry, of the layer
		wrong     bool // there is nothing where the first url leads
		elsewhere int
	}{
		"foreign":           {mediaType: foreign, hasNone: true, elsewhere: 1},
		"nondistributable":  {mediaType: foreignGzip, elsewhere: 1},
		"second":            {mediaType: foreign, hasNone: true, wrong: true, elsewhere: 2},
		"the registry's":    {mediaType: foreign, wrong: true, elsewhere: 2},
		"any other layer's": {mediaType: ocispec.MediaTypeImageLayerGzip},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			cdn := clienttest.NewRegistry(t)
			i := clienttest.NewImage("plain", "layer")
			layer := &i.Layers[0]
			layer.MediaType = test.mediaType
			layer.URLs = []string{"http://169.254.169.254/latest", "file:///etc/shadow", cdn.URL() + "/v2/x/blobs/" + layer.Digest.String()}
			if test.wrong {
				layer.URLs = slices.Insert(layer.URLs, 0, cdn.URL()+"/v2/none/blobs/"+layer.Digest.String())
			}
			if !test.wrong || test.hasNone {
				cdn.PutBlob("x", "", i.Bytes[layer.Digest])
			}
			if !test.hasNone {
				s.registry.PutBlob(parent, "", i.Bytes[layer.Digest])
			}
			s.registry.PutBlob(parent, "", i.Bytes[i.Config.Digest])
			root := s.registry.Put(parent, i.MediaType, clienttest.ManifestOf(i.Config, i.Layers...))
			clienttest.NoError(t, s.pull(root))
			if !clienttest.Stored(s.store, *layer) || cdn.Count() != test.elsewhere {
				t.Errorf("%d requests went where urls said, want %d; the layer is there: %t", cdn.Count(), test.elsewhere, clienttest.Stored(s.store, *layer))
			}
			for _, q := range cdn.Log() {
				if q.Authorization != "" {
					t.Errorf("%s got a credential", q)
				}
			}
		})
	}
}

// TestURLsOfPlainContent: of plain content Children tell what containerd sees.
func TestURLsOfPlainContent(t *testing.T) {
	s := newScene(t, nested.Options{})
	i := clienttest.PutImage(s.registry, parent, "layer")
	i.Layers[0].URLs = []string{"https://elsewhere.test/layer"}
	root := s.registry.Put(parent, i.MediaType, clienttest.ManifestOf(i.Config, i.Layers...), "v1")
	fetcher, _ := begin(t.Context(), t, s.resolver, s.registry.Host()+"/"+parent+":v1")
	entries, err := fetcher.Children(t.Context(), root)
	clienttest.NoError(t, err)
	if len(entries) != 2 || !slices.Equal(entries[1].URLs, i.Layers[0].URLs) {
		t.Errorf("entries %+v", entries)
	}
}

// TestOtherMediaTypes: an entry of another media type is a blob, or else a
// manifest, of the member's repository, and kept as it is.
func TestOtherMediaTypes(t *testing.T) {
	const other = "application/x-other"
	body := []byte(`{"manifests":[{"annotations":{"io.github.nestedoci.child-namespace":"evil"}}]}`)
	d := clienttest.Describe(other, body)
	for name, test := range map[string]struct {
		put  func(*registrytest.Registry)
		want [][]string
	}{
		"blob":     {func(r *registrytest.Registry) { r.PutBlob(parent+"/web", other, body) }, [][]string{clienttest.Gets(parent+"/web", 200, d)}},
		"manifest": {func(r *registrytest.Registry) { r.Put(parent+"/web", other, body) }, [][]string{clienttest.Gets(parent+"/web", 404, d), {clienttest.Line("GET", parent+"/web", registrytest.KindManifest, d.Digest.String(), 200)}}},
		"in the parent": {func(r *registrytest.Registry) { r.PutBlob(parent, other, body) }, [][]string{clienttest.Gets(parent+"/web", 404, d),
			{clienttest.Line("GET", parent+"/web", registrytest.KindManifest, d.Digest.String(), 404)}, clienttest.Gets(parent, 200, d)}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			test.put(s.registry)
			clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(d, "web")))))
			s.want(append(test.want, clienttest.TagGet(parent))...)
			if !clienttest.Stored(s.store, d) {
				t.Error("it is not stored")
			}
		})
	}
}

// TestSchema1 is refused, by containerd.
func TestSchema1(t *testing.T) {
	s := newScene(t, nested.Options{})
	d := s.registry.Put(parent+"/web", images.MediaTypeDockerSchema1Manifest, []byte(`{"schemaVersion":1}`))
	clienttest.WantError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(d, "web")))), "not supported")
	s.want(clienttest.TagGet(parent))
}

// TestSHA512: members may be described by another digest than the usual.
func TestSHA512(t *testing.T) {
	for name, lie := range map[string]bool{"true": false, "false": true} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, nested.Options{})
			member := clienttest.PutImage(s.registry, parent+"/web", "layer")
			sum := sha512.Sum512(member.Bytes[member.Digest])
			d := member.Descriptor
			d.Digest = digest.NewDigestFromBytes(digest.SHA512, sum[:])
			body := member.Bytes[member.Digest]
			if lie {
				body = []byte(strings.Replace(string(body), "oci", "ico", 1))
			}
			s.registry.PutAs(parent+"/web", d.MediaType, d.Digest, body)
			err := s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(d, "web"))))
			if lie {
				clienttest.WantError(t, err, "digest is not sha512:")
				return
			}
			clienttest.NoError(t, err)
			s.want(clienttest.TagGet(parent), clienttest.Gets(parent+"/web", 200, d), member.Blobs(parent+"/web"))
		})
	}
}

// TestEmbeddedMembers: what belongs to a manifest that is embedded in its
// descriptor is asked for where the manifest would have been.
func TestEmbeddedMembers(t *testing.T) {
	s := newScene(t, nested.Options{})
	member := clienttest.PutImage(s.registry, parent+"/web", "layer")
	deep := clienttest.PutImage(s.registry, parent+"/a/b", "layer of deep")
	inner := clienttest.Describe(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(deep.Descriptor, "b")))
	inner.Data = clienttest.IndexOf(registrytest.Member(deep.Descriptor, "b"))
	d := member.Descriptor
	d.Data = member.Bytes[member.Digest]
	clienttest.NoError(t, s.pull(s.put(ocispec.MediaTypeImageIndex, clienttest.IndexOf(registrytest.Member(d, "web"), registrytest.Member(inner, "a")))))
	s.want(clienttest.TagGet(parent), member.Blobs(parent+"/web"), deep.All(parent+"/a/b"))
}
