package auth

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"strconv"
	"strings"
	"testing"
)

// FuzzTokenAnswer: what is taken for a token can stand in a header, and has a bounded life.
func FuzzTokenAnswer(f *testing.F) {
	for _, s := range []string{
		`{"token":"a"}`, `{"access_token":"a","token":"b","expires_in":300}`, `{"token":"a","expires_in":"60"}`, `{"token":"a","expires_in":-1}`,
		`{"token":"a","expires_in":1e400}`, `{"token":"a","expires_in":{}}`, `{"token":"a b"}`, `{"token":"a\r\nX: y"}`, `{"token":""}`, `{}`, `null`, `<html>`, ``,
		`{"token":"a","expires_in":"NaN"}`, `{"token":"a","expires_in":"Inf"}`, `{"token":"a","expires_in":1e-300}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		token, lifetime, err := readToken(bytes.NewReader(data))
		if err != nil {
			if token != "" || lifetime != 0 {
				t.Errorf("%q: an error, and a token", data)
			}
			return
		}
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q: the token is %q", data, token)
		}
		if lifetime < 0 || lifetime > maxLifetime {
			t.Errorf("%q: it lives for %s", data, lifetime)
		}
	})
}

// FuzzConfigFile: whatever is in a Docker configuration, a credential comes from a key that stands for the repository or for
// one above it, and each time from the same.
func FuzzConfigFile(f *testing.F) {
	for _, s := range []string{
		`{"auths":{"reg.test":{"auth":"dTpw"}}}`, `{"auths":{"reg.test/a":{"auth":"dTpw"},"https://reg.test/a":{"username":"v","password":"q"}}}`,
		`{"auths":{"reg.test/a/b":{"auth":"bad"}}}`, `{"auths":{"https://index.docker.io/v1/":{"identitytoken":"x"}}}`, `{"auths":{"reg.test/ab":{"auth":"dTpw"}}}`,
		`{"auths":{"reg.test:443":{"auth":"dTpw"},"reg.test/":{"registrytoken":"x"}}}`, `{"auths":{"reg.test":7}}`, `{"credHelpers":{"reg.test":"../../x"}}`, `{"credsStore":"x"}`,
		`{"Auths":{"reg.test":{}},"auths":{"reg.test":{"auth":"dTpw"}}}`, `{"auths":{"http://reg.test/v2/":{"auth":"dTpw"}}}`, `{"auths":{"reg.test/v2":{"auth":"dTpw"},"docker.io/v1":{"auth":"dTpw"}}}`, ``, `null`, `[]`,
		`{"auths":{"*.test/a":{"auth":"dTpw"},"***.****":{"auth":"dTpw"},"https://[^x]eg.????/v2/a/b":{"auth":"dTpw"},"*":{"auth":"dTpw"}}}`,
	} {
		f.Add([]byte(s))
	}
	f.Setenv("PATH", f.TempDir()) // there are no helpers
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, name := range []string{"reg.test/a/b", "docker.io/library/p"} {
			repository, err := ParseRepository(name)
			if err != nil {
				t.Fatal(err)
			}
			c, err := NewStores(StoresOptions{Inline: Secret(data)}).Lookup(t.Context(), repository)
			again, errAgain := NewStores(StoresOptions{Inline: Secret(data)}).Lookup(t.Context(), repository)
			if c != again || (err == nil) != (errAgain == nil) || err != nil && err.Error() != errAgain.Error() {
				t.Errorf("%q: %+v %v, then %+v %v", data, c, err, again, errAgain)
			}
			if err == nil && !c.Anonymous() && !hasKeyFor(t, data, repository) {
				t.Errorf("%q: %+v, and no key is for %s", data, c, name)
			}
		}
	})
}

// hasKeyFor reports whether a configuration has a key for a repository or what is above it.
func hasKeyFor(t *testing.T, data []byte, repository Repository) bool {
	t.Helper()
	c, err := parseConfig("x", data)
	if err != nil {
		t.Fatal(err)
	}
	for spelling := range c.Auths {
		host, above, _ := SplitKey(spelling)
		if above = strings.TrimPrefix(above, "v2/"); isAPI(above) {
			above = "" // docker's and the kubelet's way to write the registry
		}
		like, err := path.Match(host, repository.Host()) // a kubelet's key is a pattern, with as many labels
		like = like && err == nil && strings.Count(host, ".") == strings.Count(repository.Host(), ".")
		if (host == repository.Host() || like) && (above == "" || strings.HasPrefix(repository.Name()+"/", above+"/")) {
			return true
		}
	}
	return false
}

// FuzzKubeletAnswer: a plugin's answer gives a credential for a repository only under a key that the kubelet would take.
func FuzzKubeletAnswer(f *testing.F) {
	for _, s := range []string{
		`{"kind":"CredentialProviderResponse","auth":{"reg.test":{"username":"u","password":"p"}}}`, `{"kind":"CredentialProviderResponse","cacheDuration":"1h","auth":{"*.test":{"username":"u","password":"p"}}}`,
		`{"kind":"CredentialProviderResponse","cacheDuration":"x"}`, `{"kind":"CredentialProviderResponse","cacheDuration":"-1s","auth":{}}`, `{}`, `null`, ``,
		`{"kind":"CredentialProviderResponse","auth":{"reg.test/a":{"username":"u","password":"p"},"reg.test/x":{"username":"v","password":"q"}}}`, `{"kind":"CredentialProviderResponse","auth":{"reg.test":{"username":"","password":"p"}}}`,
	} {
		f.Add([]byte(s))
	}
	repository, err := ParseRepository("reg.test/a/b")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p := kubeletProvider{Name: "x"}
		c, keep, reason := p.read(data, repository)
		again, _, _ := p.read(data, repository)
		switch {
		case c != again:
			t.Errorf("%q: two answers, %+v and %+v", data, c, again)
		case keep < 0, reason != "" && !c.Anonymous():
			t.Errorf("%q: %+v for %s, %q", data, c, keep, reason)
		case !c.Anonymous() && !hasKeyLike(t, data):
			t.Errorf("%q: %+v, and no key is like reg.test/a/b", data, c)
		}
	})
}

// hasKeyLike reports whether an answer has a key of two labels whose path is the begin of /a/b.
func hasKeyLike(t *testing.T, data []byte) bool {
	t.Helper()
	var answer struct{ Auth map[string]any }
	if err := json.Unmarshal(data, &answer); err != nil {
		t.Fatal(err)
	}
	for key := range answer.Auth {
		key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
		host, path, _ := strings.Cut(key, "/")
		if strings.Count(host, ".") == 1 && strings.HasPrefix("a/b", strings.TrimSuffix(path, "/")) {
			return true
		}
	}
	return false
}

// FuzzRange: an answer with a part of the content that is let through begins where it was asked to.
func FuzzRange(f *testing.F) {
	for _, s := range [][2]string{{"bytes=5-", "bytes 5-9/10"}, {"bytes=5-7", "bytes 6-7/10"}, {"bytes=-5", "bytes 5-9/10"}, {"bytes=1-2,4-5", ""}, {"bytes=5-", "bytes 55-9/10"}, {"bytes=5-", ""}, {"bytes=", "bytes "}} {
		f.Add(s[0], s[1])
	}
	f.Fuzz(func(t *testing.T, asked, got string) {
		req := httptest.NewRequest(http.MethodGet, "http://reg.test/", http.NoBody)
		req.Header.Set("Range", asked)
		resp := &http.Response{StatusCode: http.StatusPartialContent, Header: http.Header{"Content-Range": {got}}}
		if checkRange(req, resp) != nil {
			return
		}
		first, _, _ := strings.Cut(strings.TrimPrefix(asked, "bytes="), "-")
		start, err := strconv.Atoi(first)
		if err != nil || !strings.HasPrefix(asked, "bytes=") || strings.Contains(asked, ",") {
			return
		}
		answered, _, _ := strings.Cut(strings.TrimPrefix(got, "bytes "), "-")
		if n, err := strconv.Atoi(answered); err != nil || n != start {
			t.Errorf("asked for %q, got %q", asked, got)
		}
	})
}

// FuzzRedirect: no redirect leads from https to http or shows another origin what is meant for the registry.
func FuzzRedirect(f *testing.F) {
	for _, s := range []string{"https://cdn.test/x", "http://reg.test/x", "https://u:p@reg.test/", "//evil.test/x", "file:///etc/shadow", "/x", "https://reg.test:444/x", "//reg.test:", "HTTPS://REG.TEST/x", "https://reg.test.evil/", "ftp://x"} {
		f.Add(s)
	}
	first := httptest.NewRequest(http.MethodGet, "https://reg.test/v2/p/blobs/x", http.NoBody)
	f.Fuzz(func(t *testing.T, location string) {
		to, err := first.URL.Parse(location)
		if err != nil {
			return
		}
		req := &http.Request{Method: http.MethodGet, URL: to, Header: http.Header{"Authorization": {"canary"}, "X-Registry": {"canary"}}}
		if checkRedirect(req, []*http.Request{first}) != nil {
			return
		}
		if to.Scheme != "https" || to.User != nil {
			t.Errorf("%q is followed", location)
		}
		port := to.Port() // also "" of "reg.test:"
		if own := strings.EqualFold(to.Hostname(), "reg.test") && (port == "" || port == "443"); !own && (req.Header.Get("Authorization") != "" || req.Header.Get("X-Registry") != "") {
			t.Errorf("%q is shown %v", location, req.Header)
		}
	})
}
