package gateway

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/nestedoci/nested/internal/clienttest"
	"github.com/nestedoci/nested/internal/fronttest"
	"github.com/nestedoci/nested/internal/oci"
	"github.com/nestedoci/nested/internal/registrytest"
	"github.com/nestedoci/nested/remotes/transport/callers"
)

// refusals are the errors of an answer, which have to be in the distribution spec's form.
func refusals(t *testing.T, got fronttest.Reply) (all []struct {
	Code, Message string
	Detail        any
}) {
	t.Helper()
	var said struct {
		Errors []struct {
			Code, Message string
			Detail        any
		}
	}
	if err := json.Unmarshal([]byte(got.Body), &said); err != nil || len(said.Errors) == 0 || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s %.200q: %v", got.Status, got.Header.Get("Content-Type"), got.Body, err)
	}
	return said.Errors
}

// TestFrontWantsCredentials: without one a write is answered 401 Basic, wherever it goes and whatever else is wrong with it; so
// are credentials that are none.
func TestFrontWantsCredentials(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	for name, test := range map[string]struct {
		method, path string
		header       []string
	}{
		"a write":                    {http.MethodPost, "/v2/org/app/blobs/uploads/", nil},
		"of a manifest":              {http.MethodPut, "/v2/org/app/manifests/v1", nil},
		"a deletion":                 {http.MethodDelete, "/v2/org/app/manifests/v1", nil},
		"of another name":            {http.MethodPut, "/v2/org/app/manifests/v1", []string{"Host", "evil.test"}},
		"a page's":                   {http.MethodPut, "/v2/org/app/manifests/v1", []string{"Origin", "http://evil.test"}},
		"an unknown path":            {http.MethodPut, "/v2/x", nil},
		"with empty credentials":     {http.MethodPut, "/v2/org/app/manifests/v1", []string{"Authorization", "Basic Og=="}},
		"without a user":             {http.MethodGet, "/v2/", []string{"Authorization", "Basic OnNlY3JldA=="}},
		"without a password":         {http.MethodGet, "/v2/", []string{"Authorization", "Basic YWxpY2U6"}},
		"that are not Basic":         {http.MethodGet, "/v2/", []string{"Authorization", "Bearer x"}},
		"that are no Basic":          {http.MethodGet, "/v2/", []string{"Authorization", "Basic %"}},
		"of another scheme, written": {http.MethodPut, "/v2/org/app/manifests/v1", []string{"Authorization", "Negotiate x"}},
	} {
		req := fronttest.NewRequest(t, test.method, n.Server.URL+test.path, "", test.header...)
		if host := req.Header.Get("Host"); host != "" {
			req.Host = host
		}
		got := fronttest.Send(t, n.Server.Client().Transport, req)
		if got.Status != http.StatusUnauthorized || got.Header.Get("WWW-Authenticate") != `Basic realm="nested"` || refusals(t, got)[0].Code != "UNAUTHORIZED" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if log := n.Registry.Log(); len(log) != 0 {
		t.Errorf("the registry was asked: %v", log)
	}
}

// TestFrontAnswersStrangeRequests: whatever stands in a request's line and headers, it is answered as what it is, and the
// registry is asked for nothing that is not in its API.
func TestFrontAnswersStrangeRequests(t *testing.T) {
	t.Parallel()
	allow, err := ParsePattern("127.0.0.1:*/org/*")
	if err != nil {
		allow = Pattern{}
	}
	n := newNetwork(t, func(o *FrontOptions) {
		if err == nil {
			o.Allow = []Pattern{allow}
		}
	})
	d := digest.FromString("x").String()
	const login = "Authorization: Basic YWxpY2U6Y2FuYXJ5\r\n" // alice
	for line, status := range map[string]int{
		"PUT /v2/org/app/manifests/.. HTTP/1.1":                                         404,
		"PUT /v2/org/app/manifests/ HTTP/1.1":                                           404,
		"PUT /v2/org/app/manifests/-x HTTP/1.1":                                         404,
		"PUT /v2/org/app/manifests/sha256:x HTTP/1.1":                                   400,
		"DELETE /v2/org/app/blobs/.. HTTP/1.1":                                          400,
		"GET /v2/org/app/manifests/.. HTTP/1.1":                                         404,
		"GET /v2/org/app/blobs/v1 HTTP/1.1":                                             400,
		"GET /v2/org/app/referrers/v1 HTTP/1.1":                                         400,
		"GET /v2/org/app/tags/other HTTP/1.1":                                           404,
		"GET /v2/org/../app/manifests/v1 HTTP/1.1":                                      400,
		"GET /v2/org//app/manifests/v1 HTTP/1.1":                                        400,
		"GET //v2/org/app/manifests/v1 HTTP/1.1":                                        404,
		"GET /evil/v2/org/app/manifests/v1 HTTP/1.1":                                    404,
		"GET /v2/org%2fapp/manifests/v1 HTTP/1.1":                                       404,
		"GET /v2/org/app%2f..%2fvictim/manifests/v1 HTTP/1.1":                           404,
		"GET /v2/org/app/manifests/v1%00 HTTP/1.1":                                      404,
		"GET /v2/org/app\\x/manifests/v1 HTTP/1.1":                                      404,
		"GET /v2/org/app;x/manifests/v1 HTTP/1.1":                                       400,
		"GET /v2/Org/app/manifests/v1 HTTP/1.1":                                         400,
		"GET /v2/org/v2/x HTTP/1.1":                                                     404,
		"GET /v2/_catalog HTTP/1.1":                                                     404,
		"PUT /v2/ HTTP/1.1":                                                             405,
		"POST /v2/_nestedoci/child-namespaces HTTP/1.1":                                 405,
		"GET http://127.0.0.1/v2/org/app/manifests/v1 HTTP/1.1":                         404,
		"GET http://127.0.0.1/v2/ HTTP/1.1":                                             404,
		"GET http://evil.test/v2/ HTTP/1.1":                                             421,
		"CONNECT evil.test:443 HTTP/1.1":                                                421,
		"TRACE /v2/org/app/manifests/v1 HTTP/1.1":                                       405,
		"POST /v2/org/app/manifests/v1 HTTP/1.1":                                        405,
		"PATCH /v2/org/app/blobs/" + d + " HTTP/1.1":                                    405,
		"GET /v2/org/app/manifests/v1?ns=evil.test HTTP/1.1":                            404,
		"GET /v2/org/app/manifests/v1?ns=127.0.0.1&ns=x HTTP/1.1":                       404,
		"GET /v2/org/app/manifests/v1?" + strings.Repeat("a=1&", 20)[:79] + " HTTP/1.1": 404,
		"GET /v2/org/app/manifests/v1?a&b&c&d&e&f&g&h&i HTTP/1.1":                       400,
		"GET /v2/" + strings.Repeat("a/", 8000) + "manifests/v1 HTTP/1.1":               400,
		"GET /v2/org/app/blobs/uploads/x HTTP/1.1":                                      404,
		"PUT /v2/org/app/blobs/uploads/..?digest=" + d + " HTTP/1.1":                    404,
		"POST /v2/org/app/blobs/uploads/?mount=" + d + "&from=../x HTTP/1.1":            400,
		"GET /v2/ HTTP/1.1\r\nHost: 127.0.0.1.":                                         400, // a second one
		"GET /v2/org/app/manifests/v1 HTTP/1.1\r\nOrigin: http://evil.test":             403,
		"GET /v2/org/app/manifests/v1 HTTP/1.1\r\nSec-Fetch-Site: cross-site":           403,
		"GET /v2/ HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__": 200,
		"GET /v2/ HTTP/1.0": 200,
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", n.Server.Listener.Addr().String())
		clienttest.NoError(t, err)
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		host := "127.0.0.1"
		if strings.HasPrefix(line, "CONNECT") {
			host = "evil.test"
		}
		_, _ = io.WriteString(conn, line+"\r\nHost: "+host+"\r\nConnection: close\r\n"+login+"\r\n") // what is refused early breaks it off
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%.80q: %v", line, err)
		} else {
			_ = resp.Body.Close()
			if resp.StatusCode != status {
				t.Errorf("%.80q: %s, want %d", line, resp.Status, status)
			}
		}
		_ = conn.Close()
	}
	for _, q := range n.Registry.Log() {
		if q.Kind != registrytest.KindPing && q.Kind != registrytest.KindToken && (q.Kind != registrytest.KindManifest || q.Reference != "v1") {
			t.Errorf("the registry was asked for %s", q)
		}
	}
}

