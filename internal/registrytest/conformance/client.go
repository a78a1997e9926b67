package conformance

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// client asks the target.
type client struct {
	Target
}

func (c *client) path(kind, reference string) string {
	return "/v2/" + c.Repository + "/" + kind + "/" + reference
}

func (c *client) get(t *testing.T, path, token string) *http.Request {
	t.Helper()
	return c.request(t, http.MethodGet, path, token)
}

func (c *client) request(t *testing.T, method, path, token string) *http.Request {
	t.Helper()
	req := newRequest(t, method, c.BaseURL+path, nil)
	req.Header.Set("Accept", c.Manifest.MediaType+", */*")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req
}

func newRequest(t *testing.T, method, address string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	// Otherwise net/http takes a gzip encoding off, and the length with it.
	req.Header.Set("Accept-Encoding", "identity")
	return req
}

func (c *client) do(t *testing.T, req *http.Request) response {
	t.Helper()
	answer, err := c.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL.Path, err)
	}
	return response{Response: answer, body: body}
}

// tokenRequest makes a request for a token to pull from the target's repository.
type tokenRequest func(t *testing.T, user, password string) *http.Request

func (c *client) tokenRequests() map[string]tokenRequest {
	requests := map[string]tokenRequest{http.MethodGet: c.tokenGET}
	if c.TokenPOST {
		requests[http.MethodPost] = c.tokenPOST
	}
	return requests
}

// tokenGET is the request of the distribution token specification.
func (c *client) tokenGET(t *testing.T, user, password string) *http.Request {
	t.Helper()
	realm, form := c.tokenService(t)
	separator := "?"
	if strings.Contains(realm, "?") {
		separator = "&"
	}
	req := newRequest(t, http.MethodGet, realm+separator+form.Encode(), nil)
	req.SetBasicAuth(user, password)
	return req
}

// tokenPOST is the request of its OAuth2 variant.
func (c *client) tokenPOST(t *testing.T, user, password string) *http.Request {
	t.Helper()
	realm, form := c.tokenService(t)
	form.Set("grant_type", "password")
	form.Set("client_id", "conformance")
	form.Set("username", user)
	form.Set("password", password)
	req := newRequest(t, http.MethodPost, realm, strings.NewReader(form.Encode()))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

// tokenService finds the token service, and what to ask of it, through a challenge.
func (c *client) tokenService(t *testing.T) (realm string, form url.Values) {
	t.Helper()
	challenge := c.do(t, c.get(t, c.path("manifests", c.Tag), "")).challenge(t)
	return challenge["realm"], url.Values{"service": {challenge["service"]}, "scope": {challenge["scope"]}}
}

func (c *client) pullToken(t *testing.T) string {
	t.Helper()
	return c.do(t, c.tokenGET(t, c.User, c.Password)).token(t)
}

// response is an answer with its body read.
type response struct {
	*http.Response
	body []byte
}

func (r response) is(t *testing.T, status int) {
	t.Helper()
	if r.StatusCode != status {
		t.Fatalf("%s %s: status %d, want %d; body %.200q", r.Request.Method, r.Request.URL.Path, r.StatusCode, status, r.body)
	}
}

func (r response) has(t *testing.T, header, want string) {
	t.Helper()
	if got := r.Header.Get(header); got != want {
		t.Errorf("%s %s: %s is %q, want %q", r.Request.Method, r.Request.URL.Path, header, got, want)
	}
}

// describes checks the headers that state digest and size.
func (r response) describes(t *testing.T, want ocispec.Descriptor) {
	t.Helper()
	r.has(t, "Docker-Content-Digest", want.Digest.String())
	r.has(t, "Content-Length", strconv.FormatInt(want.Size, 10))
}

// carries checks that the answer to a GET has the content, and that to a HEAD nothing.
func (r response) carries(t *testing.T, method string, want ocispec.Descriptor) {
	t.Helper()
	if method == http.MethodHead {
		if len(r.body) > 0 {
			t.Errorf("HEAD has a body of %d bytes", len(r.body))
		}
		return
	}
	if got := want.Digest.Algorithm().FromBytes(r.body); got != want.Digest {
		t.Errorf("body has digest %s, want %s", got, want.Digest)
	}
}

// isError checks for the error format of the distribution specification.
func (r response) isError(t *testing.T, status int, code string) {
	t.Helper()
	r.is(t, status)
	var got struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if err := json.Unmarshal(r.body, &got); err != nil || len(got.Errors) == 0 {
		t.Fatalf("body %.200q is no error of the distribution specification: %v", r.body, err)
	}
	if got.Errors[0].Code != code {
		t.Errorf("code %s, want %s", got.Errors[0].Code, code)
	}
}

var parameter = regexp.MustCompile(`([a-z]+)="([^"]*)"`)

// challenge parses the answer's Bearer challenge into its parameters.
func (r response) challenge(t *testing.T) map[string]string {
	t.Helper()
	header := r.Header.Get("WWW-Authenticate")
	rest, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		t.Fatalf("status %d with challenge %q, want a Bearer challenge", r.StatusCode, header)
	}
	parameters := map[string]string{}
	for _, m := range parameter.FindAllStringSubmatch(rest, -1) {
		parameters[m[1]] = m[2]
	}
	return parameters
}

// token takes the token out of the token service's answer.
func (r response) token(t *testing.T) string {
	t.Helper()
	r.is(t, http.StatusOK)
	var got struct {
		Token       string `json:"token"`
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(r.body, &got); err != nil {
		t.Fatalf("the token service's answer: %v", err)
	}
	if got.Token == "" {
		got.Token = got.AccessToken
	}
	if got.Token == "" {
		t.Fatal("the token service's answer has no token")
	}
	return got.Token
}
