package auth

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// askElsewhere asks a target as a layer's urls have it, with all that is meant for the registry.
func askElsewhere(t *testing.T, r *Registry, target string) (status int, err error) {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequestWithContext(t.Context(), http.MethodGet, r.origin.String()+"/v2/p/blobs/sha256:1", nil))
	for _, name := range []string{"Authorization", "Cookie", "X-Caller", "Accept", "Range"} {
		req.Header.Set(name, "bytes=0-"+secret)
	}
	resp, err := r.Elsewhere(must[*url.URL](t)(url.Parse(target))).Do(req)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

// TestElsewhere: where a manifest says content to be gets nothing that is meant for the registry, which is not asked.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	server := newRecorder(t, ok)
	second := newRecorder(t, ok)
	cdn := newRecorder(t, func(w http.ResponseWriter, req *http.Request) {
		if req.URL.Path == "/moved" {
			redirectTo(second.URL+"/layer")(w, req)
		}
	})
	registry := newRegistry(t, server.URL, RegistryOptions{Header: http.Header{"X-Registry": {secret}}})
	for _, target := range []string{cdn.URL + "/layer?signed=1", cdn.URL + "/moved", server.URL + "/other"} {
		if status, err := askElsewhere(t, registry, target); err != nil || status != http.StatusOK {
			t.Errorf("%s: %d, %v", target, status, err)
		}
	}
	if got := server.got(); len(got) != 1 || got[0].URL.Path != "/other" {
		t.Errorf("the registry got %d requests", len(got))
	}
	if got := cdn.got(); len(got) != 2 || got[0].URL.RawQuery != "signed=1" {
		t.Errorf("the other host got %d requests", len(got))
	}
	for _, req := range append(append(server.got(), cdn.got()...), second.got()...) {
		for name := range req.Header {
			if name != "Accept" && name != "Accept-Encoding" && name != "Range" && name != "User-Agent" {
				t.Errorf("%s%s got the header %s", req.Host, req.URL, name)
			}
		}
	}
}

// TestElsewhereInside: a public registry's manifests lead nobody to what is less public, nor from https to http.
func TestElsewhereInside(t *testing.T) {
	t.Parallel()
	address, connections := countedListener(t)
	_, port, _ := net.SplitHostPort(address)
	server := newRecorder(t, ok)
	cdn := newRecorder(t, redirectTo("http://inside.test:"+port+"/"))
	dialer := &net.Dialer{Resolver: resolverTo(t, [4]byte{127, 0, 0, 1})}
	registry := NewRegistry("http", "reg.test", publicAt("reg.test", server.URL), &heldCredentials{}, RegistryOptions{Dialer: dialer, Realms: []string{strings.TrimPrefix(cdn.URL, "http://")}})
	if err := get(t, registry, "http://reg.test/v2/"); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"http://" + address, "http://inside.test:" + port, "http://localhost:" + port, "http://10.0.0.1/", "http://169.254.169.254/", "http://0x7f.1:" + port, cdn.URL} {
		_, err := askElsewhere(t, registry, target)
		wantError(t, err, "refused to connect to")
	}
	_, err := askElsewhere(t, newRegistry(t, "https://reg.test", RegistryOptions{}), "http://cdn.test/")
	wantError(t, err, "from https to http")
	_, err = askElsewhere(t, registry, "http://user:"+secret+"@cdn.test/")
	wantError(t, err, "with a user in it")
	if n := connections.Load(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}

// slowly serves connections that are answered after a while each, in the clock of a synctest bubble; with no answer,
// never.
func slowly(t *testing.T, wait time.Duration, answer string) *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		t.Cleanup(func() { _ = server.Close() })
		go func() {
			if _, err := http.ReadRequest(bufio.NewReader(server)); err != nil || answer == "" {
				return
			}
			time.Sleep(wait)
			_, _ = io.WriteString(server, answer)
			_ = server.Close()
		}()
		return client, nil
	}}
}

// TestElsewhereIsAHint: where a manifest says content to be is asked once, and not waited for longer than a pull bears:
// a name that no server resolves, a host that drops what is sent, one that takes connections and says nothing, one that
// redirects on and on. Its content may take its time.
func TestElsewhereIsAHint(t *testing.T) {
	t.Parallel()
	const body = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlayer"
	unreachable := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		time.Sleep(dialTimeout) // net/http lets a dial go on that nobody waits for
		return nil, context.DeadlineExceeded
	}}
	for name, test := range map[string]struct {
		base func(*testing.T) *http.Transport
		took time.Duration
		err  string // "": it answers
	}{
		"unreachable": {func(*testing.T) *http.Transport { return unreachable }, 10 * time.Second, "cdn.test has not answered in 10s"},
		"silent":      {func(t *testing.T) *http.Transport { return slowly(t, 0, "") }, 10 * time.Second, "cdn.test has not answered in 10s"},
		"redirects": {func(t *testing.T) *http.Transport {
			return slowly(t, 4*time.Second, "HTTP/1.1 307 Go on\r\nConnection: close\r\nContent-Length: 0\r\nLocation: http://other.test/\r\n\r\n")
		}, 10 * time.Second, "other.test has not answered in 10s"},
		"slow": {func(t *testing.T) *http.Transport { return slowly(t, 9*time.Second, body) }, 9 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base := test.base(t)
				var tries atomic.Int32
				dial := base.DialContext
				base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
					tries.Add(1)
					return dial(ctx, network, address)
				}
				registry := NewRegistry("http", "reg.test", base, &heldCredentials{}, RegistryOptions{})
				began := time.Now()
				_, err := askElsewhere(t, registry, "http://cdn.test/layer")
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %s, want %s", took, test.took)
				}
				if test.err != "" {
					wantError(t, err, test.err)
				} else if err != nil {
					t.Error(err)
				}
				if n := tries.Load(); name != "redirects" && n != 1 {
					t.Errorf("it was asked %d times", n)
				}
				time.Sleep(time.Minute) // whoever still wants to answer does so, to nobody
			})
		})
	}
}

// TestElsewhereTakesItsTime: what has answered in time may be read for longer; who gives up says so.
func TestElsewhereTakesItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		registry := NewRegistry("http", "reg.test", slowly(t, time.Second, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlayer"), &heldCredentials{}, RegistryOptions{})
		client := registry.Elsewhere(must[*url.URL](t)(url.Parse("http://cdn.test/layer")))
		ask := func(ctx context.Context) (*http.Response, error) {
			return client.Do(must[*http.Request](t)(http.NewRequestWithContext(ctx, http.MethodGet, "http://reg.test/v2/p/blobs/x", nil)))
		}
		resp := must[*http.Response](t)(ask(t.Context())) //nolint:bodyclose // it is, after it was read
		time.Sleep(time.Minute)
		if data, err := io.ReadAll(resp.Body); string(data) != "layer" || err != nil {
			t.Errorf("got %q, %v", data, err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		resp, err := ask(ctx)
		if err == nil {
			t.Error(resp.Body.Close())
		}
		wantError(t, err, "context deadline exceeded")
		time.Sleep(time.Minute) // as above
	})
}
