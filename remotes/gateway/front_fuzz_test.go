package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/apipath"
	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/retry"
	"github.com/nestedoci/nested/remotes/auth"
	"github.com/nestedoci/nested/remotes/transport/find"
)

// FuzzFrontPath: of whatever path, what goes to a registry is a path of the distribution spec, which is read as itself again.
func FuzzFrontPath(f *testing.F) {
	d := digest.FromString("x").String()
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodPatch} {
		for _, p := range []string{"/v2/", "/v2", statementPath, "/v2/org/app/manifests/v1", "/v2/org/app/manifests/" + d, "/v2/org/app/blobs/" + d, "/v2/org/app/blobs/uploads/", "/v2/org/app/blobs/uploads", "/v2/org/app/blobs/uploads/x",
			"/v2/org/app/manifests/..", "/v2/blobs/uploads/", "/v2/org/blobs/uploads/blobs/uploads/", "/v2/org/v2/x", "/v2//blobs/uploads/x", "//v2/"} {
			f.Add(method, p)
		}
	}
	f.Fuzz(func(t *testing.T, method, p string) {
		q, _, err := readPath(&http.Request{Method: method, URL: &url.URL{Path: p}, Header: http.Header{}})
		if err != nil || q.Name == "" {
			return
		}
		if _, err = auth.ParseRepository("reg.test/" + q.Name); err != nil {
			return // nor does it go there
		}
		again, _, err := readPath(&http.Request{Method: method, URL: &url.URL{Path: q.String()}, Header: http.Header{}})
		clean := strings.TrimSuffix(q.String(), "/")
		if err != nil || again != q || path.Clean(clean) != clean && q.Word != apipath.Uploads || strings.Contains(q.Reference, "/") {
			t.Errorf("%s %q: %+v, again %+v, %v", method, p, q, again, err)
		}
	})
}

// FuzzSeal: only what was sealed opens, for its purpose alone, and as what it was.
func FuzzSeal(f *testing.F) {
	s, err := newSeals([][]byte{[]byte(strings.Repeat("k", SealKeySize))})
	clienttest.NoError(f, err)
	f.Add("https://reg.test/v2/org/app/blobs/uploads/1?_state=x", "reg.test/org/app alice", s.seal("x", "reg.test/org/app alice"))
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, text, purpose, other string) {
		sealed := s.seal(text, purpose)
		if got, err := s.open(sealed, purpose); err != nil || got != text {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		if _, err := s.open(sealed, purpose+"x"); err == nil {
			t.Errorf("%q opens for another purpose", text)
		}
		if got, err := s.open(other, purpose); err == nil && s.isStrange(got, other) {
			t.Errorf("%q opens as %q", other, got)
		}
	})
}

// isStrange reports whether a sealed text cannot have come from seal: it has another length, or another spelling.
func (s seals) isStrange(text, sealed string) bool { return len(s.seal(text, "")) != len(sealed) }

// FuzzForwarded: whoever asks is known by an address or the network of one, and by the connection's alone unless a proxy says.
func FuzzForwarded(f *testing.F) {
	for _, header := range []string{"", "198.51.100.1", "1.2.3.4, 5.6.7.8:90", "[2001:db8::1]:1,::1", "fe80::1%eth0", ",", "::ffff:1.2.3.4", "010.1.1.1"} {
		f.Add("192.0.2.1:1", header)
		f.Add("10.0.0.1:1", header)
	}
	front := &Front{options: FrontOptions{Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}}
	f.Fuzz(func(t *testing.T, remote, header string) {
		from, err := netip.ParseAddrPort(remote)
		if err != nil {
			return
		}
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {header}}}
		got := front.address(r)
		_, notAddress := netip.ParseAddr(got)
		_, notNetwork := netip.ParsePrefix(got)
		own := (&Front{}).address(r)
		if notAddress != nil && notNetwork != nil || got != own && !front.options.Proxies[0].Contains(from.Addr().Unmap()) {
			t.Errorf("%q %q: %q, by itself %q", remote, header, got, own)
		}
	})
}

// hostileRegistry answers what it is told to, and notes what it was asked for and shown that it must not be.
type hostileRegistry struct {
	mu      sync.Mutex
	status  int
	header  [2]string
	body    string
	strange []string
}

func (h *hostileRegistry) tell(status int, name, value, body string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.status, h.header, h.body, h.strange = status, [2]string{name, value}, body, nil
}

