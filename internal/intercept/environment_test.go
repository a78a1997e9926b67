package intercept

import (
	"bytes"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestEnvironment: what the command gets, and what stays.
func TestEnvironment(t *testing.T) {
	s := newScene(t)
	s.tls(s.ca, "registry.test:443", says(""))
	corporate, err := newAuthority("corporate", []string{"corp"})
	noError(t, err)
	file := filepath.Join(t.TempDir(), "corporate.pem")
	noError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: corporate.certificate.Raw}), 0o600))
	s.environ = append(s.environ, "OTHER=1", "NO_PROXY=registry.test,a.corp", "no_proxy=*", "all_proxy=http://upstream.test:3128", "https_proxy=",
		"SSL_CERT_DIR=/nowhere:"+filepath.Dir(file), "CURL_CA_BUNDLE="+file, "REQUESTS_CA_BUNDLE="+filepath.Dir(file))
	o, _ := s.options("registry.test")
	p, err := start(o)
	noError(t, err)
	defer p.close()
	directory := t.TempDir()
	got, err := p.environment(directory)
	noError(t, err)
	e := environ(got)
	for name, want := range map[string]string{
		"OTHER": "1", "NO_PROXY": "a.corp", "no_proxy": "", "ALL_PROXY": "", "all_proxy": p.url(), "SSL_CERT_DIR": directory,
		"HTTPS_PROXY": p.url(), "https_proxy": p.url(), "HTTP_PROXY": p.url(), "http_proxy": p.url(),
	} {
		if e.get(name) != want {
			t.Errorf("%s=%s, want %s", name, e.get(name), want)
		}
	}
	for name, want := range map[string][]*authority{
		"SSL_CERT_FILE": {s.ca, corporate, p.ca}, "NODE_EXTRA_CA_CERTS": {s.ca, corporate, p.ca}, "GIT_SSL_CAINFO": {s.ca, corporate, p.ca},
		"CURL_CA_BUNDLE": {corporate, p.ca}, "REQUESTS_CA_BUNDLE": {corporate, p.ca},
	} {
		data, err := os.ReadFile(e.get(name))
		noError(t, err)
		var certificates []byte
		for _, ca := range want {
			certificates = append(certificates, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.certificate.Raw})...)
		}
		if !bytes.Equal(data, certificates) {
			t.Errorf("%s: %d bytes, want %d", name, len(data), len(certificates))
		}
	}
}

// TestEnvironmentUnread: what cannot be read is said before anything runs.
func TestEnvironmentUnread(t *testing.T) {
	for _, entry := range []string{"SSL_CERT_FILE=/nowhere/a.pem", "CURL_CA_BUNDLE=/nowhere/a.pem", "HTTPS_PROXY=ftp://u:secret@proxy.test", "ALL_PROXY=socks4://u:secret@proxy.test", "http_proxy=%zz:secret"} {
		s := newScene(t)
		upstream, err := NewUpstream(append(s.environ, entry), s.dial)
		if err == nil {
			_, err = run(t, Options{Upstream: upstream, Transport: http.DefaultTransport}, itself(t, "exit", "7")...)
		}
		name, _, _ := strings.Cut(entry, "=")
		if _, ok := errors.AsType[*ExitError](err); err == nil || ok || strings.Contains(err.Error(), "secret") ||
			!strings.Contains(err.Error(), "_PROXY") && !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", entry, err)
		}
	}
}

// TestSystemRoots: without a variable, the roots are those that Go finds.
func TestSystemRoots(t *testing.T) {
	found, err := rootsOf(nil)
	noError(t, err)
	if os.Getenv("SSL_CERT_FILE") == "" && os.Getenv("SSL_CERT_DIR") == "" {
		out, err := exec.Command("sh", "-c", "cat /etc/ssl/certs/ca-certificates.crt 2>/dev/null | grep -c BEGIN").Output()
		if n := fmt.Sprint(bytes.Count(found, []byte("BEGIN CERTIFICATE"))); err == nil && n != strings.TrimSpace(string(out)) {
			t.Logf("%s roots, %s in Debian's file", n, out) // directories may have more
		}
	}
}
