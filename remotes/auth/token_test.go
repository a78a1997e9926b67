package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"

	"github.com/nestedoci/nested/internal/retry"
)

var (
	withPassword = Credential{Username: "user", Password: secret, Source: "the test"}
	withIdentity = Credential{IdentityToken: secret, Source: "the test"}
	anonymous    = Credential{Source: "none"}
)

// step is one answer of an endpoint.
type step func(*http.Request) (*http.Response, error)

// endpoint is a token endpoint without a network: it logs requests and
// answers with the steps in order, the last of them for ever.
type endpoint struct {
	log   []string
	steps []step
}

func (e *endpoint) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Body != nil {
		defer req.Body.Close()
	}
	e.log = append(e.log, describeRequest(req))
	next := e.steps[0]
	if len(e.steps) > 1 {
		e.steps = e.steps[1:]
	}
	return next(req)
}

// describeRequest says method, parameters and user.
func describeRequest(req *http.Request) string {
	if err := req.ParseForm(); err != nil {
		return err.Error()
	}
	line := req.Method + " " + strings.ReplaceAll(req.Form.Encode(), "%3A", ":")
	if user, password, ok := req.BasicAuth(); ok {
		line += " as " + user + ":" + password
	}
	return line
}

func reply(status int, body string) step {
	return func(req *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		w.WriteHeader(status)
		_, _ = w.WriteString(body)
		resp := w.Result()
		resp.Request = req
		return resp, nil
	}
}

func newEndpoint(steps ...step) (*endpoint, *tokens) {
	e := &endpoint{steps: steps}
	return e, &tokens{client: &http.Client{Transport: e, CheckRedirect: checkTokenRedirect}, userAgent: "test", metrics: new(Metrics)}
}

func keyFor(credential Credential) tokenKey {
	return tokenKey{realm: "https://realm/token", service: "svc", repository: Repository{"reg", "a"}, scope: "repository:a:pull", credential: credential}
}

