// Package fronttest is a registry with a bundle in it, and a client before what
// stands in front of that: one that knows nothing of child namespaces and asks as
// containerd does. Tests of handlers put theirs there ([Scene.Start]).
package fronttest

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/locations"
)

// Scene is a registry in which each repository has a user of its own, and a
// client of the handler that is served before it.
type Scene struct {
	T            *testing.T
	Registry     *registrytest.Registry
	Server       *httptest.Server
	Locations    *locations.Cache
	File         string                 // of the location cache
	Remember     locations.Options      // how the location cache does
	User         [2]string              // shown to the handler
	RegistryName string                 // what ns says; empty: the registry's host
	Had          map[digest.Digest]bool // what Fetch leaves out, as containerd does; nil: nothing
}

// passwords are those of the users of all tests.
var passwords = []string{Secret, "all-secret", "no-secret", "plain-secret", "other-secret"}

// Secret is the password of all users.
const Secret = "canary"

// New starts the registry, which wants tokens. Its requests are judged when the
// test ends, as is what was logged since now: the package's tests run in [clienttest.Main].
func New(t *testing.T, options ...registrytest.Option) *Scene {
	t.Helper()
	s := &Scene{T: t, Registry: clienttest.NewRegistry(t, append([]registrytest.Option{registrytest.WithTokenAuth()}, options...)...)}
	clienttest.Judge(t, s.Registry, []string{"org", "secret/app"}, passwords)
	return s
}

// NewWritten is [New] for clients that also push, mount and delete, and log in.
func NewWritten(t *testing.T, options ...registrytest.Option) *Scene {
	t.Helper()
	s := &Scene{T: t, Registry: registrytest.New(append([]registrytest.Option{registrytest.WithTokenAuth()}, options...)...)}
	t.Cleanup(s.Registry.Close)
	clienttest.JudgeWrites(t, s.Registry, []string{"org"}, passwords)
	return s
}

// Front is a handler that stands before the registry.
type Front interface {
	http.Handler
	Close()
}

// Start puts a handler before the registry until the test ends, with the location
// cache in a file. used is what it has taken of its memory, in bytes; everything
// has to be given back in the end.
func (s *Scene) Start(file string, front func(*locations.Cache) (f Front, used func() int64)) {
	s.T.Helper()
	cache, err := locations.Open(file, s.Remember)
	if err != nil {
		s.T.Fatal(err)
	}
	f, used := front(cache)
	server := httptest.NewServer(f)
	s.File, s.Locations, s.Server = file, cache, server
	s.T.Cleanup(func() {
		server.Close()
		f.Close()
		_ = cache.Close()
		CheckMemory(s.T, used)
	})
}

// CheckMemory fails when something was taken and is not given back.
func CheckMemory(t *testing.T, used func() int64) {
	t.Helper()
	// What is read ahead ends by itself.
	clienttest.Await(t, func() bool { return used() == 0 }, func() string { return fmt.Sprintf("%d bytes were not given back", used()) })
}

// PerRepository is a Docker configuration with a user for each repository.
func PerRepository(t *testing.T, r *registrytest.Registry) auth.Source {
	t.Helper()
	auths := map[string]any{}
	for _, name := range []string{"org/app", "org/app/web", "org/app/worker", "org/app/a", "org/app/a/b"} {
		r.Allow("user of "+name, Secret, name)
		auths[r.Host()+"/"+name] = clienttest.Entry("user of "+name, Secret)
	}
	return clienttest.Stores(t, map[string]any{"auths": auths})
}

// Reply is an answer.
type Reply struct {
	Status int
	Header http.Header
	Body   string
}

// Do makes a request, with ns and the user in it.
func (s *Scene) Do(method, path string, header ...string) Reply {
	s.T.Helper()
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	req := NewRequest(s.T, method, s.Server.URL+path+separator+"ns="+cmp.Or(s.RegistryName, s.Registry.Host()), "", header...)
	if s.User[0] != "" {
		req.SetBasicAuth(s.User[0], s.User[1])
	}
	return Send(s.T, s.Server.Client().Transport, req)
}

// NewRequest makes a request with a body, none when data is empty, and headers: names
// and values in turn.
func NewRequest(t *testing.T, method, url, data string, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(data))
	clienttest.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	return req
}

// Send returns the answer to a request as it comes: a redirect is one.
func Send(t *testing.T, through http.RoundTripper, req *http.Request) Reply {
	t.Helper()
	resp, err := through.RoundTrip(req)
	clienttest.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	clienttest.NoError(t, errors.Join(err, resp.Body.Close()))
	return Reply{resp.StatusCode, resp.Header, string(body)}
}

// Get gets "manifests" or "blobs" of org/app by digest.
func (s *Scene) Get(kind string, d digest.Digest) Reply {
	s.T.Helper()
	return s.Do(http.MethodGet, "/v2/org/app/"+kind+"/"+string(d))
}

// Pull does what containerd does for a tag: HEAD, then everything by digest
// from the one repository. It returns the digest that the tag resolved to.
func (s *Scene) Pull(tag string) digest.Digest {
	s.T.Helper()
	head := s.Do(http.MethodHead, "/v2/org/app/manifests/"+tag)
	if head.Status != http.StatusOK {
		s.T.Fatalf("HEAD of %s: %+v", tag, head)
	}
	root := digest.Digest(head.Header.Get("Docker-Content-Digest"))
	s.Fetch(ocispec.Descriptor{MediaType: head.Header.Get("Content-Type"), Digest: root})
	return root
}

