package gateway

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/apipath"
	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// network is a registry with a front before it, and a client on the network.
type network struct {
	*fronttest.Scene
	front *Front
	user  string // "": none
}

func newNetwork(t *testing.T, change func(*FrontOptions), options ...registrytest.Option) *network {
	t.Helper()
	n := &network{Scene: fronttest.NewWritten(t, options...), user: "alice"}
	n.Registry.Allow("alice", fronttest.Secret, "org/app", "org/app/web", "org/app/worker")
	n.Registry.Allow("bob", fronttest.Secret, "org/app")
	n.Registry.Intercept(n.Registry.Pushes(false))
	n.front, n.Server = n.serve(change)
	return n
}

// serve puts one more front before the registry until the test ends.
func (n *network) serve(change func(*FrontOptions)) (*Front, *httptest.Server) {
	n.T.Helper()
	memory := find.NewMemory(find.DefaultMemory)
	o := FrontOptions{Registries: map[string]string{"127.0.0.1": n.Registry.Host()}, SearchRequests: 100, Prefetch: 64, Memory: memory}
	if change != nil {
		change(&o)
	}
	f, err := NewFront(o)
	if err != nil {
		n.T.Fatal(err)
	}
	server := httptest.NewServer(f)
	n.T.Cleanup(func() {
		server.Close()
		f.Close()
		fronttest.CheckMemory(n.T, memory.Used)
	})
	return f, server
}

// ask makes a request as the user.
func (n *network) ask(method, path, data string, header ...string) fronttest.Reply {
	n.T.Helper()
	req := fronttest.NewRequest(n.T, method, n.Server.URL+path, data, header...)
	if n.user != "" {
		req.SetBasicAuth(n.user, fronttest.Secret)
	}
	return fronttest.Send(n.T, n.Server.Client().Transport, req)
}

// TestFrontAnswersLogins: at /v2/ a front answers as the registry does, but asks for Basic.
func TestFrontAnswersLogins(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	for _, test := range []struct {
		user, password string
		status         int
	}{{"alice", fronttest.Secret, http.StatusOK}, {"alice", "no-secret", http.StatusUnauthorized}, {"", "", http.StatusUnauthorized}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.Server.URL+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if test.user != "" {
			req.SetBasicAuth(test.user, test.password)
		}
		resp, err := n.Server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil {
			t.Fatal(err)
		}
		if resp.Header.Get("Docker-Distribution-Api-Version") != "registry/2.0" { // docker's client insists on it
			t.Errorf("%s %s: %v", test.user, test.password, resp.Header)
		}
		if test.user == "" && strings.Contains(string(body), n.Registry.Host()) {
			t.Errorf("sent to the registry to log in: %s", body)
		}
		challenge := resp.Header.Get("WWW-Authenticate")
		if resp.StatusCode != test.status || test.status == http.StatusUnauthorized && !strings.HasPrefix(challenge, "Basic ") {
			t.Errorf("%s %s: %d %q", test.user, test.password, resp.StatusCode, challenge)
		}
	}
}

// TestFrontTakesAndGives: an image and a nested index are pushed to a front, each with the caller's rights, and everything is
// pulled from the repository of the index; whoever may not read a member does not get it.
func TestFrontTakesAndGives(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	layer := "a layer"
	web := n.push("org/app/web", "v1", layer)
	data := string(clienttest.IndexOf(registrytest.Member(web, "web")))
	d := digest.FromString(data)
	put := n.ask(http.MethodPut, "/v2/org/app/manifests/v1", data, "Content-Type", ocispec.MediaTypeImageIndex)
	if put.Status != http.StatusCreated || put.Header.Get("Docker-Content-Digest") != d.String() {
		t.Fatalf("%+v", put)
	}
	for _, path := range []string{"manifests/v1", "manifests/" + d.String()} {
		if got := n.ask(http.MethodGet, "/v2/org/app/"+path, ""); got.Body != data || got.Header.Get("Content-Type") != ocispec.MediaTypeImageIndex {
			t.Errorf("%s: %+v", path, got)
		}
	}
	for _, path := range []string{"manifests/" + web.Digest.String(), "blobs/" + digest.FromString(layer).String()} {
		if got := n.ask(http.MethodGet, "/v2/org/app/"+path, ""); got.Status != http.StatusOK {
			t.Errorf("%s: %+v", path, got)
		}
		n.user = "bob"
		if got := n.ask(http.MethodGet, "/v2/org/app/"+path, ""); got.Status != http.StatusForbidden && got.Status != http.StatusNotFound {
			t.Errorf("bob got %s: %+v", path, got)
		}
		n.user = "alice"
	}
}

// push pushes an image as clients do: its blobs in pieces, then the manifest.
func (n *network) push(repository, tag, layer string) ocispec.Descriptor {
	n.T.Helper()
	config := ocispec.DescriptorEmptyJSON
	n.upload(repository, string(config.Data))
	n.upload(repository, layer)
	manifest := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromString(layer), Size: int64(len(layer))}}}
	manifest.SchemaVersion = 2
	body, err := json.Marshal(manifest)
	if err != nil {
		n.T.Fatal(err)
	}
	if put := n.ask(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, string(body), "Content-Type", ocispec.MediaTypeImageManifest); put.Status != http.StatusCreated {
		n.T.Fatalf("%+v", put)
	}
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromBytes(body), Size: int64(len(body))}
}

