package plugin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	transfertypes "github.com/containerd/containerd/api/types/transfer"
	"github.com/containerd/containerd/v2/core/streaming"
	"github.com/containerd/containerd/v2/core/transfer/image"
	"github.com/containerd/containerd/v2/core/transfer/registry"
	"github.com/containerd/log"
	"github.com/containerd/typeurl/v2"
	"github.com/sirupsen/logrus"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/auth"
)

// TestCallback: what clients answer, and when they do not.
func TestCallback(t *testing.T) {
	repository, err := auth.ParseRepository("reg.test/org/app")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		answer *transfertypes.AuthResponse
		want   string
	}{
		"password":           {&transfertypes.AuthResponse{AuthType: transfertypes.AuthType_CREDENTIALS, Username: "u", Secret: "p"}, "u p "},
		"identity":           {&transfertypes.AuthResponse{AuthType: transfertypes.AuthType_REFRESH, Secret: "t"}, "  t"},
		"identity of a user": {&transfertypes.AuthResponse{AuthType: transfertypes.AuthType_CREDENTIALS, Username: "<token>", Secret: "t"}, "  t"},
		"no user":            {&transfertypes.AuthResponse{AuthType: transfertypes.AuthType_CREDENTIALS, Secret: "t"}, "  t"},
		"nothing":            {&transfertypes.AuthResponse{}, "  "},
	} {
		t.Run(name, func(t *testing.T) {
			c, far := newCallback(t.Context(), t)
			go func() {
				_, _ = far.Recv()
				answer, err := typeurl.MarshalAny(test.answer)
				if err == nil {
					_ = far.Send(answer)
				}
			}()
			for range 2 { // the second time from memory
				got, err := c.Lookup(t.Context(), repository)
				if text := fmt.Sprintf("%s %s %s", got.Username, string(got.Password), string(got.IdentityToken)); err != nil || text != test.want {
					t.Errorf("got %q, %v", text, err)
				}
			}
		})
	}
	t.Run("header", func(t *testing.T) { // which is not to make the node's credential serve
		c, far := newCallback(t.Context(), t)
		go func() {
			_, _ = far.Recv()
			answer, err := typeurl.MarshalAny(&transfertypes.AuthResponse{AuthType: transfertypes.AuthType_HEADER, Secret: "h"})
			if err == nil {
				_ = far.Send(answer)
			}
		}()
		if _, err := c.Lookup(t.Context(), repository); err == nil || !strings.Contains(err.Error(), "gives a header") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("failed lookup", func(t *testing.T) { // containerd's end logs it and waits for the next question
		c, far := newCallback(t.Context(), t)
		go func() { _, _ = far.Recv(); _, _ = far.Recv() }()
		if _, err := c.Lookup(t.Context(), repository); !errors.Is(err, errGivenUp) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("silence", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			c, far := newCallback(ctx, t)
			go func() { _, _ = far.Recv() }()
			began := time.Now()
			for range 2 {
				if _, err := c.Lookup(ctx, repository); err == nil || !strings.Contains(err.Error(), "reg.test: the client that asked for the pull did not answer within 30s") {
					t.Errorf("got %v", err)
				}
			}
			if took := time.Since(began); took != callbackTime {
				t.Errorf("it took %s", took)
			}
		})
	})
	t.Run("gone", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c, _ := newCallback(ctx, t)
		cancel()
		if _, err := c.Lookup(t.Context(), repository); err == nil {
			t.Error("no error")
		}
	})
}

// TestSent: what containerd's object does not tell.
func TestSent(t *testing.T) {
	s := newScene(t)
	source, err := registry.NewOCIRegistry(t.Context(), "reg.test/org/app:v1")
	if err != nil {
		t.Fatal(err)
	}
	hosts := t.TempDir()
	ctx := context.WithValue(t.Context(), sentKey{}, &sent{hostDir: hosts, scheme: "http"})
	c, err := callerOf(ctx, source)
	if err != nil {
		t.Fatal(err)
	}
	registries, err := c.registries(ctx, s.settings())
	if err != nil {
		t.Fatal(err)
	}
	app, err := auth.ParseRepository("reg.test/org/app")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := registries.Hosts(app); err != nil || len(got) != 1 || got[0].Scheme != "http" || c.settings.HostDir != hosts {
		t.Errorf("hosts %+v, %v; directory %s", got, err, c.settings.HostDir)
	}
}

// TestDump: who sees requests sees no credentials.
func TestDump(t *testing.T) {
	s := newScene(t, registrytest.WithBasicAuth())
	s.registry.Allow("node", "canary", "org/app")
	s.registry.Tag("org/app", "v1", s.registry.Image("org/app", registrytest.TarLayer(map[string]string{"file": "1"})).Digest)
	path := filepath.Join(t.TempDir(), "config.json")
	text := fmt.Sprintf(`{"auths":{%q:{"username":"node","password":"canary"}}}`, s.registry.Host())
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.config.DockerConfig = []string{path}
	ref := s.registry.Host() + "/org/app:v1"
	var out bytes.Buffer
	source, err := registry.NewOCIRegistry(s.ctx, ref, registry.WithDefaultScheme("http"), registry.WithHTTPDebug())
	if err != nil {
		t.Fatal(err)
	}
	logger := logrus.New()
	locked := &lockedWriter{to: &out}
	logger.SetOutput(locked)
	ctx := log.WithLogger(s.ctx, logrus.NewEntry(logger))
	if err := s.Transfer(ctx, source, image.NewStore(ref)); err != nil {
		t.Fatal(err)
	}
	locked.mu.Lock()
	defer locked.mu.Unlock()
	if text := out.String(); !strings.Contains(text, "Authorization: [secret]") || strings.Contains(text, "Basic bm9kZTpjYW5hcnk") {
		t.Errorf("shown:\n%s", text)
	}
}

func newCallback(ctx context.Context, t *testing.T) (*callback, streaming.Stream) {
	t.Helper()
	p := pipes{}
	far, err := p.Create(ctx, "id")
	if err != nil {
		t.Fatal(err)
	}
	return &callback{reference: "reg.test/org/app:v1", stream: p["id"], answers: map[string]auth.Credential{}}, far
}

// TestRedirectedCallback: the client's credential is for the registry that it named, whatever host that redirects to:
// clients give the one that they have to whoever asks.
func TestRedirectedCallback(t *testing.T) {
	other := clienttest.NewRegistry(t, registrytest.WithTokenAuth())
	other.AllowAnonymous("org/app")
	d := other.Image("org/app", registrytest.TarLayer(map[string]string{"a": "b"}))
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, other.URL()+req.URL.Path, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(front.Close)
	host := strings.TrimPrefix(front.URL, "http://")
	c, far := newCallback(t.Context(), t)
	go func() {
		if question, err := far.Recv(); err == nil {
			t.Errorf("the client was asked: %v", question)
		}
	}()
	r := auth.NewRegistry("http", host, &http.Transport{}, c, auth.RegistryOptions{})
	t.Cleanup(r.CloseIdleConnections)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL+"/v2/org/app/manifests/"+d.Digest.String(), http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&http.Client{Transport: r.Transport(), CheckRedirect: r.CheckRedirect}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("%s, %v", resp.Status, err)
	}
	for _, q := range other.Log(registrytest.Of(registrytest.KindToken)) {
		if q.User != "" {
			t.Errorf("not anonymous: %s", q)
		}
	}
}