func TestTokenRequests(t *testing.T) {
	t.Parallel()
	const (
		get      = "GET scope=repository:a:pull&service=svc"
		getUser  = get + " as user:" + secret
		post     = "POST client_id=nested&grant_type=password&password=" + secret + "&scope=repository:a:pull&service=svc&username=user"
		postSelf = "POST client_id=nested&grant_type=refresh_token&refresh_token=" + secret + "&scope=repository:a:pull&service=svc"
	)
	ok, page := reply(200, `{"token":"t"}`), "<!doctype html>"
	for _, test := range []struct {
		name       string
		credential Credential
		steps      []step
		log        []string // of two repositories' tokens
		err        string
	}{
		{"anonymous", anonymous, []step{ok}, []string{get}, ""},
		{"password", withPassword, []step{ok}, []string{post}, ""},
		{"identity token", withIdentity, []step{ok}, []string{postSelf}, ""},
		{"an identity token never goes into a GET", withIdentity, []step{reply(405, "")}, []string{postSelf}, "405 Method Not Allowed"},
		{"nor after a page", withIdentity, []step{reply(200, page)}, []string{postSelf}, "its answer is not a token"},
		{"no POST, a page", withPassword, []step{reply(200, page), ok}, []string{post, getUser}, ""},
		{"no POST, no token", withPassword, []step{reply(200, "{}"), ok}, []string{post, getUser}, ""},
		{"no POST, and busy", withPassword, []step{reply(405, ""), reply(503, ""), reply(405, ""), ok}, []string{post, getUser, post, getUser}, ""},
		{"no GET, forbidden", withPassword, []step{reply(403, ""), reply(404, "")}, []string{post, getUser}, "403 Forbidden"},
		{"no GET, wrong password", withPassword, []step{reply(401, ""), reply(405, "")}, []string{post, getUser}, "401 Unauthorized"},
		{"no GET, broken once", withPassword, []step{reply(500, ""), reply(405, ""), ok}, []string{post, getUser, post}, ""},
		{"a GET's no is one", withPassword, []step{reply(405, ""), reply(401, "")}, []string{post, getUser}, "renew that credential"},
		{"busy", withPassword, []step{reply(429, ""), reply(503, ""), ok}, []string{post, post, post}, ""},
		{"wrong password", withPassword, []step{reply(401, secret)}, []string{post, getUser}, "renew that credential"},
		{"forbidden", withPassword, []step{reply(403, secret)}, []string{post, getUser}, "403 Forbidden"},
		{"broken", withPassword, []step{reply(500, secret)}, []string{post, getUser, post, post, post, post}, "500 Internal Server Error"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e, tokens := newEndpoint(test.steps...)
			var token string
			var err error
			synctest.Test(t, func(t *testing.T) { token, err = tokens.get(t.Context(), keyFor(test.credential)) })
			if test.err != "" {
				wantError(t, err, "realm", test.err)
			} else if err != nil || token != "t" {
				t.Errorf("got %q %v", token, err)
			}
			if got, want := strings.Join(e.log, "\n"), strings.Join(test.log, "\n"); got != want {
				t.Errorf("requests:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

// That an endpoint takes GET only is learnt once.
func TestTokenGetOnlyIsRemembered(t *testing.T) {
	t.Parallel()
	e, tokens := newEndpoint(reply(404, ""), reply(200, `{"token":"t"}`))
	for _, name := range []string{"a", "b"} {
		key := keyFor(withPassword)
		key.repository.name = name
		if _, err := tokens.get(ctx(), key); err != nil {
			t.Fatal(err)
		}
	}
	if len(e.log) != 3 || !strings.HasPrefix(e.log[2], "GET ") {
		t.Errorf("requests: %q", e.log)
	}
	// A GET with an identity token would be one without anything.
	if _, err := tokens.get(ctx(), keyFor(withIdentity)); err != nil || len(e.log) != 4 || !strings.HasPrefix(e.log[3], "POST ") {
		t.Errorf("with an identity token: %q, %v", e.log, err)
	}
}

func TestTokenErrorClasses(t *testing.T) {
	t.Parallel()
	reset := func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNRESET }
	for _, test := range []struct {
		name       string
		credential Credential
		answer     step
		class      error
		says       []string
	}{
		{"401", withPassword, reply(401, ""), errdefs.ErrUnauthenticated, []string{"reg/a denied", "credential the test", "repository:a:pull", "renew that credential"}},
		{"401 to nobody", anonymous, reply(401, ""), errdefs.ErrUnauthenticated, []string{"reg/a denied", "log in: docker login reg"}},
		{"403", withPassword, reply(403, ""), errdefs.ErrPermissionDenied, []string{"reg/a denied", "ask for the right to pull"}},
		{"503", withPassword, reply(503, ""), errdefs.ErrUnavailable, []string{"token for reg/a", "realm answered 503"}},
		{"reset", withPassword, reset, syscall.ECONNRESET, []string{"token for reg/a", "token endpoint realm"}},
		{"redirect", withPassword, redirect("https://evil/token"), nil, []string{"token endpoint realm", "https://evil"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			_, tokens := newEndpoint(test.answer)
			key := keyFor(test.credential)
			key.realm += "?key=" + secret // wantError looks for it
			_, err := tokens.get(t.Context(), key)
			wantError(t, err, test.says...)
			if test.class != nil && !errors.Is(err, test.class) {
				t.Errorf("%s: the class of %q is not %v", test.name, err, test.class)
			}
		})
	}
}

func redirect(location string) step {
	return func(req *http.Request) (*http.Response, error) {
		resp, err := reply(http.StatusTemporaryRedirect, "")(req)
		resp.Header.Set("Location", location)
		return resp, err
	}
}

func TestTokenBodies(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ name, body, want string }{
		{"token", `{"token":"t"}`, "t 1m0s"},
		{"access_token", `{"access_token":"t"}`, "t 1m0s"},
		{"both", `{"token":"t","access_token":"a"}`, "a 1m0s"},
		{"null", `{"token":"t","access_token":null,"expires_in":null}`, "t 1m0s"},
		{"seconds", `{"token":"t","expires_in":300}`, "t 5m0s"},
		{"a fraction", `{"token":"t","expires_in":1.5}`, "t 1.5s"},
		{"as string", `{"token":"t","expires_in":"90"}`, "t 1m30s"},
		{"zero", `{"token":"t","expires_in":0}`, "t 1m0s"},
		{"negative", `{"token":"t","expires_in":-5}`, "t 1m0s"},
		{"huge", `{"token":"t","expires_in":1e12}`, "t 24h0m0s"},
		{"too huge", `{"token":"t","expires_in":1e999}`, "t 1m0s"},
		{"not a number", `{"token":"t","expires_in":"NaN"}`, "t 1m0s"},
		{"an object", `{"token":"t","expires_in":{}}`, "t 1m0s"},

		{"empty", ``, "not a token in JSON"},
		{"HTML", `<html>` + secret, "not a token in JSON"},
		{"trailing bytes", `{"token":"` + secret + `"}x`, "not a token in JSON"},
		{"another type", `{"token":["` + secret + `"]}`, "not a token in JSON"},
		{"no token", `{}`, "holds no token"},
		{"line break", `{"token":"` + secret + `\r\nX: y"}`, "characters that tokens cannot have"},
		{"space", `{"token":"` + secret + ` "}`, "characters that tokens cannot have"},
		{"not ASCII", `{"token":"` + secret + `é"}`, "characters that tokens cannot have"},
	} {
		token, lifetime, err := readToken(strings.NewReader(test.body))
		if err == nil {
			if got := fmt.Sprint(token, " ", lifetime); got != test.want {
				t.Errorf("%s: got %q, want %q", test.name, got, test.want)
			}
			continue
		}
		wantError(t, err, test.want)
	}
}

// endless is a body without an end.
type endless struct{ read int }

func (b *endless) Read(p []byte) (int, error) {
	b.read += len(p)
	return copy(p, strings.Repeat(" ", len(p))), nil
}

func TestTokenBodyIsBounded(t *testing.T) {
	t.Parallel()
	body := new(endless)
	_, _, err := readToken(body)
	wantError(t, err, "longer than 1048576 bytes")
	if body.read > 4*maxToken {
		t.Errorf("%d bytes were read", body.read)
	}
}

func TestTokenLifetime(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		expires     string
		kept, ended time.Duration
	}{
		{``, 53 * time.Second, 55 * time.Second}, // 60 s is what the specification says
		{`,"expires_in":1`, 800 * time.Millisecond, time.Second},
		{`,"expires_in":300`, 269 * time.Second, 271 * time.Second},
		{`,"expires_in":3600`, 59 * time.Minute, time.Hour},
		{`,"expires_in":1e12`, 23 * time.Hour, 24 * time.Hour},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, tokens := newEndpoint(reply(200, `{"token":"t"`+test.expires+`}`))
			begin := time.Now()
			for _, at := range []time.Duration{0, test.kept, test.ended} {
				time.Sleep(at - time.Since(begin))
				if _, err := tokens.get(ctx(), keyFor(anonymous)); err != nil {
					t.Fatal(err)
				}
				if want := 1 + int(at/test.ended); len(e.log) != want {
					t.Errorf("%q, after %v: %d requests, want %d", test.expires, at, len(e.log), want)
				}
			}
		})
	}
}

