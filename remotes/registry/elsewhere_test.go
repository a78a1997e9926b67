package registry

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

	"github.com/nestedoci/nested/remotes/auth"
)

// askElsewhere asks a target as a layer's urls have it.
func askElsewhere(t *testing.T, registry *auth.Registry, target string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://reg.test/v2/p/blobs/x", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := elsewhere(registry, parsed(t, target)).Do(req)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

func parsed(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func wantSaid(t *testing.T, err error, says string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v, want one that says %q", err, says)
	}
}

// TestElsewhereIsNoWayDown: a registry's manifests lead nobody from https to http, nor with a user.
func TestElsewhereIsNoWayDown(t *testing.T) {
	t.Parallel()
	refuses := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		t.Error("a connection was made")
		return nil, net.ErrClosed
	}}
	for _, test := range []struct{ target, says string }{
		{"http://cdn.test/", "from https to http"},
		{"https://user:secret@cdn.test/", "with a user in it"},
	} {
		registry := auth.NewRegistry("https", "reg.test", refuses, auth.Sources{}, auth.RegistryOptions{})
		req := &http.Request{Method: http.MethodGet, URL: parsed(t, "https://reg.test/v2/p/blobs/x"), Header: http.Header{}}
		resp, err := elsewhere(registry, parsed(t, test.target)).Do(req.WithContext(t.Context()))
		if err == nil {
			t.Error(resp.Body.Close())
		}
		wantSaid(t, err, test.says)
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
		time.Sleep(30 * time.Second) // net/http lets a dial go on that nobody waits for
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
				registry := auth.NewRegistry("http", "reg.test", base, auth.Sources{}, auth.RegistryOptions{})
				began := time.Now()
				err := askElsewhere(t, registry, "http://cdn.test/layer")
				if took := time.Since(began); took != test.took {
					t.Errorf("it took %s, want %s", took, test.took)
				}
				if test.err != "" {
					wantSaid(t, err, test.err)
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
		registry := auth.NewRegistry("http", "reg.test", slowly(t, time.Second, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nlayer"), auth.Sources{}, auth.RegistryOptions{})
		client := elsewhere(registry, parsed(t, "http://cdn.test/layer"))
		ask := func(ctx context.Context) (*http.Response, error) {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://reg.test/v2/p/blobs/x", http.NoBody)
			if err != nil {
				return nil, err
			}
			return client.Do(req)
		}
		resp, err := ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		data, err := io.ReadAll(resp.Body)
		if string(data) != "layer" || err != nil {
			t.Errorf("got %q, %v", data, err)
		}
		if err = resp.Body.Close(); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		resp, err = ask(ctx)
		if err == nil {
			t.Error(resp.Body.Close())
		}
		wantSaid(t, err, "context deadline exceeded")
		time.Sleep(time.Minute) // as above
	})
}