// TestFrontBoundsManifestsOnTheWay: a manifest is as large as the distribution spec has it, whether or not its size is said, and those
// that are on their way take no more than a budget.
func TestFrontBoundsManifestsOnTheWay(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	for _, mediaType := range []string{ocispec.MediaTypeImageIndex, "application/vnd.docker.distribution.manifest.v2+json"} {
		for _, chunked := range []bool{false, true} {
			data := strings.Repeat(" ", oci.MaxManifest+1)
			req := fronttest.NewRequest(t, http.MethodPut, n.Server.URL+"/v2/org/app/manifests/v1", data, "Content-Type", mediaType)
			req.SetBasicAuth("alice", fronttest.Secret)
			if chunked {
				req.ContentLength, req.Body = -1, io.NopCloser(strings.NewReader(data))
			}
			if got := fronttest.Send(t, n.Server.Client().Transport, req); got.Status != http.StatusRequestEntityTooLarge || refusals(t, got)[0].Code != "SIZE_INVALID" {
				t.Errorf("%s, chunked: %t: %d %s", mediaType, chunked, got.Status, got.Body)
			}
		}
	}
	if n.Registry.Count(registrytest.Method(http.MethodPut)) != 0 {
		t.Error("they were passed on")
	}
	n.front.manifests.TryAcquire(manifestMemory) // by manifests that are on their way
	if got := n.ask(http.MethodPut, "/v2/org/app/manifests/v1", "{}", "Content-Type", ocispec.MediaTypeImageManifest); got.Status != http.StatusTooManyRequests || got.Header.Get("Retry-After") != "1" {
		t.Errorf("too many: %+v", got)
	}
	n.front.manifests.Release(manifestMemory)
}

