package integration

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// faults is a random program of faults before a registry and its token server. All of them may pass: the same request
// again, or at most the same pull again, is answered.
type faults struct {
	mu     sync.Mutex
	random *rand.Rand
	share  float64 // of the requests, that meet with a fault
	counts map[string]int
	asked  int

	realm  string
	cdn    string       // where blobs are redirected to
	leaked atomic.Int64 // requests there with credentials
}

func newFaults(seed uint64) *faults {
	return &faults{random: rand.New(rand.NewPCG(seed, 1)), counts: map[string]int{}}
}

// set says which part of the requests meets with a fault from now on.
func (f *faults) set(share float64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.share = share
}

// figures are how many requests there were, and which of them met with what.
func (f *faults) figures() (requests int, counts map[string]int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked, maps.Clone(f.counts)
}

// fault is a kind of fault. It answers a request, with what next would say or without.
type fault struct {
	name    string
	applies func(r *http.Request) bool
	answer  func(f *faults, w http.ResponseWriter, r *http.Request, next http.Handler)
}

func isContent(r *http.Request) bool { return isBlob(r) || strings.Contains(r.URL.Path, "/manifests/") }
func isBlob(r *http.Request) bool {
	return strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet
}
func isAny(*http.Request) bool      { return true }
func isSigned(r *http.Request) bool { return isContent(r) && r.Header.Get("Authorization") != "" }
func isRanged(r *http.Request) bool { return isBlob(r) && r.Header.Get("Range") != "" }
func isHead(r *http.Request) bool   { return isContent(r) && r.Method == http.MethodHead }
func isTokenPost(r *http.Request) bool {
	return !strings.HasPrefix(r.URL.Path, "/v2/") && r.Method == http.MethodPost
}