func TestTokenKey(t *testing.T) {
	t.Parallel()
	e, tokens := newEndpoint(reply(200, `{"token":"t","expires_in":300}`))
	base := keyFor(withPassword)
	other := func(change func(*tokenKey)) tokenKey { k := base; change(&k); return k }
	for _, key := range []tokenKey{
		base,
		other(func(k *tokenKey) { k.realm += "2" }),
		other(func(k *tokenKey) { k.service = "other" }),
		other(func(k *tokenKey) { k.repository.name = "b" }),
		other(func(k *tokenKey) { k.scope = "repository:a:pull,push" }),
		other(func(k *tokenKey) { k.credential.Username = "other" }),
		other(func(k *tokenKey) { k.credential.Password += "2" }),
		other(func(k *tokenKey) { k.credential = anonymous }),
	} {
		before := len(e.log)
		for range 2 {
			if _, err := tokens.get(ctx(), key); err != nil {
				t.Fatal(err)
			}
		}
		if len(e.log) != before+1 {
			t.Errorf("%+v: %d requests", key, len(e.log)-before)
		}
	}
}

// TestPushScope: a token for pushing is for one repository, with the right to read those that blobs are mounted from.
func TestPushScope(t *testing.T) {
	t.Parallel()
	r := NewRegistry("https", "reg", http.DefaultTransport.(*http.Transport), Sources{}, RegistryOptions{})
	a := r.PushAuthorizer(Repository{"reg", "b"}, Repository{"reg", "c"}, Repository{"reg", "a"}, Repository{"reg", "c"})
	want := []string{"repository:a:pull", "repository:b:pull,push", "repository:c:pull"}
	key := keyFor(withPassword)
	key.scope = a.scopeFor(nil)
	get, err := getRequest(ctx(), key)
	if err != nil || !slices.Equal(get.URL.Query()["scope"], want) {
		t.Errorf("GET asks for %q, %v", get.URL.Query()["scope"], err)
	}
	post, err := postRequest(ctx(), key)
	if err != nil || post.ParseForm() != nil || post.PostForm.Get("scope") != strings.Join(want, " ") {
		t.Errorf("POST asks for %q, %v", post.PostForm.Get("scope"), err)
	}
	if err := a.denied(anonymous, "no"); !strings.Contains((&DeniedError{Scope: err.Scope, Repository: a.repository}).Error(), "ask for the right to push to it") {
		t.Error(err)
	}
}

