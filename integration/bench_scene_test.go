package integration

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nestedoci/nested/integration/bench"
)

// scene is a registry behind a link, which hands out tokens itself over the same TLS, and all that is measured there.
type scene struct {
	*registry
	link    bench.Link
	login   login
	config  string   // directory of the Docker configuration
	helpers string   // the file that each run of the credential helper adds a line to
	env     []string // of client programs

	stock, nested    *containerd
	gateway, waiting *gatewayProcess // that fetches ahead, and that does not
}

// startScene starts a registry on a link without delay.
func startScene(t testing.TB) *scene {
	t.Helper()
	s := &scene{login: login{"dave", "canary"}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	tokens := &tokenServer{signer: newSigner(t), users: map[string]user{"dave": {password: "canary", rights: pulls(everyRepository)}}, realm: "https://" + listener.Addr().String() + "/token"}
	serve := func(server *httptest.Server) {
		_ = server.Listener.Close() // which it made itself
		server.Listener = s.link.Listener(listener)
		mux := http.NewServeMux()
		mux.Handle("/", server.Config.Handler)
		mux.Handle("/token", tokens)
		server.Config.Handler, server.EnableHTTP2 = mux, true
		server.StartTLS()
	}
	started := setRegistryEnv(t)
	s.registry = registryOptions{serve: serve}.start(t, tokens)
	started()
	s.caFile = writeFile(t, filepath.Join(t.TempDir(), "ca.pem"), s.ca)
	s.helpers = filepath.Join(t.TempDir(), "helpers")
	s.writeHelper(t)
	s.config = dockerConfig(t, nil, map[string]any{"credHelpers": map[string]string{s.host: "bench"}})
	s.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "DOCKER_CONFIG=" + s.config, "SSL_CERT_FILE=" + s.caFile, "SSL_CERT_DIR=/nonexistent"}
	return s
}

// setRegistryEnv has the registry take as little of the machine as it can: with traces that say nothing, which it always
// writes to its log, and with a garbage collection only now and then, because it reads each blob, however small, through
// a fresh buffer of 4 MiB. It returns what ends that for other programs.
func setRegistryEnv(t testing.TB) func() {
	t.Helper()
	for name, value := range registryEnv {
		t.Setenv(name, value)
	}
	return func() {
		for name := range registryEnv {
			_ = os.Unsetenv(name) // the test's end brings back what was there
		}
	}
}

var registryEnv = map[string]string{
	"OTEL_TRACES_EXPORTER": "none", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "0", "OTEL_SPAN_EVENT_COUNT_LIMIT": "0",
	"GOGC": "off", "GOMEMLIMIT": "2GiB",
}

// writeHelper puts a credential helper that counts its runs into PATH, and has daemons trust the registry.
func (s *scene) writeHelper(t testing.TB) {
	t.Helper()
	dir := t.TempDir()
	text := fmt.Sprintf("#!/bin/sh\nread -r server\necho \"$1 $server\" >>%s\nprintf '{\"ServerURL\":\"%%s\",\"Username\":%q,\"Secret\":%q}' \"$server\"\n",
		s.helpers, s.login.username, s.login.password)
	must(t, os.WriteFile(filepath.Join(dir, "docker-credential-bench"), []byte(text), 0o700))
	must(t, os.WriteFile(s.helpers, nil, 0o600))
	t.Setenv("PATH", dir+string(filepath.ListSeparator)+os.Getenv("PATH"))
	t.Setenv("SSL_CERT_FILE", s.caFile)
}

// helperRuns counts them since the last call.
func (s *scene) helperRuns(t testing.TB) int {
	t.Helper()
	data, err := os.ReadFile(s.helpers)
	must(t, err)
	must(t, os.WriteFile(s.helpers, nil, 0o600))
	return bytes.Count(data, []byte("\n"))
}

// fleet makes images, of some numbers, with a base layer that all share, a layer of a size of their own, and a small one.
func fleet(t testing.TB, from, to int, base layer, own int) []member {
	t.Helper()
	var made []member
	for i := from; i < to; i++ {
		name := fmt.Sprintf("m%04d", i)
		made = append(made, member{name, newImage(t, amd64, name, base, newLayer(t, "own", randomBlob("", own).data))})
	}
	return made
}

// pushesAtOnce is how many members are pushed at once.
const pushesAtOnce = 16

