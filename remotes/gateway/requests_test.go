package gateway

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/log"
	"github.com/opencontainers/go-digest"
	"github.com/sirupsen/logrus"

	"github.com/nestedoci/nested/internal/fronttest"
)

// TestOnlyServedRegistriesAreAsked: whatever ns is, nobody is asked but the registry that is served.
func TestOnlyServedRegistriesAreAsked(t *testing.T) {
	s := newScene(t, Node)
	host := s.Registry.Host()
	_, port, _ := net.SplitHostPort(host)
	many := "ns=" + host
	for i := range 10_000 {
		many += fmt.Sprintf("&k%d=v", i)
	}
	for query, want := range map[string]int{
		"":                                http.StatusBadRequest,
		"x=y":                             http.StatusBadRequest,
		"ns=":                             http.StatusNotFound,
		"ns=" + host + "&ns=" + host:      http.StatusBadRequest,
		"ns=" + host + "&ns=evil.test":    http.StatusBadRequest,
		"ns=evil.test":                    http.StatusNotFound,
		"ns=169.254.169.254":              http.StatusNotFound,
		"ns=127.0.0.1":                    http.StatusNotFound, // without the port it is another
		"ns=localhost:" + port:            http.StatusNotFound,
		"ns=" + host + "%40evil.test":     http.StatusNotFound,
		"ns=evil.test%40" + host:          http.StatusNotFound,
		"ns=" + host + "%2f..%2fx":        http.StatusNotFound,
		"ns=" + host + "/org":             http.StatusNotFound,
		"ns=http://" + host:               http.StatusNotFound,
		"ns=" + host + "%00":              http.StatusNotFound,
		"ns=" + host + "%0a":              http.StatusNotFound,
		"NS=" + host:                      http.StatusBadRequest,
		"ns=%zz":                          http.StatusBadRequest,
		"ns=" + strings.Repeat("x", 9000): http.StatusNotFound,
		many:                              http.StatusBadRequest,
	} {
		if status, _, code := s.Raw("GET /v2/org/app/manifests/v1?" + query); status != want || code == "" {
			t.Errorf("%.80s: %d, code %q, want %d", query, status, code, want)
		}
	}
	s.options.Registries = []string{"reg.test"}
	s.start(filepath.Join(t.TempDir(), "locations"))
	for _, name := range []string{"REG.test", "reg.test:443", "reg.test.", "reg@evil", "reg.test@evil.test"} {
		if status, _, _ := s.Raw("GET /v2/org/app/manifests/v1?ns=" + name); status != http.StatusNotFound {
			t.Errorf("%s: %d", name, status)
		}
	}
	if log := s.Registry.Log(); len(log) > 0 {
		t.Errorf("the registry was asked: %v", log)
	}
}

// TestOtherRequestsAreRefused: methods that write, and paths that are none of the distribution spec's.
func TestOtherRequestsAreRefused(t *testing.T) {
	s := newScene(t, Node)
	d := digest.FromString("x").String()
	ns := "?ns=" + s.Registry.Host()
	for line, want := range map[string][]int{
		"PUT /v2/org/app/manifests/v1" + ns:                                 {405},
		"POST /v2/org/app/blobs/uploads/" + ns:                              {405},
		"PATCH /v2/org/app/blobs/uploads/1" + ns:                            {405},
		"DELETE /v2/org/app/blobs/" + d + ns:                                {405},
		"OPTIONS /v2/org/app/blobs/" + d + ns:                               {405},
		"TRACE /v2/org/app/blobs/" + d + ns:                                 {405},
		"CONNECT " + s.Registry.Host():                                      {400, 405, 421},
		"GET /v2/_catalog?n=99999999999&ns=" + s.Registry.Host():            {404},
		"GET /v2/parent%2f..%2fvictim/blobs/" + d + ns:                      {400},
		"GET /v2/parent/%2e%2e/victim/blobs/" + d + ns:                      {400},
		"GET /v2/parent/../victim/blobs/" + d + ns:                          {400},
		"GET //v2//" + ns:                                                   {404},
		"GET /v2/parent/manifests/../../x" + ns:                             {404},
		"GET /evil/v2/parent/manifests/x" + ns:                              {404},
		`GET /v2/parent\victim/manifests/x` + ns:                            {400, 404},
		"GET /v2/parent;a=b/manifests/x" + ns:                               {400, 404},
		"GET /v2/parent/manifests/x;a=b" + ns:                               {400, 404},
		"GET /v2/parent/manifests/" + strings.Repeat("x", 1<<20) + ns:       {400, 404, 414, 431},
		"GET /v2/" + strings.Repeat("a/", 5000) + "manifests/x" + ns:        {400, 404},
		"HEAD /v2/org/app/manifests/.INVALID_MANIFEST_NAME" + ns:            {404},
		"GET /v2/org/app/manifests/.INVALID_MANIFEST_NAME" + ns:             {404},
		"GET /v2/org/app/manifests/sha256:x" + ns:                           {400},
		"GET /v2/org/app/blobs/.INVALID" + ns:                               {400},
		"GET http://evil.test/v2/org/app/manifests/v1" + ns:                 {400, 421},
		"GET http://" + s.Registry.Host() + "/v2/org/app/manifests/v1" + ns: {400, 421},
	} {
		status, header, _ := s.Raw(line)
		if !slices.Contains(want, status) || header.Get("Www-Authenticate") != "" {
			t.Errorf("%.80s: %d, want %v", line, status, want)
		}
	}
	if log := s.Registry.Log(); len(log) > 0 {
		t.Errorf("the registry was asked: %v", log)
	}
}

