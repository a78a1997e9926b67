package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// TestGatewayConformance makes the requests of the distribution spec's conformance tests, category pull, for content
// that only a child repository has, in the repository of the parent. Blobs come before any manifest that names them.
func TestGatewayConformance(t *testing.T) {
	image := newImage(t, amd64, "hello\n", baseLayer(t))
	bundle := newBundle(t, member{"web", image})
	a := publish(t, bundle)
	g := startGateway(t, a, "node")
	c := conformant{t, g, a.host, g.through(t)}

	for _, blob := range image.blobs {
		c.absent("blobs", "BLOB_UNKNOWN")
		c.serves("blobs", blob.desc.Digest.String(), blob, "")
		c.ranges(blob)
	}
	c.absent("manifests", "MANIFEST_UNKNOWN")
	c.status(http.MethodHead, "manifests/.INVALID_MANIFEST_NAME", http.StatusNotFound, nil)
	c.status(http.MethodGet, "manifests/no-such-tag", http.StatusNotFound, nil)
	c.serves("manifests", image.desc.Digest.String(), image.content, ocispec.MediaTypeImageManifest)
	c.serves("manifests", bundle.desc.Digest.String(), bundle.content, ocispec.MediaTypeImageIndex)
	c.serves("manifests", "v1", bundle.content, ocispec.MediaTypeImageIndex)
	c.status(http.MethodGet, "tags/list", http.StatusOK, nil)
}

// TestGatewayConformanceProgram runs the distribution spec's conformance program, category pull, for content that only a
// child repository has, in the repository of the parent.
func TestGatewayConformanceProgram(t *testing.T) {
	needs(t, "conformance")
	image := newImage(t, amd64, "hello\n", baseLayer(t))
	bundle := newBundle(t, member{"web", image})
	a := publish(t, bundle)
	g := startGateway(t, a, "node")
	front := httptest.NewServer(asContainerd(t, g, a.host))
	t.Cleanup(front.Close)
	var blobs []string
	for _, blob := range image.blobs {
		blobs = append(blobs, blob.desc.Digest.String())
	}
	results := tempDir(t)
	cmd := exec.CommandContext(t.Context(), "conformance")
	cmd.Dir = results
	cmd.Env = append(os.Environ(),
		"OCI_REGISTRY="+strings.TrimPrefix(front.URL, "http://"), "OCI_TLS=disabled", "OCI_RESULTS_DIR="+results, "OCI_VERSION=1.1",
		"OCI_REPO1=org/app", "OCI_REPO2=org/app", "OCI_API_PUSH=false", "OCI_API_BLOBS_DELETE=false", "OCI_API_MANIFESTS_DELETE=false", "OCI_API_TAGS_DELETE=false",
		"OCI_API_BLOBS_MOUNT_ANONYMOUS=false", "OCI_API_REFERRER=false", // which distribution has not
		"OCI_RO_DATA_TAGS=v1", "OCI_RO_DATA_MANIFESTS="+bundle.desc.Digest.String()+" "+image.desc.Digest.String(),
		"OCI_RO_DATA_BLOBS="+strings.Join(blobs, " "))
	out, err := cmd.CombinedOutput() // without pushes the program panics when it has printed its results, so that its status says nothing
	if passed := regexp.MustCompile(`(?m)^OCI Conformance Result: +Pass$`); !passed.Match(out) {
		t.Errorf("%v\n%s", err, out)
	}
	for _, api := range []string{"Tag listing", "Blob get", "Blob head", "Manifest get by digest", "Manifest get by tag", "Manifest head by digest", "Manifest head by tag", "Ping"} {
		if passed := regexp.MustCompile(`(?m)^ +` + api + `\.+: +Pass$`); !passed.Match(out) {
			t.Errorf("%s: not passed\n%s", api, out)
		}
	}
}

// asContainerd passes requests on to a gateway, as containerd makes them: with its certificate, and the registry's name in ns.
func asContainerd(t *testing.T, g *gatewayProcess, host string) http.Handler {
	t.Helper()
	transport := g.through(t).Transport
	return &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "https", g.address, ""
		query := r.Out.URL.Query()
		query.Set("ns", host)
		r.Out.URL.RawQuery = query.Encode()
	}}
}

// conformant asks a gateway about org/app of a registry.
type conformant struct {
	t      *testing.T
	g      *gatewayProcess
	host   string
	client *http.Client
}

func (c conformant) do(method, path string, header http.Header) response {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "https://"+c.g.address+"/v2/org/app/"+path+"?ns="+c.host, http.NoBody)
	must(c.t, err)
	req.Header = http.Header{"Accept": {ocispec.MediaTypeImageManifest + ", " + ocispec.MediaTypeImageIndex}, "Accept-Encoding": {"identity"}}
	for name, v := range header {
		req.Header[name] = v
	}
	answer, err := c.client.Do(req)
	must(c.t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(c.t, err)
	return response{answer.StatusCode, answer.Header, body}
}

