package integration

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// replicas are fronts of one registry behind a balancer, and a user of all of its repositories.
type replicas struct {
	*balancer
	processes   []*replica // of this machine; those of a cluster are pods
	host        string     // clients' name for them
	registry    *registry
	certificate frontCertificate
	who         login
}

// startReplicas starts two with one seal key. What the registry sends is so many bytes in a second at most.
func startReplicas(t testing.TB, perSecond int64, flags ...string) *replicas {
	t.Helper()
	r := &replicas{who: login{"dave", "canary"}, certificate: newFrontCertificate(t, "bundles.example.com")}
	tokens := startTokenServer(t, map[string]user{r.who.username: {password: r.who.password, rights: pushes(everyRepository)}})
	r.registry = registryOptions{serve: func(s *httptest.Server) {
		s.Listener = &limitedListener{s.Listener, &limiter{perSecond: perSecond}}
		s.Start()
	}}.start(t, tokens)
	flags = append([]string{"--seal-key", sealKey(t)}, flags...)
	for range 2 {
		r.processes = append(r.processes, startReplica(t, r.registry, r.certificate, flags...))
	}
	r.balancer = startBalancer(t, "127.0.0.1:0", r.processes[0].address, r.processes[1].address)
	r.host = r.balancer.Addr().String()
	return r
}

// TestServeReplicas: of two replicas behind a balancer one is killed during pulls and pushes, which all succeed.
func TestServeReplicas(t *testing.T) {
	needs(t, "all", "nestctl", "crane", "oras")
	r := startReplicas(t, 60<<20)
	victim := r.processes[0]
	r.checkKill(t, victim.address, func() { _ = victim.cmd.Process.Kill() })
	if !victim.ended() {
		t.Error("it was not killed, so that nothing is shown")
	}
}

// TestServeUploads: an upload that one replica has begun goes on at another one, also while the seal key is exchanged. One
// with another key, or with none, says what they have to share.
func TestServeUploads(t *testing.T) {
	needs(t, "nestctl")
	first, second := sealKey(t), sealKey(t)
	who, certificate := login{"dave", "canary"}, newFrontCertificate(t, "bundles.example.com")
	reg := startRegistry(t, startTokenServer(t, map[string]user{who.username: {password: who.password, rights: pushes("org/app")}}))
	start := func(keys ...string) *uploader {
		var flags []string
		for _, key := range keys {
			flags = append(flags, "--seal-key", key)
		}
		r := startReplica(t, reg, certificate, flags...)
		return &uploader{"https://" + r.address, certificate.client(t, ""), who}
	}
	before, after, neither, other := start(first, second), start(second, first), start(), start(sealKey(t))

	at := before.ask(t, http.MethodPost, "/v2/org/app/blobs/uploads/", "", http.StatusAccepted).location
	at = after.ask(t, http.MethodPatch, at, "hello, ", http.StatusAccepted).location
	for _, stranger := range []*uploader{neither, other} {
		if got := stranger.ask(t, http.MethodPatch, at, "world", http.StatusNotFound); !strings.Contains(got.body, "BLOB_UPLOAD_UNKNOWN") || !strings.Contains(got.body, "seal_keys") {
			t.Errorf("it says %s", got.body)
		}
	}
	at = before.ask(t, http.MethodPatch, at, "world", http.StatusAccepted).location
	rolled := start(second) // the first is gone
	at = after.ask(t, http.MethodGet, at, "", http.StatusNoContent).location
	rolled.ask(t, http.MethodPut, at+"?digest="+digest.FromString("hello, world").String(), "", http.StatusCreated)
}

// uploader asks one replica.
type uploader struct {
	url    string
	client *http.Client
	who    login
}

type uploaderAnswer struct{ location, body string }

func (u *uploader) ask(t *testing.T, method, path, body string, want int) uploaderAnswer {
	t.Helper()
	at, err := url.JoinPath(u.url, strings.SplitN(path, "?", 2)[0])
	must(t, err)
	if _, query, ok := strings.Cut(path, "?"); ok {
		at += "?" + query
	}
	req, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(body))
	must(t, err)
	req.SetBasicAuth(u.who.username, u.who.password)
	resp, err := u.client.Do(req)
	must(t, err)
	text, err := io.ReadAll(resp.Body)
	must(t, errors.Join(err, resp.Body.Close()))
	if resp.StatusCode != want {
		t.Fatalf("%s %s: %s\n%s", method, path, resp.Status, text)
	}
	return uploaderAnswer{resp.Header.Get("Location"), string(text)}
}