// TestFrontEndsStalledUploads: a client that sends no more is told so, and the registry's side ends, too. A registry may take
// its time all the same, once it has all.
func TestFrontEndsStalledUploads(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	n.front.stall = 200 * time.Millisecond
	ended := make(chan error, 2)
	n.Registry.ResetIntercepts()
	n.Registry.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			_, err := io.Copy(io.Discard, r.Body)
			ended <- err
			return true
		}
		return false
	})
	n.Registry.Intercept(n.Registry.Pushes(false))
	for _, path := range []string{n.begin() + "?digest=" + digest.FromString("x").String(), "/v2/org/app/manifests/v1"} {
		body, end := io.Pipe()
		go func() { _, _ = end.Write([]byte("a")) }()
		req := fronttest.NewRequest(t, http.MethodPut, n.Server.URL+path, "", "Content-Type", ocispec.MediaTypeImageManifest)
		req.Body, req.ContentLength = body, 10
		req.SetBasicAuth("alice", fronttest.Secret)
		resp, err := n.Server.Client().Transport.RoundTrip(req)
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		said, _ := io.ReadAll(resp.Body) // to be shown
		if resp.StatusCode != http.StatusRequestTimeout {
			t.Errorf("%s: %s %s", path, resp.Status, said)
		}
		_ = resp.Body.Close()
		_ = end.Close()
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the registry has a complete upload")
		}
	case <-time.After(10 * time.Second):
		t.Error("the registry's request goes on")
	}
	n.Registry.ResetIntercepts()
	n.Registry.Intercept(n.Registry.Delay(time.Second, registrytest.Method(http.MethodPut)))
	n.Registry.Intercept(n.Registry.Pushes(false))
	n.upload("org/app", "slowly taken")
}

