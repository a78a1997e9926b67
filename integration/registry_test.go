package integration

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// registry is a registry, mostly distribution's, behind a proxy that logs. It listens on a Unix socket,
// so that the only port is the proxy's, and so that the tests can push past the log.
type registry struct {
	*requestLog
	host    string // host:port, as in references
	ca      string // the proxy's certificate, of a registry over TLS
	caFile  string // a file that hosts.toml is to name as its CA
	scheme  string
	tokens  *tokenServer // nil: no authentication
	program *process     // nil: it is in the test's own
	config  string       // the program's file
	direct  *http.Client // to the socket
	client  *http.Client // trusts the proxy's certificate
}

// startRegistry starts a registry over plain HTTP. Without a token server it lets everybody pull and
// push.
func startRegistry(t testing.TB, tokens *tokenServer) *registry {
	t.Helper()
	return registryOptions{serve: (*httptest.Server).Start}.start(t, tokens)
}

// registryOptions are what few tests want otherwise.
type registryOptions struct {
	serve  func(*httptest.Server) // Start or StartTLS
	strict bool                   // an index's members have to be in its own repository
	kind   registryKind

	deletes   bool // tags and manifests can be deleted
	referrers bool // it has the referrers API, of which goContainerRegistry alone knows
}

func (o registryOptions) start(t testing.TB, tokens *tokenServer) *registry {
	t.Helper()
	dir := tempDir(t)
	socket := filepath.Join(dir, "socket")
	r := &registry{tokens: tokens, direct: clientOf(t, socket)}
	o.run(t, r, socket)

	r.requestLog = &requestLog{next: proxyTo(r.direct.Transport)}
	server := httptest.NewUnstartedServer(r.requestLog)
	server.Config.ErrorLog = quiet
	o.serve(server)
	t.Cleanup(server.Close)
	r.client = server.Client()
	if certificate := server.Certificate(); certificate != nil {
		r.ca = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
	}
	r.scheme, r.host, _ = strings.Cut(server.URL, "://")
	return r
}

// clientOf is a client all of whose connections go to the socket.
func clientOf(t testing.TB, socket string) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// proxyTo keeps the Host header, from which the registry makes the locations in its answers.
func proxyTo(transport http.RoundTripper) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Transport: transport,
		ErrorLog:  quiet,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetXForwarded()
			r.Out.URL.Scheme, r.Out.URL.Host = "http", r.In.Host
		},
	}
}

// quiet is for servers whose clients go in the middle of an answer, or trust no certificate: they do
// in some tests.
var quiet = log.New(io.Discard, "", 0)

func (r *registry) answers(t testing.TB) bool {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://registry/v2/", http.NoBody)
	must(t, err)
	answer, err := r.direct.Do(req)
	if err != nil {
		return false
	}
	return answer.Body.Close() == nil
}

// ref is the reference of a tag or a digest in a repository.
func (r *registry) ref(repository, reference string) string {
	separator := ":"
	if _, err := digest.Parse(reference); err == nil {
		separator = "@"
	}
	return r.host + "/" + repository + separator + reference
}

// pushBlob uploads a blob in one piece.
func (r *registry) pushBlob(t testing.TB, repository string, desc ocispec.Descriptor, body io.Reader) {
	t.Helper()
	header := r.push(t, http.MethodPost, "/v2/"+repository+"/blobs/uploads/", repository, "", http.NoBody, 0)
	location, err := url.Parse(header.Get("Location"))
	must(t, err)
	query := location.Query()
	query.Set("digest", desc.Digest.String())
	location.RawQuery = query.Encode()
	r.push(t, http.MethodPut, location.RequestURI(), repository, "application/octet-stream", body, desc.Size)
}

// pushManifest puts a manifest or an index under a tag or, with an empty one, by digest.
func (r *registry) pushManifest(t testing.TB, repository, tag string, c content) {
	t.Helper()
	reference := tag
	if reference == "" {
		reference = c.desc.Digest.String()
	}
	r.push(t, http.MethodPut, "/v2/"+repository+"/manifests/"+reference, repository, c.desc.MediaType, bytes.NewReader(c.data), c.desc.Size)
}

func (r *registry) push(t testing.TB, method, path, repository, mediaType string, body io.Reader, size int64) http.Header {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://registry"+path, body)
	must(t, err)
	req.ContentLength = size
	if mediaType != "" {
		req.Header.Set("Content-Type", mediaType)
	}
	if r.tokens != nil {
		req.Header.Set("Authorization", "Bearer "+r.tokens.adminToken(t, repository))
	}
	answer, err := r.direct.Do(req)
	must(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	if answer.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s\n%s", method, path, answer.Status, text)
	}
	return answer.Header
}

// response is an answer, read to its end.
type response struct {
	status int
	header http.Header
	body   []byte
}

// get asks as a client would, through the log.
func (r *registry) get(t testing.TB, path, token string) response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.scheme+"://"+r.host+path, http.NoBody)
	must(t, err)
	// Without it the registry says of any OCI manifest that there is none.
	req.Header.Set("Accept", ocispec.MediaTypeImageManifest+", "+ocispec.MediaTypeImageIndex)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	answer, err := r.client.Do(req)
	must(t, err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(t, err)
	return response{answer.StatusCode, answer.Header, body}
}