func (n *network) upload(repository, data string) {
	n.T.Helper()
	begun := n.ask(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "")
	location := begun.Header.Get("Location")
	if begun.Status != http.StatusAccepted || !strings.HasPrefix(location, "/v2/"+repository+"/blobs/uploads/") {
		n.T.Fatalf("%+v", begun)
	}
	done := n.ask(http.MethodPut, location+"?digest="+digest.FromString(data).String(), data)
	if done.Status != http.StatusCreated {
		n.T.Fatalf("%+v", done)
	}
}

// TestFrontBoundsManifests: one that is larger than the distribution spec asks for is refused, also in chunks, and one whose
// sender stalls takes nobody's place for ever.
func TestFrontBoundsManifests(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	large := strings.Repeat(" ", oci.MaxManifest+1)
	for _, body := range []io.Reader{strings.NewReader(large), io.MultiReader(strings.NewReader(large))} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, n.Server.URL+"/v2/org/app/manifests/v1", body)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("alice", fronttest.Secret)
		req.Header.Set("Content-Type", ocispec.MediaTypeImageManifest)
		if got := fronttest.Send(t, n.Server.Client().Transport, req); got.Status != http.StatusRequestEntityTooLarge || !strings.Contains(got.Body, "4 MiB") {
			t.Errorf("%d %.300s", got.Status, got.Body)
		}
	}
}

// TestStalledWriterIsDisconnected: who sends nothing of a body any more is given up in time, of a manifest as of a blob.
func TestStalledWriterIsDisconnected(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"manifests", "blobs/uploads"} {
		synctest.Test(t, func(t *testing.T) {
			listener, took := newPipes(), make(chan time.Duration, 1)
			s := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				began := time.Now()
				_, _ = io.Copy(io.Discard, new(Front).body(w, r, apipath.Path{Word: word}))
				took <- time.Since(began)
			}), "", "")
			served := make(chan error)
			go func() { served <- s.http.Serve(listener) }()
			conn := listener.dial()
			_, _ = io.WriteString(conn, "PUT /v2/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 7\r\n\r\nx")
			select {
			case d := <-took:
				if d > stallTimeout+time.Second {
					t.Errorf("%s: after %v", word, d)
				}
			case <-time.After(time.Hour):
				t.Errorf("%s: never", word)
			}
			_ = conn.Close()
			_ = s.http.Close()
			if err := <-served; !errors.Is(err, http.ErrServerClosed) {
				t.Error(err)
			}
		})
	}
}

// TestFrontKnowsReferrers: at a registry without the API for them, a front lists what refers to an image once that is
// pushed, by type, too, and not any more when it is deleted.
func TestFrontKnowsReferrers(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	n.Registry.Intercept(registrytest.Say(http.StatusNotFound, "text/plain", "404 page not found", registrytest.Of(registrytest.KindReferrers), registrytest.WithCredentials))
	web := n.push("org/app", "v1", "a layer")
	config := ocispec.DescriptorEmptyJSON
	signature := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, ArtifactType: "application/x-signature", Config: config, Layers: []ocispec.Descriptor{config}, Subject: &web}
	signature.SchemaVersion = 2
	body, err := json.Marshal(signature)
	if err != nil {
		t.Fatal(err)
	}
	d := digest.FromBytes(body)
	put := n.ask(http.MethodPut, "/v2/org/app/manifests/"+d.String(), string(body), "Content-Type", ocispec.MediaTypeImageManifest)
	if put.Status != http.StatusCreated || put.Header.Get("Oci-Subject") != web.Digest.String() {
		t.Fatalf("%+v", put)
	}
	listed := func(query string) (digests []digest.Digest) {
		got := n.ask(http.MethodGet, "/v2/org/app/referrers/"+web.Digest.String()+query, "")
		var index ocispec.Index
		if err := json.Unmarshal([]byte(got.Body), &index); err != nil || got.Status != http.StatusOK || got.Header.Get("Content-Type") != ocispec.MediaTypeImageIndex {
			t.Fatalf("%+v: %v", got, err)
		}
		for _, m := range index.Manifests {
			digests = append(digests, m.Digest)
		}
		return digests
	}
	for query, want := range map[string]int{"": 1, "?artifactType=application/x-signature": 1, "?artifactType=application/x-sbom": 0} {
		if got := listed(query); len(got) != want || want == 1 && got[0] != d {
			t.Errorf("%q: %v", query, got)
		}
	}
	n.Registry.Intercept(registrytest.Answer(http.StatusAccepted, nil, registrytest.Method(http.MethodDelete), registrytest.WithCredentials))
	if got := n.ask(http.MethodDelete, "/v2/org/app/manifests/"+d.String(), ""); got.Status != http.StatusAccepted {
		t.Fatalf("%+v", got)
	}
	if got := listed(""); len(got) != 0 {
		t.Errorf("still listed: %v", got)
	}
}