// TestFrontEndsAbandonedUploads: when a client goes away in the middle of what it sends, the registry's request ends.
func TestFrontEndsAbandonedUploads(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	ended := make(chan error, 1)
	n.Registry.ResetIntercepts()
	n.Registry.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch {
			_, err := io.Copy(io.Discard, r.Body)
			ended <- err
		}
		return r.Method == http.MethodPatch
	})
	n.Registry.Intercept(n.Registry.Pushes(false))
	path := n.begin()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", n.Server.Listener.Addr().String())
	clienttest.NoError(t, err)
	_, err = fmt.Fprintf(conn, "PATCH %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic YWxpY2U6Y2FuYXJ5\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n", path)
	clienttest.NoError(t, err)
	clienttest.Await(t, func() bool { return n.Registry.Count(registrytest.Method(http.MethodPatch)) == 1 }, func() string { return "it has not begun" })
	clienttest.NoError(t, conn.Close())
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the registry has a complete upload")
		}
	case <-time.After(10 * time.Second):
		t.Error("the registry's request goes on")
	}
	clienttest.Await(t, n.isEmpty, func() string { return "its place is still taken" })
}

// isEmpty reports whether nobody's request is being answered.
func (n *network) isEmpty() bool {
	n.front.crowds.mu.Lock()
	defer n.front.crowds.mu.Unlock()
	return len(n.front.crowds.at) == 0
}

// begin begins an upload, and returns the path at which it goes on.
func (n *network) begin() string {
	n.T.Helper()
	got := n.ask(http.MethodPost, "/v2/org/app/blobs/uploads/", "")
	if got.Status != http.StatusAccepted {
		n.T.Fatalf("%+v", got)
	}
	return got.Header.Get("Location")
}

// TestFrontSealsLocations: where an upload goes on is for the same user, repository and time alone, and changed nowhere.
func TestFrontSealsLocations(t *testing.T) {
	t.Parallel()
	old, shared := []byte(strings.Repeat("o", SealKeySize)), []byte(strings.Repeat("s", SealKeySize))
	n := newNetwork(t, func(o *FrontOptions) { o.SealKeys = [][]byte{shared, old} })
	n.Registry.Allow("bob", fronttest.Secret, "org/app/web")
	path := n.begin()
	put := func(user, path string) fronttest.Reply {
		t.Helper()
		n.user = user
		defer func() { n.user = "alice" }()
		return n.ask(http.MethodPut, path+"?digest="+digest.FromString("x").String(), "x")
	}
	asked := n.Registry.Count(registrytest.Of(registrytest.KindUpload))
	sealed := path[strings.LastIndexByte(path, '/')+1:]
	last := sealed[len(sealed)-1]
	for name, wrong := range map[string][2]string{
		"another user":       {"bob", path},
		"another repository": {"alice", "/v2/org/app/web/blobs/uploads/" + sealed},
		"cut":                {"alice", path[:len(path)-4]},
		"longer":             {"alice", path + "AAAA"},
		"padded":             {"alice", path + "="},
		"of the registry":    {"alice", "/v2/org/app/blobs/uploads/1"},
		"changed":            {"alice", path[:len(path)-8] + strings.Map(func(r rune) rune { return map[bool]rune{true: 'B', false: 'A'}[r == 'A'] }, path[len(path)-8:])},
		"another spelling":   {"alice", path[:len(path)-1] + string(rune(last+1))},
	} {
		if got := put(wrong[0], wrong[1]); got.Status != http.StatusNotFound || refusals(t, got)[0].Code != "BLOB_UPLOAD_UNKNOWN" {
			t.Errorf("%s: %d %s", name, got.Status, got.Body)
		}
	}
	if n.Registry.Count(registrytest.Of(registrytest.KindUpload)) != asked {
		t.Error("the registry was asked")
	}
	// A replica that has been given the next key, and one that has forgotten this one.
	next := []byte(strings.Repeat("n", SealKeySize))
	_, n.Server = n.serve(func(o *FrontOptions) { o.SealKeys = [][]byte{next, shared} })
	if got := put("alice", path); got.Status != http.StatusCreated {
		t.Errorf("%+v", got)
	}
	_, n.Server = n.serve(func(o *FrontOptions) { o.SealKeys = [][]byte{next} })
	if got := put("alice", path); got.Status != http.StatusNotFound {
		t.Errorf("an old key opens: %+v", got)
	}
}

