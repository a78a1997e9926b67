package auth

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// startCounted starts a server that counts its connections.
func startCounted(t *testing.T, handler http.HandlerFunc, start func(*httptest.Server)) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(handler)
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	start(server)
	t.Cleanup(server.Close)
	return server, &connections
}

// askFor asks and returns the protocol of the answer, whose body is closed unread.
func askFor(ctx context.Context, t *testing.T, r *Registry, url string) string {
	t.Helper()
	req := must[*http.Request](t)(http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody))
	resp, err := clientOf(r).Do(req)
	if err != nil {
		t.Error(err)
		return ""
	}
	_ = resp.Body.Close()
	return resp.Proto
}

// Small requests share a connection over HTTP/2, tokens among them; others
// have connections to themselves.
func TestBriefShare(t *testing.T) {
	t.Parallel()
	const atOnce = 20
	server, connections := startCounted(t, func(http.ResponseWriter, *http.Request) {}, func(s *httptest.Server) {
		s.EnableHTTP2 = true
		s.StartTLS()
	})
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}
	_, host, _ := strings.Cut(server.URL, "://")
	r := NewRegistry("https", host, base, &heldCredentials{}, RegistryOptions{})
	t.Cleanup(r.CloseIdleConnections)
	small := Small(t.Context())
	askFor(small, t, r, server.URL)
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			if got := askFor(small, t, r, server.URL); got != "HTTP/2.0" {
				t.Errorf("a small request goes by %s", got)
			}
		})
	}
	all.Wait()
	resp, err := r.tokens.client.Do(must[*http.Request](t)(http.NewRequestWithContext(small, http.MethodGet, server.URL+"/token", http.NoBody)))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	if got := askFor(t.Context(), t, r, server.URL); got != "HTTP/1.1" || connections.Load() != 2 {
		t.Errorf("a request that is not small goes by %s, over connection %d", got, connections.Load())
	}
}