var faultKinds = []fault{
	{"reset", isAny, func(_ *faults, w http.ResponseWriter, _ *http.Request, _ http.Handler) { resetConnection(w) }},
	{"500", isAny, status(500, "")},
	{"502", isAny, status(502, "")},
	{"503", isAny, status(503, "")},
	{"503, Retry-After", isAny, status(503, "1")},
	{"429, Retry-After", isAny, status(429, "1")},
	{"delay", isAny, func(f *faults, w http.ResponseWriter, r *http.Request, next http.Handler) {
		f.pause(r.Context(), time.Duration(f.intN(400))*time.Millisecond)
		next.ServeHTTP(w, r)
	}},
	{"reset in the body", isContent, cut(resetConnection)},
	{"truncated", isAny, cut(func(http.ResponseWriter) { panic(http.ErrAbortHandler) })},
	{"slow body", isBlob, func(f *faults, w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&harmedBody{ResponseWriter: w, at: -1, each: func() { f.pause(r.Context(), 20*time.Millisecond) }}, r)
	}},
	{"wrong bytes", isContent, func(_ *faults, w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&harmedBody{ResponseWriter: w, at: -1, flip: true}, r)
	}},
	{"expired token", isSigned, func(f *faults, w http.ResponseWriter, r *http.Request, _ http.Handler) {
		repository := parseRequest(r).Repository
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm=%q,service=%q,scope=%q,error="invalid_token"`, f.realm, service, pullScope(repository)))
		w.WriteHeader(http.StatusUnauthorized)
	}},
	{"redirect", isBlob, func(f *faults, w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, f.cdn+r.URL.Path+"?signature=canary", http.StatusTemporaryRedirect)
	}},
	{"expired redirect", isBlob, func(f *faults, w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, f.cdn+r.URL.Path+"?signature=canary&expired=true", http.StatusTemporaryRedirect)
	}},
	{"page", isAny, func(_ *faults, w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<html><title>Sign in</title></html>")
	}},
	{"HEAD refused", isHead, status(http.StatusMethodNotAllowed, "")},
	{"POST for a token refused", isTokenPost, status(http.StatusNotFound, "")},
	{"GOAWAY", isAny, func(_ *faults, w http.ResponseWriter, r *http.Request, next http.Handler) {
		w.Header().Set("Connection", "close") // over HTTP/2: GOAWAY, after the answer
		next.ServeHTTP(w, r)
	}},
	{"Range ignored", isRanged, func(_ *faults, w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.Header.Del("Range")
		next.ServeHTTP(w, r)
	}},
}

func status(code int, retryAfter string) func(*faults, http.ResponseWriter, *http.Request, http.Handler) {
	return func(_ *faults, w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(code)
	}
}

// cut ends an answer somewhere in its body.
func cut(end func(http.ResponseWriter)) func(*faults, http.ResponseWriter, *http.Request, http.Handler) {
	return func(f *faults, w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(&harmedBody{ResponseWriter: w, at: -1, cut: func() { end(w) }, place: f.intN(1 << 20)}, r)
	}
}

// serve starts a server over TLS that is behind the program.
func (f *faults) serve(s *httptest.Server) {
	s.Config.Handler, s.Config.ErrorLog = f.before(s.Config.Handler), quiet
	s.EnableHTTP2 = true
	s.StartTLS()
}

// before returns a handler that is behind the program.
func (f *faults) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if k := f.draw(r); k != nil {
			k.answer(f, w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// draw draws the fault of a request, nil for most.
func (f *faults) draw(r *http.Request) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	if f.random.Float64() >= f.share {
		return nil
	}
	k := &faultKinds[f.random.IntN(len(faultKinds))]
	if !k.applies(r) {
		return nil
	}
	f.counts[k.name]++
	return k
}

func (f *faults) intN(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.random.IntN(n)
}

func (f *faults) pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// harmedBody is an answer whose body does not arrive as it is.
type harmedBody struct {
	http.ResponseWriter
	at    int64 // of the body; -1 before it
	place int   // where to cut, modulo the length
	cut   func()
	each  func() // called before each write
	flip  bool   // the first byte is another one
}

func (b *harmedBody) Write(p []byte) (int, error) {
	b.at = max(b.at, 0)
	if b.each != nil {
		b.each()
	}
	if b.flip && b.at == 0 && len(p) > 0 {
		p = append([]byte{p[0] ^ 1}, p[1:]...)
	}
	if b.cut == nil {
		n, err := b.ResponseWriter.Write(p)
		b.at += int64(n)
		return n, err
	}
	length, _ := strconv.ParseInt(b.Header().Get("Content-Length"), 10, 64)
	end := int64(b.place) % max(length, 1)
	n, err := b.ResponseWriter.Write(p[:max(min(int64(len(p)), end-b.at), 0)])
	if b.at += int64(n); err == nil && b.at >= end {
		_ = http.NewResponseController(b.ResponseWriter).Flush() // the client may have gone
		b.cut()
		return n, http.ErrAbortHandler
	}
	return n, err
}

// Unwrap lets http.ResponseController flush.
func (b *harmedBody) Unwrap() http.ResponseWriter { return b.ResponseWriter }

// resetConnection ends a connection as a host does that has lost it.
func resetConnection(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if over, ok := conn.(*tls.Conn); ok {
		conn = over.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// startStorage starts what a registry redirects to for blobs. It takes no credentials, and counts those it is shown.
func (f *faults) startStorage(t testing.TB, reg *registry) {
	t.Helper()
	proxy := proxyTo(reg.direct.Transport)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			f.leaked.Add(1)
		}
		if r.URL.Query().Has("expired") {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		token, err := reg.tokens.signer.token("storage", []access{{"repository", parseRequest(r).Repository, []string{"pull"}}})
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		r.URL.RawQuery = ""
		r.Header.Set("Authorization", "Bearer "+token)
		proxy.ServeHTTP(w, r)
	}))
	server.Config.ErrorLog = quiet
	t.Cleanup(server.Close)
	f.cdn = server.URL
}