func (c conformant) status(method, path string, want int, header http.Header) response {
	c.t.Helper()
	got := c.do(method, path, header)
	if got.status != want {
		c.t.Errorf("%s %s: status %d, want %d; %s", method, path, got.status, want, got.body)
	}
	return got
}

// absent asks for content that nobody has.
func (c conformant) absent(kind, code string) {
	c.t.Helper()
	path := kind + "/" + digest.FromString("nowhere").String()
	if head := c.status(http.MethodHead, path, http.StatusNotFound, nil); len(head.body) > 0 {
		c.t.Errorf("HEAD %s has a body", path)
	}
	got := c.status(http.MethodGet, path, http.StatusNotFound, nil)
	var answer struct{ Errors []struct{ Code string } }
	if err := json.Unmarshal(got.body, &answer); err != nil || len(answer.Errors) != 1 || answer.Errors[0].Code != code {
		c.t.Errorf("GET %s: %s, want code %s", path, got.body, code)
	}
}

// serves asks for content that is there, with HEAD and with GET.
func (c conformant) serves(kind, reference string, want content, mediaType string) {
	c.t.Helper()
	for _, method := range []string{http.MethodHead, http.MethodGet} {
		got := c.status(method, kind+"/"+reference, http.StatusOK, nil)
		if length := got.header.Get("Content-Length"); length != strconv.FormatInt(want.desc.Size, 10) {
			c.t.Errorf("%s %s: Content-Length %q", method, reference, length)
		}
		if d := got.header.Get("Docker-Content-Digest"); d != want.desc.Digest.String() {
			c.t.Errorf("%s %s: Docker-Content-Digest %q", method, reference, d)
		}
		if kind := got.header.Get("Content-Type"); kind == "" || mediaType != "" && kind != mediaType {
			c.t.Errorf("%s %s: Content-Type %q", method, reference, kind)
		}
		if method == http.MethodGet && !bytes.Equal(got.body, want.data) {
			c.t.Errorf("%s: other bytes", reference)
		}
	}
}

// ranges asks for parts of a blob.
func (c conformant) ranges(blob content) {
	c.t.Helper()
	path, size := "blobs/"+blob.desc.Digest.String(), len(blob.data)
	for header, want := range map[string][]byte{
		"bytes=1-3": blob.data[1:4],
		"bytes=5-":  blob.data[5:],
		"bytes=-5":  blob.data[size-5:],
	} {
		if got := c.status(http.MethodGet, path, http.StatusPartialContent, http.Header{"Range": {header}}); !bytes.Equal(got.body, want) {
			c.t.Errorf("%s: other bytes", header)
		}
	}
	c.status(http.MethodGet, path, http.StatusRequestedRangeNotSatisfiable, http.Header{"Range": {fmt.Sprintf("bytes=%d-", size)}})
	several := c.do(http.MethodGet, path, http.Header{"Range": {"bytes=0-1,3-4"}})
	if several.status == http.StatusPartialContent {
		if got, want := parts(c.t, several), [][]byte{blob.data[0:2], blob.data[3:5]}; !slices.EqualFunc(got, want, bytes.Equal) {
			c.t.Errorf("two ranges: %q, want %q", got, want)
		}
	} else if several.status != http.StatusOK || !bytes.Equal(several.body, blob.data) {
		c.t.Errorf("two ranges: status %d", several.status)
	}
	etag := c.do(http.MethodHead, path, nil).header.Get("Etag")
	fresh := c.status(http.MethodGet, path, http.StatusPartialContent, http.Header{"Range": {"bytes=1-3"}, "If-Range": {etag}})
	if etag == "" || !bytes.Equal(fresh.body, blob.data[1:4]) {
		c.t.Errorf("If-Range with the ETag %q: other bytes", etag)
	}
	stale := c.status(http.MethodGet, path, http.StatusOK, http.Header{"Range": {"bytes=1-3"}, "If-Range": {`"another"`}})
	if !bytes.Equal(stale.body, blob.data) {
		c.t.Error("If-Range with another ETag: other bytes")
	}
}

// parts are those of an answer to a request for several ranges.
func parts(t testing.TB, r response) (found [][]byte) {
	t.Helper()
	_, params, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	must(t, err)
	for reader := multipart.NewReader(bytes.NewReader(r.body), params["boundary"]); ; {
		part, err := reader.NextPart()
		if errors.Is(err, io.EOF) {
			return found
		}
		must(t, err)
		data, err := io.ReadAll(part)
		must(t, err)
		found = append(found, data)
	}
}