// TestNamespaceIsConfirmed: OCI-Namespace says that ns was minded, and only then.
func TestNamespaceIsConfirmed(t *testing.T) {
	s := newScene(t, Node)
	root := s.Publish()
	layer := s.Children(s.Get("manifests", s.Children(s.Get("manifests", root.Digest).Body)[0].Digest).Body)[0]
	ns := "?ns=" + s.Registry.Host()
	for line, want := range map[string]bool{
		"HEAD /v2/org/app/manifests/v1" + ns:                                       true,
		"GET /v2/org/app/manifests/v1" + ns:                                        true,
		"GET /v2/org/app/blobs/" + string(layer.Digest) + ns:                       true,
		"GET /v2/org/app/tags/list" + ns:                                           true,
		"GET /v2/org/app/referrers/" + string(root.Digest) + ns:                    true,
		"GET /v2/org/app/blobs/" + string(digest.FromString("nobody has it")) + ns: true,
		"GET /v2/" + ns:                              false,
		"GET /v2/org/app/manifests/v1":               false,
		"GET /v2/org/app/manifests/v1?ns=other.test": false,
		"PUT /v2/org/app/manifests/v1" + ns:          false,
	} {
		wanted := ""
		if want {
			wanted = s.Registry.Host()
		}
		if _, header, _ := s.Raw(line); header.Get("OCI-Namespace") != wanted {
			t.Errorf("%s: OCI-Namespace %q, want %q", line, header.Get("OCI-Namespace"), wanted)
		}
	}
}

// TestLogSaysWhatWasMissingOrDenied: who runs a node reads in the log what was not found and what was denied, and nothing about the question
// for credentials with which each pull of mode pod begins.
func TestLogSaysWhatWasMissingOrDenied(t *testing.T) {
	for _, test := range []struct {
		mode    Mode
		path    string
		caller  string
		want    []string
		nothing bool
	}{
		{mode: Node, path: "/v2/org/app/manifests/none", want: []string{"level=info", "org/app: manifests none", "status=404"}},
		{mode: Node, path: "/v2/org/other/manifests/none", want: []string{"level=warning", "org/other denied", "status=403"}},
		{mode: Node, path: "/v2/ORG/app/manifests/v1", want: []string{"level=warning", "invalid reference format", "status=400"}},
		{mode: Pod, path: "/v2/org/app/manifests/v1", nothing: true},
		{mode: Pod, path: "/v2/org/app/manifests/v1", caller: "stranger", want: []string{"level=warning", "org/app denied", "status=401"}},
	} {
		s := newScene(t, test.mode)
		var out bytes.Buffer
		logger := logrus.New()
		logger.SetOutput(&out)
		req := httptest.NewRequestWithContext(log.WithLogger(t.Context(), logrus.NewEntry(logger)), http.MethodGet, test.path+"?ns="+s.Registry.Host(), nil)
		if test.caller != "" {
			req.SetBasicAuth(test.caller, fronttest.Secret)
		}
		req.Host = "127.0.0.1"
		s.Server.Config.Handler.ServeHTTP(httptest.NewRecorder(), req)
		for _, want := range test.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in %s", test.path, want, &out)
			}
		}
		if test.nothing && out.Len() > 0 || strings.Contains(out.String(), "repository=/") {
			t.Errorf("%s: %s", test.path, &out)
		}
	}
}