// TestGetOnlyEndpoints: whatever an endpoint that knows GET alone says to a POST; once that is known, POST is not tried.
func TestGetOnlyEndpoints(t *testing.T) {
	t.Parallel()
	for _, status := range []int{301, 400, 401, 403, 404, 405, 406, 410, 411, 413, 415, 422, 500, 501} {
		e, tokens := newEndpoint(reply(status, ""), reply(200, `{"token":"t"}`))
		for _, repository := range []string{"a", "b"} {
			key := keyFor(withPassword)
			key.scope = "repository:" + repository + ":pull"
			if token, err := tokens.get(t.Context(), key); err != nil || token != "t" {
				t.Errorf("%d: got %q %v", status, token, err)
			}
		}
		if len(e.log) != 3 || strings.HasPrefix(e.log[2], "POST") {
			t.Errorf("%d: %d requests", status, len(e.log))
		}
	}
}

// A failure is not kept: the next who asks has a try of their own.
func TestTokenFailureIsNotKept(t *testing.T) {
	t.Parallel()
	reset := func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }
	for _, failures := range [][]step{
		{reply(503, ""), reset, reply(429, ""), reply(502, ""), reset}, // which are asked again, as often as that
		{reply(403, ""), reply(403, "")}, {reply(200, "{}"), reply(200, "{}")},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, tokens := newEndpoint(append(failures, reply(200, `{"token":"t"}`))...)
			if _, err := tokens.get(t.Context(), keyFor(withPassword)); err == nil || retry.IsBroken(err) {
				t.Fatalf("got %v", err)
			}
			if token, err := tokens.get(t.Context(), keyFor(withPassword)); err != nil || token != "t" || len(e.log) != len(failures)+1 {
				t.Errorf("got %q %v after %d requests", token, err, len(e.log))
			}
		})
	}
}

// TestTokenRetryAfter: a token endpoint is waited for as a registry is, in seconds or until a date, and not for longer than a
// minute in all.
func TestTokenRetryAfter(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		after string
		tries int
		at    time.Duration
		says  string // empty: there is a token in the end
	}{
		{"30", 2, 30 * time.Second, ""},
		{"DATE", 2, 29 * time.Second, ""},
		{"40", 2, 40 * time.Second, "asking to wait for 40s"},
		{"3600", 1, 0, "asking to wait for 1h0m0s"},
	} {
		synctest.Test(t, func(t *testing.T) {
			if test.after == "DATE" {
				test.after = time.Now().Add(30 * time.Second).UTC().Format(http.TimeFormat)
			}
			busy := func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {test.after}}, Body: http.NoBody}, nil
			}
			steps := []step{busy, reply(200, `{"token":"t"}`)}
			if test.says != "" {
				steps = []step{busy, busy, busy, busy, busy, busy}
			}
			e, tokens := newEndpoint(steps...)
			began := time.Now()
			_, err := tokens.get(t.Context(), keyFor(withPassword))
			if took := time.Since(began); len(e.log) != test.tries || took < test.at || took > test.at+2*time.Second {
				t.Errorf("Retry-After %s: %d requests in %v", test.after, len(e.log), took)
			}
			if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("Retry-After %s: got %v", test.after, err)
			}
		})
	}
}

func TestTokenTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hang := func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, context.Cause(req.Context())
		}
		_, tokens := newEndpoint(hang)
		begin := time.Now()
		_, err := tokens.get(ctx(), keyFor(withPassword))
		wantError(t, err, "token endpoint realm did not answer in 30s")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != tokenTimeout {
			t.Errorf("got %v after %v", err, time.Since(begin))
		}
	})
}

func TestSecretsDoNotPrint(t *testing.T) {
	t.Parallel()
	key := keyFor(withPassword)
	noLeak(t, Secret(secret), withPassword, &withPassword, withIdentity, []Credential{withPassword}, map[string]Secret{"x": secret}, key.credential)
	data := must[[]byte](t)(json.Marshal(withPassword))
	if want := `{"Username":"user","Password":"[secret]","IdentityToken":"","RegistryToken":"","Source":"the test"}`; string(data) != want {
		t.Errorf("got %s", data)
	}
}