// TestFrontMountsWhatIsServed: a blob is mounted from where the caller and the front's allow list let it; else it is uploaded.
func TestFrontMountsWhatIsServed(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	allow, err := ParsePattern(n.Registry.Host() + "/org/app")
	clienttest.NoError(t, err)
	n.front, n.Server = n.serve(func(o *FrontOptions) { o.Allow = []Pattern{allow} })
	d := digest.FromString("blob")
	n.Registry.Allow("alice", fronttest.Secret, "org/app", "org/other")
	for _, name := range []string{"org/app", "org/other"} {
		n.Registry.PutBlob(name, "application/octet-stream", []byte("blob"))
	}
	for from, status := range map[string]int{"org/app": http.StatusCreated, "org/other": http.StatusAccepted, "org/other&from=org/app": http.StatusAccepted} {
		got := n.ask(http.MethodPost, "/v2/org/app/blobs/uploads/?mount="+d.String()+"&from="+from, "")
		if got.Status != status {
			t.Errorf("%s: %+v", from, got)
		}
	}
	for _, q := range n.Registry.Log(registrytest.Method(http.MethodPost), registrytest.Of(registrytest.KindUpload)) {
		if strings.Contains(q.Query, "other") {
			t.Errorf("%s %s", q, q.Query)
		}
	}
}

// TestLoginsAreVerified: only an answer for which the registry has seen the credential ends the slowing down.
func TestLoginsAreVerified(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	image := n.Registry.Image("org/app", []byte("public"))
	n.Registry.ResetIntercepts()
	n.Registry.Intercept(registrytest.Say(http.StatusOK, image.MediaType, n.Registry.Body(image.Digest), registrytest.Of(registrytest.KindManifest))) // without a challenge
	wrong := callers.Caller{Username: "alice", Password: "no-secret"}
	for _, path := range []string{"/v2/org/app/manifests/" + image.Digest.String(), statementPath} {
		req := fronttest.NewRequest(t, http.MethodGet, n.Server.URL+path, "")
		req.SetBasicAuth(wrong.Username, wrong.Password)
		_ = fronttest.Send(t, n.Server.Client().Transport, req)
		if _, right := n.front.logins.right.Get(n.front.logins.of("127.0.0.1", wrong)); right {
			t.Errorf("%s: a wrong password is taken for right", path)
		}
	}
	if got := n.ask(http.MethodGet, "/v2/", ""); got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
	if _, right := n.front.logins.right.Get(n.front.logins.of("127.0.0.1", callers.Caller{Username: "alice", Password: fronttest.Secret})); !right {
		t.Error("the right password is not known")
	}
	if _, found := n.front.logins.guessers[n.front.logins.of("127.0.0.1", wrong).place]; found {
		t.Error("it is slowed down still")
	}
}