// Fetch gets content and all that is below it, from org/app alone.
func (s *Scene) Fetch(d ocispec.Descriptor) {
	s.T.Helper()
	s.FetchBy(s.Do, d)
}

// FetchBy is Fetch with another way to ask, and returns how many manifests, indexes
// and blobs that were.
func (s *Scene) FetchBy(do func(method, path string, header ...string) Reply, d ocispec.Descriptor) (all int) {
	s.T.Helper()
	if s.Had[d.Digest] {
		return 0
	}
	if s.Had != nil {
		s.Had[d.Digest] = true
	}
	kind := "blobs"
	if strings.Contains(d.MediaType, "image.index") || strings.Contains(d.MediaType, "image.manifest") {
		kind = "manifests"
	}
	got := do(http.MethodGet, "/v2/org/app/"+kind+"/"+string(d.Digest))
	if got.Status != http.StatusOK || digest.FromString(got.Body) != d.Digest {
		s.T.Fatalf("%s %s: %d %.300s", kind, d.Digest, got.Status, got.Body)
	}
	if kind == "blobs" {
		return 1
	}
	for _, child := range s.Children(got.Body) {
		all += s.FetchBy(do, child)
	}
	return all + 1
}

// Children are the descriptors in a document.
func (s *Scene) Children(body string) []ocispec.Descriptor {
	s.T.Helper()
	var doc struct {
		Manifests, Layers []ocispec.Descriptor
		Config            *ocispec.Descriptor
	}
	if err := json.Unmarshal([]byte(body), &doc); err != nil {
		s.T.Fatal(err)
	}
	if doc.Config != nil {
		doc.Layers = append(doc.Layers, *doc.Config)
	}
	return append(doc.Manifests, doc.Layers...)
}

// Publish puts a bundle of two images, one below an index of its own.
func (s *Scene) Publish() ocispec.Descriptor {
	web := s.Registry.Image("org/app/web", registrytest.TarLayer(map[string]string{"web": "1"}))
	deep := s.Registry.Index("org/app/a", registrytest.Member(s.Registry.Image("org/app/a/b", registrytest.TarLayer(map[string]string{"b": "1"})), "b"))
	d := s.Registry.Index("org/app", registrytest.Member(web, "web"), registrytest.Member(deep, "a"))
	s.Registry.Tag("org/app", "v1", d.Digest)
	return d
}

// Line is a request in short.
func (s *Scene) Line(q registrytest.Request) string {
	return q.Method + " " + q.Repository + " " + string(q.Kind) + " " + q.User
}

// Raw sends one request as it stands, and returns status and headers of the answer, and the code of an error in the
// distribution spec's JSON, "" for another answer.
func (s *Scene) Raw(requestLine string) (status int, header http.Header, code string) {
	s.T.Helper()
	conn, err := new(net.Dialer).DialContext(s.T.Context(), "tcp", s.Server.Listener.Addr().String())
	if err != nil {
		s.T.Fatal(err)
	}
	defer conn.Close()
	_, _ = fmt.Fprintf(conn, "%s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", requestLine) // what is refused early breaks it off
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.T.Fatal(err)
	}
	defer resp.Body.Close()
	var answer struct {
		Errors []struct{ Code, Message string }
	}
	if json.NewDecoder(resp.Body).Decode(&answer) == nil && len(answer.Errors) == 1 && answer.Errors[0].Message != "" && resp.Header.Get("Content-Type") == "application/json" {
		code = answer.Errors[0].Code
	}
	return resp.StatusCode, resp.Header, code
}

// LargeIndex puts an index of so many members, none of which is there.
func LargeIndex(r *registrytest.Registry, repository, name string, members int) ocispec.Descriptor {
	entries := make([]ocispec.Descriptor, members)
	for i := range entries {
		member := fmt.Sprint(name, i)
		entries[i] = registrytest.Member(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(member), Size: 7}, member)
	}
	return r.Index(repository, entries...)
}

// AddRequests adds paths and queries of requests, good and bad, to a fuzz target of
// both: of the registry reg.test:5000, and of others.
func AddRequests(f *testing.F) {
	f.Helper()
	const d = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	for _, s := range [][2]string{
		{"/v2/", ""}, {"/v2/org/app/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/app/blobs/" + d, "ns=reg.test:5000"}, {"/v2/org/app/tags/list", "ns=reg.test:5000&n=1"},
		{"/v2/org/app/referrers/" + d, "ns=reg.test:5000&artifactType=x"}, {"/v2/org/../victim/manifests/v1", "ns=reg.test:5000"}, {"/v2//manifests/v1", "ns=reg.test:5000"},
		{"/v2/org%2f..%2fvictim/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/app/manifests/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/app/manifests/v1", "ns=evil.test"},
		{"/v2/org/app/manifests/v1", "ns=reg.test:5000&ns=evil.test"}, {"/v2/org/app/manifests/v1", "ns=REG.TEST:5000"}, {"/v2/org/app/blobs/sha256:../../x", "ns=reg.test:5000"},
		{"/evil/v2/org/app/manifests/x", "ns=reg.test:5000"}, {"/v2/other/app/manifests/v1", "ns=reg.test:5000"}, {"/v2/org/manifests/v1", "ns=reg.test:5000"}, {"/v2/tags/list", "ns=reg.test:5000"},
	} {
		f.Add(s[0], s[1])
	}
}
