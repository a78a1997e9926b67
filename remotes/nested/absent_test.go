package nested_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/nested"
	"github.com/nestedoci/nested/remotes/registry"
)

// disordered is a registry, without a network, that has an index as a manifest and as a blob, and whose manifests are out of order
// for some requests.
type disordered struct {
	index            []byte
	status           int // 0: the connection breaks
	times            int
	manifests, blobs int
}

func (r *disordered) RoundTrip(req *http.Request) (*http.Response, error) {
	resp := &http.Response{StatusCode: 200, Status: "200 OK", Header: http.Header{}, ContentLength: int64(len(r.index)), Body: io.NopCloser(bytes.NewReader(r.index)), Request: req}
	resp.Header.Set("Docker-Content-Digest", digest.FromBytes(r.index).String())
	resp.Header.Set("Content-Type", ocispec.MediaTypeImageIndex)
	if !strings.Contains(req.URL.Path, "/manifests/") {
		r.blobs++
		resp.Header.Set("Content-Type", "application/octet-stream")
		return resp, nil
	}
	switch r.manifests++; {
	case r.manifests > r.times:
		return resp, nil
	case r.status == 0:
		return nil, syscall.ECONNRESET
	}
	resp.StatusCode, resp.Status, resp.Body = r.status, fmt.Sprint(r.status), http.NoBody
	return resp, nil
}

// TestManifestsOutOfOrder: while a registry's manifests are out of order, an image that is asked for by digest is waited for, or not
// found out about. The blob of the same digest is not taken for it, unless there is no such manifest.
func TestManifestsOutOfOrder(t *testing.T) {
	t.Parallel()
	index := clienttest.IndexOf(registrytest.Member(clienttest.NewImage("web").Descriptor, "web"))
	for _, test := range []struct {
		status, times, manifests, blobs int
		fine                            bool
	}{
		{500, 1, 2, 0, true}, {502, 1, 2, 0, true}, {503, 1, 2, 0, true}, {504, 4, 5, 0, true}, {429, 1, 2, 0, true}, {408, 1, 2, 0, true}, {0, 1, 2, 0, true},
		{500, 99, 5, 0, false}, {502, 99, 5, 0, false}, {503, 99, 5, 0, false}, {504, 99, 5, 0, false}, {429, 99, 5, 0, false}, {408, 99, 5, 0, false},
		{0, 99, 5, 0, false}, {403, 99, 2, 0, false}, {400, 99, 1, 0, false}, {501, 99, 1, 0, false},
		{404, 99, 1, 2, true}, // of an index that is stored as a blob
	} {
		for _, headFirst := range []bool{true, false} { // as the plugin asks, and as nestctl does
			synctest.Test(t, func(t *testing.T) {
				r := &disordered{index: index, status: test.status, times: test.times}
				registries := registry.New(registry.Options{UpdateClient: func(client *http.Client) error {
					client.Transport = r
					return nil
				}})
				base := remotes.Resolver(registries)
				if headFirst {
					base = struct{ remotes.ResolverWithOptions }{registries}
				}
				_, got, err := nested.New(base, nested.Options{}).Resolve(t.Context(), "reg.test/org/app@"+digest.FromBytes(index).String())
				if test.fine && (err != nil || !oci.IsManifestOrIndex(got.MediaType)) || !test.fine && err == nil {
					t.Errorf("%+v: got %v, %v", test, got, err)
				}
				manifests := test.manifests
				if refused := test.status == 403 || test.status == 400 || test.status == 501; headFirst && refused {
					manifests *= 2 // where HEAD is refused, GET decides
				}
				if r.manifests != manifests || r.blobs != test.blobs {
					t.Errorf("%+v, HEAD first %t: %d requests for manifests, %d for blobs", test, headFirst, r.manifests, r.blobs)
				}
			})
		}
	}
}

// TestTokensOutOfOrder: nor is it taken when there is no token for a moment, or for ever.
func TestTokensOutOfOrder(t *testing.T) {
	t.Parallel()
	for _, times := range []int{1, 5} {
		s := newScene(t, nested.Options{})
		image := clienttest.PutImage(s.registry, parent, "layer")
		s.registry.PutBlob(parent, "application/octet-stream", image.Bytes[image.Digest])
		s.registry.Intercept(registrytest.Answer(503, nil, registrytest.First(times, registrytest.Of(registrytest.KindToken))))
		_, got, err := s.resolver.Resolve(s.pauses.In(t.Context()), s.registry.Host()+"/"+parent+"@"+image.Digest.String())
		if times == 1 && (err != nil || !oci.IsManifestOrIndex(got.MediaType)) || times == 5 && err == nil {
			t.Errorf("got %v", errors.Join(err, errors.New(got.MediaType)))
		}
		if tokens, blobs := s.registry.Count(registrytest.Of(registrytest.KindToken)), s.registry.Count(registrytest.Of(registrytest.KindBlob)); tokens != min(times+1, 5) || blobs != 0 {
			t.Errorf("%d requests for tokens, %d for blobs", tokens, blobs)
		}
	}
}