// isPlain reports whether nothing in a text does something to a terminal.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// TestFrontAnswersForRegistries: whatever a registry answers to a write, the client gets an answer of the distribution spec,
// bounded and fit for a terminal, and no client's place is lost.
func TestFrontAnswersForRegistries(t *testing.T) {
	t.Parallel()
	hostile := `{"errors":[{"code":"DENIED\u001b[31m","message":"no\u0007` + strings.Repeat("x", 8000) + `","detail":{"a\u001b":["b\r\n\u202e"],"n":1}}]}`
	long := "/" + strings.Repeat("x", 100<<10)
	for name, test := range map[string]struct {
		answer string // as it stands on the wire
		status int
		says   string
	}{
		"its own words":        {"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nContent-Length: " + fmt.Sprint(len(hostile)) + "\r\n\r\n" + hostile, 403, "DENIED"},
		"a page":               {"HTTP/1.1 400 Bad\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<a>!", 400, "UNKNOWN"},
		"a login page":         {"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<a>!", 502, "UNKNOWN"},
		"endless words":        {"HTTP/1.1 404 Not\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + `{"errors":[{"code":"` + strings.Repeat("x", 1<<20), 404, "UNKNOWN"},
		"half of its words":    {"HTTP/1.1 400 Bad\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n{", 400, "UNKNOWN"},
		"no status":            {"HTTP/1.1 099 x\r\nContent-Length: 0\r\n\r\n", 502, "UNKNOWN"},
		"a status of its own":  {"HTTP/1.1 799 x\r\nContent-Length: 0\r\n\r\n", 502, "UNKNOWN"},
		"another protocol":     {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n", 502, "UNKNOWN"},
		"many informations":    {strings.Repeat("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", 100), 502, "UNKNOWN"},
		"endless headers":      {"HTTP/1.1 202 Accepted\r\n" + strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 11<<10), 502, "UNKNOWN"},
		"nothing":              {"", 502, "UNKNOWN"},
		"a long way":           {"HTTP/1.1 202 Accepted\r\nLocation: " + long + "\r\nContent-Length: 0\r\n\r\n", 502, "UNKNOWN"},
		"a user":               {"HTTP/1.1 202 Accepted\r\nLocation: http://a:b@evil.test/\r\nContent-Length: 0\r\n\r\n", 202, ""},
		"no URL":               {"HTTP/1.1 202 Accepted\r\nLocation: http://%zz/?signature=secret\r\nContent-Length: 0\r\n\r\n", 502, "UNKNOWN"},
		"another method":       {"HTTP/1.1 302 Found\r\nLocation: /v2/\r\nContent-Length: 0\r\n\r\n", 502, "UNKNOWN"},
		"busy":                 {"HTTP/1.1 429 Too Many\r\nRetry-After: 86400\r\nContent-Length: 0\r\n\r\n", 429, "UNKNOWN"},
		"an answer with words": {"HTTP/1.1 202 Accepted\r\nLocation: /v2/org/app/blobs/uploads/1\r\nSet-Cookie: a=b\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 1000000), 202, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, nil)
			n.Registry.ResetIntercepts()
			n.Registry.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPatch {
					return false
				}
				conn, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					_, _ = io.WriteString(conn, test.answer)
					err = conn.Close()
				}
				return !errors.Is(err, http.ErrNotSupported)
			})
			n.Registry.Intercept(n.Registry.Pushes(false))
			got := n.ask(http.MethodPatch, n.begin(), "x")
			if got.Status != test.status || got.Header.Get("Set-Cookie") != "" || len(got.Body) > maxRefusal || !isPlain(got.Body) || strings.Contains(got.Body, "signature") {
				t.Errorf("%d %s %.300q", got.Status, got.Header, got.Body)
			}
			if got.Status == http.StatusTooManyRequests && got.Header.Get("Retry-After") != "86400" {
				t.Errorf("%s", got.Header)
			}
			if test.says == "" && got.Body != "" || test.says != "" && !strings.HasPrefix(refusals(t, got)[0].Code, test.says) {
				t.Errorf("%.300q", got.Body)
			}
			clienttest.Await(t, n.isEmpty, func() string { return "its place is still taken" })
		})
	}
}

// TestPushesConcernTheirClient: that one caller pushes to a repository changes nothing for another one, who does not, so that
// what it asks for is searched for.
func TestPushesConcernTheirClient(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, nil)
	web := n.Registry.Image("org/app/web", []byte("web"))
	n.Registry.Tag("org/app", "v1", n.Registry.Index("org/app", registrytest.Member(web, "web")).Digest)
	n.user = "bob"
	n.begin()
	n.user = "alice"
	if got := n.ask(http.MethodHead, "/v2/org/app/manifests/"+web.Digest.String(), ""); got.Status != http.StatusOK {
		t.Errorf("%+v", got)
	}
}