func (h *hostileRegistry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	user, password, shown := r.BasicAuth()
	// Where it leads itself is its own affair.
	name, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/org/"), "/")
	allowed := h.header[0] == "Location" || strings.HasPrefix(r.URL.Path, "/v2/org/") && name != "" && name != "." && name != ".." && path.Clean(r.URL.Path) == strings.TrimSuffix(r.URL.Path, "/")
	if !allowed && r.URL.Path != "/v2/" && r.URL.Path != statementPath || shown && (user != "alice" || password != fronttest.Secret) {
		h.strange = append(h.strange, fmt.Sprintf("%s %s as %q", r.Method, r.URL, user))
	}
	if !shown {
		w.Header().Set("WWW-Authenticate", `Basic realm="hostile"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	w.Header()[h.header[0]] = []string{h.header[1]}
	w.WriteHeader(h.status)
	_, _ = w.Write([]byte(h.body)) // a status may have none
}

// FuzzFront: whatever a client sends, and whatever the registry answers then, there is an answer, in the distribution spec's
// form where it is an error, and the registry is asked for nothing but what is served here; nobody else is shown a credential.
func FuzzFront(f *testing.F) {
	hostile, elsewhere := new(hostileRegistry), new(hostileRegistry)
	server, other := httptest.NewServer(hostile), httptest.NewServer(elsewhere)
	f.Cleanup(server.Close)
	f.Cleanup(other.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	allow, err := ParsePattern(host + "/org/*")
	clienttest.NoError(f, err)
	front, err := NewFront(FrontOptions{Registries: map[string]string{"front.test": host}, Allow: []Pattern{allow}, SearchRequests: 5, Timeout: time.Second})
	clienttest.NoError(f, err)
	f.Cleanup(front.Close)
	d := digest.FromString("x").String()
	index := string(clienttest.IndexOf(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.Digest(d), Size: 1, Annotations: map[string]string{"io.github.nestedoci.child-namespace": "web"}}))
	for _, ask := range [][3]string{
		{http.MethodGet, "/v2/", ""}, {http.MethodGet, "/v2/org/app/manifests/v1", ""}, {http.MethodHead, "/v2/org/app/manifests/" + d, ""}, {http.MethodGet, "/v2/org/app/blobs/" + d, ""}, {http.MethodGet, "/v2/org/app/tags/list", ""},
		{http.MethodGet, "/v2/org/app/referrers/" + d, ""}, {http.MethodPut, "/v2/org/app/manifests/v1", index}, {http.MethodPost, "/v2/org/app/blobs/uploads/?mount=" + d + "&from=victim/x", ""}, {http.MethodDelete, "/v2/org/app/manifests/" + d, ""},
		{http.MethodPut, "/v2/org/app/manifests/..", "x"}, {http.MethodGet, "/v2/victim/x/manifests/v1", ""}, {http.MethodPatch, "/v2/org/app/blobs/uploads/x", "x"},
	} {
		f.Add(ask[0], ask[1], ask[2], 200, "Content-Type", ocispec.MediaTypeImageIndex, index)
		f.Add(ask[0], ask[1], ask[2], 307, "Location", other.URL+"/x", "")
		f.Add(ask[0], ask[1], ask[2], 202, "Location", other.URL+"/x?a=b", "")
		f.Add(ask[0], ask[1], ask[2], 201, "Content-Type", "text/html", "<html>")
		f.Add(ask[0], ask[1], ask[2], 403, "Retry-After", "x", `{"errors":[{"code":"\u001b","detail":{"a":["\u0007"]}}]}`)
		f.Add(ask[0], ask[1], ask[2], 429, "Retry-After", "1", "")
	}
	f.Fuzz(func(t *testing.T, method, target, data string, status int, name, value, body string) {
		r, err := http.NewRequestWithContext(retry.WithSleep(t.Context(), func(context.Context, time.Duration) bool { return true }), method, "http://front.test", strings.NewReader(data))
		if err != nil || status < 200 || status > 599 || !isToken(name) || strings.ContainsAny(value, "\r\n\x00") {
			return
		}
		if r.URL, err = url.ParseRequestURI(target); err != nil || r.URL.Host != "" {
			return
		}
		if to, err := url.Parse(value); err == nil && to.Host != "" && to.Host != strings.TrimPrefix(other.URL, "http://") {
			return // others are not to be asked by a test
		}
		r.Header.Set("Content-Type", ocispec.MediaTypeImageIndex)
		r.SetBasicAuth("alice", fronttest.Secret)
		front.logins = newLogins()
		hostile.tell(status, http.CanonicalHeaderKey(name), value, body)
		elsewhere.tell(http.StatusOK, "X", "x", "")
		w := httptest.NewRecorder()
		func() {
			defer func() {
				if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // it is a panic's value
					panic(p)
				}
			}()
			front.ServeHTTP(w, r)
		}()
		if method != http.MethodHead {
			checkAnswer(t, w)
		}
		hostile.mu.Lock()
		defer hostile.mu.Unlock()
		elsewhere.mu.Lock()
		defer elsewhere.mu.Unlock()
		if s := hostile.strange; len(s) > 0 {
			t.Errorf("%s %s: the registry was asked for %s", method, target, s)
		}
		for _, s := range elsewhere.strange {
			if !strings.HasSuffix(s, ` as ""`) {
				t.Errorf("%s %s: shown elsewhere: %s", method, target, s)
			}
		}
	})
}

// checkAnswer checks that an answer has nothing secret in it, and that an error is in the distribution spec's form.
func checkAnswer(t *testing.T, w *httptest.ResponseRecorder) {
	t.Helper()
	if text := fmt.Sprint(w.Header(), w.Body); strings.Contains(text, fronttest.Secret) {
		t.Errorf("the answer shows a secret: %.300s", text)
	}
	var said struct{ Errors []find.Failure }
	if w.Code >= http.StatusBadRequest && (json.Unmarshal(w.Body.Bytes(), &said) != nil || len(said.Errors) == 0 || !isPlain(w.Body.String())) {
		t.Errorf("%d %.300q", w.Code, w.Body)
	}
}

// isToken reports whether a text can be the name of a header that says nothing of the connection.
func isToken(name string) bool {
	for _, c := range name {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' {
			return false
		}
	}
	switch http.CanonicalHeaderKey(name) {
	case "", "Connection", "Content-Length", "Transfer-Encoding", "Trailer", "Upgrade", "Www-Authenticate":
		return false
	}
	return true
}