// An answer that is no success is not read by those who ask. Its connection is
// used again all the same.
func TestUnwantedAnswer(t *testing.T) {
	t.Parallel()
	server, connections := startCounted(t, func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, strings.Repeat("no ", 1000), http.StatusUnauthorized)
	}, (*httptest.Server).Start)
	_, host, _ := strings.Cut(server.URL, "://")
	r := NewRegistry("http", host, new(http.Transport), &heldCredentials{}, RegistryOptions{})
	t.Cleanup(r.CloseIdleConnections)
	for range 3 {
		askFor(t.Context(), t, r, server.URL)
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// TestHeaderIsBound: a header of a megabyte ends a request, over either kind of connection.
func TestHeaderIsBound(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Warning", strings.Repeat("w", 1<<20))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	base := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}}
	_, host, _ := strings.Cut(server.URL, "://")
	r := NewRegistry("https", host, base, &heldCredentials{}, RegistryOptions{})
	t.Cleanup(r.CloseIdleConnections)
	for name, ctx := range map[string]context.Context{"own": t.Context(), "shared": Small(t.Context())} {
		req := must[*http.Request](t)(http.NewRequestWithContext(ctx, http.MethodGet, server.URL, nil))
		resp, err := clientOf(r).Do(req)
		if err == nil {
			t.Errorf("%s: a header of %d bytes", name, len(resp.Header.Get("Warning")))
			_ = resp.Body.Close()
		}
	}
}

// TestConnectionsAreBounded: to a registry that speaks HTTP/1.1 alone, what is read has so many connections and no more, small
// requests by themselves, however many there are at once; what is sent has those that it needs, and is never waited for. Over
// HTTP/2 small requests are not held up.
func TestConnectionsAreBounded(t *testing.T) {
	t.Parallel()
	const atOnce = 60
	small, sending := Small, Sending
	same := func(ctx context.Context) context.Context { return ctx }
	for name, test := range map[string]struct {
		options RegistryOptions
		http2   bool
		kind    func(context.Context) context.Context
		method  string
		want    int64 // connections, all of which are held when that many requests have come
	}{
		"large":                 {RegistryOptions{}, false, same, http.MethodGet, DefaultConnections},
		"small":                 {RegistryOptions{}, false, small, http.MethodGet, DefaultConnections},
		"heads":                 {RegistryOptions{}, false, same, http.MethodHead, DefaultConnections},
		"as many as are asked":  {RegistryOptions{Connections: 20}, false, same, http.MethodGet, 20},
		"sent":                  {RegistryOptions{}, false, same, http.MethodPut, atOnce},
		"of a push":             {RegistryOptions{}, false, sending, http.MethodHead, atOnce},
		"passed on":             {RegistryOptions{Passing: true}, false, same, http.MethodGet, atOnce},
		"small, passed on":      {RegistryOptions{Passing: true}, false, func(ctx context.Context) context.Context { return Paced(Small(ctx)) }, http.MethodGet, atOnce},
		"small, for oneself":    {RegistryOptions{Passing: true}, false, small, http.MethodGet, DefaultConnections},
		"small, shared":         {RegistryOptions{}, true, small, http.MethodGet, 0},
		"small, passed, shared": {RegistryOptions{Passing: true}, true, func(ctx context.Context) context.Context { return Paced(Small(ctx)) }, http.MethodGet, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			held, let := make(chan bool, atOnce), make(chan bool)
			server, connections := startCounted(t, func(_ http.ResponseWriter, req *http.Request) {
				if req.URL.Path == "/held" {
					held <- true
					<-let
				}
			}, func(s *httptest.Server) {
				if s.EnableHTTP2 = test.http2; test.http2 {
					s.StartTLS()
				} else {
					s.Start()
				}
			})
			scheme, host, _ := strings.Cut(server.URL, "://")
			base := &http.Transport{MaxIdleConnsPerHost: atOnce}
			if test.http2 {
				base.TLSClientConfig = &tls.Config{RootCAs: server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
			}
			r := NewRegistry(scheme, host, base, Sources{}, test.options)
			t.Cleanup(r.CloseIdleConnections)
			if test.http2 {
				askFor(test.kind(t.Context()), t, r, server.URL) // so that what it speaks is known
			}
			var all sync.WaitGroup
			for range atOnce {
				all.Go(func() {
					req := must[*http.Request](t)(http.NewRequestWithContext(test.kind(t.Context()), test.method, server.URL+"/held", http.NoBody))
					resp, err := clientOf(r).Do(req)
					if err != nil {
						t.Error(err)
						return
					}
					_ = resp.Body.Close()
				})
			}
			together := test.want
			if test.http2 {
				together = atOnce
			}
			for range together {
				<-held
			}
			close(let)
			all.Wait()
			if n := connections.Load(); test.want > 0 && n != test.want || test.http2 && n != 1 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// TestPassingKeepsConnections: the connections of many clients' requests at once are used again by the next.
func TestPassingKeepsConnections(t *testing.T) {
	t.Parallel()
	const atOnce = 300
	held, let := make(chan bool, atOnce), make(chan bool)
	server, connections := startCounted(t, func(http.ResponseWriter, *http.Request) { held <- true; <-let }, (*httptest.Server).Start)
	scheme, host, _ := strings.Cut(server.URL, "://")
	// As package registry has it.
	r := NewRegistry(scheme, host, &http.Transport{MaxIdleConns: 256, MaxIdleConnsPerHost: 64}, Sources{}, RegistryOptions{Passing: true})
	t.Cleanup(r.CloseIdleConnections)
	for range 2 {
		var all sync.WaitGroup
		for range atOnce {
			all.Go(func() { askFor(Paced(t.Context()), t, r, server.URL) })
		}
		for range atOnce {
			<-held
		}
		for range atOnce {
			let <- true
		}
		all.Wait()
	}
	if n := connections.Load(); n > atOnce+atOnce/10 { // some may still be on their way back
		t.Errorf("%d connections", n)
	}
}