// pushFleet pushes members to their own repositories below a parent, and anchors them in a repository.
func (s *scene) pushFleet(t testing.TB, parent, anchor string, fleet []member) {
	t.Helper()
	base := fleet[0].node.blobs[0] // before the others ask for it
	s.pushBlob(t, anchor, base.desc, bytes.NewReader(base.data))
	next := make(chan member)
	var all sync.WaitGroup
	for range pushesAtOnce {
		all.Go(func() {
			for m := range next {
				s.pushAnchored(t, parent, anchor, m, base)
			}
		})
	}
	for _, m := range fleet {
		next <- m
	}
	close(next)
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (s *scene) pushAnchored(t testing.TB, parent, anchor string, m member, base content) {
	own := parent + "/" + m.namespace
	for _, blob := range m.node.blobs {
		if blob.desc.Digest != base.desc.Digest {
			s.pushBlob(t, anchor, blob.desc, bytes.NewReader(blob.data))
		}
		s.mount(t, own, anchor, blob)
	}
	s.pushManifest(t, own, "v1", m.node.content)
	s.pushManifest(t, anchor, "", m.node.content)
}

// mount makes a blob of one repository another's, too.
func (s *scene) mount(t testing.TB, to, from string, blob content) {
	query := url.Values{"mount": {blob.desc.Digest.String()}, "from": {from}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://registry/v2/"+to+"/blobs/uploads/?"+query.Encode(), http.NoBody)
	must(t, err)
	rights := []access{{"repository", to, []string{"pull", "push"}}, {"repository", from, []string{"pull"}}}
	token, err := s.tokens.signer.token("admin", rights)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	answer, err := s.direct.Do(req)
	must(t, err)
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusCreated {
		t.Fatalf("mount of %s: %s %v\n%s", blob.desc.Digest, answer.Status, err, text)
	}
}

// bundleAt is a bundle at the scene, by a tag in its repository.
type bundleAt struct {
	repository, tag string
	bundle          node
	content         bench.Content
}

// pushBundle pushes the index of members that are there already.
func (s *scene) pushBundle(t testing.TB, repository, tag string, bundle node) bundleAt {
	t.Helper()
	s.pushManifest(t, repository, tag, bundle.content)
	at := bundleAt{repository, tag, bundle, bench.Content{Root: bundle.desc.Size}}
	at.count(bundle, 1, map[string]bool{})
	return at
}

func (b *bundleAt) count(n node, level int, seen map[string]bool) {
	c := &b.content
	for _, part := range append([]content{n.content}, n.blobs...) {
		if digest := part.desc.Digest.String(); !seen[digest] {
			seen[digest] = true
			c.Bytes += part.desc.Size
			if strings.Contains(part.desc.MediaType, ".layer.") || strings.Contains(part.desc.MediaType, ".config.") {
				c.Blobs++
			}
		}
	}
	if len(n.members) == 0 {
		c.Members++
		return
	}
	c.Indexes++
	c.Levels = max(c.Levels, level)
	for _, m := range n.members {
		b.count(m.node, level+1, seen)
	}
}

// refs are the images of a bundle, each in its own repository.
func (b bundleAt) refs(s *scene) []string {
	var refs []string
	var walk func(repository string, n node)
	walk = func(repository string, n node) {
		if len(n.members) == 0 {
			refs = append(refs, s.ref(repository, "v1"))
		}
		for _, m := range n.members {
			walk(repository+"/"+m.namespace, m.node)
		}
	}
	walk(b.repository, b.bundle)
	return refs
}

// timedGet reads an answer to its end and returns bytes in a second, from the first byte on.
func (s *scene) timedGet(t testing.TB, path, token string, size int64) float64 {
	t.Helper()
	trusted := s.registry.client.Transport.(*http.Transport).TLSClientConfig.RootCAs
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}} // HTTP/1.1
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.scheme+"://"+s.host+path, http.NoBody)
	must(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	answer, err := transport.RoundTrip(req)
	must(t, err)
	defer answer.Body.Close()
	began := time.Now()
	n, err := io.Copy(io.Discard, answer.Body)
	must(t, err)
	if n != size {
		t.Fatalf("%s: %s, %d bytes", path, answer.Status, n)
	}
	return float64(n) / time.Since(began).Seconds()
}
